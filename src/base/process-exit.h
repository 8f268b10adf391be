/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a process ended that is not our child, so that no wait(2) tells. */

#include "base/process.h"

/* The status as waitpid(2) has it, of a process that has ended. -EAGAIN: it is a zombie, and the kernel tells
 * once its parent has reaped it (the pidfd says EPOLLHUP then); -ENODATA: this kernel does not tell (before
 * Linux 6.15), or not of this process. */
int process_exit_status(int pidfd, int *ret_status);

/* The same of a zombie, from its /proc/PID/stat, where those who may not know read 0 (proc_pid_stat(5),
 * exit_code). -ENODATA: we are among them; -ESRCH: it is no zombie (any more). */
int process_zombie_status(int proc_fd, const struct process_id *id, int *ret_status);
