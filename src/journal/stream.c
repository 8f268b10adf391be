/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/value.h"
#include "journal/address.h"

#define JOURNAL_STDOUT "/run/systemd/journal/stdout"

/* The head a client of the stdout socket sends: identifier, unit (journald finds it by itself), priority,
 * whether "<N>" sets a line's priority, and whether to forward to syslog, kmsg and console. */
int stream_open_at(const char *socket_path, const char *identifier, int priority) {
    _cleanup_free_ char *name = strdup(identifier), *head = NULL;
    _cleanup_close_ int fd = -EBADF;
    const int send_buffer_bytes =
        8 << 20; /* as systemd has it: a pause of journald does not stop the daemon */
    struct sockaddr_un address;
    socklen_t address_size;
    ssize_t n;
    int r;

    if (!name)
        return -ENOMEM;
    value_make_printable(name);
    if (asprintf(&head, "%s\n\n%d\n1\n0\n0\n0\n", name, priority) < 0) {
        head = NULL;
        return -ENOMEM;
    }
    r = journal_address(socket_path, &address, &address_size);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *) &address, address_size) < 0)
        return -errno;
    (void) shutdown(fd, SHUT_RD);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_buffer_bytes, sizeof send_buffer_bytes) < 0)
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes, sizeof send_buffer_bytes);
    n = send(fd, head, strlen(head), MSG_NOSIGNAL);
    if (n < 0)
        return -errno;
    if ((size_t) n != strlen(head))
        return -EAGAIN;
    r = fd_set_nonblock(fd, false);
    return r < 0 ? r : TAKE_FD(fd);
}

int stream_open(const char *identifier, int priority) {
    return stream_open_at(JOURNAL_STDOUT, identifier, priority);
}
