/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/queue-mark.h"

#include "base/value.h"

uint32_t queue_mark_threshold(const struct queue_warn *warn, uint32_t limit) {
    uint64_t part = ((uint64_t) limit * warn->number + 99) / 100;

    if (warn->number == 0)
        return UINT32_MAX;
    if (warn->percent)
        return part > 0 ? (uint32_t) part : 1;
    return warn->number < limit ? warn->number : limit;
}

/* What was told has an end. */
static enum queue_news end_alarm(struct queue_alarm *alarm, enum queue_news news, uint64_t now_usec) {
    alarm->active = false;
    alarm->ended_usec = now_usec;
    return news;
}

/* A queue that fills again and again is told of at growing intervals. */
static enum queue_news begin_alarm(struct queue_alarm *alarm, const struct queue_facts *facts,
                                   uint64_t now_usec) {
    uint64_t patience = alarm->patience_usec * 2;

    if (alarm->ended_usec == 0 || now_usec - alarm->ended_usec >= QUEUE_FORGET_USEC)
        patience = QUEUE_CALM_FIRST_USEC;
    *alarm = (struct queue_alarm){
        .active = true,
        .told_full = facts->full,
        .times = 1,
        .high = facts->depth,
        .limit = facts->limit,
        .since_usec = now_usec,
        .ended_usec = alarm->ended_usec,
        .patience_usec = patience < QUEUE_CALM_MOST_USEC ? patience : QUEUE_CALM_MOST_USEC,
    };
    return QUEUE_FILLED;
}

static enum queue_news follow_alarm(struct queue_alarm *alarm, const struct queue_facts *facts,
                                    uint32_t threshold, uint64_t now_usec) {
    bool reached = facts->full || facts->depth >= threshold;

    if (facts->depth > alarm->high)
        alarm->high = facts->depth;
    alarm->limit = facts->limit;
    if (reached) {
        alarm->times += alarm->was_below;
        alarm->was_below = false;
        alarm->calm_usec = 0;
        if (!facts->full || alarm->told_full)
            return QUEUE_NO_NEWS;
        alarm->told_full = true;
        return QUEUE_FILLED;
    }
    alarm->was_below = true;
    if (facts->depth > threshold / 2)
        alarm->calm_usec = 0;
    else if (alarm->calm_usec == 0)
        alarm->calm_usec = now_usec;
    else if (now_usec - alarm->calm_usec >= alarm->patience_usec)
        return end_alarm(alarm, QUEUE_DRAINED, now_usec);
    return QUEUE_NO_NEWS;
}

static enum queue_news judge(struct queue_mark *mark, const struct queue_facts *facts,
                             const struct queue_warn *warn, uint64_t now_usec) {
    uint32_t threshold = queue_mark_threshold(warn, facts->limit);

    if (warn->number == 0) {
        mark->alarm = (struct queue_alarm){.active = false};
        return QUEUE_NO_NEWS;
    }
    if (mark->alarm.active)
        return follow_alarm(&mark->alarm, facts, threshold, now_usec);
    return facts->full || facts->depth >= threshold ? begin_alarm(&mark->alarm, facts, now_usec)
                                                    : QUEUE_NO_NEWS;
}

enum queue_news queue_mark_end(struct queue_mark *mark) {
    if (!mark->alarm.active)
        return QUEUE_NO_NEWS;
    mark->alarm.calm_usec = mark->seen_usec;
    return end_alarm(&mark->alarm, QUEUE_GONE, mark->seen_usec);
}

/* Full in two looks that are near to each other is full in between. */
static void count_full(struct queue_mark *mark, bool full, uint64_t interval_usec, uint64_t now_usec) {
    uint64_t gap = now_usec - mark->seen_usec;
    bool near = mark->seen_usec > 0 && (gap <= QUEUE_GAP_USEC || gap / 2 <= interval_usec);

    if (!full)
        mark->full_since_usec = 0;
    else if (mark->full_since_usec > 0 && near)
        mark->full_usec += gap;
    else
        mark->full_since_usec = now_usec;
}

