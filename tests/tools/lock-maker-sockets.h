/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps of lock-maker that are about sockets, and about what is sent through them. */

#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lock-maker.h"

static int type_of(const char *name) {
    return *name == 'd' ? SOCK_DGRAM : strcmp(name, "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
}

static void bind_socket(struct maker *maker, char *path, bool abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);

    maker->path = path;
    maker->socket = socket(AF_UNIX, maker->type, 0);
    must(maker->socket >= 0 && length < sizeof address.sun_path - 1, "socket");
    memcpy(address.sun_path + abstract, path, length);
    must(bind(maker->socket, (const struct sockaddr *) &address,
              (socklen_t) (offsetof(struct sockaddr_un, sun_path) + abstract + length)) == 0,
         path);
}

static void send_file(struct maker *maker) {
    char byte = 'f';
    struct iovec iov = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &maker->file, sizeof(int));
    must(sendmsg(maker->pair[0], &message, 0) == 1, "send");
}

/* Its receiving end is in flight then, and nowhere else. */
static void send_pair(struct maker *maker) {
    int inner = maker->pair[1], file = maker->file;

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, maker->pair) == 0, "socketpair");
    maker->file = inner;
    send_file(maker);
    maker->file = file;
    must(close(inner) == 0, "close");
}

static void make_pair(struct maker *maker, const char *type) {
    must(socketpair(AF_UNIX, type_of(type), 0, maker->pair) == 0, "socketpair");
}

static void send_text(struct maker *maker, int n) {
    char bytes[65536] = "";

    must(n > 0 && n <= (int) sizeof bytes && send(maker->pair[0], bytes, (size_t) n, 0) == n, "text");
}

static void receive_file(struct maker *maker) {
    char byte;
    struct iovec iov = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};

    must(recvmsg(maker->pair[1], &message, 0) == 1, "receive");
    memcpy(&maker->file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
}

static int connect_client(const struct maker *maker) {
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int fd = socket(AF_UNIX, maker->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    must(fd >= 0 && getsockname(maker->socket, (struct sockaddr *) &address, &size) == 0, "getsockname");
    must(connect(fd, (const struct sockaddr *) &address, size) == 0, "connect");
    return fd;
}

static bool do_socket_step(struct maker *maker, const char *step, char *value) {
    if (strcmp(step, "socket") == 0)
        bind_socket(maker, value, false);
    else if (strcmp(step, "abstract") == 0)
        bind_socket(maker, value, true);
    else if (strcmp(step, "type") == 0)
        maker->type = type_of(value);
    else if (strcmp(step, "listen") == 0)
        must(listen(maker->socket, atoi(value)) == 0, step);
    else if (strcmp(step, "fill") == 0)
        for (int n = atoi(value); n > 0; n--)
            (void) connect_client(maker);
    else if (strcmp(step, "accept") == 0)
        must(connect_client(maker) >= 0 && accept(maker->socket, NULL, NULL) >= 0, step);
    else if (strcmp(step, "close-socket") == 0)
        must(close(maker->socket) == 0, step);
    else
        return false;
    return true;
}

static bool do_pair_step(struct maker *maker, const char *step, const char *value) {
    if (strcmp(step, "pair") == 0)
        make_pair(maker, value);
    else if (strcmp(step, "connect") == 0)
        maker->pair[0] = connect_client(maker);
    else if (strcmp(step, "text") == 0)
        send_text(maker, atoi(value));
    else if (strcmp(step, "send") == 0)
        send_file(maker);
    else if (strcmp(step, "receive") == 0)
        receive_file(maker);
    else if (strcmp(step, "send-pair") == 0)
        send_pair(maker);
    else
        return false;
    return true;
}
