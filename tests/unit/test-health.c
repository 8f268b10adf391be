/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Probes and watchdog of daemons that run: who is busy, stopped or hung, and what is done about it. The test
 * serves the control sockets itself, so that what the daemon does and what its socket does are apart. */
#include <sys/socket.h>
#include <sys/un.h>

#include "service/pulse.h"
#include "service/status.h"

#include "service-fixture.h"

static struct {
    int listen_fd;
    sd_event_source *listener;
    bool answers;
    int clients[64];
    unsigned n_clients, open_most;
    uint64_t at_usec[64]; /* when each came */
} s;

#define GOOD "{ \"result\": 0 }"

static void close_server(void) {
    s.listener = sd_event_source_disable_unref(s.listener);
    s.listen_fd = fd_close(s.listen_fd);
    for (unsigned i = 0; i < s.n_clients; i++)
        s.clients[i] = fd_close(s.clients[i]);
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    unsigned open = 1;

    (void) source;
    (void) events;
    (void) userdata;
    ck_assert_uint_lt(s.n_clients, ELEMENTSOF(s.clients));
    for (unsigned i = 0; i < s.n_clients; i++) {
        char byte;

        if (s.clients[i] >= 0 && recv(s.clients[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0)
            open++;
    }
    s.open_most = open > s.open_most ? open : s.open_most;
    s.at_usec[s.n_clients] = now_usec(CLOCK_MONOTONIC);
    s.clients[s.n_clients] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(s.clients[s.n_clients], 0);
    if (s.answers) {
        (void) !send(s.clients[s.n_clients], GOOD, strlen(GOOD), MSG_NOSIGNAL); /* it may have gone already */
        s.clients[s.n_clients] = fd_close(s.clients[s.n_clients]);
    }
    s.n_clients++;
    return 0;
}

static void serve(bool answers) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memset(&s, 0, sizeof s);
    s.answers = answers;
    strcpy(address.sun_path, in("s"));
    s.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(s.listen_fd, 0);
    ck_assert_int_eq(bind(s.listen_fd, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(s.listen_fd, 20), 0);
    ck_assert_int_ge(sd_event_add_io(t.manager->event, &s.listener, s.listen_fd, EPOLLIN, on_listener, NULL),
                     0);
    t.at_end = close_server;
}

static struct service *begin(struct service *service) {
    service_handle(service, SERVICE_ON_START);
    until(service->state == SERVICE_RUNNING);
    return service;
}

/* The socket comes when the daemon runs, lest recovery find it in somebody else's hands. */
static struct service *add_probed(bool answers, const char *restart, uint64_t interval_usec,
                                  uint64_t timeout_usec) {
    struct service *service = add_service("probed", "exec sleep 1000", "socket @/s", restart,
                                          "RestartSec=10s", "RestartMaxDelaySec=10s", NULL);
    struct socket_config *socket = service->config->sockets[0];

    service->config->type = SERVICE_TYPE_SIMPLE;
    begin(service);
    serve(answers);
    socket->probe = SOCKET_PROBE_KEA;
    socket->probe_interval_usec = interval_usec;
    socket->probe_timeout_usec = timeout_usec;
    service_begin_health(service);
    return service;
}

static struct service *add_watched(const char *script, const char *restart) {
    return begin(add_service("watched", script, "WatchdogSec=300ms", restart, "RestartSec=10s",
                             "RestartMaxDelaySec=10s", NULL));
}

static json_t *health_of(struct service *service) {
    json_t *status = service_status_to_json(service, false), *health;

    ck_assert_ptr_nonnull(status);
    health = json_incref(json_object_get(status, "health"));
    json_decref(status);
    ck_assert(json_is_object(health));
    return health;
}

static void assert_health(struct service *service, const char *verdict) {
    json_t *health = health_of(service);

    ck_assert_str_eq(json_string_value(json_object_get(health, "verdict")), verdict);
    json_decref(health);
}

static unsigned all_findings(void) {
    return t.events[EVENT_DAEMON_BUSY] + t.events[EVENT_DAEMON_STOPPED] + t.events[EVENT_DAEMON_UNANSWERED] +
           t.events[EVENT_DAEMON_HUNG];
}

START_TEST(nobody_asks) {
    struct service *service;

    service = add_probed(true, "Restart=no", 0, USEC_PER_SEC);
    (void) linger(USEC_PER_SEC);              /* what the start left to do */
    ck_assert_uint_eq(linger(500 * MSEC), 0); /* nothing wakes up */
    ck_assert_uint_eq(s.n_clients, 0);
    ck_assert_ptr_null(service->health);
    assert_health(service, "unchecked");
}
END_TEST

START_TEST(asked_from_time_to_time) {
    struct service *service;

    service = add_probed(true, "Restart=no", 200 * MSEC, 5 * USEC_PER_SEC);
    until(s.n_clients >= 6);
    ck_assert_uint_eq(s.open_most, 1); /* never two at a time */
    ck_assert_uint_gt(service->answer_usec[0], 0);
    for (unsigned i = 1; i < s.n_clients; i++)
        ck_assert_uint_ge(s.at_usec[i] - s.at_usec[i - 1], 170 * MSEC);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG] + t.events[EVENT_DAEMON_STOPPED], 0);
    assert_health(service, "healthy");
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    (void) linger(50 * MSEC); /* recovery has looked */
    s.n_clients = 0;
    (void) linger(500 * MSEC);
    ck_assert_uint_eq(s.n_clients, 0); /* nobody who is down is asked */
}
END_TEST

