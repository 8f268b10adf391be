/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strlist.h"
#include "base/value.h"
#include "cli/log-format.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"
#include "config/rlimit.h"

#define LOG_LINES 10

static json_int_t integer(json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void print_moment(json_int_t realtime_usec) {
    uint64_t now = now_usec(CLOCK_REALTIME), then = (uint64_t) realtime_usec;
    uint64_t passed = now > then ? (now - then) / USEC_PER_SEC * USEC_PER_SEC : 0;
    char when[VALUE_FORMAT_MAX], ago[VALUE_FORMAT_MAX];

    printf("%s; %s%s", value_format_time(then, when), passed ? value_format_usec(passed, ago) : "just now",
           passed ? " ago" : "");
}

static void print_history(json_t *status) {
    json_t *exit = json_object_get(status, "lastExit"), *recovery = json_object_get(status, "lastRecovery"),
           *actions = json_object_get(recovery, "actions");

    if (json_is_object(exit)) {
        printf("  Last exit: %s, ", report_text(exit, "text"));
        print_moment(integer(exit, "atUSec"));
        putchar('\n');
    }
    if (!json_is_object(recovery))
        return;
    printf("   Recovery: ");
    print_moment(integer(recovery, "atUSec"));
    putchar('\n');
    for (size_t i = 0; i < json_array_size(actions); i++)
        printf("             %s\n", report_text(json_array_get(actions, i), "text"));
}

/* Of the times that somebody looked, with this listener. */
static void print_high_water(json_t *socket) {
    time_t at = (time_t) (integer(socket, "highWaterAtUSec") / (json_int_t) USEC_PER_SEC);
    struct tm local;
    char when[16];

    if (integer(socket, "highWater") > 0 && localtime_r(&at, &local) &&
        strftime(when, sizeof when, "%H:%M", &local) > 0)
        printf(", at most %lld waited (%s)", (long long) integer(socket, "highWater"), when);
}

static void print_locks(const struct cli *cli, json_t *status) {
    json_t *sockets = json_object_get(status, "sockets"), *locks = json_object_get(status, "locks");

    for (size_t i = 0; i < json_array_size(sockets); i++) {
        json_t *socket = json_array_get(sockets, i);
        char took[VALUE_FORMAT_MAX];

        printf("     Socket: %s (%s)%s", report_text(socket, "listen"), report_text(socket, "name"),
               json_is_true(json_object_get(socket, "kept")) ? ", kept by latchd" : "");
        if (json_is_integer(json_object_get(socket, "queue")))
            printf(", %lld of %lld connections wait", (long long) integer(socket, "queue"),
                   (long long) integer(socket, "backlog") + 1); /* one more than the backlog may */
        print_high_water(socket);
        if (json_is_integer(json_object_get(socket, "answerUSec")))
            printf(", answered in %s", value_format_usec((uint64_t) integer(socket, "answerUSec"), took));
        putchar('\n');
        if (report_text(socket, "remark")[0])
            printf("             %s%s%s\n", color_for_state(cli, "backoff"), report_text(socket, "remark"),
                   color_reset(cli));
    }
    for (size_t i = 0; i < json_array_size(locks); i++) {
        json_t *lock = json_array_get(locks, i);
        const char *verdict = report_text(lock, "verdict"), *reason = report_text(lock, "reason");

        printf("       Lock: %s: %s%s%s%s%s%s: %s\n", report_text(lock, "path"),
               color_for_verdict(cli, verdict), verdict, color_reset(cli), strcmp(reason, "none") ? " (" : "",
               strcmp(reason, "none") ? reason : "", strcmp(reason, "none") ? ")" : "",
               report_text(lock, "summary"));
    }
}

static void print_processes(json_t *array, const char *label, const char *key) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *process = json_array_get(array, i);
        const char *cmdline = report_text(process, "cmdline");

        printf("%11s: PID %lld (%s), %s%s%s\n", label, (long long) integer(process, "pid"),
               report_text(process, "comm"), key ? report_text(process, key) : "left alone: nothing tells whose",
               *cmdline ? ": " : "", cmdline);
    }
}

/* "healthy" is no news: the answers beside the sockets say so. */
static void print_health(json_t *status) {
    json_t *health = json_object_get(status, "health"), *hang = json_object_get(health, "lastHang");
    const char *verdict = report_text(health, "verdict");

    if (report_text(health, "text")[0]) {
        printf("     Health: %s", verdict);
        if (json_is_integer(json_object_get(health, "sinceUSec"))) {
            printf(" since ");
            print_moment(integer(health, "sinceUSec"));
        }
        printf("\n             %s\n", report_text(health, "text"));
    }
    if (!json_is_object(hang) || strcmp(verdict, "hung") == 0)
        return;
    printf("  Last hang: ");
    print_moment(integer(hang, "sinceUSec"));
    printf("\n             %s\n", report_text(hang, "text"));
}

static void print_usage(const struct cli *cli, json_t *status) {
    json_t *nofile = json_object_get(json_object_get(status, "limits"), "NOFILE"),
           *used = json_object_get(nofile, "used"), *soft = json_object_get(nofile, "soft");
    char memory[VALUE_FORMAT_MAX], cpu[VALUE_FORMAT_MAX];

    if (!json_is_integer(json_object_get(status, "mainPid")))
        return;
    printf("      Usage: memory %s, CPU %s",
           value_format_bytes((uint64_t) integer(status, "memoryBytes"), memory),
           value_format_usec((uint64_t) integer(status, "cpuUSec"), cpu));
    if (json_is_integer(used) && json_is_integer(soft)) {
        bool tight = json_is_true(json_object_get(nofile, "attention"));

        printf(", %s%lld of %lld descriptors%s", tight ? color_for_state(cli, "backoff") : "",
               (long long) json_integer_value(used), (long long) json_integer_value(soft),
               tight ? color_reset(cli) : "");
    }
    putchar('\n');
}

