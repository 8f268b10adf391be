/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The only place that removes a PID file, a lock file or link of the existence kind, or a socket. It acts on
 * facts that were judged before, and only if nothing has changed since. A held lock is never unlinked, and a
 * flock file that nobody holds is left where it is: it is in nobody's way.
 *
 * A file is locked and leased while it goes, a socket's guard is locked. A link can only be moved aside,
 * looked at, and put back if it is not the one that was judged: should its new owner have replaced the dead
 * one's in the microseconds since the last look, the name is free for a moment, and a third one could take
 * it. Then nothing is lost, and the message says so. */

#include "base/err.h"
#include "probe/probe.h"
#include "lock/verdict.h"

struct clear_request {
    const struct lock_facts *facts; /* as judged */
    enum lock_style style;          /* as probed with */
    enum probe_effort effort;       /* likewise, and the three that follow */
    bool may_try;
    struct probe_dead dead;
    struct probe_cache *cache;
    const struct lock_context *context;
    bool service_locked; /* the caller holds latchd's own lock of the service that this path belongs to */
    bool dry_run;
};

/* Clears what a dead owner left at facts->path. 1: removed (dry run: would be); 0: nothing to do (absent or
 * free). -EBUSY "Held" a living owner or an orphan, -ESTALE "Changed" it is not what was judged any more,
 * -EPERM "NotClearable" the rule does not permit it; -errno "Failed" what the kernel refused. */
int lock_clear(const struct clear_request *request, struct err *err);
