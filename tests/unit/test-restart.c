/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/value.h"
#include "service/restart.h"

#include "suite.h"

#define MSEC USEC_PER_MSEC
#define SEC USEC_PER_SEC
#define NOW (1000 * SEC)

static struct exit_status exited(int status) {
    return (struct exit_status){.known = true, .code = CLD_EXITED, .status = status};
}
static struct exit_status killed(int signal) {
    return (struct exit_status){.known = true, .code = CLD_KILLED, .status = signal};
}
static struct exit_status dumped(int signal) {
    return (struct exit_status){.known = true, .code = CLD_DUMPED, .status = signal};
}
static const struct exit_status unknown = {.known = false};
static const struct exit_status not_executed = {.failed_to_execute = true};
static const struct exit_status not_executed_but_reaped = {
    .known = true, .failed_to_execute = true, .code = CLD_EXITED, .status = 0};

START_TEST(policies) {
    const struct {
        struct exit_status status;
        bool clean, on_failure, on_abnormal;
        const char *text;
    } rows[] = {
        {exited(0), true, false, false, "exited with status 0"},
        {exited(1), false, true, false, "exited with status 1"},
        {exited(255), false, true, false, "exited with status 255"},
        {killed(SIGTERM), true, false, false, "was killed by SIGTERM"},
        {killed(SIGINT), true, false, false, "was killed by SIGINT"},
        {killed(SIGHUP), true, false, false, "was killed by SIGHUP"},
        {killed(SIGPIPE), true, false, false, "was killed by SIGPIPE"},
        {killed(SIGKILL), false, true, true, "was killed by SIGKILL"},
        {killed(SIGSEGV), false, true, true, "was killed by SIGSEGV"},
        {killed(SIGUSR1), false, true, true, "was killed by SIGUSR1"},
        {killed(SIGRTMIN + 3), false, true, true, "was killed by SIGRTMIN+3"},
        {dumped(SIGABRT), false, true, true, "was killed by SIGABRT (core dumped)"},
        {dumped(SIGTERM), false, true, true, "was killed by SIGTERM (core dumped)"},
        {unknown, false, true, true, "ended, and its exit status went to another parent"},
        {not_executed, false, true, false, "could not be executed"},
        {not_executed_but_reaped, false, true, false, "could not be executed"},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char text[96];

        ck_assert_str_eq(exit_status_describe(&rows[i].status, text, sizeof text), rows[i].text);
        ck_assert_msg(exit_status_is_clean(&rows[i].status) == rows[i].clean, "clean: %s", rows[i].text);
        ck_assert_msg(!restart_wanted(RESTART_NO, &rows[i].status), "no: %s", rows[i].text);
        ck_assert_msg(restart_wanted(RESTART_ALWAYS, &rows[i].status), "always: %s", rows[i].text);
        ck_assert_msg(restart_wanted(RESTART_ON_FAILURE, &rows[i].status) == rows[i].on_failure,
                      "on-failure: %s", rows[i].text);
        ck_assert_msg(restart_wanted(RESTART_ON_ABNORMAL, &rows[i].status) == rows[i].on_abnormal,
                      "on-abnormal: %s", rows[i].text);
        ck_assert(!restart_wanted(RESTART_POLICY_INVALID, &rows[i].status));
        ck_assert(!restart_wanted(RESTART_POLICY_MAX, &rows[i].status));
    }
}
END_TEST

/* A buffer that is too small is no harm. */
START_TEST(short_buffer) {
    const struct exit_status status = dumped(SIGSEGV);
    char text[8];

    ck_assert_str_eq(exit_status_describe(&status, text, sizeof text), "was kil");
}
END_TEST

static struct service_config config_of(uint64_t restart_usec, uint64_t most_usec, uint64_t reset_usec) {
    return (struct service_config){
        .restart_usec = restart_usec, .restart_max_delay_usec = most_usec, .restart_reset_usec = reset_usec};
}

/* The delays of restarts in a row, of a daemon that ran for ran_usec each time. */
static void assert_delays(const struct service_config *config, uint64_t ran_usec, const uint64_t *delays,
                          size_t n) {
    struct restart_history history = {0};
    uint64_t now = NOW;

    for (size_t i = 0; i < n; i++) {
        bool limited = true;
        uint64_t delay = restart_delay(config, &history, now, ran_usec, 0, &limited);

        ck_assert_msg(delay == delays[i], "delay %zu: expected %llu us, got %llu us", i,
                      (unsigned long long) delays[i], (unsigned long long) delay);
        ck_assert(!limited);
        now += delay + ran_usec;
    }
}

