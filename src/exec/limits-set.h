/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Changes the limits of a running process. */

#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "exec/rlimits.h"

/* Completes what was asked for (LimitNOFILE=infinity is fs.nr_open) and refuses what the kernel would:
 * "auto", which counts at a start only, and a limit above fs.nr_open ("BadLimit", -EINVAL); a hard limit
 * above `hard`, the one in force, where hard limits may not be raised ("NotPermitted", -EPERM). Pure. */
int limits_prepare_change(int resource, const struct limit_config *asked, uint64_t hard,
                          const struct rlimits_system *system, struct rlimit *ret, struct err *err);

/* prlimit(2) takes a number, not a pidfd. That the number is still that process's is known by the pidfd: if
 * it has not ended after the call, it had not at the call, and a number is not given out again while its
 * process is there. A process that ended in between is told as such ("NotRunning", -ESRCH): the number of a
 * child of ours is kept by its zombie, which only we reap. "NotPermitted" (-EPERM): it runs as another user,
 * and we have no CAP_SYS_RESOURCE (check_prlimit_permission() in kernel/sys.c). */
int limits_change(pid_t pid, int pidfd, int resource, const struct rlimit *wanted, struct rlimit *ret_before,
                  struct err *err);
