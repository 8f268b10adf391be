/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who the daemon will be: User=, Group=, SupplementaryGroups= and the capability sets, looked up and reckoned
 * before the fork, so that the child has nothing left to do but system calls. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"

/* Bit N stands for capability number N (capabilities(7)). */
struct capability_sets {
    uint64_t permitted, effective, inheritable;
};

/* Those of this process. */
int credentials_read_capabilities(struct capability_sets *ret);

/* Without User=, Group=, SupplementaryGroups= and the capability keys, nothing is set: the daemon is who we
 * are. A thing that is so already is not set either, so that an unprivileged latchd may name its own user. */
struct credentials {
    bool set_groups, set_gid, set_uid;
    gid_t *groups; /* owned */
    size_t n_groups;
    gid_t gid;
    uid_t uid;

    /* Of the User= that was configured, for HOME, SHELL, USER and LOGNAME, and for messages; NULL without it.
     * Owned. A number that has no entry in the user database is its own name, and has no home nor shell. */
    char *user, *home, *shell;

    uint64_t bounding_drop; /* to drop from the bounding set */
    bool keep_capabilities; /* over the change of user, PR_SET_KEEPCAPS */
    bool set_capabilities;  /* to `sets`, after the change of user; then `ambient` exactly */
    struct capability_sets sets;
    uint64_t ambient;
};

#define _cleanup_credentials_ _cleanup_(credentials_done)
void credentials_done(struct credentials *credentials);

/* Reads the user and group databases (which may ask the network). User= without Group= takes the user's own
 * group, SupplementaryGroups= adds to the user's groups (without User=: to ours). *err names what is wrong:
 * "BadUser", "BadGroup" (-ESRCH: there is none; -EINVAL), "BadCapabilities" (-EINVAL), "NotPermitted"
 * (-EPERM: we may not become that). */
int credentials_resolve(const struct service_config *config, struct credentials *ret, struct err *err);

/* Whom a file is to belong to, by SocketUser= and SocketGroup=; of NULL -1 comes, which means unchanged.
 * Errors as above. */
int credentials_resolve_owner(const char *user, const char *group, uid_t *ret_uid, gid_t *ret_gid,
                              struct err *err);
