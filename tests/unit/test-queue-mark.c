/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdlib.h>

#include "base/value.h"
#include "health/queue-mark.h"

#include "suite.h"

#define SEC USEC_PER_SEC
#define START (1000 * SEC)
#define REALTIME (UINT64_C(1700000000) * SEC)

static struct queue_mark mark;
static uint64_t now;

static void begin(void) {
    mark = (struct queue_mark){.sight = QUEUE_UNSEEN};
    now = START;
}

static struct queue_clock when(void) {
    return (struct queue_clock){.realtime_usec = REALTIME + now, .boottime_usec = now};
}

static struct queue_facts seen(uint32_t inode, uint32_t depth, uint32_t backlog) {
    return (struct queue_facts){.sight = QUEUE_SEEN,
                                .inode = inode,
                                .depth = depth,
                                .backlog = backlog,
                                .limit = backlog + 1,
                                .full = depth > backlog};
}

/* A look after so long. */
static enum queue_news look_at(struct queue_facts facts, struct queue_warn warn, uint64_t passed) {
    struct queue_clock clock;

    now += passed;
    clock = when();
    return queue_mark_step(&mark, &facts, &warn, SEC, &clock);
}

/* The listener of backlog 9, with QueueWarn=8, a second later. */
static enum queue_news look(uint32_t depth) {
    return look_at(seen(1, depth, 9), (struct queue_warn){.number = 8}, SEC);
}

