/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The sweep over all processes' descriptors, on as many threads as there are processors: likely holders
 * first, and no further than the targets' effort asks for. */

#include "probe/displaced.h"
#include "probe/holder.h"

struct sweep_request {
    int proc_fd;
    const struct holder_target *targets;
    size_t n_targets;
    struct displaced_watch *watches;
    size_t n_watches;
    /* Also each thread's own descriptor table (unshare(2), CLONE_FILES), and what no table shows (trace.h);
     * without it only the tables of zombie leaders' threads. To the end, whatever the effort. */
    bool deep;
};

/* Sweeps /proc once for all targets and watches: adds to their facts' holders and openers and to what the
 * watches found, and fills scanned, settled, complete, processes and the unreadable ones. Fails only for want
 * of resources, or when /proc cannot be listed. Ends its threads, which take no signals, before it returns.
 */
int sweep_run(const struct sweep_request *request);
