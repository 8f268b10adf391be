/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What to do about what is in the way, as a pure function: an inspection and the clock in, actions out.
 *
 * A leftover is acted on only if the service's main process is provably gone (struct lock_judgement says so),
 * and if the leftover is proven to be this service's. That it holds the lock proves nothing: a hostile
 * process can hand its descriptor to anybody (SCM_RIGHTS). */

#include "recovery/inspect.h"

enum leftover_proof {
    PROOF_NONE,
    PROOF_CGROUP,     /* it is in the service's own cgroup, which only we fill */
    PROOF_SESSION,    /* it is in the session that the main process began, which nobody else can enter */
    PROOF_DESCENDANT, /* of this latchd, whose only service this is, or that carries the service's name; or of
                         a process that is proven */
    PROOF_INVOCATION, /* it carries the service's name and the recorded invocation id, with the service's user
                       */
    PROOF_HELPER,     /* an allowed helper executable with the service's user and no living daemon above it */
    PROOF_MAX,
};
STRTAB_DECLARE(leftover_proof, enum leftover_proof);

/* For people: "it descends from this latchd". */
const char *leftover_proof_describe(enum leftover_proof proof);

/* What the proofs are held against. Strings are borrowed. */
struct leftover_context {
    const char *service;
    const char *invocation_id; /* of the generation that is gone; NULL: not known */
    pid_t self;                /* whoever asks is nobody's leftover */
    pid_t supervisor;          /* this latchd, when it is a child subreaper; 0: it is not */
    bool only_service;  /* all of this latchd's children come from this service: it serves no other, and had
                           none when it began */
    pid_t own_session;  /* this latchd's, in which no daemon's process is: each is born into a session of its
                           own  (setsid(2)). A child of ours in there is a helper of ours. 0: not known */
    const char *cgroup; /* the service's own; NULL: none */
    pid_t session;      /* the main process's number, and so that of its session; 0: not known */
    uint64_t session_until_ticks; /* who is in it and began before is of the main process's family: since it
                                     has been reaped its number may be another's */
    const struct process_id *family; /* processes of the service, each pinned by a pidfd: it is they as long
                                        as they live */
    size_t n_family;
    uid_t uid;              /* that the daemon runs as; (uid_t) -1: not known */
    const char *daemon_exe; /* NULL: not known; then no helper can be told from one that is at work */
    char *const *helpers;   /* OrphanAllow=, NULL-terminated; may be NULL */
};

/* lock_owner: the uid of the lock file's owner, who is the service's user as well (a wrapper may have changed
 * to it); (uid_t) -1: none. */
enum leftover_proof leftover_prove(const struct process_facts *process,
                                   const struct leftover_context *context, uid_t lock_owner);

/* A leftover that is being waited for. Times on CLOCK_BOOTTIME; 0: not yet. */
struct leftover_watch {
    struct process_id id;
    enum leftover_proof
        proof; /* what it was proven by: on its way out a process has no executable any more */
    uint64_t seen_usec;
    uint64_t terminated_usec;
    uint64_t killed_usec;
};

enum recover_step {
    RECOVER_CLEAR,     /* remove a stale file */
    RECOVER_WAIT,      /* a leftover still has its grace time, or time to obey a signal */
    RECOVER_TERMINATE, /* SIGTERM */
    RECOVER_KILL,      /* SIGKILL */
    RECOVER_BLOCKED,
    RECOVER_STEP_MAX,
};
STRTAB_DECLARE(recover_step, enum recover_step);

struct recover_action {
    enum recover_step step;
    size_t path;    /* index into the inspection */
    ssize_t holder; /* index of the path's holder; -1: the process that the file names, or none */
    enum leftover_proof proof;
    uint64_t until_usec; /* of RECOVER_WAIT: look again then; USEC_INFINITY: when it ends */
    bool cleared;        /* of RECOVER_CLEAR, set by whoever carries it out: the file is gone */
};

enum recover_outcome {
    RECOVERY_CLEAR,   /* nothing is in the way */
    RECOVERY_WORKING, /* carry out the actions, then inspect again */
    RECOVERY_BLOCKED,
};

struct recover_plan {
    enum recover_outcome outcome;
    struct recover_action *actions; /* owned */
    size_t n;
};

#define _cleanup_recover_plan_ _cleanup_(recover_plan_done)
void recover_plan_done(struct recover_plan *plan);

/* -ENOMEM. A plan that is blocked still carries the actions on proven leftovers: an incomplete scan limits
 * what may be concluded from absence, it does not forbid ending what is proven. */
int recover_plan(const struct service_config *config, const struct inspection *inspection,
                 const struct leftover_context *context, const struct leftover_watch *watches,
                 size_t n_watches, uint64_t now_usec, struct recover_plan *ret);

/* The process an action is about. */
const struct process_facts *recover_action_process(const struct inspection *inspection,
                                                   const struct recover_action *action);