START_TEST(test_threshold) {
    static const struct {
        struct queue_warn warn;
        uint32_t limit, expected;
    } rows[] = {
        {{0, false}, 10, UINT32_MAX}, {{8, false}, 10, 8},
        {{80, false}, 10, 10},        {{80, true}, 10, 8},
        {{81, true}, 10, 9},          {{100, true}, 10, 10},
        {{1, true}, 10, 1},           {{50, true}, 1, 1},
        {{80, true}, 4097, 3278},     {{1, true}, 1, 1},
        {{1, false}, 10, 1},          {{100, true}, UINT32_MAX, UINT32_MAX},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        ck_assert_uint_eq(queue_mark_threshold(&rows[i].warn, rows[i].limit), rows[i].expected);
}
END_TEST

START_TEST(test_fills_and_drains) {
    ck_assert_int_eq(look(0), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(7), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(8), QUEUE_FILLED);
    ck_assert_int_eq(look(9), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(10), QUEUE_FILLED); /* full is another thing */
    ck_assert_int_eq(look(10), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(5), QUEUE_NO_NEWS); /* below the threshold, but not by half */
    ck_assert_int_eq(look(4), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(0), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(0), QUEUE_DRAINED); /* calm for two seconds */
    ck_assert_uint_eq(mark.alarm.calm_usec - mark.alarm.since_usec, 5 * SEC);
    ck_assert_uint_eq(mark.alarm.high, 10);
    ck_assert_uint_eq(mark.alarm.times, 1);
    ck_assert_int_eq(look(0), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.high, 10); /* stays */
    ck_assert_uint_eq(mark.high_usec, REALTIME + START + 5 * SEC);
}
END_TEST

START_TEST(test_full_at_once) {
    ck_assert_int_eq(look(10), QUEUE_FILLED);
    ck_assert_int_eq(look(9), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(10), QUEUE_NO_NEWS);
}
END_TEST

/* A queue that holds one connection only: the threshold is that, and half of it none. */
START_TEST(test_smallest) {
    struct queue_warn warn = {.number = 80, .percent = true};

    ck_assert_int_eq(look_at(seen(1, 0, 0), warn, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look_at(seen(1, 1, 0), warn, SEC), QUEUE_FILLED);
    ck_assert_int_eq(look_at(seen(1, 0, 0), warn, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look_at(seen(1, 0, 0), warn, 2 * SEC), QUEUE_DRAINED);
}
END_TEST

/* A queue that goes up and down for an hour is told of a few times, and that it did is told. */
START_TEST(test_flapping) {
    unsigned news[4] = {0}, times = 0;

    for (unsigned i = 0; i < 3600; i++) {
        enum queue_news one = look(i % 2 ? 10 : 0);

        news[one]++;
        if (one == QUEUE_DRAINED)
            times += mark.alarm.times;
    }
    ck_assert_uint_eq(news[QUEUE_FILLED], 1);
    ck_assert_uint_eq(news[QUEUE_DRAINED], 0);
    ck_assert_uint_eq(mark.alarm.times, 1800);

    /* Slowly enough that it has drained in between, the first times. */
    begin();
    news[QUEUE_FILLED] = news[QUEUE_DRAINED] = 0;
    for (unsigned i = 0; i < 3600; i++) {
        enum queue_news one = look(i % 10 < 5 ? 10 : 0);

        news[one]++;
        if (one == QUEUE_DRAINED)
            times += mark.alarm.times;
    }
    ck_assert_uint_ge(news[QUEUE_DRAINED], 2);
    ck_assert_uint_le(news[QUEUE_FILLED] + news[QUEUE_DRAINED], 8);
    ck_assert_uint_ge(times + mark.alarm.times, 359);
}
END_TEST

/* Each time it has to be calm for twice as long, up to a limit; and after a time as in the beginning. */
START_TEST(test_patience) {
    uint64_t expected = QUEUE_CALM_FIRST_USEC;

    for (unsigned i = 0; i < 12; i++) {
        uint64_t calm = 0;

        ck_assert_int_eq(look(10), QUEUE_FILLED);
        ck_assert_uint_eq(mark.alarm.patience_usec, expected);
        ck_assert_int_eq(look(0), QUEUE_NO_NEWS);
        while (look(0) != QUEUE_DRAINED)
            calm++;
        ck_assert_uint_ge((calm + 1) * SEC, expected);
        expected = expected * 2 < QUEUE_CALM_MOST_USEC ? expected * 2 : QUEUE_CALM_MOST_USEC;
    }
    now += QUEUE_FORGET_USEC;
    ck_assert_int_eq(look(10), QUEUE_FILLED);
    ck_assert_uint_eq(mark.alarm.patience_usec, QUEUE_CALM_FIRST_USEC);
}
END_TEST

/* Another listener: its marks are its own, and what was told of the old one has an end. */
START_TEST(test_other_listener) {
    struct queue_warn warn = {.number = 8};

    ck_assert_int_eq(look(10), QUEUE_FILLED);
    ck_assert_int_eq(look(10), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.full_usec, SEC);
    ck_assert_int_eq(look_at(seen(2, 10, 9), warn, SEC), QUEUE_GONE);
    ck_assert_uint_eq(mark.alarm.calm_usec - mark.alarm.since_usec, SEC);
    ck_assert_uint_eq(mark.alarm.high, 10);
    ck_assert_uint_eq(mark.full_usec, 0);
    ck_assert_int_eq(look_at(seen(2, 9, 9), warn, SEC), QUEUE_FILLED);
    ck_assert_uint_eq(mark.high, 10);
    ck_assert_int_eq(look_at(seen(3, 1, 9), warn, SEC), QUEUE_GONE);
    ck_assert_uint_eq(mark.high, 1);
    ck_assert_uint_eq(mark.high_usec, REALTIME + now);
    ck_assert_int_eq(look_at(seen(4, 0, 9), warn, SEC), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.high, 0);
}
END_TEST

/* A row that is missed once proves nothing; and what could not be looked at even less. */
START_TEST(test_missing) {
    struct queue_warn warn = {.number = 8};
    struct queue_facts absent = {.sight = QUEUE_ABSENT}, unseen = {.sight = QUEUE_UNSEEN};

    ck_assert_int_eq(look(10), QUEUE_FILLED);
    ck_assert_int_eq(look_at(absent, warn, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(10), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.full_usec, 2 * SEC);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(look_at(unseen, warn, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look_at(absent, warn, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look_at(absent, warn, SEC), QUEUE_GONE);
    ck_assert_int_eq(look_at(absent, warn, SEC), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.high, 10); /* until another listener is there */
    ck_assert_int_eq(look(10), QUEUE_FILLED);
}
END_TEST

START_TEST(test_end) {
    ck_assert_int_eq(queue_mark_end(&mark), QUEUE_NO_NEWS);
    ck_assert_int_eq(look(8), QUEUE_FILLED);
    ck_assert_int_eq(look(8), QUEUE_NO_NEWS);
    ck_assert_int_eq(queue_mark_end(&mark), QUEUE_GONE);
    ck_assert_uint_eq(mark.alarm.calm_usec - mark.alarm.since_usec, SEC);
    ck_assert_int_eq(queue_mark_end(&mark), QUEUE_NO_NEWS);
}
END_TEST

/* Without QueueWarn= it is looked at and not told of; one that is taken away leaves nothing behind. */
START_TEST(test_no_threshold) {
    struct queue_warn none = {0};

    ck_assert_int_eq(look_at(seen(1, 10, 9), none, SEC), QUEUE_NO_NEWS);
    ck_assert_uint_eq(mark.high, 10);
    ck_assert_int_eq(look(10), QUEUE_FILLED);
    ck_assert_int_eq(look_at(seen(1, 10, 9), none, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(look_at(seen(1, 0, 9), none, SEC), QUEUE_NO_NEWS);
    ck_assert_int_eq(queue_mark_end(&mark), QUEUE_NO_NEWS);
}
END_TEST

/* Time counts as full only between looks that are near to each other. */
START_TEST(test_full_time) {
    struct queue_warn none = {0};

    (void) look_at(seen(1, 10, 9), none, SEC);
    ck_assert_uint_eq(mark.full_since_usec, now);
    (void) look_at(seen(1, 10, 9), none, 3 * SEC);
    (void) look_at(seen(1, 10, 9), none, QUEUE_GAP_USEC);
    ck_assert_uint_eq(mark.full_usec, 3 * SEC + QUEUE_GAP_USEC);
    ck_assert_uint_eq(mark.full_since_usec, now - 3 * SEC - QUEUE_GAP_USEC);
    (void) look_at(seen(1, 10, 9), none, QUEUE_GAP_USEC + 1); /* who knows what was in between */
    ck_assert_uint_eq(mark.full_usec, 3 * SEC + QUEUE_GAP_USEC);
    ck_assert_uint_eq(mark.full_since_usec, now);
    (void) look_at(seen(1, 9, 9), none, SEC);
    ck_assert_uint_eq(mark.full_usec, 3 * SEC + QUEUE_GAP_USEC);
    ck_assert_uint_eq(mark.full_since_usec, 0);
}
END_TEST

static const char *json_of(const struct socket_config *socket, uint32_t somaxconn) {
    static char *text;
    json_t *json = queue_mark_to_json(socket, &mark, somaxconn);

    free(text);
    text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    return text;
}

START_TEST(test_json) {
    struct socket_config socket = {.name = (char *) "s", .listen = (char *) "/s", .backlog = 4096};

    ck_assert_str_eq(
        json_of(&socket, 0),
        "{\"backlog\":null,\"configuredBacklog\":null,\"full\":null,\"fullSinceUSec\":null,"
        "\"fullUSec\":null,\"highWater\":null,\"highWaterAtUSec\":null,\"limit\":null,"
        "\"listen\":\"/s\",\"listening\":null,\"name\":\"s\",\"owner\":\"daemon\",\"queue\":null,"
        "\"remark\":\"not looked at: the kernel's table could not be read, or the path, or its file "
        "system may not answer\","
        "\"sampledAtUSec\":null,\"somaxconn\":null}");
    (void) look(10);
    (void) look(10);
    ck_assert_str_eq(json_of(&socket, 128),
                     "{\"backlog\":9,\"configuredBacklog\":null,\"full\":true,"
                     "\"fullSinceUSec\":1700001001000000,\"fullUSec\":1000000,\"highWater\":10,"
                     "\"highWaterAtUSec\":1700001001000000,\"limit\":10,"
                     "\"listen\":\"/s\",\"listening\":true,\"name\":\"s\",\"owner\":\"daemon\",\"queue\":10,"
                     "\"remark\":null,\"sampledAtUSec\":1700001002000000,\"somaxconn\":null}");
    socket.owner = SOCKET_OWNER_LATCHD;
    (void) look_at(seen(2, 0, 128), (struct queue_warn){0}, SEC);
    ck_assert_str_eq(json_of(&socket, 128),
                     "{\"backlog\":128,\"configuredBacklog\":4096,\"full\":false,\"fullSinceUSec\":null,"
                     "\"fullUSec\":0,\"highWater\":0,\"highWaterAtUSec\":1700001003000000,\"limit\":129,"
                     "\"listen\":\"/s\",\"listening\":true,\"name\":\"s\",\"owner\":\"latchd\",\"queue\":0,"
                     "\"remark\":\"Backlog= was cut to net.core.somaxconn\","
                     "\"sampledAtUSec\":1700001003000000,\"somaxconn\":128}");
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("queue-mark");
    TCase *tcase = tcase_create("queue-mark");

    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, test_threshold);
    tcase_add_test(tcase, test_fills_and_drains);
    tcase_add_test(tcase, test_full_at_once);
    tcase_add_test(tcase, test_smallest);
    tcase_add_test(tcase, test_flapping);
    tcase_add_test(tcase, test_patience);
    tcase_add_test(tcase, test_other_listener);
    tcase_add_test(tcase, test_missing);
    tcase_add_test(tcase, test_end);
    tcase_add_test(tcase, test_no_threshold);
    tcase_add_test(tcase, test_full_time);
    tcase_add_test(tcase, test_json);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return suite_run(suite());
}
