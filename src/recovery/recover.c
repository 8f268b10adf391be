/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/recover.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "probe/clear.h"
#include "probe/probe-cache.h"
#include "lock/describe.h"
#include "exec/terminate.h"
#include "recovery/recover-tell.h"

/* A blocked service looks again by itself as well: a holder may let go without ending. */
#define BLOCKED_FIRST_USEC (500 * USEC_PER_MSEC)
#define BLOCKED_MOST_USEC (5 * USEC_PER_SEC)
#define AGAIN_USEC (10 * USEC_PER_MSEC)
#define LOOKS_MAX 3

struct recovery_watch {
    struct leftover_watch leftover;
    int pidfd;           /* in wait_fd */
    bool leftover_known; /* a leftover that was reported; else somebody who blocks */
    bool seen;           /* in this round */
};

int recovery_init(struct recovery *recovery) {
    *recovery = (struct recovery){.wait_fd = -EBADF};
    return 0;
}

/* The first to be waited for makes the set: most services never have any. */
static int wait_for(struct recovery *recovery, int fd) {
    struct epoll_event event = {.events = EPOLLIN};

    if (recovery->wait_fd < 0)
        recovery->wait_fd = epoll_create1(EPOLL_CLOEXEC);
    return recovery->wait_fd < 0 || epoll_ctl(recovery->wait_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void drop_watches(struct recovery *recovery, bool all) {
    size_t kept = 0;

    for (size_t i = 0; i < recovery->n_watches; i++) {
        if (!all && recovery->watches[i].seen)
            recovery->watches[kept++] = recovery->watches[i];
        else
            fd_close(recovery->watches[i].pidfd); /* leaves the epoll set with its last descriptor */
    }
    recovery->n_watches = kept;
}

void recovery_reset(struct recovery *recovery) {
    drop_watches(recovery, true);
    json_decref(recovery->actions);
    free(recovery->blocked_by);
    recovery->actions = NULL;
    recovery->blocked_by = NULL;
    recovery->started_usec = 0;
    recovery->blocked_steps = 0;
}

void recovery_done(struct recovery *recovery) {
    recovery_reset(recovery);
    free(recovery->watches);
    recovery->wait_fd = fd_close(recovery->wait_fd);
    recovery->watches = NULL;
}

/* Finds or adds the watch on a process; NULL when it is gone already, or for want of resources: then the
 * clock does it. */
static struct recovery_watch *watch_process(struct recovery *recovery, const struct recovery_host *host,
                                            const struct process_facts *process) {
    struct process_id id = {.pid = process->pid, .start_ticks = process->start_ticks};
    _cleanup_close_ int pidfd = -EBADF;
    struct recovery_watch *bigger;

    for (size_t i = 0; i < recovery->n_watches; i++)
        if (process_id_equal(&recovery->watches[i].leftover.id, &id)) {
            recovery->watches[i].seen = true;
            return &recovery->watches[i];
        }
    pidfd = process_pin_id(host->proc_fd, &id);
    if (pidfd < 0)
        return NULL;
    bigger = reallocarray(recovery->watches, recovery->n_watches + 1, sizeof *bigger);
    if (!bigger)
        return NULL;
    recovery->watches = bigger;
    if (wait_for(recovery, pidfd) < 0)
        return NULL;
    bigger[recovery->n_watches] = (struct recovery_watch){
        .leftover = {.id = id, .seen_usec = now_usec(CLOCK_BOOTTIME)}, .pidfd = TAKE_FD(pidfd), .seen = true};
    return &bigger[recovery->n_watches++];
}

bool recovery_is_watching(const struct recovery *recovery, const struct process_id *id) {
    for (size_t i = 0; i < recovery->n_watches; i++)
        if (recovery->watches[i].leftover_known && process_id_equal(&recovery->watches[i].leftover.id, id))
            return true;
    return false;
}

static int carry_out_clear(struct recovery *recovery, const struct recovery_host *host,
                           const struct inspection *inspection, struct recover_action *action,
                           struct err *err) {
    const struct inspected *inspected = &inspection->paths[action->path];
    struct clear_request request = {
        .facts = &inspection->facts[action->path],
        .style = inspected->style,
        .effort = inspection->effort,
        .may_try = true, /* as for every look before a start */
        .dead = known_main_dead(&host->known),
        .cache = host->cache,
        .context = &inspected->context,
        .service_locked = true,
        .dry_run = host->dry_run,
    };
    int r = lock_clear(&request, err);

    if (r == -ESTALE)
        return r; /* somebody was at it just now: no more than a reason to look again */
    if (r < 0) {
        recover_tell_refused(recovery, host, inspection, action, err);
        return r;
    }
    action->cleared = true;
    return 0;
}

static int carry_out_signal(struct recovery *recovery, const struct recovery_host *host,
                            const struct inspection *inspection, const struct recover_action *action,
                            struct recovery_watch *watch, struct err *err) {
    _cleanup_free_ char *described = process_describe(recover_action_process(inspection, action));
    const char *who = described ? described : "a leftover";
    bool kill = action->step == RECOVER_KILL;
    int r;

    r = host->dry_run ? 0 : terminate_signal(watch->pidfd, kill ? SIGKILL : SIGTERM);
    if (r == -ESRCH)
        return 0; /* it has ended in the meantime */
    if (r < 0) {
        r = err_set(err, -r, r == -EPERM ? "NotPermitted" : "Failed",
                    "cannot send %s to %s, a leftover that keeps %s: %m; end it by hand, as root",
                    kill ? "SIGKILL" : "SIGTERM", who, inspection->paths[action->path].path);
        recover_tell_refused(recovery, host, inspection, action, err);
        return r;
    }
    if (kill)
        watch->leftover.killed_usec = now_usec(CLOCK_BOOTTIME);
    else
        watch->leftover.terminated_usec = now_usec(CLOCK_BOOTTIME);
    recover_tell_signal(recovery, host, inspection, action, who);
    return 0;
}

static int carry_out(struct recovery *recovery, const struct recovery_host *host,
                     const struct inspection *inspection, struct recover_action *action, uint64_t *next_usec,
                     struct err *err) {
    const struct process_facts *process = recover_action_process(inspection, action);
    struct recovery_watch *watch;

    if (action->step == RECOVER_CLEAR)
        return carry_out_clear(recovery, host, inspection, action, err);
    if (!process)
        return 0;
    watch = watch_process(recovery, host, process);
    if (action->step == RECOVER_BLOCKED)
        return 0;
    if (!watch) { /* gone since: look again, but do not spin where it is descriptors or memory that we want
                     for */
        *next_usec = now_usec(CLOCK_BOOTTIME) + AGAIN_USEC;
        return 0;
    }
    watch->leftover.proof = action->proof;
    if (!watch->leftover_known) {
        watch->leftover_known = true;
        recover_tell_leftover(recovery, host, inspection, action);
    }
    if (action->step == RECOVER_WAIT) {
        if (action->until_usec < *next_usec)
            *next_usec = action->until_usec;
        return 0;
    }
    *next_usec = now_usec(CLOCK_BOOTTIME) + AGAIN_USEC;
    return carry_out_signal(recovery, host, inspection, action, watch, err);
}

/* leftover_watch rows as the pure planner wants them. */
static struct leftover_watch *copy_watches(const struct recovery *recovery) {
    struct leftover_watch *copy = calloc(recovery->n_watches + 1, sizeof *copy);

    for (size_t i = 0; copy && i < recovery->n_watches; i++)
        copy[i] = recovery->watches[i].leftover;
    return copy;
}

/* A lock that is held, and nobody was seen to hold it. */
static bool nobody_was_seen(const struct inspection *inspection, const struct recover_plan *plan) {
    for (size_t i = 0; i < plan->n; i++) {
        enum verdict_reason reason = inspection->paths[plan->actions[i].path].judgement.reason;

        if (plan->actions[i].step == RECOVER_BLOCKED &&
            (reason == REASON_INCOMPLETE_SCAN || reason == REASON_UNATTRIBUTED ||
             reason == REASON_OTHER_PID_NAMESPACE))
            return true;
    }
    return false;
}

/* Inspects and plans. The kernel's list of locks is read before the descriptors are: whoever ended in between
 * is still in the one and no more in the others. So before that is called blocked, it is looked at again. */
static int look(const struct recovery *recovery, const struct recovery_host *host,
                const struct leftover_watch *watches, struct inspection *inspection,
                struct recover_plan *plan, struct err *err) {
    struct leftover_context leftover = host->leftover;

    for (unsigned looks = 1;; looks++) {
        int r = service_inspect_cached(host->config, &host->known,
                                       host->retiring ? INSPECT_RETIRE : INSPECT_START, host->cache,
                                       inspection, err);

        if (r < 0)
            return r;
        leftover.daemon_exe = inspection->daemon_exe;
        r = recover_plan(host->config, inspection, &leftover, watches, recovery->n_watches,
                         now_usec(CLOCK_BOOTTIME), plan);
        if (r < 0)
            return err_set(err, -r, "Failed", "out of memory");
        if (plan->outcome != RECOVERY_BLOCKED || recovery->blocked_steps > 0 || looks == LOOKS_MAX ||
            !nobody_was_seen(inspection, plan))
            return 0;
        recover_plan_done(plan);
        inspection_done(inspection);
    }
}

/* Who holds nothing is ended as well. *outcome, of those that hold something, becomes that of both. 1: the
 * leftovers are what blocks, and *err says so. */
static int step_leftovers(struct recovery *recovery, const struct recovery_host *host,
                          enum recover_outcome *outcome, uint64_t *next_usec, struct err *err) {
    enum recover_outcome other;
    int r;

    if (!host->leftovers)
        return 0;
    r = leftovers_step(host->leftovers, recovery, host, &other, next_usec, err);
    if (r < 0)
        return r;
    /* EEXIST: it is in there. */
    if (other == RECOVERY_WORKING && host->leftovers->wait_fd >= 0)
        (void) wait_for(recovery, host->leftovers->wait_fd);
    if (other == RECOVERY_BLOCKED && *outcome == RECOVERY_CLEAR) {
        *outcome = RECOVERY_BLOCKED;
        return 1;
    }
    /* Somebody else in the way is told at once; a stop has nothing to wait for but what can be ended. */
    if (other == RECOVERY_WORKING && (*outcome == RECOVERY_CLEAR || host->stopping))
        *outcome = RECOVERY_WORKING;
    return 0;
}

/* True: it lives, and is watched. */
static bool step_unrecorded(struct recovery *recovery, const struct recovery_host *host, struct err *err) {
    struct process_facts process = {.pid = host->unrecorded.id.pid,
                                    .start_ticks = host->unrecorded.id.start_ticks};
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;

    if (host->unrecorded.id.pid == 0 || host->stopping ||
        process_look(host->proc_fd, &host->unrecorded.id) != PROCESS_ALIVE)
        return false;
    for (size_t i = 0; i < recovery->n_watches; i++)
        recovery->watches[i].seen = false;
    (void) watch_process(recovery, host, &process);
    drop_watches(recovery, false);
    text = unrecorded_describe(host->proc_fd, &host->unrecorded, host->config->name);
    err_set(err, EBUSY, "Blocked", "%s",
            text ? text : "a daemon of this service runs that latchd has no record of");
    if (!text || (recovery->blocked_by && strcmp(recovery->blocked_by, text) == 0))
        return true;
    free(recovery->blocked_by);
    recovery->blocked_by = strdup(text);
    event_field_add(&fields, "LATCHD_PATH", "%s.state", host->config->name);
    event_field_set(&fields, "LATCHD_VERDICT", verdict_to_string(VERDICT_UNKNOWN));
    event_field_set(&fields, "LATCHD_REASON", text);
    event_field_add(&fields, "LATCHD_HOLDER_PID", "%d", (int) process.pid);
    event_emit(host->log, EVENT_BLOCKED, &host->scope, fields.fields, fields.n, "%s", text);
    return true;
}

/* What is cleared was looked at a moment ago. */
static void set_at_once(const struct recovery_host *host, bool at_once) {
    if (host->cache)
        host->cache->at_once = at_once;
}

int recovery_step(struct recovery *recovery, const struct recovery_host *host,
                  enum recover_outcome *ret_outcome, uint64_t *ret_next_usec,
                  struct inspection *ret_inspection, struct err *err) {
    _cleanup_inspection_ struct inspection inspection = {0};
    _cleanup_recover_plan_ struct recover_plan plan = {0};
    _cleanup_free_ struct leftover_watch *watches = copy_watches(recovery);
    struct service_config config = *host->config; /* shallow: for the policy alone */
    struct recovery_host effective = *host;
    uint64_t next_usec = USEC_INFINITY, leftovers_next_usec = USEC_INFINITY;
    size_t cleared = 0;
    bool refused = false;
    int r;

    if (!watches)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    effective.config = &config;
    if (host->on_request) {
        config.orphan_policy = ORPHAN_TERMINATE;
        config.orphan_grace_usec = 0;
    }
    if (step_unrecorded(recovery, host, err)) {
        *ret_outcome = RECOVERY_BLOCKED;
        *ret_next_usec = now_usec(CLOCK_BOOTTIME) + BLOCKED_MOST_USEC;
        if (ret_inspection)
            *ret_inspection = (struct inspection){0};
        return 0;
    }
    r = look(recovery, &effective, watches, &inspection, &plan, err);
    if (r < 0)
        return r;

    for (size_t i = 0; i < recovery->n_watches; i++)
        recovery->watches[i].seen = false;
    set_at_once(host, true);
    for (size_t i = 0; i < plan.n; i++) {
        r = carry_out(recovery, &effective, &inspection, &plan.actions[i], &next_usec, err);
        if (r == -ENOMEM) {
            set_at_once(host, false);
            recover_tell_cleared(recovery, host, &inspection, &plan);
            return r;
        }
        if (r == -ESTALE)
            next_usec = now_usec(CLOCK_BOOTTIME) + AGAIN_USEC;
        else if (r < 0) { /* what could not be cleared is in the way, and is looked at anew in a while */
            refused = true;
            plan.outcome = RECOVERY_BLOCKED;
        } else if (plan.actions[i].step == RECOVER_CLEAR) {
            next_usec = now_usec(CLOCK_BOOTTIME);
            cleared++;
        }
    }
    set_at_once(host, false);
    /* All that was in the way is gone, and nobody was waited for: what else was looked at just now is as it
     * was. */
    if (plan.n > 0 && cleared == plan.n)
        plan.outcome = RECOVERY_CLEAR;
    drop_watches(recovery, false);
    recover_tell_cleared(recovery, host, &inspection, &plan);
    r = step_leftovers(recovery, &effective, &plan.outcome, &leftovers_next_usec, err);
    if (r < 0)
        return r;
    refused |= r > 0;

    if (plan.outcome == RECOVERY_BLOCKED) {
        bool unseen = nobody_was_seen(&inspection, &plan);
        uint64_t pause;

        /* Something else is in the way now: it may be gone soon, as a helper that outlives its master. */
        if (!refused && recover_tell_blocked(recovery, host, &inspection, &plan, err))
            recovery->blocked_steps = 0;
        if (unseen && !recovery->unseen) /* who was in the way is about to end: that may be over soon */
            recovery->blocked_steps = 0;
        recovery->unseen = unseen;
        pause = BLOCKED_FIRST_USEC << (recovery->blocked_steps < 8 ? recovery->blocked_steps : 8);
        recovery->blocked_steps++;
        next_usec = now_usec(CLOCK_BOOTTIME) + (pause < BLOCKED_MOST_USEC ? pause : BLOCKED_MOST_USEC);
    }
    if (leftovers_next_usec < next_usec)
        next_usec = leftovers_next_usec;
    if (plan.outcome == RECOVERY_CLEAR)
        recover_tell_free(recovery, host);
    if (plan.outcome != RECOVERY_BLOCKED) {
        free(recovery->blocked_by);
        recovery->blocked_by = NULL;
        recovery->blocked_steps = 0;
    }
    *ret_outcome = plan.outcome;
    *ret_next_usec = next_usec;
    if (ret_inspection) {
        *ret_inspection = inspection;
        inspection = (struct inspection){0};
    }
    return 0;
}
