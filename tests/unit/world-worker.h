/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Processes that do what they are told: open, lock, fork, pass descriptors on, die. Each hears its orders on
 * a channel of its own and answers each of them once it is done. Their creator is the subreaper of all of
 * them; when it dies they end, for then the channel ends too; one that is stopped is killed by
 * PR_SET_PDEATHSIG. */

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"

/* Numbers of descriptors in every worker. */
#define WORKER_BOX_FD 120 /* and the next: both ends of the family's letter box */
#define WORKER_LISTENER_FD 130
#define WORKER_CHANNEL_FD 200
#define WORKER_CHANNELS 12
#define WORKER_SLOTS 4
#define WORKER_BACKLOG 64

enum worker_verb {
    WORKER_OPEN,  /* path, created if need be */
    WORKER_FLOCK, /* slot, LOCK_SH, LOCK_EX or LOCK_UN */
    WORKER_POSIX, /* slot, F_RDLCK, F_WRLCK or F_UNLCK */
    WORKER_OFD,
    WORKER_CLOSE,  /* slot */
    WORKER_DUP,    /* slot, to another */
    WORKER_WRITE,  /* slot: its PID into the file */
    WORKER_FORK,   /* the child listens to channel `argument`; answers its pid */
    WORKER_SETSID, /* answers once it leads a session */
    WORKER_SETPGID,
    WORKER_POST, /* slot: into the letter box */
    WORKER_TAKE, /* from the letter box into slot */
    WORKER_GIVE, /* slot: along with the answer */
    WORKER_GET,  /* what came with the order, into slot */
    WORKER_LISTEN,
    WORKER_UNLISTEN,
    WORKER_ACCEPT, /* who knocked, and closes at once */
    WORKER_ARM,    /* die with the parent */
    WORKER_EXIT,
};

struct worker_order {
    enum worker_verb verb;
    int slot, argument;
    char path[108];
};

/* A worker's own mind; its children begin with a copy. */
struct worker {
    int channel;
    int slots[WORKER_SLOTS]; /* descriptors, kept under the numbers they came with: to move one is to close
                                it, and that loses the POSIX locks on the file (fcntl(2)) */
};

struct worker_answer {
    int result; /* 0, a number, or -errno */
    dev_t device;
    ino_t inode;
};

/* One message, with a descriptor or -1. */
static int worker_send(int fd, const void *data, size_t size, int passed) {
    struct iovec iov = {.iov_base = (void *) (uintptr_t) data, .iov_len = size};
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (passed >= 0) {
        struct cmsghdr *header;

        message.msg_control = control.buffer;
        message.msg_controllen = sizeof control.buffer;
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t) size ? 0 : -errno;
}

/* *ret_passed: what came along, or -1. Returns the bytes read, 0 at the end, or -errno. */
static int worker_receive(int fd, void *data, size_t size, int flags, int *ret_passed) {
    struct iovec iov = {.iov_base = data, .iov_len = size};
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buffer, .msg_controllen = sizeof control};
    struct cmsghdr *header;
    ssize_t n;

    *ret_passed = -1;
    do
        n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(ret_passed, CMSG_DATA(header), sizeof *ret_passed);
    return (int) n;
}

static int worker_move(int fd, int number) {
    if (fd < 0 || fd == number)
        return fd;
    if (dup3(fd, number, O_CLOEXEC) < 0)
        return -errno;
    close(fd);
    return number;
}

static int worker_open(struct worker *worker, const struct worker_order *order,
                       struct worker_answer *answer) {
    struct stat st;
    int fd = open(order->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    answer->device = st.st_dev;
    answer->inode = st.st_ino;
    worker->slots[order->slot] = fd;
    return 0;
}

static int worker_fcntl_lock(int fd, int verb, int type) {
    struct flock whole = {.l_type = (short) type, .l_whence = SEEK_SET};

    return fcntl(fd, verb == WORKER_OFD ? F_OFD_SETLK : F_SETLK, &whole) < 0 ? -errno : 0;
}

static int worker_write(int fd) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d\n", (int) getpid());

    return ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t) n, 0) != n ? -errno : 0;
}

static int worker_listen(const struct worker_order *order, struct worker_answer *answer) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;

    memcpy(address.sun_path, order->path, sizeof address.sun_path);
    if (bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 || listen(fd, WORKER_BACKLOG) < 0 ||
        stat(order->path, &st) < 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    answer->device = st.st_dev;
    answer->inode = st.st_ino;
    return worker_move(fd, WORKER_LISTENER_FD) < 0 ? -errno : 0;
}

