/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A daemon did not answer, or WATCHDOG=1 did not come: is it hung, busy, or has somebody stopped it? Pure:
 * evidence in, verdict out (doc/latchd.8, "Hung or busy"). */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strtab.h"

/* What made us look. */
enum health_symptom {
    HEALTH_NONE,
    HEALTH_NO_ANSWER,   /* connected, and no answer within ProbeTimeoutSec= */
    HEALTH_QUEUE_FULL,  /* no connection: the listener's queue is full */
    HEALTH_NO_LISTENER, /* nobody listens, or the socket is gone */
    HEALTH_BAD_ANSWER,
    HEALTH_NO_WATCHDOG, /* no WATCHDOG=1 within WatchdogSec= */
    HEALTH_TRIGGER,     /* WATCHDOG=trigger: the daemon says so itself */
    HEALTH_SYMPTOM_MAX,
    HEALTH_SYMPTOM_INVALID = -EINVAL,
};
STRTAB_DECLARE(health_symptom, enum health_symptom);

enum health_verdict {
    HEALTH_HEALTHY,
    HEALTH_BUSY,       /* it works: it gets more time, HEALTH_CHANCES times */
    HEALTH_STOPPED,    /* SIGSTOP, a debugger, a frozen cgroup: somebody's will, never our reason to end it */
    HEALTH_UNANSWERED, /* told and watched, but no proof of a hang */
    HEALTH_HUNG,
    HEALTH_VERDICT_MAX,
    HEALTH_VERDICT_INVALID = -EINVAL,
};
STRTAB_DECLARE(health_verdict, enum health_verdict);

#define HEALTH_CHANCES 3       /* further intervals for a busy one */
#define HEALTH_MISSES 2        /* probes in a row without an answer before an idle one is taken for hung */
#define HEALTH_BUSY_PERCENT 5  /* of one processor, over the time of the look */
#define HEALTH_BUSY_BYTES 4096 /* read or written in that time */

#define HEALTH_STACK_MAX 1536

struct health_evidence {
    enum health_symptom symptom;
    unsigned chances; /* further intervals it has had as a busy one */
    unsigned misses;  /* in a row, this one included */
    bool was_stopped; /* as the last look found: it has just been let go on */

    bool seen;  /* its process could be looked at, at both ends of the look */
    char state; /* proc(5): R S D T t Z X ... */
    bool frozen;
    pid_t tracer; /* 0: none, or not known */
    unsigned threads;
    uint64_t window_usec, cpu_usec; /* used by all its threads within the window */
    bool io_known;
    uint64_t io_bytes; /* read and written within the window, page cache included */
    bool queue_known;  /* of the unix socket that was asked */
    uint32_t queue, backlog;
    char wchan[64];    /* where in the kernel its main thread waits; empty: not known, or nowhere */
    char syscall[128]; /* /proc/PID/syscall: the number of the call, and its arguments */
    char stack[HEALTH_STACK_MAX]; /* /proc/PID/stack, lines */
};

enum health_verdict health_judge(const struct health_evidence *evidence);

/* What it does, by itself: "it was stopped (SIGSTOP); SIGCONT lets it go on". */
#define HEALTH_DESCRIBE_MAX 320
const char *health_describe_doing(const struct health_evidence *evidence,
                                  char buffer[static HEALTH_DESCRIBE_MAX]);

/* One line for people: what was found, "it sleeps in futex_wait_queue and used no processor time in 1s". */
const char *health_describe(const struct health_evidence *evidence, enum health_verdict verdict,
                            char buffer[static HEALTH_DESCRIBE_MAX]);
