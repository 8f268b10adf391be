/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the kernel tells of limits and of their use: the facts that exec/limits-check.h judges. */

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "exec/limits-check.h"

/* How many descriptors it has open; 0: not known. */
uint64_t limits_count_descriptors(int proc_fd, pid_t pid);

/* Whom RLIMIT_NPROC of a process is counted for, and whether it holds: not for root, nor with
 * CAP_SYS_RESOURCE or CAP_SYS_ADMIN (copy_process() in kernel/fork.c). */
struct limits_owner {
    uid_t uid; /* the real one */
    bool exempt;
    bool may_raise; /* CAP_SYS_RESOURCE: it could have raised a hard limit by itself */
};
int limits_read_owner(int proc_fd, pid_t pid, struct limits_owner *ret);

/* The same, and what it uses of each limit, in the limit's unit; UINT64_MAX: the kernel does not tell. Of NPROC,
 * which is the user's, nothing: see limits_count_tasks(). -ESRCH and the like: procfs.h. */
int limits_read_use(int proc_fd, pid_t pid, struct limits_owner *ret_owner,
                    uint64_t ret_used[static RLIMIT_NLIMITS]);

/* The processes and threads of a user, by their real uid; this reads every process there is. */
int limits_count_tasks(int proc_fd, uid_t uid, uint64_t *ret);

/* The same, but 0 without that work where all tasks of the machine together are far from `soft`. */
int limits_count_tasks_if_tight(int proc_fd, uid_t uid, uint64_t soft, uint64_t *ret);

/* net.core.somaxconn of our own network namespace; 0: not known. */
uint64_t limits_read_somaxconn(int proc_fd);

/* The tightest pids.max from the process's cgroup upwards, whether it is of version 2 or 1. */
int limits_read_pids(int proc_fd, pid_t pid, struct limits_pids *ret);
