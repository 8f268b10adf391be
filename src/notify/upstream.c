/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"

/* Two stores' worth and what else there is. */
#define WAITING_MAX 2048

struct waiting {
    struct waiting *next;
    int fd;
    char text[];
};

struct notify_upstream {
    sd_event *event; /* borrowed */
    int fd;          /* connected: poll(2) tells then when the other end's queue has room */
    struct sockaddr_un address;
    socklen_t address_size;
    sd_event_source *source; /* while something waits */
    struct waiting *first, *last;
    size_t n;
};

static int connect_to(struct notify_upstream *upstream) {
    fd_close(upstream->fd);
    upstream->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (upstream->fd < 0)
        return -errno;
    return connect(upstream->fd, (struct sockaddr *) &upstream->address, upstream->address_size) < 0 ? -errno
                                                                                                     : 0;
}

int notify_upstream_new(sd_event *event, const char *address, struct notify_upstream **ret) {
    struct notify_upstream *upstream;
    size_t n = address ? strlen(address) : 0;

    *ret = NULL;
    if (n == 0)
        return 0;
    if ((*address != '/' && *address != '@') || n < 2 || n >= sizeof upstream->address.sun_path)
        return -EINVAL;
    upstream = calloc(1, sizeof *upstream);
    if (!upstream)
        return -ENOMEM;
    upstream->event = event;
    upstream->fd = -EBADF;
    upstream->address.sun_family = AF_UNIX;
    memcpy(upstream->address.sun_path, address, n);
    if (*address == '@')
        upstream->address.sun_path[0] = '\0';
    upstream->address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n + (*address == '/'));
    (void) connect_to(upstream); /* else with the first message */
    *ret = upstream;
    return 0;
}

static void drop_first(struct notify_upstream *upstream) {
    struct waiting *first = upstream->first;

    upstream->first = first->next;
    if (!upstream->first)
        upstream->last = NULL;
    upstream->n--;
    fd_close(first->fd); /* a copy: not the last one */
    free(first);
}

struct notify_upstream *notify_upstream_free(struct notify_upstream *upstream) {
    if (!upstream)
        return NULL;
    while (upstream->first)
        drop_first(upstream);
    sd_event_source_disable_unref(upstream->source);
    fd_close(upstream->fd);
    free(upstream);
    return NULL;
}

static int send_once(struct notify_upstream *upstream, const char *text, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = (void *) (uintptr_t) text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        struct cmsghdr *c = (struct cmsghdr *) control;

        header.msg_control = control;
        header.msg_controllen = sizeof control;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do
        n = sendmsg(upstream->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* -EAGAIN: it has to wait. Else it is done with: what nobody takes is lost, as with sd_notify(3). */
static int send_now(struct notify_upstream *upstream, const char *text, int fd) {
    int r = send_once(upstream, text, fd);

    if (r == -ECONNREFUSED || r == -ENOTCONN || r == -EPIPE || r == -ECONNRESET || r == -EBADF) {
        r = connect_to(upstream);
        if (r >= 0)
            r = send_once(upstream, text, fd);
    }
    return r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS ? -EAGAIN : 0;
}

static int on_room(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct notify_upstream *upstream = userdata;

    (void) source;
    (void) fd;
    (void) events;
    for (int i = 0; upstream->first && i < 64; i++) {
        if (send_now(upstream, upstream->first->text, upstream->first->fd) == -EAGAIN)
            return 0;
        drop_first(upstream);
    }
    if (!upstream->first)
        upstream->source = sd_event_source_disable_unref(upstream->source);
    return 0;
}

int notify_upstream_send(struct notify_upstream *upstream, const char *text, int fd) {
    struct waiting *waiting;
    size_t size = strlen(text) + 1;

    if (!upstream || (!upstream->first && send_now(upstream, text, fd) >= 0))
        return 0;
    if (upstream->last && strncmp(text, "STATUS=", 7) == 0 &&
        strncmp(upstream->last->text, "STATUS=", 7) == 0 && strlen(upstream->last->text) + 1 >= size) {
        memcpy(upstream->last->text, text, size);
        return 0;
    }
    if (upstream->n >= WAITING_MAX)
        return -ENOBUFS;
    waiting = malloc(sizeof *waiting + size);
    if (!waiting)
        return -ENOMEM;
    waiting->next = NULL;
    waiting->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -EBADF;
    if (fd >= 0 && waiting->fd < 0) {
        free(waiting);
        return -errno;
    }
    memcpy(waiting->text, text, size);
    if (upstream->last)
        upstream->last->next = waiting;
    else
        upstream->first = waiting;
    upstream->last = waiting;
    upstream->n++;
    if (upstream->source)
        return 0;
    return sd_event_add_io(upstream->event, &upstream->source, upstream->fd, EPOLLOUT, on_room, upstream);
}
