/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "owned/owned.h"

#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "exec/credentials.h"

bool owned_wants(const struct service_config *config) {
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->owner == SOCKET_OWNER_LATCHD)
            return true;
    return false;
}

static bool has_lock(const struct socket_config *socket) {
    return socket->lock.path && socket->lock.style != LOCK_STYLE_NONE;
}

size_t owned_count_files(const struct service_config *config) {
    size_t n = 0;

    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->owner == SOCKET_OWNER_LATCHD)
            n += has_lock(config->sockets[i]) ? 2 : 1;
    return n;
}

int owned_new(const struct service_config *config, struct owned **ret) {
    struct owned *owned = calloc(1, sizeof *owned);

    if (!owned)
        return -ENOMEM;
    owned->n = config->n_sockets;
    owned->sockets = calloc(owned->n + 1, sizeof *owned->sockets);
    owned->held = calloc(owned->n + 1, sizeof *owned->held);
    for (size_t i = 0; owned->sockets && i < owned->n; i++)
        owned->sockets[i] = (struct owned_socket){.fd = -EBADF, .lock_fd = -EBADF};
    if (!owned->sockets || !owned->held) {
        owned_free(owned);
        return -ENOMEM;
    }
    *ret = owned;
    return 0;
}

struct owned *owned_free(struct owned *owned) {
    if (!owned)
        return NULL;
    for (size_t i = 0; owned->sockets && i < owned->n; i++) {
        owned_unwatch(&owned->sockets[i]);
        fd_close(owned->sockets[i].fd);
        fd_close(owned->sockets[i].lock_fd);
    }
    free(owned->sockets);
    free(owned->held);
    free(owned->told);
    free(owned);
    return NULL;
}

void owned_note(struct owned *owned) {
    for (size_t i = 0; i < owned->n; i++)
        owned->held[i] =
            (struct lock_held){.lock = owned->sockets[i].lock_fd >= 0, .socket = owned->sockets[i].fd >= 0};
}

/* The file first: nobody is to come to a socket on which nobody listens. Its lock last. */
static void close_socket(struct owned_socket *own, const struct socket_config *socket) {
    owned_unwatch(own);
    if (own->fd >= 0 && own->passed)
        fd_close(own->fd);
    else if (own->fd >= 0)
        listener_end(own->fd, socket->listen, &own->place);
    (void) lock_release(own->lock_fd, socket->lock.style);
    *own = (struct owned_socket){.fd = -EBADF, .lock_fd = -EBADF};
}

void owned_close(struct owned *owned, const struct service_config *config) {
    for (size_t i = 0; i < owned->n; i++) {
        struct owned_socket *own = &owned->sockets[i];

        if (!own->passed)
            close_socket(own, config->sockets[i]);
    }
    owned_note(owned);
}

void owned_drop_partial(struct owned *owned, const struct service_config *config) {
    for (size_t i = 0; i < owned->n; i++)
        if (owned->sockets[i].fd < 0)
            owned->sockets[i].lock_fd =
                lock_release(owned->sockets[i].lock_fd, config->sockets[i]->lock.style);
    owned_note(owned);
}

static int make_wish(const struct socket_config *socket, struct listener_wish *ret, struct err *err) {
    *ret = (struct listener_wish){.listen = socket->listen,
                                  .mode = socket->mode,
                                  .backlog = socket->backlog,
                                  .send_buffer_bytes = socket->send_buffer_bytes,
                                  .receive_buffer_bytes = socket->receive_buffer_bytes};
    return credentials_resolve_owner(socket->user, socket->group, &ret->uid, &ret->gid, err);
}

static __attribute__((noinline)) void tell(const struct owned_host *host, const struct socket_config *socket,
                                           enum event_id id, const char *text) {
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_SOCKET", socket->listen);
    if (socket->lock.path)
        event_field_set(&fields, "LATCHD_LOCK", socket->lock.path);
    event_emit(host->log, id, &host->scope, fields.fields, fields.n, "%s", text);
}

static void tell_opened(const struct owned_host *host, const struct socket_config *socket) {
    _cleanup_free_ char *text = NULL;

    if (asprintf(&text, "latchd listens on %s%s%s for the daemon", socket->listen,
                 has_lock(socket) ? " and holds " : "", has_lock(socket) ? socket->lock.path : "") >= 0)
        tell(host, socket, EVENT_SOCKET_OPENED, text);
}

/* Somebody may have removed the file under the lock: then it keeps nobody out. */
static int take_lock(const struct socket_config *socket, struct owned_socket *own, struct err *err) {
    int fd, r;

    if (!has_lock(socket) || (own->lock_fd >= 0 && lock_hold_is_at(own->lock_fd, socket->lock.path)))
        return 0;
    r = fd_make_parents(socket->lock.path);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot make the directory of the lock file %s: %s",
                       socket->lock.path, strerror(-r));
    fd = lock_hold(socket->lock.path, socket->lock.style, err);
    if (fd < 0)
        return fd;
    own->lock_watch = sd_event_source_disable_unref(own->lock_watch);
    fd_close(own->lock_fd);
    own->lock_fd = fd;
    own->stored = own->lock_displaced = false;
    return 1;
}

/* A path that is gone for good (its directory was removed) takes a new socket: the daemon that comes gets
 * that. */
