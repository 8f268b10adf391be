/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A connection to a daemon's listener within a time. A unix socket whose queue is full says EAGAIN at once,
 * and the kernel tells nobody when there is room (connect(2), unix(7)): it is tried again, at growing
 * intervals. */

#include <stdint.h>

struct dial_facts {
    unsigned tries;
    uint64_t took_usec;
    const char
        *unknown_host; /* why HOST has no address (static storage); NULL: it has, or none was looked up */
};

/* listen: an absolute path, @abstract or HOST:PORT, as in ListenStream=. Every address of HOST is tried.
 * Returns a connected, non-blocking descriptor that the caller owns, or -errno, *ret_facts filled in either
 * case. -EAGAIN: the queue was full until the deadline (CLOCK_MONOTONIC); -ETIMEDOUT: nobody answered at the
 * address; -EHOSTUNREACH also: unknown_host; else as connect(2) has it. */
int dial(const char *listen, uint64_t deadline_usec, struct dial_facts *ret_facts);
