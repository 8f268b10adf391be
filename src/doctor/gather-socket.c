/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/value.h"
#include "doctor/gather-parts.h"
#include "probe/probe.h"
#include "socket/listener.h"

/* ---- TCP ---- */

static char *address_of(int family, const struct inet_endpoint *endpoint) {
    char host[INET6_ADDRSTRLEN], *text;

    if (!inet_ntop(family, &endpoint->address, host, sizeof host) ||
        asprintf(&text, family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, endpoint->port) < 0)
        return NULL;
    return text;
}

/* sk_stream_is_writeable() in include/net/sock.h: poll(2) does not say of it that it can be written to. */
static bool inet_is_full(const struct inet_socket *socket) {
    uint64_t queued = socket->send_queued_bytes, buffer = socket->send_buffer_bytes;

    return socket->has_memory && !socket->listening &&
           (socket->state == TCP_ESTABLISHED || socket->state == TCP_CLOSE_WAIT) &&
           buffer < queued + queued / 2;
}

/* An IPv4 address as IPv6 sockets have it (::ffff:0:0/96). */
static struct in6_addr widen(int family, const struct in6_addr *address) {
    struct in6_addr wide = *address;

    if (family == AF_INET) {
        memset(&wide, 0, sizeof wide);
        wide.s6_addr[10] = wide.s6_addr[11] = 0xff;
        memcpy(&wide.s6_addr[12], address, 4);
    }
    return wide;
}

static bool same_endpoint(int a_family, const struct inet_endpoint *a, int b_family,
                          const struct inet_endpoint *b) {
    struct in6_addr x, y;

    if (a->port != b->port)
        return false;
    x = widen(a_family, &a->address);
    y = widen(b_family, &b->address);
    return memcmp(&x, &y, sizeof x) == 0;
}

/* The other end of a connection within this network namespace; NULL: it is elsewhere. */
static const struct inet_socket *find_other_end(const struct inet_table *table,
                                                const struct inet_socket *socket) {
    for (size_t i = 0; i < table->n; i++) {
        const struct inet_socket *other = &table->sockets[i];

        if (!other->listening &&
            same_endpoint(other->family, &other->local, socket->family, &socket->remote) &&
            same_endpoint(other->family, &other->remote, socket->family, &socket->local))
            return other;
    }
    return NULL;
}

/* ---- listeners ---- */

static struct doctor_listener *add_listener(int proc_fd, const struct descriptor *owner, const char *family,
                                            uint32_t inode, struct doctor_facts *facts) {
    struct doctor_listener *listener = doctor_add(facts, listeners);

    if (!listener)
        return NULL;
    listener->family = strdup(family);
    listener->listening = 1;
    listener->inode = inode;
    if (owner) {
        listener->pid = (uint64_t) owner->pid;
        listener->fd = (uint64_t) owner->fd;
        listener->nonblocking = descriptor_is_nonblocking(proc_fd, owner->pid, owner->fd);
    }
    for (size_t i = 0; owner && i < facts->n_processes; i++)
        if (facts->processes[i].pid == listener->pid && facts->processes[i].comm)
            listener->comm = strdup(facts->processes[i].comm);
    return listener;
}

static struct doctor_listener *add_unix_listener(int proc_fd, const struct descriptor *owner,
                                                 const struct doctor_look *before,
                                                 const struct unix_socket *socket,
                                                 struct doctor_facts *facts) {
    const struct unix_socket *then = unix_table_find_inode(&before->unix_sockets, socket->inode);
    struct doctor_listener *listener = add_listener(proc_fd, owner, "unix", socket->inode, facts);

    if (!listener)
        return NULL;
    listener->address = strdup(socket->name ? socket->name : "(no name)");
    listener->queue = socket->queue;
    listener->backlog = socket->backlog;
    if (then && then->listening)
        listener->queue_before = then->queue;
    return listener;
}

static struct doctor_listener *add_inet_listener(int proc_fd, const struct descriptor *owner,
                                                 const struct doctor_look *before,
                                                 const struct inet_socket *socket,
                                                 struct doctor_facts *facts) {
    const struct inet_socket *then = inet_table_find_inode(&before->inet_sockets, socket->inode);
    struct doctor_listener *listener = add_listener(proc_fd, owner, "tcp", socket->inode, facts);

    if (!listener)
        return NULL;
    listener->address = address_of(socket->family, &socket->local);
    listener->queue = socket->queue;
    listener->backlog = socket->backlog;
    if (then && then->listening)
        listener->queue_before = then->queue;
    return listener;
}

