/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/queue-sight.h"

#include "probe/remote.h"

static bool may_look(const struct mount_table *mounts, const char *listen) {
    const struct mount_row *mount;

    if (*listen != '/')
        return true;
    if (!mounts)
        return false;
    return !mounts->any_remote || remote_find_way(mounts, listen, &mount) == REMOTE_WAY_LOCAL;
}

void queue_sight_look(const struct queue_tables *tables, const struct mount_table *mounts, int proc_fd,
                      const char *listen, struct queue_facts *ret) {
    if (may_look(mounts, listen))
        queue_look(tables, proc_fd, listen, ret);
    else
        *ret = (struct queue_facts){.sight = QUEUE_UNSEEN};
}
