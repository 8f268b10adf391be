/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clocks jump while services run, back off, start and stop: the wall clock by years, to and fro, as a bad
 * NTP server or a dead battery makes it; and the time since boot by hours, as a machine that slept does.
 * Nothing is restarted for it, nothing is stuck, nothing hammers. */

#include "service-fixture.h"

#include <sys/syscall.h>

#define YEAR_SEC (365 * 86400L)

static struct { time_t realtime, boottime; /* seconds to add */ } jump;

/* For every library in this process, the loop's as well. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
    if (syscall(SYS_clock_gettime, clock, ret) < 0)
        return -1;
    if (clock == CLOCK_REALTIME)
        ret->tv_sec += jump.realtime;
    else if (clock == CLOCK_BOOTTIME)
        ret->tv_sec += jump.boottime;
    return 0;
}

static const time_t jumps[] = {10 * YEAR_SEC, -10 * YEAR_SEC, -56 * YEAR_SEC, 3600, -3600};

static struct service *run_one(void) {
    struct service *service =
        add_service("a", "trap '' TERM; echo $$ >>@/starts; exec sleep 100", "Restart=always",
                    "RestartSec=300ms", "RestartMaxDelaySec=300ms", "TimeoutStopSec=500ms", NULL);

    service_handle(service, SERVICE_ON_START);
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    return service;
}

START_TEST(wall_clock_while_running) {
    struct service *service = run_one();
    pid_t pid = service->record.main.pid;

    for (size_t i = 0; i < ELEMENTSOF(jumps); i++) {
        jump.realtime = jumps[i];
        ck_assert_uint_le(linger(100 * MSEC), 3);
        assert_state(service, SERVICE_RUNNING);
        ck_assert_int_eq(service->record.main.pid, pid);
    }
    ck_assert_uint_eq(count_lines("starts"), 1);
}
END_TEST

/* The delay before a restart is what it was, whatever the wall clock does meanwhile. */
START_TEST(wall_clock_while_backing_off) {
    struct service *service = run_one();
    uint64_t before;

    jump.realtime = jumps[_i];
    before = now_usec(CLOCK_MONOTONIC);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_BACKOFF);
    jump.realtime = -jumps[_i];
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - before, 290 * MSEC);
    ck_assert_uint_eq(service->record.restarts, 1);
}
END_TEST

START_TEST(wall_clock_while_stopping) {
    struct service *service = run_one();
    pid_t pid = service->record.main.pid;

    service_handle(service, SERVICE_ON_STOP);
    jump.realtime = jumps[_i];
    until(service_is_down(service));
    ck_assert(!is_alive(pid));
    ck_assert_uint_eq(t.events[EVENT_STOP_TIMEOUT], 1);
}
END_TEST

/* The next latchd comes when the wall clock is another: the daemon is taken over, not started a second time.
 */
START_TEST(wall_clock_between_two_supervisors) {
    struct service *service = run_one();
    pid_t pid = service->record.main.pid;

    jump.realtime = jumps[_i];
    t.manager = manager_free(t.manager);
    open_manager();
    service = add_service("a", "echo $$ >>@/starts; exec sleep 100", "Restart=always", NULL);
    ck_assert_int_eq(service_adopt(service), 1);
    until(service->state == SERVICE_RUNNING);
    ck_assert_int_eq(service->record.main.pid, pid);
    ck_assert_uint_eq(count_lines("starts"), 1);
}
END_TEST

/* The machine slept for a day. What was due is done once; what runs goes on. */
START_TEST(a_machine_that_slept) {
    struct service *service = run_one();
    pid_t pid = service->record.main.pid;

    jump.boottime = jump.realtime = 86400;
    (void) linger(100 * MSEC);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_int_eq(service->record.main.pid, pid);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    until(service->state == SERVICE_BACKOFF);
    jump.boottime = jump.realtime = 2 * 86400; /* again, in the middle of the delay */
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    ck_assert_uint_eq(service->record.restarts, 1);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("clock-jumps");

    tcase_add_test(tests, wall_clock_while_running);
    tcase_add_loop_test(tests, wall_clock_while_backing_off, 0, (int) ELEMENTSOF(jumps));
    tcase_add_loop_test(tests, wall_clock_while_stopping, 0, (int) ELEMENTSOF(jumps));
    tcase_add_loop_test(tests, wall_clock_between_two_supervisors, 0, (int) ELEMENTSOF(jumps));
    tcase_add_test(tests, a_machine_that_slept);
    return run_suite("clock-jumps", tests);
}
