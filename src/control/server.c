/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/closer.h"
#include "base/fd.h"
#include "base/value.h"
#include "control/connection.h"
#include "control/peer.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn (listen(2)) */
#define ACCEPTS_AT_ONCE 32
#define PAUSE_USEC (100 * USEC_PER_MSEC) /* without descriptors or memory for one more client */

/* Refuses a client: the error is there for it to read as the answer to its first call. */
static void turn_away(struct control_server *server, int fd, const struct ucred *peer, bool own_fault) {
    struct varlink_output output = VARLINK_OUTPUT_INIT(4096);
    _cleanup_free_ char *name = NULL, *text = NULL;
    json_t *message = NULL;
    const char *data;
    size_t size;

    if (asprintf(&name, "%s.Busy", server->interface->name) < 0)
        name = NULL;
    if (asprintf(&text,
                 own_fault
                     ? "The supervisor serves uid %lu no more than %u connections at a time; close some, "
                       "then try again."
                     : "uid %lu has to wait: the supervisor serves no more than %u connections at a time; "
                       "try again later.",
                 (unsigned long) peer->uid,
                 own_fault ? server->limits.clients_per_uid : server->limits.clients) < 0)
        text = NULL;
    if (name && text)
        message = control_connection_error_message(name, json_pack("{s:s}", "message", text));
    if (message && varlink_output_append(&output, message) == 0 &&
        (data = varlink_output_peek(&output, &size)))
        (void) !send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    json_decref(message);
    varlink_output_done(&output);
    closer_close_socket(&server->closer, fd);
}

/* Drops the client that was silent for longest: of one user, or (uid NULL) of all but, to spare the owners,
 * root and our own. False: there is none that was silent for long enough and waits for nothing. */
static bool make_room(struct control_server *server, const uid_t *uid, bool spare_owners) {
    struct control_connection *quietest = NULL;
    uint64_t now = 0;

    (void) sd_event_now(server->event, CLOCK_MONOTONIC, &now);
    for (struct control_connection *c = server->connections; c; c = c->next)
        if (!c->call && (!uid || c->peer.uid == *uid) && !(spare_owners && peer_is_owner(&c->peer)) &&
            (!quietest || c->active_usec < quietest->active_usec))
            quietest = c;
    if (!quietest || quietest->active_usec + server->limits.quiet_usec > now)
        return false;
    control_connection_drop(quietest);
    return true;
}

/* Whether one more client is let in. Somebody without privileges can neither take all places of the others
 * nor the last ones, which are for those who can put things right. */
static bool admit(struct control_server *server, int fd, const struct ucred *peer, bool *ret_own_fault) {
    const struct control_limits *limits = &server->limits;
    unsigned of_uid = 0, most = limits->clients - limits->clients / 4;

    *ret_own_fault = false;
    if (!peer_is_owner(peer)) {
        for (const struct control_connection *c = server->connections; c; c = c->next)
            if (c->peer.uid == peer->uid)
                of_uid++;
        if ((of_uid >= limits->clients_per_uid || server->n_connections >= most) &&
            !peer_is_privileged(fd, peer, control_admin_group(server))) {
            *ret_own_fault = of_uid >= limits->clients_per_uid;
            return make_room(server, *ret_own_fault ? &peer->uid : NULL, true);
        }
    }
    return server->n_connections < limits->clients || make_room(server, NULL, false);
}

static void welcome(struct control_server *server, int fd) {
    struct control_connection *connection;
    struct ucred peer;
    bool own_fault;

    if (peer_read(fd, &peer) < 0)
        closer_close_socket(&server->closer, fd);
    else if (!admit(server, fd, &peer, &own_fault))
        turn_away(server, fd, &peer, own_fault);
    else if (control_connection_new(server, fd, &peer, &connection) < 0)
        closer_close_socket(&server->closer, fd);
}

static int on_pause_end(sd_event_source *source, uint64_t usec, void *userdata) {
    struct control_server *server = userdata;

    (void) source;
    (void) usec;
    (void) sd_event_source_set_enabled(server->listen_source, SD_EVENT_ON);
    server->pause_source = sd_event_source_disable_unref(server->pause_source);
    return 0;
}

/* The listener stays readable while there is no descriptor for whom it announces. */
static void pause_accepting(struct control_server *server) {
    if (server->pause_source ||
        sd_event_add_time_relative(server->event, &server->pause_source, CLOCK_MONOTONIC, PAUSE_USEC, 0,
                                   on_pause_end, server) >= 0)
        (void) sd_event_source_set_enabled(server->listen_source, SD_EVENT_OFF);
}

static int on_listener(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct control_server *server = userdata;

    (void) source;
    (void) revents;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int client;

        if (closer_is_crowded(server->closer)) { /* of those who come there are some who bring more of it */
            pause_accepting(server);
            break;
        }
        client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (client >= 0)
            welcome(server, client);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(server);
            break;
        } else if (errno != EINTR && errno != ECONNABORTED)
            break;
    }
    return 0;
}

/* Binds a socket in dir_fd under a temporary name, through /proc since bind(2) knows no directories. The name
 * is short, as sockaddr_un wants it, and for one NAME.sock always the same: a supervisor that was killed
 * right here left it, and its successor, who has the service's lock, takes it away. */
static int bind_temporary(int fd, int dir_fd, const char *socket_name, char *name, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (const char *p = socket_name; *p; p++)
        hash = (hash ^ (unsigned char) *p) * 16777619U;
    (void) snprintf(name, size, ".%08x.sock", (unsigned) hash);
    (void) unlinkat(dir_fd, name, 0);
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    return bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
}

