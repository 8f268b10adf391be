/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* The systemd unit (or scope, or slice) that a cgroup path names last; "" when there is none. */
const char *cgroup_unit(const char *cgroup, char *buffer, size_t size);

/* Where a process is in a hierarchy of cgroups: that of version 2 (controller NULL), or the one of a controller
 * of version 1 ("freezer"). *ret_mount_fd (O_PATH) is the mount of that hierarchy whose root is the one that
 * /proc/PID/cgroup counts from, *ret_path the process's path below it, without a slash before it; both are the
 * caller's. -ENOENT: the process is in no such hierarchy, or it is not mounted. */
int cgroup_find(int proc_fd, pid_t pid, const char *controller, int *ret_mount_fd, char **ret_path);

/* The two halves of it: the path alone, and the mount alone (a descriptor, which is the caller's). */
int cgroup_read_path(int proc_fd, pid_t pid, const char *controller, char **ret);
int cgroup_open_mount(int proc_fd, const char *controller);
