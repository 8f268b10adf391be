/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is held: by its owner, by what a dead owner left, or by whom cannot be told. */
#include "lock/judge.h"

#include <string.h>

#define SCRIPT_ARGUMENTS 4

static bool same_file_name(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* Whether the process runs that program: by itself, or as the script that an interpreter was given among its
 * first arguments. */
bool judge_runs_program(const struct process_facts *process, const char *program) {
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
    if (judge_runs_program(process, daemon_exe))
        return true;
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (same_file_name(process->ancestors[i].exe, daemon_exe))
            return true;
    return false;
}

bool judge_anybody_holds(const struct lock_facts *facts, bool listener) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (listener ? facts->holders[i].listener : lock_holder_has_lock(&facts->holders[i]))
            return true;
    return false;
}

/* Held, but by nobody we could see. */
struct lock_judgement judge_unseen(const struct lock_facts *facts) {
    if (!facts->initial_pid_namespace)
        return judged(VERDICT_UNKNOWN, REASON_OTHER_PID_NAMESPACE);
    return judged(VERDICT_UNKNOWN, facts->complete ? REASON_UNATTRIBUTED : REASON_INCOMPLETE_SCAN);
}

/* The process that called listen(2), by the kernel's own handle on it. */
bool judge_is_listener_maker_dead(const struct lock_facts *facts) {
    const struct peer_facts *peer = &facts->listener.peer;

    return peer->answer == PEER_CONNECTED && peer->pid > 0 && judge_is_dead(peer->life);
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
    return (context->main.pid == recorded && judge_is_dead(context->main_life)) ||
           context->dead_pid == recorded ||
           (judge_is_listener_maker_dead(facts) && facts->listener.peer.pid == recorded) ||
           judge_is_dead(facts->recorded.process.life);
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

/* A shell with job control gives each daemon that it begins a process group, and one that forks once, and
 * stays in it, looks like a leftover of itself. */
static bool all_in_session(const struct lock_facts *facts, pid_t leader) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.session != leader)
            return false;
    return facts->n_holders > 0;
}

/* Whether the service's main process, which made the claim, is provably gone. */
static bool is_main_gone(const struct lock_facts *facts, const struct lock_context *context) {
    pid_t recorded = facts->recorded.pid;

    if (context->dead_pid > 0 && context->dead_pid == recorded)
        return true;
    if (context->main.pid <= 0 || !judge_is_dead(context->main_life))
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

/* All processes but init could be read, and were. What init keeps it keeps for others, and it is never acted
 * upon. */
bool judge_is_scan_good(const struct lock_facts *facts) {
    return facts->complete || (!facts->settled && facts->unreadable_total == 1 && facts->n_unreadable == 1 &&
                               facts->unreadable[0] == 1);
}

/* A process that made itself a daemon after it had taken the lock looks like an orphan: its parent, who took
 * the lock, is dead (daemon(3) forks). It has a session of its own, or one whose leader it left behind. */
bool judge_any_daemonized(const struct lock_facts *facts) {
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
        return context->daemon_exe && judge_is_listener_maker_dead(facts);
    if (!is_locker_dead(facts, context) || !is_one_claim(facts))
        return false;
    if (!context->daemon_exe && judge_any_daemonized(facts))
        return false;
    return (judge_is_listener_maker_dead(facts) && facts->listener.peer.pid == recorded) ||
           (judge_is_dead(facts->recorded.process.life) &&
            (context->daemon_exe ? all_belong_to(facts, recorded, false) : all_in_session(facts, recorded)));
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
    const struct holder_facts *holder = lock_facts_find_holder(facts, facts->recorded.pid);

    if (holder && holder->listener)
        return judged_held_by(holder->process.life);
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

/* None of the holders shows the lock itself: they map the file, or have it in a ring, and one of them is the
 * holder if nobody else can be. */
static bool are_mere_candidates(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].via == VIA_FD || facts->holders[i].via == VIA_IN_FLIGHT)
            return false;
    return facts->n_holders > 0;
}

/* Of OFD locks there is no record at all, so nothing speaks against who has one: it is as good as its owner.
 */
static bool is_ofd_only(const struct lock_facts *facts) {
    return facts->kind != PATH_KIND_SOCKET && facts->n_holders > 0 && facts->recorded.pid == 0 &&
           facts->families[LOCK_FAMILY_FLOCK] == FAMILY_FREE &&
           facts->families[LOCK_FAMILY_POSIX] == FAMILY_FREE && !judge_is_listener_maker_dead(facts);
}

/* Holders are known; the process that the record names is not among them. */
struct lock_judgement judge_inherited(const struct lock_facts *facts, const struct lock_context *context) {
    const struct peer_facts *listener = &facts->listener.peer;

    if (judge_main_lives(context))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (are_mere_candidates(facts) && !judge_is_scan_good(facts))
        return judge_unseen(facts);
    if (context->main.pid > 0 && context->main_life == PROCESS_UNKNOWN)
        return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (listener->answer == PEER_CONNECTED && judge_is_living(listener->life)) {
        const struct holder_facts *holder = lock_facts_find_holder(facts, listener->pid);

        return holder && lock_holder_has_lock(holder) ? judged_held_by(holder->process.life)
                                                      : judged(VERDICT_HELD, REASON_UNLOCKED);
    }
    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct process_facts *process = &facts->holders[i].process;

        /* A child may have locked the shared description again and died: then its parent, the daemon, has it.
         */
        if (context->daemon_exe && lock_process_is_under_daemon(process, context->daemon_exe))
            return judged_held_by(process->life);
        if (keeps_for_others(process))
            return judged(VERDICT_HELD, REASON_STORED);
    }
    for (size_t i = 0; i < facts->n_holders; i++)
        if (context->daemon_exe && !facts->holders[i].process.exe)
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
    if (judge_is_living(facts->recorded.process.life) && facts->recorded.pid > 0 &&
        !is_locker_dead(facts, context))
        return judge_living_locker(facts);
    if (is_main_gone(facts, context) || (is_owner_gone(facts, context) && judge_is_scan_good(facts)))
        return (struct lock_judgement){VERDICT_ORPHANED, REASON_LEFTOVER, .daemon_gone = true};
    return is_ofd_only(facts) ? judged_held_by(facts->holders[0].process.life)
                              : judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
}

struct lock_judgement judge_held_lock(const struct lock_facts *facts, const struct lock_context *context) {
    const struct holder_facts *holder;

    if (!judge_anybody_holds(facts, false)) {
        if (judge_main_lives(context))
            return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
        return judge_unseen(facts);
    }
    holder = lock_facts_find_holder(facts, context->main.pid);
    if (holder && lock_holder_has_lock(holder) && judge_is_living(context->main_life))
        return judged_held_by(holder->process.life);
    holder = lock_facts_find_holder(facts, facts->recorded.pid);
    if (holder && lock_holder_has_lock(holder))
        return judged_held_by(holder->process.life);
    /* Several claims may stand side by side: shared ones, or of several families. */
    for (size_t i = 0; i < facts->n_claims; i++) {
        holder = facts->claims[i].waiting ? NULL : lock_facts_find_holder(facts, facts->claims[i].pid);
        if (holder && lock_holder_has_lock(holder))
            return judged_held_by(holder->process.life);
    }
    return judge_inherited(facts, context);
}
