/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/recover-plan.h"

#include <string.h>

#include "base/value.h"
#include "recovery/own-cgroup.h"

static const char *const leftover_proof_names[PROOF_MAX] = {
    [PROOF_NONE] = "none",
    [PROOF_CGROUP] = "cgroup",
    [PROOF_SESSION] = "session",
    [PROOF_DESCENDANT] = "descendant",
    [PROOF_INVOCATION] = "invocation",
    [PROOF_HELPER] = "helper",
};
STRTAB_DEFINE(leftover_proof, enum leftover_proof, leftover_proof_names, PROOF_NONE)

const char *leftover_proof_describe(enum leftover_proof proof) {
    static const char *const texts[PROOF_MAX] = {
        [PROOF_NONE] = "none",
        [PROOF_CGROUP] = "it is in the service's own cgroup",
        [PROOF_SESSION] = "it is in the dead one's session",
        [PROOF_DESCENDANT] = "it descends from this latchd",
        [PROOF_INVOCATION] = "it carries the invocation id of the dead one",
        [PROOF_HELPER] = "it runs a helper's program as the daemon's user, with no daemon above it",
    };

    return (unsigned) proof < PROOF_MAX ? texts[proof] : texts[PROOF_NONE];
}

static const char *const recover_step_names[RECOVER_STEP_MAX] = {
    [RECOVER_CLEAR] = "clear", [RECOVER_WAIT] = "wait",       [RECOVER_TERMINATE] = "terminate",
    [RECOVER_KILL] = "kill",   [RECOVER_BLOCKED] = "blocked",
};
STRTAB_DEFINE(recover_step, enum recover_step, recover_step_names, RECOVER_BLOCKED)

void recover_plan_done(struct recover_plan *plan) {
    free(plan->actions);
    *plan = (struct recover_plan){0};
}

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* Nor is a process ours that carries another service's name: a latchd within the service may have begun it. */
static bool names_another_service(const struct process_facts *process,
                                  const struct leftover_context *context) {
    return process->service && !same_text(process->service, context->service);
}

/* Init is everybody's ancestor: as PID 1 of a container only the service's name tells. */
static bool descends_from_supervisor(const struct process_facts *process,
                                     const struct leftover_context *context) {
    if (context->supervisor <= 0 || (context->own_session > 0 && process->session == context->own_session))
        return false;
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (process->ancestors[i].pid == context->supervisor)
            return (context->only_service && context->supervisor != 1 && !process->service) ||
                   same_text(process->service, context->service);
    return false;
}

static bool descends_from_family(const struct process_facts *process,
                                 const struct leftover_context *context) {
    for (size_t i = 0; i < process->n_ancestors; i++)
        for (size_t j = 0; j < context->n_family; j++)
            if (process->ancestors[i].pid == context->family[j].pid)
                return !names_another_service(process, context);
    return false;
}

/* No process enters a session but by being begun in it (setsid(2)), and a number is not given out again while
 * anybody is in the session of that number (free_pid() and __change_pid() in kernel/pid.c). */
static bool is_in_session(const struct process_facts *process, const struct leftover_context *context) {
    return context->session > 1 && process->session == context->session &&
           process->start_ticks < context->session_until_ticks && !names_another_service(process, context);
}

enum leftover_proof leftover_prove(const struct process_facts *process,
                                   const struct leftover_context *context, uid_t lock_owner) {
    bool has_user =
        process->uid != (uid_t) -1 && (process->uid == context->uid || process->uid == lock_owner);

    if (process->pid <= 1 || process->pid == context->supervisor || process->pid == context->self)
        return PROOF_NONE;
    if (context->cgroup && cgroup_is_within(process->cgroup, context->cgroup))
        return PROOF_CGROUP;
    if (is_in_session(process, context))
        return PROOF_SESSION;
    if (descends_from_supervisor(process, context) || descends_from_family(process, context))
        return PROOF_DESCENDANT;
    if (has_user && same_text(process->service, context->service) &&
        same_text(process->invocation_id, context->invocation_id))
        return PROOF_INVOCATION;
    if (has_user && context->daemon_exe && !lock_process_is_under_daemon(process, context->daemon_exe))
        for (char *const *helper = context->helpers; helper && *helper; helper++)
            if (same_text(process->exe, *helper))
                return PROOF_HELPER;
    return PROOF_NONE;
}

