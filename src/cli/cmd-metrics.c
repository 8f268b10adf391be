/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States, restarts and queues as OpenMetrics text, for whoever collects such. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "service/state.h"

/* How the JSON of a service or a socket becomes a number. */
enum metric_kind {
    METRIC_NUMBER,
    METRIC_USEC,    /* told in seconds */
    METRIC_TRUE,    /* 1 or 0 */
    METRIC_PRESENT, /* 1: there is a number; 0: null */
    METRIC_STATE,   /* one sample a state, of which one is 1 */
};

struct metric {
    const char *name; /* without a counter's _total */
    bool counter;
    bool of_socket; /* else of the service */
    enum metric_kind kind;
    const char *key;
    const char *help;
};

static const struct metric metrics[] = {
    {"latchd_service_state", false, false, METRIC_STATE, "state", "The state that the service is in."},
    {"latchd_service_supervised", false, false, METRIC_PRESENT, "supervisorPid", "A latchd looks after it."},
    {"latchd_service_up", false, false, METRIC_PRESENT, "mainPid", "Its daemon is there."},
    {"latchd_service_ready", false, false, METRIC_TRUE, "ready", "Its daemon is ready."},
    {"latchd_service_state_since_seconds", false, false, METRIC_USEC, "sinceUSec",
     "When it came into that state, since 1970."},
    {"latchd_service_restarts", true, false, METRIC_NUMBER, "restarts",
     "How often its daemon was started again."},
    {"latchd_service_memory_bytes", false, false, METRIC_NUMBER, "memoryBytes", "The memory that it uses."},
    {"latchd_service_cpu_seconds", true, false, METRIC_USEC, "cpuUSec",
     "The processor time that it has used."},
    {"latchd_socket_listening", false, true, METRIC_TRUE, "listening", "Somebody listens there."},
    {"latchd_socket_queue", false, true, METRIC_NUMBER, "queue", "Connections that wait to be taken."},
    {"latchd_socket_queue_limit", false, true, METRIC_NUMBER, "limit", "Connections that may wait."},
    {"latchd_socket_queue_high", false, true, METRIC_NUMBER, "highWater",
     "Connections that waited at most, of the times that was looked, with this listener."},
    {"latchd_socket_queue_full_seconds", true, true, METRIC_USEC, "fullUSec",
     "How long the queue was full, of the times that was looked, with this listener."},
};

/* The quotes of a label's value, by OpenMetrics. */
static void add_label(struct text *text, const char *name, const char *value) {
    text_add_format(text, "%s=\"", name);
    for (; *value; value++)
        if (*value == '"' || *value == '\\')
            text_add_format(text, "\\%c", *value);
        else if (*value == '\n')
            text_add(text, "\\n");
        else
            text_add_bytes(text, value, 1);
    text_add(text, "\"");
}

static void add_name(struct text *text, const struct metric *metric, json_t *status, json_t *socket) {
    text_add_format(text, "%s%s{", metric->name, metric->counter ? "_total" : "");
    add_label(text, "service", report_text(status, "service"));
    if (socket) {
        text_add(text, ",");
        add_label(text, "socket", report_text(socket, "name"));
        text_add(text, ",");
        add_label(text, "listen", report_text(socket, "listen"));
    }
}

/* Several states of the inside are one to the outside. */
static void add_states(struct text *text, const struct metric *metric, json_t *status) {
    for (int i = 0; i < SERVICE_STATE_MAX; i++) {
        const char *state = service_state_shown((enum service_state) i);
        bool seen = false;

        for (int j = 0; j < i; j++)
            seen = seen || strcmp(service_state_shown((enum service_state) j), state) == 0;
        if (seen)
            continue;
        add_name(text, metric, status, NULL);
        text_add(text, ",");
        add_label(text, "state", state);
        text_add_format(text, "} %d\n", strcmp(report_text(status, metric->key), state) == 0);
    }
}

