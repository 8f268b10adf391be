/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#include "base/value.h"
#include "cli/log-format.h"
#include "journal/event.h"
#include "cli/supervisor.h"

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS,
                                            {"follow", no_argument, NULL, 'f'},
                                            {"lines", required_argument, NULL, 'n'},
                                            {"since", required_argument, NULL, 'S'},
                                            {"until", required_argument, NULL, 'U'},
                                            {"priority", required_argument, NULL, 'p'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"boot", no_argument, NULL, 'b'},
                                            {0}};
    struct journal_query query = {0};
    enum log_format format = LOG_FORMAT_SHORT;
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};
    uint64_t now = now_usec(CLOCK_REALTIME);
    char unit[300];
    const char *units[] = {unit};
    struct config_paths paths;
    struct config_problems problems = {0};
    int c, r;

    while ((c = getopt_long(argc, argv, "hfn:S:U:p:o:b", options, NULL)) >= 0) {
        switch (c) {
        case 'f':
            query.follow = true;
            break;
        case 'n':
            if (value_parse_u64(optarg, &query.lines) < 0)
                return cli_fail_usage(&command_logs, "-n wants a number, not", optarg);
            query.lines_set = true;
            break;
        case 'S':
        case 'U':
            if (log_parse_time(optarg, now, c == 'S' ? &query.since_usec : &query.until_usec, &err) < 0)
                return cli_fail_usage(&command_logs, err_text(&err), NULL);
            break;
        case 'p':
            if (event_parse_priority(optarg, &query.max_priority) < 0)
                return cli_fail_usage(&command_logs,
                                      "-p wants emerg, alert, crit, err, warning, notice, info or debug, not",
                                      optarg);
            query.max_priority_set = true;
            break;
        case 'o':
            format = log_format_from_string(optarg);
            if (format < 0)
                return cli_fail_usage(&command_logs, "-o wants short, short-iso, json or cat, not", optarg);
            break;
        case 'b':
            query.this_boot = true;
            break;
        default:
            if ((r = cli_option(cli, &command_logs, c, optarg)) >= 0)
                return r;
        }
    }
    if (optind + 1 != argc)
        return cli_fail_usage(&command_logs, "it wants one service", NULL);
    if (cli->json)
        format = LOG_FORMAT_JSON;
    query.all_data = format == LOG_FORMAT_JSON;
    query.service = argv[optind];
    snprintf(unit, sizeof unit, "latchd@%s.service", query.service);
    query.units = units;
    query.n_units = 1;
    /* The journal outlives configurations: one that cannot be read now does not matter. */
    paths = options_config_paths(cli->config_dir);
    if (service_config_load(query.service, &paths, &problems, &config, NULL) >= 0)
        query.identifier = config->syslog_identifier;
    config_problems_done(&problems);
    if (journal_show(&query, format, stdout, cli->color, &err) < 0)
        return cli_fail(&err);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct command command_logs = {
    .name = "logs",
    .arguments = "SERVICE",
    .summary = "the supervisor's and the daemon's entries, from the journal",
    .help = "  -f, --follow           go on with new ones\n"
            "  -n, --lines N          only the last N\n"
            "  -S, --since TIME       such as \"2024-05-01 13:00\", yesterday, -1h\n"
            "  -U, --until TIME\n"
            "  -p, --priority LEVEL   this urgent or more: emerg ... debug\n"
            "  -o, --output FORMAT    short, short-iso, json or cat\n"
            "  -b, --boot             since the machine was started\n",
    .run = run,
};
