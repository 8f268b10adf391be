/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/dial.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/value.h"
#include "socket/peer.h"

#define BACKOFF_MIN_USEC (1 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (50 * USEC_PER_MSEC)
#define ADDRESSES_MAX 8

/* Half of the interval and up to as much again: many that were refused at once do not come back at once. */
static uint64_t scatter(uint64_t usec) {
    return usec / 2 + now_usec(CLOCK_MONOTONIC) % (usec / 2 + 1);
}

static int dial_unix(const char *listen, uint64_t deadline_usec, unsigned *tries) {
    uint64_t backoff = BACKOFF_MIN_USEC;

    for (;;) {
        int fd = *listen == '@' ? peer_connect_abstract(listen + 1) : peer_connect_path(listen);
        uint64_t left, pause;

        ++*tries;
        if (fd >= 0 || (fd != -EAGAIN && fd != -EINTR))
            return fd;
        left = deadline_left(deadline_usec);
        if (left == 0)
            return fd;
        pause = scatter(backoff);
        deadline_sleep(left < pause ? left : pause);
        backoff = backoff * 2 < BACKOFF_MAX_USEC ? backoff * 2 : BACKOFF_MAX_USEC;
    }
}

/* ---- HOST:PORT ---- */

static int await_connection(int fd, uint64_t deadline_usec) {
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int error = 0, r = deadline_poll(&pollfd, 1, deadline_usec);

    if (r <= 0)
        return r < 0 ? r : -ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

/* An address at which nobody answers has its share of the time, so that the others are tried, too. */
static int dial_addresses(const struct peer_address addresses[], size_t n, uint64_t deadline_usec,
                          unsigned *tries) {
    int r = -EHOSTUNREACH;

    for (size_t i = 0; i < n; i++) {
        uint64_t left = deadline_left(deadline_usec);
        bool connecting = false;
        _cleanup_close_ int fd = peer_connect_address(&addresses[i], &connecting);

        ++*tries;
        r = fd < 0 ? fd : 0;
        if (connecting)
            r = await_connection(fd, left == USEC_INFINITY ? USEC_INFINITY : deadline_after(left / (n - i)));
        if (r == 0)
            return TAKE_FD(fd);
    }
    return r;
}

struct lookup {
    struct gaicb request, *list[1];
    struct addrinfo hints;
    char host[256]; /* HOST, then a NUL, then PORT */
};

/* The C library asks in a thread of its own (getaddrinfo_a(3)): a name server may let one wait. What cannot
 * be called off any more is left to it. */
static int look_up(const char *listen, uint64_t deadline_usec,
                   struct peer_address addresses[static ADDRESSES_MAX], size_t *ret_n, const char **ret_why) {
    struct lookup *lookup = calloc(1, sizeof *lookup);
    struct timespec timeout;
    size_t n = 0;
    char *colon;
    int r;

    if (!lookup)
        return -ENOMEM;
    snprintf(lookup->host, sizeof lookup->host, "%s", listen);
    colon = strrchr(lookup->host, ':');
    if (!colon) {
        free(lookup);
        return -EINVAL;
    }
    *colon = '\0';
    lookup->hints = (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    lookup->request =
        (struct gaicb){.ar_name = lookup->host, .ar_service = colon + 1, .ar_request = &lookup->hints};
    lookup->list[0] = &lookup->request;
    r = getaddrinfo_a(GAI_NOWAIT, lookup->list, 1, NULL);
    while (r == 0 && (r = gai_error(&lookup->request)) == EAI_INPROGRESS) {
        uint64_t left = deadline_left(deadline_usec);

        if (left == 0)
            break;
        timeout = (struct timespec){.tv_sec = (time_t) (left / USEC_PER_SEC),
                                    .tv_nsec = (long) (left % USEC_PER_SEC * NSEC_PER_USEC)};
        (void) gai_suspend((const struct gaicb *const *) lookup->list, 1,
                           left == USEC_INFINITY ? NULL : &timeout);
        r = 0;
    }
    if (r == EAI_INPROGRESS) {
        *ret_why = "its name server did not answer in time";
        if (gai_cancel(&lookup->request) != EAI_NOTCANCELED)
            free(lookup);
        return -EHOSTUNREACH;
    }
    for (struct addrinfo *info = r == 0 ? lookup->request.ar_result : NULL; info && n < ADDRESSES_MAX;
         info = info->ai_next) {
        if (info->ai_addrlen > sizeof addresses[n].name)
            continue;
        addresses[n].size = info->ai_addrlen;
        memcpy(&addresses[n++].name, info->ai_addr, info->ai_addrlen);
    }
    if (r == 0 && lookup->request.ar_result)
        freeaddrinfo(lookup->request.ar_result);
    free(lookup);
    if (n == 0) {
        *ret_why = r == 0 ? "it has no address" : gai_strerror(r);
        return -EHOSTUNREACH;
    }
    *ret_n = n;
    return 0;
}

static int dial_inet(const char *listen, uint64_t deadline_usec, struct dial_facts *facts) {
    struct peer_address addresses[ADDRESSES_MAX];
    const char *colon = strrchr(listen, ':');
    size_t n = 1;
    char six[32];
    int r;

    if (peer_parse_address(listen, &addresses[0]) >= 0) {
        snprintf(six, sizeof six, "[::1]%s", colon);
        if ((strncmp(listen, "localhost:", 10) == 0 || *listen == '*') &&
            peer_parse_address(six, &addresses[1]) >= 0)
            n = 2;
    } else {
        r = look_up(listen, deadline_usec, addresses, &n, &facts->unknown_host);
        if (r < 0)
            return r;
    }
    return dial_addresses(addresses, n, deadline_usec, &facts->tries);
}

int dial(const char *listen, uint64_t deadline_usec, struct dial_facts *ret_facts) {
    uint64_t began = now_usec(CLOCK_MONOTONIC);
    struct dial_facts facts = {0};
    int fd;

    if (*listen == '/' || *listen == '@')
        fd = dial_unix(listen, deadline_usec, &facts.tries);
    else
        fd = dial_inet(listen, deadline_usec, &facts);
    facts.took_usec = now_usec(CLOCK_MONOTONIC) - began;
    *ret_facts = facts;
    return fd;
}
