/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/path-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"

/* A name appears by creation or by a rename; the directory itself may be renamed or removed, and a mount on
 * it may go (IN_UNMOUNT comes unasked). A change of its mode may open the way. */
#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR)

struct path_watch {
    struct path_watcher *watcher;
    struct path_watch *next;
    char *path;
    int wd;       /* of the nearest directory; -1: none */
    size_t depth; /* how much of `path` is that directory */
    bool is_due;
    bool is_blind; /* nothing will tell of a change */
    void (*on_change)(void *userdata);
    void *userdata;
};

struct path_watcher {
    sd_event *event;
    int inotify_fd, mounts_fd;
    sd_event_source *io, *mounts;
    struct path_watch *first;
    bool limit_told;
    void (*on_limit)(int error, void *userdata);
    void *userdata;
};

static void close_instance(struct path_watcher *watcher) {
    watcher->io = sd_event_source_disable_unref(watcher->io);
    watcher->mounts = sd_event_source_disable_unref(watcher->mounts);
    watcher->inotify_fd = fd_close(watcher->inotify_fd);
    watcher->mounts_fd = fd_close(watcher->mounts_fd);
}

static bool is_used(const struct path_watcher *watcher, int wd) {
    for (const struct path_watch *watch = watcher->first; watch; watch = watch->next)
        if (watch->wd == wd)
            return true;
    return false;
}

static void drop_wd(struct path_watch *watch) {
    int wd = watch->wd;

    watch->wd = -1;
    if (wd >= 0 && !is_used(watch->watcher, wd))
        (void) inotify_rm_watch(watch->watcher->inotify_fd, wd);
}

/* Watches the first `length` bytes of the path. Another watch may have that directory already. */
static int add_wd(struct path_watch *watch, size_t length) {
    char directory[PATH_MAX];
    int wd;

    if (length >= sizeof directory)
        return -ENAMETOOLONG;
    snprintf(directory, sizeof directory, "%.*s", length ? (int) length : 1, watch->path);
    wd = inotify_add_watch(watch->watcher->inotify_fd, directory, EVENTS);
    if (wd < 0)
        return -errno;
    if (wd != watch->wd)
        drop_wd(watch);
    watch->wd = wd;
    watch->depth = length;
    return 0;
}

/* The end of the component that begins behind the slash at `from`; 0: that is the last one. */
static size_t component_end(const char *path, size_t from) {
    const char *name = path + from + strspn(path + from, "/"), *slash = strchr(name, '/');

    return slash && slash[strspn(slash, "/")] ? (size_t) (slash - path) : 0;
}

