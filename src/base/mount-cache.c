/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount-cache.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"

#define MOUNTINFO_MAX (64 * 1024 * 1024)

void mount_cache_done(struct mount_cache *cache) {
    mount_table_done(&cache->table);
    cache->mountinfo_fd = fd_close(cache->mountinfo_fd);
}

/* proc(5): the file of mounts is always readable, and shows POLLERR and POLLPRI after a change, once: since
 * it was opened or last asked so (mounts_poll() in fs/proc_namespace.c). */
static bool has_changed(int mountinfo_fd) {
    struct pollfd poll_fd = {.fd = mountinfo_fd, .events = POLLPRI};

    return poll(&poll_fd, 1, 0) != 0;
}

int mount_cache_read(struct mount_cache *cache, int proc_fd, bool unchanged, struct mount_table *ret) {
    _cleanup_free_ char *text = NULL;
    int r;

    if (cache->mountinfo_fd >= 0 && cache->table.n > 0 && !cache->table.any_remote &&
        (unchanged || !has_changed(cache->mountinfo_fd))) {
        *ret = cache->table;
        return 0;
    }
    mount_table_done(&cache->table);
    if (cache->mountinfo_fd < 0)
        cache->mountinfo_fd = openat(proc_fd, "self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (cache->mountinfo_fd < 0)
        return -errno;
    if (lseek(cache->mountinfo_fd, 0, SEEK_SET) < 0)
        return -errno;
    r = fd_read_all(cache->mountinfo_fd, MOUNTINFO_MAX, &text, NULL);
    if (r >= 0)
        r = mount_table_parse(text, &cache->table);
    if (r >= 0)
        *ret = cache->table;
    return r;
}
