/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchctl reexec: the running supervisors become the installed program. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/strlist.h"
#include "base/value.h"
#include "cli/supervisor.h"

/* The trial may take ten seconds, and so may starts under way. */
#define REEXEC_USEC (60 * USEC_PER_SEC)

/* The process that serves it; 0 and *err: none, or it does not say. */
static json_int_t find_supervisor(const struct cli *cli, const char *service, struct err *err) {
    json_t *reply = NULL;
    json_int_t pid;

    if (supervisor_call(cli, service, "GetStatus", json_pack("{s:b}", "locks", 0), REEXEC_USEC, &reply, err) <
        0)
        return 0;
    pid = json_integer_value(
        json_object_get(json_array_get(json_object_get(reply, "services"), 0), "supervisorPid"));
    json_decref(reply);
    if (pid <= 0)
        (void) err_set(err, EPROTO, "Failed", "its supervisor does not say which process it is");
    return pid > 0 ? pid : 0;
}

static int replace(const struct cli *cli, const char *service, json_int_t pid, json_t *done) {
    _cleanup_err_ struct err err = {0};
    json_t *reply = NULL;
    const char *version;

    if (supervisor_call(cli, service, "Reexec", NULL, REEXEC_USEC, &reply, &err) < 0) {
        err_prefix(&err, "cannot replace the supervisor of %s (PID %lld)", service, (long long) pid);
        return cli_fail(&err);
    }
    version = json_string_value(json_object_get(reply, "version"));
    if (!cli->json)
        printf("PID %lld is latchd %s now (%s)\n", (long long) pid, version ? version : "?", service);
    json_array_append_new(
        done, json_pack("{s:s, s:I, s:s?}", "service", service, "supervisorPid", pid, "version", version));
    json_decref(reply);
    return EXIT_SUCCESS;
}

static bool contains(const json_t *pids, json_int_t pid) {
    json_t *other;
    size_t i;

    json_array_foreach(pids, i, other) if (json_integer_value(other) == pid) return true;
    return false;
}

/* Several services may have one supervisor: it is replaced once. */
static int replace_all(const struct cli *cli, char *const *services, bool named, json_t *pids, json_t *done) {
    int code = EXIT_SUCCESS;

    for (; services && *services; services++) {
        _cleanup_err_ struct err err = {0};
        json_int_t pid = find_supervisor(cli, *services, &err);
        int one;

        if (pid == 0) {
            if (!named && err.name && strcmp(err.name, "NotRunning") == 0)
                continue;
            err_prefix(&err, "cannot replace the supervisor of %s", *services);
            one = cli_fail(&err);
        } else if (contains(pids, pid))
            continue;
        else {
            json_array_append_new(pids, json_integer(pid));
            one = replace(cli, *services, pid, done);
        }
        code = one > code ? one : code;
    }
    if (json_array_size(pids) == 0 && !named) {
        fputs("latchctl: no supervisor runs\n", stderr);
        code = EXIT_FAILURE;
    }
    return code;
}

static int run_reexec(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {0}};
    _cleanup_strlist_ char **services = NULL;
    _cleanup_err_ struct err err = {0};
    json_t *pids, *done;
    int c, r, code;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
        if ((r = cli_option(cli, &command_reexec, c, optarg)) >= 0)
            return r;
    if (supervisor_choose(cli, &argv[optind], &services, &err) < 0)
        return cli_fail(&err);
    pids = json_array();
    done = json_array();
    code = replace_all(cli, services, argv[optind] != NULL, pids, done);
    json_decref(pids);
    if (!cli->json) {
        json_decref(done);
        return code;
    }
    r = cli_print_json(done);
    return r > code ? r : code;
}

const struct command command_reexec = {
    .name = "reexec",
    .arguments = "[SERVICE...]",
    .summary = "replace the running supervisors by the installed latchd; daemons and sockets stay",
    .help = "Without a SERVICE: all that run. The installed program is tried first; one that is missing or broken is\n"
            "refused, and the running one goes on.\n\n"
            "Exit status: 0 replaced, 1 refused, 64 usage, 77 not permitted.\n",
    .run = run_reexec,
};
