/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A new configuration read on trial, beside the loop. */
#include <stdio.h>
#include <string.h>

#include "health/helper.h"
#include "service/config-trial.h"
#include "service/service-internal.h"

#define SAID_MAX (HELPER_ANSWER_MAX - 1024)

struct config_check {
    struct service *service;
    struct helper *helper;
    service_config_checked_t done;
    void *userdata;
    struct config_check *next;
};

/* ---- the child ---- */

static void try_to_read(const void *question, int fd, int out_fd) {
    const struct service *service = question;
    struct config_paths paths = service->manager->config_paths;

    (void) fd;
    config_trial_begin(out_fd, SAID_MAX, &paths);
    config_trial_read(service->config_word, &paths);
    config_trial_end();
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

    check->helper = NULL;
    if (line && !*line) {
        finish(check, NULL);
        return;
    }
    reason = config_trial_describe(line, error == -ETIMEDOUT);
    refuse(check, reason ? reason : "out of memory");
}

void service_check_config(struct service *service, service_config_checked_t done, void *userdata) {
    struct config_check *check = service->config_word ? calloc(1, sizeof *check) : NULL;

    if (check)
        *check = (struct config_check){
            .service = service, .done = done, .userdata = userdata, .next = service->checks};
    /* Described by options: there is no file. And without a process for it, it is read without a trial. */
    if (!check || helper_start(service->manager->event, try_to_read, service, -EBADF, CONFIG_TRIAL_USEC, on_tried,
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
