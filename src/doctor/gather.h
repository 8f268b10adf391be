/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Gathers facts for the doctor: two looks, some time apart, at any number of services. It connects to nobody,
 * signals nobody and changes nothing, and of a process it reads only what the kernel tells without asking the
 * process's memory, which may be a file system that does not answer. What cannot be read is unknown, and said
 * to be. */

#include "base/value.h"
#include "config/config.h"
#include "doctor/facts.h"

#define DOCTOR_INTERVAL_MIN_USEC (100 * USEC_PER_MSEC)
#define DOCTOR_INTERVAL_MAX_USEC (60 * USEC_PER_SEC)

struct doctor_request {
    const char *service;                 /* NULL: a bare process. Borrowed, as all here */
    const struct service_config *config; /* NULL: not known */
    const char *config_why;              /* why not; NULL: there is none to know */
    bool config_is_bad;                  /* and that is for its mistakes */
    const char *state, *status_text;     /* as the supervisor tells; NULL: not known */
    const char *last_exit;               /* likewise */
    bool last_exit_failed;               /* and not as one ends that is told to */
    uint64_t last_exit_usec;             /* CLOCK_REALTIME; 0: not known */
    uint64_t restarts;                   /* DOCTOR_UNKNOWN */
    const char *options;                 /* what latchctl was told of directories; NULL: nothing */
    const char *main_of;                 /* of a bare process: its service; NULL: none, or not known */
    bool supervised;
    pid_t supervisor_pid;           /* 0: not known */
    const char *supervisor_silence; /* how it failed to answer; NULL: it did, or there is none */
    const char *limits_command;     /* that changes limits of the running daemon; NULL: none does */
    pid_t pid;                      /* the main process; 0: there is none */
    json_t *reports;                /* on its locks, as `latchctl probe --json` has them; NULL: not known */
};

/* *ret is an array of n, to be released by doctor_facts_free_array(). -ESRCH: a bare process is not there,
 * and *ret_missing says which; else fails only for want of resources or of /proc. */
int doctor_gather(const struct doctor_request *requests, size_t n, uint64_t interval_usec,
                  struct doctor_facts **ret, pid_t *ret_missing);

void doctor_facts_free_array(struct doctor_facts *facts, size_t n);
