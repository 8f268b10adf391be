/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All processes of the machine at one moment, from one sweep over /proc, and who descends from whom. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct family_member {
    pid_t pid, ppid;
    char state, comm[64];
    unsigned threads;
    uint64_t start_ticks, cpu_usec, children_cpu_usec;
    uint64_t delayed_usec; /* it waited for a processor, all in all; read of threads only */
};

struct family_sweep {
    struct family_member *of; /* owned, by pid */
    size_t *by_parent;        /* owned: their places, by the parent's pid */
    size_t n;
};

#define _cleanup_family_sweep_ _cleanup_(family_sweep_done)
void family_sweep_done(struct family_sweep *sweep);

/* Who ends meanwhile is left out. */
int family_sweep_read(int proc_fd, struct family_sweep *ret);

/* NULL: there is none of that number. */
const struct family_member *family_sweep_find(const struct family_sweep *sweep, pid_t pid);

/* The process and all that descends from it, it first; at most `max` of them, and *ret_n how many there are.
 * *ret is the caller's. */
int family_sweep_descendants(const struct family_sweep *sweep, pid_t pid, size_t max,
                             const struct family_member ***ret, size_t *ret_kept, size_t *ret_n);
