/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process and all that descends from it, as /proc shows it at this moment. A process whose parent ended
 * belongs to another one by then, and is not found. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

struct family_member {
    pid_t pid;
    uint64_t start_ticks; /* tells it from a later process of that number */
};

struct family {
    struct family_member *of; /* owned; the first is the process itself */
    size_t n;
};

#define _cleanup_family_ _cleanup_(family_done)
void family_done(struct family *family);

/* 0 or -errno. A process that is gone has none of a family: n is 0. */
int family_read(int proc_fd, pid_t pid, struct family *ret);

/* How many they are, by the kernel's lists of children: it looks at none but them, however many processes
 * there are, and may miss some while others of them end (proc(5)). 0: it is gone. Falls back on
 * family_read(). */
int family_count(int proc_fd, pid_t pid);
