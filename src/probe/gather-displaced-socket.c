/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners whose socket file was removed or renamed (a sibling wiped the directory, somebody "cleaned up").
 * The kernel's table still has the name of bind time and the file's inode, which the living socket keeps from
 * being used again (net/unix/af_unix.c, unix_bind_bsd()). A name alone proves nothing: a service with a root
 * directory or a /tmp of its own binds the same names. */
#include "probe/gather.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"

/* Where a path leads as far as it can be followed: the deepest directory of it that exists, and what is left
 * of the path below that. */
struct place {
    int fd; /* O_PATH of that directory */
    struct stat st;
    char *rest;
};

static void place_done(struct place *place) {
    place->fd = fd_close(place->fd);
    free(place->rest);
    place->rest = NULL;
}

/* In the root directory of another process, links included. */
static int open_dir(int root_fd, const char *path) {
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    long fd;

    if (root_fd < 0) {
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : (int) fd;
    }
    fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    return fd < 0 ? -errno : (int) fd;
}

/* root_fd -EBADF: our own. -errno of open(2) other than that something is missing. */
static int find_place(int root_fd, const char *path, struct place *ret) {
    _cleanup_free_ char *dir = strdup(path);
    int fd;

    if (!dir)
        return -ENOMEM;
    for (;;) {
        char *slash = strrchr(dir, '/');

        while (slash && slash > dir && slash[-1] == '/')
            slash--;
        if (!slash || slash == dir) {
            fd = open_dir(root_fd, slash ? "/" : ".");
            dir[slash != NULL] = '\0';
        } else {
            *slash = '\0';
            fd = open_dir(root_fd, dir);
        }
        if (fd >= 0)
            break;
        if ((fd != -ENOENT && fd != -ENOTDIR) || !slash || slash == dir)
            return fd;
    }
    *ret = (struct place){.fd = fd};
    path += strlen(dir);
    ret->rest = strdup(path + strspn(path, "/"));
    if (!ret->rest || fstat(fd, &ret->st) < 0) {
        int error = ret->rest ? -errno : -ENOMEM;

        place_done(ret);
        return error;
    }
    return 0;
}

static bool same_place(const struct place *a, const struct place *b) {
    return stat_same_inode(&a->st, &b->st) && strcmp(a->rest, b->rest) == 0;
}