START_TEST(doubling) {
    const struct service_config config = config_of(100 * MSEC, 30 * SEC, 60 * SEC);
    const uint64_t delays[] = {100 * MSEC,  200 * MSEC,   400 * MSEC,   800 * MSEC, 1600 * MSEC, 3200 * MSEC,
                               6400 * MSEC, 12800 * MSEC, 25600 * MSEC, 30 * SEC,   30 * SEC,    30 * SEC};

    assert_delays(&config, 0, delays, ELEMENTSOF(delays));
    assert_delays(&config, 60 * SEC - 1, delays, ELEMENTSOF(delays));
}
END_TEST

START_TEST(health_resets) {
    const struct service_config config = config_of(100 * MSEC, 30 * SEC, 60 * SEC);
    const uint64_t delays[] = {100 * MSEC, 100 * MSEC, 100 * MSEC};
    struct restart_history history = {0};
    bool limited;

    assert_delays(&config, 60 * SEC, delays, ELEMENTSOF(delays));
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 100 * MSEC);
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 200 * MSEC);
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 400 * MSEC);
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 61 * SEC, 0, &limited), 100 * MSEC);
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 200 * MSEC);
}
END_TEST

START_TEST(caps) {
    const struct service_config zero = config_of(0, 30 * SEC, 60 * SEC),
                                flat = config_of(5 * SEC, 0, 60 * SEC), none = config_of(0, 0, 60 * SEC),
                                tiny = config_of(0, 3 * MSEC, 60 * SEC),
                                huge = config_of(USEC_INFINITY / 2 + 1, USEC_INFINITY, 60 * SEC),
                                endless = config_of(USEC_INFINITY, 30 * SEC, USEC_INFINITY),
                                always_reset = config_of(100 * MSEC, 30 * SEC, 0);
    const uint64_t zeros[] = {0, 10 * MSEC, 20 * MSEC, 40 * MSEC}, fives[] = {5 * SEC, 5 * SEC, 5 * SEC},
                   nothing[] = {0, 0, 0}, threes[] = {0, 3 * MSEC, 3 * MSEC},
                   firsts[] = {100 * MSEC, 100 * MSEC, 100 * MSEC};
    struct restart_history history = {0};
    bool limited;

    assert_delays(&zero, 0, zeros, ELEMENTSOF(zeros));
    assert_delays(&flat, 0, fives, ELEMENTSOF(fives));
    assert_delays(&none, 0, nothing, ELEMENTSOF(nothing));
    assert_delays(&tiny, 0, threes, ELEMENTSOF(threes));
    assert_delays(&always_reset, 0, firsts, ELEMENTSOF(firsts));
    ck_assert_uint_eq(restart_delay(&huge, &history, NOW, 0, 0, &limited), USEC_INFINITY / 2 + 1);
    ck_assert_uint_eq(restart_delay(&huge, &history, NOW, 0, 0, &limited), USEC_INFINITY);
    history = (struct restart_history){0};
    ck_assert_uint_eq(restart_delay(&endless, &history, NOW, 0, 0, &limited), USEC_INFINITY);
    history = (struct restart_history){.in_a_row = UINT32_MAX};
    ck_assert_uint_eq(restart_delay(&zero, &history, NOW, 0, 0, &limited), 30 * SEC);
    ck_assert_uint_eq(history.in_a_row, UINT32_MAX);
}
END_TEST

/* Three starts within ten seconds: the one at the beginning and two restarts. */
START_TEST(start_limit) {
    struct service_config config = config_of(100 * MSEC, 100 * MSEC, 60 * SEC);
    struct restart_history history = {0};
    uint64_t now = NOW;
    bool limited;

    config.start_limit_burst = 3;
    config.start_limit_interval_usec = 10 * SEC;
    for (int round = 0; round < 3; round++) {
        ck_assert_uint_eq(restart_delay(&config, &history, now, 0, 0, &limited), 100 * MSEC);
        ck_assert(!limited);
        ck_assert_uint_eq(restart_delay(&config, &history, now + SEC, 0, 0, &limited), 100 * MSEC);
        ck_assert(!limited);
        ck_assert_uint_eq(restart_delay(&config, &history, now + 4 * SEC, 0, 0, &limited), 6 * SEC);
        ck_assert(limited);
        now += 10 * SEC;
    }
    /* Slow enough: the window is over before the third. */
    history = (struct restart_history){0};
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_eq(restart_delay(&config, &history, now, 0, 0, &limited), 100 * MSEC);
        ck_assert(!limited);
        now += 6 * SEC;
    }
}
END_TEST

