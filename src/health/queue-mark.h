/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is remembered of a listener's queue from one look to the next: how many waited at most, since when it
 * is full, and what the journal was told. Pure: a look and the time in, news out. */

#include <jansson.h>

#include "config/config.h"
#include "socket/queue.h"

/* How long no more than half of the threshold have to have waited before a queue that filled counts as
 * drained: the first time, and at most. It doubles each time that the queue fills again, until it did not for
 * so long. */
#define QUEUE_CALM_FIRST_USEC (2 * USEC_PER_SEC)
#define QUEUE_CALM_MOST_USEC (300 * USEC_PER_SEC)
#define QUEUE_FORGET_USEC (600 * USEC_PER_SEC)

/* Looks that are further apart than this, and than two intervals, say nothing of the time between them. */
#define QUEUE_GAP_USEC (60 * USEC_PER_SEC)

struct queue_clock {
    uint64_t realtime_usec;
    uint64_t boottime_usec; /* for durations */
};

/* From a queue that filled to the same one drained. */
struct queue_alarm {
    bool active;
    bool told_full;         /* that it was full, beyond that it reached the threshold */
    bool was_below;         /* the threshold, since the queue last reached it */
    unsigned times;         /* that the queue reached the threshold */
    uint32_t high, limit;   /* how many waited at most, and how many could */
    uint64_t since_usec;    /* the three: CLOCK_BOOTTIME */
    uint64_t calm_usec;     /* since when it is calm; 0: it is not */
    uint64_t ended_usec;    /* the last one; 0: there was none */
    uint64_t patience_usec; /* how long it has to be calm */
};

/* Of one socket. Starts as {0}. */
struct queue_mark {
    struct queue_facts last;    /* as of the last look that saw a listener */
    enum queue_sight sight;     /* of the last look */
    struct queue_clock sampled; /* when that was; 0: never looked */
    uint64_t seen_usec;         /* CLOCK_BOOTTIME: when a listener was seen last */
    uint32_t high;              /* how many waited at most, with this listener */
    uint64_t high_usec;         /* CLOCK_REALTIME */
    uint64_t full_since_usec;   /* CLOCK_BOOTTIME; 0: it is not full */
    uint64_t full_usec;         /* how long it was in all, with this listener */
    struct queue_alarm alarm;
};

enum queue_news {
    QUEUE_NO_NEWS,
    QUEUE_FILLED,  /* it has reached the threshold, or (once more) is full */
    QUEUE_DRAINED, /* alarm.since_usec to alarm.calm_usec is how long that lasted */
    QUEUE_GONE,    /* the same, for its listener is gone: until the look before, alarm.calm_usec */
};

/* One look. warn.number 0: there never are news. Another listener (by its inode) begins anew. */
enum queue_news queue_mark_step(struct queue_mark *mark, const struct queue_facts *facts,
                                const struct queue_warn *warn, uint64_t interval_usec,
                                const struct queue_clock *now);

/* Nobody watches it any more. Returns QUEUE_GONE if it had been told that it filled. */
enum queue_news queue_mark_end(struct queue_mark *mark);

/* From how many on it is told; UINT32_MAX: never. */
uint32_t queue_mark_threshold(const struct queue_warn *warn, uint32_t limit);

/* As in "latchctl --json sockets": {name, listen, owner, listening, queue, backlog, limit, full, highWater,
 * ...}. What is not known is null. somaxconn: 0: not known, and not needed but for Owner=latchd. NULL: no
 * memory. */
json_t *queue_mark_to_json(const struct socket_config *socket, const struct queue_mark *mark,
                           uint32_t somaxconn);

/* Adds highWater, highWaterAtUSec, fullSinceUSec, fullUSec and sampledAtUSec. */
void queue_mark_add_history(json_t *json, const struct queue_mark *mark);
