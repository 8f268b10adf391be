/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File systems that may let whoever looks at them wait for ever: those on other machines, those that a user
 * process answers for, those that are mounted when somebody walks by. Whether a path leads there is told from
 * the list of mounts, without touching them; what is there, a child process looks at, for which nobody waits
 * longer than he wants to.
 *
 * A child that the kernel does not let go of (state D: a server that took the question and does not answer;
 * SIGKILL ends it only after that) is left behind. It has neither terminal, output nor locks, and ends with
 * its question: at the latest when the file system is unmounted by force or its server ends. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/mount.h"

enum remote_way {
    REMOTE_WAY_LOCAL,  /* no look at it waits for anybody else */
    REMOTE_WAY_FAR,    /* it leads onto such a mount, or over one */
    REMOTE_WAY_UNSEEN, /* it leads through a process's own root or descriptors (proc(5), /proc/PID/root),
                          maybe into another mount namespace */
};

/* Where the path leads: links are followed, but for one at its end, and only as long as they stand on local
 * file systems. *ret_mount (may become NULL): the first mount on the way that may let us wait. The root of
 * all, which our own program may come from, counts only for what is on it, not for what is mounted below. */
enum remote_way remote_find_way(const struct mount_table *mounts, const char *path,
                                const struct mount_row **ret_mount);

/* The same of an open file (O_PATH will do). */
enum remote_way remote_find_way_of_fd(const struct mount_table *mounts, int fd,
                                      const struct mount_row **ret_mount);

#define REMOTE_CONTENT_MAX 4096

/* Which step an error belongs to. */
enum remote_step { REMOTE_STEP_OPEN, REMOTE_STEP_STAT, REMOTE_STEP_READ, REMOTE_STEP_DONE };

/* What the child saw. Nothing was locked. */
struct remote_answer {
    enum remote_step step; /* the one that failed, if error is set */
    int error;             /* negative errno, or 0 */
    bool local;            /* it is a local file after all, and was not looked at any further */
    int mount_id;          /* -1: not known */
    uint64_t magic;        /* statfs(2), f_type; 0: not known */
    struct stat st;
    int range_error; /* negative errno of F_GETLK; a regular file's range: what it said of a lock for
                      * writing
                      */
    struct flock range;
    uint32_t content_length; /* of a regular file's first bytes, or a link's target */
    char content[REMOTE_CONTENT_MAX];
};

/* Asks about `path`, or about the open file `fd` when path is NULL. -ETIMEDOUT: no answer in time. -EIO: the
 * child died. Makes a process, so the caller must not mind children that end. */
int remote_ask(const struct mount_table *mounts, const char *path, int fd, uint64_t timeout_usec,
               struct remote_answer *ret);

/* Whether a byte-range lock that any machine holds on a file of that mount would have been told by
 * F_GETLK. */
bool remote_is_arbitrated(const struct mount_row *mount);
