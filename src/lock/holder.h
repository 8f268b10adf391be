/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who has it: a sweep over every process's descriptors. The kernel's lock list names who once called for a
 * lock; the "lock:" line in /proc/PID/fdinfo/FD stands there exactly when that descriptor's open file
 * description (flock, OFD) or that process through it (POSIX) holds the lock now (fs/locks.c,
 * show_fd_locks()). */

#include "lock/facts.h"
#include "lock/process-facts.h"

enum holder_target_kind {
    HOLDER_TARGET_FILE,   /* device and inode as stat(2) has them */
    HOLDER_TARGET_SOCKET, /* a socket's own inode; there is one sockfs, so the device does not matter */
    HOLDER_TARGET_SHM,    /* System V shared memory: the inode is the segment's id (ipc/shm.c, newseg()) */
};

/* What to look for, and whose facts it goes to. Targets may share facts: a lock and its listener. */
struct holder_target {
    struct lock_facts *facts;
    enum holder_target_kind kind;
    dev_t device;
    ino_t inode;
};

/* Sweeps /proc once for all targets: adds to facts->holders, and fills scanned, complete, processes and the
 * unreadable ones. `threads` also looks into each thread's own descriptor table (unshare(2), CLONE_FILES);
 * without it only into those of zombie leaders. Fails only for want of resources. */
int holder_sweep(int proc_fd, const struct holder_target *targets, size_t n, bool threads);

/* A process that has the number `pid` in a PID namespace below ours (/proc/PID/status, NSpid) and began no
 * later than `until_usec` on the wall clock. ret->pid stays 0 when there is none. It says nothing of
 * namespaces above. */
int holder_find_namesake(int proc_fd, pid_t pid, uint64_t until_usec, struct process_facts *ret);