START_TEST(start_limit_extremes) {
    struct service_config config = config_of(20 * SEC, 20 * SEC, 60 * SEC);
    struct restart_history history = {0};
    bool limited;

    config.start_limit_burst = 1;
    config.start_limit_interval_usec = 10 * SEC;
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited),
                      20 * SEC); /* longer than what is left */
    ck_assert(limited);
    config.restart_usec = 0;
    history = (struct restart_history){0};
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 10 * SEC);
    ck_assert(limited);

    config.start_limit_interval_usec = USEC_INFINITY; /* so many starts, and no more */
    history = (struct restart_history){0};
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), USEC_INFINITY);
    ck_assert(limited);
    config.start_limit_interval_usec = 0;
    ck_assert_uint_lt(restart_delay(&config, &history, NOW, 0, 0, &limited), USEC_INFINITY);
    ck_assert(!limited);
    config.start_limit_interval_usec = 10 * SEC;
    config.start_limit_burst = 0;
    for (int i = 0; i < 1000; i++) {
        (void) restart_delay(&config, &history, NOW, 0, 0, &limited);
        ck_assert(!limited);
    }
}
END_TEST

/* Chance takes off up to a tenth, never from the first delay, and never below RestartSec=. */
START_TEST(scattering) {
    const struct service_config config = config_of(100 * MSEC, 30 * SEC, 60 * SEC),
                                flat = config_of(5 * SEC, 5 * SEC, 60 * SEC),
                                zero = config_of(0, 30 * SEC, SEC);
    const uint32_t draws[] = {0, 1, 1024, 1025, 12345, UINT32_MAX};
    uint64_t seen_least = USEC_INFINITY, seen_most = 0;
    bool limited;

    for (uint32_t i = 0; i < 1100; i++) {
        uint32_t random = i < ELEMENTSOF(draws) ? draws[i] : i;
        struct restart_history history = {0};
        uint64_t delay;

        ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, random, &limited), 100 * MSEC);
        delay = restart_delay(&config, &history, NOW, 0, random, &limited);
        ck_assert(delay >= 180 * MSEC && delay <= 200 * MSEC);
        for (int j = 0; j < 10; j++)
            delay = restart_delay(&config, &history, NOW, 0, random, &limited);
        ck_assert(delay >= 27 * SEC && delay <= 30 * SEC);
        seen_least = delay < seen_least ? delay : seen_least;
        seen_most = delay > seen_most ? delay : seen_most;

        history = (struct restart_history){0};
        for (int j = 0; j < 3; j++)
            ck_assert_uint_eq(restart_delay(&flat, &history, NOW, 0, random, &limited), 5 * SEC);
        history = (struct restart_history){0};
        ck_assert_uint_eq(restart_delay(&zero, &history, NOW, 0, random, &limited), 0);
        delay = restart_delay(&zero, &history, NOW, 0, random, &limited);
        ck_assert(delay >= 9 * MSEC && delay <= 10 * MSEC);
    }
    ck_assert_uint_lt(seen_least, 27 * SEC + SEC / 100); /* all of the tenth is made use of */
    ck_assert_uint_gt(seen_most, 30 * SEC - SEC / 100);
}
END_TEST

/* A daemon that ends at once, under the defaults: how often it is started in its first minute, and in an
 * hour. */
START_TEST(crash_loops_are_cheap) {
    const struct service_config config = config_of(100 * MSEC, 30 * SEC, 60 * SEC);
    struct restart_history history = {0};
    unsigned in_a_minute = 0, in_an_hour = 0;
    bool limited;

    for (uint64_t now = NOW; now < NOW + 3600 * SEC; in_an_hour++) {
        in_a_minute += now < NOW + 60 * SEC;
        now += restart_delay(&config, &history, now, 0, UINT32_MAX, &limited);
    }
    ck_assert_uint_le(in_a_minute, 11);
    ck_assert_uint_le(in_an_hour, 145);
    restart_forget(&history);
    ck_assert_uint_eq(restart_delay(&config, &history, NOW, 0, 0, &limited), 100 * MSEC);
}
END_TEST

START_TEST(exit_codes) {
    const struct {
        struct exit_status status;
        int by_itself, wanted;
    } rows[] = {
        {exited(0), 0, 0},
        {exited(7), 7, 7},
        {exited(255), 255, 255},
        {killed(SIGKILL), 137, 137},
        {killed(SIGTERM), 143, 0},
        {killed(SIGINT), 130, 0},
        {dumped(SIGSEGV), 139, 139},
        {dumped(SIGTERM), 143, 143},
        {unknown, 1, 1},
        {not_executed, 1, 1},
        {not_executed_but_reaped, 1, 1},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        ck_assert_int_eq(exit_status_to_code(&rows[i].status, false), rows[i].by_itself);
        ck_assert_int_eq(exit_status_to_code(&rows[i].status, true), rows[i].wanted);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("restart");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, policies);
    tcase_add_test(tests, short_buffer);
    tcase_add_test(tests, doubling);
    tcase_add_test(tests, health_resets);
    tcase_add_test(tests, caps);
    tcase_add_test(tests, start_limit);
    tcase_add_test(tests, start_limit_extremes);
    tcase_add_test(tests, scattering);
    tcase_add_test(tests, crash_loops_are_cheap);
    tcase_add_test(tests, exit_codes);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
