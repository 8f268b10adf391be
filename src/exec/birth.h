/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A child process is made, in one of two ways.
 *
 * It shares our memory until its exec, where that is safe: a fork(2) copies the page tables, and each page
 * that we write to next is copied once more, which takes longer than all the rest of a restart. Unlike after
 * vfork(2) we go on meanwhile, for the child has to wait at its gate until it is recorded, and what hangs in
 * its steps (a working directory on a dead server) must not hang us. So the child has a stack of its own and
 * makes bare system calls only (system-call.h), and that stack, the plan and all it points to stay as they
 * are until the child has gone on to another program or ended.
 *
 * It is a copy where sharing would not be safe:
 *   - Who changes its ids makes the memory that it runs on undumpable until its exec, so that its new user
 *     may not look into it (commit_creds() in kernel/cred.c): that would be ours, for good.
 *   - The kernel sets oom_score_adj for all who share memory, unless they wait in vfork(2) (__set_oom_adj()
 * in fs/proc/base.c).
 *   - Very many descriptors to be passed on want an array that no small stack has room for.
 *   - Where there is no clone3(2), be it that valgrind runs us, or no bare system calls; and with the
 * sanitizers, which keep notes on each thread's stack.
 *
 * With many descriptors open the child that shares our memory begins with our table of them, too: to copy
 * thousands, only to close them, would take it longer than all its other steps. It copies what it needs by
 * itself, which birth_part() waits for. */

#include <stdbool.h>
#include <sys/types.h>

#include "exec/exec-child.h"

struct birth {
    pid_t pid;
    int pidfd;      /* owned; -EBADF: the kernel made none, open it */
    bool in_cgroup; /* it was born into the plan's cgroup */
    void *stack; /* owned, for birth_free_stack() once the child no longer shares our memory; NULL: a copy */
};

/* Whether the plan's child may share our memory. */
bool birth_may_share(const struct exec_plan *plan);

/* Reserves low numbers of descriptors for the children to come, while there are some: a program that is about
 * to open thousands calls it before. Not needed otherwise. */
void birth_reserve(void);

/* The child runs exec_child() with this channel and never returns from here. -errno. */
int birth_begin(const struct exec_plan *plan, int channel_fd, struct birth *ret);

/* To be called, once the caller has nothing better to do, after each birth_begin() that gave a stack: returns
 * when the child shares no table of descriptors with us (any more). The channel's end of the child is closed
 * in this process only then. -ETIMEDOUT: it does not get that far, somebody has stopped it; its descriptors
 * are ours until it does. -ESRCH: it has ended before. */
int birth_part(void *stack, pid_t pid);

/* Tells a child that looks for it that there is something to read in the channel: its byte, or the end. */
void birth_open_gate(void *stack);

void birth_free_stack(void *stack);
