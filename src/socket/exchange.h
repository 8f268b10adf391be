/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One text to a daemon and its answer, over a connected stream socket and within a time. Both directions go
 * on at once: a daemon may answer before it has read all, or read no further until its answer is taken. What
 * is sent stays the caller's; of the answer one piece is kept, and no more received until that has been
 * passed on: whoever takes it slowly slows the daemon down, and nothing grows. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strtab.h"

enum exchange_end {
    EXCHANGE_ANSWERED,
    EXCHANGE_NOT_JSON, /* the answer ended by itself, and is no JSON though it had to be */
    EXCHANGE_CLOSED, /* the daemon closed the connection before the answer was whole, or before it took all */
    EXCHANGE_RESET,  /* so it did with bytes of ours unread (ECONNRESET), or the network did */
    EXCHANGE_SILENT, /* the deadline came, and nothing had */
    EXCHANGE_PARTIAL, /* the deadline came before the end of the answer */
    EXCHANGE_STUCK,   /* the deadline came while what was received could not be passed on */
    EXCHANGE_REFUSED, /* passing it on failed: error */
    EXCHANGE_FAILED,  /* we ourselves failed: error */
    EXCHANGE_END_MAX,
    EXCHANGE_END_INVALID = -EINVAL,
};
STRTAB_DECLARE(exchange_end, enum exchange_end);

struct exchange {
    const char *text;
    size_t size;
    bool half_close;        /* the sending side is closed behind the text: many daemons answer only then */
    bool json;              /* the answer is one JSON value, and ends with it; else with the connection */
    uint64_t deadline_usec; /* CLOCK_MONOTONIC */

    /* Takes a piece of the answer, or part of it: how much, or -errno. -EAGAIN: nothing now; it is tried
     * again when pass_fd can be written to (poll(2)). */
    ssize_t (*pass)(void *userdata, const char *bytes, size_t size);
    void *userdata;
    int pass_fd;
};

struct exchange_result {
    enum exchange_end end;
    int error;               /* positive errno, 0: none */
    uint64_t sent_bytes;     /* the kernel has taken; the daemon may have read less */
    uint64_t received_bytes; /* of the answer */
    uint64_t passed_bytes;
    uint64_t took_usec;
    bool finished; /* the daemon closed its side */
};

/* fd is a non-blocking stream socket and stays the caller's, fit for being closed only. */
void exchange_run(const struct exchange *exchange, int fd, struct exchange_result *ret);