/* The file that stands there now has that inode (the kernel tells 32 bits of a socket's). */
static bool stands_at(const struct place *place, uint32_t inode) {
    struct stat st;

    return !strchr(place->rest, '/') && fstatat(place->fd, place->rest, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISSOCK(st.st_mode) && (uint32_t) st.st_ino == inode;
}

static int add_listener(struct prober *prober, struct lock_facts *facts, const struct unix_socket *socket) {
    struct lock_facts *displaced;
    int r;

    for (size_t i = 0; i < facts->n_displaced; i++)
        if (facts->displaced[i].listener.found && facts->displaced[i].listener.inode == socket->inode)
            return 0;
    r = gather_add_displaced(facts, &displaced);
    if (r <= 0)
        return r;
    displaced->kind = PATH_KIND_SOCKET;
    displaced->mode = S_IFSOCK;
    displaced->has_socket = true;
    displaced->device = socket->file_device;
    displaced->inode = socket->file_inode;
    displaced->path = strdup(socket->name);
    if (!displaced->path)
        return -ENOMEM;
    return gather_listener(prober, displaced, socket);
}

static int look_for(struct prober *prober, struct lock_facts *facts, const char *path) {
    _cleanup_(place_done) struct place here = {.fd = -EBADF};
    const char *slash = strrchr(path, '/'), *component = slash ? slash + 1 : path;
    const struct unix_socket *socket;
    struct mount_facts mount = {0};
    size_t position = 0;
    int r;

    r = gather_is_near(prober, path);
    if (r <= 0)
        return r;
    r = gather_sockets(prober);
    if (r < 0)
        return r;
    while ((socket = unix_table_next(&prober->sockets, component, &position))) {
        _cleanup_(place_done) struct place there = {.fd = -EBADF};

        /* A relative name is relative to a directory that nobody remembers. */
        if (socket->name[0] != '/' || (!socket->listening && socket->type != SOCK_DGRAM))
            continue;
        if (here.fd < 0) {
            r = find_place(-EBADF, path, &here);
            if (r < 0)
                return gather_is_scarcity(r) ? r : 0;
            mount.device = here.st.st_dev;
            (void) gather_mount_of_fd(prober, here.fd, &mount);
        }
        if (socket->file_device != mount.device || stands_at(&here, socket->file_inode) ||
            gather_is_near(prober, socket->name) <= 0)
            continue;
        r = find_place(-EBADF, socket->name, &there);
        if (gather_is_scarcity(r))
            return r;
        if (r < 0 || !same_place(&here, &there))
            continue;
        r = add_listener(prober, facts, socket);
        if (r < 0)
            return r;
    }
    return 0;
}

int gather_displaced_sockets(struct prober *prober, struct lock_facts *facts) {
    static const char suffix[] = ".lock";
    _cleanup_free_ char *guarded = NULL;
    size_t length = strlen(facts->path);
    int r;

    if (facts->path[0] == '@')
        return 0;
    r = look_for(prober, facts, facts->path);
    if (r < 0 || (facts->kind != PATH_KIND_LOCK && facts->kind != PATH_KIND_PIDFILE))
        return r;
    if (facts->record.socket_path[0])
        return look_for(prober, facts, facts->record.socket_path);
    if (length < sizeof suffix || strcmp(facts->path + length - (sizeof suffix - 1), suffix) != 0)
        return 0;
    guarded = strndup(facts->path, length - (sizeof suffix - 1));
    return guarded ? look_for(prober, facts, guarded) : -ENOMEM;
}

enum whose {
    WHOSE_NOT_KNOWN,
    WHOSE_OURS,   /* to its holder the name means the very place that it means to us */
    WHOSE_HOLDERS /* to its holder the name means another place, and there the socket stands */
};

static int whose_name(struct prober *prober, pid_t holder, const struct lock_facts *displaced,
                      const struct place *here, enum whose *ret) {
    _cleanup_(place_done) struct place there = {.fd = -EBADF};
    _cleanup_close_ int root_fd = -EBADF;
    char path[32];
    int r;

    *ret = WHOSE_NOT_KNOWN;
    snprintf(path, sizeof path, "%d/root", (int) holder);
    root_fd = openat(prober->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return gather_is_scarcity(-errno) ? -errno : 0;
    r = find_place(root_fd, displaced->path, &there);
    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    if (same_place(here, &there))
        *ret = WHOSE_OURS;
    else if (stands_at(&there, (uint32_t) displaced->inode))
        *ret = WHOSE_HOLDERS;
    return 0;
}

/* 1: it is no concern of ours. */
static int judge_place(struct prober *prober, struct lock_facts *displaced) {
    _cleanup_(place_done) struct place here = {.fd = -EBADF};
    bool any_elsewhere = false;
    int r;

    if (displaced->n_holders == 0)
        return 0;
    r = find_place(-EBADF, displaced->path, &here);
    if (r < 0)
        return gather_give_up(displaced, r, "looking for the place of a socket");
    for (size_t i = 0; i < displaced->n_holders; i++) {
        enum whose whose;

        r = whose_name(prober, displaced->holders[i].process.pid, displaced, &here, &whose);
        if (r < 0 || whose == WHOSE_OURS)
            return r;
        any_elsewhere |= whose == WHOSE_HOLDERS;
    }
    if (any_elsewhere)
        return 1;
    /* It went into a root directory of its own after bind(2), or it was there before. */
    return gather_give_up(displaced, -EXDEV, "telling which directory its name was bound in");
}

int gather_displaced_places(struct prober *prober, struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_displaced;) {
        struct lock_facts *displaced = &facts->displaced[i];
        int r = displaced->kind == PATH_KIND_SOCKET ? judge_place(prober, displaced) : 0;

        if (r < 0)
            return r;
        if (r == 0) {
            i++;
            continue;
        }
        lock_facts_done(displaced); /* the sweep is over: no target points here any more */
        *displaced = facts->displaced[--facts->n_displaced];
    }
    return 0;
}
