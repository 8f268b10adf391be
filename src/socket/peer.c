/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/peer.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* include/uapi/asm-generic/socket.h, since Linux 6.5 */
#endif

static const char *const peer_answer_names[PEER_ANSWER_MAX] = {
    [PEER_NOT_TRIED] = "not-tried",   [PEER_CONNECTED] = "connected", [PEER_REFUSED] = "refused",
    [PEER_QUEUE_FULL] = "queue-full", [PEER_UNCLEAR] = "unclear",
};
STRTAB_DEFINE(peer_answer, enum peer_answer, peer_answer_names, PEER_ANSWER_INVALID)

static int connect_address(const struct sockaddr_un *address, socklen_t size) {
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *) address, size) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* Through a descriptor of the file itself (O_PATH will do) every path fits into sun_path. */
static int connect_file(int file_fd) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", file_fd);
    return connect_address(&address, sizeof address);
}

static int connect_abstract(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);

    if (length > sizeof address.sun_path - 1)
        return -ENAMETOOLONG;
    memcpy(address.sun_path + 1, name, length);
    return connect_address(&address, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

int peer_connect(int dir_fd, const char *name) {
    _cleanup_close_ int file_fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (file_fd < 0)
        return -errno;
    if (fstat(file_fd, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK; /* connect(2) would say ECONNREFUSED, as if a listener had died */
    return connect_file(file_fd);
}

int peer_connect_path(const char *path) {
    _cleanup_close_ int file_fd = -EBADF;

    if (path[0] != '/')
        return -EINVAL;
    file_fd = open(path, O_PATH | O_CLOEXEC);
    return file_fd < 0 ? -errno : connect_file(file_fd);
}

/* The pid behind a pidfd; its fdinfo says -1 once the process has been reaped (fs/pidfs.c). */
static int read_pidfd_pid(int proc_fd, int pidfd, int *ret) {
    _cleanup_free_ char *text = NULL;
    const char *row;
    char path[64];
    int r;

    snprintf(path, sizeof path, "self/fdinfo/%d", pidfd);
    r = fd_read_file_at(proc_fd, path, 4096, &text, NULL);
    if (r < 0)
        return r;
    row = strstr(text, "\nPid:");
    return row && sscanf(row, "\nPid: %d", ret) == 1 ? 0 : -EBADMSG;
}

static enum process_life life_of_listener(int proc_fd, int fd, pid_t pid) {
    _cleanup_close_ int pidfd = -EBADF;
    socklen_t size = sizeof pidfd;
    struct proc_stat stat;
    int now = 0, r;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
        /* An older kernel, or one that gives no pidfd for the dead. Then only an unused number is proof. */
        pidfd = -EBADF;
        if (pid <= 0)
            return PROCESS_UNKNOWN;
        r = procfs_read_stat(proc_fd, pid, &stat);
        if (r == -ESRCH)
            return process_number_is_free(proc_fd, pid) ? PROCESS_GONE : PROCESS_UNKNOWN;
        if (r >= 0 && process_life_of_stat(&stat) == PROCESS_ZOMBIE)
            return PROCESS_ZOMBIE;
        return PROCESS_UNKNOWN;
    }
    r = read_pidfd_pid(proc_fd, pidfd, &now);
    if (r < 0)
        return PROCESS_UNKNOWN;
    if (now == -1)
        return PROCESS_GONE;
    if (process_pidfd_ended(pidfd))
        return PROCESS_ZOMBIE;
    if (now > 0 && procfs_read_stat(proc_fd, now, &stat) >= 0 && !process_pidfd_ended(pidfd))
        return process_life_of_stat(&stat);
    return process_pidfd_ended(pidfd) ? PROCESS_GONE : PROCESS_ALIVE;
}

/* `connected`: a descriptor, which is closed, or what connect(2) said. */
static int look(int proc_fd, int connected, struct peer_facts *ret) {
    struct peer_facts facts = {.life = PROCESS_UNKNOWN, .uid = (uid_t) -1};
    _cleanup_close_ int fd = connected;

    if (fd >= 0) {
        struct ucred credentials;
        socklen_t size = sizeof credentials;

        facts.answer = PEER_CONNECTED;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
            return -errno;
        facts.pid = credentials.pid;
        facts.uid = credentials.uid;
        facts.life = life_of_listener(proc_fd, fd, facts.pid);
        *ret = facts;
        return 0;
    }
    switch (-fd) {
    case ECONNREFUSED:
        facts.answer = PEER_REFUSED;
        break;
    case EAGAIN:
        facts.answer = PEER_QUEUE_FULL;
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return fd;
    default:
        facts.answer = PEER_UNCLEAR;
    }
    facts.error = -fd;
    *ret = facts;
    return 0;
}

int peer_look(int proc_fd, int dir_fd, const char *name, struct peer_facts *ret) {
    return look(proc_fd, peer_connect(dir_fd, name), ret);
}

int peer_look_abstract(int proc_fd, const char *name, struct peer_facts *ret) {
    return look(proc_fd, connect_abstract(name), ret);
}
