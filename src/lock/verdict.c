/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/verdict.h"

#include <string.h>

#include "base/mount.h"
#include "base/value.h"

/* A PID file is written after its process began. File times come from a clock that ticks every few
 * milliseconds and start times count in hundredths of a second, so "later" needs a margin. */
#define RECYCLED_MARGIN_USEC (2 * USEC_PER_SEC)

static const char *const verdict_names[VERDICT_MAX] = {
    [VERDICT_ABSENT] = "absent",     [VERDICT_FREE] = "free", [VERDICT_STALE] = "stale",
    [VERDICT_ORPHANED] = "orphaned", [VERDICT_HELD] = "held", [VERDICT_UNKNOWN] = "unknown",
};
STRTAB_DEFINE(verdict, enum verdict, verdict_names, VERDICT_INVALID)

static const char *const verdict_reason_names[REASON_MAX] = {
    [REASON_NONE] = "none",
    [REASON_LIVE] = "live",
    [REASON_BUSY] = "busy",
    [REASON_STOPPED] = "stopped",
    [REASON_UNLOCKED] = "unlocked",
    [REASON_NOT_LISTENING] = "not-listening",
    [REASON_DEAD] = "dead",
    [REASON_ZOMBIE] = "zombie",
    [REASON_RECYCLED] = "recycled",
    [REASON_THREAD] = "thread",
    [REASON_SELF] = "self",
    [REASON_REFUSED] = "refused",
    [REASON_LEFTOVER] = "leftover",
    [REASON_LOCKER_DEAD] = "locker-dead",
    [REASON_INCOMPLETE_SCAN] = "incomplete-scan",
    [REASON_OTHER_PID_NAMESPACE] = "other-pid-namespace",
    [REASON_UNATTRIBUTED] = "unattributed",
    [REASON_ACCESS_DENIED] = "access-denied",
    [REASON_NETWORK_FILESYSTEM] = "network-filesystem",
    [REASON_NOT_A_LOCK] = "not-a-lock",
    [REASON_EMPTY] = "empty",
    [REASON_MAYBE_DAEMON] = "maybe-daemon",
    [REASON_UNCLEAR] = "unclear",
};
STRTAB_DEFINE(verdict_reason, enum verdict_reason, verdict_reason_names, REASON_INVALID)

static const char *const holder_role_names[ROLE_MAX] = {
    [ROLE_MAIN] = "main",
    [ROLE_LEFTOVER] = "leftover",
    [ROLE_OTHER] = "other",
};
STRTAB_DEFINE(holder_role, enum holder_role, holder_role_names, ROLE_OTHER)

static struct lock_judgement judged(enum verdict verdict, enum verdict_reason reason) {
    return (struct lock_judgement){.verdict = verdict, .reason = reason};
}

static bool is_dead(enum process_life life) {
    return life == PROCESS_GONE || life == PROCESS_ZOMBIE;
}

static bool is_living(enum process_life life) {
    return life == PROCESS_ALIVE || life == PROCESS_STOPPED;
}

static bool same_file_name(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

bool lock_process_is_under_daemon(const struct process_facts *process, const char *daemon_exe) {
    if (same_file_name(process->exe, daemon_exe))
        return true;
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (same_file_name(process->ancestors[i].exe, daemon_exe))
            return true;
    return false;
}

static bool any_family(const struct lock_facts *facts, enum family_state state) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (facts->families[f] == state)
            return true;
    return false;
}

static const struct holder_facts *find_holder(const struct lock_facts *facts, pid_t pid) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid)
            return &facts->holders[i];
    return NULL;
}

static bool anybody_holds(const struct lock_facts *facts, bool listener) {
    for (size_t i = 0; i < facts->n_holders; i++) {
        if (listener && facts->holders[i].listener)
            return true;
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX && !listener; f++)
            if (facts->holders[i].families[f])
                return true;
    }
    return false;
}

