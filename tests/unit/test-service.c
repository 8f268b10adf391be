/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service-fixture.h"

/* The lives of services: each test has a manager and small daemons. */

/* The script tells of its start and stays. */
#define STAYS "echo $$ >>@/starts; exec sleep 100"
static struct service *start(struct service *service) {
    service_handle(service, SERVICE_ON_START);
    return service;
}

START_TEST(up_and_down) {
    struct service *service = add_service("a", "env >@/env; " STAYS, NULL);
    _cleanup_free_ char *environment = NULL;
    struct service_record record;
    char line[64];
    pid_t pid;

    assert_state(service, SERVICE_STOPPED);
    start(service);
    assert_state(service, SERVICE_STARTING);
    until(service->state == SERVICE_RUNNING);
    until(count_lines("starts") == 1);
    pid = service->record.main.pid;
    ck_assert_int_eq(read_pid("starts"), pid);
    ck_assert_int_eq(state_file_read(t.manager->runtime_dir_fd, "a", &record, NULL), 0);
    ck_assert(process_id_equal(&record.main, &service->record.main));
    ck_assert_uint_eq(record.generation, 1);
    ck_assert_int_eq(fd_read_file_at(AT_FDCWD, in("env"), 65536, &environment, NULL), 0);
    ck_assert_ptr_nonnull(strstr(environment, "LATCHD_SERVICE=a\n"));
    snprintf(line, sizeof line, "INVOCATION_ID=%s\n", record.invocation_id);
    ck_assert_ptr_nonnull(strstr(environment, line));

    service_handle(service, SERVICE_ON_START); /* it runs already */
    assert_state(service, SERVICE_RUNNING);
    service_handle(service, SERVICE_ON_STOP);
    assert_state(service, SERVICE_STOPPING);
    until(service_is_down(service));
    assert_state(service, SERVICE_STOPPED);
    ck_assert(!is_alive(pid));
    ck_assert_int_eq(service->last_exit.status, SIGTERM);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_STARTING], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_STOPPED], 1);
    ck_assert_uint_eq(
        t.events[EVENT_EXEC_FAILED] + t.events[EVENT_SERVICE_EXITED] + t.events[EVENT_SERVICE_FAILED], 0);
    ck_assert_uint_le(linger(200 * MSEC), 5); /* NAME.state is written; and nothing wakes up */
}
END_TEST

START_TEST(ends) {
    static const struct {
        const char *script, *restart;
        enum service_state state;
        int code, status;
        const char *why; /* in its status; of a delay only how it begins */
    } rows[] = {
        {"exit 0", "Restart=no", SERVICE_STOPPED, CLD_EXITED, 0,
         "the daemon ended by itself with status 0; Restart=no does not restart it; latchctl start a"},
        {"exit 0", "Restart=on-failure", SERVICE_STOPPED, CLD_EXITED, 0,
         "the daemon ended by itself with status 0; Restart=on-failure does not restart it; latchctl start "
         "a"},
        {"exit 3", "Restart=no", SERVICE_FAILED, CLD_EXITED, 3,
         "the daemon exited with status 3; Restart=no does not restart it; once mended: latchctl start a"},
        {"exit 3", "Restart=on-abnormal", SERVICE_FAILED, CLD_EXITED, 3,
         "the daemon exited with status 3; Restart=on-abnormal does not restart it; once mended: latchctl "
         "start a"},
        {"exit 3", "Restart=on-failure", SERVICE_BACKOFF, CLD_EXITED, 3,
         "the daemon exited with status 3; next try at "},
        {"exit 0", "Restart=always", SERVICE_BACKOFF, CLD_EXITED, 0,
         "the daemon exited with status 0; next try at "},
        {"kill -SEGV $$", "Restart=no", SERVICE_FAILED, CLD_KILLED, SIGSEGV,
         "the daemon was killed by SIGSEGV; Restart=no does not restart it; once mended: latchctl start a"},
        {"kill -KILL $$", "Restart=on-abnormal", SERVICE_BACKOFF, CLD_KILLED, SIGKILL,
         "the daemon was killed by SIGKILL; next try at "},
        {"kill -TERM $$", "Restart=on-failure", SERVICE_STOPPED, CLD_KILLED, SIGTERM,
         "the daemon was killed by SIGTERM, which counts as a clean end; Restart=on-failure does not restart "
         "it; "
         "latchctl start a"},
    };
    struct service *service =
        start(add_service("a", rows[_i].script, rows[_i].restart, "RestartSec=100s", "LimitCORE=0", NULL));

    until(service->last_exit_usec != 0);
    assert_state(service, rows[_i].state);
    ck_assert(service->last_exit.known);
    ck_assert_int_eq(service->last_exit.code, rows[_i].code);
    ck_assert_int_eq(service->last_exit.status, rows[_i].status);
    ck_assert_int_lt(service->main_pidfd, 0);
    ck_assert_uint_eq(service->record.restarts, rows[_i].state == SERVICE_BACKOFF);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_FAILED], rows[_i].state == SERVICE_FAILED);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_ENDED], rows[_i].state == SERVICE_STOPPED);
    assert_why(service, rows[_i].why, rows[_i].state != SERVICE_BACKOFF);
    if (rows[_i].state != SERVICE_BACKOFF) {
        const char *told =
            t.last_message[rows[_i].state == SERVICE_FAILED ? EVENT_SERVICE_FAILED : EVENT_SERVICE_ENDED];

        ck_assert_ptr_nonnull(strstr(told, rows[_i].why));
        ck_assert_ptr_nonnull(
            strstr(told, "(latchd stays, and answers latchctl; SIGTERM or Ctrl-C ends it)"));
    }
    ck_assert_uint_le(linger(200 * MSEC), 5);
    assert_state(service, rows[_i].state);
    service_handle(service, SERVICE_ON_STOP);
    assert_state(service, SERVICE_STOPPED);
    ck_assert(service_is_down(service));
}
END_TEST

