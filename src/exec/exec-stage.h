/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps from a fork to the daemon's main(), in the order they are taken, and the words for one that
 * failed. */

#include <errno.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strtab.h"

struct exec_plan;

enum exec_stage {
    EXEC_STAGE_GATE,              /* until the supervisor has recorded the child */
    EXEC_STAGE_SIGNALS,           /* dispositions and mask */
    EXEC_STAGE_SESSION,           /* setsid(2), PR_SET_PDEATHSIG */
    EXEC_STAGE_OOM,               /* OOMScoreAdjust=: opens a file, so before LimitNOFILE= */
    EXEC_STAGE_NICE,              /* Nice= */
    EXEC_STAGE_STDIO,             /* descriptors 0 to 2 */
    EXEC_STAGE_DESCRIPTORS,       /* descriptors from 3 on: dup(2) obeys LimitNOFILE= as well */
    EXEC_STAGE_RLIMITS,           /* Limit*=, while there may be CAP_SYS_RESOURCE */
    EXEC_STAGE_BOUNDING,          /* CapabilityBoundingSet=, while there is CAP_SETPCAP */
    EXEC_STAGE_GROUPS,            /* setgroups(2), setresgid(2) */
    EXEC_STAGE_USER,              /* setresuid(2) */
    EXEC_STAGE_CAPABILITIES,      /* capset(2) */
    EXEC_STAGE_AMBIENT,           /* AmbientCapabilities= */
    EXEC_STAGE_NO_NEW_PRIVILEGES, /* NoNewPrivileges= */
    EXEC_STAGE_WORKING_DIRECTORY, /* as the user: root may be nobody on a network file system */
    EXEC_STAGE_UMASK,
    EXEC_STAGE_EXEC,
    EXEC_STAGE_MAX,
    EXEC_STAGE_INVALID = -EINVAL,
};
STRTAB_DECLARE(exec_stage, enum exec_stage); /* "working-directory" */

/* What the child reports; one message on its channel. */
struct exec_status {
    int32_t stage;
    int32_t error;  /* positive errno; 0 with EXEC_STAGE_EXEC: execve(2) is next */
    int32_t detail; /* rlimits: the resource; bounding, ambient: the capability; stdio, descriptors: the
                     * number that the descriptor should have had, -1 for all the others; else 0 */
};

/* Fills *err ("ExecFailed"; "NotPermitted" where a capability is missing) with `cannot start
 * "/usr/sbin/kea-dhcp4": setting LimitNOFILE=65536 failed: Operation not permitted; WHAT TO DO` and returns
 * -status->error. It may look at the executable again to tell a missing interpreter from a missing program.
 */
int exec_stage_explain(const struct exec_plan *plan, const struct exec_status *status, struct err *err);
