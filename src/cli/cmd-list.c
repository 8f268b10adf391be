/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strlist.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"

/* A service whose configuration is broken has a row too. */
static json_t *status_or_error(const struct cli *cli, const char *service) {
    struct cli quiet = *cli;
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *command = NULL;
    bool misconfigured = false;
    json_t *status;

    quiet.quiet_problems = true;
    if (supervisor_status(&quiet, service, false, &status, &err) >= 0)
        return status;
    if (err.name && strcmp(err.name, "BadConfiguration") == 0) {
        misconfigured = true;
        command = supervisor_advise(cli, "latchd check", service);
        fprintf(stderr, "latchctl: the configuration of service %s has mistakes: %s\n", service,
                command ? command : "latchd check");
    }
    return json_pack("{s:s, s:s, s:s, s:b}", "service", service, "state", "unknown", "statusText",
                     err_text(&err), "misconfigured", misconfigured);
}

/* For people, who mind what the daemon does rather than what the word of the interface is. */
static const char *state_of(json_t *status) {
    if (json_is_integer(json_object_get(status, "unsupervisedPid")))
        return "unsupervised";
    return json_is_true(json_object_get(status, "misconfigured")) ? "misconfigured"
                                                                  : report_text(status, "state");
}

/* "backoff, 25s more" */
static void describe_state(json_t *status, char *ret, size_t size) {
    json_t *next = json_object_get(status, "nextTryUSec");
    uint64_t now = now_usec(CLOCK_REALTIME), at = (uint64_t) json_integer_value(next);
    char span[VALUE_FORMAT_MAX];

    if (json_is_integer(next) && at >= now + USEC_PER_SEC)
        snprintf(ret, size, "%s, %s more", report_text(status, "state"),
                 value_format_usec((at - now) / USEC_PER_SEC * USEC_PER_SEC, span));
    else
        snprintf(ret, size, "%s", state_of(status));
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {0}};
    static const char *const columns[] = {"SERVICE", "STATE", "PID", "RESTARTS", "DESCRIPTION"};
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    struct table *table;
    json_t *all;
    int c, r;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
        if ((r = cli_option(cli, &command_list, c, optarg)) >= 0)
            return r;
    if (optind < argc)
        return cli_fail_usage(&command_list, "it takes no argument", argv[optind]);
    if (supervisor_list(cli, &names, &err) < 0)
        return cli_fail(&err);
    if (!names)
        supervisor_tell_none(cli);
    all = json_array();
    for (char **name = names; name && *name; name++)
        json_array_append_new(all, status_or_error(cli, *name));
    if (cli->json)
        return cli_print_json(all);
    table = table_new(cli, columns, ELEMENTSOF(columns));
    for (size_t i = 0; table && i < json_array_size(all); i++) {
        json_t *status = json_array_get(all, i), *main_pid = json_object_get(status, "mainPid");
        char pid[24] = "-", restarts[24] = "-", state[64];
        const char *cells[ELEMENTSOF(columns)] = {report_text(status, "service"), state, pid, restarts,
                                                  report_text(status, "description")};

        if (!json_is_integer(main_pid))
            main_pid = json_object_get(status, "unsupervisedPid");
        describe_state(status, state, sizeof state);
        if (json_is_integer(main_pid))
            snprintf(pid, sizeof pid, "%lld", (long long) json_integer_value(main_pid));
        if (json_is_integer(json_object_get(status, "restarts")))
            snprintf(restarts, sizeof restarts, "%lld",
                     (long long) json_integer_value(json_object_get(status, "restarts")));
        (void) table_add(table, cells);
    }
    json_decref(all);
    return table ? table_print(table) : EXIT_FAILURE;
}

const struct command command_list = {
    .name = "list",
    .arguments = "",
    .summary = "services and their states, a line each",
    .run = run,
};
