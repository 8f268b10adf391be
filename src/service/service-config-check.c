/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A new configuration read on trial, beside the loop. Whatever it names is looked at for that (executables,
 * directories, files of the environment), and of a file system that does not answer, a network's or one of a
 * program (FUSE), each look may last for ever. */
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/value.h"
#include "health/helper.h"
#include "service/service-internal.h"

#define TRIAL_USEC (5 * USEC_PER_SEC)
#define SAID_MAX (HELPER_ANSWER_MAX - 1024)

struct config_check {
    struct service *service;
    struct helper *helper;
    service_config_checked_t done;
    void *userdata;
    struct config_check *next;
};

/* ---- the child ---- */

static struct {
    int fd;
    size_t size;
} said; /* the child's: a callback of the configuration's has no place for it */

/* The last line is what it waits for. */
static void say_touching(const char *key, const char *path) {
    char line[600];
    size_t size;

    snprintf(line, sizeof line - 1, "%s%s%s", key, *key ? "=" : "", path);
    value_make_printable(line);
    size = strlen(line);
    if (said.size + size + 1 > SAID_MAX)
        return;
    line[size++] = '\n';
    said.size += size;
    (void) fd_write_all(said.fd, line, size);
}

static void try_to_read(const void *question, int fd, int out_fd) {
    const struct service *service = question;
    struct config_paths paths = service->manager->config_paths;
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};

    (void) fd;
    said.fd = out_fd;
    paths.touching = say_touching;
    (void) service_config_load(service->config_word, &paths, NULL, &config, &err);
    (void) fd_write_all(out_fd, "\n", 1); /* an empty line: it has come to its end */
}

/* ---- latchd ---- */

static void finish(struct config_check *check, const struct err *err) {
    struct service *service = check->service;
    service_config_checked_t done = check->done;
    struct config_check **link = &service->checks;
    void *userdata = check->userdata;

    while (*link != check)
        link = &(*link)->next;
    *link = check->next;
    helper_free(check->helper);
    free(check);
    done(service, err, userdata);
}

static void refuse(struct config_check *check, const char *reason) {
    _cleanup_err_ struct err err = {0};

    (void) service_reject_config(check->service, NULL, reason, NULL);
    (void) err_set(&err, ETIMEDOUT, "CannotRead",
                   "the old configuration is kept, and the daemon was not told to reload: %s", reason);
    finish(check, &err);
}

/* The last whole line; NULL: there is none. */
static char *last_line(const char *text, size_t size) {
    const char *begin;

    if (size == 0 || text[size - 1] != '\n')
        return NULL;
    begin = memrchr(text, '\n', size - 1);
    begin = begin ? begin + 1 : text;
    return strndup(begin, size - 1 - (size_t) (begin - text));
}

static void on_tried(int error, const void *answer, size_t size, void *userdata) {
    struct config_check *check = userdata;
    _cleanup_free_ char *line = last_line(answer, size), *reason = NULL;
    char waited[VALUE_FORMAT_MAX];

    check->helper = NULL;
    if (line && !*line) {
        finish(check, NULL);
        return;
    }
    value_format_usec(TRIAL_USEC, waited);
    if (asprintf(&reason,
                 error == -ETIMEDOUT
                     ? "it cannot be told whether it is good: %s did not answer within %s; is "
                       "the file system that it is on still there?"
                     : "read on trial, the reader ended at %s",
                 line ? line : "its file", waited) < 0)
        reason = NULL;
    refuse(check, reason ? reason : "out of memory");
}

void service_check_config(struct service *service, service_config_checked_t done, void *userdata) {
    struct config_check *check = service->config_word ? calloc(1, sizeof *check) : NULL;

    if (check)
        *check = (struct config_check){
            .service = service, .done = done, .userdata = userdata, .next = service->checks};
    /* Described by options: there is no file. And without a process for it, it is read without a trial. */
    if (!check || helper_start(service->manager->event, try_to_read, service, -EBADF, TRIAL_USEC, on_tried,
                               check, &check->helper) < 0) {
        free(check);
        done(service, NULL, userdata);
        return;
    }
    service->checks = check;
}

void service_end_config_checks(struct service *service) {
    _cleanup_err_ struct err err = {0};

    (void) err_set(&err, ECANCELED, "Cancelled", "latchd ends");
    while (service->checks)
        finish(service->checks, &err);
}
