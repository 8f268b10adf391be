/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/verdict.h"

#include <string.h>

#include "base/mount.h"
#include "base/value.h"

/* A PID file is written after its process began. File times come from a clock that ticks every few
 * milliseconds and start times count in hundredths of a second, so "later" needs a margin. */
#define RECYCLED_MARGIN_USEC (2 * USEC_PER_SEC)
#define SCRIPT_ARGUMENTS 4

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
    [REASON_STORED] = "stored",
    [REASON_DEAD] = "dead",
    [REASON_ZOMBIE] = "zombie",
    [REASON_RECYCLED] = "recycled",
    [REASON_THREAD] = "thread",
    [REASON_SELF] = "self",
    [REASON_REFUSED] = "refused",
    [REASON_LEFTOVER] = "leftover",
    [REASON_LOCKER_DEAD] = "locker-dead",
    [REASON_LOCKER_UNCLEAR] = "locker-unclear",
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

/* Whether the process runs that program: by itself, or as the script that an interpreter was given among its
 * first arguments. */
static bool runs_program(const struct process_facts *process, const char *program) {
    const char *word = process->cmdline;
    size_t length = program ? strlen(program) : 0;

    if (same_file_name(process->exe, program))
        return true;
    for (unsigned i = 0; length > 0 && word && i < SCRIPT_ARGUMENTS; i++) {
        if (strncmp(word, program, length) == 0 && (word[length] == ' ' || !word[length]))
            return true;
        word = strchr(word, ' ');
        word = word ? word + 1 : NULL;
    }
    return false;
}

bool lock_process_is_under_daemon(const struct process_facts *process, const char *daemon_exe) {
    if (runs_program(process, daemon_exe))
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
    for (size_t i = 0; pid > 0 && i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid)
            return &facts->holders[i];
    return NULL;
}

static bool has_lock(const struct holder_facts *holder) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (holder->families[f])
            return true;
    return false;
}

static bool anybody_holds(const struct lock_facts *facts, bool listener) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (listener ? facts->holders[i].listener : has_lock(&facts->holders[i]))
            return true;
    return false;
}

static bool main_lives(const struct lock_context *context) {
    return context->main.pid > 0 && is_living(context->main_life);
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

/* The process that called listen(2), by the kernel's own handle on it. */
static bool is_listener_maker_dead(const struct lock_facts *facts) {
    const struct peer_facts *peer = &facts->listener.peer;

    return peer->answer == PEER_CONNECTED && peer->pid > 0 && is_dead(peer->life);
}

/* Whether the process that the lock's record names is dead even though its number may be in use again:
 * - latchd's own record has it as the main process, with start time and boot id, and that one is dead;
 * - the service's PID file names it too, and was judged dead by itself;
 * - it called listen(2) on the guarded socket, and the kernel's own handle on it (SO_PEERPIDFD) is dead;
 * - no process has that number now. */
static bool is_locker_dead(const struct lock_facts *facts, const struct lock_context *context) {
    pid_t recorded = facts->recorded.pid;

    if (recorded <= 0)
        return false;
    return (context->main.pid == recorded && is_dead(context->main_life)) || context->dead_pid == recorded ||
           (is_listener_maker_dead(facts) && facts->listener.peer.pid == recorded) ||
           is_dead(facts->recorded.process.life);
}

/* Every holder is in the process group or session that this process led, or was begun for a service of
 * latchd. The number of a group cannot be given out again while the group exists (kernel/pid.c). */
static bool all_belong_to(const struct lock_facts *facts, pid_t leader, bool or_to_service) {
    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct process_facts *process = &facts->holders[i].process;

        if (process->pgrp != leader && process->session != leader && !(or_to_service && process->service))
            return false;
    }
    return facts->n_holders > 0;
}

/* Whether the service's main process, which made the claim, is provably gone. */
static bool is_main_gone(const struct lock_facts *facts, const struct lock_context *context) {
    pid_t recorded = facts->recorded.pid;

    if (context->dead_pid > 0 && context->dead_pid == recorded)
        return true;
    if (context->main.pid <= 0 || !is_dead(context->main_life))
        return false;
    /* Somebody else's claim may be one that a child of the main process made, or one of a daemon that was
     * begun behind latchd's back. */
    return recorded == 0 || recorded == context->main.pid ||
           (is_locker_dead(facts, context) && all_belong_to(facts, context->main.pid, true));
}

/* What the kernel's record says covers all that is held: one claimant, by flock, whose description everybody
 * shares. OFD locks have no record, and a second claimant may be the one that lives. */
static bool is_one_claim(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_claims; i++)
        if (!facts->claims[i].waiting &&
            (facts->claims[i].family != LOCK_FAMILY_FLOCK || facts->claims[i].pid != facts->recorded.pid))
            return false;
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].families[LOCK_FAMILY_POSIX] || facts->holders[i].families[LOCK_FAMILY_OFD])
            return false;
    return true;
}

