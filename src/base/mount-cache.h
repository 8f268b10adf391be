/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The mounts as they were last read, for as long as nothing has changed: the kernel lays the whole text out
 * anew for each reader, which takes longer than all else that is looked at before a restart. */

#include "base/mount.h"

struct mount_cache {
    int mountinfo_fd; /* owned; -EBADF: not yet read */
    struct mount_table table;
};

#define MOUNT_CACHE_INIT ((struct mount_cache){.mountinfo_fd = -EBADF})
void mount_cache_done(struct mount_cache *cache);

/* *ret is borrowed, and good until the next call. Where a remote or automatic file system is mounted, the
 * text is read each time: what may have changed about such a one without being a mount, counts. unchanged:
 * nothing has since the last call, the caller says. Errors as of mount_table_read(). */
int mount_cache_read(struct mount_cache *cache, int proc_fd, bool unchanged, struct mount_table *ret);
