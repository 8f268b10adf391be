/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A daemon's birth in three steps, so that no supervisor's death leaves a daemon that nobody knows of:
 *     spawn_start()        there is a child; it waits at its gate
 *     ...                  the caller writes spawn.id into the state file
 *     spawn_release()      it goes on to exec
 *     spawn_read_status()  whether it got there, once channel_fd is readable */

#include <stdbool.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/process.h"
#include "exec/exec-child.h"

struct spawn {
    struct process_id id;
    int pidfd;      /* owned; the child is ours to reap, so that the two are about one process for sure */
    int channel_fd; /* owned: the gate, and where the child reports. Closing it unreleased means that the
                     * child ends without executing anything. To be watched for EPOLLIN until the outcome is
                     * known. */
    bool in_cgroup; /* it was born into the plan's cgroup */
    bool at_exec;   /* the child has reported that execve(2) is next */
    struct exec_status failure; /* what the child has reported before its end; error 0: nothing */
    void *stack;                /* owned, see birth.h; NULL: the child no longer shares our memory */
};

#define SPAWN_INIT ((struct spawn){.pidfd = -EBADF, .channel_fd = -EBADF})
#define _cleanup_spawn_ _cleanup_(spawn_done)

/* Closes both descriptors. Does not reap the child: whoever started it does. One that waits at its gate ends.
 * False: somebody keeps the child from ending, so that it may still share our memory; the plan and what it
 * points to have to stay for good. */
bool spawn_done(struct spawn *spawn);

/* Makes the child, which may share our memory (birth.h): the plan stays untouched until spawn_read_status()
 * gave the outcome, or spawn_done() was true. The child holds no descriptor of ours but those the plan names.
 * On failure no child is left: -errno and *err ("ForkFailed"). SIGCHLD must not be ignored by the caller, nor
 * the child reaped before this returns. */
int spawn_start(int proc_fd, const struct exec_plan *plan, struct spawn *ret, struct err *err);

/* Opens the gate. -ECANCELED: the child ended there already. */
int spawn_release(struct spawn *spawn);

/* Never blocks. -EAGAIN: nothing is known yet (*err is untouched); 0: it runs the program; else the start
 * failed: -errno and *err ("ExecFailed") say at what. After 0 or a failure the channel is closed, and
 * channel_fd is -EBADF: take the event source away before. */
int spawn_read_status(struct spawn *spawn, const struct exec_plan *plan, struct err *err);
