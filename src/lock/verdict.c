/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/verdict.h"

#include "lock/judge.h"

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
    [REASON_SPLIT] = "split",
    [REASON_UNREACHABLE] = "unreachable",
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
    [REASON_OTHER_LAYER] = "other-layer",
    [REASON_OTHER_HOST] = "other-host",
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

/* What another machine, or a user process, answers for. A lock that is held here is as good as any; that
 * nobody holds it is true only where the server would know. A PID may be another machine's. */
static struct lock_judgement judge_remote(const struct lock_facts *facts,
                                          const struct lock_context *context) {
    struct lock_judgement judgement = judged(VERDICT_UNKNOWN, REASON_NETWORK_FILESYSTEM);

    if (lock_facts_is_held(facts) && judge_anybody_holds(facts, false)) {
        struct lock_judgement here = judge_held_lock(facts, context);

        return here.verdict == VERDICT_HELD ? here : judgement; /* a leftover here may have its owner there */
    }
    if (facts->server_arbitrates && !lock_facts_is_held(facts) &&
        !lock_facts_any_family(facts, FAMILY_UNKNOWN) && !lock_facts_names_owner(facts))
        return judge_free_lock(facts, context);
    return judgement;
}

static struct lock_judgement judge_path(const struct lock_facts *facts, const struct lock_context *context) {
    if (facts->error == ETIMEDOUT || facts->error == EREMOTE)
        return judged(VERDICT_UNKNOWN, REASON_NETWORK_FILESYSTEM);
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
        if (facts->remote)
            return judge_remote(facts, context);
        if (lock_facts_is_held(facts))
            return judge_held_lock(facts, context);
        if (lock_facts_any_family(facts, FAMILY_UNKNOWN))
            return judged(VERDICT_UNKNOWN, REASON_ACCESS_DENIED);
        return lock_facts_names_owner(facts) ? judge_record(facts, context) : judge_free_lock(facts, context);
    default:
        return judged(VERDICT_UNKNOWN, REASON_NOT_A_LOCK);
    }
}

/* Its owner has not got `facts` as well: a daemon may make its lock file anew. Where no owner is on record,
 * some holder. */
static bool is_owned_by_another(const struct lock_facts *displaced, const struct lock_facts *facts) {
    pid_t owner = displaced->recorded.pid;

    if (lock_facts_find_holder(displaced, owner))
        return !lock_facts_find_holder(facts, owner);
    for (size_t i = 0; i < displaced->n_holders; i++)
        if (!lock_facts_find_holder(facts, displaced->holders[i].process.pid))
            return true;
    return false;
}

/* Two daemons side by side: one has what stands there now, and one what stood there before. */
static bool has_rival(const struct lock_facts *facts, const struct lock_context *context) {
    for (size_t i = 0; i < facts->n_displaced; i++)
        if (judge_path(&facts->displaced[i], context).verdict == VERDICT_HELD &&
            is_owned_by_another(&facts->displaced[i], facts))
            return true;
    return false;
}

/* The path is in nobody's way, but a daemon may still use what stood there: then a second one must not come
 * up beside it. Leftovers of a dead one are in nobody's way there. */
static struct lock_judgement judge_displaced(const struct lock_facts *facts,
                                             const struct lock_context *context,
                                             struct lock_judgement judgement) {
    struct lock_judgement unknown = judgement;

    if (judgement.verdict == VERDICT_HELD && has_rival(facts, context))
        return judged(VERDICT_HELD, REASON_SPLIT);
    if (judgement.verdict > VERDICT_STALE)
        return judgement;
    for (size_t i = 0; i < facts->n_displaced; i++) {
        const struct lock_facts *displaced = &facts->displaced[i];
        struct lock_judgement its = judge_path(displaced, context);

        if (its.verdict == VERDICT_HELD)
            return judged(VERDICT_HELD,
                          displaced->kind == PATH_KIND_SOCKET ? REASON_UNREACHABLE : REASON_SPLIT);
        if (its.verdict == VERDICT_UNKNOWN)
            unknown = its;
    }
    return unknown;
}

struct lock_judgement lock_judge(const struct lock_facts *facts, const struct lock_context *context) {
    static const struct lock_context nothing = {.main_life = PROCESS_UNKNOWN};
    struct lock_judgement judgement;

    if (!context)
        context = &nothing;
    judgement = judge_displaced(facts, context, judge_path(facts, context));
    /* Whoever configured the path as a service's says by which way its daemon goes. */
    if (facts->layered && !context->daemon_exe &&
        (judgement.verdict == VERDICT_FREE || judgement.verdict == VERDICT_STALE))
        return judged(VERDICT_UNKNOWN, REASON_OTHER_LAYER);
    return judgement;
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