static struct lock_judgement held_by(const struct process_facts *process) {
    return judged(VERDICT_HELD, process->life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
}

/* Held, but by nobody we could see. */
static struct lock_judgement unseen(const struct lock_facts *facts) {
    if (!facts->initial_pid_namespace)
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    return judged(VERDICT_UNKNOWN, facts->complete ? REASON_UNATTRIBUTED : REASON_INCOMPLETE_SCAN);
}

/* Whether the daemon that made the claim is provably gone. Each line is a proof by identity:
 * - latchd's own record of the main process (pid, start time, boot id), looked at afresh;
 * - the listener on the guarded socket was made by the very process that the lock's record names, and the
 *   kernel's own handle on that process (SO_PEERPIDFD) is dead;
 * - the service's PID file names the same process as the lock's record, and was judged dead by itself;
 * - a holder is still in the process group or session that the recorded process led: that number cannot have
 *   been given out again while the group exists (kernel/pid.c), and no such process exists. */
static bool daemon_is_gone(const struct lock_facts *facts, const struct lock_context *context) {
    const struct peer_facts *peer = &facts->listener.peer;
    pid_t recorded = facts->recorded.pid;

    if (context->main.pid > 0 && is_dead(context->main_life))
        return true;
    if (peer->answer == PEER_CONNECTED && is_dead(peer->life) && peer->pid > 0 && peer->pid == recorded)
        return true;
    /* In a PID namespace the record is hidden; then the listener's maker speaks for the lock beside it. */
    if (peer->answer == PEER_CONNECTED && is_dead(peer->life) && recorded == 0 && context->daemon_exe)
        return true;
    if (recorded > 0 && context->dead_pid == recorded)
        return true;
    if (recorded > 0 && is_dead(facts->recorded.process.life))
        for (size_t i = 0; i < facts->n_holders; i++)
            if (facts->holders[i].process.pgrp == recorded || facts->holders[i].process.session == recorded)
                return true;
    return false;
}

/* Holders are known; the process that the record names is not among them. */
static struct lock_judgement judge_inherited(const struct lock_facts *facts, const struct lock_context *context) {
    struct lock_judgement orphaned = judged(VERDICT_ORPHANED, REASON_LEFTOVER);

    if (context->main.pid > 0 && is_living(context->main_life))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (context->main.pid > 0 && context->main_life == PROCESS_UNKNOWN)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    /* A child may have locked the shared description again and died: then its parent, the daemon, has it. */
    for (size_t i = 0; i < facts->n_holders; i++)
        if (context->daemon_exe && lock_process_is_under_daemon(&facts->holders[i].process, context->daemon_exe))
            return held_by(&facts->holders[i].process);
    if (daemon_is_gone(facts, context)) {
        orphaned.daemon_gone = true;
        return orphaned;
    }
    if (facts->recorded.pid > 0 && is_living(facts->recorded.process.life))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
}

static struct lock_judgement judge_held_lock(const struct lock_facts *facts, const struct lock_context *context) {
    const struct holder_facts *holder;

    if (!anybody_holds(facts, false)) {
        if (context->main.pid > 0 && is_living(context->main_life))
            return judged(VERDICT_HELD, REASON_LIVE);
        return unseen(facts);
    }
    holder = context->main.pid > 0 ? find_holder(facts, context->main.pid) : NULL;
    if (holder && is_living(context->main_life))
        return held_by(&holder->process);
    holder = facts->recorded.pid > 0 ? find_holder(facts, facts->recorded.pid) : NULL;
    if (holder)
        return held_by(&holder->process);
    return judge_inherited(facts, context);
}

/* The process is alive and began after the file was written: is it the daemon all the same (the wall clock may
 * have been set in between), or has it got the number by chance? */
static struct lock_judgement judge_recycled(const struct lock_facts *facts, const struct lock_context *context) {
    const struct process_facts *process = &facts->recorded.process;
    const char *base = process->exe ? strrchr(process->exe, '/') : NULL;
    const char *file = strrchr(facts->path, '/');

    if (!process->exe)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (context->daemon_exe) {
        if (!same_file_name(process->exe, context->daemon_exe))
            return judged(VERDICT_STALE, REASON_RECYCLED);
        /* The same program: a sister daemon is told apart by its configuration file. */
        if (context->config_file && process->cmdline && !strstr(process->cmdline, context->config_file))
            return judged(VERDICT_STALE, REASON_RECYCLED);
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    }
    if (base && file && strstr(file, base + 1))
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON); /* nsd.pid names a process of /usr/sbin/nsd */
    return judged(VERDICT_STALE, REASON_RECYCLED);
}

static struct lock_judgement judge_pidfile(const struct lock_facts *facts, const struct lock_context *context) {
    const struct recorded_facts *recorded = &facts->recorded;

