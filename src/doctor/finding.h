/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What was found: a cause of EAGAIN that is at work, or near, with its figures and what to do about it. */

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strtab.h"

/* Of two findings of one severity the one whose cause comes first is the likelier cause of the other: a
 * daemon that is stopped has full queues, and not the other way round. X(NAME, "name") */
#define DOCTOR_CAUSES(X)                                                                                     \
    X(STOPPED, "stopped")                                                                                    \
    X(SUPERVISOR_SILENT, "supervisor-silent")                                                                \
    X(NO_SUPERVISOR, "no-supervisor")                                                                        \
    X(CONFIGURATION, "configuration")                                                                        \
    X(LOCK_ORPHANED, "lock-orphaned")                                                                        \
    X(LOCK_HELD, "lock-held")                                                                                \
    X(LOCK_STALE, "lock-stale")                                                                              \
    X(SOCKET_STALE, "socket-stale")                                                                          \
    X(BLOCKED, "blocked")                                                                                    \
    X(CRASH_LOOP, "crash-loop")                                                                              \
    X(FAILED, "failed")                                                                                      \
    X(ENDED, "ended")                                                                                        \
    X(STOPPED_BY_REQUEST, "stopped-by-request")                                                              \
    X(NO_LISTENER, "no-listener")                                                                            \
    X(NOFILE, "nofile")                                                                                      \
    X(PROCESS_LIMIT, "process-limit")                                                                        \
    X(CGROUP_PIDS, "cgroup-pids")                                                                            \
    X(CLIENT_LIMIT, "client-limit")                                                                          \
    X(WORKERS_BLOCKED, "workers-blocked")                                                                    \
    X(SEND_BUFFER_FULL, "send-buffer-full")                                                                  \
    X(MAIN_BUSY, "main-busy")                                                                                \
    X(CPU_THROTTLED, "cpu-throttled")                                                                        \
    X(CGROUP_MEMORY, "cgroup-memory")                                                                        \
    X(MEMORY_PRESSURE, "memory-pressure")                                                                    \
    X(NOT_ACCEPTING, "not-accepting")                                                                        \
    X(QUEUE_FULL, "queue-full")                                                                              \
    X(BACKLOG_CLAMPED, "backlog-clamped")                                                                    \
    X(BACKLOG_REPLACED, "backlog-replaced")

enum doctor_cause {
#define X(name, text) DOCTOR_##name,
    DOCTOR_CAUSES(X)
#undef X
        DOCTOR_CAUSE_MAX,
    DOCTOR_CAUSE_INVALID = -EINVAL,
};
STRTAB_DECLARE(doctor_cause, enum doctor_cause);

enum doctor_severity {
    DOCTOR_ERROR,   /* at work now */
    DOCTOR_WARNING, /* near, or at work at times */
    DOCTOR_HINT,    /* it may become one */
    DOCTOR_SEVERITY_MAX,
    DOCTOR_SEVERITY_INVALID = -EINVAL,
};
STRTAB_DECLARE(doctor_severity, enum doctor_severity);

struct doctor_finding {
    enum doctor_cause cause;
    enum doctor_severity severity;
    char *subject; /* owned: what it is about: a path, "PID 7 (redis)" */
    char *summary; /* owned: one sentence with the arithmetic */
    json_t *evidence;
    char *remedy; /* owned: the setting or the command */
};

struct doctor_findings {
    struct doctor_finding *of; /* owned */
    size_t n;
    bool failed; /* memory ran out: there may be more */
};

#define _cleanup_doctor_findings_ _cleanup_(doctor_findings_done)
void doctor_findings_done(struct doctor_findings *findings);

/* Adds one and takes the reference to its evidence. Borrowed until the next is added; NULL: no memory, which
 * the next two bear. */
struct doctor_finding *doctor_find(struct doctor_findings *findings, enum doctor_cause cause,
                                   enum doctor_severity severity, json_t *evidence,
                                   const char *subject_format, ...) _printf_(5, 6);

/* One sentence each, made printable. A second one is appended. */
void doctor_say(struct doctor_finding *finding, const char *format, ...) _printf_(2, 3);
void doctor_advise(struct doctor_finding *finding, const char *format, ...) _printf_(2, 3);

/* The likeliest cause first. */
void doctor_findings_sort(struct doctor_findings *findings);

/* True when there is one of that cause. */
bool doctor_findings_have(const struct doctor_findings *findings, enum doctor_cause cause);

/* An array. New reference; NULL when memory runs out. */
json_t *doctor_findings_to_json(const struct doctor_findings *findings);

#define DOCTOR_COUNT_MAX 32
/* "1024", or "no limit", "unknown". */
const char *doctor_count(uint64_t number, char buffer[static DOCTOR_COUNT_MAX]);

/* The same where it stands in a printf(3): for one expression. */
#define COUNT(number) doctor_count((number), (char[DOCTOR_COUNT_MAX]){0})

/* For json_pack()'s "o": null where it is not known, "infinity". */
json_t *doctor_number_to_json(uint64_t number);
