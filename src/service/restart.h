/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Restart= and RestartSec= as pure functions. All times in microseconds on one clock (CLOCK_BOOTTIME). */

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

struct exit_status {
    bool known; /* false: an adopted daemon, whose parent is another process */
    bool failed_to_execute;
    int code;   /* si_code: CLD_EXITED, CLD_KILLED or CLD_DUMPED */
    int status; /* the exit status, or the signal's number */
};

/* Exit status 0, or death by a signal that asks for an end: SIGHUP, SIGINT, SIGTERM, SIGPIPE (as systemd has
 * it, systemd.service(5)). Of an unknown status nothing good is assumed. */
bool exit_status_is_clean(const struct exit_status *status);

/* "exited with status 1", "was killed by SIGKILL", "was killed by SIGSEGV (core dumped)" */
const char *exit_status_describe(const struct exit_status *status, char *buffer, size_t size);

/* As a program's exit status: of a container's init. wanted: the daemon was asked to end, and did well if it
 * obeyed. Otherwise as shells have it: N, or 128 and the signal's number. 1: nothing is known, or it was
 * never executed. */
int exit_status_to_code(const struct exit_status *status, bool wanted);

/* Whether the policy starts the daemon again after such an end. on-abnormal: signals that are not clean. */
bool restart_wanted(enum restart_policy policy, const struct exit_status *status);

struct restart_history {
    unsigned in_a_row;          /* restarts without RestartResetSec of health in between */
    uint64_t window_start_usec; /* of StartLimitIntervalSec= */
    unsigned in_window;         /* starts since then */
};

/* Somebody has seen to it: the next restart is the first again. */
static inline void restart_forget(struct restart_history *history) {
    *history = (struct restart_history){0};
}

/* How long to wait before the next start, and the bookkeeping for it: RestartSec=, doubled with each restart
 * in a row up to RestartMaxDelaySec= (from zero it grows by way of 10 ms); after RestartResetSec= of running
 * it begins anew. From the second restart on up to a tenth of the delay is taken off by chance (`random`, any
 * number), never below RestartSec=: services that failed together, of one cause, do not come back together,
 * time and again. When StartLimitBurst= starts have happened within StartLimitIntervalSec=, the rest of that
 * interval is waited for (*ret_limited), which is USEC_INFINITY for an infinite one. */
uint64_t restart_delay(const struct service_config *config, struct restart_history *history,
                       uint64_t now_usec, uint64_t ran_usec, uint32_t random, bool *ret_limited);