enum queue_news queue_mark_step(struct queue_mark *mark, const struct queue_facts *facts,
                                const struct queue_warn *warn, uint64_t interval_usec,
                                const struct queue_clock *now) {
    bool absent_before = mark->sight == QUEUE_ABSENT;
    enum queue_news news = QUEUE_NO_NEWS;

    mark->sight = facts->sight;
    mark->sampled = *now;
    if (facts->sight == QUEUE_UNSEEN)
        return QUEUE_NO_NEWS;
    if (facts->sight == QUEUE_ABSENT) /* a row may be missed once: unix_table_read() */
        return absent_before ? queue_mark_end(mark) : QUEUE_NO_NEWS;
    if (facts->inode != mark->last.inode) {
        news = queue_mark_end(mark);
        *mark = (struct queue_mark){.sight = mark->sight,
                                    .sampled = mark->sampled,
                                    .high_usec = now->realtime_usec,
                                    .alarm = mark->alarm};
    }
    count_full(mark, facts->full, interval_usec, now->boottime_usec);
    mark->last = *facts;
    mark->seen_usec = now->boottime_usec;
    if (facts->depth > mark->high) {
        mark->high = facts->depth;
        mark->high_usec = now->realtime_usec;
    }
    /* What is told of the old listener comes first; of the new one at the next look. */
    return news != QUEUE_NO_NEWS ? news : judge(mark, facts, warn, now->boottime_usec);
}

static json_t *number_if(bool known, uint64_t number) {
    return known ? json_integer((json_int_t) number) : json_null();
}

/* A moment of CLOCK_BOOTTIME as people's time. */
static uint64_t realtime_of(const struct queue_mark *mark, uint64_t boottime_usec) {
    return mark->sampled.realtime_usec - (mark->sampled.boottime_usec - boottime_usec);
}

void queue_mark_add_history(json_t *json, const struct queue_mark *mark) {
    bool any = mark->last.sight == QUEUE_SEEN;

    json_object_set_new(json, "highWater", number_if(any, mark->high));
    json_object_set_new(json, "highWaterAtUSec", number_if(any, mark->high_usec));
    json_object_set_new(json, "fullSinceUSec",
                        number_if(mark->full_since_usec > 0 && mark->sight == QUEUE_SEEN,
                                  realtime_of(mark, mark->full_since_usec)));
    json_object_set_new(json, "fullUSec", number_if(any, mark->full_usec));
    json_object_set_new(json, "sampledAtUSec",
                        number_if(mark->sampled.realtime_usec > 0, mark->sampled.realtime_usec));
}

/* Why less is known, or there is less room, than one may think. */
static const char *remark_on(const struct socket_config *socket, const struct queue_mark *mark,
                             uint32_t somaxconn) {
    if (mark->sight == QUEUE_UNSEEN)
        return queue_is_inet(socket->listen)
                   ? "not looked at: the kernel's table could not be read, or HOST is no address"
                   : "not looked at: the kernel's table could not be read, or the path, or its file system "
                     "may not answer";
    if (mark->sight == QUEUE_ABSENT)
        return "nobody listens there in latchd's network namespace";
    if (socket->owner == SOCKET_OWNER_LATCHD && somaxconn > 0 &&
        mark->last.backlog < (uint32_t) socket->backlog && mark->last.backlog == somaxconn)
        return "Backlog= was cut to net.core.somaxconn";
    return NULL;
}

json_t *queue_mark_to_json(const struct socket_config *socket, const struct queue_mark *mark,
                           uint32_t somaxconn) {
    const struct queue_facts *facts = &mark->last;
    bool seen = mark->sight == QUEUE_SEEN, ours = socket->owner == SOCKET_OWNER_LATCHD;
    /* clang-format off */
    json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s?}",
                             "name", socket->name,
                             "listen", socket->listen,
                             "owner", socket_owner_to_string(socket->owner),
                             "listening", mark->sight == QUEUE_UNSEEN ? json_null() : json_boolean(seen),
                             "queue", number_if(seen, facts->depth),
                             "backlog", number_if(seen, facts->backlog),
                             "limit", number_if(seen, facts->limit),
                             "full", seen ? json_boolean(facts->full) : json_null(),
                             "configuredBacklog", number_if(ours, (uint64_t) socket->backlog),
                             "somaxconn", number_if(ours && somaxconn > 0, somaxconn),
                             "remark", remark_on(socket, mark, somaxconn));
    /* clang-format on */

    if (json)
        queue_mark_add_history(json, mark);
    return json;
}
