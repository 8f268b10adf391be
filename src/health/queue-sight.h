/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/mount.h"
#include "socket/queue.h"

/* As queue_look(), but for a path that leads onto a file system that may let us wait for ever (NFS, FUSE):
 * that is QUEUE_UNSEEN. mounts: those of now; NULL: they could not be read, and no path is looked at. */
void queue_sight_look(const struct queue_tables *tables, const struct mount_table *mounts, int proc_fd,
                      const char *listen, struct queue_facts *ret);
