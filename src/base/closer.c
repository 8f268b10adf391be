/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/closer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

/* include/uapi/asm-generic/socket.h since Linux 6.16; two architectures have numbers of their own. */
#ifndef SO_PASSRIGHTS
#if defined(__sparc__) || defined(__hppa__)
#define SO_PASSRIGHTS (-1)
#else
#define SO_PASSRIGHTS 83
#endif
#endif

#define QUEUE_MAX ((size_t) 2048)
#define RESERVE ((size_t) 512) /* of these, for sockets and the like, which are no messages */
#define CROWD ((size_t) 256)
#define THREADS_MAX 8          /* of one closer */
#define THREADS_MAX_OF_ALL 128 /* beyond these each closer has one */
#define STACK_BYTES (64 * 1024)

struct closer {
    pthread_mutex_t mutex; /* guards what follows */
    unsigned n_threads;
    bool left;    /* the owner has gone: the last thread frees this */
    bool crowded; /* what closer_is_crowded() said last; the owner's */
    size_t first, n, size;
    int *fds; /* a ring */
};

static atomic_size_t n_waiting; /* in all rings */
static atomic_uint n_threads_of_all;

/* The threads call close(2) and free(3) and nothing else: the locks of whatever else they called might be held
 * for ever in a child of fork(2) (health/helper.h). */
static void destroy(struct closer *closer) {
    (void) pthread_mutex_destroy(&closer->mutex);
    free(closer->fds);
    free(closer);
}

static void *run(void *argument) {
    struct closer *closer = argument;
    bool last = false;

    (void) pthread_mutex_lock(&closer->mutex);
    while (closer->n > 0) {
        int fd = closer->fds[closer->first];

        closer->first = (closer->first + 1) % closer->size;
        closer->n--;
        (void) pthread_mutex_unlock(&closer->mutex);
        atomic_fetch_sub(&n_waiting, 1);
        (void) close(fd);
        (void) pthread_mutex_lock(&closer->mutex);
    }
    closer->n_threads--;
    last = closer->left && closer->n_threads == 0;
    (void) pthread_mutex_unlock(&closer->mutex);
    if (last)
        destroy(closer);
    atomic_fetch_sub(&n_threads_of_all, 1);
    return NULL;
}

/* No signal is for it: those that we handle are the loop's. */
static int start_thread(struct closer *closer) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int r;

    sigfillset(&all);
    r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    (void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void) pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attributes, run, closer);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void) pthread_attr_destroy(&attributes);
    return -r;
}

static int reserve(struct closer *closer, size_t n) {
    size_t size = closer->size ? closer->size : 8;
    int *fds;

    if (n > QUEUE_MAX - closer->n)
        return -EBUSY;
    if (closer->n + n <= closer->size)
        return 0;
    while (size < closer->n + n)
        size *= 2;
    fds = malloc(size * sizeof *fds);
    if (!fds)
        return -ENOMEM;
    for (size_t i = 0; i < closer->n; i++)
        fds[i] = closer->fds[(closer->first + i) % closer->size];
    free(closer->fds);
    closer->fds = fds;
    closer->first = 0;
    closer->size = size;
    return 0;
}

int closer_close(struct closer **closer, const int fds[], size_t n) {
    struct closer *c = *closer;
    int r;

    if (n == 0)
        return 0;
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return -ENOMEM;
        (void) pthread_mutex_init(&c->mutex, NULL);
        *closer = c;
    }
    (void) pthread_mutex_lock(&c->mutex);
    r = reserve(c, n);
    if (r < 0) {
        (void) pthread_mutex_unlock(&c->mutex);
        return r;
    }
    for (size_t i = 0; i < n; i++)
        c->fds[(c->first + c->n++) % c->size] = fds[i];
    atomic_fetch_add(&n_waiting, n);
    /* One that hangs must not keep the others. It is counted before it is: it may be done before we go on.
     * Without any they wait for the next call. */
    if (c->n_threads == 0 ||
        (c->n_threads < THREADS_MAX && atomic_load(&n_threads_of_all) < THREADS_MAX_OF_ALL)) {
        c->n_threads++;
        atomic_fetch_add(&n_threads_of_all, 1);
        if (start_thread(c) < 0) {
            c->n_threads--;
            atomic_fetch_sub(&n_threads_of_all, 1);
        }
    }
    (void) pthread_mutex_unlock(&c->mutex);
    return 0;
}

static size_t waiting(struct closer *closer) {
    size_t n;

    if (!closer)
        return 0;
    (void) pthread_mutex_lock(&closer->mutex);
    n = closer->n;
    (void) pthread_mutex_unlock(&closer->mutex);
    return n;
}

/* What all closers together may hold: half of what we may open. */
static size_t most_of_all(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 512;
    return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t) limit.rlim_cur / 2;
}

size_t closer_room(struct closer *closer) {
    size_t own = waiting(closer), most = most_of_all(), all = atomic_load(&n_waiting), room;

    room = own < QUEUE_MAX - RESERVE ? QUEUE_MAX - RESERVE - own : 0;
    if (all >= most)
        return 0;
    return room < most - all ? room : most - all;
}

bool closer_is_crowded(struct closer *closer) {
    size_t n = waiting(closer);

    if (!closer)
        return false;
    closer->crowded = n >= (closer->crowded ? CROWD / 4 : CROWD) || closer_room(closer) < CLOSER_FDS_MAX;
    return closer->crowded;
}

struct closer *closer_free(struct closer *closer) {
    bool last;

    if (!closer)
        return NULL;
    (void) pthread_mutex_lock(&closer->mutex);
    closer->left = true;
    last = closer->n_threads == 0;
    (void) pthread_mutex_unlock(&closer->mutex);
    if (last) { /* without a thread there is none for what is left, and nothing that hung */
        for (size_t i = 0; i < closer->n; i++)
            (void) close(closer->fds[(closer->first + i) % closer->size]);
        atomic_fetch_sub(&n_waiting, closer->n);
        destroy(closer);
    }
    return NULL;
}

int closer_pass_rights(int fd, bool pass) {
    int value = pass;

    return setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof value) < 0 ? -errno : 0;
}

/* Whether the next that recv(2) reads brings descriptors. To look takes none: without room for them the
 * kernel says MSG_CTRUNC (net/core/scm.c, scm_detach_fds()), and what it drops then are copies. */
static bool next_brings_fds(int fd) {
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    return recvmsg(fd, &header, MSG_PEEK | MSG_DONTWAIT) > 0 && (header.msg_flags & MSG_CTRUNC);
}

ssize_t closer_receive(struct closer **closer, int fd, void *to, size_t size) {
    union {
        struct cmsghdr header;
        char buffer[CMSG_SPACE(CLOSER_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = to, .iov_len = size};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got;

    if (closer_is_crowded(*closer) && next_brings_fds(fd)) {
        errno = EBUSY;
        return -1;
    }
    got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return got;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        int fds[CLOSER_FDS_MAX];
        size_t bytes = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || bytes > sizeof fds)
            continue;
        memcpy(fds, CMSG_DATA(c), bytes);
        (void) closer_close(closer, fds, bytes / sizeof(int));
    }
    return got;
}

int closer_close_socket(struct closer **closer, int fd) {
    int unread = 0;

    if (fd < 0)
        return -EBADF;
    (void) shutdown(fd, SHUT_RDWR); /* nothing more comes behind the look */
    if (ioctl(fd, SIOCINQ, &unread) < 0 || unread == 0 || closer_close(closer, &fd, 1) < 0)
        return fd_close(fd);
    return -EBADF;
}
