/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What resource limits a daemon is given, and what it really has. Everything but rlimits_read_system(),
 * rlimits_raise_own_files() and rlimits_verify() is pure. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "config/rlimit.h"

/* What a plan starts from: what this process has, and what it may do. */
struct rlimits_system {
    struct rlimit current[RLIMIT_NLIMITS];
    bool may_raise;   /* hard limits may be raised, see rlimits_read_system() */
    uint64_t nr_open; /* fs.nr_open, which bounds RLIMIT_NOFILE for everybody; 0: not known */
};

/* Asks the kernel about ourselves. may_raise is CAP_SYS_RESOURCE in the *initial* user namespace: the check
 * is capable() (do_prlimit() in kernel/sys.c), so that a container's root has the capability in vain. */
int rlimits_read_system(int proc_fd, struct rlimits_system *ret);

/* Sees to it that we ourselves may have `wanted` descriptors open: raises the soft limit, and the hard one
 * where that does not do and may be raised; else as far as it goes, if that is `least`. 1: *ret_before is what
 * it was, for the daemons, whose limit it is not to be; 0: nothing was changed. Else -errno (-EPERM): no more
 * than *ret_before->rlim_max. */
int rlimits_raise_own_files(uint64_t wanted, uint64_t least, struct rlimit *ret_before);

struct rlimits_planned {
    struct {
        bool set; /* false: the daemon inherits what we have */
        rlim_t soft, hard;
    } of[RLIMIT_NLIMITS];
};

/* What LimitNOFILE=auto counts with. */
struct rlimits_need {
    uint64_t client_limit; /* ClientLimit=; 0: not given */
    uint64_t open_files;   /* descriptors the service holds beside its clients: those passed to it, and those
                            * counted in an earlier generation; 0: not known */
};

/* Descriptors that LimitNOFILE=auto leaves for what nobody counts: stdio, logs, libraries, epoll, lease
 * files. */
#define RLIMITS_RESERVE 64

/* Turns the configuration into what the child sets. Refused before any fork: a hard limit above ours that may
 * not be raised (-EPERM, "NotPermitted"), an open file limit above fs.nr_open (-EINVAL, "BadLimit"); *err
 * tells which, from what to what, and what to do about it.
 *
 * LimitNOFILE=infinity is fs.nr_open, the most there is. LimitNOFILE=auto is
 *     soft = max(our soft limit, client_limit + open_files + RLIMITS_RESERVE),
 *     hard = max(our hard limit, soft), but not more than fs.nr_open:
 * a limit is never lowered by it, nor made as large as can be (there are daemons that allocate by it). Where
 * the sum cannot be had, and could without open_files, which is an estimate, it is as much as can be. */
int rlimits_plan(const struct limit_config configured[static RLIMIT_NLIMITS], const struct rlimits_need *need,
                 const struct rlimits_system *system, struct rlimits_planned *ret, struct err *err);

/* What a service has open from its first instruction on: standard input, output and error. */
#define RLIMITS_STDIO 3

/* The plan as if hard limits might be raised: what a configuration asks for, where nothing is started by it.
 * Where our own limits cannot be read, or what is asked for cannot be (*err says so), nothing is planned. */
int rlimits_plan_wanted(const struct limit_config configured[static RLIMIT_NLIMITS],
                        const struct rlimits_need *need, int proc_fd, struct rlimits_planned *ret,
                        struct err *err);

/* LimitNOFILE=infinity becomes fs.nr_open; above that, "BadLimit" (-EINVAL): do_prlimit() refuses a hard
 * limit above sysctl_nr_open even where it stood there before. nr_open 0: not known, and the kernel will
 * tell. */
int rlimits_bound_files(const struct limit_config *configured, uint64_t nr_open, struct rlimit *wanted,
                        struct err *err);

struct rlimits_mismatch {
    int resource;
    rlim_t soft, hard; /* what the process really has */
};

/* Compares a running process with the plan: returns how many limits differ, and lists them. A daemon that
 * sets limits by itself (many raise their soft limit) differs from the plan with good reason. Errors:
 * procfs.h. */
int rlimits_verify(int proc_fd, pid_t pid, const struct rlimits_planned *planned,
                   struct rlimits_mismatch ret_mismatches[static RLIMIT_NLIMITS]);
