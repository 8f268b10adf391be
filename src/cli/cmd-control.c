/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* start, stop, restart, reload: the same call with another method. */
#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"

#define CONTROL_HELP                                                                                         \
    "      --no-block         do not wait until it is done\n"                                                \
    "      --timeout TIME     wait no longer than that, such as 30s (it goes on all the same)\n\n"           \
    "Exit status: 0 done, 1 failure, 64 usage, 77 not permitted.\n"

/* A service that nobody supervises is its systemd unit's business, where systemd is there. */
static int start_unit(const struct cli *cli, const char *service, bool block) {
    char unit[300], *arguments[] = {(char *) "systemctl", (char *) "start", unit, NULL, NULL};
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};
    int status;
    pid_t pid;

    bool by_systemd = geteuid() == 0 && access("/run/systemd/system", F_OK) == 0 && !cli->config_dir &&
                      !cli->runtime_dir_told;

    if (!by_systemd && supervisor_tell_unsupervised(cli, service, &err) < 0) {
        err_prefix(&err, "cannot start %s", service);
        return cli_fail(&err);
    }
    if (supervisor_load_config(cli, service, &config, &err) < 0) {
        _cleanup_err_ struct err lives = {0};

        return cli_fail(supervisor_tell_unsupervised(cli, service, &lives) < 0 ? &lives : &err);
    }
    if (!by_systemd) {
        _cleanup_free_ char *command = supervisor_advise(cli, "latchd run", service);

        fprintf(stderr, "latchctl: no supervisor runs for service %s; start one by: %s\n", service,
                command ? command : "latchd run");
        return EXIT_FAILURE;
    }
    if (!block) {
        arguments[2] = (char *) "--no-block";
        arguments[3] = unit;
    }
    snprintf(unit, sizeof unit, "latchd@%s.service", service);
    if (posix_spawnp(&pid, "systemctl", NULL, NULL, arguments, environ) != 0) {
        fprintf(stderr, "latchctl: cannot run systemctl; start the unit by hand: systemctl start %s\n", unit);
        return EXIT_FAILURE;
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "latchctl: systemctl start %s failed; its messages: latchctl logs %s\n", unit,
                service);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

/* A stop that left something running says so; it is a success all the same. */
static void tell_remaining(const char *service, json_t *reply) {
    json_t *remaining = json_object_get(reply, "remaining");

    for (size_t i = 0; i < json_array_size(remaining); i++) {
        json_t *process = json_array_get(remaining, i), *pid = json_object_get(process, "pid");

        if (json_is_integer(pid))
            fprintf(stderr, "latchctl: %s is stopped, but left running: PID %lld (%s): %s\n", service,
                    (long long) json_integer_value(pid), report_text(process, "comm"),
                    report_text(process, "why"));
        else
            fprintf(stderr, "latchctl: %s is stopped, but %s\n", service, report_text(process, "why"));
    }
}

static void print_keys(const char *service, const char *when, json_t *keys) {
    json_t *key;
    size_t i;

    if (json_array_size(keys) == 0)
        return;
    printf("%s: %s: ", service, when);
    json_array_foreach(keys, i, key)
        printf("%s%s", i > 0 ? ", " : "", json_string_value(key));
    putchar('\n');
}

/* What became of a new configuration. */
static void print_reload(const char *service, const json_t *reply) {
    char later[300];

    if (json_is_false(json_object_get(reply, "fromFile")))
        printf("%s: described by options of latchd, so that there is no file to read: only the daemon was told\n",
               service);
    snprintf(later, sizeof later, "counts from the next start (latchctl restart %s)", service);
    print_keys(service, "counts at once", json_object_get(reply, "countsNow"));
    print_keys(service, later, json_object_get(reply, "countsLater"));
}

static int call(const struct cli *cli, const char *service, const char *method, bool block,
                uint64_t timeout_usec, struct err *err) {
    json_t *parameters = json_pack("{s:b}", "block", block), *reply = NULL;
    int r;

    if (timeout_usec != USEC_INFINITY) {
        json_object_set_new(parameters, "timeoutUSec", json_integer((json_int_t) timeout_usec));
        timeout_usec += 5 * USEC_PER_SEC;
    }
    r = supervisor_call(cli, service, method, parameters, timeout_usec, &reply, err);
    if (r >= 0)
        tell_remaining(service, reply);
    if (r >= 0 && strcmp(method, "Reload") == 0)
        print_reload(service, reply);
    json_decref(reply);
    return r;
}

static int control(struct cli *cli, const struct command *command, const char *method, int argc,
                   char *argv[]) {
    static const struct option options[] = {
        CLI_OPTIONS, {"no-block", no_argument, NULL, 'n'}, {"timeout", required_argument, NULL, 't'}, {0}};
    uint64_t timeout_usec = USEC_INFINITY;
    bool block = true;
    int c, r, code = EXIT_SUCCESS;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (c == 'n')
            block = false;
        else if (c == 't') {
            if (value_parse_usec(optarg, &timeout_usec) < 0)
                return cli_fail_usage(command, "--timeout wants a time such as 30s, not", optarg);
        } else if ((r = cli_option(cli, command, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(command, "it wants a service", NULL);
    for (int i = optind; i < argc; i++) {
        _cleanup_err_ struct err err = {0};
        int one = EXIT_SUCCESS;

        r = call(cli, argv[i], method, block, timeout_usec, &err);
        if (r < 0 && err.name && strcmp(err.name, "NotRunning") == 0 && command == &command_start) {
            one = start_unit(cli, argv[i], block);
            r = 0;
            err_done(&err);
            if (one == EXIT_SUCCESS && block) /* the unit is up; the service may be blocked, or have failed */
                r = call(cli, argv[i], method, block, timeout_usec, &err);
        }
        if (r < 0 && err.name && strcmp(err.name, "NotRunning") == 0)
            (void) supervisor_tell_unsupervised(cli, argv[i], &err);
        if (r < 0) {
            err_prefix(&err, "cannot %s %s", command->name, argv[i]);
            one = cli_fail(&err);
        }
        if (one > code)
            code = one;
    }
    return code;
}

static int run_start(struct cli *cli, int argc, char *argv[]) {
    return control(cli, &command_start, "Start", argc, argv);
}
static int run_stop(struct cli *cli, int argc, char *argv[]) {
    return control(cli, &command_stop, "Stop", argc, argv);
}
static int run_restart(struct cli *cli, int argc, char *argv[]) {
    return control(cli, &command_restart, "Restart", argc, argv);
}
static int run_reload(struct cli *cli, int argc, char *argv[]) {
    return control(cli, &command_reload, "Reload", argc, argv);
}

const struct command command_start = {"start", "SERVICE...",
                                      "make the way free and start it; waits until it is ready", CONTROL_HELP,
                                      run_start};
const struct command command_stop = {"stop", "SERVICE...", "stop it; its supervisor stays", CONTROL_HELP,
                                     run_stop};
const struct command command_restart = {"restart", "SERVICE...", "stop it, then start it", CONTROL_HELP,
                                        run_restart};
const struct command command_reload = {"reload", "SERVICE...", "read its configuration again, and have the daemon do so",
                                       CONTROL_HELP, run_reload};