/* All processes but init could be read. What init keeps it keeps for others, and it is never acted upon. */
static bool is_scan_good(const struct lock_facts *facts) {
    return facts->complete ||
           (facts->unreadable_total == 1 && facts->n_unreadable == 1 && facts->unreadable[0] == 1);
}

/* A process that made itself a daemon after it had taken the lock looks like an orphan: its parent, who took
 * the lock, is dead (daemon(3) forks). It has a session of its own, or one whose leader it left behind. */
static bool any_daemonized(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct process_facts *process = &facts->holders[i].process;

        if (process->session != facts->recorded.pid &&
            (process->session == process->pid || process->session_leader_gone))
            return true;
    }
    return false;
}

/* Without a record of our own the locker is known for the owner of what its children hold when
 * - it called listen(2) on the guarded socket as well, or
 * - all of them are in the process group or session that it led. */
static bool is_owner_gone(const struct lock_facts *facts, const struct lock_context *context) {
    pid_t recorded = facts->recorded.pid;

    /* In a PID namespace the record is hidden; then the listener's maker speaks for the lock beside it. */
    if (recorded == 0)
        return context->daemon_exe && is_listener_maker_dead(facts);
    if (!is_locker_dead(facts, context) || !is_one_claim(facts))
        return false;
    if (!context->daemon_exe && any_daemonized(facts))
        return false;
    return (is_listener_maker_dead(facts) && facts->listener.peer.pid == recorded) ||
           (is_dead(facts->recorded.process.life) && all_belong_to(facts, recorded, false));
}

static bool is_ancestor(const struct process_facts *process, pid_t pid) {
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (process->ancestors[i].pid == pid)
            return true;
    return false;
}

/* The recorded process lives and does not hold the lock: it handed it on to its child, or it is a child that
 * took it through its parent's description. To no relative it is nothing but a number. */
static struct lock_judgement judge_living_locker(const struct lock_facts *facts) {
    const struct process_facts *recorded = &facts->recorded.process;
    const struct holder_facts *holder = find_holder(facts, facts->recorded.pid);

    if (holder && holder->listener)
        return held_by(&holder->process);
    for (size_t i = 0; i < facts->n_holders; i++)
        if (is_ancestor(&facts->holders[i].process, recorded->pid) ||
            is_ancestor(recorded, facts->holders[i].process.pid))
            return judged(VERDICT_HELD, REASON_UNLOCKED);
    return judged(VERDICT_UNKNOWN, REASON_LOCKER_UNCLEAR);
}

/* systemd, the system's or a user's: it keeps descriptors for its services. As root it may not let itself be
 * read. */
static bool keeps_for_others(const struct process_facts *process) {
    const char *base = process->exe ? strrchr(process->exe, '/') : NULL;

    return base ? strcmp(base, "/systemd") == 0 : process->pid == 1;
}

/* Of OFD locks there is no record at all, so nothing speaks against who has one: it is as good as its owner.
 */
static bool is_ofd_only(const struct lock_facts *facts) {
    return facts->kind != PATH_KIND_SOCKET && facts->n_holders > 0 && facts->recorded.pid == 0 &&
           facts->families[LOCK_FAMILY_FLOCK] == FAMILY_FREE &&
           facts->families[LOCK_FAMILY_POSIX] == FAMILY_FREE && !is_listener_maker_dead(facts);
}

/* Holders are known; the process that the record names is not among them. */
static struct lock_judgement judge_inherited(const struct lock_facts *facts,
                                             const struct lock_context *context) {
    const struct peer_facts *listener = &facts->listener.peer;

    if (main_lives(context))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (context->main.pid > 0 && context->main_life == PROCESS_UNKNOWN)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (listener->answer == PEER_CONNECTED && is_living(listener->life)) {
        const struct holder_facts *holder = find_holder(facts, listener->pid);

        return holder && has_lock(holder) ? held_by(&holder->process) : judged(VERDICT_HELD, REASON_UNLOCKED);
    }
    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct process_facts *process = &facts->holders[i].process;

        /* A child may have locked the shared description again and died: then its parent, the daemon, has it.
         */
        if (context->daemon_exe && lock_process_is_under_daemon(process, context->daemon_exe))
            return held_by(process);
        if (keeps_for_others(process))
            return judged(VERDICT_HELD, REASON_STORED);
    }
    for (size_t i = 0; i < facts->n_holders; i++)
        if (context->daemon_exe && !facts->holders[i].process.exe)
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (is_living(facts->recorded.process.life) && facts->recorded.pid > 0 && !is_locker_dead(facts, context))
        return judge_living_locker(facts);
    if (is_main_gone(facts, context) || (is_owner_gone(facts, context) && is_scan_good(facts)))
        return (struct lock_judgement){VERDICT_ORPHANED, REASON_LEFTOVER, .daemon_gone = true};
    return is_ofd_only(facts) ? held_by(&facts->holders[0].process)
                              : judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
}