/* What is not known has no sample. */
static void add_sample(struct text *text, const struct metric *metric, json_t *status, json_t *socket) {
    json_t *value = json_object_get(socket ? socket : status, metric->key);
    long long number = (long long) json_integer_value(value);

    if (metric->kind == METRIC_STATE) {
        add_states(text, metric, status);
        return;
    }
    if (metric->kind == METRIC_TRUE ? !json_is_boolean(value)
                                    : metric->kind != METRIC_PRESENT && !json_is_integer(value))
        return;
    add_name(text, metric, status, socket);
    if (metric->kind == METRIC_USEC)
        text_add_format(text, "} %lld.%06lld\n", number / (long long) USEC_PER_SEC,
                        number % (long long) USEC_PER_SEC);
    else if (metric->kind == METRIC_NUMBER)
        text_add_format(text, "} %lld\n", number);
    else
        text_add_format(text, "} %d\n",
                        metric->kind == METRIC_TRUE ? json_is_true(value) : json_is_integer(value));
}

/* All samples of a metric stand together. */
static void add_metric(struct text *text, const struct metric *metric, json_t *services) {
    text_add_format(text, "# TYPE %s %s\n# HELP %s %s\n", metric->name, metric->counter ? "counter" : "gauge",
                    metric->name, metric->help);
    for (size_t i = 0; i < json_array_size(services); i++) {
        json_t *status = json_array_get(services, i), *sockets = json_object_get(status, "queues");

        if (!metric->of_socket)
            add_sample(text, metric, status, NULL);
        for (size_t j = 0; metric->of_socket && j < json_array_size(sockets); j++)
            add_sample(text, metric, status, json_array_get(sockets, j));
    }
}

/* Of a service that cannot be told of the others are told all the same. */
static json_t *gather(struct cli *cli, char *const *names, int *ret_code) {
    json_t *services = json_array();

    for (char *const *name = names; name && *name; name++) {
        _cleanup_err_ struct err err = {0};
        json_t *status, *sockets;

        if (supervisor_status(cli, *name, false, &status, &err) < 0) {
            *ret_code = cli_fail(&err);
            continue;
        }
        if (supervisor_sockets(cli, *name, &sockets, &err) >= 0)
            json_object_set_new(status, "queues", sockets);
        else
            *ret_code = cli_fail(&err);
        json_array_append_new(services, status);
    }
    return services;
}

static int write_file(const char *path, const char *data) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    _cleanup_free_ char *directory = slash ? strndup(path, (size_t) (slash + 1 - path)) : strdup(".");
    _cleanup_close_ int fd = directory ? open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    _cleanup_err_ struct err err = {0};
    int r = !directory ? -ENOMEM : fd < 0 ? -errno : !*name ? -EISDIR : 0;
    struct stat st;

    /* It would be replaced by a file: a directory, a device, a link is there for something else. */
    if (r >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)) {
        (void) err_set(&err, EEXIST, "Failed", "cannot write %s: it is there, and is no regular file", path);
        return cli_fail(&err);
    }
    if (r >= 0)
        r = fd_replace_file_at(fd, name, 0644, data, strlen(data));
    if (r >= 0)
        return EXIT_SUCCESS;
    errno = -r;
    (void) err_set(&err, -r, "Failed", "cannot write %s: %m", path);
    return cli_fail(&err);
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {"output", required_argument, NULL, 'o'}, {0}};
    _cleanup_strlist_ char **names = NULL;
    _cleanup_free_ char *data = NULL;
    _cleanup_err_ struct err err = {0};
    _cleanup_text_ struct text text = {0};
    const char *output = NULL;
    int c, r, code = EXIT_SUCCESS;
    json_t *services;

    while ((c = getopt_long(argc, argv, "ho:", options, NULL)) >= 0)
        if (c == 'o')
            output = optarg;
        else if ((r = cli_option(cli, &command_metrics, c, optarg)) >= 0)
            return r;
    if (supervisor_choose(cli, argv + optind, &names, &err) < 0)
        return cli_fail(&err);
    services = gather(cli, names, &code);
    if (cli->json && !output) {
        r = cli_print_json(services);
        return r ? r : code;
    }
    for (size_t i = 0; i < ELEMENTSOF(metrics); i++)
        add_metric(&text, &metrics[i], services);
    text_add(&text, "# EOF\n");
    json_decref(services);
    if (text_take(&text, &data) < 0)
        return cli_fail(&(struct err){.number = ENOMEM});
    if (output)
        r = write_file(output, data);
    else
        r = fputs(data, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    return r ? r : code;
}

const struct command command_metrics = {
    .name = "metrics",
    .arguments = "[SERVICE...]",
    .summary = "states, restarts and queues as OpenMetrics text",
    .help = "  -o, --output FILE  write FILE as a whole, instead of standard output\n",
    .run = run,
};
