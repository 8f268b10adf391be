/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/closer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define QUEUE_MAX ((size_t) 1024)
#define THREADS_MAX 8
#define STACK_BYTES (64 * 1024)

struct notify_closer {
    pthread_mutex_t mutex; /* guards what follows */
    unsigned n_threads;
    bool left; /* the owner has gone: the last thread frees this */
    size_t first, n;
    int fds[QUEUE_MAX]; /* a ring */
};

static void *run(void *argument) {
    struct notify_closer *closer = argument;
    bool last = false;

    (void) pthread_mutex_lock(&closer->mutex);
    while (closer->n > 0) {
        int fd = closer->fds[closer->first];

        closer->first = (closer->first + 1) % QUEUE_MAX;
        closer->n--;
        (void) pthread_mutex_unlock(&closer->mutex);
        (void) close(fd);
        (void) pthread_mutex_lock(&closer->mutex);
    }
    closer->n_threads--;
    last = closer->left && closer->n_threads == 0;
    (void) pthread_mutex_unlock(&closer->mutex);
    if (last)
        free(closer);
    return NULL;
}

/* No signal is for it: those that we handle are the loop's. */
static int start_thread(struct notify_closer *closer) {
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

int notify_closer_close(struct notify_closer **closer, const int fds[], size_t n) {
    struct notify_closer *c = *closer;
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
    if (n > QUEUE_MAX - c->n) {
        (void) pthread_mutex_unlock(&c->mutex);
        return -EBUSY;
    }
    for (size_t i = 0; i < n; i++)
        c->fds[(c->first + c->n++) % QUEUE_MAX] = fds[i];
    /* One that hangs must not keep the others. It is counted before it is: it may be done before we go on.
     * Without any they wait for the next call. */
    if (c->n_threads < THREADS_MAX) {
        c->n_threads++;
        if (start_thread(c) < 0)
            c->n_threads--;
    }
    (void) pthread_mutex_unlock(&c->mutex);
    return 0;
}

size_t notify_closer_room(struct notify_closer *closer) {
    size_t room;

    if (!closer)
        return QUEUE_MAX;
    (void) pthread_mutex_lock(&closer->mutex);
    room = QUEUE_MAX - closer->n;
    (void) pthread_mutex_unlock(&closer->mutex);
    return room;
}

struct notify_closer *notify_closer_free(struct notify_closer *closer) {
    bool last;

    if (!closer)
        return NULL;
    (void) pthread_mutex_lock(&closer->mutex);
    closer->left = true;
    last = closer->n_threads == 0;
    (void) pthread_mutex_unlock(&closer->mutex);
    if (last)
        free(closer);
    return NULL;
}