static _Noreturn void worker_serve(struct worker *worker);

/* The child never comes back from here. */
static int worker_fork(struct worker *worker, int channel) {
    pid_t pid = fork();

    if (pid == 0) {
        worker->channel = channel;
        worker_serve(worker);
    }
    return pid < 0 ? -errno : pid;
}

static int worker_obey(struct worker *worker, const struct worker_order *order, int passed,
                       struct worker_answer *answer, int *ret_given) {
    int *slot = &worker->slots[order->slot], slot_fd = *slot, fd, r;
    char byte;

    switch (order->verb) {
    case WORKER_OPEN:
        return worker_open(worker, order, answer);
    case WORKER_FLOCK:
        return flock(slot_fd, order->argument | LOCK_NB) < 0 ? -errno : 0;
    case WORKER_POSIX:
    case WORKER_OFD:
        return worker_fcntl_lock(slot_fd, (int) order->verb, order->argument);
    case WORKER_CLOSE:
        return close(slot_fd) < 0 ? -errno : 0;
    case WORKER_DUP:
        worker->slots[order->argument] = fcntl(slot_fd, F_DUPFD_CLOEXEC, 0);
        return worker->slots[order->argument] < 0 ? -errno : 0;
    case WORKER_WRITE:
        return worker_write(slot_fd);
    case WORKER_FORK:
        return worker_fork(worker, order->argument);
    case WORKER_SETSID:
        return setsid() < 0 ? -errno : 0;
    case WORKER_SETPGID:
        return setpgid(0, 0) < 0 ? -errno : 0;
    case WORKER_POST:
        return worker_send(WORKER_BOX_FD, "x", 1, slot_fd);
    case WORKER_TAKE:
        r = worker_receive(WORKER_BOX_FD + 1, &byte, 1, MSG_DONTWAIT, &fd);
        *slot = fd;
        return r < 0 ? r : fd < 0 ? -EBADF : 0;
    case WORKER_GIVE:
        *ret_given = slot_fd;
        return 0;
    case WORKER_GET:
        *slot = passed;
        return passed < 0 ? -EBADF : 0;
    case WORKER_LISTEN:
        return worker_listen(order, answer);
    case WORKER_UNLISTEN:
        return close(WORKER_LISTENER_FD) < 0 ? -errno : 0;
    case WORKER_ACCEPT:
        while ((fd = accept4(WORKER_LISTENER_FD, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            close(fd);
        return 0;
    case WORKER_ARM:
        return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
    case WORKER_EXIT:
        _exit(0);
    }
    return -EINVAL;
}

static _Noreturn void worker_serve(struct worker *worker) {
    for (;;) {
        struct worker_order order;
        struct worker_answer answer = {0};
        int passed, given = -1;

        if (worker_receive(WORKER_CHANNEL_FD + worker->channel, &order, sizeof order, 0, &passed) <= 0)
            _exit(0);
        answer.result = worker_obey(worker, &order, passed, &answer, &given);
        if (worker_send(WORKER_CHANNEL_FD + worker->channel, &answer, sizeof answer, given) < 0)
            _exit(1);
    }
}

/* The first of a family: keeps nothing of its creator but the channels, and has a letter box. */
static _Noreturn void worker_begin(int channel) {
    struct worker worker = {.channel = channel};
    int box[2];

    signal(SIGCHLD, SIG_IGN); /* its children leave no zombies */
    signal(SIGHUP,
           SIG_IGN); /* for a group that loses its last link to its session while one of it is stopped */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (syscall(SYS_close_range, 3, WORKER_CHANNEL_FD - 1, 0) < 0 ||
        syscall(SYS_close_range, WORKER_CHANNEL_FD + WORKER_CHANNELS, ~0U, 0) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, box) < 0 ||
        worker_move(box[0], WORKER_BOX_FD) < 0 || worker_move(box[1], WORKER_BOX_FD + 1) < 0)
        _exit(1);
    worker_serve(&worker);
}

/* A child of ours; `wish` is the number it should get, 0: any. Returns its pid or -errno: -EEXIST the number
 * is in use, -EPERM we may not choose (clone3(2)). */
static pid_t worker_spawn(int channel, pid_t wish) {
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t) (uintptr_t) &wish, .set_tid_size = wish > 0 ? 1 : 0};
    pid_t pid = wish > 0 ? (pid_t) syscall(SYS_clone3, &args, sizeof args) : fork();

    if (pid == 0)
        worker_begin(channel);
    return pid < 0 ? -errno : pid;
}