static struct doctor_listener *find_listener(struct doctor_facts *facts, uint32_t inode) {
    for (size_t i = 0; i < facts->n_listeners; i++)
        if (facts->listeners[i].inode == inode)
            return &facts->listeners[i];
    return NULL;
}

static const char *describe_file(mode_t mode) {
    return S_ISSOCK(mode)  ? "socket"
           : S_ISREG(mode) ? "file"
           : S_ISDIR(mode) ? "directory"
           : S_ISLNK(mode) ? "link"
                           : "device";
}

/* Which socket is bound to that file: its name lies after a rename, the file does not. A file system that may
 * not answer is not asked. *ret_what (static): what stands there; NULL: not known. */
static const struct unix_socket *find_by_file(int proc_fd, const struct unix_table *table, const char *path,
                                              const char **ret_what) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    _cleanup_close_ int dir_fd = -EBADF;
    const struct mount_row *mount;
    struct mount_facts facts;
    const char *name;
    struct stat st;
    int r;

    *ret_what = NULL;
    if (mount_table_read(proc_fd, &mounts) < 0 || !(mount = mount_find_path(&mounts, path)) ||
        mount_type_is_remote(mount->facts.type))
        return NULL;
    r = lock_open_parent(path, &dir_fd, &name);
    if (r < 0) {
        *ret_what = r == -ENOENT || r == -ENOTDIR ? "no-directory" : NULL;
        return NULL;
    }
    if (mount_of_fd_in(&mounts, proc_fd, dir_fd, &facts) < 0 || mount_type_is_remote(facts.type))
        return NULL;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        *ret_what = errno == ENOENT ? "nothing" : NULL;
        return NULL;
    }
    *ret_what = describe_file(st.st_mode);
    return S_ISSOCK(st.st_mode) ? unix_table_find(table, facts.device, st.st_ino) : NULL;
}

/* The listener that latchd has for a path, wherever its file is by now: it is bound to a name of latchd's own
 * beside the path, or, made by a .socket unit, to the path itself; then the daemon has to have it open. */
static const struct unix_socket *find_owned(const struct unix_table *table, const char *path,
                                            const struct doctor_facts *facts) {
    _cleanup_free_ char *beside = listener_beside(path);
    const struct unix_socket *found = NULL;

    for (size_t i = 0; beside && i < table->n; i++) {
        const struct unix_socket *socket = &table->sockets[i];
        bool is_beside;

        if (!socket->listening || !socket->name || socket->name_altered)
            continue;
        is_beside = strcmp(socket->name, beside) == 0;
        for (size_t j = 0; (is_beside || strcmp(socket->name, path) == 0) && j < facts->n_listeners; j++)
            if (facts->listeners[j].inode == socket->inode)
                return socket;
        if (is_beside)
            found = found ? found : socket;
    }
    return found;
}

static const struct inet_socket *find_by_port(const struct inet_table *table, const char *listen) {
    const char *colon = strrchr(listen, ':');
    int port;

    if (!colon || value_parse_int(colon + 1, 1, UINT16_MAX, &port) < 0)
        return NULL;
    for (size_t i = 0; i < table->n; i++)
        if (table->sockets[i].listening && table->sockets[i].local.port == port)
            return &table->sockets[i];
    return NULL;
}

/* Who accepts in a daemon that has forked for that: its workers, which have the listener of their parent. */
static void count_workers(const struct descriptors *descriptors, size_t first, struct doctor_facts *facts) {
    struct doctor_listener *listener = find_listener(facts, descriptors->of[first].inode);
    pid_t last = 0;

    if (!listener)
        return;
    listener->workers = 0;
    for (size_t i = first; i < descriptors->n && descriptors->of[i].inode == listener->inode; i++) {
        pid_t pid = descriptors->of[i].pid;

        if ((uint64_t) pid == facts->pid || pid == last)
            continue;
        if (listener->workers++ == 0)
            listener->worker_pid = (uint64_t) pid;
        last = pid;
    }
}