static bool is_directory(const char *path, size_t length) {
    char directory[PATH_MAX];
    struct stat st;

    snprintf(directory, sizeof directory, "%.*s", (int) length, path);
    return stat(directory, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Something stands there that is no directory we could go through: no event will tell of its target. */
static bool is_in_the_way(const char *path, size_t length) {
    char name[PATH_MAX];
    struct stat st;

    snprintf(name, sizeof name, "%.*s", (int) length, path);
    return fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* Goes down to the deepest directory there is. After each watch it looks again whether the next one has come
 * meanwhile, so that none is missed. */
static int descend(struct path_watch *watch) {
    size_t depth = 0, next;
    int r;

    while ((next = component_end(watch->path, depth)) > 0 && is_directory(watch->path, next))
        depth = next;
    for (;;) {
        r = add_wd(watch, depth);
        if (r < 0 && (r != -ENOENT && r != -ENOTDIR))
            return r;
        if (r < 0) { /* it went away: from the beginning */
            if (depth == 0)
                return -ENOTSUP;
            depth = 0;
        }
        next = component_end(watch->path, depth);
        if (next == 0 || !is_directory(watch->path, next))
            return next > 0 && is_in_the_way(watch->path, next) ? -ENOTSUP : 0;
        while ((next = component_end(watch->path, depth)) > 0 && is_directory(watch->path, next))
            depth = next;
    }
}

static bool concerns(const struct path_watch *watch, const struct inotify_event *event) {
    const char *name = watch->path + watch->depth;
    size_t length;

    if (event->mask & IN_Q_OVERFLOW)
        return true;
    if (event->wd != watch->wd)
        return false;
    if (event->len == 0)
        return true; /* the directory itself */
    name += strspn(name, "/");
    length = strcspn(name, "/");
    return strncmp(event->name, name, length) == 0 && event->name[length] == '\0';
}

/* Callbacks may free any watch, so that the list is gone through anew after each. */
static void call_due(struct path_watcher *watcher) {
    struct path_watch *watch = watcher->first;

    while (watch) {
        if (!watch->is_due) {
            watch = watch->next;
            continue;
        }
        watch->is_due = false;
        watch->is_blind = descend(watch) < 0;
        watch->on_change(watch->userdata);
        watch = watcher->first;
    }
}

static int on_inotify(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct path_watcher *watcher = userdata;
    _Alignas(struct inotify_event) char buffer[8192];
    ssize_t n = read(fd, buffer, sizeof buffer);

    (void) source;
    (void) events;
    for (char *p = buffer; n > 0 && p < buffer + n;) {
        const struct inotify_event *event = (const struct inotify_event *) p;

        for (struct path_watch *watch = watcher->first; watch; watch = watch->next) {
            watch->is_due |= concerns(watch, event);
            if ((event->mask & IN_IGNORED) && watch->wd == event->wd)
                watch->wd = -1; /* the kernel has dropped it */
        }
        p += sizeof *event + event->len;
    }
    call_due(watcher);
    return 0;
}

static int on_mounts(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct path_watcher *watcher = userdata;

    (void) source;
    (void) fd;
    (void) events;
    /* Each poll(2) tells of one change (fs/proc_namespace.c, mounts_poll()); nothing needs to be read. */
    for (struct path_watch *watch = watcher->first; watch; watch = watch->next)
        watch->is_due = true;
    call_due(watcher);
    return 0;
}

static int open_instance(struct path_watcher *watcher) {
    int r;

    if (watcher->inotify_fd >= 0)
        return 0;
    watcher->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watcher->inotify_fd < 0) {
        r = -errno;
        watcher->inotify_fd = -EBADF;
        return r;
    }
    r = sd_event_add_io(watcher->event, &watcher->io, watcher->inotify_fd, EPOLLIN, on_inotify, watcher);
    if (r < 0)
        return r;
    watcher->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (watcher->mounts_fd >= 0) /* EPOLLERR comes with it, and is always asked for */
        (void) sd_event_add_io(watcher->event, &watcher->mounts, watcher->mounts_fd, EPOLLPRI, on_mounts,
                               watcher);
    return 0;
}

int path_watch_new(struct path_watcher *watcher, const char *path, void (*on_change)(void *userdata),
                   void *userdata, struct path_watch **ret) {
    struct path_watch *watch;
    int r;

    if (!watcher || path[0] != '/')
        return -ENOTSUP;
    watch = calloc(1, sizeof *watch);
    if (!watch)
        return -ENOMEM;
    *watch = (struct path_watch){
        .watcher = watcher, .path = strdup(path), .wd = -1, .on_change = on_change, .userdata = userdata};
    r = watch->path ? open_instance(watcher) : -ENOMEM;
    watch->next = watcher->first;
    watcher->first = watch;
    if (r >= 0)
        r = descend(watch);
    if (r < 0) {
        path_watch_free(watch);
        if ((r == -ENOSPC || r == -EMFILE) && !watcher->limit_told) {
            watcher->limit_told = true;
            if (watcher->on_limit)
                watcher->on_limit(r, watcher->userdata);
        }
        return r;
    }
    *ret = watch;
    return 0;
}

void path_watch_free(struct path_watch *watch) {
    struct path_watcher *watcher;

    if (!watch)
        return;
    watcher = watch->watcher;
    drop_wd(watch);
    for (struct path_watch **p = &watcher->first; *p; p = &(*p)->next)
        if (*p == watch) {
            *p = watch->next;
            break;
        }
    if (!watcher->first)
        close_instance(watcher);
    free(watch->path);
    free(watch);
}

int path_watcher_new(sd_event *event, void (*on_limit)(int error, void *userdata), void *userdata,
                     struct path_watcher **ret) {
    struct path_watcher *watcher = calloc(1, sizeof *watcher);

    if (!watcher)
        return -ENOMEM;
    *watcher = (struct path_watcher){.event = sd_event_ref(event),
                                     .inotify_fd = -EBADF,
                                     .mounts_fd = -EBADF,
                                     .on_limit = on_limit,
                                     .userdata = userdata};
    *ret = watcher;
    return 0;
}

void path_watcher_free(struct path_watcher *watcher) {
    if (!watcher)
        return;
    while (watcher->first)
        path_watch_free(watcher->first);
    close_instance(watcher);
    sd_event_unref(watcher->event);
    free(watcher);
}

bool path_watch_is_blind(const struct path_watch *watch) {
    return watch->is_blind;
}

bool path_watcher_is_idle(const struct path_watcher *watcher) {
    return watcher->inotify_fd < 0;
}
