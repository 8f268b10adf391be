/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/gather.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"

int gather_listener(struct prober *prober, struct lock_facts *facts, const struct unix_socket *socket) {
    facts->listener.found = true;
    if (facts->listener.peer.answer == PEER_NOT_TRIED)
        facts->listener.peer = (struct peer_facts){.life = PROCESS_UNKNOWN, .uid = (uid_t) -1};
    /* A datagram socket receives as soon as it is bound. */
    facts->listener.listening = socket->listening || socket->type == SOCK_DGRAM;
    facts->listener.inode = socket->inode;
    facts->listener.queue = socket->queue;
    facts->listener.backlog = socket->backlog;
    return gather_add_target(prober, facts, HOLDER_TARGET_SOCKET, 0, socket->inode);
}

/* The device that the kernel's table has for the file. */
static int find_file(struct prober *prober, int fd, struct mount_facts *ret_mount, ino_t *ret_inode) {
    struct mount_facts mount = {0};
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    mount.device = st.st_dev;
    (void) gather_mount_of_fd(prober, fd, &mount);
    *ret_mount = mount;
    *ret_inode = st.st_ino;
    return 0;
}

/* The row of the socket that is bound to the file. Somebody answered, and no row of our own table fits: it is
 * another network namespace's. */
static int find_row(struct prober *prober, const struct lock_facts *facts, dev_t device, ino_t inode,
                    const struct unix_socket **ret) {
    const struct peer_facts *peer = &facts->listener.peer;
    const struct unix_socket *socket, *foreign;
    int r;

    *ret = NULL;
    /* No socket is bound to it: what the table may still have are connections that the dead listener
     * accepted. */
    if (peer->answer == PEER_REFUSED)
        return 0;
    r = gather_sockets(prober);
    if (r < 0)
        return r;
    socket = unix_table_find(&prober->sockets, device, inode);
    *ret = socket;
    if (socket && !socket->connected)
        return 0;
    if (peer->answer == PEER_CONNECTED || peer->answer == PEER_QUEUE_FULL || peer->answer == PEER_BOUND) {
        r = gather_foreign_socket(prober, peer->pid, device, inode, &foreign);
        if (r < 0)
            return r;
        *ret = foreign;
    }
    return 0;
}

/* Whether the kernel's table has a listener, so that none need be connected to. */
static bool is_spared(struct prober *prober, const struct probe_request *request, dev_t device, ino_t inode) {
    const struct unix_socket *socket;

    if (!request->spare_listener || gather_sockets(prober) < 0)
        return false;
    socket = *request->path == '@' ? unix_table_find_name(&prober->sockets, request->path)
                                   : unix_table_find(&prober->sockets, device, inode);
    return socket && socket->listening;
}

int gather_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                  int fd) {
    const struct unix_socket *socket;
    struct mount_facts mount;
    ino_t inode;
    int r;

    facts->kind = PATH_KIND_SOCKET;
    facts->has_socket = true;
    if (find_file(prober, fd, &mount, &inode) < 0)
        return 0;
    memcpy(facts->filesystem, mount.type, sizeof facts->filesystem);
    facts->remote = mount_type_is_remote(mount.type);
    if (!request->no_connect && !facts->remote && !is_spared(prober, request, mount.device, inode)) {
        r = peer_look_file(prober->proc_fd, fd, &facts->listener.peer);
        if (r >= 0 && facts->listener.peer.answer == PEER_REFUSED && request->dead.pid == 0)
            r = gather_layered_listener(prober, facts, mount.device, inode);
        if (r < 0)
            return r;
    }
    if (!request->by_fd && !facts->remote) {
        _cleanup_free_ char *guard = lock_guard_path(facts->path);

        if (!guard)
            return -ENOMEM;
        facts->guarded = faccessat(AT_FDCWD, guard, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    }
    r = find_row(prober, facts, mount.device, inode, &socket);
    return r < 0 || !socket ? r : gather_listener(prober, facts, socket);
}

/* A row of the kernel's table, by its number: names are not unique, and paths lie. */
int gather_unix_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    const struct unix_socket *socket;
    int r = gather_sockets(prober);

    if (r < 0)
        return r;
    socket = unix_table_find_inode(&prober->sockets, request->socket_inode);
    if (!socket)
        return 0;
    facts->kind = PATH_KIND_SOCKET;
    facts->has_socket = true;
    return gather_listener(prober, facts, socket);
}

