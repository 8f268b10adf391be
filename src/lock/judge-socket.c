/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets, and free locks that may guard a living one. */
#include "lock/judge.h"

/* Nobody has the lock. But the daemon may live: any of its children can unlock what they share (flock(2)),
 * and then a second daemon would take it and the socket. */
struct lock_judgement judge_free_lock(const struct lock_facts *facts, const struct lock_context *context) {
    const struct peer_facts *peer = &facts->listener.peer;

    if (judge_main_lives(context))
        return judged(VERDICT_HELD, context->main_life == PROCESS_STOPPED ? REASON_STOPPED : REASON_UNLOCKED);
    if (!facts->has_socket)
        return judged(VERDICT_FREE, REASON_NONE);
    if (peer->answer == PEER_QUEUE_FULL || (peer->answer == PEER_CONNECTED && judge_is_living(peer->life)))
        return judged(VERDICT_HELD, REASON_UNLOCKED);
    if (peer->answer == PEER_CONNECTED && !judge_is_dead(peer->life))
        return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
    /* Who called listen(2) is dead. Whoever listens now is what it left, or the daemon that it became. */
    if (peer->answer == PEER_CONNECTED && !context->daemon_exe &&
        (judge_any_daemonized(facts) || !judge_is_scan_good(facts)))
        return judged(VERDICT_UNKNOWN, REASON_LOCKER_DEAD);
    return judged(VERDICT_FREE, REASON_NONE);
}

/* Of those who have the listener: one that runs is enough to answer; who is stopped is called so only where
 * nobody else can have it. PROCESS_GONE: nobody was seen. */
static enum process_life life_of_holders(const struct lock_facts *facts) {
    bool any_stopped = false, any_other = false;

    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct holder_facts *holder = &facts->holders[i];

        if (!holder->listener || judge_is_dead(holder->process.life))
            continue;
        if (holder->process.life == PROCESS_STOPPED)
            any_stopped = true;
        else
            any_other = true;
    }
    if (any_other)
        return PROCESS_ALIVE;
    return any_stopped ? PROCESS_STOPPED : PROCESS_GONE;
}

/* Held, whoever made the listener. `otherwise` unless all who have it are seen to be stopped. */
static struct lock_judgement judged_listening(const struct lock_facts *facts, enum verdict_reason otherwise) {
    const struct peer_facts *peer = &facts->listener.peer;
    /* The maker is alive and was not seen to have it: it may, where not all could be read. */
    bool maker_unseen = peer->life == PROCESS_ALIVE && !lock_facts_find_holder(facts, peer->pid);

    if (life_of_holders(facts) == PROCESS_STOPPED && !facts->settled &&
        (!maker_unseen || judge_is_scan_good(facts)))
        return judged(VERDICT_HELD, REASON_STOPPED);
    return judged(VERDICT_HELD, otherwise);
}

/* Somebody answers. */
static struct lock_judgement judge_connected(const struct lock_facts *facts,
                                             const struct lock_context *context) {
    const struct peer_facts *peer = &facts->listener.peer;
    const struct holder_facts *holder = lock_facts_find_holder(facts, context->main.pid);

    if (holder && judge_main_lives(context))
        return judged_held_by(holder->process.life);
    if (judge_is_living(peer->life))
        return judged_listening(
            facts, peer->life == PROCESS_STOPPED && life_of_holders(facts) != PROCESS_ALIVE ? REASON_STOPPED
                                                                                            : REASON_LIVE);
    if (!judge_anybody_holds(facts, true))
        return peer->life == PROCESS_UNKNOWN && peer->pid == 0 && facts->initial_pid_namespace &&
                       facts->complete
                   ? judged(VERDICT_UNKNOWN, REASON_UNATTRIBUTED)
                   : judge_unseen(facts);
    if (judge_is_dead(peer->life))
        return judge_inherited(facts, context);
    return judged_listening(facts, REASON_LIVE); /* of datagrams nobody is on record as the maker */
}

struct lock_judgement judge_socket(const struct lock_facts *facts, const struct lock_context *context) {
    const struct listener_facts *listener = &facts->listener;
    const struct peer_facts *peer = &listener->peer;

    switch (peer->answer) {
    case PEER_REFUSED:
        /* connect(2) finds a socket by the file alone, in whatever network namespace it is, and none is bound
         * (see PEER_REFUSED); of an abstract name the table says so. A row was read before: the socket may
         * have been closed since, and the next look will tell. */
        if (listener->found || judge_main_lives(context))
            return judged(VERDICT_HELD, REASON_NOT_LISTENING);
        if (facts->remote) /* the file is the same on other machines, the sockets are not */
            return judged(VERDICT_UNKNOWN, REASON_NETWORK_FILESYSTEM);
        return judged(VERDICT_STALE, REASON_REFUSED);
    case PEER_BOUND:
        return judged_listening(facts, REASON_NOT_LISTENING);
    case PEER_QUEUE_FULL:
        return judged_listening(facts, REASON_BUSY);
    case PEER_CONNECTED:
        return judge_connected(facts, context);
    case PEER_NOT_TRIED:
        if (!listener->found)
            return judged(VERDICT_UNKNOWN, facts->remote ? REASON_NETWORK_FILESYSTEM : REASON_UNCLEAR);
        return judge_anybody_holds(facts, true) ? judged_listening(facts, REASON_LIVE) : judge_unseen(facts);
    default:
        /* The error says nothing (it may be a matter of modes, or of a datagram socket that hears only one
         * other); that somebody has the socket does. */
        if (listener->found && judge_anybody_holds(facts, true))
            return judged_listening(facts, REASON_LIVE);
        return judged(VERDICT_UNKNOWN,
                      peer->error == EACCES || peer->error == EPERM ? REASON_ACCESS_DENIED : REASON_UNCLEAR);
    }
}
