/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A control group for each service, where somebody gave us a part of the tree to divide (cgroups(7); systemd:
 * Delegate=). Nobody leaves it unnoticed: whatever a daemon does, who is in there is the service's, for only
 * we fill it. What we make is marked by an extended attribute; a cgroup without it is somebody else's,
 * whatever its name, and is neither used nor removed. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fd.h"

struct own_cgroup {
    int dir_fd; /* owned: the delegated cgroup */
    char *path; /* owned: as /proc/PID/cgroup shows it, "/" for the root of our cgroup namespace */
};

/* The cgroup that is ours to divide. -ENOENT: there is none: no unified hierarchy at `mount` (normally
 * OWN_CGROUP_MOUNT), or we are in a cgroup that nobody gave us, such as a login session's. */
int own_cgroup_find(int proc_fd, const char *mount, struct own_cgroup **ret);
struct own_cgroup *own_cgroup_free(struct own_cgroup *own);

#define OWN_CGROUP_MOUNT "/sys/fs/cgroup"

/* Returns a descriptor of the service's directory, which the caller owns. -ENOENT: there is none and `create`
 * is false; -EEXIST: there is one that we did not make; -EBUSY: with `create`, it was used up (see below) and
 * is not empty. */
int own_cgroup_open(const struct own_cgroup *own, const char *service, bool create);

/* Its path as /proc/PID/cgroup shows it, to be freed; NULL when memory runs out. */
char *own_cgroup_path(const struct own_cgroup *own, const char *service);

/* Whether `cgroup`, as /proc/PID/cgroup shows it, is that one or below it. NULL is in none. */
bool cgroup_is_within(const char *cgroup, const char *path) _pure_;

/* Removes it if we made it and nothing is in it. -EBUSY: there is something in it. */
int own_cgroup_remove(const struct own_cgroup *own, const char *service);

/* ---- of one service's, by its directory ---- */

/* Whether a process is in it or below: one read. -errno. */
int own_cgroup_is_populated(int fd);

/* To be said before cgroup.kill is written to: of whom is born into the cgroup later, the kernel takes the
 * number of kills for that of his parent's cgroup, where it differs, and kills him, too (kill_seq in
 * cgroup_css_set_fork() and cgroup_post_fork(), kernel/cgroup/cgroup.c, with CLONE_INTO_CGROUP). So the
 * cgroup is made anew before the next birth. */
int own_cgroup_use_up(int fd);

/* Who is in it and below, at most `max`; *ret is the caller's to free. A pid may have gone when this returns.
 * 1: there are more. */
int own_cgroup_list(int fd, size_t max, pid_t **ret, size_t *ret_n);

/* What it used up so far, what it has now. UINT64_MAX: the kernel does not say (for the memory, the
 * controller has to be enabled by whoever delegated). */
void own_cgroup_usage(int fd, uint64_t *ret_cpu_usec, uint64_t *ret_memory_bytes);
