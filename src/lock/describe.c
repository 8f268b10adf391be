/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/describe.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "lock/process-facts.h"

char *process_describe(const struct process_facts *process) {
    char unit[128], user[64] = "", buffer[2048];
    struct passwd entry, *found = NULL;
    char *text;

    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (process->uid != (uid_t) -1) {
        if (getpwuid_r(process->uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
            snprintf(user, sizeof user, ", user %s", found->pw_name);
        else
            snprintf(user, sizeof user, ", uid %u", process->uid);
    }
    if (asprintf(&text, "%s (PID %d%s%s%s)", process->comm[0] ? process->comm : "a process",
                 (int) process->pid, user, unit[0] ? ", unit " : "", unit) < 0)
        return NULL;
    return text;
}

/* Up to three holders in words, and how many more there are. */
static char *describe_holders(const struct lock_facts *facts) {
    char *text = strdup("");

    for (size_t i = 0; text && i < facts->n_holders && i < 3; i++) {
        _cleanup_free_ char *old = text, *one = process_describe(&facts->holders[i].process);

        if (asprintf(&text, "%s%s%s", old, i ? " and " : "", one ? one : "a process") < 0)
            return NULL;
    }
    if (text && facts->n_holders > 3) {
        _cleanup_free_ char *old = text;

        if (asprintf(&text, "%s and %zu more", old, facts->n_holders - 3) < 0)
            return NULL;
    }
    return text;
}

/* Who lives, where nobody was seen to hold it: the main process that latchd knows, the recorded one, who
 * listens. */
static char *describe_living(const struct lock_facts *facts, const struct lock_context *context) {
    enum process_life life = facts->recorded.process.life;
    pid_t pid = 0;
    char *text;

    if (facts->recorded.pid > 0 && (life == PROCESS_ALIVE || life == PROCESS_STOPPED) &&
        !facts->recorded.is_thread)
        return process_describe(&facts->recorded.process);
    if (context && (context->main_life == PROCESS_ALIVE || context->main_life == PROCESS_STOPPED))
        pid = context->main.pid;
    if (pid <= 0)
        pid = facts->listener.peer.pid;
    if (pid <= 0)
        return strdup("a process that could not be seen");
    return asprintf(&text, "PID %d", (int) pid) < 0 ? NULL : text;
}

static char *describe_held(const struct lock_facts *facts, const struct lock_context *context,
                           enum verdict_reason reason) {
    _cleanup_free_ char *holders = describe_holders(facts), *living = describe_living(facts, context);
    const char *who = holders && holders[0] ? holders : living ? living : "a process";
    bool many = facts->n_holders > 1;
    char *text = NULL;
    int r;

    switch (reason) {
    case REASON_BUSY:
        r = asprintf(&text, "somebody listens on it, but its queue is full (%u of %u connections wait): %s",
                     facts->listener.queue, facts->listener.backlog, who);
        break;
    case REASON_STOPPED:
        r = asprintf(&text,
                     many ? "%s have it, and are stopped (they live: SIGCONT makes them go on)"
                          : "%s has it, and is stopped (it lives: SIGCONT makes it go on)",
                     who);
        break;
    case REASON_UNLOCKED:
        if (facts->kind == PATH_KIND_PIDFILE && facts->n_holders == 0)
            r = asprintf(&text, "it names PID %d, which is dead, but its daemon lives: %s",
                         (int) facts->recorded.pid, living ? living : "a process");
        else if (facts->n_holders == 0)
            r = asprintf(&text, "nobody has locked it, but its daemon lives: %s", who);
        else
            r = asprintf(&text, "%s %s it, and the process that took it lives", who, many ? "have" : "has");
        break;
    case REASON_STORED:
        r = asprintf(&text,
                     "who took it is dead; %s %s it, and systemd keeps descriptors for its services "
                     "(FileDescriptorStoreMax=)",
                     who, many ? "have" : "has");
        break;
    case REASON_NOT_LISTENING:
        r = asprintf(&text, "nobody listens on it (yet), but its owner lives: %s", who);
        break;
    default:
        if (facts->kind == PATH_KIND_PIDFILE && facts->n_holders == 0)
            r = asprintf(&text, "it names %s, which lives", who);
        else
            r = asprintf(&text, many ? "%s have it and live" : "%s has it and lives", who);
    }
    return r < 0 ? NULL : text;
}

static char *describe_stale(const struct lock_facts *facts, enum verdict_reason reason) {
    _cleanup_free_ char *process = NULL;
    char when[VALUE_FORMAT_MAX], *text = NULL;
    int pid = (int) facts->recorded.pid, r;

    switch (reason) {
    case REASON_ZOMBIE:
        r = asprintf(&text,
                     "it names PID %d, which is dead: a zombie that its parent (PID %d) has not reaped", pid,
                     (int) facts->recorded.process.ppid);
        break;
    case REASON_RECYCLED:
        process = process_describe(&facts->recorded.process);
        if (facts->recorded.process.kernel_thread)
            r = asprintf(&text, "it names PID %d, and that number belongs to %s, a thread of the kernel", pid,
                         process ? process : "another process");
        else
            r = asprintf(
                &text,
                "it names PID %d, and that number now belongs to %s, which began at %s, after the file was "
                "written",
                pid, process ? process : "another process",
                value_format_time(facts->recorded.process.start_usec, when));
        break;
    case REASON_THREAD:
        r = asprintf(&text, "it names PID %d, which is no process but a thread's number now", pid);
        break;
    case REASON_SELF:
        r = asprintf(&text, "it names PID %d, which is latchd's own now", pid);
        break;
    case REASON_REFUSED:
        r = asprintf(&text, "nobody listens on it: its owner is dead");
        break;
    default:
        r = asprintf(&text, "it names PID %d, and there is no such process", pid);
    }
    return r < 0 ? NULL : text;
}

static char *describe_orphaned(const struct lock_facts *facts) {
    _cleanup_free_ char *holders = describe_holders(facts);
    char owner[64] = "who took it is dead", *text = NULL;

    if (facts->recorded.pid > 0)
        snprintf(owner, sizeof owner, "PID %d took it and is dead", (int) facts->recorded.pid);
    if (asprintf(&text, "%s; %s inherited it and keep%s it alive", owner, holders ? holders : "a leftover",
                 facts->n_holders > 1 ? "" : "s") < 0)
        return NULL;
    return text;
}

static char *describe_unknown(const struct lock_facts *facts, enum verdict_reason reason) {
    _cleanup_free_ char *holders = describe_holders(facts), *process = NULL;
    char taker[80] = "who took it is dead, or cannot be seen from here", *text = NULL;
    int r;

    if (facts->recorded.pid > 0)
        snprintf(taker, sizeof taker, "PID %d took it and is dead", (int) facts->recorded.pid);
    switch (reason) {
    case REASON_LOCKER_DEAD:
        r = asprintf(
            &text,
            "%s; %s %s it now, and whether that is the dead one's leftover or its master cannot be told",
            taker, holders ? holders : "somebody", facts->n_holders > 1 ? "have" : "has");
        break;
    case REASON_INCOMPLETE_SCAN:
        r = asprintf(&text,
                     "somebody holds it, but %u of %u processes could not be read (PID %d first) and none of "
                     "the others has it",
                     facts->unreadable_total, facts->processes,
                     facts->n_unreadable ? (int) facts->unreadable[0] : 0);
        break;
    case REASON_LOCKER_UNCLEAR:
        process = process_describe(&facts->recorded.process);
        r = asprintf(
            &text,
            "the kernel names %s as who took it, which does not have it; %s %s it: either it was handed "
            "on, or that number was given out again",
            process ? process : "a process", holders && holders[0] ? holders : "somebody",
            facts->n_holders > 1 ? "have" : "has");
        break;
    case REASON_OTHER_PID_NAMESPACE:
        if (facts->recorded.namesake.pid > 0) {
            process = process_describe(&facts->recorded.namesake);
            r = asprintf(
                &text,
                "it names PID %d, which is dead here, but %s has that number in a PID namespace of its own",
                (int) facts->recorded.pid, process ? process : "a process");
        } else
            r = asprintf(&text, "somebody holds it, and nobody in this PID namespace does");
        break;
    case REASON_UNATTRIBUTED:
        r = asprintf(
            &text, "somebody holds it, and no process shows it in its descriptors (it may be in flight in a "
                   "socket, or kept by the kernel)");
        break;
    case REASON_ACCESS_DENIED:
        r = asprintf(&text, "it could not be looked at%s%s: permission denied",
                     facts->error_subject ? ", " : "", facts->error_subject ? facts->error_subject : "");
        break;
    case REASON_NETWORK_FILESYSTEM:
        r = asprintf(&text, "it is on a network file system (%s), whose locks live elsewhere",
                     facts->filesystem);
        break;
    case REASON_NOT_A_LOCK:
        r = asprintf(&text, facts->kind == PATH_KIND_PIDFILE ? "no PID stands in it"
                                                             : "it is neither a regular file nor a socket");
        break;
    case REASON_EMPTY:
        r = asprintf(&text, "it is empty: its writer crashed, or is just about to write it");
        break;
    case REASON_MAYBE_DAEMON:
        process = process_describe(&facts->recorded.process);
        r = asprintf(&text,
                     "it names %s, which may be its owner but began after the file was written: either the "
                     "number was given out again, or the clock was set",
                     process ? process : "a process");
        break;
    default:
        if (facts->error || facts->listener.peer.error)
            r = asprintf(&text, "%s: %s", facts->error_subject ? facts->error_subject : "connecting to it",
                         strerror(facts->error ? facts->error : facts->listener.peer.error));
        else
            r = asprintf(&text, "somebody listens on the socket that it guards, and who does cannot be seen");
    }
    return r < 0 ? NULL : text;
}

char *lock_describe(const struct lock_facts *facts, const struct lock_context *context,
                    const struct lock_judgement *judgement) {
    switch (judgement->verdict) {
    case VERDICT_ABSENT:
        return strdup("there is no such file");
    case VERDICT_FREE:
        return strdup("nobody holds it: a leftover lock file is in nobody's way");
    case VERDICT_STALE:
        return describe_stale(facts, judgement->reason);
    case VERDICT_ORPHANED:
        return describe_orphaned(facts);
    case VERDICT_HELD:
        return describe_held(facts, context, judgement->reason);
    default:
        return describe_unknown(facts, judgement->reason);
    }
}

/* How to stop whoever has it: its unit where there is one, else its PID. */
static char *advise_stopping(const struct lock_facts *facts) {
    const struct process_facts *process = facts->n_holders > 0      ? &facts->holders[0].process
                                          : facts->recorded.pid > 0 ? &facts->recorded.process
                                                                    : NULL;
    char unit[128], *text = NULL;
    int r;

    if (!process || process->pid == 1) /* nobody wants to be told: kill 1 */
        return strdup("leave it alone");
    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (strstr(unit, ".service"))
        r = asprintf(&text, "leave it alone; if that daemon shall go: systemctl stop %s", unit);
    else
        r = asprintf(&text, "leave it alone; if that process shall go: kill %d", (int) process->pid);
    return r < 0 ? NULL : text;
}

char *lock_advise(const struct lock_facts *facts, const struct lock_context *context,
                  const struct lock_judgement *judgement, const char *service) {
    char *text = NULL;
    int r;

    (void) context;
    switch (judgement->verdict) {
    case VERDICT_ABSENT:
    case VERDICT_FREE:
        return strdup("nothing to do");
    case VERDICT_STALE:
        r = asprintf(&text, "latchctl clear %s", service ? service : facts->path);
        return r < 0 ? NULL : text;
    case VERDICT_ORPHANED:
        if (service)
            r = asprintf(&text, "latchctl clear %s ends the leftover, or wait until it ends by itself",
                         service);
        else
            r = asprintf(
                &text,
                "wait until PID %d ends, or, if you know it for the dead daemon's helper: kill %d; do "
                "not remove the file",
                (int) facts->holders[0].process.pid, (int) facts->holders[0].process.pid);
        return r < 0 ? NULL : text;
    case VERDICT_HELD:
        return advise_stopping(facts);
    default:
        switch (judgement->reason) {
        case REASON_ACCESS_DENIED:
        case REASON_INCOMPLETE_SCAN:
            return strdup(geteuid() == 0 ? "do not remove it; look at the processes that could not be read"
                                         : "do not remove it; ask again as root");
        case REASON_OTHER_PID_NAMESPACE:
            return strdup("do not remove it; ask again on the host, outside the container");
        case REASON_NETWORK_FILESYSTEM:
            return strdup("do not remove it; ask on the machine that holds the lock, or keep locks on a "
                          "local file system");
        case REASON_EMPTY:
            r = asprintf(
                &text,
                "look again in a moment; if it stays empty, and you know that its daemon does not run: rm %s",
                facts->path);
            return r < 0 ? NULL : text;
        case REASON_LOCKER_DEAD:
            if (facts->n_holders == 0)
                return strdup("do not remove it before you know who has it");
            r = asprintf(
                &text,
                "do not remove it; if you know PID %d for a dead daemon's helper: wait until it ends, or "
                "kill %d",
                (int) facts->holders[0].process.pid, (int) facts->holders[0].process.pid);
            return r < 0 ? NULL : text;
        default:
            return strdup("do not remove it before you know who has it");
        }
    }
}

json_t *lock_report_to_json(const struct lock_facts *facts, const struct lock_context *context,
                            const struct lock_judgement *judgement, const char *service) {
    _cleanup_free_ char *summary = lock_describe(facts, context, judgement),
                        *advice = lock_advise(facts, context, judgement, service);
    json_t *json = lock_facts_to_json(facts), *holders = json_object_get(json, "holders");

    if (!json)
        return NULL;
    json_object_set_new(json, "verdict", json_string(verdict_to_string(judgement->verdict)));
    json_object_set_new(json, "reason", json_string(verdict_reason_to_string(judgement->reason)));
    json_object_set_new(json, "summary", json_string(summary ? summary : ""));
    json_object_set_new(json, "advice", json_string(advice ? advice : ""));
    for (size_t i = 0; i < facts->n_holders; i++) {
        json_t *holder = json_array_get(holders, i);
        char unit[128];

        cgroup_unit(facts->holders[i].process.cgroup, unit, sizeof unit);
        json_object_set_new(holder, "unit", unit[0] ? json_string(unit) : json_null());
        json_object_set_new(
            holder, "role",
            json_string(holder_role_to_string(lock_holder_role(facts, context, judgement, i))));
    }
    return json;
}
