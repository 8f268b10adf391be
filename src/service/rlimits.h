/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Resource limits (setrlimit(2)): their names, the values people write for them, and what is to be set for a
 * daemon. Everything but rlimits_read_system() and rlimits_verify() is pure.
 *
 * Values are in the resource's own unit (see enum rlimit_unit), RLIM_INFINITY stands for infinity. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "service/config.h"

enum rlimit_unit {
    RLIMIT_UNIT_COUNT,   /* NOFILE NPROC LOCKS SIGPENDING RTPRIO */
    RLIMIT_UNIT_BYTES,   /* FSIZE DATA STACK CORE RSS AS MEMLOCK MSGQUEUE */
    RLIMIT_UNIT_SECONDS, /* CPU */
    RLIMIT_UNIT_USEC,    /* RTTIME */
    RLIMIT_UNIT_NICE,    /* NICE: 20 minus the lowest nice value, 1 (nice 19) to 40 (nice -20) */
    RLIMIT_UNIT_MAX,
};

/* "NOFILE" for RLIMIT_NOFILE; NULL for a number that is no resource. */
const char *rlimits_to_name(int resource);
/* RLIMIT_NOFILE for "NOFILE" (capitals, no prefix); -EINVAL for a name that is none. */
int rlimits_from_name(const char *name);
/* RLIMIT_UNIT_MAX for a number that is no resource. */
enum rlimit_unit rlimits_unit(int resource);

/* Reads what stands behind Limit...=: SOFT[:HARD], where SOFT alone sets both. Each is "infinity" or
 *   BYTES    a number with K, M, G or T (powers of 1024)
 *   SECONDS  a time such as "30", "1min 30s", rounded up to seconds
 *   USEC     a time such as "200ms"; a bare number is microseconds
 *   NICE     a raw value 0..40, or a nice value with its sign, +19..-20
 *   COUNT    a number
 * and NOFILE alone may be "auto". -EINVAL or -ERANGE with the mistake in *err ("BadLimit"). */
int rlimits_parse_value(int resource, const char *text, struct limit_config *ret, struct err *err);

/* "NAME=SOFT[:HARD]", as on the command line. */
int rlimits_parse_assignment(const char *text, int *ret_resource, struct limit_config *ret, struct err *err);

#define RLIMITS_FORMAT_MAX 48
/* "SOFT:HARD", or one value when they are the same; rlimits_parse_value() reads it back. */
const char *rlimits_format(rlim_t soft, rlim_t hard, char buffer[static RLIMITS_FORMAT_MAX]);

/* What a plan starts from: what this process has, and what it may do. */
struct rlimits_system {
    struct rlimit current[RLIMIT_NLIMITS];
    bool may_raise;   /* hard limits may be raised, see rlimits_read_system() */
    uint64_t nr_open; /* fs.nr_open, which bounds RLIMIT_NOFILE for everybody; 0: not known */
};

/* Asks the kernel about ourselves. may_raise is CAP_SYS_RESOURCE in the *initial* user namespace: the check
 * is capable() (do_prlimit() in kernel/sys.c), so that a container's root has the capability in vain. */
int rlimits_read_system(int proc_fd, struct rlimits_system *ret);

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
 * a limit is never lowered by it, nor made as large as can be (there are daemons that allocate by it). */
int rlimits_plan(const struct limit_config configured[static RLIMIT_NLIMITS], const struct rlimits_need *need,
                 const struct rlimits_system *system, struct rlimits_planned *ret, struct err *err);

struct rlimits_mismatch {
    int resource;
    rlim_t soft, hard; /* what the process really has */
};

/* Compares a running process with the plan: returns how many limits differ, and lists them. A daemon that
 * sets limits by itself (many raise their soft limit) differs from the plan with good reason. Errors:
 * procfs.h. */
int rlimits_verify(int proc_fd, pid_t pid, const struct rlimits_planned *planned,
                   struct rlimits_mismatch ret_mismatches[static RLIMIT_NLIMITS]);
