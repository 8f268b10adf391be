/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The program that is to take our place: the one that was tried is the one that is executed, and of its trial nobody
 * stays. */

#include "base/err.h"
#include "base/process.h"

#define TRIAL_MARK "LATCHD_TRIAL" /* in the environment of the trial: its id */

struct trial_program {
    int fd;          /* owned; -EBADF: a script, or one that cannot be opened: it is executed by its path */
    char path[64];   /* by which a child of ours executes the very same file; empty: by its own path */
    uint64_t device, inode, changed_sec, changed_nsec; /* of what was opened; inode 0: nothing was */
};

void trial_program_open(const char *path, struct trial_program *ret);
void trial_program_close(struct trial_program *program);

/* Whether a script, which has to be executed by its path, is still the one that was tried. */
bool trial_program_is_same(const struct trial_program *program, const char *path);

/* Ends what the trial left, or is still: what descends from its first process, is in its session, or carries its mark.
 * leader: that process, which is our child and not reaped yet. */
void trial_end_processes(int proc_fd, const struct process_id *leader, const char *mark);
