/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors that a daemon hands over to have them back after its next start (sd_pid_notify_with_fds(3),
 * FDSTORE=1). They are closed by closer_close() alone. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#define NOTIFY_STORE_MAX ((size_t) 512)
#define NOTIFY_STORE_DEFAULT_NAME "stored"

struct closer;

struct notify_stored {
    int fd;     /* owned */
    char *name; /* owned */
    bool poll;  /* it goes once whoever is at its other end has gone */
    bool gone;  /* so it has */
    sd_event_source *source;
    struct notify_store *store;
};

/* Starts as {0}, and does not move while anything is in it. */
struct notify_store {
    struct notify_stored **entries; /* owned; each */
    size_t n;
    sd_event *event; /* borrowed */
    /* One was dropped, since its other end has gone; may be NULL. Its name is valid during the call. */
    void (*on_gone)(struct notify_store *store, const char *name, void *userdata);
    void *userdata;
    struct closer **closer; /* borrowed */
};

/* Whether a descriptor may be kept: neither polling, closing nor holding it may ever wait for anybody else.
 * Returns why not, for people; NULL: it may. Nothing is asked of the file itself. */
const char *notify_store_objection(int proc_fd, int fd);

/* Takes the descriptor over. 1: done; 0: it had this file already, and fd stays the caller's. -ENOSPC: it is
 * full; -ENOMEM. */
int notify_store_add(struct notify_store *store, int fd, const char *name, bool poll);

/* Drops all of that name; NULL: everything. Returns how many. */
size_t notify_store_remove(struct notify_store *store, const char *name);