static struct lock_judgement judge_held_lock(const struct lock_facts *facts,
                                             const struct lock_context *context) {
    const struct holder_facts *holder;

    if (!anybody_holds(facts, false)) {
        if (main_lives(context))
            return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
        return unseen(facts);
    }
    holder = find_holder(facts, context->main.pid);
    if (holder && has_lock(holder) && is_living(context->main_life))
        return held_by(&holder->process);
    holder = find_holder(facts, facts->recorded.pid);
    if (holder && has_lock(holder))
        return held_by(&holder->process);
    /* Several claims may stand side by side: shared ones, or of several families. */
    for (size_t i = 0; i < facts->n_claims; i++) {
        holder = facts->claims[i].waiting ? NULL : find_holder(facts, facts->claims[i].pid);
        if (holder && has_lock(holder))
            return held_by(&holder->process);
    }
    return judge_inherited(facts, context);
}

/* The wall clock was set forward after the file was made: it is in memory, so that this boot made it, and yet
 * it is older than this boot. A machine without a clock of its own begins so. */
static bool was_clock_set(const struct lock_facts *facts) {
    bool in_memory = strcmp(facts->filesystem, "tmpfs") == 0 || strcmp(facts->filesystem, "ramfs") == 0 ||
                     strcmp(facts->filesystem, "devtmpfs") == 0;

    return in_memory && facts->changed_usec > 0 &&
           facts->changed_usec + RECYCLED_MARGIN_USEC < facts->boot_usec;
}

static bool begins_after_file(const struct lock_facts *facts, const struct process_facts *process) {
    return process->start_usec > facts->modified_usec &&
           process->start_usec - facts->modified_usec > RECYCLED_MARGIN_USEC;
}

/* The program that the process runs stands in the file's name: nsd.pid names a process of /usr/sbin/nsd. */
static bool is_named_after(const struct lock_facts *facts, const struct process_facts *process) {
    const char *base = process->exe ? strrchr(process->exe, '/') : NULL, *file = strrchr(facts->path, '/');

    return base && base[1] && strstr(file ? file : facts->path, base + 1);
}

/* Whether that process, though it began after the file was written or though its number is another's, may be
 * the daemon. */
static bool may_be_daemon(const struct lock_facts *facts, const struct lock_context *context,
                          const struct process_facts *process) {
    if (!context->daemon_exe)
        return is_named_after(facts, process);
    if (!runs_program(process, context->daemon_exe))
        return false;
    /* The same program: a sister daemon is told apart by its configuration file. */
    return !context->config_file || !process->cmdline || strstr(process->cmdline, context->config_file);
}

/* What else speaks for life, where the number in a PID file looks dead: the service's main process, the
 * listener that the file guards, a process that has the number in a PID namespace of its own. */
static struct lock_judgement judge_dead_number(const struct lock_facts *facts,
                                               const struct lock_context *context,
                                               enum verdict_reason reason) {
    const struct peer_facts *peer = &facts->listener.peer;
    const struct process_facts *namesake = &facts->recorded.namesake;

    if (main_lives(context))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (facts->has_socket)
        switch (peer->answer) {
        case PEER_CONNECTED:
            if (is_living(peer->life))
                return judged(VERDICT_HELD, peer->life == PROCESS_STOPPED ? REASON_STOPPED : REASON_UNLOCKED);
            if (!is_listener_maker_dead(facts) || peer->pid != facts->recorded.pid)
                return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
            break;
        case PEER_QUEUE_FULL:
            return judged(VERDICT_HELD, REASON_BUSY);
        case PEER_REFUSED:
            if (facts->listener.found)
                return judged(VERDICT_HELD, REASON_NOT_LISTENING);
            break;
        case PEER_UNCLEAR:
            if (peer->error != ENOENT && peer->error != ENOTSOCK) /* then it is no socket any more */
                return judged(VERDICT_UNKNOWN, peer->error == EACCES || peer->error == EPERM
                                                   ? REASON_ACCESS_DENIED
                                                   : REASON_UNCLEAR);
            break;
        default:
            if (facts->listener.listening)
                return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
        }
    if (namesake->pid > 0 &&
        !(context->daemon_exe && namesake->exe && !may_be_daemon(facts, context, namesake)))
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    return judged(VERDICT_STALE, reason);
}

/* The process is alive and began after the file was written: is it the daemon all the same (the wall clock
 * may have been set in between), or has it got the number by chance? */
