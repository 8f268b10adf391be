/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/displaced.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define DELETED                                                                                              \
    " (deleted)" /* what proc_pid_readlink() has behind the name of a file that has none (d_path()) */
#define SIBLINGS_MAX 65536

/* File times come from a clock that ticks every few milliseconds, start times count hundredths of a second.
 */
#define CLOCKS_MARGIN_USEC (20 * USEC_PER_MSEC)

void displaced_watch_done(struct displaced_watch *watch) {
    for (size_t i = 0; i < watch->n_siblings; i++)
        free(watch->siblings[i].path);
    free(watch->siblings);
    for (size_t i = 0; i < watch->n_found; i++) {
        free(watch->found[i].path);
        fd_close(watch->found[i].fd);
    }
    free(watch->path);
    *watch = (struct displaced_watch){0};
}

static uint64_t usec_of(const struct statx_timestamp *time) {
    return (uint64_t) time->tv_sec * USEC_PER_SEC + time->tv_nsec / NSEC_PER_USEC;
}

/* The path of a directory as /proc shows those below it. */
static int read_canonical(int dir_fd, char **ret) {
    char self[64], target[PATH_MAX];
    struct stat st;
    ssize_t n;

    snprintf(self, sizeof self, "/proc/self/fd/%d", dir_fd);
    n = readlink(self, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    if ((size_t) n == sizeof target - 1)
        return -ENAMETOOLONG;
    target[n] = '\0';
    if (fstat(dir_fd, &st) < 0)
        return -errno;
    if (st.st_nlink == 0 && (size_t) n > strlen(DELETED) &&
        strcmp(target + n - strlen(DELETED), DELETED) == 0)
        target[n - (ssize_t) strlen(DELETED)] = '\0';
    *ret = strdup(strcmp(target, "/") == 0 ? "" : target);
    return *ret ? 0 : -ENOMEM;
}

/* Joins what is gone to what is there. -EINVAL where dots would lead out of a directory that is gone. */
static int join(const char *dir, const char *rest, char **ret) {
    _cleanup_free_ char *path = malloc(strlen(dir) + strlen(rest) + 2);
    char *end;

    if (!path)
        return -ENOMEM;
    end = stpcpy(path, dir);
    while (*rest) {
        size_t length = strcspn(rest, "/");

        if (length == 2 && strncmp(rest, "..", 2) == 0)
            return -EINVAL;
        if (length > 0 && !(length == 1 && *rest == '.')) {
            *end++ = '/';
            end = mempcpy(end, rest, length);
        }
        rest += length + strspn(rest + length, "/");
    }
    *end = '\0';
    *ret = TAKE_PTR(path);
    return 0;
}

/* Opens the deepest directory above the path that exists, and has the whole path without links and dots.
 * *ret_parent: that directory is the one that the path stands in. */
static int open_ancestor(const char *path, int *ret_fd, bool *ret_parent, char **ret_path) {
    _cleanup_free_ char *copy = strdup(path), *dir = NULL;
    _cleanup_close_ int fd = -EBADF;
    const char *name;
    char *slash;
    int r;

    if (!copy)
        return -ENOMEM;
    r = lock_open_parent(path, &fd, &name);
    *ret_parent = r >= 0;
    while (r == -ENOENT || r == -ENOTDIR) {
        slash = strrchr(copy, '/');
        if (!slash)
            return r;
        *slash = '\0';
        name = path + (slash - copy) + 1;
        if (slash == copy || strchr(copy, '/')) {
            fd = open(slash == copy ? "/" : copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
        } else {
            fd = open(copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0 && errno == ENOENT) {
                fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
                name = path;
            }
        }
        r = fd < 0 ? -errno : 0;
    }
    if (r >= 0)
        r = read_canonical(fd, &dir);
    if (r >= 0)
        r = join(dir, name, ret_path);
    if (r >= 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

/* Names that people and programs give to what they put aside. Of others ("x.lock.2") the times have to speak,
 * for it may be the lock of a second instance. */
static bool is_put_aside(const char *suffix) {
    static const char *const suffixes[] = {"~",      ".old",  ".bak",   ".orig", ".save",
                                           ".saved", ".prev", ".moved", ".away"};

    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
        if (strcmp(suffix, suffixes[i]) == 0)
            return true;
    return false;
}

static int add_sibling(struct displaced_watch *watch, int dir_fd, const char *name, const char *suffix) {
    struct displaced_sibling *bigger, *sibling;
    struct statx stx;
    uint64_t changed;

    if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME, &stx) < 0 ||
        !S_ISREG(stx.stx_mode))
        return 0;
    bigger = reallocarray(watch->siblings, watch->n_siblings + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    watch->siblings = bigger;
    sibling = &bigger[watch->n_siblings];
    changed = usec_of(&stx.stx_ctime);
    *sibling = (struct displaced_sibling){
        .device = makedev(stx.stx_dev_major, stx.stx_dev_minor),
        .inode = stx.stx_ino,
        .changed_usec = changed,
        /* rename(2) changes st_ctime alone; to make a file, or to write to it, changes the others as well. */
        .renamed_for_sure = changed > usec_of(&stx.stx_mtime) &&
                            (!(stx.stx_mask & STATX_BTIME) || changed > usec_of(&stx.stx_btime)),
    };
    if (!sibling->renamed_for_sure && !is_put_aside(suffix))
        return 0;
    if (asprintf(&sibling->path, "%.*s%s", (int) (strrchr(watch->path, '/') + 1 - watch->path), watch->path,
                 name) < 0)
        return -ENOMEM;
    watch->n_siblings++;
    return 0;
}

/* A directory that may not be listed has none that we know of. */
static int list_siblings(struct displaced_watch *watch, int dir_fd) {
    const char *name = strrchr(watch->path, '/') + 1;
    _cleanup_closedir_ DIR *dir = NULL;
    size_t length = strlen(name);
    struct dirent *entry;
    int r = fd_open_dir_at(dir_fd, ".", &dir);

    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    while (watch->n_siblings < SIBLINGS_MAX && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, name, length) != 0 || !entry->d_name[length])
            continue;
        if (strncmp(entry->d_name + length, ".lock", strlen(".lock")) == 0)
            continue; /* the lock that guards a socket of our name, and what was made of that */
        r = add_sibling(watch, dir_fd, entry->d_name, entry->d_name + length);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool may_have_been_displaced(const struct probe_request *request, const struct lock_facts *facts) {
    if (request->effort != PROBE_COMPLETE || request->by_fd || request->socket_inode != 0 ||
        request->path[0] == '@' || facts->error != 0 || facts->remote)
        return false;
    return facts->kind == PATH_KIND_ABSENT ||
           (S_ISREG(facts->mode) && (facts->kind == PATH_KIND_LOCK || facts->kind == PATH_KIND_PIDFILE));
}

int displaced_watch_path(const struct probe_request *request, struct lock_facts *facts,
                         struct displaced_watch *ret) {
    struct displaced_watch watch = {.facts = facts, .request = request};
    _cleanup_close_ int dir_fd = -EBADF;
    struct statx stx;
    bool parent;
    int r;

    if (!may_have_been_displaced(request, facts))
        return 0;
    r = open_ancestor(request->path, &dir_fd, &parent, &watch.path);
    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    if (watch.path[0] != '/' ||
        statx(dir_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID, &stx) < 0) {
        displaced_watch_done(&watch);
        return 0;
    }
    watch.device = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    watch.mount_id = stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id : 0;
    if (parent) {
        if (statx(dir_fd, strrchr(watch.path, '/') + 1, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC,
                  STATX_INO | STATX_BTIME, &stx) == 0 &&
            stx.stx_ino == facts->inode && (stx.stx_mask & STATX_BTIME))
            watch.born_usec = usec_of(&stx.stx_btime);
        r = list_siblings(&watch, dir_fd);
        if (r < 0) {
            displaced_watch_done(&watch);
            return r;
        }
    }
    *ret = watch;
    return 1;
}

/* The link of a file without a name shows the name that it had. */
static bool had_path(const struct displaced_watch *watch, const struct table_entry *entry) {
    char target[PATH_MAX + sizeof DELETED];
    size_t length = strlen(watch->path);
    ssize_t n = readlinkat(entry->dir_fd, entry->name, target, sizeof target - 1);

    if (n < 0)
        return false;
    target[n] = '\0';
    return (size_t) n == length + strlen(DELETED) && strncmp(target, watch->path, length) == 0 &&
           strcmp(target + length, DELETED) == 0;
}

static const struct displaced_sibling *find_sibling(const struct displaced_watch *watch,
                                                    const struct table_entry *entry) {
    for (size_t i = 0; i < watch->n_siblings; i++)
        if (watch->siblings[i].inode == entry->inode && watch->siblings[i].device == entry->device)
            return &watch->siblings[i];
    return NULL;
}

/* Who had it before its name changed, and before another file came in its place. */
static bool had_it_before(int proc_fd, const struct displaced_watch *watch,
                          const struct displaced_sibling *sibling, pid_t pid) {
    struct proc_stat stat;
    uint64_t began;

    if (procfs_read_stat(proc_fd, pid, &stat) < 0)
        return false;
    began = procfs_ticks_to_realtime_usec(stat.start_ticks);
    return began <= sibling->changed_usec + CLOCKS_MARGIN_USEC &&
           (watch->born_usec == 0 || began <= watch->born_usec + CLOCKS_MARGIN_USEC);
}

int displaced_is_watched(int proc_fd, const struct displaced_watch *watch, const struct table_entry *entry) {
    const struct displaced_sibling *sibling;

    if (!S_ISREG(entry->mode) ||
        (entry->inode == watch->facts->inode && entry->device == watch->facts->device))
        return 0;
    /* The mount tells as well where files have another device than their directory (overlayfs). */
    if (entry->links == 0)
        return (entry->device == watch->device ||
                (entry->mount_id != 0 && entry->mount_id == watch->mount_id)) &&
               had_path(watch, entry);
    if (watch->n_siblings == 0)
        return 0;
    sibling = find_sibling(watch, entry);
    return sibling && had_it_before(proc_fd, watch, sibling, entry->pid);
}

int displaced_take(struct displaced_watch *watch, const struct table_entry *entry) {
    const struct displaced_sibling *sibling = find_sibling(watch, entry);
    struct displaced_find *find = &watch->found[watch->n_found];
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (watch->n_found == LOCK_DISPLACED_MAX)
        return 0;
    for (size_t i = 0; i < watch->n_found; i++)
        if (watch->found[i].inode == entry->inode && watch->found[i].device == entry->device)
            return 0;
    fd = openat(entry->dir_fd, entry->name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || st.st_ino != entry->inode || st.st_dev != entry->device)
        return 0; /* the number stands for another file by now */
    *find = (struct displaced_find){
        .unlinked = entry->links == 0, .device = entry->device, .inode = entry->inode};
    find->path = strdup(find->unlinked || !sibling ? watch->path : sibling->path);
    if (!find->path)
        return -ENOMEM;
    find->fd = TAKE_FD(fd);
    watch->n_found++;
    return 0;
}

int displaced_gather(struct prober *prober, struct displaced_watch *watch) {
    for (size_t i = 0; i < watch->n_found; i++) {
        const struct displaced_find *find = &watch->found[i];
        struct probe_request request = {.path = find->path,
                                        .by_fd = true,
                                        .fd = find->fd,
                                        .style = watch->request->style,
                                        .effort = PROBE_COMPLETE,
                                        .no_connect = watch->request->no_connect};
        struct lock_facts *displaced;
        int r = gather_add_displaced(watch->facts, &displaced);

        if (r <= 0)
            return r;
        r = gather_path(prober, &request, displaced);
        if (r < 0)
            return r;
        displaced->unlinked = find->unlinked;
    }
    return 0;
}