/* A configured socket: one of those that the service has open, or one that somebody else listens on, or
 * nobody. */
static int add_configured(int proc_fd, const struct socket_config *socket, const struct doctor_look *before,
                          const struct doctor_look *look, struct doctor_facts *facts) {
    struct doctor_listener *listener = NULL;
    bool is_unix = socket->listen[0] == '/' || socket->listen[0] == '@',
         owned = socket->owner == SOCKET_OWNER_LATCHD;
    const char *displaced = NULL;

    if (is_unix) {
        const struct unix_socket *found =
            socket->listen[0] == '@' ? unix_table_find_name(&look->unix_sockets, socket->listen)
                                     : find_by_file(proc_fd, &look->unix_sockets, socket->listen, &displaced);
        const struct unix_socket *own =
            owned && displaced ? find_owned(&look->unix_sockets, socket->listen, facts) : NULL;

        if (own && own != found)
            found = own;
        else
            displaced = NULL;
        if (found && found->listening && !(listener = find_listener(facts, found->inode)) &&
            !(listener = add_unix_listener(proc_fd, NULL, before, found, facts)))
            return -ENOMEM;
    } else {
        const struct inet_socket *found = find_by_port(&look->inet_sockets, socket->listen);

        if (found && !(listener = find_listener(facts, found->inode)) &&
            !(listener = add_inet_listener(proc_fd, NULL, before, found, facts)))
            return -ENOMEM;
    }
    if (!listener) {
        listener = add_listener(proc_fd, NULL, is_unix ? "unix" : "tcp", 0, facts);
        if (!listener)
            return -ENOMEM;
        listener->inode = DOCTOR_UNKNOWN;
        /* That a path has no listener is for the locks' reports to say: they know why. */
        listener->listening = is_unix || look->inet_error ? DOCTOR_UNKNOWN : 0;
    }
    free(listener->address);
    listener->address = strdup(socket->listen);
    free(listener->name);
    listener->name = strdup(socket->name);
    listener->owned = owned;
    if (owned)
        listener->asked = socket->backlog > 0 ? (uint64_t) socket->backlog : DOCTOR_UNKNOWN;
    if (displaced && !(listener->displaced = strdup(displaced)))
        return -ENOMEM;
    if (!listener->address || !listener->name)
        return -ENOMEM;
    value_make_printable(listener->address);
    value_make_printable(listener->name);
    return 0;
}

/* ---- connections ---- */

static const char *comm_of(const struct doctor_look *look, pid_t pid) {
    const struct family_member *member = family_sweep_find(&look->processes, pid);

    return member ? member->comm : NULL;
}

static void set_owner(int proc_fd, const struct doctor_look *look, const struct descriptor *owner,
                      struct doctor_connection *connection) {
    const char *comm = comm_of(look, owner->pid);

    connection->pid = (uint64_t) owner->pid;
    connection->fd = (uint64_t) owner->fd;
    connection->nonblocking = descriptor_is_nonblocking(proc_fd, owner->pid, owner->fd);
    free(connection->comm);
    connection->comm = comm ? strdup(comm) : NULL;
}

static void set_peer(const struct doctor_look *look, const struct descriptor *peer,
                     struct doctor_connection *connection) {
    const struct family_member *member = family_sweep_find(&look->processes, peer->pid);

    connection->peer_pid = (uint64_t) peer->pid;
    connection->peer_fd = (uint64_t) peer->fd;
    free(connection->peer_comm);
    free(connection->peer_state);
    connection->peer_comm = member ? strdup(member->comm) : NULL;
    connection->peer_state = member ? strndup(&member->state, 1) : NULL;
}

/* The inode of the other end goes with the record until its process is looked for: see doctor_gather_peers().
 */
