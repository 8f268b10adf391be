/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One datagram to a unix socket, with descriptors: what sd_notify(3) comes down to. */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_FDS_MAX 64

/* -errno. A socket of its own each time: who waits for room does so in sendmsg(2). */
static inline int send_datagram(const char *path, const void *data, size_t size, const int *fds,
                                size_t n_fds) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *) (unsigned long) data, .iov_len = size};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &iov, .msg_iovlen = 1};
    int fd, r;

    if (strlen(path) >= sizeof address.sun_path || n_fds > SEND_FDS_MAX)
        return -EINVAL;
    strcpy(address.sun_path, path);
    if (n_fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    r = sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
    close(fd);
    return r;
}
