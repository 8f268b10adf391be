/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/report.h"
#include "lock/describe.h"
#include "lock/probe.h"

/* The order in which the worst of several paths gives the exit code is that of the numbers. */
static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {"style", required_argument, NULL, 's'}, {0}};
    enum lock_style style = LOCK_STYLE_INVALID;
    _cleanup_free_ struct probe_request *requests = NULL;
    struct lock_facts *facts;
    json_t *reports;
    size_t n;
    int c, r, code = EXIT_SUCCESS;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (c == 's') {
            style = lock_style_from_string(optarg);
            if (style != LOCK_STYLE_FLOCK && style != LOCK_STYLE_POSIX && style != LOCK_STYLE_OFD &&
                style != LOCK_STYLE_PIDFILE)
                return cli_fail_usage(&command_probe, "--style wants flock, posix, ofd or pidfile, not",
                                      optarg);
        } else if ((r = cli_option(cli, &command_probe, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(&command_probe, "it wants a path", NULL);
    n = (size_t) (argc - optind);
    requests = calloc(n, sizeof *requests);
    if (!requests)
        return EXIT_FAILURE;
    for (size_t i = 0; i < n; i++)
        requests[i] = (struct probe_request){.path = argv[optind + (int) i], .style = style};
    r = lock_probe(requests, n, &facts);
    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    reports = json_array();
    for (size_t i = 0; i < n; i++) {
        struct lock_judgement judgement = lock_judge(&facts[i], NULL);
        json_t *report = lock_report_to_json(&facts[i], NULL, &judgement, NULL);

        if (!cli->json)
            report_print(cli, report);
        if (verdict_exit_code(judgement.verdict) > code)
            code = verdict_exit_code(judgement.verdict);
        json_array_append_new(reports, report);
    }
    lock_facts_free_array(facts, n);
    if (cli->json && cli_print_json(json_incref(reports)) != EXIT_SUCCESS)
        code = EXIT_FAILURE;
    json_decref(reports);
    return code;
}

const struct command command_probe = {
    .name = "probe",
    .arguments = "PATH...",
    .summary = "explain any lock file, PID file or socket",
    .help =
        "Says who really holds it, whether its owner lives, and what to do. Needs no configuration and no\n"
        "supervisor, and changes nothing. As root it sees every process.\n\n"
        "      --style STYLE      take the file for flock, posix, ofd or pidfile\n\n"
        "Exit status: 0 absent or free, 3 stale, 4 orphaned, 5 held, 6 unknown; the largest of several.\n",
    .run = run,
};
