/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "doctor/gather-parts.h"

static int take(const json_t *report, const char *key, char **ret) {
    const char *text = json_string_value(json_object_get(report, key));

    if (!text || !*text)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

static uint64_t number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t) json_integer_value(value)
                                                                    : DOCTOR_UNKNOWN;
}

/* Of several holders the main process, which is as it should be whoever has inherited the lock from it;
 * without it the first, who is in the way. */
static const json_t *find_holder(const json_t *report) {
    const json_t *holders = json_object_get(report, "holders");

    for (size_t i = 0; i < json_array_size(holders); i++) {
        const json_t *holder = json_array_get(holders, i);
        const char *role = json_string_value(json_object_get(holder, "role"));

        if (role && strcmp(role, "main") == 0)
            return holder;
    }
    return json_array_get(holders, 0);
}

static int add_lock(const json_t *report, struct doctor_facts *facts) {
    const json_t *holder = find_holder(report), *complete = json_object_get(report, "complete");
    struct doctor_lock *lock = doctor_add(facts, locks);

    if (!lock)
        return -ENOMEM;
    if (json_is_boolean(complete))
        lock->complete = json_is_true(complete);
    lock->recorded_pid = number(report, "recordedPid");
    lock->holder_pid = number(holder, "pid");
    return take(report, "name", &lock->name) < 0 || take(report, "path", &lock->path) < 0 ||
                   take(report, "kind", &lock->kind) < 0 || take(report, "verdict", &lock->verdict) < 0 ||
                   take(report, "reason", &lock->reason) < 0 || take(report, "summary", &lock->text) < 0 ||
                   take(report, "advice", &lock->advice) < 0 ||
                   take(holder, "comm", &lock->holder_comm) < 0 ||
                   take(holder, "role", &lock->holder_role) < 0
               ? -ENOMEM
               : 0;
}

/* A verdict of "unknown" is nothing found, and no health either. */
static void tell_unknown(const struct doctor_lock *lock, struct doctor_facts *facts) {
    _cleanup_free_ char *what = NULL;
    bool denied = lock->reason && (strcmp(lock->reason, "access-denied") == 0 ||
                                   strcmp(lock->reason, "incomplete-scan") == 0);

    if (!lock->verdict || strcmp(lock->verdict, "unknown") != 0 ||
        asprintf(&what, "who holds %s: %s", lock->path ? lock->path : "it", lock->text ? lock->text : "") < 0)
        return;
    doctor_unseen(facts, what, denied ? EACCES : ENODATA);
}

int doctor_gather_locks(const json_t *reports, struct doctor_facts *facts) {
    int r = 0;

    for (size_t i = 0; i < json_array_size(reports) && r >= 0; i++) {
        r = add_lock(json_array_get(reports, i), facts);
        if (r >= 0)
            tell_unknown(&facts->locks[facts->n_locks - 1], facts);
    }
    return r;
}
