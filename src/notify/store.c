/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/closer.h"

/* So many descriptors latchd keeps for its own needs, starts above all. */
#define OWN_DESCRIPTORS 128

static bool is_scarce(int fd) {
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (rlim_t) fd + OWN_DESCRIPTORS >= limit.rlim_cur;
}

static bool lingers(int fd) {
    struct linger linger = {0};
    socklen_t size = sizeof linger;

    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff &&
           linger.l_linger > 0;
}

/* By the name that the kernel gives it in /proc, which asks no file system: a path begins with a slash, all
 * else is the kernel's own ("socket:[1]", "anon_inode:[eventfd]", "mnt:[2]"). A file that takes seals is in
 * memory (fcntl(2), F_GET_SEALS). */
const char *notify_store_objection(int proc_fd, int fd) {
    char path[64], target[32];
    struct mount_facts mount;
    ssize_t n;
    int r;

    if (is_scarce(fd))
        return "latchd has too many open files: raise LimitNOFILE= in the unit that starts it";
    snprintf(path, sizeof path, "self/fd/%d", fd);
    n = readlinkat(proc_fd, path, target, sizeof target - 1);
    if (n < 0)
        return "it cannot be told what it is";
    target[n] = '\0';
    if (strncmp(target, "socket:", 7) == 0)
        return lingers(fd) ? "it is a socket with SO_LINGER, whose end others would have to wait for" : NULL;
    if (strncmp(target, "pipe:", 5) == 0 || strncmp(target, "anon_inode:", 11) == 0 ||
        fcntl(fd, F_GET_SEALS) >= 0)
        return NULL;
    if (*target != '/')
        return strncmp(target, "(unreachable)", 13) == 0 ? "it is on a file system that latchd does not see"
                                                         : "it is a namespace";
    r = mount_of_fd(proc_fd, fd, &mount);
    if (r < 0)
        return "it is on a file system that latchd does not see";
    if (mount_type_is_remote(mount.type) || mount_type_is_automatic(mount.type))
        return "it is on a file system that others may keep waiting (network, FUSE, autofs)";
    return NULL;
}

static bool is_same_file(int a, int b) {
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

static void free_entry(struct notify_stored *entry) {
    if (!entry)
        return;
    sd_event_source_disable_unref(entry->source);
    (void) closer_close(entry->store->closer, &entry->fd, entry->fd >= 0 ? 1 : 0);
    free(entry->name);
    free(entry);
}

static size_t drop(struct notify_store *store, bool (*matches)(const struct notify_stored *, const char *),
                   const char *name) {
    size_t kept = 0, n = store->n;

    for (size_t i = 0; i < n; i++)
        if (matches(store->entries[i], name))
            free_entry(store->entries[i]);
        else
            store->entries[kept++] = store->entries[i];
    store->n = kept;
    if (kept == 0) {
        free(store->entries);
        store->entries = NULL;
    }
    return n - kept;
}

static bool has_name(const struct notify_stored *entry, const char *name) {
    return !name || strcmp(entry->name, name) == 0;
}

static bool is_gone(const struct notify_stored *entry, const char *name) {
    (void) name;
    return entry->gone;
}

/* EPOLLHUP and EPOLLERR are told without being asked for (epoll_ctl(2)). */
static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct notify_stored *entry = userdata;
    struct notify_store *store = entry->store;
    char *name = entry->name;

    (void) source;
    (void) fd;
    (void) events;
    entry->gone = true;
    entry->name = NULL;
    (void) drop(store, is_gone, NULL);
    if (store->on_gone && name)
        store->on_gone(store, name, store->userdata);
    free(name);
    return 0;
}

int notify_store_add(struct notify_store *store, int fd, const char *name, bool poll) {
    struct notify_stored **bigger, *entry;
    int r;

    for (size_t i = 0; i < store->n; i++)
        if (is_same_file(store->entries[i]->fd, fd))
            return 0;
    if (store->n >= NOTIFY_STORE_MAX)
        return -ENOSPC;
    bigger = reallocarray(store->entries, store->n + 1, sizeof(struct notify_stored *));
    if (!bigger)
        return -ENOMEM;
    store->entries = bigger;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return -ENOMEM;
    *entry = (struct notify_stored){.fd = -EBADF, .name = strdup(name), .poll = poll, .store = store};
    if (!entry->name) {
        free_entry(entry);
        return -ENOMEM;
    }
    if (poll) {
        r = sd_event_add_io(store->event, &entry->source, fd, 0, on_end, entry);
        if (r < 0 && r != -EPERM) { /* -EPERM: a file that cannot be polled */
            free_entry(entry);
            return r;
        }
    }
    entry->fd = fd;
    store->entries[store->n++] = entry;
    return 1;
}

size_t notify_store_remove(struct notify_store *store, const char *name) {
    return drop(store, has_name, name);
}
