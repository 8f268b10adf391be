/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/sock-diag.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/macro.h"
#include "socket/mnl.h"

/* Linux fills dumps of up to 32 KiB when the reader offers that much (netlink(7)). */
#define DUMP_BUFFER_BYTES (32 * 1024)

/* A dump that lost something is begun anew, so many times. */
#define DUMP_TRIES 5

/* What is cut off at the end is left out. */
const struct nlattr *sock_diag_next(const char **bytes, size_t *left) {
    const struct nlattr *attribute = (const void *) *bytes;
    size_t step;

    if (*left < sizeof *attribute || attribute->nla_len < sizeof *attribute || attribute->nla_len > *left)
        return NULL;
    step = NLA_ALIGN((size_t) attribute->nla_len);
    if (step > *left)
        step = *left;
    *bytes += step;
    *left -= step;
    return attribute;
}

/* A netlink error is a negative errno; whatever else stands there must not look like success. */
static int error_of(const char *payload, size_t size) {
    int error;

    if (size < sizeof error)
        return -EBADMSG;
    memcpy(&error, payload, sizeof error);
    return error < 0 && error >= -4095 ? error : -EBADMSG; /* MAX_ERRNO, include/linux/err.h */
}

/* 1: go on. */
static int read_message(const struct nlmsghdr *header, const struct sock_diag_sink *sink) {
    const char *payload = (const char *) header + NLMSG_HDRLEN;
    size_t size = header->nlmsg_len - NLMSG_HDRLEN;
    int r;

    if (header->nlmsg_flags & NLM_F_DUMP_INTR)
        return -EINTR;
    switch (header->nlmsg_type) {
    case NLMSG_NOOP:
        return 1;
    case NLMSG_ERROR:
        return error_of(payload, size);
    case NLMSG_OVERRUN:
        return -ENOBUFS;
    case NLMSG_DONE:
        /* It carries what ended the dump, 0 when nothing was amiss (net/netlink/af_netlink.c). */
        if (size >= sizeof(int) && memcmp(payload, &(int){0}, sizeof(int)) != 0)
            return error_of(payload, size);
        return 0;
    case SOCK_DIAG_BY_FAMILY:
        r = sink->take(payload, size, sink->userdata);
        return r < 0 ? r : 1;
    default:
        return -EBADMSG;
    }
}

/* The lengths are compared here: mnl_nlmsg_ok() takes one of 2 GiB and more for a small one. */
int sock_diag_parse(const void *buffer, size_t size, const struct sock_diag_sink *sink) {
    const char *bytes = buffer;

    while (size > 0) {
        const struct nlmsghdr *header = (const void *) bytes;
        size_t step;
        int r;

        if (size < NLMSG_HDRLEN || header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > size)
            return -EBADMSG;
        r = read_message(header, sink);
        if (r <= 0)
            return r;
        step = NLMSG_ALIGN((size_t) header->nlmsg_len);
        bytes += step < size ? step : size;
        size -= step < size ? step : size;
    }
    return 1;
}

static void mnl_socket_closep(struct mnl_socket **netlink) {
    if (*netlink)
        (void) mnl.socket_close(*netlink);
}

/* One message from the kernel: whoever else writes to our port is not heard. */
static ssize_t receive(int fd, void *buffer) {
    for (;;) {
        struct sockaddr_nl sender = {0};
        socklen_t size = sizeof sender;
        ssize_t n = recvfrom(fd, buffer, DUMP_BUFFER_BYTES, MSG_TRUNC, (struct sockaddr *) &sender, &size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (sender.nl_pid == 0)
            return n <= DUMP_BUFFER_BYTES ? n : -EMSGSIZE;
    }
}

static int dump_once(const struct nlmsghdr *const queries[], size_t n_queries, void *buffer,
                     const struct sock_diag_sink *sink) {
    _cleanup_(mnl_socket_closep) struct mnl_socket *netlink = NULL;
    int r;

    netlink = mnl.socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    if (!netlink || mnl.socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    for (size_t i = 0; i < n_queries; i++) {
        if (mnl.socket_sendto(netlink, queries[i], queries[i]->nlmsg_len) < 0)
            return -errno;
        do {
            ssize_t n = receive(mnl.socket_get_fd(netlink), buffer);

            if (n < 0)
                return (int) n;
            r = sock_diag_parse(buffer, (size_t) n, sink);
        } while (r > 0);
        if (r < 0)
            return r;
    }
    return 0;
}

int sock_diag_dump(const struct nlmsghdr *const queries[], size_t n, const struct sock_diag_sink *sink) {
    _cleanup_free_ char *buffer = malloc(DUMP_BUFFER_BYTES);
    int r = mnl_load();

    if (r < 0)
        return r;
    r = -ENOMEM;
    for (int i = 0; buffer && i < DUMP_TRIES; i++) {
        sink->forget(sink->userdata);
        r = dump_once(queries, n, buffer, sink);
        if (r != -EINTR && r != -ENOBUFS)
            break;
    }
    return r;
}
