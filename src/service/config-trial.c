/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/config-trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "recovery/inspect.h"

static struct {
    int fd;
    size_t size, max;
} said; /* the child's: a callback of the configuration's has no place for it */

static void say_touching(const char *key, const char *path) {
    char line[CONFIG_TRIAL_LINE_MAX];
    size_t size;

    snprintf(line, sizeof line - 1, "%s%s%s", key, *key ? "=" : "", path);
    value_make_printable(line);
    size = strlen(line);
    if (said.max - said.size < size + 1)
        return;
    line[size++] = '\n';
    said.size += size;
    (void) fd_write_all(said.fd, line, size);
}

void config_trial_begin(int out_fd, size_t max_bytes, struct config_paths *paths) {
    said.fd = out_fd;
    said.size = 0;
    said.max = max_bytes;
    paths->touching = say_touching;
}

void config_trial_read(const char *word, const struct config_paths *paths) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};

    (void) service_config_load(word, paths, NULL, &config, &err);
}

void config_trial_read_recorded(const char *name, const char *text) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_free_ char *executable = NULL;

    if (service_config_from_record(name, text, &config) < 0)
        return;
    say_touching("ExecStart", config->exec_start[0]);
    executable = service_find_daemon_exe(config);
}

void config_trial_end(void) {
    (void) fd_write_all(said.fd, "\n", 1);
}

char *config_trial_describe(const char *line, bool timed_out) {
    char waited[VALUE_FORMAT_MAX], *text;

    if (!line || !*line)
        line = "its file";
    value_format_usec(CONFIG_TRIAL_USEC, waited);
    if (asprintf(&text,
                 timed_out ? "it cannot be told whether it is good: %s did not answer within %s; is the file system "
                             "that it is on still there?"
                           : "read on trial, the reader ended at %s",
                 line, waited) < 0)
        return NULL;
    return text;
}