/* The new socket takes the place of an older socket, and of nothing else. */
static int publish(struct control_server *server, const char *temporary) {
    struct stat st;

    if (fstatat(server->dir_fd, temporary, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    server->device = st.st_dev;
    server->inode = st.st_ino;
    if (fchmodat(server->dir_fd, temporary, 0666, 0) < 0 || listen(server->fd, BACKLOG) < 0)
        return -errno;
    if (fstatat(server->dir_fd, server->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return -errno;
    } else if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    if (renameat(server->dir_fd, temporary, server->dir_fd, server->name) < 0)
        return -errno;
    server->published = true;
    return 0;
}

static int make_socket(struct control_server *server) {
    char temporary[32];
    int r;

    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0)
        return -errno;
    (void) closer_pass_rights(server->fd, false); /* nobody can be earlier */
    r = bind_temporary(server->fd, server->dir_fd, server->name, temporary, sizeof(temporary));
    if (r < 0)
        return r;
    r = publish(server, temporary);
    if (r < 0)
        (void) unlinkat(server->dir_fd, temporary, 0);
    return r;
}

/* True: it serves what the name leads to, and listens. */
static bool take_socket(struct control_server *server, int fd, dev_t device, ino_t inode) {
    struct stat st;

    if (fd < 0)
        return false;
    if (fstatat(server->dir_fd, server->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != device ||
        st.st_ino != inode || listen(fd, BACKLOG) < 0) {
        fd_close(fd);
        return false;
    }
    server->fd = fd;
    server->device = device;
    server->inode = inode;
    server->published = true;
    return true;
}

int control_server_new(sd_event *event, int dir_fd, const char *socket_name,
                       const struct control_interface *interface, void *userdata, struct control_server **ret,
                       struct err *err) {
    return control_server_adopt(event, dir_fd, socket_name, -EBADF, 0, 0, interface, userdata, ret, err);
}

int control_server_adopt(sd_event *event, int dir_fd, const char *socket_name, int fd, dev_t device, ino_t inode,
                         const struct control_interface *interface, void *userdata, struct control_server **ret,
                         struct err *err) {
    _cleanup_close_ int inherited = fd;
    _cleanup_(control_server_freep) struct control_server *server = malloc(sizeof(*server));
    int r;

    if (!server)
        return err_set(err, ENOMEM, "Failed", "cannot serve the control socket %s: %m", socket_name);
    *server = (struct control_server){
        .event = sd_event_ref(event),
        .dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3),
        .fd = -EBADF,
        .name = strdup(socket_name),
        .interface = interface,
        .userdata = userdata,
        .limits = CONTROL_LIMITS_DEFAULT,
    };
    if (server->dir_fd < 0)
        return err_set(err, errno, "Failed", "cannot serve the control socket %s: its directory: %m",
                       socket_name);
    if (!server->name)
        return err_set(err, ENOMEM, "Failed", "cannot serve the control socket %s: %m", socket_name);

    r = take_socket(server, TAKE_FD(inherited), device, inode) ? 0 : make_socket(server);
    if (r == -EEXIST)
        return err_set(err, EEXIST, "Failed",
                       "cannot make the control socket %s: a file of that name is there that is no socket; "
                       "move it away, or choose another runtime directory",
                       socket_name);
    if (r == -EACCES || r == -EPERM)
        return err_set(
            err, -r, "NotPermitted",
            "cannot make the control socket %s: uid %lu may not write to the runtime directory: %m",
            socket_name, (unsigned long) geteuid());
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot make the control socket %s in the runtime directory: %m",
                       socket_name);
    (void) closer_pass_rights(server->fd, false); /* whom it announces has that from it (net/unix/af_unix.c) */
    r = sd_event_add_io(event, &server->listen_source, server->fd, EPOLLIN, on_listener, server);
    /* Once, while the loop still gets the descriptor for its timers, which it keeps. The source itself would
     * be a quarter of what a service costs; it is made when it is wanted. */
    if (r >= 0)
        r = sd_event_add_time(event, &server->pause_source, CLOCK_MONOTONIC, UINT64_MAX, 0, on_pause_end,
                              server);
    server->pause_source = sd_event_source_disable_unref(server->pause_source);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot watch the control socket %s: %m", socket_name);
    *ret = TAKE_PTR(server);
    return 0;
}

void control_server_set_limits(struct control_server *server, const struct control_limits *limits) {
    server->limits = *limits;
}

unsigned control_server_clients(const struct control_server *server) {
    return server->n_connections;
}

/* With those in its queue whom nobody has let in, and what they sent. */
static void close_listener(struct control_server *server) {
    int client;

    if (server->fd < 0)
        return;
    (void) shutdown(server->fd, SHUT_RDWR); /* no more of them come, and accept(2) ends */
    while ((client = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        closer_close_socket(&server->closer, client);
    if ((errno != EMFILE && errno != ENFILE) || closer_close(&server->closer, &server->fd, 1) < 0)
        fd_close(server->fd);
    server->fd = -EBADF;
}

void control_server_free(struct control_server *server) {
    struct stat st;

    if (!server)
        return;
    while (server->connections)
        control_connection_drop(server->connections);
    sd_event_source_disable_unref(server->listen_source);
    sd_event_source_disable_unref(server->pause_source);
    /* The open socket keeps its inode from being used again: equal numbers are the same file. Between the
     * look and the removal only the directory's owner could put another one there, that is, we ourselves. */
    if (server->published && fstatat(server->dir_fd, server->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == server->device && st.st_ino == server->inode)
        (void) unlinkat(server->dir_fd, server->name, 0);
    close_listener(server);
    server->closer = closer_free(server->closer);
    fd_close(server->dir_fd);
    free(server->name);
    sd_event_unref(server->event);
    free(server);
}
