/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/recover-tell.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "base/value.h"
#include "lock/describe.h"

#define ACTIONS_MAX 64
#define TOLD_MAX 16384 /* bytes; who goes beyond hears of all again */

static void add_lock_fields(struct event_fields *fields, const struct inspection *inspection, size_t path,
                            const struct process_facts *process) {
    const struct inspected *inspected = &inspection->paths[path];

    event_field_set(fields, "LATCHD_VERDICT", verdict_to_string(inspected->judgement.verdict));
    event_field_set(fields, "LATCHD_REASON", verdict_reason_to_string(inspected->judgement.reason));
    if (inspection->facts[path].recorded.pid > 0)
        event_field_add(fields, "LATCHD_RECORDED_PID", "%d", (int) inspection->facts[path].recorded.pid);
    if (process) {
        char comm[sizeof process->comm];

        memcpy(comm, process->comm, sizeof comm);
        value_make_printable(comm);
        event_field_add(fields, "LATCHD_HOLDER_PID", "%d", (int) process->pid);
        event_field_add(fields, "LATCHD_HOLDER_COMM", "%s", comm);
    }
}

/* All that was done, as the journal was told of it piece by piece, and how long it took. */
static void add_story_fields(struct event_fields *fields, const struct recovery *recovery) {
    _cleanup_text_ struct text text = {0};
    _cleanup_free_ char *story = NULL;
    char took[VALUE_FORMAT_MAX];
    json_t *action;
    size_t i;

    json_array_foreach(recovery->actions, i, action)
        text_add_format(&text, "%s%s", i > 0 ? "; " : "", json_string_value(json_object_get(action, "text")));
    if (text_take(&text, &story) >= 0)
        event_field_add(fields, "LATCHD_ACTIONS", "%s", story);
    event_field_add(fields, "LATCHD_DURATION", "%s",
                    value_format_usec(now_usec(CLOCK_REALTIME) - recovery->started_usec, took));
}

static bool event_is_about_lock(enum event_id event) {
    return event == EVENT_LOCK_ORPHANED || event == EVENT_ORPHAN_TERMINATED || event == EVENT_ORPHAN_KILLED;
}

void recovery_remember(struct recovery *recovery, const char *step, const char *path, pid_t pid,
                       const char *text) {
    json_t *entry;
    uint64_t usec = now_usec(CLOCK_REALTIME);

    if (recovery->started_usec == 0)
        recovery->started_usec = usec;
    if (!recovery->actions)
        recovery->actions = json_array();
    if (json_array_size(recovery->actions) >= ACTIONS_MAX)
        return;
    entry = json_pack("{s:s, s:s, s:I}", "step", step, "text", text, "atUSec", (json_int_t) usec);
    if (entry && path)
        json_object_set_new(entry, "path", json_string(path));
    if (entry && pid > 0)
        json_object_set_new(entry, "pid", json_integer(pid));
    json_array_append_new(recovery->actions, entry);
}

/* Remembers for status and tells the journal, in the same words. */
static void report(struct recovery *recovery, const struct recovery_host *host, enum event_id event,
                   const struct inspection *inspection, const struct recover_action *action,
                   const char *text) {
    const struct process_facts *process = recover_action_process(inspection, action);
    struct event_fields fields = {.n = 0};
    char timeout[VALUE_FORMAT_MAX];

    event_field_set(&fields, event_is_about_lock(event) ? "LATCHD_LOCK" : "LATCHD_PATH",
                    inspection->paths[action->path].path);
    add_lock_fields(&fields, inspection, action->path, process);
    if (event == EVENT_ORPHAN_KILLED)
        event_field_add(&fields, "LATCHD_TIMEOUT", "%s",
                        value_format_usec(host->config->orphan_kill_usec, timeout));
    if (action->proof != PROOF_NONE)
        event_field_set(&fields, "LATCHD_PROOF", leftover_proof_to_string(action->proof));
    if (!host->dry_run)
        event_emit(host->log, event, &host->scope, fields.fields, fields.n, "%s", text);
    recovery_remember(recovery, recover_step_to_string(action->step), inspection->paths[action->path].path,
                      process ? process->pid : 0, text);
}

char *recover_summary(const struct inspection *inspection, size_t path) {
    const struct inspected *inspected = &inspection->paths[path];

    return lock_describe(&inspection->facts[path], &inspected->context, &inspected->judgement);
}

static void tell_cleared(struct recovery *recovery, const struct recovery_host *host,
                         const struct inspection *inspection, const struct recover_action *action) {
    _cleanup_free_ char *summary = recover_summary(inspection, action->path), *text = NULL;

    if (asprintf(&text, "%s %s: %s", host->dry_run ? "Would remove" : "Removed",
                 inspection->paths[action->path].path, summary ? summary : "its owner is dead") >= 0)
        report(recovery, host, EVENT_STALE_CLEARED, inspection, action, text);
}

void recover_tell_cleared(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_plan *plan) {
    for (size_t i = 0; i < plan->n; i++)
        if (plan->actions[i].cleared)
            tell_cleared(recovery, host, inspection, &plan->actions[i]);
}

void recover_tell_free(struct recovery *recovery, const struct recovery_host *host) {
    struct event_fields fields = {.n = 0};

    if (!recovery->actions || host->dry_run || host->stopping)
        return;
    add_story_fields(&fields, recovery);
    event_emit(host->log, recovery->blocked_by ? EVENT_UNBLOCKED : EVENT_RECOVERY_DONE, &host->scope,
               fields.fields, fields.n, "The way is free for %s", host->config->name);
}

