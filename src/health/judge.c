/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/judge.h"

#include <stdio.h>
#include <string.h>

#include "base/value.h"

static const char *const health_symptom_names[HEALTH_SYMPTOM_MAX] = {
    [HEALTH_NONE] = "none",
    [HEALTH_NO_ANSWER] = "no-answer",
    [HEALTH_QUEUE_FULL] = "queue-full",
    [HEALTH_NO_LISTENER] = "no-listener",
    [HEALTH_BAD_ANSWER] = "bad-answer",
    [HEALTH_NO_WATCHDOG] = "no-watchdog",
    [HEALTH_TRIGGER] = "watchdog-trigger",
};
STRTAB_DEFINE(health_symptom, enum health_symptom, health_symptom_names, HEALTH_SYMPTOM_INVALID)

static const char *const health_verdict_names[HEALTH_VERDICT_MAX] = {
    [HEALTH_HEALTHY] = "healthy",       [HEALTH_BUSY] = "busy", [HEALTH_STOPPED] = "stopped",
    [HEALTH_UNANSWERED] = "unanswered", [HEALTH_HUNG] = "hung",
};
STRTAB_DEFINE(health_verdict, enum health_verdict, health_verdict_names, HEALTH_VERDICT_INVALID)

static bool is_stopped(const struct health_evidence *evidence) {
    return evidence->seen &&
           (evidence->state == 'T' || evidence->state == 't' || evidence->frozen || evidence->tracer > 0);
}

/* Runs now, used the processor, moved bytes, or waits for a disk or a server and cannot be ended before it
 * answers (state D): it may get there. */
static bool is_busy(const struct health_evidence *evidence) {
    return evidence->seen && (evidence->state == 'R' || evidence->state == 'D' ||
                              (evidence->window_usec > 0 &&
                               evidence->cpu_usec * 100 >= evidence->window_usec * HEALTH_BUSY_PERCENT) ||
                              (evidence->io_known && evidence->io_bytes >= HEALTH_BUSY_BYTES));
}

enum health_verdict health_judge(const struct health_evidence *evidence) {
    if (evidence->symptom == HEALTH_NONE)
        return HEALTH_HEALTHY;
    if (is_stopped(evidence))
        return HEALTH_STOPPED;
    switch (evidence->symptom) {
    case HEALTH_TRIGGER:
        return HEALTH_HUNG;
    case HEALTH_NO_ANSWER:
    case HEALTH_NO_WATCHDOG:
        break;
    default:
        /* It may refuse on purpose: a queue is full as well when as many clients are served as are allowed.
         */
        return HEALTH_UNANSWERED;
    }
    if (!evidence->seen || evidence->was_stopped) /* it could be stopped; it has had no time yet */
        return HEALTH_UNANSWERED;
    if (is_busy(evidence))
        return evidence->chances < HEALTH_CHANCES ? HEALTH_BUSY : HEALTH_HUNG;
    if (evidence->symptom == HEALTH_NO_ANSWER && evidence->misses < HEALTH_MISSES)
        return HEALTH_UNANSWERED;
    return HEALTH_HUNG;
}

static const char *symptom_text(const struct health_evidence *evidence, char *buffer, size_t size) {
    switch (evidence->symptom) {
    case HEALTH_NO_ANSWER:
        return "it takes connections and does not answer";
    case HEALTH_QUEUE_FULL:
        if (!evidence->queue_known)
            return "its queue of connections is full";
        snprintf(buffer, size, "its queue is full: %u connections wait (backlog %u)", evidence->queue,
                 evidence->backlog);
        return buffer;
    case HEALTH_NO_LISTENER:
        return "nobody listens on its control socket";
    case HEALTH_BAD_ANSWER:
        return "its answer is not the one of a daemon that is well";
    case HEALTH_NO_WATCHDOG:
        return "WATCHDOG=1 did not come in time";
    case HEALTH_TRIGGER:
        return "it said WATCHDOG=trigger itself";
    default:
        return "it answers";
    }
}

const char *health_describe_doing(const struct health_evidence *evidence,
                                  char buffer[static HEALTH_DESCRIBE_MAX]) {
    char cpu[VALUE_FORMAT_MAX], window[VALUE_FORMAT_MAX];

    if (!evidence->seen)
        return "its process could not be looked at";
    if (evidence->frozen)
        return "its cgroup is frozen (cgroup.freeze)";
    if (evidence->state == 't' || evidence->tracer > 0) {
        snprintf(buffer, HEALTH_DESCRIBE_MAX, "process %d debugs it", (int) evidence->tracer);
        return evidence->tracer > 0 ? buffer : "a debugger holds it";
    }
    if (evidence->state == 'T')
        return "it was stopped (SIGSTOP); SIGCONT lets it go on";
    value_format_usec(evidence->window_usec, window);
    value_format_usec(evidence->cpu_usec, cpu);
    snprintf(buffer, HEALTH_DESCRIBE_MAX, "it %s%s%s and used %s of processor time in %s",
             evidence->state == 'R'   ? "runs"
             : evidence->state == 'D' ? "waits for a disk or a server (state D)"
                                      : "sleeps",
             evidence->wchan[0] ? " in " : "", evidence->wchan, evidence->cpu_usec ? cpu : "nothing", window);
    return buffer;
}

const char *health_describe(const struct health_evidence *evidence, enum health_verdict verdict,
                            char buffer[static HEALTH_DESCRIBE_MAX]) {
    char symptom[96], doing[HEALTH_DESCRIBE_MAX], more[64] = "";

    if (verdict == HEALTH_BUSY)
        snprintf(more, sizeof more, "; it is given more time (%u of %d)", evidence->chances + 1,
                 HEALTH_CHANCES);
    else if (verdict == HEALTH_HUNG && evidence->chances > 0)
        snprintf(more, sizeof more, ", after %u times more time", evidence->chances);
    snprintf(buffer, HEALTH_DESCRIBE_MAX, "%s: %s%s", symptom_text(evidence, symptom, sizeof symptom),
             health_describe_doing(evidence, doing), more);
    return buffer;
}