/* A look at a daemon that runs makes no connection to it. */
START_TEST(status_makes_no_connection) {
    struct service *service = add_service("looked", "exec sleep 1000", "socket @/s", NULL);
    json_t *status, *socket;

    free(service->config->sockets[0]->lock.path); /* nothing but the socket itself tells */
    service->config->sockets[0]->lock.path = NULL;
    service->config->type = SERVICE_TYPE_SIMPLE;
    begin(service);
    serve(true);
    (void) linger(50 * MSEC);
    status = service_status_to_json(service, true);
    (void) linger(100 * MSEC);
    ck_assert_uint_eq(s.n_clients, 0);
    socket = json_array_get(json_object_get(status, "sockets"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(socket, "verdict")), "held");
    ck_assert_int_eq(json_integer_value(json_object_get(socket, "queue")), 0);
    json_decref(status);
}
END_TEST

/* Services that were begun together are asked at different times. */
START_TEST(not_all_at_once) {
    struct service *services[20];
    uint64_t first = UINT64_MAX, last = 0;

    for (size_t i = 0; i < ELEMENTSOF(services); i++) {
        char name[16];

        snprintf(name, sizeof name, "s%zu", i);
        services[i] = add_service(name, "exec sleep 1000", "socket @/s", NULL);
        services[i]->config->type = SERVICE_TYPE_SIMPLE;
        begin(services[i]);
    }
    serve(true);
    for (size_t i = 0; i < ELEMENTSOF(services); i++) {
        services[i]->config->sockets[0]->probe_interval_usec = 3 * USEC_PER_SEC;
        service_begin_health(services[i]);
    }
    until(s.n_clients >= ELEMENTSOF(services));
    for (unsigned i = 0; i < ELEMENTSOF(services); i++) {
        first = s.at_usec[i] < first ? s.at_usec[i] : first;
        last = s.at_usec[i] > last ? s.at_usec[i] : last;
    }
    ck_assert_uint_ge(last - first, USEC_PER_SEC);
}
END_TEST

/* Idle, and two probes in a row without an answer. */
START_TEST(hung) {
    struct service *service;
    json_t *health, *last;
    pid_t pid;

    service = add_probed(false, "Restart=on-failure", 200 * MSEC, 300 * MSEC);
    pid = service->record.main.pid;
    until(service->state == SERVICE_BACKOFF);
    ck_assert(!is_alive(pid));
    ck_assert_uint_eq(s.n_clients, 2);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_UNANSWERED], 1);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 1);
    ck_assert_int_eq(service->last_exit.status, SIGABRT);
    ck_assert_str_eq(service->failure.name, "Hung");
    health = health_of(service);
    ck_assert(json_is_null(json_object_get(health, "verdict"))); /* of whom? */
    last = json_object_get(health, "lastHang");
    ck_assert_str_eq(json_string_value(json_object_get(last, "symptom")), "no-answer");
    last = json_object_get(last, "evidence");
    ck_assert_str_eq(json_string_value(json_object_get(last, "state")), "S");
    ck_assert(json_is_string(json_object_get(last, "wchan")));
    ck_assert(json_is_string(json_object_get(last, "stack")));
    ck_assert_int_ge(json_integer_value(json_object_get(last, "windowUSec")), 900000);
    json_decref(health);
}
END_TEST