static int add_unix_connection(const struct doctor_look *before, const struct doctor_look *look,
                               const struct unix_stream *stream, struct doctor_facts *facts) {
    const struct unix_stream *then = unix_streams_find(&before->unix_streams, stream->inode),
                             *peer = unix_streams_find(&look->unix_streams, stream->peer),
                             *peer_then = unix_streams_find(&before->unix_streams, stream->peer);
    struct doctor_connection *connection = doctor_add(facts, connections);

    if (!connection)
        return -ENOMEM;
    connection->family = strdup("unix");
    if (stream->name)
        connection->local = strdup(stream->name);
    if (peer && peer->name)
        connection->remote = strdup(peer->name);
    connection->inode = stream->inode;
    connection->peer_inode = stream->peer;
    connection->peer_here = 1;
    connection->unsent_bytes = stream->send_bytes;
    connection->send_buffer_bytes = stream->send_buffer_bytes;
    if (then)
        connection->full_before = unix_stream_is_full(then);
    if (peer)
        connection->waiting_bytes = peer->unread_bytes;
    if (peer_then)
        connection->waiting_bytes_before = peer_then->unread_bytes;
    return connection->family ? 0 : -ENOMEM;
}

static int add_inet_connection(const struct doctor_look *before, const struct doctor_look *look,
                               const struct inet_socket *socket, struct doctor_facts *facts) {
    const struct inet_socket *then = inet_table_find_inode(&before->inet_sockets, socket->inode),
                             *peer = find_other_end(&look->inet_sockets, socket),
                             *peer_then = then ? find_other_end(&before->inet_sockets, socket) : NULL;
    struct doctor_connection *connection = doctor_add(facts, connections);

    if (!connection)
        return -ENOMEM;
    connection->family = strdup("tcp");
    connection->local = address_of(socket->family, &socket->local);
    connection->remote = address_of(socket->family, &socket->remote);
    connection->inode = socket->inode;
    connection->peer_here = peer != NULL;
    connection->peer_inode = peer ? peer->inode : DOCTOR_UNKNOWN;
    connection->unsent_bytes = socket->send_queued_bytes;
    connection->send_buffer_bytes = socket->send_buffer_bytes;
    if (then)
        connection->full_before = inet_is_full(then);
    if (peer)
        connection->waiting_bytes = peer->queue;
    if (peer_then)
        connection->waiting_bytes_before = peer_then->queue;
    return connection->family ? 0 : -ENOMEM;
}

static bool have_connection(const struct doctor_facts *facts, uint32_t inode) {
    for (size_t i = 0; i < facts->n_connections; i++)
        if (facts->connections[i].inode == inode)
            return true;
    return false;
}

/* A socket of the service: it may be full itself, or keep its peer from writing by not reading. */
static int look_at_connection(const struct doctor_look *before, const struct doctor_look *look,
                              uint32_t inode, struct doctor_facts *facts) {
    const struct unix_stream *stream = unix_streams_find(&look->unix_streams, inode),
                             *streams[] = {stream, stream
                                                       ? unix_streams_find(&look->unix_streams, stream->peer)
                                                       : NULL};
    const struct inet_socket *socket = stream ? NULL : inet_table_find_inode(&look->inet_sockets, inode),
                             *sockets[] = {socket, NULL};
    int r = 0;

    if (socket && !socket->listening && socket->queue > 0)
        sockets[1] = find_other_end(&look->inet_sockets, socket);
    for (size_t i = 0; i < 2 && r >= 0 && facts->n_connections < DOCTOR_CONNECTIONS_MAX; i++) {
        if (streams[i] && unix_stream_is_full(streams[i]) && !have_connection(facts, streams[i]->inode))
            r = add_unix_connection(before, look, streams[i], facts);
        if (sockets[i] && inet_is_full(sockets[i]) && !have_connection(facts, sockets[i]->inode))
            r = add_inet_connection(before, look, sockets[i], facts);
    }
    return r;
}

static void tell_unread_tables(const struct doctor_look *look, struct doctor_facts *facts) {
    if (look->unix_error)
        doctor_unseen(facts, "unix listeners and their queues", -look->unix_error);
    if (look->streams_error)
        doctor_unseen(facts, "connections of unix sockets", -look->streams_error);
    if (look->inet_error)
        doctor_unseen(facts, "TCP sockets", -look->inet_error);
}

/* The tables are of our own network namespace. */
static bool is_elsewhere(int proc_fd, const struct doctor_look *look, const struct doctor_facts *facts) {
    struct stat st;
    char path[64];

    snprintf(path, sizeof path, "%d/ns/net", (int) facts->pid);
    return look->network != 0 && fstatat(proc_fd, path, &st, 0) == 0 && st.st_ino != look->network;
}

