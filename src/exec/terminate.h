/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The only place that signals a process: always by pidfd, so never one that got the number later. */

/* 0, or -ESRCH when it has ended already, -EPERM. */
int terminate_signal(int pidfd, int signal);

/* SIGKILL to all in the cgroup (its directory) and below it, also to who is being begun there: none escapes.
 * -ENOENT: the kernel has no such thing (before 5.14). Nothing but one service's processes may be in there.
 */
int terminate_cgroup(int cgroup_fd);
