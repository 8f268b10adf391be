/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which files of the machine are locked, and a way to each. The kernel's list (/proc/locks) names a file by
 * the superblock's device and its inode number only. A descriptor that shows the lock has a "lock:" line in
 * its fdinfo with the very same numbers (fs/locks.c, lock_get_status()), and through /proc/PID/fd the file is
 * opened (O_PATH: nothing of it is touched), wherever it is mounted and even if it has no name. */

#include "lock/facts.h"

struct locked_file {
    dev_t device; /* of the superblock */
    ino_t inode;
    struct claim_facts *claims; /* each once; owned */
    size_t n_claims;

    int fd;        /* O_PATH; -EBADF: no way to it was found, or it was taken back. Owned */
    char *path;    /* what the kernel calls it; raw bytes; NULL like fd. Owned */
    bool unlinked; /* it has no name; " (deleted)" is cut off from `path` */
    bool done;     /* the caller has seen it: it is not looked for again */
    /* Who shows the lock; pid 0: nobody does, and who gave the way has the file open or mapped only. */
    pid_t pid, tid;
    int number; /* of its descriptor */
    bool families[LOCK_FAMILY_MAX];
};

struct locked_files {
    struct locked_file **files; /* owned */
    size_t n;
    void *index;      /* the same by number (tsearch(3)) */
    bool rows_hidden; /* outside the initial PID namespace the list hides rows: it is made from what the
                         descriptors show */
    /* Of the last look at the processes: */
    bool more; /* some files were left for want of room */
    bool saw_init;
    unsigned processes, unreadable_total;
    pid_t unreadable[LOCK_UNREADABLE_MAX];
    size_t n_unreadable;
};

#define _cleanup_locked_files_ _cleanup_(locked_files_done)
void locked_files_done(struct locked_files *files);

/* Reads the kernel's list. */
int locked_files_read(int proc_fd, struct locked_files *ret);

/* Looks for a way to those that are neither open nor done, at most `room` of them. A second look, at every
 * thread's descriptors and at whatever has the file open or mapped, is taken only when the first left some.
 * Fails only for want of resources. */
int locked_files_open(int proc_fd, struct locked_files *files, size_t room);

/* True when the list has that file. */
bool locked_files_has(const struct locked_files *files, dev_t device, ino_t inode);

/* Closes it again. */
void locked_file_close(struct locked_file *file);
