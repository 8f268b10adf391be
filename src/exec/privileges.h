/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which capabilities latchd itself keeps. Only a latchd of user 0 gives any up: as another user it has what
 * it was given on purpose.
 *
 * The bounding set is never touched, so that whatever is executed as root regains from it what it always had
 * (capabilities(7), "Capabilities and execution of programs by root"):
 *
 *     P'(permitted) = P(inheritable) | P(bounding)
 *
 * That is not the whole truth. The kernel tells a program that *gained* permitted capabilities by execve(2)
 * from one that had them before: commit_creds() in kernel/cred.c makes it undumpable, so that it leaves no
 * core; cap_bprm_creds_from_file() in security/commoncap.c clears flags of its personality, and under
 * no_new_privs takes the intersection with the old set, so that it gains nothing. A daemon that runs as root
 * would be weaker than without latchd. So the permitted set is cut down only where every service has a User=
 * other than root (whose daemon has its ambient capabilities and none besides, and those are kept). Where
 * some daemon is root's, and where secure bits or no_new_privs change these rules, the effective set alone
 * is: that is what the kernel looks at when latchd does anything. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"

struct privileges_need {
    uint64_t effective; /* bit N: capability number N */
    uint64_t permitted; /* what daemons are handed (AmbientCapabilities=) */
    bool root_daemon;   /* some daemon is executed as root */
};

/* Adds what serving this service takes: what latchd does for every one (looking at other users' processes and
 * ending what is left over, clearing in other users' directories, limits), and what its keys ask for. Looks
 * up User=. */
void privileges_add(struct privileges_need *need, const struct service_config *config);

/* Cuts this process's sets down to that. May be called again for another need, as far as the permitted set
 * still has it. -errno: nothing was changed. */
int privileges_keep(const struct privileges_need *need);

/* Whether this latchd, as it is, can serve that service (too). -EPERM "NotPermitted": it gave up a capability
 * that this needs, and gets it back only by being executed again; the message names it. What it never had is
 * no matter here: the start says so. */
int privileges_suffice(const struct service_config *config, struct err *err);
