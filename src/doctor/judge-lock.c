/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locks, PID files and socket files: what `latchctl probe` judged, as causes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor/judge.h"

static bool is(const char *text, const char *word) {
    return text && word && strcmp(text, word) == 0;
}

static json_t *evidence_of(const struct doctor_lock *lock) {
    return json_pack("{s:s?, s:s?, s:s?, s:o, s:o, s:s?, s:s?}", "kind", lock->kind, "verdict", lock->verdict,
                     "reason", lock->reason, "recordedPid", doctor_number_to_json(lock->recorded_pid),
                     "holderPid", doctor_number_to_json(lock->holder_pid), "holder", lock->holder_comm,
                     "role", lock->holder_role);
}

/* Somebody holds it, and that is as it should be: the main process, or the supervisor for it. */
static bool is_in_good_hands(const struct doctor_facts *facts, const struct doctor_lock *lock) {
    if (!doctor_known(lock->holder_pid))
        return facts->pid > 0 && is(lock->reason, "live");
    return (doctor_known(facts->pid) && facts->pid > 0 && lock->holder_pid == facts->pid) ||
           lock->holder_pid == facts->supervisor_pid;
}

static void find(const struct doctor_lock *lock, enum doctor_cause cause, enum doctor_severity severity,
                 struct doctor_findings *findings) {
    struct doctor_finding *finding = doctor_find(findings, cause, severity, evidence_of(lock), "%s",
                                                 lock->path   ? lock->path
                                                 : lock->name ? lock->name
                                                              : "a lock");

    doctor_say(finding, "%s", lock->text ? lock->text : lock->verdict);
    if (lock->advice)
        doctor_advise(finding, "%s", lock->advice);
}

/* What is said better elsewhere: the path of a listener of latchd's that is not there any more
 * (judge-queue.c), and the lock of one whose latchd is dead, while the main process lives with the listener
 * (judge-service.c). */
static bool is_told_elsewhere(const struct doctor_facts *facts, const struct doctor_lock *lock) {
    uint64_t owner = doctor_known(lock->holder_pid) ? lock->holder_pid : lock->recorded_pid;

    for (size_t i = 0; i < facts->n_listeners; i++) {
        const struct doctor_listener *listener = &facts->listeners[i];

        if (!doctor_yes(listener->owned))
            continue;
        if (listener->displaced && is(listener->address, lock->path))
            return true;
        if (is(lock->reason, "unlocked") && is(listener->name, lock->name) && facts->supervised == 0 &&
            doctor_main(facts) && owner == facts->pid)
            return true;
    }
    return false;
}

static void judge_lock(const struct doctor_facts *facts, const struct doctor_lock *lock,
                       struct doctor_findings *findings) {
    bool runs = doctor_main(facts) != NULL;
    bool is_socket = is(lock->kind, "socket");

    if (is(lock->verdict, "orphaned"))
        find(lock, DOCTOR_LOCK_ORPHANED, DOCTOR_ERROR, findings);
    else if (is(lock->verdict, "stale"))
        find(lock,
             !is_socket ? DOCTOR_LOCK_STALE
             : runs     ? DOCTOR_NO_LISTENER
                        : DOCTOR_SOCKET_STALE,
             is_socket && runs ? DOCTOR_ERROR : DOCTOR_WARNING, findings);
    else if (!is(lock->verdict, "held"))
        return;
    else if (is(lock->reason, "not-listening"))
        find(lock, DOCTOR_NO_LISTENER, DOCTOR_ERROR, findings);
    else if (is(lock->reason, "split") || is(lock->reason, "unreachable"))
        find(lock, DOCTOR_LOCK_HELD, DOCTOR_ERROR, findings);
    else if (is(lock->reason, "unlocked"))
        find(lock, DOCTOR_LOCK_HELD, DOCTOR_WARNING, findings);
    else if (!is_in_good_hands(facts, lock) && !is(lock->holder_role, "main"))
        find(lock, DOCTOR_LOCK_HELD, runs ? DOCTOR_WARNING : DOCTOR_ERROR, findings);
}

void doctor_judge_locks(const struct doctor_facts *facts, struct doctor_findings *findings) {
    for (size_t i = 0; i < facts->n_locks; i++)
        if (!is_told_elsewhere(facts, &facts->locks[i]))
            judge_lock(facts, &facts->locks[i], findings);
}
