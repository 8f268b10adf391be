/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* /proc/locks, read once (the read takes a lock in the kernel that every lock operation needs: never poll
 * it), and the lock lines of /proc/PID/fdinfo, which have the same form (fs/locks.c, lock_get_status()). */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lock/facts.h"

struct lock_row {
    struct claim_facts claim;
    dev_t device; /* of the superblock */
    ino_t inode;
};

/* A lease that opening the file for reading would break: its holder gets a signal then, O_NONBLOCK or not
 * (fcntl(2), F_SETLEASE); or a delegation, which a file server would have to call back. */
struct lease_row {
    pid_t pid;
    dev_t device;
    ino_t inode;
};

struct lock_snapshot {
    struct lock_row *rows; /* owned */
    size_t n;
    struct lease_row *leases; /* owned */
    size_t n_leases;
    bool in_pieces; /* read in several: locks came and went in between, and a row may be missing */
};

#define _cleanup_lock_snapshot_ _cleanup_(lock_snapshot_done)
void lock_snapshot_done(struct lock_snapshot *snapshot);

/* Rows by inode, each once. */
int lock_snapshot_read(int proc_fd, struct lock_snapshot *ret);

/* The first of *ret_n rows on that inode, whatever the device; of what lock_snapshot_read() gave. */
const struct lock_row *lock_snapshot_find(const struct lock_snapshot *snapshot, ino_t inode, size_t *ret_n);

/* Rows as they stand in the text. */
int lock_snapshot_parse(const char *text, struct lock_snapshot *ret);

/* One row, up to the end of its line. 1: parsed; 0: a row of another sort (LEASE, DELEG, ACCESS) or of no
 * file; -EBADMSG. `->` marks a waiter. */
int lock_row_parse(const char *line, struct lock_row *ret);

/* 1: the row is such a lease's; 0: another sort; -EBADMSG. */
int lock_row_parse_lease(const char *line, struct lease_row *ret);

/* Which families the "lock:" lines of a fdinfo text show as held on that file. */
void lock_fdinfo_families(const char *fdinfo, bool ret_families[static LOCK_FAMILY_MAX]);
