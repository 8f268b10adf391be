/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What one who probes again and again need not find out anew: our own place (PID namespace, boot), /proc, and
 * the mounts for as long as nothing has changed (base/mount-cache.h). Each saves a restart some system calls.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/mount-cache.h"
#include "lock/facts.h"

struct probe_cache {
    int proc_fd; /* owned; -EBADF: nothing is known yet */
    bool initial_pid_namespace;
    uint64_t pid_namespace;
    char boot_id[37];
    bool hidden;              /* as of the last look */
    char host[LOCK_HOST_MAX]; /* likewise */
    struct mount_cache mounts;
    bool at_once; /* set by who probes several times within a moment: what changes by an administrator's hand
                   * alone (host name, mounts, hidepid=) is as of the first time */
};

#define PROBE_CACHE_INIT ((struct probe_cache){.proc_fd = -EBADF, .mounts = MOUNT_CACHE_INIT})
void probe_cache_done(struct probe_cache *cache);
