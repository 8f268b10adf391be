/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "cli/table.h"

#define WATCH_DEFAULT_USEC USEC_PER_SEC
#define WATCH_LEAST_USEC (50 * USEC_PER_MSEC)

static json_int_t integer(json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static const char *number(json_t *row, const char *key, char buffer[static 24]) {
    if (!json_is_integer(json_object_get(row, key)))
        return NULL;
    snprintf(buffer, 24, "%lld", (long long) integer(row, key));
    return buffer;
}

/* For how long it has been full, or was in all. */
static const char *full_text(json_t *row, char buffer[static VALUE_FORMAT_MAX + 16]) {
    uint64_t now = now_usec(CLOCK_REALTIME), since = (uint64_t) integer(row, "fullSinceUSec");
    uint64_t for_usec = now > since ? now - since : 0, sum = (uint64_t) integer(row, "fullUSec");
    char text[VALUE_FORMAT_MAX];

    if (json_is_true(json_object_get(row, "full")))
        snprintf(buffer, VALUE_FORMAT_MAX + 16, "now, %s", value_format_usec(for_usec, text));
    else if (sum > 0)
        snprintf(buffer, VALUE_FORMAT_MAX + 16, "%s", value_format_usec(sum, text));
    else
        return NULL;
    return buffer;
}

static void add_row(const struct cli *cli, struct table *table, json_t *row) {
    char queue[24], limit[24], high[24], full[VALUE_FORMAT_MAX + 16];
    const char *cells[] = {report_text(row, "service"), report_text(row, "name"),
                           report_text(row, "owner"),   number(row, "queue", queue),
                           number(row, "limit", limit), number(row, "highWater", high),
                           full_text(row, full),        report_text(row, "listen")};
    enum { FULL = 6 };

    (void) table_add(table, cells);
    if (json_is_true(json_object_get(row, "full")))
        table_set_color(table, FULL, color_for_state(cli, "failed"));
}

static int print_table(const struct cli *cli, json_t *rows) {
    static const char *const columns[] = {"SERVICE", "NAME", "OWNER", "QUEUE",
                                          "LIMIT",   "HIGH", "FULL",  "LISTEN"};
    static const size_t missable[] = {2, 5}; /* OWNER, HIGH */
    struct table *table = table_new(cli, columns, ELEMENTSOF(columns));

    if (!table)
        return EXIT_FAILURE;
    table_set_missable(table, missable, ELEMENTSOF(missable));
    for (size_t i = 0; i < json_array_size(rows); i++)
        add_row(cli, table, json_array_get(rows, i));
    return table_print(table);
}

/* Why something is not known, once for each socket. */
static void print_remarks(json_t *rows) {
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);

        if (json_is_string(json_object_get(row, "remark")))
            printf("%s, %s: %s\n", report_text(row, "service"), report_text(row, "listen"),
                   report_text(row, "remark"));
    }
}

/* All the services' rows. What failed is told, and is the exit code. */
static json_t *look_at_all(struct cli *cli, char *const *names, int *ret_code) {
    json_t *all = json_array();

    for (char *const *name = names; name && *name; name++) {
        _cleanup_err_ struct err err = {0};
        json_t *rows = NULL;

        if (supervisor_sockets(cli, *name, &rows, &err) < 0) {
            *ret_code = cli_fail(&err);
            continue;
        }
        for (size_t i = 0; i < json_array_size(rows); i++)
            json_object_set_new(json_array_get(rows, i), "service", json_string(*name));
        json_array_extend(all, rows);
        json_decref(rows);
    }
    return all;
}

static int print_sample(struct cli *cli, json_t *rows, bool watching) {
    int r;

    if (cli->json && !watching)
        return cli_print_json(rows);
    if (cli->json) {
        r = json_dumpf(rows, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF || fflush(stdout) != 0
                ? EXIT_FAILURE
                : EXIT_SUCCESS;
        json_decref(rows);
        return r;
    }
    if (watching && cli->terminal)
        fputs("\033[H\033[2J", stdout);
    r = print_table(cli, rows);
    if (r == EXIT_SUCCESS) {
        print_remarks(rows);
        if (watching && !cli->terminal)
            putchar('\n');
        r = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    json_decref(rows);
    return r;
}

/* Waits for so long. False: somebody ends it, by a signal or by closing what is printed to. */
static bool pause_for(int signal_fd, uint64_t usec) {
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    struct timespec time = {.tv_sec = (time_t) (usec / USEC_PER_SEC),
                            .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC)};
    int r;

    do
        r = ppoll(fds, ELEMENTSOF(fds), &time, NULL);
    while (r < 0 && errno == EINTR);
    return r == 0;
}

static int watch(struct cli *cli, char *const *names, uint64_t interval_usec) {
    _cleanup_close_ int signal_fd = -EBADF;
    sigset_t set;
    int code = EXIT_SUCCESS;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE); /* that nobody reads any more is no failure */
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0)
        return EXIT_FAILURE;
    for (bool any = false;;) {
        json_t *rows = look_at_all(cli, names, &code);

        any |= json_array_size(rows) > 0;
        if (!any && code != EXIT_SUCCESS) { /* there is none of those services, and there was none */
            json_decref(rows);
            return code;
        }
        errno = 0;
        if (print_sample(cli, rows, true) != EXIT_SUCCESS)
            return errno == EPIPE ? EXIT_SUCCESS : EXIT_FAILURE;
        if (!pause_for(signal_fd, interval_usec))
            return code;
    }
}

static int parse_interval(const char *text, uint64_t *ret) {
    if (!text) {
        *ret = WATCH_DEFAULT_USEC;
        return 0;
    }
    return value_parse_usec(text, ret) < 0 || *ret < WATCH_LEAST_USEC || *ret == USEC_INFINITY ? -EINVAL : 0;
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {"watch", optional_argument, NULL, 'w'}, {0}};
    _cleanup_strlist_ char **names = NULL;
    _cleanup_err_ struct err err = {0};
    uint64_t interval_usec = 0;
    int c, r, code = EXIT_SUCCESS;
    json_t *rows;

    while ((c = getopt_long(argc, argv, "hw", options, NULL)) >= 0)
        if (c == 'w') {
            if (parse_interval(optarg, &interval_usec) < 0)
                return cli_fail_usage(&command_sockets, "--watch= takes a time of 50ms or more", optarg);
        } else if ((r = cli_option(cli, &command_sockets, c, optarg)) >= 0)
            return r;
    if (supervisor_choose(cli, argv + optind, &names, &err) < 0)
        return cli_fail(&err);
    if (interval_usec > 0)
        return watch(cli, names, interval_usec);
    rows = look_at_all(cli, names, &code);
    r = print_sample(cli, rows, false);
    return r ? r : code;
}

const struct command command_sockets = {
    .name = "sockets",
    .arguments = "[SERVICE...]",
    .summary = "how many connections wait at the services' sockets",
    .help =
        "  -w, --watch[=TIME]  again and again, each second, or as often as said behind the = (at least "
        "50ms)\n\n"
        "QUEUE connections wait for the daemon to take them, LIMIT may wait; HIGH waited at most, of the\n"
        "times that was looked. FULL: for how long the queue was full in all, or has been now.\n",
    .run = run,
};
