/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "methods-fixture.h"

#include "service/service-queues.h"

/* The queues are those of listeners of the test's own, which are there once the service's daemon, any
 * process, runs: before its start latchd itself connects to what is there. */

#define STAYS "exec sleep 100"

static struct service *watched(const char *name, unsigned warn) {
    _cleanup_free_ char *socket = NULL;
    struct service *service;

    ck_assert_int_ge(asprintf(&socket, "socket @/%s.s", name), 0);
    service = add_service(name, STAYS, socket, NULL);
    service->config->sockets[0]->queue_warn.number = warn;
    service->config->sockets[0]->queue_interval_usec = 10 * MSEC;
    return service;
}

static struct sockaddr_un address_of(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%.90s", in(name));
    return address;
}

static int listen_at(const char *name, int backlog) {
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static void come(const char *name, unsigned n) {
    struct sockaddr_un address = address_of(name);

    for (unsigned i = 0; i < n; i++) /* they stay for as long as the test runs */
        ck_assert_int_eq(connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                                 (struct sockaddr *) &address, sizeof address),
                         0);
}

static void take(int fd, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        fd_close(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

static void start(struct service *service) {
    service_handle(service, SERVICE_ON_START);
    until(service->state == SERVICE_RUNNING);
}

/* Nobody wants to know: there is nothing. */
START_TEST(nobody_asks) {
    struct service *service = watched("a", 0);
    _cleanup_close_ int fd = -EBADF;

    start(service);
    fd = listen_at("a.s", 1);
    come("a.s", 2);
    (void) linger(100 * MSEC);
    ck_assert_ptr_null(t.manager->queues);
    ck_assert_ptr_null(service->queues);
    ck_assert_uint_eq(t.events[EVENT_QUEUE_FILLED], 0);
}
END_TEST

START_TEST(fills_and_drains) {
    struct service *service = watched("a", 2), *other = watched("b", 0);
    _cleanup_close_ int fd = -EBADF;

    ck_assert_ptr_null(t.manager->queues); /* it does not run */
    start(service);
    start(other);
    fd = listen_at("a.s", 2);
    ck_assert_ptr_nonnull(t.manager->queues);
    come("a.s", 1);
    (void) linger(100 * MSEC);
    ck_assert_uint_eq(t.events[EVENT_QUEUE_FILLED], 0);
    come("a.s", 1);
    until(t.events[EVENT_QUEUE_FILLED] == 1);
    expect_part(t.last_message[EVENT_QUEUE_FILLED], "2 of 3 connections wait at ");
    expect_part(t.last_message[EVENT_QUEUE_FILLED], "/a.s for PID ");
    come("a.s", 1);
    until(t.events[EVENT_QUEUE_FILLED] == 2);
    expect_part(t.last_message[EVENT_QUEUE_FILLED], "3 of 3 connections wait");
    take(fd, 3);
    until(t.events[EVENT_QUEUE_DRAINED] == 1);
    expect_part(t.last_message[EVENT_QUEUE_DRAINED], "/a.s; at most 3 of 3 waited, for ");
    ck_assert_uint_eq(service->queues[0].high, 3);
    ck_assert_ptr_null(other->queues); /* nobody wants to know of that */
    ck_assert_uint_eq(t.events[EVENT_QUEUE_FILLED], 2);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    until(!t.manager->queues); /* the timer ends with the last one who is watched */
    ck_assert_uint_eq(t.events[EVENT_QUEUE_DRAINED], 1);
}
END_TEST

/* Its daemon ends while connections wait: that is told at once, and once. */
START_TEST(daemon_ends) {
    struct service *service = watched("a", 1);
    _cleanup_close_ int fd = -EBADF;

    start(service);
    fd = listen_at("a.s", 2);
    come("a.s", 2);
    until(t.events[EVENT_QUEUE_FILLED] == 1);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    ck_assert_uint_eq(t.events[EVENT_QUEUE_DRAINED], 1);
    expect_part(t.last_message[EVENT_QUEUE_DRAINED], "The daemon has ended, or no longer listens at ");
    ck_assert_uint_eq(service->queues[0].high, 2);
    until(!t.manager->queues);
}
END_TEST

/* QueueWarn= is taken away, and comes back with another number. */
START_TEST(threshold_changes) {
    struct service *service = watched("a", 1);
    _cleanup_close_ int fd = -EBADF;

    start(service);
    fd = listen_at("a.s", 2);
    come("a.s", 1);
    until(t.events[EVENT_QUEUE_FILLED] == 1);
    service->config->sockets[0]->queue_warn.number = 0;
    service_queues_follow(service);
    until(!t.manager->queues);
    ck_assert_uint_eq(t.events[EVENT_QUEUE_DRAINED], 0);
    service->config->sockets[0]->queue_warn.number = 2;
    service_queues_follow(service);
    (void) linger(100 * MSEC);
    ck_assert_uint_eq(t.events[EVENT_QUEUE_FILLED], 1);
    come("a.s", 1);
    until(t.events[EVENT_QUEUE_FILLED] == 2);
}
END_TEST

/* An interval that is long does not hold up one that is short. */
START_TEST(intervals) {
    struct service *slow = watched("slow", 1), *fast = watched("fast", 1);
    _cleanup_close_ int fd = -EBADF;

    slow->config->sockets[0]->queue_interval_usec = 3600 * USEC_PER_SEC;
    start(slow);
    start(fast);
    fd = listen_at("fast.s", 2);
    come("fast.s", 1);
    until(t.events[EVENT_QUEUE_FILLED] == 1);
}
END_TEST

static json_t *get_sockets(const char *service, json_t **ret_answer) {
    struct client client = call(service, "GetSockets", "{}");
    char error[64];

    *ret_answer = answer_of(&client, error);
    ck_assert_str_eq(error, "");
    return json_array_get(json_object_get(*ret_answer, "sockets"), 0);
}

static json_int_t number(json_t *row, const char *key) {
    json_t *value = json_object_get(row, key);

    return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* A look on request; what it found is remembered, and nothing goes on. */
START_TEST(method) {
    struct service *service = watched("a", 0);
    json_t *answer, *row;
    int fd;

    serve();
    row = get_sockets("a", &answer);
    ck_assert(json_is_false(json_object_get(row, "listening")) &&
              json_is_null(json_object_get(row, "queue")));
    ck_assert(json_is_null(json_object_get(answer, "mainPid")));
    json_decref(answer);
    start(service);
    fd = listen_at("a.s", 3);
    come("a.s", 2);
    (void) linger(100 * MSEC); /* the tables of a moment ago are gone */
    ck_assert_ptr_null(t.manager->queues);
    row = get_sockets("a", &answer);
    ck_assert_int_eq(number(answer, "mainPid"), service->record.main.pid);
    ck_assert_int_eq(number(row, "queue"), 2);
    ck_assert_int_eq(number(row, "backlog"), 3);
    ck_assert_int_eq(number(row, "limit"), 4);
    ck_assert_int_eq(number(row, "highWater"), 2);
    json_decref(answer);
    take(fd, 2);
    until(!t.manager->queues);
    row = get_sockets("a", &answer);
    ck_assert_int_eq(number(row, "queue"), 0);
    ck_assert_int_eq(number(row, "highWater"), 2);
    ck_assert_int_gt(number(row, "highWaterAtUSec"), 0);
    json_decref(answer);
    until(!t.manager->queues);
    ck_assert_uint_eq(t.events[EVENT_CONTROL_REQUEST], 0); /* nobody changed anything */
    fd_close(fd);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("service-queues");
    TCase *tcase = tcase_create("service-queues");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, nobody_asks);
    tcase_add_test(tcase, fills_and_drains);
    tcase_add_test(tcase, daemon_ends);
    tcase_add_test(tcase, threshold_changes);
    tcase_add_test(tcase, intervals);
    tcase_add_test(tcase, method);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return suite_run(suite());
}