/* An answer to the second probe is enough. */
START_TEST(slow_once) {
    struct service *service;

    service = add_probed(false, "Restart=on-failure", 200 * MSEC, 300 * MSEC);
    until(t.events[EVENT_DAEMON_UNANSWERED] == 1);
    assert_health(service, "unanswered");
    s.answers = true;
    until(t.events[EVENT_DAEMON_WELL] == 1);
    assert_health(service, "healthy");
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 0);
}
END_TEST

/* Restart=no: told, once, and left alone. */
START_TEST(hung_and_left) {
    struct service *service;

    service = add_probed(false, "Restart=no", 200 * MSEC, 200 * MSEC);
    until(t.events[EVENT_DAEMON_HUNG] == 1);
    (void) linger(2500 * MSEC);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 1);
    assert_state(service, SERVICE_RUNNING);
    assert_health(service, "hung");
    ck_assert(is_alive(service->record.main.pid));
}
END_TEST

/* Nobody listens any more: told, but the daemon may be well in all else. */
START_TEST(no_listener) {
    struct service *service;

    service = add_probed(true, "Restart=always", 200 * MSEC, 200 * MSEC);
    until(s.n_clients > 0);
    close_server();
    until(t.events[EVENT_DAEMON_UNANSWERED] == 1);
    (void) linger(3 * USEC_PER_SEC);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_UNANSWERED], 1);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 0);
}
END_TEST

START_TEST(watchdog_environment) {
    struct service *service =
        add_service("w", "echo \"$WATCHDOG_USEC $WATCHDOG_PID $$\" >@/environment; exec sleep 1000",
                    "WatchdogSec=90s", NULL);
    unsigned usec = 0;
    int pid = 0, own = -1;
    FILE *file;

    begin(service);
    until(count_lines("environment") == 1);
    file = fopen(in("environment"), "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%u %d %d", &usec, &pid, &own), 3);
    (void) fclose(file);
    ck_assert_uint_eq(usec, 90 * USEC_PER_SEC);
    ck_assert_int_eq(pid, own);
    ck_assert_int_eq(pid, service->record.main.pid);
}
END_TEST

START_TEST(watchdog_kept) {
    struct service *service = add_watched("exec sleep 1000", "Restart=on-failure");

    for (int i = 0; i < 20; i++) {
        service_watchdog_ping(service);
        (void) linger(100 * MSEC);
    }
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(all_findings(), 0);
    assert_health(service, "healthy");
}
END_TEST

/* Restart=no as well: it was ended for a failure. */
START_TEST(watchdog_missed) {
    struct service *service = add_watched("exec sleep 1000", _i == 0 ? "Restart=on-abnormal" : "Restart=no");
    pid_t pid = service->record.main.pid;

    until(service->state == (_i == 0 ? SERVICE_BACKOFF : SERVICE_FAILED));
    ck_assert(!is_alive(pid));
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 1);
    ck_assert_int_eq(service->last_exit.status, SIGABRT);
}
END_TEST

/* Its end is a failure though it says that all is well. */
START_TEST(watchdog_missed_and_polite) {
    struct service *service =
        add_watched("trap 'exit 0' ABRT; while :; do sleep 0.1; done", "Restart=on-failure");

    until(service->state == SERVICE_BACKOFF || service->state == SERVICE_STOPPED);
    assert_state(service, SERVICE_BACKOFF);
    ck_assert_int_eq(service->last_exit.code, CLD_EXITED);
    ck_assert_int_eq(service->last_exit.status, 0);
}
END_TEST

START_TEST(abort_ignored) {
    struct service *service =
        add_service("w", "trap '' ABRT; while :; do sleep 0.1; done", "WatchdogSec=300ms",
                    "TimeoutStopSec=500ms", "RestartSec=10s", NULL);

    begin(service);
    until(service->state == SERVICE_BACKOFF);
    ck_assert_int_eq(service->last_exit.status, SIGKILL);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_STOP_TIMEOUT], "SIGABRT"));
}
END_TEST

