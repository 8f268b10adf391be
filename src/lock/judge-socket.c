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
    return judged(VERDICT_FREE, REASON_NONE);
}

struct lock_judgement judge_socket(const struct lock_facts *facts, const struct lock_context *context) {
    const struct listener_facts *listener = &facts->listener;
    const struct peer_facts *peer = &listener->peer;
    const struct holder_facts *holder = lock_facts_find_holder(facts, context->main.pid);

    switch (peer->answer) {
    case PEER_REFUSED:
        /* connect(2) finds a listener by the file alone, in whatever namespace it is. But a socket that is
         * bound and does not listen yet refuses as well. */
        if (listener->found || judge_main_lives(context))
            return judged(VERDICT_HELD, REASON_NOT_LISTENING);
        return judged(VERDICT_STALE, REASON_REFUSED);
    case PEER_QUEUE_FULL:
        return judged(VERDICT_HELD, REASON_BUSY);
    case PEER_CONNECTED:
        if (holder && judge_main_lives(context))
            return judged_held_by(holder->process.life);
        if (judge_is_living(peer->life))
            return judged(VERDICT_HELD, peer->life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
        if (!judge_anybody_holds(facts, true))
            return peer->life == PROCESS_UNKNOWN && peer->pid == 0 && facts->initial_pid_namespace &&
                           facts->complete
                       ? judged(VERDICT_UNKNOWN, REASON_UNATTRIBUTED)
                       : judge_unseen(facts);
        if (judge_is_dead(peer->life))
            return judge_inherited(facts, context);
        return judged_held_by(facts->holders[0].process.life);
    case PEER_NOT_TRIED:
        if (!listener->found)
            return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
        return judge_anybody_holds(facts, true) ? judged_held_by(facts->holders[0].process.life)
                                                : judge_unseen(facts);
    default:
        if (peer->error == EACCES || peer->error == EPERM)
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
        if (listener->found && judge_anybody_holds(facts, true))
            return judged_held_by(facts->holders[0].process.life);
        return judged(VERDICT_UNKNOWN, REASON_UNCLEAR);
    }
}
