/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The sockets of a service that latchd owns (Owner=latchd), and their locks: taken before its first start,
 * kept over every restart of the daemon, gone when the service is down. The daemon has a copy of the
 * listener, and never one of the lock: its children would keep that, and the lock would be an orphan. */

#include <jansson.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "config/config.h"
#include "journal/event.h"
#include "probe/hold.h"
#include "runtime/handover.h"
#include "socket/listener.h"

struct owned_socket {
    int fd;                      /* owned: the listener; -EBADF: it is not open, or not ours to open */
    int lock_fd;                 /* owned; -EBADF: not taken, or there is none */
    struct listener_place place; /* of its file, which goes when it is closed; 0: none that we made */
    bool passed; /* somebody above us made it (a .socket unit) and keeps it: it and its lock stay when the
                    service is down */
    bool stored; /* systemd has a copy of both */
    bool fresh;  /* owned_open() has opened it just now */

    sd_event_source *socket_watch, *lock_watch; /* owned: of the two inodes; NULL: not watched */
    sd_event_source *directory_watch, *lock_directory_watch; /* owned: while something else stands there */
    enum listener_sight sight;                  /* what stands at the path, as told last */
    bool lock_displaced;                        /* so it is with the lock file */
    unsigned restored;                          /* times that were not told yet */
    unsigned told;                              /* such lines since told_usec (CLOCK_BOOTTIME) */
    uint64_t told_usec;
};

struct owned {
    struct owned_socket *sockets; /* one a configured socket, in that order; owned */
    struct lock_held *held;       /* likewise: what is open of it; owned */
    size_t n;
    char *told;      /* owned: why it could not be opened, as the journal was told last; NULL: it could */
    unsigned tries;  /* how often it could not, in a row */
    sd_event *event; /* borrowed; NULL: nothing is watched */
    void (*on_change)(void *userdata); /* from the loop: owned_check() is to be called */
    void *userdata;
};

/* Whom it works for; all borrowed. */
struct owned_host {
    const struct service_config *config;
    struct event_log *log;
    struct event_scope scope;
    int proc_fd;
};

/* Any socket of this configuration is latchd's. */
bool owned_wants(const struct service_config *config);

/* -ENOMEM. Nothing is open yet. */
int owned_new(const struct service_config *config, struct owned **ret);

/* Closes the descriptors, and leaves the files: after owned_close(), or for whoever comes next. Returns NULL.
 */
struct owned *owned_free(struct owned *owned);

/* Takes what is not taken yet, each lock before its socket. What was open stays; its path, if somebody
 * removed it, is made anew. All or nothing of what was not open before. -EBUSY, -EADDRINUSE "Held": somebody
 * came in between, look again; else as listener_open() and lock_hold(). */
int owned_open(struct owned *owned, const struct owned_host *host, struct err *err);

/* Closes all that nobody above us keeps, and removes the files that are its very own. */
void owned_close(struct owned *owned, const struct service_config *config);

/* A lock without its socket is let go of: whoever clears what stands at the path has to take it. */
void owned_drop_partial(struct owned *owned, const struct service_config *config);

/* The configuration is replaced by another: what both have in common stays open, the rest is closed. NULL in
 * *inout and -ENOMEM: everything is closed. */
int owned_switch(struct owned **inout, const struct service_config *before,
                 const struct service_config *after);

/* For the daemon (LISTEN_FDS): how many, and which; names point into the configuration. Arrays of
 * config->n_sockets. */
size_t owned_list(const struct owned *owned, const struct service_config *config, int fds[],
                  const char *names[]);

/* After any change of the array's descriptors. */
void owned_note(struct owned *owned);

/* How many descriptors it takes while open. */
size_t owned_count_files(const struct service_config *config);

/* -- owned-watch.c: the files stay in place -- */

/* Begins to watch what is open and not watched yet. */
void owned_watch(struct owned *owned, const struct service_config *config);
void owned_unwatch(struct owned_socket *own);

/* Looks whether each path leads to what latchd has, and puts it back where nothing stands. */
void owned_check(struct owned *owned, const struct owned_host *host);

/* -- owned-keep.c: over the death or change of a latchd -- */

/* To a successor in this process, and from one. */
int owned_hand_over(const struct owned *owned, const struct service_config *config,
                    struct handover *handover);
void owned_take_over(struct owned *owned, const struct service_config *config, struct handover *handover);

/* A descriptor that was kept for us or passed to us, under the socket's name: taken over if it is that. The
 * lock is taken through it. -EINVAL "Failed": it is not what the name says, and stays the caller's. */
int owned_take_listener(struct owned *owned, const struct owned_host *host, const char *name, int fd,
                        bool passed, struct err *err);
int owned_take_lock(struct owned *owned, const struct owned_host *host, const char *name, int fd,
                    struct err *err);

/* The daemon has listeners that we lack: copies of them (pidfd_getfd(2)), from that process. How many are
 * still missing. */
size_t owned_regain(struct owned *owned, const struct owned_host *host, pid_t pid, int pidfd);

/* Takes the locks of the listeners that are open, before anything else is done. *err tells of the last that
 * could not be had. */
int owned_lock(struct owned *owned, const struct owned_host *host, struct err *err);
