/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/socket.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/closer.h"
#include "base/fd.h"

/* asm-generic/socket.h and linux/socket.h since Linux 6.5; Debian 12's headers are older. */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

static int make_names(int dir_fd, const char *service, struct notify_socket *socket) {
    char link[64], dir[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
    n = readlink(link, dir, sizeof dir - 1);
    if (n < 0)
        return -errno;
    dir[n] = '\0';
    if (asprintf(&socket->name, "%s.notify", service) < 0) {
        socket->name = NULL;
        return -ENOMEM;
    }
    if (asprintf(&socket->address, "%s/%s", dir, socket->name) < 0) {
        socket->address = NULL;
        return -ENOMEM;
    }
    return strlen(socket->address) < sizeof((struct sockaddr_un *) 0)->sun_path ? 0 : -ENAMETOOLONG;
}

/* Under a name of its own first, always the same for one service: a latchd that was killed right here left it
 * to its successor, who has the service's lock. */
static int publish(struct notify_socket *socket) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char temporary[32];
    uint32_t hash = 2166136261U; /* FNV-1a: the name is to be short, as sockaddr_un wants it */
    struct stat st;
    int r = 0;

    for (const char *p = socket->name; *p; p++)
        hash = (hash ^ (unsigned char) *p) * 16777619U;
    snprintf(temporary, sizeof temporary, ".%08x.notify", (unsigned) hash);
    (void) unlinkat(socket->dir_fd, temporary, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", socket->dir_fd, temporary);
    if (bind(socket->fd, (struct sockaddr *) &address, sizeof address) < 0)
        return -errno;
    if (fchmodat(socket->dir_fd, temporary, 0600, 0) < 0 ||
        fstatat(socket->dir_fd, temporary, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        renameat(socket->dir_fd, temporary, socket->dir_fd, socket->name) < 0) {
        r = -errno;
        (void) unlinkat(socket->dir_fd, temporary, 0);
        return r;
    }
    socket->device = st.st_dev;
    socket->inode = st.st_ino;
    return 0;
}

int notify_socket_open(int dir_fd, const char *service, struct notify_socket *ret, struct err *err) {
    struct notify_socket made = NOTIFY_SOCKET_INIT;
    int on = 1, r;

    made.dir_fd = dir_fd;
    r = make_names(dir_fd, service, &made);
    if (r >= 0) {
        made.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = made.fd < 0 ? -errno : 0;
    }
    if (r >= 0 && setsockopt(made.fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        r = -errno;
    if (r >= 0) {
        (void) setsockopt(made.fd, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof on); /* not from this kernel */
        r = publish(&made);
    }
    if (r < 0) {
        r = err_set(err, -r, "Failed", "cannot bind the notification socket %s: %s%s",
                    made.address ? made.address : service, strerror(-r),
                    r == -ENAMETOOLONG ? " (107 characters at most: choose a shorter --runtime-dir)" : "");
        fd_close(made.fd);
        free(made.name);
        free(made.address);
        return r;
    }
    *ret = made;
    return 0;
}

int notify_socket_adopt(int fd, int dir_fd, const char *service, struct notify_socket *ret) {
    struct notify_socket taken = NOTIFY_SOCKET_INIT;
    struct stat st;
    int r;

    taken.fd = fd;
    taken.dir_fd = dir_fd;
    r = make_names(dir_fd, service, &taken);
    if (r >= 0 && (fstatat(dir_fd, taken.name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode)))
        r = -ENOENT;
    if (r < 0) {
        free(taken.name);
        free(taken.address);
        return r;
    }
    taken.device = st.st_dev;
    taken.inode = st.st_ino;
    *ret = taken;
    return 0;
}

int notify_socket_grant(const struct notify_socket *socket, uid_t uid) {
    if (uid == (uid_t) -1)
        return fchmodat(socket->dir_fd, socket->name, 0666, 0) < 0 ? -errno : 0;
    if (fchmodat(socket->dir_fd, socket->name, 0600, 0) < 0)
        return -errno;
    return fchownat(socket->dir_fd, socket->name, uid, (gid_t) -1, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* The open socket keeps its inode from being used again: equal numbers are the same file. Between the look
 * and the removal only we ourselves, who own the directory, could put another one there. */
void notify_socket_close(struct notify_socket *socket, struct closer **closer) {
    struct stat st;

    if (socket->fd >= 0 && fstatat(socket->dir_fd, socket->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == socket->device && st.st_ino == socket->inode)
        (void) unlinkat(socket->dir_fd, socket->name, 0);
    if (socket->fd >= 0 && closer_close(closer, &socket->fd, 1) < 0)
        fd_close(socket->fd);
    free(socket->name);
    free(socket->address);
    *socket = NOTIFY_SOCKET_INIT;
}

static void take_control(struct msghdr *header, struct notify_datagram *datagram) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        size_t size = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS && size == sizeof(struct ucred)) {
            struct ucred credentials;

            memcpy(&credentials, CMSG_DATA(c), sizeof credentials);
            datagram->pid = credentials.pid;
            datagram->uid = credentials.uid;
        } else if (c->cmsg_type == SCM_PIDFD && size == sizeof(int))
            memcpy(&datagram->pidfd, CMSG_DATA(c), sizeof(int));
        else if (c->cmsg_type == SCM_RIGHTS && size <= sizeof datagram->fds) {
            memcpy(datagram->fds, CMSG_DATA(c), size);
            datagram->n_fds = size / sizeof(int);
        }
    }
}

int notify_socket_receive(const struct notify_socket *socket, struct notify_datagram *ret) {
    union {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)) +
                    CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = ret->data, .iov_len = sizeof ret->data};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;

    do
        n = recvmsg(socket->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    ret->size = (size_t) n;
    ret->is_cut = (header.msg_flags & MSG_TRUNC) != 0;
    ret->fds_lost = (header.msg_flags & MSG_CTRUNC) != 0;
    ret->pid = 0;
    ret->uid = (uid_t) -1;
    ret->pidfd = -EBADF;
    ret->n_fds = 0;
    take_control(&header, ret);
    if (ret->pidfd < 0) /* the kernel's -errno: there was no room for one more descriptor */
        ret->pidfd = -EBADF;
    return 0;
}
