/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Recovery in progress: inspects, plans, carries out, and says what to wait for. It owns no event loop: who
 * drives it waits until recovery.wait_fd is readable (a leftover or a blocking holder has ended) or until the
 * time that a step returned, and steps again. The caller holds the service's own lock (NAME.lock). */

#include "journal/event.h"
#include "recovery/leftovers.h"
#include "recovery/own-cgroup.h"
#include "recovery/recover-plan.h"
#include "recovery/unrecorded.h"
#include "runtime/state-file.h"

struct recovery_watch;

struct recovery {
    int wait_fd;                    /* epoll(7) over the pidfds below; -EBADF: there was none yet */
    struct recovery_watch *watches; /* owned */
    size_t n_watches;
    json_t *actions;       /* owned: what was done, for status: [{step, path, pid, text, atUSec}] */
    char *blocked_by;      /* owned: who or what blocks, as the journal was told last; NULL while not blocked */
    uint64_t started_usec; /* CLOCK_REALTIME; 0: nothing was in the way so far */
    unsigned blocked_steps;
    enum verdict_reason blocked_reason; /* of what the last of these steps was blocked by */
    bool unseen; /* the last step was blocked by one that nobody was seen to hold */
};

/* What recovery works for; all borrowed. */
struct recovery_host {
    const struct service_config *config;
    struct known_main known;
    struct unrecorded unrecorded;     /* while it lives nothing is begun, be the rest of the way free */
    struct leftover_context leftover; /* daemon_exe is filled in by the step */
    struct leftovers *leftovers; /* what is left of the daemon's processes; NULL: that is nobody's business */
    struct leftover_places places;
    const char *own_cgroup_path; /* this latchd's, as /proc/PID/cgroup shows it; NULL: not known */
    struct event_log *log;
    struct event_scope scope;
    int proc_fd;
    struct probe_cache *cache; /* NULL: none is kept */
    bool dry_run; /* what is found and would be done goes to the actions alone; the journal is told nothing */
    bool stopping;          /* nothing is to be started: that somebody is in the way is not reported */
    bool retiring;          /* nor will anything be started at these places ever again */
    uint64_t patience_usec; /* of recovery_run(): whoever blocks may be about to end; killed, a large process
                             * takes a while to die */
    bool on_request; /* somebody asked for it: no grace time, and OrphanPolicy= does not hold it back */
};

/* Everything that follows from the configuration and the record; not a subreaper, and nothing is known of a
 * running daemon. */
void recovery_host_init(struct recovery_host *host, const struct service_config *config,
                        const struct service_record *record, int proc_fd, struct event_log *log);

/* The same for a service without a supervisor, read from its state file. -EBUSY "Held": its daemon runs.
 * *record has to outlive the host. */
int recovery_host_init_offline(struct recovery_host *host, const struct service_config *config,
                               int runtime_dir_fd, int proc_fd, struct event_log *log,
                               struct service_record *record, struct err *err);

/* Process numbers mean nothing in the /proc of another PID namespace: -EXDEV "Failed" where that is mounted.
 */
int recovery_check_proc(int proc_fd, struct err *err);

int recovery_init(struct recovery *recovery);
void recovery_done(struct recovery *recovery);

/* Forgets what was done and whom it watched: the next step begins anew. */
void recovery_reset(struct recovery *recovery);

/* Whether it has a leftover in hand for what that holds. */
bool recovery_is_watching(const struct recovery *recovery, const struct process_id *id);

/* Remembers for status what was done. path may be NULL, pid 0. */
void recovery_remember(struct recovery *recovery, const char *step, const char *path, pid_t pid,
                       const char *text);

/* One round. *ret_next_usec (CLOCK_BOOTTIME) is when to step again if nothing wakes wait_fd before;
 * USEC_INFINITY: never. For RECOVERY_BLOCKED *err says who is in the way ("Held" for a living owner, else
 * "Blocked"). -errno: the round could not be made; the caller may try again. The inspection goes to
 * *ret_inspection, if that is not NULL, for the caller to release. */
int recovery_step(struct recovery *recovery, const struct recovery_host *host,
                  enum recover_outcome *ret_outcome, uint64_t *ret_next_usec,
                  struct inspection *ret_inspection, struct err *err);

/* Steps until the way is free or blocked, waiting in between: for `latchd exec` and `latchctl clear`, which
 * have no event loop. 0: the way is free. -EBUSY with *err: blocked. */
int recovery_run(struct recovery *recovery, const struct recovery_host *host, struct err *err);