static void renew(const struct owned_host *host, const struct socket_config *socket,
                  struct owned_socket *own) {
    _cleanup_free_ char *text = NULL;

    if (own->fd < 0 || own->passed || listener_look(socket->listen, &own->place) != LISTENER_REMOVED)
        return;
    own->socket_watch = sd_event_source_disable_unref(own->socket_watch);
    own->sight = LISTENER_OURS;
    if (listener_restore(socket->listen, &own->place) == 0) {
        if (asprintf(&text, "%s had been removed, and stands again; no connection was lost",
                     socket->listen) >= 0)
            tell(host, socket, EVENT_SOCKET_RESTORED, text);
        return;
    }
    own->fd = fd_close(own->fd);
    own->place = (struct listener_place){0};
    own->stored = false;
}

/* A daemon shut it down: no daemon could take a connection from it any more. */
static void replace_shut(const struct owned_host *host, const struct socket_config *socket,
                         struct owned_socket *own) {
    _cleanup_free_ char *text = NULL;

    own->socket_watch = sd_event_source_disable_unref(own->socket_watch);
    listener_end(own->fd, socket->listen, &own->place);
    own->fd = -EBADF;
    own->place = (struct listener_place){0};
    own->stored = false;
    if (asprintf(&text,
                 "%s was shut down by the daemon (shutdown(2) on its listener): every client was refused "
                 "since. It is made "
                 "anew",
                 socket->listen) >= 0)
        tell(host, socket, EVENT_SOCKET_LOST, text);
}

/* One that is open has its clients: a lock file that somebody else has taken since does not end that. */
static int open_socket(const struct owned_host *host, const struct socket_config *socket,
                       struct owned_socket *own, struct err *err) {
    struct listener_wish wish;
    int r;

    renew(host, socket, own);
    if (own->fd >= 0 && !own->passed && listener_refresh(own->fd, socket->backlog) == -ESHUTDOWN)
        replace_shut(host, socket, own);
    r = take_lock(socket, own, err);
    if (r < 0 && own->fd >= 0 && own->lock_displaced)
        r = 0;
    if (r < 0)
        return r;
    if (own->fd >= 0)
        return 0;
    r = make_wish(socket, &wish, err);
    if (r < 0)
        return r;
    r = listener_open(&wish, &own->place, err);
    if (r < 0)
        return r;
    own->fd = r;
    return 1;
}

int owned_open(struct owned *owned, const struct owned_host *host, struct err *err) {
    const struct service_config *config = host->config;
    bool any_opened = false;
    size_t i;
    int r = 0;

    for (i = 0; i < owned->n && r >= 0; i++) {
        if (config->sockets[i]->owner != SOCKET_OWNER_LATCHD)
            continue;
        r = open_socket(host, config->sockets[i], &owned->sockets[i], err);
        owned->sockets[i].fresh = r == 1;
        any_opened |= r == 1;
    }
    for (i = 0; r < 0 && i < owned->n; i++) /* those that were open before have their clients */
        if (!owned->held[i].socket)
            close_socket(&owned->sockets[i], config->sockets[i]);
    owned_note(owned);
    for (i = 0; r >= 0 && i < owned->n; i++)
        if (owned->sockets[i].fresh)
            tell_opened(host, config->sockets[i]);
    if (any_opened)
        owned_check(owned, host);
    return r < 0 ? r : 0;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The same place under the same lock. What differs besides is set anew. */
static bool is_same(const struct socket_config *a, const struct socket_config *b) {
    return a->owner == b->owner && same_text(a->listen, b->listen) && same_text(a->lock.path, b->lock.path) &&
           a->lock.style == b->lock.style;
}

static void move_over(struct owned_socket *from, struct owned_socket *to,
                      const struct socket_config *socket) {
    struct listener_wish wish;

    owned_unwatch(from);
    *to = *from;
    *from = (struct owned_socket){.fd = -EBADF, .lock_fd = -EBADF};
    if (to->fd >= 0 && !to->passed && make_wish(socket, &wish, NULL) >= 0)
        (void) listener_adjust(to->fd, &wish, &to->place, NULL);
}

int owned_switch(struct owned **inout, const struct service_config *before,
                 const struct service_config *after) {
    struct owned *old = *inout, *new = NULL;
    int r = owned_wants(after) ? owned_new(after, &new) : 0;

    for (size_t i = 0; new &&old &&i < after->n_sockets; i++)
        for (size_t j = 0; j < before->n_sockets; j++)
            if (is_same(after->sockets[i], before->sockets[j]) && old->sockets[j].fd >= 0)
                move_over(&old->sockets[j], &new->sockets[i], after->sockets[i]);
    for (size_t j = 0; old && j < old->n; j++) /* those that were passed, too: they are nobody's any more */
        close_socket(&old->sockets[j], before->sockets[j]);
    if (new && old) {
        new->event = old->event;
        new->on_change = old->on_change;
        new->userdata = old->userdata;
        owned_note(new);
        owned_watch(new, after);
    }
    owned_free(old);
    *inout = new;
    return r;
}

size_t owned_list(const struct owned *owned, const struct service_config *config, int fds[],
                  const char *names[]) {
    size_t n = 0;

    for (size_t i = 0; i < owned->n; i++)
        if (owned->sockets[i].fd >= 0) {
            fds[n] = owned->sockets[i].fd;
            names[n++] = config->sockets[i]->name;
        }
    return n;
}
