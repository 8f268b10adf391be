/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who has it: what a sweep (sweep.h) looks for, and what it puts down of whom it finds. The kernel's lock
 * list names who once called for a lock; the "lock:" line in /proc/PID/fdinfo/FD stands there exactly when
 * that descriptor's open file description (flock, OFD) or that process through it (POSIX) holds the lock now
 * (fs/locks.c, show_fd_locks()). */

#include "lock/facts.h"
#include "probe/probe.h"
#include "probe/process-facts.h"

enum holder_target_kind {
    HOLDER_TARGET_FILE,   /* device and inode as stat(2) has them */
    HOLDER_TARGET_SOCKET, /* a socket's own inode; there is one sockfs, so the device does not matter */
    HOLDER_TARGET_SHM,    /* System V shared memory: the inode is the segment's id (ipc/shm.c, newseg()) */
};

/* What to look for, how hard, and whose facts it goes to. Targets may share facts: a lock and its listener.
 */
struct holder_target {
    struct lock_facts *facts;
    enum holder_target_kind kind;
    dev_t device;
    ino_t inode;
    enum probe_effort effort;
};

/* A process that was seen to have a target. */
struct holder_sighting {
    pid_t pid, tid;
    enum holder_via via;
    int fd;                         /* see struct holder_facts */
    bool families[LOCK_FAMILY_MAX]; /* what its description is known to hold */
    int dir_fd;                     /* its .../fd, to see that it still has it; -EBADF where there is none */
    /* A process may have thousands of targets: what was read of it is kept here for the next sighting in the
     * same table, with the same dir_fd. NULL: nowhere. */
    struct process_facts *kept;
};

/* Adds to facts->holders, or to what is put down there of that process. Returns 0, also when it let go
 * meanwhile, or -ENOMEM. */
int holder_note(int proc_fd, const struct holder_target *target, const struct holder_sighting *sighting);

/* The same for facts->openers: it has the file open, and holds no lock on it. */
int holder_note_opener(int proc_fd, const struct holder_target *target,
                       const struct holder_sighting *sighting);

/* A holder is known that the facts name, and it lives: whoever else has it changes nothing. */
bool holder_is_settled(const struct lock_facts *facts);

/* Somebody is known to have the target. */
bool holder_is_found(const struct holder_target *target);

/* A lock is known to be held, but nobody was seen to have it. */
bool holder_is_unattributed(const struct lock_facts *facts);

/* By PID, and no opener that is a holder. */
void holder_tidy(struct lock_facts *facts);