int doctor_gather_sockets(int proc_fd, const struct doctor_request *request, const struct doctor_look *before,
                          const struct doctor_look *look, struct doctor_facts *facts) {
    _cleanup_descriptors_ struct descriptors descriptors = {0};
    int r = 0;

    tell_unread_tables(look, facts);
    if (facts->pid > 0 && is_elsewhere(proc_fd, look, facts)) {
        char why[160];

        snprintf(
            why, sizeof why,
            "they are in another network namespace: nsenter --net=/proc/%d/ns/net latchctl doctor sees them",
            (int) facts->pid);
        doctor_unseen_because(facts, "its sockets", why);
        return 0;
    }
    for (size_t i = 0; i < facts->n_processes; i++) {
        r = descriptors_read(proc_fd, (pid_t) facts->processes[i].pid, NULL, 0, &descriptors);
        if (r == -ENOMEM)
            return r;
        if (r == -EACCES || r == -EPERM)
            doctor_unseen(facts, "which sockets its processes have: listeners and connections", -r);
    }
    descriptors_sort(&descriptors);
    for (size_t i = 0; i < descriptors.n; i++) {
        const struct descriptor *one = &descriptors.of[i];
        const struct unix_socket *unix_socket = unix_table_find_inode(&look->unix_sockets, one->inode);
        const struct inet_socket *inet_socket = inet_table_find_inode(&look->inet_sockets, one->inode);

        if (i > 0 && one->inode == descriptors.of[i - 1].inode)
            continue;
        r = 0;
        if (unix_socket && unix_socket->listening)
            r = add_unix_listener(proc_fd, one, before, unix_socket, facts) ? 0 : -ENOMEM;
        else if (inet_socket && inet_socket->listening)
            r = add_inet_listener(proc_fd, one, before, inet_socket, facts) ? 0 : -ENOMEM;
        else
            r = look_at_connection(before, look, one->inode, facts);
        if (r < 0)
            return r;
        count_workers(&descriptors, i, facts);
    }
    for (size_t i = 0; request->config && i < request->config->n_sockets; i++) {
        r = add_configured(proc_fd, request->config->sockets[i], before, look, facts);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the other ends ---- */

static int compare_inodes(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}

int doctor_gather_peers(int proc_fd, const struct doctor_look *look, struct doctor_facts *facts, size_t n) {
    _cleanup_descriptors_ struct descriptors descriptors = {0};
    _cleanup_free_ uint32_t *wanted = NULL;
    size_t n_wanted = 0, room = 0;
    bool denied = false;

    for (size_t i = 0; i < n; i++)
        room += facts[i].n_connections * 2;
    if (room == 0)
        return 0;
    wanted = calloc(room, sizeof *wanted);
    if (!wanted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < facts[i].n_connections; j++) {
            wanted[n_wanted++] = (uint32_t) facts[i].connections[j].inode;
            if (doctor_known(facts[i].connections[j].peer_inode) && facts[i].connections[j].peer_inode > 0)
                wanted[n_wanted++] = (uint32_t) facts[i].connections[j].peer_inode;
        }
    qsort(wanted, n_wanted, sizeof *wanted, compare_inodes);
    for (size_t i = 0; i < look->processes.n; i++) {
        int r = descriptors_read(proc_fd, look->processes.of[i].pid, wanted, n_wanted, &descriptors);

        if (r == -ENOMEM)
            return r;
        denied |= r == -EACCES || r == -EPERM;
    }
    descriptors_sort(&descriptors);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < facts[i].n_connections; j++) {
            struct doctor_connection *connection = &facts[i].connections[j];
            const struct descriptor *owner = descriptors_find(&descriptors, (uint32_t) connection->inode),
                                    *peer = doctor_known(connection->peer_inode)
                                                ? descriptors_find(&descriptors,
                                                                   (uint32_t) connection->peer_inode)
                                                : NULL;

            if (owner)
                set_owner(proc_fd, look, owner, connection);
            if (peer)
                set_peer(look, peer, connection);
            if (denied && (!owner || (!peer && connection->peer_here == 1)))
                doctor_unseen(&facts[i], "who has the other end of each connection that is full", EACCES);
        }
    return 0;
}