START_TEST(ignores_sigterm) {
    struct service *service = start(add_service(
        "a", "trap '' TERM; echo $$ >>@/starts; while :; do sleep 0.05; done", "TimeoutStopSec=300ms", NULL));
    uint64_t before;

    until(count_lines("starts") == 1);
    before = now_usec(CLOCK_MONOTONIC);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - before, 290 * MSEC);
    ck_assert_int_eq(service->last_exit.status, SIGKILL);
    ck_assert_uint_eq(t.events[EVENT_STOP_TIMEOUT], 1);
    assert_state(service, SERVICE_STOPPED);
}
END_TEST

START_TEST(cannot_be_executed) {
    static const char *const programs[] = {"!/no/such/program", "!no-such-program-in-path", "!/etc/passwd",
                                           "!/tmp"};
    struct service *service = start(add_service(
        "a", programs[_i], _i < 2 ? "Restart=no" : "Restart=on-failure", "RestartSec=100s", NULL));

    until(service->last_exit_usec != 0);
    assert_state(service, _i < 2 ? SERVICE_FAILED : SERVICE_BACKOFF);
    ck_assert(service->last_exit.failed_to_execute);
    ck_assert_ptr_nonnull(service->failure.message);
    ck_assert_ptr_nonnull(strstr(service->failure.message, programs[_i] + 1));
    ck_assert_uint_eq(t.events[EVENT_EXEC_FAILED], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 0);
    (void) linger(50 * MSEC);
    ck_assert_int_lt(waitpid(-1, NULL, WNOHANG), 0); /* no child is left */
}
END_TEST

/* RestartSec=0 and a daemon that cannot be started: the delays grow all the same, and nothing recurses. */
START_TEST(no_delay) {
    static const char *const programs[] = {"!/no/such/program", "!no-such-program-in-path", "exit 1"};
    struct service *service =
        start(add_service("a", programs[_i], "Restart=always", "RestartSec=0", "RestartResetSec=1s", NULL));

    (void) linger(400 * MSEC);
    ck_assert_uint_ge(service->record.restarts, 3);
    ck_assert_uint_le(service->record.restarts, 7); /* 0, 10, 20, 40, 80, 160, 320 ms */
}
END_TEST

START_TEST(back_off_grows_and_ends) {
    struct service *service =
        start(add_service("a", "echo >>@/starts; test $(wc -l <@/starts) -ge 4 || exit 1; exec sleep 100",
                          "RestartSec=50ms", NULL));
    uint64_t before = now_usec(CLOCK_MONOTONIC);

    until(count_lines("starts") == 4);
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - before, (50 + 90 + 180) * MSEC);
    until(service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(service->record.restarts, 3);
    ck_assert_uint_eq(service->record.generation, 4);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_RESTART_SCHEDULED], 3);
}
END_TEST

