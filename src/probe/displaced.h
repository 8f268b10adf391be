/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files that stood at a path once and are still locked, though they were removed or renamed: their owner
 * lives on beside whoever takes the path anew. Before the sweep a watch says what to look for; during it,
 * descriptors are held against the watch; after it each file that was found gets facts of its own. */

#include <stdint.h>
#include <sys/stat.h>

#include "probe/gather.h"
#include "probe/table.h"

/* A file in the same directory whose name begins with the path's. */
struct displaced_sibling {
    char *path; /* owned */
    dev_t device;
    ino_t inode;
    uint64_t changed_usec;
    bool renamed_for_sure; /* a rename shows in its times; else its name alone says so */
};

struct displaced_find {
    char *path; /* owned: where it is now; the watched path, if nowhere */
    bool unlinked;
    dev_t device;
    ino_t inode;
    int fd; /* owned, O_PATH */
};

struct displaced_watch {
    struct lock_facts *facts; /* the path's */
    const struct probe_request *request;
    char *path; /* owned: as /proc shows it, without links and dots */
    dev_t device;
    uint64_t mount_id;
    uint64_t
        born_usec; /* when the file that stands at the path now was made; 0: there is none, or not told */
    struct displaced_sibling *siblings; /* owned */
    size_t n_siblings;
    struct displaced_find found[LOCK_DISPLACED_MAX];
    size_t n_found;
};

void displaced_watch_done(struct displaced_watch *watch);

/* 1: *ret is to be watched, for a path of a lock or PID file, or where nothing stands; 0: there is nothing to
 * watch; -errno: want of resources. The request and the facts are borrowed. */
int displaced_watch_path(const struct probe_request *request, struct lock_facts *facts,
                         struct displaced_watch *ret);

/* Whether the descriptor is of a file that the watch is for, but for its lock, of which the caller assures
 * itself. 1: yes. Changes nothing: threads may ask at once. */
int displaced_is_watched(int proc_fd, const struct displaced_watch *watch, const struct table_entry *entry);

/* Pins a file of which displaced_is_watched() is true, unless it was taken before. */
int displaced_take(struct displaced_watch *watch, const struct table_entry *entry);

/* Gives each file that was found its place in facts->displaced, with targets for the sweep to come. */
int displaced_gather(struct prober *prober, struct displaced_watch *watch);
