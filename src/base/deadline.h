/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Waiting up to a moment of CLOCK_MONOTONIC, in microseconds; USEC_INFINITY never comes. For who has no loop.
 */

#include <poll.h>
#include <stdint.h>

/* The moment that is so far away. */
uint64_t deadline_after(uint64_t usec);

/* How far away it is: 0 once it has come, USEC_INFINITY if it never does. */
uint64_t deadline_left(uint64_t deadline_usec);

/* poll(2) until then, whatever signals come: how many descriptors have events, 0 at the deadline, or -errno.
 */
int deadline_poll(struct pollfd fds[], nfds_t n, uint64_t deadline_usec);

/* Sleeps so long, or less if a signal comes. */
void deadline_sleep(uint64_t usec);
