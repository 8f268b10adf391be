/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors whose last close(2) lets one wait. */

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that nobody takes, and SO_LINGER: the last close(2) of such a socket waits. */
static inline int make_lingering(int *ret_peer) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    struct linger linger = {.l_onoff = 1, .l_linger = 5};
    static char bytes[65536];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&address, 0, sizeof address);
    address.ss_family = AF_INET;
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, 16), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &length), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &address, length), 0);
    *ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    return fd;
}

/* Sends text and the descriptors over a connected unix socket, and keeps none of them. 0 or errno. */
static inline int send_away(int fd, char *text, size_t size, const int fds[], size_t n) {
    union {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(253 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = text, .iov_len = size};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    int r;

    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int))};
    memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
    r = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? errno : 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        close(fds[i]);
    return r;
}