/* No file stands for it: either the name is bound in this network namespace, or there is nothing. */
int gather_abstract(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    struct peer_facts *peer = &facts->listener.peer;
    const struct unix_socket *socket;
    int r;

    r = gather_sockets(prober);
    if (r < 0)
        return r;
    if (!request->no_connect && !is_spared(prober, request, 0, 0)) {
        r = peer_look_abstract(prober->proc_fd, request->path + 1, peer);
        if (r < 0)
            return r;
    }
    socket = unix_table_find_name(&prober->sockets, request->path);
    if (socket) {
        facts->kind = PATH_KIND_SOCKET;
        facts->has_socket = true;
        return gather_listener(prober, facts, socket);
    }
    if (peer->answer == PEER_REFUSED || peer->answer == PEER_NOT_TRIED)
        /* A name that is bound, but not listened on, refuses as well: only the table shows it. */
        return prober->sockets_error < 0 ? gather_give_up(facts, prober->sockets_error,
                                                          "reading the kernel's table of unix sockets")
                                         : 0;
    facts->kind = PATH_KIND_SOCKET; /* it came up just now */
    facts->has_socket = true;
    return 0;
}

/* Where the guarded socket stands: beside PATH.lock, or where the record says. -ENOENT: nowhere.
 * `dir_fd` may be -EBADF. */
static int open_guarded(const struct lock_facts *facts, int dir_fd, const char *name, int *ret_dir_fd,
                        char ret_name[static NAME_MAX + 1]) {
    static const char suffix[] = ".lock";
    size_t length = strlen(name);
    const char *base;
    int r;

    if (facts->record.socket_path[0]) {
        r = lock_open_parent(facts->record.socket_path, ret_dir_fd, &base);
        if (r < 0)
            return r;
        snprintf(ret_name, NAME_MAX + 1, "%s", base);
        return 0;
    }
    if (dir_fd < 0 || length < sizeof suffix || length > NAME_MAX ||
        strcmp(name + length - (sizeof suffix - 1), suffix) != 0)
        return -ENOENT;
    *ret_dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    if (*ret_dir_fd < 0)
        return -errno;
    snprintf(ret_name, NAME_MAX + 1, "%.*s", (int) (length - (sizeof suffix - 1)), name);
    return 0;
}

int gather_guarded_socket(struct prober *prober, struct lock_facts *facts, int dir_fd, const char *name) {
    _cleanup_close_ int socket_dir_fd = -EBADF, fd = -EBADF;
    const struct unix_socket *socket;
    char socket_name[NAME_MAX + 1];
    struct mount_facts mount;
    struct stat st;
    ino_t inode;
    int r;

    if (facts->record.socket_path[0]) {
        r = gather_is_near(prober, facts->record.socket_path);
        if (r < 0)
            return r;
        if (r == 0) /* whether its owner listens there stays open: only a holder tells that it lives */
            return lock_facts_is_held(facts)
                       ? 0
                       : gather_give_up(facts, -EREMOTE, "not asking the file system of the socket it names");
    }
    r = open_guarded(facts, dir_fd, name, &socket_dir_fd, socket_name);
    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    fd = openat(socket_dir_fd, socket_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    facts->has_socket = true;
    if (find_file(prober, fd, &mount, &inode) < 0)
        return 0;
    r = gather_sockets(prober);
    if (r < 0)
        return r;
    /* Whether it listens is asked after the sweep; connections by themselves are no listener. */
    socket = unix_table_find(&prober->sockets, mount.device, inode);
    return socket && !socket->connected ? gather_listener(prober, facts, socket) : 0;
}

int gather_guarded_peer(struct prober *prober, const struct probe_request *request,
                        struct lock_facts *facts) {
    _cleanup_close_ int dir_fd = -EBADF, socket_dir_fd = -EBADF;
    char socket_name[NAME_MAX + 1];
    const char *name;
    int r;

    if (facts->kind == PATH_KIND_SOCKET || !facts->has_socket || facts->error != 0)
        return 0;
    if (request->spare_listener && facts->listener.found && facts->listener.listening)
        return 0;
    if (lock_facts_is_held(facts) ? lock_facts_has_lock(facts, facts->recorded.pid)
                                  : lock_facts_is_recorded_alive(facts))
        return 0;
    r = lock_open_parent(facts->path, &dir_fd, &name);
    if (r >= 0)
        r = open_guarded(facts, dir_fd, name, &socket_dir_fd, socket_name);
    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    return peer_look(prober->proc_fd, socket_dir_fd, socket_name, &facts->listener.peer);
}
