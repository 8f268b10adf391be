/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"
#include "exec/limits-check.h"
#include "exec/rlimits.h"

#define CALL_USEC (10 * USEC_PER_SEC)

/* A number, "infinity" or nothing. */
static const char *value_text(json_t *value, char buffer[static 24]) {
    if (json_is_string(value))
        return json_string_value(value);
    if (!json_is_integer(value))
        return NULL;
    snprintf(buffer, 24, "%lld", (long long) json_integer_value(value));
    return buffer;
}

static const char *pair_text(json_t *pair, char buffer[static 64]) {
    char one[24], two[24];
    const char *soft = value_text(json_array_get(pair, 0), one),
               *hard = value_text(json_array_get(pair, 1), two);

    if (!soft || !hard)
        return NULL;
    if (strcmp(soft, hard) == 0)
        snprintf(buffer, 64, "%s", soft);
    else
        snprintf(buffer, 64, "%s:%s", soft, hard);
    return buffer;
}

static int print_table(const struct cli *cli, json_t *limits) {
    static const char *const columns[] = {"LIMIT", "CONFIGURED", "SOFT", "HARD", "USED", "UNIT", "REMARK"};
    struct table *table = table_new(cli, columns, ELEMENTSOF(columns));

    if (!table)
        return EXIT_FAILURE;
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        json_t *limit = json_object_get(limits, rlimit_to_name(i));
        char configured[64], soft[24], hard[24], used[24];
        const char *cells[] = {rlimit_to_name(i),
                               pair_text(json_object_get(limit, "configured"), configured),
                               value_text(json_object_get(limit, "soft"), soft),
                               value_text(json_object_get(limit, "hard"), hard),
                               value_text(json_object_get(limit, "used"), used),
                               report_text(limit, "unit"),
                               report_text(limit, "remark")};

        (void) table_add(table, cells);
        if (json_is_true(json_object_get(limit, "attention")))
            table_set_color(table, ELEMENTSOF(columns) - 1, color_for_state(cli, "backoff"));
    }
    return table_print(table);
}

static json_t *limit_value(rlim_t value) {
    return value == RLIM_INFINITY ? json_string("infinity") : json_integer((json_int_t) value);
}

static json_t *planned_to_json(const struct rlimits_planned *planned) {
    json_t *json = json_object();

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        json_object_set_new(
            json, rlimit_to_name(i),
            json_pack("{s:o, s:n, s:n, s:n, s:s, s:b, s:n}", "configured",
                      planned->of[i].set ? json_pack("[o, o]", limit_value(planned->of[i].soft),
                                                     limit_value(planned->of[i].hard))
                                         : json_null(),
                      "soft", "hard", "used", "unit", limits_unit(i), "attention", false, "remark"));
    return json;
}

/* A daemon that lives though its supervisor does not; null: none that is known. */
static json_t *unsupervised_pid(const struct cli *cli, const char *name) {
    _cleanup_err_ struct err err = {0};
    json_t *status, *pid;

    if (supervisor_status(cli, name, false, &status, &err) < 0)
        return json_null();
    pid = json_incref(json_object_get(status, "unsupervisedPid"));
    json_decref(status);
    return pid ? pid : json_null();
}

/* Nobody supervises it: what the configuration would give it. */
static int load_ourselves(const struct cli *cli, const char *name, json_t **ret, struct err *err) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_close_ int proc_fd = procfs_open();
    struct rlimits_need need = {.open_files = RLIMITS_STDIO};
    struct rlimits_planned planned;
    json_t *limits;
    int r = supervisor_load_config(cli, name, &config, err);

    if (r < 0)
        return r;
    need.client_limit = config->client_limit;
    (void) rlimits_plan_wanted(config->limits, &need, proc_fd, &planned, NULL);
    limits = planned_to_json(&planned);
    *ret = json_pack("{s:s, s:n, s:o, s:o, s:[]}", "service", config->name, "mainPid", "unsupervisedPid",
                     unsupervised_pid(cli, name), "limits", limits, "warnings");
    return *ret ? 0 : err_set(err, ENOMEM, "Failed", "out of memory");
}