/* It ran for long; then its program is gone. That it once ran well must not make each try the first one. */
START_TEST(back_off_after_health) {
    struct service *service;

    ck_assert_int_eq(symlink("/bin/sleep", in("sleep")), 0);
    service =
        add_service("a", "!@/sleep", "Restart=always", "RestartSec=20ms", "RestartResetSec=200ms", NULL);
    ck_assert_int_eq(service_config_append_arguments(service->config, (char *[]){(char *) "0.3", NULL}), 0);
    start(service);
    until(service->state == SERVICE_RUNNING);
    ck_assert_int_eq(unlink(in("sleep")), 0);
    (void) memcpy(service->config->exec_start[0], "no-such",
                  sizeof "no-such"); /* nothing to fork for, even */
    until(service->record.restarts == 4);
    ck_assert_uint_eq(service->history.in_a_row, 4);
}
END_TEST

START_TEST(stopped_while_backing_off) {
    struct service *service = start(add_service("a", "echo >>@/starts; exit 1", "RestartSec=100ms", NULL));

    until(service->state == SERVICE_BACKOFF);
    service_handle(service, SERVICE_ON_STOP);
    assert_state(service, SERVICE_STOPPED);
    (void) linger(300 * MSEC);
    ck_assert_uint_eq(count_lines("starts"), 1);
    assert_state(service, SERVICE_STOPPED);
}
END_TEST

/* ---- starts that take their time ---- */

/* The limit on starts, in words: while it waits, and where it waits for ever. */
START_TEST(started_too_often) {
    struct service *service =
        start(add_service("a", "exit 3", "RestartSec=0", "StartLimitBurst=2",
                          _i == 0 ? "StartLimitIntervalSec=1h" : "StartLimitIntervalSec=infinity", NULL));

    until(_i == 0 ? service->backoff_limited && service->state == SERVICE_BACKOFF
                  : service->state == SERVICE_FAILED);
    if (_i == 0)
        assert_why(service,
                   "the daemon exited with status 3; started too often (StartLimitBurst=2 within "
                   "StartLimitIntervalSec=1h); next try at ",
                   false);
    else
        assert_why(
            service,
            "the daemon exited with status 3. Started too often (StartLimitBurst=2 within "
            "StartLimitIntervalSec=infinity): not started again by itself; once mended: latchctl start a",
            true);
}
END_TEST

/* That it once ended by itself says nothing of a stop that somebody asked for later. */
START_TEST(stopped_after_an_end) {
    struct service *service = start(add_service("a", "exit 0", "lock @/lock:flock", NULL));
    json_t *status;
    pid_t holder;

    until(t.events[EVENT_SERVICE_ENDED] == 1);
    holder = hold_lock("lock");
    start(service);
    until(service->state == SERVICE_BLOCKED);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    status = service_status_to_json(service, false);
    ck_assert(json_is_null(json_object_get(status, "statusText")));
    json_decref(status);
    ck_assert_int_eq(kill(holder, SIGKILL), 0);
}
END_TEST

START_TEST(stopped_during_start) {
    struct service *service = start(add_service("a", STAYS, "socket @/s", "Type=socket", NULL));

    if (_i == 1)
        until(count_lines("starts") == 1);
    if (_i == 2)
        (void) turn(0);
    assert_state(service, SERVICE_STARTING);
    service_handle(service, SERVICE_ON_STOP);
    assert_state(service, SERVICE_STOPPING);
    until(service_is_down(service));
    assert_state(service, SERVICE_STOPPED);
    ck_assert_ptr_null(service->launch);
    ck_assert_uint_eq(t.events[EVENT_EXEC_FAILED], 0); /* that it never came to be was wanted */
    ck_assert_uint_eq(t.events[EVENT_SERVICE_STOPPED], 1);
    ck_assert_uint_le(linger(100 * MSEC), 5);
}
END_TEST

START_TEST(never_ready) {
    static const char *const policies[] = {"Restart=no", "Restart=on-failure", "Restart=on-abnormal",
                                           "Restart=always"};
    struct service *service =
        start(add_service("a", STAYS, "socket @/s", "Type=socket", "TimeoutStartSec=200ms", policies[_i],
                          "RestartSec=100s", NULL));

    until(service->last_exit_usec != 0);
    assert_state(service, _i == 0 ? SERVICE_FAILED : SERVICE_BACKOFF); /* not at once again and again */
    ck_assert_uint_eq(service->record.restarts, _i > 0);
    ck_assert_uint_eq(t.events[EVENT_READY_TIMEOUT], 1);
    ck_assert_ptr_nonnull(strstr(service->failure.message, "not ready within 200ms"));
    ck_assert_ptr_nonnull(strstr(service->failure.message, "s is not there"));
    ck_assert(!service->end_is_failure);
}
END_TEST

