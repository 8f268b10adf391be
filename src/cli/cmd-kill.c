/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kill: a signal to a service's processes. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "cli/supervisor.h"
#include "config/config-keys.h"

static int kill_one(const struct cli *cli, const char *service, const char *signal, const char *whom,
                    json_t *results, struct err *err) {
    json_t *parameters = json_pack("{s:s, s:s}", "signal", signal, "whom", whom), *reply = NULL;
    int r = supervisor_call(cli, service, "Kill", parameters, USEC_INFINITY, &reply, err);

    if (r >= 0)
        json_array_append_new(results, json_pack("{s:s, s:O?, s:O?}", "service", service, "signalled",
                                                 json_object_get(reply, "signalled"), "more",
                                                 json_object_get(reply, "more")));
    if (r >= 0 && json_is_true(json_object_get(reply, "more")))
        r = err_set(err, EBUSY, "Incomplete",
                    "%lld processes got it, and there are more than latchd looks for at once; say it again, or "
                    "with SIGKILL (LimitNPROC= bounds how many there can be)",
                    (long long) json_integer_value(json_object_get(reply, "signalled")));
    json_decref(reply);
    return r;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS,
                                            {"signal", required_argument, NULL, 's'},
                                            {"kill-whom", required_argument, NULL, 'w'},
                                            {0}};
    const char *signal = "SIGTERM", *whom = "main";
    int c, r, number, code = EXIT_SUCCESS;
    json_t *results;

    while ((c = getopt_long(argc, argv, "hs:", options, NULL)) >= 0) {
        if (c == 's')
            signal = optarg;
        else if (c == 'w') {
            if (strcmp(optarg, "main") != 0 && strcmp(optarg, "all") != 0)
                return cli_fail_usage(&command_kill, "--kill-whom wants main or all, not", optarg);
            whom = optarg;
        } else if ((r = cli_option(cli, &command_kill, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(&command_kill, "it wants a service", NULL);
    if (value_parse_signal(signal, &number) < 0) {
        const char *nearest = config_signal_nearest(signal);
        char hint[64];

        snprintf(hint, sizeof hint, "there is no such signal%s%s%s", nearest ? " (did you mean SIG" : "",
                 nearest ? nearest : "", nearest ? "?)" : "");
        return cli_fail_usage(&command_kill, hint, signal);
    }
    results = json_array();
    for (int i = optind; i < argc; i++) {
        _cleanup_err_ struct err err = {0};

        if (kill_one(cli, argv[i], signal, whom, results, &err) < 0) {
            if (err.name && strcmp(err.name, "NotRunning") == 0)
                (void) supervisor_tell_unsupervised(cli, argv[i], &err);
            err_prefix(&err, "cannot send %s to %s", signal, argv[i]);
            r = cli_fail(&err);
            code = r > code ? r : code;
        }
    }
    if (cli->json) {
        r = cli_print_json(results);
        return r > code ? r : code;
    }
    json_decref(results);
    return code;
}

const struct command command_kill = {
    .name = "kill",
    .arguments = "SERVICE...",
    .summary = "send it a signal",
    .help =
        "  -s, --signal SIGNAL    which: SIGTERM (the default), TERM, 15, RTMIN+3 ...\n"
        "      --kill-whom WHOM   main: the main process (the default); all: every process that is proven\n"
        "                         to be the service's, also what a dead daemon left\n\n"
        "A daemon that ends of it is started again or not as Restart= says; to have it stay down, stop "
        "it.\n\n"
        "Exit status: 0 sent, 1 failure (nothing runs, or only some of many got it), 64 usage, 77 not "
        "permitted.\n",
    .run = run,
};
