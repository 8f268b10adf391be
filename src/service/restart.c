/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/restart.h"

#include <signal.h>
#include <stdio.h>

#include "base/value.h"

/* RestartSec=0 means the first restart at once, not a daemon that fails at once started without end. */
#define FIRST_DELAY_USEC (10 * USEC_PER_MSEC)

bool exit_status_is_clean(const struct exit_status *status) {
    if (!status->known || status->failed_to_execute)
        return false;
    if (status->code == CLD_EXITED)
        return status->status == 0;
    return status->code == CLD_KILLED && (status->status == SIGHUP || status->status == SIGINT ||
                                          status->status == SIGTERM || status->status == SIGPIPE);
}

const char *exit_status_describe(const struct exit_status *status, char *buffer, size_t size) {
    char signal[16];

    if (status->failed_to_execute)
        snprintf(buffer, size, "could not be executed");
    else if (!status->known)
        snprintf(buffer, size, "ended, and its exit status went to another parent");
    else if (status->code == CLD_EXITED)
        snprintf(buffer, size, "exited with status %d", status->status);
    else
        snprintf(buffer, size, "was killed by SIG%s%s",
                 value_format_signal(status->status, signal, sizeof signal),
                 status->code == CLD_DUMPED ? " (core dumped)" : "");
    return buffer;
}

int exit_status_to_code(const struct exit_status *status, bool wanted) {
    if (!status->known || status->failed_to_execute)
        return 1;
    if (status->code == CLD_EXITED)
        return status->status;
    return wanted && exit_status_is_clean(status) ? 0 : 128 + status->status;
}

bool restart_wanted(enum restart_policy policy, const struct exit_status *status) {
    switch (policy) {
    case RESTART_ALWAYS:
        return true;
    case RESTART_ON_FAILURE:
        return !exit_status_is_clean(status);
    case RESTART_ON_ABNORMAL:
        return !status->failed_to_execute && !exit_status_is_clean(status) &&
               (!status->known || status->code != CLD_EXITED);
    default:
        return false;
    }
}

/* Up to a tenth less. */
static uint64_t scatter(uint64_t delay_usec, uint64_t least_usec, uint32_t random) {
    uint64_t less;

    if (delay_usec == USEC_INFINITY)
        return delay_usec;
    less = delay_usec - delay_usec / 10 / 1024 * (random % 1025);
    return less > least_usec ? less : least_usec;
}

uint64_t restart_delay(const struct service_config *config, struct restart_history *history,
                       uint64_t now_usec_, uint64_t ran_usec, uint32_t random, bool *ret_limited) {
    uint64_t delay = config->restart_usec, most = config->restart_max_delay_usec;

    if (ran_usec >= config->restart_reset_usec)
        history->in_a_row = 0;
    if (most < delay)
        most = delay;
    for (unsigned i = 0; i < history->in_a_row && delay < most; i++)
        delay = delay == 0         ? (most < FIRST_DELAY_USEC ? most : FIRST_DELAY_USEC)
                : delay > most / 2 ? most
                                   : delay * 2;
    if (history->in_a_row > 0)
        delay = scatter(delay, config->restart_usec, random);
    if (history->in_a_row < UINT32_MAX)
        history->in_a_row++;

    *ret_limited = false;
    if (config->start_limit_burst == 0 || config->start_limit_interval_usec == 0)
        return delay;
    if (history->in_window == 0 ||
        now_usec_ - history->window_start_usec >= config->start_limit_interval_usec) {
        history->window_start_usec = now_usec_;
        history->in_window = 0;
    }
    if (++history->in_window >= config->start_limit_burst) {
        uint64_t interval = config->start_limit_interval_usec,
                 rest = interval == USEC_INFINITY ? USEC_INFINITY
                                                  : interval - (now_usec_ - history->window_start_usec);

        *ret_limited = true;
        history->in_window = 0;
        if (rest > delay)
            delay = rest;
    }
    return delay;
}