/* It is being stopped as it was not ready in time, and somebody has another wish. */
START_TEST(never_ready_and_asked_otherwise) {
    static const enum service_event wishes[] = {SERVICE_ON_STOP, SERVICE_ON_START, SERVICE_ON_RESTART};
    struct service *service =
        start(add_service("a", "trap '' TERM; echo $$ >>@/starts; while :; do sleep 0.05; done", "socket @/s",
                          "Type=socket", "TimeoutStartSec=200ms", "TimeoutStopSec=200ms", NULL));

    until(service->state == SERVICE_STOPPING);
    service_handle(service, wishes[_i]);
    /* What its script had begun takes its time to end. */
    until(service->state != SERVICE_STOPPING && service->state != SERVICE_SWEEPING &&
          service->state != SERVICE_RECOVERING);
    assert_state(service, wishes[_i] == SERVICE_ON_STOP ? SERVICE_STOPPED : SERVICE_STARTING);
    ck_assert_uint_eq(service->record.restarts, 0);
}
END_TEST

/* An end after a stop and a start is not that stop's. */
START_TEST(ends_after_a_stop) {
    struct service *service = start(add_service("a", STAYS, "Restart=no", NULL));

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    start(service);
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_FAILED);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_EXITED], 1);
}
END_TEST

START_TEST(restarted_twice) {
    struct service *service = start(add_service("a",
                                                "trap 'sleep 0.2; exit 0' TERM; echo $$ >>@/starts; "
                                                "while :; do sleep 0.05; done",
                                                NULL));

    until(count_lines("starts") == 1);
    service_handle(service, SERVICE_ON_RESTART);
    service_handle(service, SERVICE_ON_RESTART);
    assert_state(service, SERVICE_STOPPING);
    until(count_lines("starts") == 2);
    until(service->state == SERVICE_RUNNING);
    (void) linger(400 * MSEC);
    ck_assert_uint_eq(service->record.generation, 2);
    ck_assert_uint_eq(count_lines("starts"), 2);

    service_handle(service, SERVICE_ON_RESTART);
    service_handle(service, SERVICE_ON_STOP); /* the last word counts */
    until(service_is_down(service));
    (void) linger(200 * MSEC);
    assert_state(service, SERVICE_STOPPED);
    service_handle(service, SERVICE_ON_RESTART); /* of what does not run: a start */
    until(service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(service->record.generation, 3);
}
END_TEST

/* Neither descriptors nor memory (the sanitizer tells) stay behind. */
START_TEST(a_hundred_lives) {
    struct service *service = start(add_service("a", STAYS, NULL));
    unsigned before;

    until(service->state == SERVICE_RUNNING);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    before = count_descriptors();
    for (int i = 0; i < 100; i++) {
        start(service);
        if (i % 2)
            until(service->state == SERVICE_RUNNING);
        service_handle(service, SERVICE_ON_STOP);
        until(service_is_down(service));
    }
    ck_assert_uint_eq(count_descriptors(), before);
    ck_assert_uint_eq(service->record.generation, 101);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, up_and_down);
    tcase_add_loop_test(tests, ends, 0, 9);
    tcase_add_test(tests, ignores_sigterm);
    tcase_add_loop_test(tests, cannot_be_executed, 0, 4);
    tcase_add_loop_test(tests, no_delay, 0, 3);
    tcase_add_test(tests, back_off_grows_and_ends);
    tcase_add_test(tests, back_off_after_health);
    tcase_add_test(tests, stopped_while_backing_off);
    tcase_add_loop_test(tests, started_too_often, 0, 2);
    tcase_add_test(tests, stopped_after_an_end);
    tcase_add_loop_test(tests, stopped_during_start, 0, 3);
    tcase_add_loop_test(tests, never_ready, 0, 4);
    tcase_add_loop_test(tests, never_ready_and_asked_otherwise, 0, 3);
    tcase_add_test(tests, ends_after_a_stop);
    tcase_add_test(tests, restarted_twice);
    tcase_add_test(tests, a_hundred_lives);
    return run_suite("service", tests);
}
