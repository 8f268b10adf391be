/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* call: a command to the daemon's own control socket. */
#include "cli/call.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "socket/peer.h"

#define TIMEOUT_USEC (30 * USEC_PER_SEC)
#define SUPERVISOR_USEC (5 * USEC_PER_SEC)

void call_target_done(struct call_target *target) {
    free(target->service);
    free(target->socket);
    free(target->listen);
    *target = (struct call_target){0};
}

/* The part of GetStatus that is needed here, from the configuration. */
static json_t *status_of_config(const struct service_config *config) {
    json_t *sockets = json_array();

    for (size_t i = 0; i < config->n_sockets; i++)
        json_array_append_new(sockets, json_pack("{s:s, s:s, s:s?}", "name", config->sockets[i]->name,
                                                 "listen", config->sockets[i]->listen, "probe",
                                                 socket_probe_to_string(config->sockets[i]->probe)));
    return json_pack("{s:s, s:s, s:o}", "service", config->name, "kind", service_kind_to_string(config->kind),
                     "sockets", sockets);
}

/* A supervisor knows where its daemon listens, whatever stands in a file by now, and may have no file; but a
 * daemon can be called that has none, or whose supervisor does not answer. */
static int find_status(const struct cli *cli, const char *service, uint64_t timeout_usec, json_t **ret,
                       struct err *err) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err of_config = {0};
    json_t *reply, *status;
    int r = supervisor_call(cli, service, "GetStatus", json_pack("{s:b}", "locks", 0),
                            timeout_usec < SUPERVISOR_USEC ? timeout_usec : SUPERVISOR_USEC, &reply, err);

    if (r >= 0) {
        status = json_incref(json_array_get(json_object_get(reply, "services"), 0));
        json_decref(reply);
    } else if (supervisor_load_config(cli, service, &config, &of_config) >= 0)
        status = status_of_config(config);
    else if (err->name && (strcmp(err->name, "NotRunning") == 0 || strcmp(err->name, "BadName") == 0)) {
        err_done(err);
        *err = of_config;
        of_config = (struct err){0};
        return -err->number;
    } else
        return r;
    if (!status)
        return err_set(err, EPROTO, "Failed", "the supervisor of %s answered without a service", service);
    err_done(err);
    *ret = status;
    return 0;
}

/* "control (/run/d/a.sock), other (@b)" */
static char *list_sockets(const json_t *sockets) {
    struct text text = {0};
    char *list;

    for (size_t i = 0; i < json_array_size(sockets); i++)
        text_add_format(&text, "%s%s (%s)", i > 0 ? ", " : "",
                        report_text(json_array_get(sockets, i), "name"),
                        report_text(json_array_get(sockets, i), "listen"));
    return text_take(&text, &list) < 0 ? NULL : list;
}

/* -EINVAL: which socket is meant is not said, or there is none of that name. */
static int choose_socket(json_t *status, const char *name, struct call_target *ret, struct err *err) {
    json_t *sockets = json_object_get(status, "sockets"), *chosen = NULL;
    const char *service = report_text(status, "service"), *listen;
    _cleanup_free_ char *list = list_sockets(sockets);
    size_t n = json_array_size(sockets);

    if (n == 0)
        return err_set(
            err, ENOENT, "Failed",
            "cannot call %s: it has no control socket; give it a [Socket] section (latchd.conf(5))", service);
    for (size_t i = 0; i < n; i++)
        if (name ? strcmp(report_text(json_array_get(sockets, i), "name"), name) == 0 : n == 1)
            chosen = json_array_get(sockets, i);
    if (!chosen && name)
        return err_set(err, EINVAL, "BadSocket", "%s has no socket %s: it has %s", service, name,
                       list ? list : "others");
    if (!chosen)
        return err_set(err, EINVAL, "BadSocket", "%s has several sockets, choose one by --socket: %s",
                       service, list ? list : "");
    listen = json_string_value(json_object_get(chosen, "listen"));
    *ret = (struct call_target){
        .service = strdup(service),
        .socket = strdup(report_text(chosen, "name")),
        .listen = listen ? strdup(listen) : NULL,
        .kea = strcmp(report_text(chosen, "probe"), "kea") == 0 ||
               strcmp(report_text(status, "kind"), "kea") == 0,
        .main_pid = (pid_t) json_integer_value(json_object_get(status, "mainPid")),
    };
    if (ret->service && ret->socket && ret->listen)
        return 0;
    call_target_done(ret);
    return err_set(err, ENOMEM, "Failed", "out of memory");
}

static int find_target(const struct cli *cli, const char *service, const char *socket, uint64_t timeout_usec,
                       struct call_target *ret, struct err *err) {
    json_t *status;
    int r = find_status(cli, service, timeout_usec, &status, err);

    if (r < 0)
        return r;
    r = choose_socket(status, socket, ret, err);
    json_decref(status);
    return r;
}

