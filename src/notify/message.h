/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a daemon says by sd_notify(3): lines of NAME=VALUE in one datagram. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NOTIFY_MESSAGE_MAX 4096 /* a longer one is ignored, as by systemd */
#define NOTIFY_STATUS_MAX 256   /* with NUL; a longer STATUS= is cut */
#define NOTIFY_FD_NAME_MAX 256  /* with NUL (sd_pid_notify_with_fds(3): FDNAME=) */

enum notify_phase {
    NOTIFY_PHASE_NONE,
    NOTIFY_PHASE_READY,
    NOTIFY_PHASE_RELOADING,
    NOTIFY_PHASE_STOPPING,
};

struct notify_message {
    enum notify_phase phase; /* of several, the last counts */
    bool has_monotonic;
    uint64_t monotonic_usec; /* MONOTONIC_USEC=: CLOCK_MONOTONIC when a reload began */
    bool has_status;
    char status[NOTIFY_STATUS_MAX]; /* printable */
    pid_t main_pid;                 /* 0: none */
    bool has_errno, has_exit_status;
    int error_number;
    int exit_status;
    uint64_t extend_usec; /* 0: none */
    bool watchdog_ping, watchdog_trigger, has_watchdog_usec;
    uint64_t watchdog_usec;
    bool barrier; /* nothing else in the message counts then */
    bool fd_store, fd_remove;
    bool fd_poll;                     /* FDPOLL=0 was not said */
    char fd_name[NOTIFY_FD_NAME_MAX]; /* empty: none was given */
    const char *bad; /* name of the first assignment whose value makes no sense and was left out;
                        NULL: none */
};

/* Unknown names are left out. -EBADMSG: a NUL within it (one at its end is fine). */
int notify_message_parse(const char *data, size_t size, struct notify_message *ret);

/* As systemd has it: 1 to 255 printable ASCII characters, no colon. */
bool notify_fd_name_is_valid(const char *name);