    if (facts->size_bytes == 0)
        return judged(VERDICT_UNKNOWN, REASON_EMPTY);
    if (recorded->pid == 0)
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    if (context->main.pid == recorded->pid && is_living(context->main_life))
        return held_by(&recorded->process);
    if (recorded->is_self)
        return judged(VERDICT_STALE, REASON_SELF);
    switch (recorded->process.life) {
    case PROCESS_GONE:
        return judged(VERDICT_STALE, REASON_DEAD);
    case PROCESS_ZOMBIE:
        return judged(VERDICT_STALE, REASON_ZOMBIE);
    case PROCESS_ALIVE:
    case PROCESS_STOPPED:
        if (recorded->is_thread)
            return judged(VERDICT_STALE, REASON_THREAD);
        if (recorded->process.start_usec > facts->modified_usec + RECYCLED_MARGIN_USEC)
            return judge_recycled(facts, context);
        return held_by(&recorded->process);
    default:
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    }
}

static struct lock_judgement judge_socket(const struct lock_facts *facts, const struct lock_context *context) {
    const struct listener_facts *listener = &facts->listener;
    const struct peer_facts *peer = &listener->peer;
    bool has_main = context->main.pid > 0 && is_living(context->main_life);

    switch (peer->answer) {
    case PEER_REFUSED:
        /* connect(2) finds a listener by the file alone, in whatever namespace it is. But a socket that is
         * bound and does not listen yet refuses as well. */
        if (listener->found)
            return judged(VERDICT_HELD, REASON_NOT_LISTENING);
        return judged(VERDICT_STALE, REASON_REFUSED);
    case PEER_QUEUE_FULL:
        return judged(VERDICT_HELD, REASON_BUSY);
    case PEER_CONNECTED:
        if (has_main && find_holder(facts, context->main.pid))
            return held_by(&find_holder(facts, context->main.pid)->process);
        if (is_living(peer->life))
            return judged(VERDICT_HELD, peer->life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
        if (!anybody_holds(facts, true))
            return peer->life == PROCESS_UNKNOWN && peer->pid == 0 && facts->initial_pid_namespace &&
                           facts->complete
                       ? judged(VERDICT_UNKNOWN, REASON_UNATTRIBUTED)
                       : unseen(facts);
        if (is_dead(peer->life))
            return judge_inherited(facts, context);
        return held_by(&facts->holders[0].process);
    default:
        if (peer->error == EACCES || peer->error == EPERM)
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
        if (listener->found && anybody_holds(facts, true))
            return held_by(&facts->holders[0].process);
        return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
    }
}

struct lock_judgement lock_judge(const struct lock_facts *facts, const struct lock_context *context) {
    static const struct lock_context nothing = {.main_life = PROCESS_UNKNOWN};

    if (!context)
        context = &nothing;
    if (facts->error != 0)
        return judged(VERDICT_UNKNOWN, facts->error == EACCES || facts->error == EPERM ? REASON_ACCESS_DENIED
                                       : facts->error == EISDIR || facts->error == ELOOP ? REASON_NOT_A_LOCK
                                                                                         : REASON_UNCLEAR);
    switch (facts->kind) {
    case PATH_KIND_ABSENT:
        return judged(VERDICT_ABSENT, REASON_NONE);
    case PATH_KIND_SOCKET:
        return judge_socket(facts, context);
    case PATH_KIND_LOCK:
    case PATH_KIND_PIDFILE:
        if (mount_type_is_remote(facts->filesystem))
            return judged(VERDICT_UNKNOWN, REASON_NETWORK_FILESYSTEM);
        if (any_family(facts, FAMILY_HELD))
            return judge_held_lock(facts, context);
        if (any_family(facts, FAMILY_UNKNOWN))
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
        if (facts->kind == PATH_KIND_PIDFILE)
            return judge_pidfile(facts, context);
        return judged(VERDICT_FREE, REASON_NONE);
    default:
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    }
}

enum holder_role lock_holder_role(const struct lock_facts *facts, const struct lock_context *context,
                                  const struct lock_judgement *judgement, size_t holder) {
    const struct process_facts *process = &facts->holders[holder].process;

    if (judgement->verdict == VERDICT_ORPHANED)
        return ROLE_LEFTOVER;
    if (context && context->main.pid > 0)
        return process->pid == context->main.pid ? ROLE_MAIN : ROLE_OTHER;
    return process->pid == facts->recorded.pid ? ROLE_MAIN : ROLE_OTHER;
}

int verdict_exit_code(enum verdict verdict) {
    static const int codes[VERDICT_MAX] = {
        [VERDICT_ABSENT] = 0,   [VERDICT_FREE] = 0, [VERDICT_STALE] = 3,
        [VERDICT_ORPHANED] = 4, [VERDICT_HELD] = 5, [VERDICT_UNKNOWN] = 6,
    };

    return codes[verdict];
}