static int exchange(const struct cli *cli, const struct call_target *target,
                    const struct call_options *options, const char *text, size_t size,
                    uint64_t deadline_usec) {
    struct exchange_result result;
    struct call_output output;
    struct dial_facts facts;
    int fd = dial(target->listen, deadline_usec, &facts), code;

    if (fd < 0)
        return call_tell_unreachable(cli, target, options, -fd, &facts);
    call_output_open(&output, cli->terminal);
    exchange_run(
        &(struct exchange){
            .text = text,
            .size = size,
            .half_close = !options->keep_open,
            .json = options->json,
            .deadline_usec = deadline_usec,
            .pass = call_output_pass,
            .userdata = &output,
            .pass_fd = output.fd,
        },
        fd, &result);
    call_output_close(&output);
    code = call_tell_end(cli, target, options, fd, size, &result);
    (void) peer_close(fd);
    return code;
}

/* The command as it goes out. Returns -1 to go on, else an exit code. */
static int prepare(const char *argument, const struct call_target *target, const struct call_options *options,
                   uint64_t *deadline_usec, char **ret, size_t *ret_size) {
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;
    size_t size = 0;

    if (argument && strcmp(argument, "-") != 0) {
        text = strdup(argument);
        size = strlen(argument);
        if (!text)
            return cli_fail(&(struct err){.number = ENOMEM});
    } else {
        bool typed = isatty(STDIN_FILENO);

        if (typed)
            fprintf(stderr, "Type %s for %s, and behind it Control-D:\n",
                    target->kea && !options->raw ? "a command (such as status-get, or JSON)"
                                                 : "what is to be sent",
                    target->listen);
        if (call_read_text(typed ? USEC_INFINITY : *deadline_usec, &text, &size, &err) < 0) {
            err_prefix(&err, "cannot call %s", target->service);
            return cli_fail(&err);
        }
        if (typed) /* nobody types against the clock */
            *deadline_usec = deadline_after(options->timeout_usec);
    }
    if (target->kea && !options->raw && call_make_kea_command(&text, &size, &err) < 0)
        return err.number == EINVAL ? cli_fail_usage(&command_call, err_text(&err), NULL) : cli_fail(&err);
    *ret = TAKE_PTR(text);
    *ret_size = size;
    return -1;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS,
                                            {"socket", required_argument, NULL, 's'},
                                            {"raw", no_argument, NULL, 'r'},
                                            {"keep-open", no_argument, NULL, 'k'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {0}};
    struct call_options call = {.timeout_usec = TIMEOUT_USEC};
    _cleanup_call_target_ struct call_target target = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;
    const char *socket = NULL;
    uint64_t deadline_usec;
    size_t size = 0;
    int c, r;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (c == 's')
            socket = optarg;
        else if (c == 'r')
            call.raw = true;
        else if (c == 'k')
            call.keep_open = true;
        else if (c == 't') {
            if (value_parse_usec(optarg, &call.timeout_usec) < 0 || call.timeout_usec == 0)
                return cli_fail_usage(&command_call, "--timeout wants a time such as 30s, or infinity, not",
                                      optarg);
        } else if ((r = cli_option(cli, &command_call, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(&command_call, "it wants a service", NULL);
    if (optind + 2 < argc)
        return cli_fail_usage(&command_call, "it wants one command, in quotes if it has blanks; one too many",
                              argv[optind + 2]);
    deadline_usec = deadline_after(call.timeout_usec);
    r = find_target(cli, argv[optind], socket, call.timeout_usec, &target, &err);
    if (r == -EINVAL && err.name && strcmp(err.name, "BadSocket") == 0)
        return cli_fail_usage(&command_call, err_text(&err), NULL);
    if (r < 0)
        return cli_fail(&err);
    call.json = cli->json || (target.kea && !call.raw);
    r = prepare(argv[optind + 1], &target, &call, &deadline_usec, &text, &size);
    return r >= 0 ? r : exchange(cli, &target, &call, text, size, deadline_usec);
}

const struct command command_call = {
    .name = "call",
    .arguments = "SERVICE [TEXT|-]",
    .summary = "send a command to its control socket, print the answer",
    .help = "Without TEXT, or with -, the command is read from standard input. For Kea a word is enough "
            "(status-get\n"
            "becomes {\"command\": \"status-get\"}), and JSON is sent as it is; for other daemons so is "
            "everything,\n"
            "without a line feed of our own: printf 'PING\\n' | latchctl call SERVICE. The answer is printed "
            "as it\n"
            "comes. It is whole when the daemon closes the connection; of Kea, and with --json, when one "
            "JSON value is.\n\n"
            "      --socket NAME      which of the service's sockets; needed if it has several\n"
            "      --raw              also of Kea: TEXT as it is, and an answer of any kind\n"
            "      --json             the answer is one JSON value, also of other daemons\n"
            "      --keep-open        do not close the sending side behind the command, for daemons that "
            "take that\n"
            "                         for the end of everything\n"
            "      --timeout TIME     for all of it, such as 5s; 30s by default\n\n"
            "Exit status: 0 answered (whatever the answer says); 1 failure, also: the command was sent, and "
            "no answer\n"
            "came in time; 64 usage; 69 nobody listens; 75 its queue was full until the time was up, so that "
            "nothing\n"
            "was sent: try again; 76 the answer was cut short (what came is printed); 77 not permitted.\n",
    .run = run,
};