static int show(const struct cli *cli, const char *service) {
    _cleanup_err_ struct err err = {0};
    json_t *reply, *warnings;
    int r = supervisor_call(cli, service, "GetLimits", NULL, CALL_USEC, &reply, &err);

    if (r < 0 && err.name && strcmp(err.name, "NotRunning") == 0)
        r = load_ourselves(cli, service, &reply, &err);
    if (r < 0)
        return cli_fail(&err);
    if (cli->json)
        return cli_print_json(reply);
    if (json_is_integer(json_object_get(reply, "mainPid")))
        printf("%s: PID %lld\n", report_text(reply, "service"),
               (long long) json_integer_value(json_object_get(reply, "mainPid")));
    else if (json_is_integer(json_object_get(reply, "unsupervisedPid")))
        printf("%s: PID %lld lives unsupervised (what it has now: prlimit --pid %lld); what it would be "
               "started with\n",
               report_text(reply, "service"),
               (long long) json_integer_value(json_object_get(reply, "unsupervisedPid")),
               (long long) json_integer_value(json_object_get(reply, "unsupervisedPid")));
    else
        printf("%s does not run: what it would be started with\n", report_text(reply, "service"));
    r = print_table(cli, json_object_get(reply, "limits"));
    warnings = json_object_get(reply, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++)
        printf("warning: %s\n", json_string_value(json_array_get(warnings, i)));
    json_decref(reply);
    return fflush(stdout) == 0 ? r : EXIT_FAILURE;
}

/* Mistakes are told before anybody is asked. */
static int read_assignments(char *const words[], json_t *limits, struct err *err) {
    for (; *words; words++) {
        struct limit_config limit;
        int resource, r = rlimit_parse_assignment(*words, &resource, &limit, err);

        if (r < 0)
            return r;
        json_object_set_new(limits, rlimit_to_name(resource), json_string(strchr(*words, '=') + 1));
    }
    return 0;
}

static int change(const struct cli *cli, const char *service, char *const words[], bool all) {
    _cleanup_err_ struct err err = {0};
    json_t *limits = json_object(), *reply, *changed;

    if (read_assignments(words, limits, &err) < 0) {
        json_decref(limits);
        fprintf(stderr, "latchctl limits: %s\n", err_text(&err));
        return EXIT_BAD_USAGE;
    }
    if (supervisor_call(cli, service, "SetLimits", json_pack("{s:o, s:b}", "limits", limits, "all", all),
                        CALL_USEC, &reply, &err) < 0) {
        if (err.name && strcmp(err.name, "NotRunning") == 0)
            (void) supervisor_tell_unsupervised(cli, service, &err);
        return cli_fail(&err);
    }
    changed = json_object_get(reply, "changed");
    if (cli->json) {
        int r = cli_print_json(json_incref(changed));

        json_decref(reply);
        return r;
    }
    for (size_t i = 0; i < json_array_size(changed); i++) {
        json_t *one = json_array_get(changed, i);

        printf("%s: %s of PID %lld: %s -> %s\n", service, report_text(one, "limit"),
               (long long) json_integer_value(json_object_get(one, "pid")), report_text(one, "before"),
               report_text(one, "after"));
    }
    printf("This lasts until the daemon is started the next time; the configuration is as it was.\n");
    json_decref(reply);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {"all", no_argument, NULL, 'a'}, {0}};
    bool all = false;
    int c, r;

    while ((c = getopt_long(argc, argv, "ha", options, NULL)) >= 0) {
        if (c == 'a')
            all = true;
        else if ((r = cli_option(cli, &command_limits, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(&command_limits, "it wants a service", NULL);
    if (optind + 1 < argc)
        return change(cli, argv[optind], argv + optind + 1, all);
    if (all)
        return cli_fail_usage(&command_limits, "--all goes with limits to change, NAME=SOFT[:HARD]", NULL);
    return show(cli, argv[optind]);
}

const struct command command_limits = {
    .name = "limits",
    .arguments = "SERVICE [NAME=...]...",
    .summary = "limits: configured, in force and used; changes a running daemon's",
    .help =
        "With NAME=SOFT[:HARD] (as in NOFILE=4096:8192, AS=2G, CORE=infinity) the limits of the running "
        "daemon are\n"
        "changed until it is started the next time; the configuration stays as it is. One value sets both.\n"
        "Names: CPU FSIZE DATA STACK CORE RSS NOFILE AS NPROC MEMLOCK LOCKS SIGPENDING MSGQUEUE NICE RTPRIO "
        "RTTIME.\n\n"
        "  -a, --all              the daemon's descendants, too, that have its old limit (without it, and "
        "as\n"
        "                         prlimit does: the daemon's main process alone)\n\n"
        "Exit status: 0 whatever there is to warn of; 1 failure, or the service does not run; 64 usage, a "
        "bad name\n"
        "or value; 77 not permitted.\n",
    .run = run,
};