/* Who is in the way has what stood at the path once. */
static bool is_displaced(const struct inspection *inspection, size_t path) {
    enum verdict_reason reason = inspection->paths[path].judgement.reason;

    return reason == REASON_SPLIT || reason == REASON_UNREACHABLE;
}

const struct process_facts *recover_action_process(const struct inspection *inspection,
                                                   const struct recover_action *action) {
    const struct lock_facts *facts = &inspection->facts[action->path];

    if (action->holder >= 0)
        return &facts->holders[action->holder].process;
    for (size_t i = 0; i < facts->n_displaced && is_displaced(inspection, action->path); i++)
        if (facts->displaced[i].n_holders > 0)
            return &facts->displaced[i].holders[0].process;
    return facts->recorded.pid > 0 ? &facts->recorded.process : NULL;
}

static int add_action(struct recover_plan *plan, const struct recover_action *action) {
    struct recover_action *bigger = reallocarray(plan->actions, plan->n + 1, sizeof *bigger);

    if (!bigger)
        return -ENOMEM;
    plan->actions = bigger;
    bigger[plan->n++] = *action;
    return 0;
}

static const struct leftover_watch *find_watch(const struct leftover_watch *watches, size_t n,
                                               const struct process_facts *process) {
    for (size_t i = 0; i < n; i++)
        if (watches[i].id.pid == process->pid && watches[i].id.start_ticks == process->start_ticks)
            return &watches[i];
    return NULL;
}