/* Several may be refused in one round, each with a line of its own in blocked_by. */
static void add_blocker(struct recovery *recovery, const char *text) {
    const char *told = recovery->blocked_by;
    char *all;

    if (!told || strlen(told) > TOLD_MAX)
        told = "";
    if (asprintf(&all, "%s%s%s", told, *told ? "\n" : "", text) < 0)
        all = NULL;
    free(recovery->blocked_by);
    recovery->blocked_by = all;
}

void recover_tell_refused(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_action *action,
                          const struct err *err) {
    if (recovery->blocked_by && strstr(recovery->blocked_by, err_text(err)))
        return;
    report(recovery, host, EVENT_CLEAR_REFUSED, inspection, action, err_text(err));
    add_blocker(recovery, err_text(err));
}

void recover_tell_leftover(struct recovery *recovery, const struct recovery_host *host,
                           const struct inspection *inspection, const struct recover_action *action) {
    _cleanup_free_ char *summary = recover_summary(inspection, action->path), *text = NULL;
    char grace[VALUE_FORMAT_MAX];
    int r;

    if (host->dry_run)
        r = asprintf(&text, "%s is held by a leftover: %s", inspection->paths[action->path].path,
                     summary ? summary : "");
    else if (host->config->orphan_policy == ORPHAN_WAIT)
        r = asprintf(&text, "%s is held by a leftover: %s. Waiting for it to end",
                     inspection->paths[action->path].path, summary ? summary : "");
    else if (host->on_request || host->config->orphan_grace_usec == 0)
        r = asprintf(&text, "%s is held by a leftover: %s. It is ended now",
                     inspection->paths[action->path].path, summary ? summary : "");
    else
        r = asprintf(&text, "%s is held by a leftover: %s. It has %s to end by itself",
                     inspection->paths[action->path].path, summary ? summary : "",
                     value_format_usec(host->config->orphan_grace_usec, grace));
    if (r >= 0)
        report(recovery, host, EVENT_LOCK_ORPHANED, inspection, action, text);
}

void recover_tell_signal(struct recovery *recovery, const struct recovery_host *host,
                         const struct inspection *inspection, const struct recover_action *action,
                         const char *who) {
    bool kill = action->step == RECOVER_KILL;
    _cleanup_free_ char *text = NULL;

    if (asprintf(&text, "%s %s to %s, which a dead '%s' left and which keeps %s (proof: %s)",
                 host->dry_run ? "Would send" : "Sent", kill ? "SIGKILL" : "SIGTERM", who, host->config->name,
                 inspection->paths[action->path].path, leftover_proof_describe(action->proof)) >= 0)
        report(recovery, host, kill ? EVENT_ORPHAN_KILLED : EVENT_ORPHAN_TERMINATED, inspection, action,
               text);
}

/* What makes it another one that blocks: the message, but where the living owner is known he alone, for
 * helpers of his come and go (Kea's kea-lfc). NULL: no memory. */
static char *blocker_of(const struct inspection *inspection, const struct recover_action *action,
                        const char *text) {
    const struct process_facts *owner = &inspection->facts[action->path].recorded.process;
    const struct inspected *inspected = &inspection->paths[action->path];
    char *key = NULL;

    if (inspected->judgement.verdict != VERDICT_HELD || owner->pid <= 0 || owner->life != PROCESS_ALIVE)
        return strdup(text);
    return asprintf(&key, "%s: %s, PID %d since %" PRIu64, inspected->path,
                    verdict_reason_to_string(inspected->judgement.reason), (int) owner->pid,
                    owner->start_ticks) < 0
               ? NULL
               : key;
}

bool recover_tell_blocked(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_plan *plan,
                          struct err *err) {
    const struct recover_action *action = NULL;
    const struct inspected *inspected;
    _cleanup_free_ char *summary = NULL, *advice = NULL, *text = NULL, *blocker = NULL;
    enum verdict_reason before;
    enum verdict verdict;

    for (size_t i = 0; i < plan->n && !action; i++)
        if (plan->actions[i].step == RECOVER_BLOCKED)
            action = &plan->actions[i];
    if (!action)
        return false;
    inspected = &inspection->paths[action->path];
    verdict = inspected->judgement.verdict;
    summary = recover_summary(inspection, action->path);
    if (verdict == VERDICT_ORPHANED)
        advice = strdup(
            host->config->orphan_policy == ORPHAN_FAIL
                ? "OrphanPolicy=fail leaves it to you"
                : "nothing proves that it is this service's: if you know it for one, end it by hand, or "
                  "name its executable in OrphanAllow=");
    else
        advice = lock_advise(&inspection->facts[action->path], &inspected->context, &inspected->judgement,
                             host->config->name);
    if (asprintf(&text, "%s is in the way (%s, %s): %s; %s", inspected->path, verdict_to_string(verdict),
                 verdict_reason_to_string(inspected->judgement.reason), summary ? summary : "",
                 advice ? advice : "") < 0)
        return false;
    err_set(err, EBUSY, verdict == VERDICT_HELD ? "Held" : "Blocked", "%s", text);
    blocker = blocker_of(inspection, action, text);
    if (host->stopping || !blocker || (recovery->blocked_by && strcmp(recovery->blocked_by, blocker) == 0))
        return false;
    free(recovery->blocked_by);
    recovery->blocked_by = TAKE_PTR(blocker);
    report(recovery, host, EVENT_BLOCKED, inspection, action, text);
    before = recovery->blocked_reason;
    recovery->blocked_reason = inspected->judgement.reason;
    return before != recovery->blocked_reason;
}