static struct lock_judgement judge_recycled(const struct lock_facts *facts,
                                            const struct lock_context *context) {
    const struct process_facts *process = &facts->recorded.process;

    if (process->kernel_thread || (context->main.pid == process->pid && is_dead(context->main_life)))
        return judge_dead_number(facts, context, REASON_RECYCLED);
    if (was_clock_set(facts))
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    if (!process->exe)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (may_be_daemon(facts, context, process))
        return judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON);
    return judge_dead_number(facts, context, REASON_RECYCLED);
}

static struct lock_judgement judge_pidfile(const struct lock_facts *facts,
                                           const struct lock_context *context) {
    const struct recorded_facts *recorded = &facts->recorded;

    if (facts->size_bytes == 0)
        return judged(VERDICT_UNKNOWN, REASON_EMPTY);
    if (recorded->pid == 0)
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    if (context->main.pid == recorded->pid && main_lives(context))
        return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
    if (recorded->is_self)
        return judge_dead_number(facts, context, REASON_SELF);
    switch (recorded->process.life) {
    case PROCESS_GONE:
        return judge_dead_number(facts, context, REASON_DEAD);
    case PROCESS_ZOMBIE:
        return judge_dead_number(facts, context, REASON_ZOMBIE);
    case PROCESS_ALIVE:
    case PROCESS_STOPPED:
        if (recorded->is_thread)
            return !main_lives(context) && may_be_daemon(facts, context, &recorded->process)
                       ? judged(VERDICT_UNKNOWN, REASON_MAYBE_DAEMON)
                       : judge_dead_number(facts, context, REASON_THREAD);
        if (begins_after_file(facts, &recorded->process) || recorded->process.kernel_thread)
            return judge_recycled(facts, context);
        return held_by(&recorded->process);
    default:
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    }
}

/* Nobody has the lock. But the daemon may live: any of its children can unlock what they share (flock(2)),
 * and then a second daemon would take it and the socket. */
static struct lock_judgement judge_free_lock(const struct lock_facts *facts,
                                             const struct lock_context *context) {
    const struct peer_facts *peer = &facts->listener.peer;

    if (main_lives(context))
        return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_UNLOCKED);
    if (!facts->has_socket)
        return judged(VERDICT_FREE, REASON_NONE);
    if (peer->answer == PEER_QUEUE_FULL || (peer->answer == PEER_CONNECTED && is_living(peer->life)))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (peer->answer == PEER_CONNECTED && !is_dead(peer->life))
        return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
    return judged(VERDICT_FREE, REASON_NONE);
}

static struct lock_judgement judge_socket(const struct lock_facts *facts,
                                          const struct lock_context *context) {
    const struct listener_facts *listener = &facts->listener;
    const struct peer_facts *peer = &listener->peer;
    const struct holder_facts *holder = find_holder(facts, context->main.pid);

    switch (peer->answer) {
    case PEER_REFUSED:
        /* connect(2) finds a listener by the file alone, in whatever namespace it is. But a socket that is
         * bound and does not listen yet refuses as well. */
        if (listener->found || main_lives(context))
            return judged(VERDICT_HELD, REASON_NOT_LISTENING);
        return judged(VERDICT_STALE, REASON_REFUSED);
    case PEER_QUEUE_FULL:
        return judged(VERDICT_HELD, REASON_BUSY);
    case PEER_CONNECTED:
        if (holder && main_lives(context))
            return held_by(&holder->process);
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
        return facts->kind == PATH_KIND_PIDFILE ? judge_pidfile(facts, context)
                                                : judge_free_lock(facts, context);
    default:
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    }
}

/* The kernel names it as one who took the lock. */
static bool is_claimant(const struct lock_facts *facts, pid_t pid) {
    for (size_t i = 0; i < facts->n_claims; i++)
        if (!facts->claims[i].waiting && facts->claims[i].pid == pid)
            return true;
    return pid == facts->recorded.pid;
}

enum holder_role lock_holder_role(const struct lock_facts *facts, const struct lock_context *context,
                                  const struct lock_judgement *judgement, size_t holder) {
    const struct process_facts *process = &facts->holders[holder].process;

    if (judgement->verdict == VERDICT_ORPHANED)
        return ROLE_LEFTOVER;
    if (context && context->main.pid > 0)
        return process->pid == context->main.pid ? ROLE_MAIN : ROLE_OTHER;
    return is_claimant(facts, process->pid) ? ROLE_MAIN : ROLE_OTHER;
}

int verdict_exit_code(enum verdict verdict) {
    static const int codes[VERDICT_MAX] = {
        [VERDICT_ABSENT] = 0,   [VERDICT_FREE] = 0, [VERDICT_STALE] = 3,
        [VERDICT_ORPHANED] = 4, [VERDICT_HELD] = 5, [VERDICT_UNKNOWN] = 6,
    };

    return verdict >= 0 && verdict < VERDICT_MAX ? codes[verdict] : codes[VERDICT_UNKNOWN];
}