static uint64_t add_saturated(uint64_t a, uint64_t b) {
    return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

/* Grace time, SIGTERM, time to obey, SIGKILL, then its end. */
static void next_step(const struct service_config *config, const struct leftover_watch *watch, uint64_t now,
                      struct recover_action *action) {
    uint64_t seen = watch ? watch->seen_usec : now;

    action->step = RECOVER_WAIT;
    action->until_usec = USEC_INFINITY;
    if (config->orphan_policy == ORPHAN_WAIT || (watch && watch->killed_usec))
        return;
    if (!watch || !watch->terminated_usec) {
        if (now - seen >= config->orphan_grace_usec)
            action->step = RECOVER_TERMINATE;
        else
            action->until_usec = add_saturated(seen, config->orphan_grace_usec);
    } else if (config->orphan_kill_usec != USEC_INFINITY) {
        if (now - watch->terminated_usec >= config->orphan_kill_usec)
            action->step = RECOVER_KILL;
        else
            action->until_usec = add_saturated(watch->terminated_usec, config->orphan_kill_usec);
    }
}

struct planner {
    const struct service_config *config;
    const struct inspection *inspection;
    const struct leftover_context *context;
    const struct leftover_watch *watches;
    size_t n_watches;
    uint64_t now;
    bool working, blocked;
    struct recover_plan *plan;
};

static int plan_blocked(struct planner *planner, size_t path, ssize_t holder) {
    struct recover_action action = {
        .step = RECOVER_BLOCKED, .path = path, .holder = holder, .until_usec = USEC_INFINITY};

    planner->blocked = true;
    return add_action(planner->plan, &action);
}

/* Whether the plan already has a signal for that process. */
static bool is_signalled(const struct planner *planner, const struct process_facts *process) {
    for (size_t i = 0; i < planner->plan->n; i++) {
        const struct recover_action *action = &planner->plan->actions[i];
        const struct process_facts *other = recover_action_process(planner->inspection, action);

        if ((action->step == RECOVER_TERMINATE || action->step == RECOVER_KILL) && other &&
            other->pid == process->pid && other->start_ticks == process->start_ticks)
            return true;
    }
    return false;
}

/* A helper at work has its daemon above it, whatever that daemon's executable is (a wrapper's, an older one):
 * it holds what the helper inherited. */
static bool has_living_daemon(const struct planner *planner, const struct lock_facts *facts,
                              const struct process_facts *process) {
    for (size_t i = 0; i < process->n_ancestors; i++)
        for (size_t j = 0; j < facts->n_holders; j++)
            if (facts->holders[j].process.pid == process->ancestors[i].pid &&
                leftover_prove(&facts->holders[j].process, planner->context, facts->uid) == PROOF_NONE)
                return true;
    return false;
}

/* The proof that the plan already has for that process, by another thing that it holds. */
static enum leftover_proof planned_proof(const struct planner *planner, const struct process_facts *process) {
    for (size_t i = 0; i < planner->plan->n; i++) {
        const struct process_facts *other =
            recover_action_process(planner->inspection, &planner->plan->actions[i]);

        if (other && other->pid == process->pid && other->start_ticks == process->start_ticks)
            return planner->plan->actions[i].proof;
    }
    return PROOF_NONE;
}

/* Of who holds an orphaned lock. */
static enum leftover_proof prove_holder(const struct planner *planner, const struct lock_facts *facts,
                                        const struct process_facts *process) {
    enum leftover_proof proof = leftover_prove(process, planner->context, facts->uid);

    return proof == PROOF_HELPER && has_living_daemon(planner, facts, process) ? PROOF_NONE : proof;
}

/* Of who is named by a helper's PID file. Such a file proves nothing by itself: its owner is whoever began
 * the helper, be it the administrator by hand, and so nothing follows from the executable either. What counts
 * is that our own daemon began it, or that the same process holds a lock of which all that is known already.
 */
static enum leftover_proof prove_helper(const struct planner *planner, const struct process_facts *process) {
    enum leftover_proof proof = leftover_prove(process, planner->context, (uid_t) -1);

    return proof != PROOF_NONE && proof != PROOF_HELPER ? proof : planned_proof(planner, process);
}

/* One leftover process: what is proven is waited for or ended, what is not is in the way. */
static int plan_leftover(struct planner *planner, size_t path, ssize_t holder, bool *ret_proven) {
    struct recover_action action = {.path = path, .holder = holder};
    const struct lock_facts *facts = &planner->inspection->facts[path];
    const struct process_facts *process = recover_action_process(planner->inspection, &action);
    const struct leftover_watch *watch = find_watch(planner->watches, planner->n_watches, process);

    action.proof = holder >= 0 ? prove_holder(planner, facts, process) : prove_helper(planner, process);
    /* One that is about to end cannot be read any more: what was proven of it before still holds. */
    if (action.proof == PROOF_NONE && watch &&
        !(watch->proof == PROOF_HELPER && has_living_daemon(planner, facts, process)))
        action.proof = watch->proof;
    *ret_proven = action.proof != PROOF_NONE && planner->config->orphan_policy != ORPHAN_FAIL;
    if (!*ret_proven)
        return 0;
    next_step(planner->config, watch, planner->now, &action);
    if (action.step != RECOVER_WAIT && is_signalled(planner, process)) {
        action.step = RECOVER_WAIT; /* once a round, though it holds two things */
        action.until_usec = USEC_INFINITY;
    }
    planner->working = true;
    return add_action(planner->plan, &action);
}

static int plan_orphaned(struct planner *planner, size_t path) {
    const struct lock_facts *facts = &planner->inspection->facts[path];
    ssize_t unproven = -1;
    bool any = false;
    int r;

    for (size_t i = 0; i < facts->n_holders; i++) {
        bool proven;

        r = plan_leftover(planner, path, (ssize_t) i, &proven);
        if (r < 0)
            return r;
        any |= proven;
        if (!proven && unproven < 0)
            unproven = (ssize_t) i;
    }
    /* While there is something proven to end, that is done; what is left then is looked at again. */
    return any ? 0 : plan_blocked(planner, path, unproven);
}

/* The helper was told of its PID file on its command line: a process that only has the number was not. */
static bool names_pidfile(const struct process_facts *process, const char *path) {
    const char *slash = strrchr(path, '/');

    return process->cmdline && strstr(process->cmdline, slash ? slash + 1 : path);
}

/* One that is about to end tells nothing any more, neither its command line nor whether it lives; what was
 * proven of it before still holds. */
static bool names_known_leftover(const struct planner *planner, size_t path) {
    const struct process_facts *process = &planner->inspection->facts[path].recorded.process;
    const struct leftover_watch *watch =
        process->pid > 0 ? find_watch(planner->watches, planner->n_watches, process) : NULL;

    return watch && watch->proof != PROOF_NONE;
}

/* A helper's PID file names a living process. It is in the way of the daemon's start. */
static int plan_helper(struct planner *planner, size_t path) {
    const struct process_facts *process = &planner->inspection->facts[path].recorded.process;
    bool proven = false;
    int r;

    if (names_pidfile(process, planner->inspection->paths[path].path) ||
        names_known_leftover(planner, path)) {
        r = plan_leftover(planner, path, -1, &proven);
        if (r < 0)
            return r;
    }
    return proven ? 0 : plan_blocked(planner, path, -1);
}

/* Its lock decides; once that is in nobody's way, what a dead daemon left at the socket's own path is
 * removed. A lock file that is not there guards nothing: then the socket speaks for itself. */
static bool is_for_its_guard(const struct planner *planner, const struct inspected *inspected) {
    enum verdict guard;

    if (inspected->role != INSPECTED_GUARDED_SOCKET)
        return false;
    guard = planner->inspection->paths[inspected->guard].judgement.verdict;
    if (guard == VERDICT_ABSENT)
        return false;
    return inspected->judgement.verdict != VERDICT_STALE || guard > VERDICT_STALE;
}

static int plan_path(struct planner *planner, size_t path) {
    const struct inspected *inspected = &planner->inspection->paths[path];
    struct recover_action clear = {.step = RECOVER_CLEAR, .path = path, .holder = -1};

    if (is_for_its_guard(planner, inspected))
        return 0;
    switch (inspected->judgement.verdict) {
    case VERDICT_ABSENT:
    case VERDICT_FREE:
        return 0;
    case VERDICT_STALE:
        planner->working = true;
        return add_action(planner->plan, &clear);
    case VERDICT_ORPHANED:
        return plan_orphaned(planner, path);
    case VERDICT_HELD:
        if (inspected->role == INSPECTED_HELPER_PIDFILE && planner->inspection->facts[path].n_holders == 0)
            return plan_helper(planner, path);
        return plan_blocked(
            planner, path,
            planner->inspection->facts[path].n_holders > 0 && !is_displaced(planner->inspection, path) ? 0
                                                                                                       : -1);
    default:
        if (inspected->role == INSPECTED_HELPER_PIDFILE && names_known_leftover(planner, path))
            return plan_helper(planner, path);
        return plan_blocked(planner, path, -1);
    }
}

int recover_plan(const struct service_config *config, const struct inspection *inspection,
                 const struct leftover_context *context, const struct leftover_watch *watches,
                 size_t n_watches, uint64_t now, struct recover_plan *ret) {
    _cleanup_recover_plan_ struct recover_plan plan = {0};
    struct planner planner = {
        .config = config,
        .inspection = inspection,
        .context = context,
        .watches = watches,
        .n_watches = n_watches,
        .now = now,
        .plan = &plan,
    };

    for (size_t i = 0; i < inspection->n; i++) {
        int r = plan_path(&planner, i);

        if (r < 0)
            return r;
    }
    plan.outcome = planner.working ? RECOVERY_WORKING : planner.blocked ? RECOVERY_BLOCKED : RECOVERY_CLEAR;
    *ret = plan;
    plan = (struct recover_plan){0};
    return 0;
}
