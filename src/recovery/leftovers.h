/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a dead daemon left behind, whether it holds a lock or nothing: known by identity, and ended together,
 * as OrphanPolicy=, OrphanGraceSec= and OrphanKillSec= say. Who holds a lock or a socket is in recover.c's
 * hands; here are all the others. Only who is proven to be the service's is touched. */

#include "recovery/recover-plan.h"

struct recovery;
struct recovery_host;

#define LEFTOVERS_MAX 8192 /* known at a time; more than any service of use has */

struct leftover {
    struct process_id id;
    int pidfd; /* -EBADF: of many, only some are held; then it is found again by its identity */
    enum leftover_proof proof;
    char comm[16];
    bool terminated, stopped, killed; /* it was sent that */
    bool given_up;                    /* it does not end: told, and waited for no more */
};

/* The set has one clock, so that what a leftover begins gets no time of its own. CLOCK_BOOTTIME; 0: not yet.
 */
struct leftovers_clock {
    uint64_t seen_usec, terminated_usec, killed_usec;
};

enum leftovers_move {
    LEFTOVERS_WAIT,
    LEFTOVERS_TERMINATE, /* SIGTERM to who has not got it */
    LEFTOVERS_STOP, /* SIGSTOP: what forks without end is held first, or it forks on while it is killed */
    LEFTOVERS_KILL,
    LEFTOVERS_GIVE_UP, /* SIGKILL was sent, and they do not end */
    LEFTOVERS_BLOCK,   /* they are left to the administrator, and in the way of a start */
};

/* Pure. all_held: a cgroup kills them at once, or all are stopped and the last look found nobody new.
 * *ret_until_usec: LEFTOVERS_WAIT: when to ask again. */
enum leftovers_move leftovers_plan(const struct service_config *config, const struct leftovers_clock *clock,
                                   bool all_held, uint64_t now_usec, uint64_t *ret_until_usec);

struct marks_table;

struct leftovers {
    bool looked; /* since the daemon's end: nobody is left but these */
    struct leftover *entries;
    size_t n, n_held; /* n_held: how many have a pidfd */
    int wait_fd;      /* epoll(7) over these; -EBADF: there was none yet */
    struct leftovers_clock clock;
    unsigned stop_rounds;
    bool found_new;  /* the last look did */
    bool incomplete; /* there are more than one look takes on: the next one goes on with them */
    bool full;       /* there are more than LEFTOVERS_MAX: the next look finds others when some have ended */
    bool told;       /* the administrator knows of this set */

    /* How the daemon's end was seen; for leftover_context. */
    bool placed;          /* the daemon was born into the service's own cgroup */
    bool main_was_ours;   /* a child of this latchd: its leftovers are, as well */
    uint64_t ended_ticks; /* before it was reaped */
    char *cgroup_path;    /* owned; NULL: the service has no cgroup */
    char *in_the_way;     /* owned: whom the last stop left, as not proven to be the service's; or NULL */
};

/* Where the service's processes are looked for: what a host (recover.h) says of that. */
struct leftover_places {
    const struct own_cgroup *own_cgroup;  /* borrowed; NULL: there is none */
    bool marks;                           /* also by LATCHD_SERVICE= and INVOCATION_ID= */
    const struct marks_table *marks_read; /* who carries them, as it was read before; NULL: it is read anew */
    /* The children of this latchd that are no service's main process, with all that descends from them; NULL:
     * not looked for. *ret is freed by the caller. */
    int (*find_strays)(void *userdata, pid_t **ret, size_t *ret_n);
    void *userdata;
};

struct leftovers *leftovers_new(void);
struct leftovers *leftovers_free(struct leftovers *leftovers);

/* A daemon runs or ran since: what is left of it is not known. Who is known stays so. */
void leftovers_forget(struct leftovers *leftovers);

/* Looks who is left now, and drops who has ended. -errno for want of resources. */
int leftovers_look(struct leftovers *leftovers, const struct recovery_host *host);

/* Counts a process, pinned by its identity, and what descends from it as the service's. -ESRCH: it has ended.
 */
int leftovers_add_root(struct leftovers *leftovers, int proc_fd, const struct process_id *id);

/* Drops who has ended. How many are left, but those that were given up. */
size_t leftovers_prune(struct leftovers *leftovers, int proc_fd);

/* One round of ending them: a part of recovery_step(). *next_usec becomes earlier if need be. */
int leftovers_step(struct leftovers *leftovers, struct recovery *recovery, const struct recovery_host *host,
                   enum recover_outcome *ret_outcome, uint64_t *next_usec, struct err *err);

/* Sends a signal to each. How many got it. */
size_t leftovers_signal(struct leftovers *leftovers, int proc_fd, int signal);

/* "PID 812 (worker), PID 813 (worker) and 5 more" of those that are not given up; to be freed. */
char *leftovers_describe(const struct leftovers *leftovers);