/* Somebody's SIGSTOP is told, once, and is no reason to end anybody; nor is the time right after it. */
START_TEST(stopped) {
    struct service *service = add_watched("exec sleep 1000", "Restart=always");
    pid_t pid = service->record.main.pid;

    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    until(t.events[EVENT_DAEMON_STOPPED] == 1);
    (void) linger(4 * USEC_PER_SEC);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_STOPPED], 1);
    ck_assert_uint_eq(all_findings(), 1);
    assert_state(service, SERVICE_RUNNING);
    assert_health(service, "stopped");
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    service_watchdog_ping(service);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_WELL], 1);
    assert_health(service, "healthy");
    ck_assert_int_eq(service->record.main.pid, pid);
}
END_TEST

/* Nobody watches it, and yet status tells. */
START_TEST(stopped_at_a_glance) {
    struct service *service = begin(add_service("g", "exec sleep 1000", NULL));
    json_t *health;

    ck_assert_int_eq(kill(service->record.main.pid, SIGSTOP), 0);
    for (struct proc_stat stat = {0}; stat.state != 'T';)
        ck_assert_int_eq(procfs_read_stat(t.manager->proc_fd, service->record.main.pid, &stat), 0);
    health = health_of(service);
    ck_assert_str_eq(json_string_value(json_object_get(health, "verdict")), "stopped");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(health, "text")), "SIGSTOP"));
    json_decref(health);
    ck_assert_int_eq(kill(service->record.main.pid, SIGCONT), 0);
}
END_TEST

/* One that works gets more time, three times, and no more. */
START_TEST(busy) {
    struct service *service = add_watched("while :; do :; done", "Restart=on-failure");

    until(t.events[EVENT_DAEMON_BUSY] == 1);
    assert_state(service, SERVICE_RUNNING);
    assert_health(service, "busy");
    until(service->state == SERVICE_BACKOFF);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_BUSY], 3);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], 1);
}
END_TEST

START_TEST(busy_for_a_while) {
    struct service *service = add_watched("while :; do :; done", "Restart=on-failure");

    until(t.events[EVENT_DAEMON_BUSY] == 2);
    service_watchdog_ping(service);
    ck_assert_uint_eq(t.events[EVENT_DAEMON_WELL], 1);
    until(t.events[EVENT_DAEMON_BUSY] == 5); /* counted anew */
    assert_state(service, SERVICE_RUNNING);
}
END_TEST

/* latchd itself was late: what had come meanwhile counts, and where nothing had, the daemon gets its time
 * anew. */
START_TEST(late_ourselves) {
    struct service *service = add_watched("exec sleep 1000", "Restart=on-failure");

    for (int i = 0; i < 3; i++) {
        (void) usleep(900 * MSEC); /* three times as long as it may take */
        (void) turn(0);
        (void) turn(0);
        ck_assert_uint_eq(t.manager->examinations, 0); /* it is not even looked at */
        service_watchdog_ping(service);
        (void) linger(100 * MSEC);
    }
    (void) linger(50 * MSEC);
    ck_assert_uint_eq(all_findings(), 0);
    assert_state(service, SERVICE_RUNNING);
    until(service->state == SERVICE_BACKOFF); /* and yet it is bounded */
}
END_TEST

/* WATCHDOG_USEC= from the daemon goes before WatchdogSec=, and holds for it alone. */
START_TEST(watchdog_set) {
    struct service *service = add_watched("exec sleep 1000", "Restart=on-failure");
    json_t *health;

    service_watchdog_set(service, 100 * USEC_PER_SEC);
    (void) linger(2 * USEC_PER_SEC);
    ck_assert_uint_eq(all_findings(), 0);
    health = health_of(service);
    ck_assert_int_eq(json_integer_value(json_object_get(health, "watchdogUSec")), 100 * USEC_PER_SEC);
    json_decref(health);
    service_watchdog_trigger(service);
    until(service->state == SERVICE_BACKOFF);
    health = health_of(service);
    ck_assert_int_eq(json_integer_value(json_object_get(health, "watchdogUSec")), 300 * MSEC);
    json_decref(health);
}
END_TEST

