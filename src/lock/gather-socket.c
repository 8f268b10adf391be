/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/gather.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"

/* What the kernel's table says of a socket. */
static int take_listener(struct prober *prober, struct lock_facts *facts, const struct unix_socket *socket) {
    facts->listener.found = true;
    facts->listener.listening = socket->listening;
    facts->listener.inode = socket->inode;
    facts->listener.queue = socket->queue;
    facts->listener.backlog = socket->backlog;
    return gather_add_target(prober, facts, HOLDER_TARGET_SOCKET, 0, socket->inode);
}

/* The socket that is bound to the file which `fd` (O_PATH) stands for. */
static int gather_listener(struct prober *prober, struct lock_facts *facts, int fd) {
    struct mount_facts mount = {0};
    const struct unix_socket *socket;
    struct stat st;
    int r;

    facts->has_socket = true;
    if (fstat(fd, &st) < 0)
        return 0;
    r = gather_sockets(prober);
    if (r < 0)
        return r;
    mount.device = st.st_dev;
    (void) mount_of_fd(prober->proc_fd, fd, &mount);
    socket = unix_table_find(&prober->sockets, mount.device, st.st_ino);
    return socket ? take_listener(prober, facts, socket) : 0;
}

int gather_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                  int dir_fd, const char *name, int fd) {
    int r;

    facts->kind = PATH_KIND_SOCKET;
    r = gather_listener(prober, facts, fd);
    if (r < 0 || request->no_connect)
        return r;
    return dir_fd >= 0 ? peer_look(prober->proc_fd, dir_fd, name, &facts->listener.peer) : 0;
}

/* No file stands for it: either the name is bound in this network namespace, or there is nothing. */
int gather_abstract(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    const struct unix_socket *socket;
    int r;

    r = gather_sockets(prober);
    if (r < 0)
        return r;
    socket = unix_table_find_name(&prober->sockets, request->path);
    if (socket) {
        facts->kind = PATH_KIND_SOCKET;
        facts->has_socket = true;
        r = take_listener(prober, facts, socket);
        if (r < 0)
            return r;
    }
    if (request->no_connect)
        return 0;
    r = peer_look_abstract(prober->proc_fd, request->path + 1, &facts->listener.peer);
    if (r < 0 || socket)
        return r;
    if (facts->listener.peer.answer !=
        PEER_REFUSED) { /* it came up just now, or the table is not to be had */
        facts->kind = PATH_KIND_SOCKET;
        facts->has_socket = true;
    }
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
    char socket_name[NAME_MAX + 1];
    struct stat st;
    int r;

    r = open_guarded(facts, dir_fd, name, &socket_dir_fd, socket_name);
    if (r < 0)
        return gather_is_scarcity(r) ? r : 0;
    fd = openat(socket_dir_fd, socket_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    return gather_listener(prober, facts, fd);
}

int gather_guarded_peer(struct prober *prober, struct lock_facts *facts) {
    _cleanup_close_ int dir_fd = -EBADF, socket_dir_fd = -EBADF;
    char socket_name[NAME_MAX + 1];
    const char *name;
    int r;

    if (facts->kind == PATH_KIND_SOCKET || !facts->has_socket || facts->error != 0)
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
