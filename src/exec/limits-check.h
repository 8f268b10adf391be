/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is configured against what is needed, as warnings with the arithmetic. Pure: facts in, words out. The
 * facts come from exec/limits-facts.h. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "config/config.h"

/* Use from this part of a soft limit on (in per cent) is worth a word. */
#define LIMITS_TIGHT_PERCENT 80

/* The cgroup with the least room for processes, among the daemon's own and those above it. */
struct limits_pids {
    bool found; /* false: none of them has a limit, or it cannot be told */
    uint64_t current, maximum;
    char *path; /* as /proc/PID/cgroup has it; owned */
};

struct limits_facts {
    pid_t pid;
    uint64_t nofile_soft;  /* in force; UINT64_MAX: infinity */
    bool nofile_automatic; /* LimitNOFILE=auto */
    uint64_t client_limit; /* ClientLimit=; 0: not given, and nothing is known of what is needed */
    uint64_t open_files;   /* held open beside the clients; 0: not known yet */

    struct socket_config *const *sockets; /* borrowed */
    size_t n_sockets;
    uint64_t somaxconn; /* of the network namespace they listen in; 0: not known */

    bool nproc_counts; /* RLIMIT_NPROC holds for that user and its capabilities */
    uint64_t nproc_soft;
    uint64_t user_tasks; /* the user's processes and threads, this daemon's included; 0: not counted */
    uid_t uid;
    const char *user; /* borrowed; NULL: not known by name */

    struct limits_pids pids;
};
void limits_facts_done(struct limits_facts *facts);

enum limits_shortage {
    LIMITS_SHORT_OF_FILES,     /* LimitNOFILE= */
    LIMITS_SHORT_OF_QUEUE,     /* net.core.somaxconn */
    LIMITS_SHORT_OF_PROCESSES, /* LimitNPROC= */
    LIMITS_SHORT_OF_PIDS,      /* pids.max of a cgroup */
};

struct limits_warning {
    enum limits_shortage shortage;
    const char *limit; /* static: "NOFILE", "net.core.somaxconn", "NPROC", "pids.max" */
    char *subject;     /* owned: which socket, user or cgroup; "" for the daemon itself */
    uint64_t needed, available;
    char *text; /* owned: one sentence with the arithmetic and the remedy */
};

struct limits_warnings {
    struct limits_warning *of; /* owned */
    size_t n;
};
void limits_warnings_done(struct limits_warnings *warnings);

/* 0 or -ENOMEM. */
int limits_check(const struct limits_facts *facts, struct limits_warnings *ret);

/* Whether that was found before: of use that goes up and down only the limit itself counts. */
bool limits_warnings_have(const struct limits_warnings *warnings, const struct limits_warning *warning);

/* One row of `latchctl limits`. */
struct limits_row {
    int resource;
    bool planned; /* a limit was set at the start: planned_soft, planned_hard */
    uint64_t planned_soft, planned_hard;
    uint64_t soft, hard; /* in force */
    uint64_t used;       /* UINT64_MAX: not told by the kernel */
    bool exempt;         /* NPROC: the kernel does not hold this daemon to it */
    bool changed;        /* by a request to this latchd since the start: */
    uint64_t changed_soft, changed_hard;
    uid_t changed_by;
    bool may_raise; /* the daemon itself could have raised a hard limit */
};

/* What there is to say about it: that it is not what was set, and by whom; that it is nearly used up; that
 * the kernel does not enforce it. *ret_attention: it is one of the first two. *ret is the caller's, NULL when
 * there is nothing. 0 or -ENOMEM. */
int limits_remark(const struct limits_row *row, bool *ret_attention, char **ret);

/* "descriptors", "bytes", "seconds"... */
const char *limits_unit(int resource);
