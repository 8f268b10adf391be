/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All services of one supervisor, on one event loop. One service or a thousand: there is no second path. */

#include <sys/resource.h>
#include <systemd/sd-event.h>

#include "config/config.h"
#include "journal/event.h"
#include "probe/probe-cache.h"
#include "runtime/handover.h"
#include "service/order.h"
#include "health/path-watch.h"

struct service;
struct manager_queues;

/* A descriptor that systemd kept for a latchd before us. */
struct inherited {
    int fd; /* owned; -EBADF: taken */
    char *name;
};

struct manager {
    sd_event *event;           /* owned */
    struct event_log *log;     /* borrowed */
    int proc_fd;               /* owned */
    int children_fd;           /* owned: the kernel's list of our children, once it was wanted */
    struct probe_cache probe_cache; /* for the looks before each start */
    int runtime_dir_fd;        /* owned; only the owner may write there */
    struct service **services; /* owned */
    size_t n_services;
    struct order order; /* After= and Requires=, by manager_plan_order() */
    struct service *order_queue;
    sd_event_source *order_source;    /* what is queued there is looked at in the next turn of the loop */
    struct config_paths config_paths; /* borrowed strings: where configurations are read again */
    uint64_t default_signals; /* see exec_default_signals(): none is ignored or handled later */
    char boot_id[37];
    sd_event_source *record_source;         /* writes NAME.state files, when there is nothing else to do */
    bool settled;                           /* the first daemons run: memory was given back */
    sd_event_source *limits_source;         /* looks at the limits of daemons that have started a moment ago */
    struct manager_signals *signal_sources; /* owned */
    sd_event_source *reload_source, *post_source;
    struct service **mains;       /* owned: chains of services by the PID of their daemon, n_mains of them */
    size_t n_mains;               /* a power of two */
    bool files_raised;         /* RLIMIT_NOFILE, for ourselves */
    struct rlimit files_before;
    bool is_init;                 /* PID 1: of a container */
    struct notify_upstream *upstream; /* owned; NULL: no service manager above us */
    struct inherited *inherited;      /* owned; only until they are taken over */
    size_t n_inherited;
    struct closer *closer; /* owned; of descriptors that daemons and others sent; NULL: none yet */
    bool subreaper;               /* leftovers of our services become our children */
    bool had_children;            /* when we began: not all of our children come from our services */
    struct own_cgroup *cgroup;    /* owned; what we divide among the services; NULL: nobody gave us any */
    char *cgroup_path;            /* owned; our own, NULL: not known */
    struct marks_table *marks;    /* owned; while the services are begun: one look serves them all */
    bool beginning;               /* manager_run() begins them */
    bool stopping;                /* SIGTERM and its like: stop everything, then leave the loop */
    bool announced;               /* READY=1 went to systemd */
    sd_event_source *quiet_source; /* owned; see manager_keep_quiet() */
    bool quiet;
    size_t n_due;                 /* restarts without delay that the next turn of the loop goes on with */
    size_t reload_next;           /* whose configuration is read next, since SIGHUP came */
    bool reloads;                 /* one of them is being tried */
    bool told_reloading;          /* so did RELOADING=1, and no READY=1 after it */
    bool changed;                 /* some service's state did, since the last round of the loop */
    struct path_watcher *watcher; /* owned: where sockets are awaited */
    struct manager_queues *queues; /* owned; NULL: no listener's queue is looked at */
    unsigned examinations;        /* of daemons that may hang, going on now */
    sd_event_source *pulse;       /* WATCHDOG=1 to systemd; NULL: nobody wants it */
    uint64_t pulse_usec;

    char *program;                  /* borrowed: the path of what we were started from; NULL: not known */
    char *const *program_argv;      /* borrowed: as started */
    struct manager_reexec *reexec;  /* NULL: latchd is not being replaced */
    struct handover *handover;      /* owned, until the services are taken over; NULL: no latchd was before us in
                                     * this process */
    int (*on_hand_over)(struct handover *handover, void *userdata); /* of the control server */

    /* Called after each change of a service's state; for the control server. */
    void (*on_change)(struct service *service, void *userdata);
    void *on_change_userdata;
};

#define _cleanup_manager_ _cleanup_(manager_freep)

/* The caller blocks no signals: manager_new() blocks those it handles (SIGTERM, SIGHUP, SIGCHLD, SIGUSR1 and
 * so on), in this thread. runtime_dir_fd is taken over on success. */
int manager_new(struct event_log *log, int runtime_dir_fd, struct manager **ret, struct err *err);
struct manager *manager_free(struct manager *manager);
static inline void manager_freep(struct manager **manager) {
    *manager = manager_free(*manager);
}

/* Sees to it that these services can be served with the descriptors we may have open. "Failed": they cannot,
 * with the arithmetic. */
int manager_reserve_files(struct manager *manager, struct service_config *const configs[], size_t n_services,
                          struct err *err);

/* The limit of descriptors that is the daemons'; NULL: ours. */
const struct rlimit *manager_own_files(const struct manager *manager);

/* Adds a service: takes its supervisor lock (NAME.lock), so that no other latchd serves it. config is taken
 * over on success. -EBUSY "Held": another one does, and is named. */
int manager_add(struct manager *manager, const char *runtime_dir, struct service_config *config,
                struct service **ret, struct err *err);

/* Reads After= and Requires= of all services anew: once all are added, and after a configuration changed.
 * -EINVAL "BadConfiguration": they go in a circle; the plan stays as it was. */
int manager_plan_order(struct manager *manager, struct err *err);

/* Adopts or starts every service, then runs the loop until all are stopped on request, or, as a container's
 * init with one service, until that has ended for good. Returns the exit code: then the daemon's, else 0. */
int manager_run(struct manager *manager, struct err *err);

/* Has the program that we were started from take our place in this process: daemons, locks, sockets and clients stay.
 * Returns when the trial of that program has begun; a failure after that is told to on_refused (with *err's
 * message), and all goes on as before. -EBUSY "Busy". */
int manager_reexec(struct manager *manager, void (*on_refused)(const struct err *err, void *userdata),
                   void *userdata, struct err *err);

/* After manager_reserve_files(): what a latchd before us in this process (manager->handover) knew of its beginning. */
void manager_take_over(struct manager *manager);

/* A daemon that is started again at once has the processor for itself: for a moment nothing is told, written down
 * or looked at that can wait. The kernel often has a child begin where its parent runs, however idle another
 * processor is, and who is woken comes first. */
void manager_keep_quiet(struct manager *manager);

/* Some service has record_dirty set. */
void manager_record_later(struct manager *manager);

/* From here on this process has the capabilities that its services take, by the configuration they have and
 * the one that waits for their next start, and no others. Where that fails we have more than we need, which
 * is no reason not to serve them. */
void manager_give_up_privileges(struct manager *manager);

/* service.c reports here. */
void manager_service_changed(struct manager *manager, struct service *service);

/* Which service's daemon has that PID, of those that service.c told of; NULL: none's. */
struct service *manager_find_main(struct manager *manager, pid_t pid);
void manager_track_main(struct service *service); /* record.main is its daemon from now on */
void manager_forget_main(struct service *service);

struct service *manager_find(const struct manager *manager, const char *name);