/* Of limits only what is to be minded; latchctl limits has them all. */
static void print_limits(const struct cli *cli, json_t *status) {
    json_t *warnings = json_object_get(status, "limitWarnings"), *limits = json_object_get(status, "limits");

    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        json_t *limit = json_object_get(limits, rlimit_to_name(i));

        if (json_is_true(json_object_get(limit, "attention")))
            printf("      Limit: %s: %s\n", rlimit_to_name(i), report_text(limit, "remark"));
    }
    for (size_t i = 0; i < json_array_size(warnings); i++)
        printf("    %sWarning:%s %s\n", color_for_state(cli, "backoff"), color_reset(cli),
               json_string_value(json_array_get(warnings, i)));
}

/* Its last lines in the journal; where there are none, nothing. */
static void print_log(const struct cli *cli, const char *service) {
    char unit[300];
    const char *units[] = {unit};
    struct journal_query query = {
        .service = service, .units = units, .n_units = 1, .lines_set = true, .lines = LOG_LINES};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *lines = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&lines, &size);

    if (!memory)
        return;
    snprintf(unit, sizeof unit, "latchd@%s.service", service);
    (void) journal_show(&query, LOG_FORMAT_SHORT, memory, cli->color, &err);
    if (fclose(memory) == 0 && size > 0)
        printf("\n%s", lines);
}

static void print_status(const struct cli *cli, json_t *status) {
    json_t *unsupervised = json_object_get(status, "unsupervisedPid");
    const char *state = json_is_integer(unsupervised) ? "unsupervised" : report_text(status, "state"),
               *text = report_text(status, "statusText");
    json_t *supervisor = json_object_get(status, "supervisorPid"),
           *main_pid = json_object_get(status, "mainPid");

    printf("%s●%s %s%s%s\n", color_for_state(cli, state), color_reset(cli), report_text(status, "service"),
           report_text(status, "description")[0] ? " - " : "", report_text(status, "description"));
    printf("      State: %s%s%s", color_for_state(cli, state), state, color_reset(cli));
    if (json_is_integer(json_object_get(status, "sinceUSec"))) {
        printf(" since ");
        print_moment(integer(status, "sinceUSec"));
    }
    if (!json_is_integer(supervisor))
        printf(" (no supervisor runs)");
    putchar('\n');
    if (text[0])
        printf("%11s: %s\n", json_is_integer(main_pid) ? "Status" : "Because", text);
    if (json_is_integer(unsupervised))
        printf("   Main PID: %lld\n", (long long) json_integer_value(unsupervised));
    if (json_is_integer(main_pid))
        printf("   Main PID: %lld (generation %lld, %lld restart%s)\n",
               (long long) json_integer_value(main_pid), (long long) integer(status, "generation"),
               (long long) integer(status, "restarts"), integer(status, "restarts") == 1 ? "" : "s");
    if (json_is_integer(supervisor))
        printf(" Supervisor: PID %lld%s%s\n", (long long) json_integer_value(supervisor),
               report_text(status, "unit")[0] ? ", unit " : "", report_text(status, "unit"));
    print_health(status);
    print_history(status);
    print_locks(cli, status);
    print_processes(json_object_get(status, "leftovers"), "Left over", "why");
    print_processes(json_object_get(status, "unattributed"), "Unknown", NULL);
    print_usage(cli, status);
    print_limits(cli, status);
    print_log(cli, report_text(status, "service"));
}

/* LSB: 0 running, 3 not running, 4 no such service. */
static int exit_code(json_t *status) {
    return json_is_integer(json_object_get(status, "mainPid")) ? EXIT_SUCCESS : EXIT_LSB_NOT_RUNNING;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {0}};
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    json_t *all;
    int c, r, code = EXIT_SUCCESS;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
        if ((r = cli_option(cli, &command_status, c, optarg)) >= 0)
            return r;
    if (supervisor_choose(cli, argv + optind, &names, &err) < 0)
        return cli_fail(&err);
    all = json_array();
    for (char **name = names; name && *name; name++) {
        json_t *status;
        int one;

        if (supervisor_status(cli, *name, true, &status, &err) < 0) {
            one = cli_fail(&err);
            if (err.name && strcmp(err.name, "NoService") == 0)
                one = EXIT_LSB_NO_SERVICE;
        } else {
            one = exit_code(status);
            if (!cli->json) {
                if (json_array_size(all) > 0)
                    putchar('\n');
                print_status(cli, status);
            }
            json_array_append_new(all, status);
        }
        if (one > code)
            code = one;
    }
    if (cli->json && cli_print_json(json_incref(all)) != EXIT_SUCCESS)
        code = EXIT_FAILURE;
    json_decref(all);
    return code;
}

const struct command command_status = {
    .name = "status",
    .arguments = "[SERVICE...]",
    .summary = "everything about a service at a glance",
    .help = "Without a service, all that are configured or supervised.\n\n"
            "Exit status: 0 running, 3 not running, 4 no such service, 77 not permitted; the largest of "
            "several.\n",
    .run = run,
};
