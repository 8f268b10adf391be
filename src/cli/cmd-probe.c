/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/value.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/survey-table.h"
#include "lock/describe.h"
#include "probe/probe.h"

/* What people wait for at a terminal without a doubt whether it hangs. */
#define REMOTE_TIMEOUT_USEC (2 * USEC_PER_SEC)

struct options {
    enum lock_style style;
    bool quick, facts, all;
};

/* Facts, and what followed from them, as tests/facts has them; and who looked, and with what. */
static json_t *facts_to_json(const struct lock_facts *facts, const struct lock_judgement *judgement) {
    struct utsname kernel = {0};

    (void) uname(&kernel);
    return json_pack("{s:o, s:s, s:s, s:{s:I, s:s, s:s}}", "facts", lock_facts_to_json(facts), "verdict",
                     verdict_to_string(judgement->verdict), "reason",
                     verdict_reason_to_string(judgement->reason), "observer", "uid", (json_int_t) geteuid(),
                     "kernelRelease", kernel.release, "latchdVersion", PACKAGE_VERSION);
}

static json_t *report_to_json(const struct lock_facts *facts, const struct lock_judgement *judgement,
                              const struct options *options) {
    json_t *report = lock_report_to_json(facts, NULL, judgement, NULL);

    if (report)
        json_object_set_new(report, "effort", json_string(options->quick ? "quick" : "complete"));
    return report;
}

/* The order in which the worst of several paths gives the exit code is that of the numbers. */
static int probe_paths(struct cli *cli, char *const paths[], size_t n, const struct options *options) {
    _cleanup_free_ struct probe_request *requests = calloc(n, sizeof *requests);
    json_t *reports = json_array();
    struct lock_facts *facts;
    int r = requests && reports ? 0 : -ENOMEM, code = EXIT_SUCCESS;

    for (size_t i = 0; r >= 0 && i < n; i++)
        requests[i] = (struct probe_request){.path = paths[i],
                                             .style = options->style,
                                             .effort = options->quick ? PROBE_QUICK : PROBE_COMPLETE,
                                             .remote_timeout_usec = REMOTE_TIMEOUT_USEC};
    if (r >= 0)
        r = lock_probe(requests, n, &facts);
    if (r < 0) {
        json_decref(reports);
        return cli_fail(&(struct err){.number = -r});
    }
    for (size_t i = 0; i < n; i++) {
        struct lock_judgement judgement = lock_judge(&facts[i], NULL);
        json_t *report = options->facts ? facts_to_json(&facts[i], &judgement)
                                        : report_to_json(&facts[i], &judgement, options);

        if (verdict_exit_code(judgement.verdict) > code)
            code = verdict_exit_code(judgement.verdict);
        if (json_array_append_new(reports, report) < 0)
            r = -ENOMEM;
    }
    lock_facts_free_array(facts, n);
    if (cli->json || options->facts) {
        if (cli_print_json(json_incref(reports)) != EXIT_SUCCESS)
            code = EXIT_FAILURE;
    } else
        for (size_t i = 0; r >= 0 && i < n; i++)
            r = report_print(cli, reports, i);
    json_decref(reports);
    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    return fflush(stdout) == 0 ? code : EXIT_FAILURE;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option table[] = {CLI_OPTIONS,
                                          {"all", no_argument, NULL, 'a'},
                                          {"facts", no_argument, NULL, 'f'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"style", required_argument, NULL, 's'},
                                          {0}};
    struct options options = {.style = LOCK_STYLE_INVALID};
    int c, r;

    while ((c = getopt_long(argc, argv, "haq", table, NULL)) >= 0) {
        switch (c) {
        case 'a':
            options.all = true;
            break;
        case 'f':
            options.facts = true;
            break;
        case 'q':
            options.quick = true;
            break;
        case 's':
            options.style = lock_style_from_string(optarg);
            if (options.style < 0 || options.style == LOCK_STYLE_NONE)
                return cli_fail_usage(&command_probe,
                                      "--style wants flock, posix, ofd, pidfile or symlink, not", optarg);
            break;
        default:
            if ((r = cli_option(cli, &command_probe, c, optarg)) >= 0)
                return r;
        }
    }
    if (options.all && (optind < argc || options.quick || options.facts || options.style >= 0))
        return cli_fail_usage(&command_probe, "--all wants neither a path nor another option of probe", NULL);
    if (options.all)
        return survey_table_run(cli);
    if (optind == argc)
        return cli_fail_usage(&command_probe, "it wants a path, or --all", NULL);
    for (int i = optind; i < argc; i++)
        if (!argv[i][0])
            return cli_fail_usage(&command_probe, "a path is empty", NULL);
    return probe_paths(cli, argv + optind, (size_t) (argc - optind), &options);
}

const struct command command_probe = {
    .name = "probe",
    .arguments = "PATH...",
    .summary = "explain any lock file, PID file or socket",
    .help =
        "Says who really holds it, whether its owner lives, who waits, who has it open, and what to do. "
        "Needs no\n"
        "configuration and no supervisor, and changes nothing. As root it sees every process. A PATH that "
        "begins\n"
        "with @ is the name of an abstract socket (a file of that name: ./@NAME).\n\n"
        "  -a, --all              every lock and every listening unix socket of the machine, a line each\n"
        "      --facts            print what was observed as JSON, for a bug report\n"
        "  -q, --quick            look at likely holders only, not at every process\n"
        "      --style STYLE      take the file for flock, posix, ofd, pidfile or symlink\n\n"
        "Exit status: 0 absent or free, 3 stale, 4 orphaned, 5 held, 6 unknown; the largest of several. "
        "With --all: 0.\n",
    .run = run,
};
