/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Gathers facts. Creates nothing, follows no link at the end of a path, never blocks. A lock is tried only
 * where /proc/locks cannot answer (another than the initial PID namespace hides rows; a long list is not one
 * moment's), or where the caller permits it: then flock(2) is taken, non-blocking, and dropped at once. A
 * connection is made only to a socket whose owner is in question, and closed at once. A file that this
 * process has locked by fcntl(2) F_SETLK is not opened, for closing it would drop the lock. */

#include "lock/facts.h"

/* How much is looked for. */
enum probe_effort {
    PROBE_SETTLE, /* what a verdict needs: likely holders first, and no further once the living owner is found
                   */
    PROBE_QUICK,  /* likely holders only: the recorded process, its relatives, its service's */
    PROBE_COMPLETE, /* all there is to tell: every holder, who has it open, who waits, what stood there once
                     */
    PROBE_EFFORT_MAX,
};

/* A process that the caller has seen end, and when it lived (CLOCK_REALTIME). A record that was written
 * meanwhile and names it is its own: nobody is looked for who has the same number in another PID namespace.
 */
struct probe_dead {
    pid_t pid;
    uint64_t since_usec, until_usec;
};

struct probe_request {
    const char
        *path;  /* begins with '@': the name of an abstract socket (unix(7)) of this network namespace */
    bool by_fd; /* look at what `fd` (O_PATH will do) stands for, wherever it is; the path only names it */
    int fd;     /* borrowed */
    uint32_t socket_inode; /* not 0: look at the socket of that number in the kernel's table, wherever it is
                              bound, and at no file; the path only names it */
    enum lock_style style; /* LOCK_STYLE_INVALID: told from the file itself */
    enum probe_effort effort;
    struct probe_dead dead; /* pid 0: of nobody more is known than what is seen */
    /* Try the lock first. Each opening of /proc/locks waits for an RCU grace period (percpu_down_write() in
     * fs/locks.c, locks_start()), some ten milliseconds: too long between a crash and a restart. Not for a
     * lock that others may be taking just now, nor for one that this process has by fcntl(2) F_SETLK. */
    bool may_try;
    bool no_connect;     /* ask no socket who listens */
    bool spare_listener; /* nor one of which the kernel's table says that somebody listens */
    /* How long a file system on another machine has for its answer, which a child process waits for; 0: it is
     * not asked, and the verdict is unknown. */
    uint64_t remote_timeout_usec;
};

/* Gathers the facts of n paths with one sweep over /proc. *ret is an array of n, each to be released by
 * lock_facts_done(), then free(); use lock_facts_free_array(). What cannot be seen becomes part of the facts;
 * the function fails only for want of resources (-ENOMEM, -EMFILE) or of /proc itself. */
int lock_probe(const struct probe_request *requests, size_t n, struct lock_facts **ret);

/* The same for one who looks again and again (probe-cache.h); NULL: does not. */
struct probe_cache;
int lock_probe_cached(struct probe_cache *cache, const struct probe_request *requests, size_t n,
                      struct lock_facts **ret);

void lock_facts_free_array(struct lock_facts *facts, size_t n);

/* Opens the directory of `path` and names the file in it. The path itself is never followed. */
int lock_open_parent(const char *path, int *ret_dir_fd, const char **ret_name);
