/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/strlist.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"

static void add_row(struct table *table, json_t *report) {
    json_t *holder = json_array_get(json_object_get(report, "holders"), 0);
    char recorded[24] = "-", held_by[128] = "-";
    const char *cells[] = {report_text(report, "service"),
                           report_text(report, "name"),
                           report_text(report, "verdict"),
                           report_text(report, "reason"),
                           recorded,
                           held_by,
                           report_text(report, "path")};

    if (json_is_integer(json_object_get(report, "recordedPid")))
        snprintf(recorded, sizeof recorded, "%lld",
                 (long long) json_integer_value(json_object_get(report, "recordedPid")));
    if (holder)
        snprintf(held_by, sizeof held_by, "%s[%lld]", report_text(holder, "comm"),
                 (long long) json_integer_value(json_object_get(holder, "pid")));
    (void) table_add(table, cells);
}

static int print(const struct cli *cli, json_t *reports) {
    static const char *const columns[] = {"SERVICE",  "NAME",   "VERDICT", "REASON",
                                          "RECORDED", "HOLDER", "PATH"};
    struct table *table = table_new(cli, columns, ELEMENTSOF(columns));
    json_t *report;
    size_t i;

    if (!table)
        return EXIT_FAILURE;
    json_array_foreach(reports, i, report) add_row(table, report);
    return table_print(table);
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {0}};
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    json_t *all;
    int c, r, code = EXIT_SUCCESS;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
        if ((r = cli_option(cli, &command_locks, c, optarg)) >= 0)
            return r;
    if (supervisor_choose(cli, argv + optind, &names, &err) < 0)
        return cli_fail(&err);
    all = json_array();
    for (char **name = names; name && *name; name++) {
        json_t *reports;

        if (supervisor_probe(cli, *name, &reports, &err) < 0) {
            code = cli_fail(&err);
            continue;
        }
        for (size_t i = 0; i < json_array_size(reports); i++)
            json_object_set_new(json_array_get(reports, i), "service", json_string(*name));
        json_array_extend(all, reports);
        json_decref(reports);
    }
    if (cli->json) {
        r = cli_print_json(all);
        return r ? r : code;
    }
    r = print(cli, all);
    json_decref(all);
    return r ? r : code;
}

const struct command command_locks = {
    .name = "locks",
    .arguments = "[SERVICE...]",
    .summary = "the services' locks and PID files, and who holds them",
    .run = run,
};
