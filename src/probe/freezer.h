/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Whether the process is frozen by its cgroup, or by one above it: it lives and does nothing, though
 * /proc/PID/stat shows a sleeper (cgroups(7)). False also where that cannot be told: the cgroup file system
 * is not mounted, or shows other cgroups than /proc/PID/cgroup names. */
bool freezer_has(int proc_fd, pid_t pid);
