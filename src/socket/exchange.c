/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/closer.h"
#include "base/deadline.h"
#include "base/json-follow.h"
#include "base/value.h"

#define PIECE_BYTES (64 * 1024)

/* What is there at the deadline counts: somebody may have stopped us, and not the daemon. So many turns more.
 */
#define LATE_TURNS_MAX 16

static const char *const exchange_end_names[EXCHANGE_END_MAX] = {
    [EXCHANGE_ANSWERED] = "answered", [EXCHANGE_NOT_JSON] = "not-json", [EXCHANGE_CLOSED] = "closed",
    [EXCHANGE_RESET] = "reset",       [EXCHANGE_SILENT] = "silent",     [EXCHANGE_PARTIAL] = "partial",
    [EXCHANGE_STUCK] = "stuck",       [EXCHANGE_REFUSED] = "refused",   [EXCHANGE_FAILED] = "failed",
};
STRTAB_DEFINE(exchange_end, enum exchange_end, exchange_end_names, EXCHANGE_END_INVALID)

struct run {
    const struct exchange *exchange;
    int fd;
    struct closer *closer; /* of descriptors that come along */
    struct json_follow json;
    struct exchange_result result;
    bool sent;          /* nothing more will be */
    bool broken;        /* because nobody takes it */
    bool whole;         /* nothing more belongs to the answer */
    int reset;          /* why nothing more comes, positive errno */
    bool pass_waits;    /* pass() said -EAGAIN */
    unsigned late;      /* turns behind the deadline */
    size_t first, last; /* of the piece: what is not passed on yet */
    char piece[PIECE_BYTES];
};

static bool finish(struct run *run, enum exchange_end end, int error) {
    run->result.end = end;
    run->result.error = error;
    return true;
}

static bool ends_reception(const struct run *run) {
    return run->whole || run->result.finished || run->reset != 0;
}

/* Each of these three returns true when the exchange is over. */

static bool pass_on(struct run *run) {
    run->pass_waits = false;
    while (run->first < run->last) {
        ssize_t n =
            run->exchange->pass(run->exchange->userdata, run->piece + run->first, run->last - run->first);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN) {
            run->pass_waits = true;
            return false;
        }
        if (n < 0)
            return finish(run, EXCHANGE_REFUSED, (int) -n);
        run->first += (size_t) n;
        run->result.passed_bytes += (uint64_t) n;
    }
    return false;
}

/* One piece a turn, so that a daemon that sends without end is held to the deadline, too. */
static bool receive(struct run *run) {
    ssize_t got;

    if (run->first < run->last || ends_reception(run))
        return false;
    got = closer_receive(&run->closer, run->fd, run->piece, sizeof run->piece);
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return false;
        if (errno != ECONNRESET && errno != ETIMEDOUT && errno != EPIPE)
            return finish(run, EXCHANGE_FAILED, errno);
        run->reset = errno;
        return false;
    }
    if (got == 0) {
        run->result.finished = true;
        return false;
    }
    run->first = 0;
    run->last = (size_t) got;
    if (run->exchange->json && run->json.state != JSON_FOLLOW_BAD) {
        size_t used = json_follow_feed(&run->json, run->piece, run->last);

        /* What is no JSON may be a message for people: it is passed on all the same. */
        if (run->json.state == JSON_FOLLOW_WHOLE) {
            run->whole = true;
            run->last = used;
        }
    }
    run->result.received_bytes += run->last;
    return false;
}

static bool transmit(struct run *run) {
    const struct exchange *exchange = run->exchange;

    while (!run->sent && run->result.sent_bytes < exchange->size) {
        ssize_t n = send(run->fd, exchange->text + run->result.sent_bytes,
                         exchange->size - (size_t) run->result.sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            run->result.sent_bytes += (uint64_t) n;
            continue;
        }
        if (errno == EAGAIN)
            return false;
        if (errno == EINTR)
            continue;
        /* It may have answered before it closed: receiving finds that, or the end. */
        if (errno != EPIPE && errno != ECONNRESET)
            return finish(run, EXCHANGE_FAILED, errno);
        run->sent = run->broken = true;
    }
    if (!run->sent && exchange->half_close)
        (void) shutdown(run->fd, SHUT_WR);
    run->sent = true;
    return false;
}

/* Whether the answer is over, and how. */
static bool judge(struct run *run) {
    if (run->first < run->last || !ends_reception(run))
        return false;
    if (run->whole)
        return finish(run, EXCHANGE_ANSWERED, 0);
    if (run->reset)
        return finish(run, EXCHANGE_RESET, run->reset);
    if (run->exchange->json) {
        enum json_follow_state state = json_follow_end(&run->json);

        return finish(run,
                      state == JSON_FOLLOW_WHOLE ? EXCHANGE_ANSWERED
                      : state == JSON_FOLLOW_BAD ? EXCHANGE_NOT_JSON
                                                 : EXCHANGE_CLOSED,
                      0);
    }
    /* It has said all, but may be reading still. If it took less than all, it ended in the middle. */
    if (!run->sent)
        return false;
    return finish(run, run->broken ? EXCHANGE_CLOSED : EXCHANGE_ANSWERED, 0);
}

static bool give_up(struct run *run) {
    if (run->first < run->last)
        return finish(run, EXCHANGE_STUCK, 0);
    if (run->result.finished)
        return finish(run, EXCHANGE_CLOSED, 0);
    return finish(run, run->result.received_bytes > 0 ? EXCHANGE_PARTIAL : EXCHANGE_SILENT, ETIMEDOUT);
}

/* Waits for whatever there is to do. A descriptor of which nothing is wanted is left out: poll(2) tells of a
 * connection that was hung up without being asked, again and again. */
static bool await(struct run *run) {
    bool receives = run->first == run->last && !ends_reception(run);
    struct pollfd fds[] = {
        {.fd = receives || !run->sent ? run->fd : -1,
         .events = (short) ((receives ? POLLIN : 0) | (run->sent ? 0 : POLLOUT))},
        {.fd = run->pass_waits ? run->exchange->pass_fd : -1, .events = POLLOUT},
    };
    int r = deadline_poll(fds, ELEMENTSOF(fds), run->exchange->deadline_usec);

    if (r < 0)
        return finish(run, EXCHANGE_FAILED, -r);
    if (r > 0 && (deadline_left(run->exchange->deadline_usec) > 0 || run->late++ < LATE_TURNS_MAX))
        return false;
    return give_up(run);
}

void exchange_run(const struct exchange *exchange, int fd, struct exchange_result *ret) {
    uint64_t began = now_usec(CLOCK_MONOTONIC);
    struct run *run = calloc(1, sizeof *run);

    if (!run) {
        *ret = (struct exchange_result){.end = EXCHANGE_FAILED, .error = ENOMEM};
        return;
    }
    run->exchange = exchange;
    run->fd = fd;
    while (!transmit(run) && !receive(run) && !pass_on(run) && !judge(run) && !await(run))
        ;
    run->result.took_usec = now_usec(CLOCK_MONOTONIC) - began;
    *ret = run->result;
    closer_free(run->closer);
    free(run);
}