/* WATCHDOG_USEC=0 is none, and a ping that nobody asked for costs nothing. */
START_TEST(watchdog_off) {
    struct service *service = add_watched("exec sleep 1000", "Restart=on-failure");
    struct service *other = begin(add_service("other", "exec sleep 1000", NULL));

    service_watchdog_set(service, 0);
    service_watchdog_ping(other);
    ck_assert_ptr_null(other->health);
    (void) linger(USEC_PER_SEC);
    ck_assert_uint_eq(linger(USEC_PER_SEC), 0);
    ck_assert_uint_eq(all_findings(), 0);
}
END_TEST

/* Forty at once: all are found out, though only a few are looked at at a time; nothing is left open. */
START_TEST(many_hang) {
    enum { N = 40 };
    struct service *services[N];
    unsigned before, most = 0, down = 0;

    (void) linger(50 * MSEC);
    before = count_descriptors();
    for (size_t i = 0; i < N; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%zu", i);
        services[i] = begin(add_service(name, "exec sleep 1000", "WatchdogSec=1s", "Restart=no", NULL));
    }
    while (down < N) {
        (void) turn(20 * MSEC);
        most = t.manager->examinations > most ? t.manager->examinations : most;
        down = 0;
        for (size_t i = 0; i < N; i++)
            down += services[i]->state == SERVICE_FAILED;
    }
    ck_assert_uint_eq(t.events[EVENT_DAEMON_HUNG], N);
    ck_assert_uint_le(most, 8);
    ck_assert_uint_eq(t.manager->examinations, 0);
    ck_assert_uint_le(count_descriptors(),
                      before + 3 * N +
                          4); /* of each service: its lock, what recovery waits by, where it notifies */
}
END_TEST

START_TEST(pulse_rule) {
    ck_assert(pulse_is_due(1, 0));
    ck_assert(!pulse_is_due(1, 1));
    ck_assert(pulse_is_due(2, 1));
    ck_assert(pulse_is_due(1000, 1000));
}
END_TEST

/* WATCHDOG=1 goes to systemd as often as it wants it, and to nobody who does not. */
START_TEST(pulse) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned pings = 0;
    char text[512];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t n;

    t.manager = manager_free(t.manager);
    strcpy(address.sun_path, in("notify"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", in("notify"), 1), 0);
    ck_assert_int_eq(setenv("WATCHDOG_USEC", "400000", 1), 0);
    open_manager();
    (void) linger(1500 * MSEC);
    while ((n = recv(fd, text, sizeof text - 1, 0)) > 0) {
        text[n] = '\0';
        pings += strcmp(text, "WATCHDOG=1") == 0;
    }
    ck_assert_uint_ge(pings, 4);
    ck_assert_uint_le(pings, 9);
    t.manager = manager_free(t.manager);
    ck_assert_int_eq(unsetenv("WATCHDOG_USEC"), 0);
    open_manager();
    ck_assert_uint_eq(linger(500 * MSEC), 0);
    close(fd);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, nobody_asks);
    tcase_add_test(tests, asked_from_time_to_time);
    tcase_add_test(tests, not_all_at_once);
    tcase_add_test(tests, status_makes_no_connection);
    tcase_add_test(tests, hung);
    tcase_add_test(tests, slow_once);
    tcase_add_test(tests, hung_and_left);
    tcase_add_test(tests, no_listener);
    tcase_add_test(tests, watchdog_environment);
    tcase_add_test(tests, watchdog_kept);
    tcase_add_loop_test(tests, watchdog_missed, 0, 2);
    tcase_add_test(tests, watchdog_missed_and_polite);
    tcase_add_test(tests, abort_ignored);
    tcase_add_test(tests, stopped);
    tcase_add_test(tests, stopped_at_a_glance);
    tcase_add_test(tests, busy);
    tcase_add_test(tests, busy_for_a_while);
    tcase_add_test(tests, late_ourselves);
    tcase_add_test(tests, watchdog_set);
    tcase_add_test(tests, watchdog_off);
    tcase_add_test(tests, many_hang);
    tcase_add_test(tests, pulse_rule);
    tcase_add_test(tests, pulse);
    return run_suite("health", tests);
}
