/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/deadline.h"

#include <errno.h>
#include <time.h>

#include "base/value.h"

static struct timespec timespec_of(uint64_t usec) {
    return (struct timespec){
        .tv_sec = (time_t) (usec / USEC_PER_SEC),
        .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC),
    };
}

uint64_t deadline_after(uint64_t usec) {
    uint64_t now = now_usec(CLOCK_MONOTONIC);

    return usec < USEC_INFINITY - now ? now + usec : USEC_INFINITY;
}

uint64_t deadline_left(uint64_t deadline_usec) {
    uint64_t now;

    if (deadline_usec == USEC_INFINITY)
        return USEC_INFINITY;
    now = now_usec(CLOCK_MONOTONIC);
    return deadline_usec > now ? deadline_usec - now : 0;
}

int deadline_poll(struct pollfd fds[], nfds_t n, uint64_t deadline_usec) {
    for (;;) {
        uint64_t left = deadline_left(deadline_usec);
        struct timespec timeout = timespec_of(left);
        int r = ppoll(fds, n, left == USEC_INFINITY ? NULL : &timeout, NULL);

        if (r >= 0)
            return r;
        if (errno != EINTR)
            return -errno;
    }
}

void deadline_sleep(uint64_t usec) {
    struct timespec timespec = timespec_of(usec);

    (void) nanosleep(&timespec, NULL);
}
