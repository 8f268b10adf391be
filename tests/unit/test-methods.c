/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <grp.h>

#include "methods-fixture.h"

#define STAYS "echo $$ >>@/starts; exec sleep 100"
#define STUBBORN "trap '' TERM; echo $$ >>@/starts; while :; do sleep 0.05; done"
#define NEVER_READY STAYS, "socket @/s", "Type=socket"

/* ---- start ---- */

START_TEST(start_and_stop) {
    struct service *service = add_service("a", STAYS, NULL);
    struct client client;

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    assert_state(service, SERVICE_RUNNING);
    client = call("a", "Start", "{\"block\":true}"); /* it runs already */
    expect_done(&client);
    ck_assert_uint_eq(service->record.generation, 1);
    client = call("a", "Restart", "{\"block\":null,\"timeoutUSec\":null}");
    expect_done(&client);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(service->record.generation, 2);
    client = call("a", "Stop", "{}");
    expect_done(&client);
    assert_state(service, SERVICE_STOPPED);
    client = call("a", "Stop", "{}");
    expect_done(&client);
    ck_assert_uint_eq(t.events[EVENT_CONTROL_REQUEST], 5);
}
END_TEST

START_TEST(without_waiting) {
    struct service *service =
        add_service("a", NEVER_READY, "KillSignal=SIGUSR1", "TimeoutStopSec=300ms", NULL);
    struct client client;

    serve();
    client = call("a", "Start", "{\"block\":false}");
    expect_done(&client);
    assert_state(service, SERVICE_STARTING);
    client = call("a", "Stop", "{\"block\":false}");
    expect_done(&client);
    ck_assert(service->state == SERVICE_STOPPING || service_is_down(service));
    until(service_is_down(service));
}
END_TEST

START_TEST(not_in_time) {
    struct service *service = add_service("a", NEVER_READY, NULL);
    struct client client;
    uint64_t before = now_usec(CLOCK_MONOTONIC);

    serve();
    client = call("a", "Start", "{\"timeoutUSec\":200000}");
    expect_part(expect_error(&client, "Timeout"), "still starting");
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - before, 190 * MSEC);
    assert_state(service, SERVICE_STARTING); /* it goes on */
    client = call("a", "Start", "{\"timeoutUSec\":0}");
    (void) expect_error(&client, "Timeout");
    client = call("a", "Start", "{\"timeoutUSec\":9223372036854775807}");
    assert_silent(&client, 50 * MSEC);
    hang_up(&client);
}
END_TEST

/* Whoever waits for a start hears of its failure when it fails, and not when it is tried again. */
START_TEST(failures) {
    static const struct {
        const char *script, *restart, *timeout, *part;
    } rows[] = {
        {"exit 3", "Restart=no", "TimeoutStartSec=100s", "exited with status 3"},
        {"exit 3", "Restart=on-failure", "TimeoutStartSec=100s", "exited with status 3"},
        {"sleep 0.2; kill -KILL $$", "Restart=always", "TimeoutStartSec=100s", "was killed by SIGKILL"},
        {"!/no/such/program", "Restart=no", "TimeoutStartSec=100s", "/no/such/program"},
        {"!/no/such/program", "Restart=always", "TimeoutStartSec=100s", "/no/such/program"},
        {"!no-such-program", "Restart=always", "TimeoutStartSec=100s", "no-such-program"},
        {"exec sleep 100", "Restart=no", "TimeoutStartSec=200ms", "not ready within 200ms"},
        {"exec sleep 100", "Restart=always", "TimeoutStartSec=200ms", "not ready within 200ms"},
        {"exit 0", "Restart=no", "TimeoutStartSec=100s",
         "the daemon ended by itself with status 0; Restart=no does not restart it; latchctl start a"},
    };
    struct client client;

    add_service("a", rows[_i].script, "socket @/s", "Type=socket", rows[_i].restart, rows[_i].timeout,
                "RestartSec=100s", NULL);
    serve();
    client = call("a", _i % 2 ? "Start" : "Restart", "{}");
    expect_part(expect_error(&client, "Failed"), rows[_i].part);
}
END_TEST

START_TEST(held) {
    struct service *service = add_service("a", STAYS, LOCK, NULL);
    pid_t stranger = hold_lock("l");
    struct client client, waiting;

    serve();
    client = call("a", "Start", "{}");
    expect_held_by(&client, stranger);
    assert_state(service, SERVICE_BLOCKED);
    client = call("a", "Start", "{}");
    expect_held_by(&client, stranger);
    client = call("a", "Start", "{\"block\":false}");
    expect_done(&client);
    client = call("a", "Reload", "{}");
    (void) expect_error(&client, "NotRunning");
    waiting = call("a", "Stop", "{}");
    expect_done(&waiting);
    assert_state(service, SERVICE_STOPPED);
    ck_assert(is_alive(stranger));
}
END_TEST

/* Somebody takes the lock while the service restarts: who waits is told, at once. */
START_TEST(held_in_a_restart) {
    struct service *service = add_service("a",
                                          "trap 'sleep 0.3; exit 0' TERM; echo $$ >>@/starts; "
                                          "while :; do sleep 0.05; done",
                                          LOCK, NULL);
    struct client client;
    pid_t stranger;

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    stranger = hold_lock("l");
    client = call("a", "Restart", "{}");
    until(service->state == SERVICE_BLOCKED);
    expect_held_by(&client, stranger);
}
END_TEST

/* ---- several callers ---- */

START_TEST(many_callers) {
    struct service *service = add_service("a", NEVER_READY, NULL);
    struct client starters[20], stoppers[20];

    serve();
    for (size_t i = 0; i < ELEMENTSOF(starters); i++)
        starters[i] = call("a", i % 2 ? "Start" : "Restart", "{}");
    (void) linger(200 * MSEC);
    ck_assert_ptr_null(poll_answer(&starters[1]));
    for (size_t i = 0; i < ELEMENTSOF(stoppers); i++)
        stoppers[i] = call("a", "Stop", "{}");
    for (size_t i = 0; i < ELEMENTSOF(stoppers); i++)
        expect_done(&stoppers[i]);
    for (size_t i = 0; i < ELEMENTSOF(starters); i++)
        expect_part(expect_error(&starters[i], "Failed"), "stopped meanwhile");
    ck_assert(service_is_down(service));
    (void) linger(100 * MSEC);
    assert_state(service, SERVICE_STOPPED);
}
END_TEST

START_TEST(restarts_share_one_start) {
    struct service *service = add_service("a",
                                          "trap 'sleep 0.2; exit 0' TERM; echo $$ >>@/starts; "
                                          "while :; do sleep 0.05; done",
                                          NULL);
    struct client clients[5];

    serve();
    clients[0] = call("a", "Start", "{}");
    expect_done(&clients[0]);
    until(count_lines("starts") == 1);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        clients[i] = call("a", "Restart", "{}");
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        expect_done(&clients[i]);
    ck_assert_uint_eq(service->record.generation, 2);
}
END_TEST

/* A stop that is overtaken by a restart is done all the same when the daemon has ended. */
START_TEST(stop_and_restart) {
    struct service *service = add_service("a", STUBBORN, "TimeoutStopSec=300ms", NULL);
    struct client stopper, restarter, client;

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    stopper = call("a", "Stop", "{}");
    assert_silent(&stopper, 50 * MSEC);
    restarter = call("a", "Restart", "{}");
    expect_done(&stopper);
    expect_done(&restarter);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(service->record.generation, 2);
}
END_TEST

/* Clients that go while they wait: nobody else notices. */
START_TEST(gone_while_waiting) {
    struct service *service = add_service("a", STUBBORN, "TimeoutStopSec=500ms", NULL);
    struct client clients[10], client;

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        clients[i] = call("a", "Stop", i % 2 ? "{}" : "{\"timeoutUSec\":200000}");
    (void) linger(50 * MSEC);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        if (i % 3 != 1)
            hang_up(&clients[i]);
    for (size_t i = 1; i < ELEMENTSOF(clients); i += 3) {
        if (i % 2)
            expect_done(&clients[i]);
        else
            (void) expect_error(&clients[i], "Timeout");
    }
    until(service_is_down(service));
}
END_TEST

/* Nothing is left of them: not even their timers. */
START_TEST(gone_without_a_trace) {
    struct client clients[10];

    add_service("a", NEVER_READY, NULL);
    serve();
    for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
        char parameters[64];

        snprintf(parameters, sizeof parameters, "{\"timeoutUSec\":%zu}", 300000 + i * 20000);
        clients[i] = call("a", "Start", parameters);
    }
    (void) linger(100 * MSEC);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        hang_up(&clients[i]);
    (void) linger(100 * MSEC);
    t.manager->services[0]->config->sockets[0]->probe = SOCKET_PROBE_NONE;
    service_end_probes(t.manager->services[0]); /* which would wake it as well */
    ck_assert_uint_le(linger(600 * MSEC), 2);
}
END_TEST

/* The supervisor ends with callers waiting. */
START_TEST(supervisor_ends) {
    struct service *service = add_service("a", STUBBORN, "TimeoutStopSec=300ms", NULL);
    struct client client, late;

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    client = call("a", "Stop", "{}");
    assert_silent(&client, 50 * MSEC);
    t.manager->stopping = true; /* as SIGTERM does; the loop ends when all is down */
    late = call("a", "Start", "{}");
    expect_part(expect_error(&late, "Busy"), "being stopped");
    late = call("a", "Restart", "{\"block\":false}");
    (void) expect_error(&late, "Busy");
    while (sd_event_get_state(t.manager->event) != SD_EVENT_FINISHED)
        (void) turn(20 * MSEC);
    ck_assert(service_is_down(service));
    end_control(); /* the rest of the answers goes out with it, or not; nothing is left behind */
    hang_up(&client);
}
END_TEST

/* ---- parameters and permissions ---- */

START_TEST(wrong_parameters) {
    static const struct {
        const char *method, *parameters, *wrong;
    } rows[] = {
        {"Start", "{\"block\":\"yes\"}", "block"},
        {"Start", "{\"block\":1}", "block"},
        {"Stop", "{\"timeoutUSec\":-1}", "timeoutUSec"},
        {"Restart", "{\"timeoutUSec\":\"5s\"}", "timeoutUSec"},
        {"Restart", "{\"timeoutUSec\":1.5}", "timeoutUSec"},
        {"Stop", "[]", "parameters"},
        {"GetStatus", "{\"locks\":0}", "locks"},
        {"Clear", "{\"dryRun\":\"no\"}", "dryRun"},
    };
    struct service *service = add_service("a", STAYS, NULL);

    serve();
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct client client = call("a", rows[i].method, rows[i].parameters);
        char error[64];
        json_t *parameters = answer_of(&client, error);

        ck_assert_str_eq(error, "org.varlink.service.InvalidParameter");
        ck_assert_str_eq(json_string_value(json_object_get(parameters, "parameter")), rows[i].wrong);
        json_decref(parameters);
    }
    assert_state(service, SERVICE_STOPPED);
    ck_assert_uint_eq(t.events[EVENT_CONTROL_REQUEST], 0);
}
END_TEST

/* In a process of its own, as nobody: asks for each method. '.' when each answer has its text, else the row's
 * letter. */
static char ask_as_nobody(void) {
    static const char *const rows[][2] = {
        {"Start", ".NotPermitted"},  {"Stop", ".NotPermitted"},  {"Restart", ".NotPermitted"},
        {"Reload", ".NotPermitted"}, {"Clear", ".NotPermitted"}, {"GetStatus", "\"state\""},
        {"Probe", "\"verdict\""},
    };
    int fd;

    if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return '1';
    fd = connect_to("a", 0);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char text[65536];
        size_t size = 0;
        int n = snprintf(text, sizeof text, "{\"method\":\"io.latchd.Supervisor.%s\"}", rows[i][0]);

        if (send(fd, text, (size_t) n + 1, MSG_NOSIGNAL) != n + 1)
            return '2';
        do {
            ssize_t got = recv(fd, text + size, sizeof text - size, 0);

            if (got <= 0)
                return '3';
            size += (size_t) got;
        } while (text[size - 1]);
        if (!strstr(text, rows[i][1]))
            return (char) ('a' + i);
    }
    return '.';
}

START_TEST(nobody_may_look_only) {
    struct service *service = add_service("a", STAYS, LOCK, NULL);
    int ends[2];
    char verdict = 'x';
    pid_t pid;

    if (geteuid() != 0) {
        printf("SKIP nobody_may_look_only: needs root\n");
        return;
    }
    serve();
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0); /* the manager reaps it: it tells by a pipe */
    pid = fork();
    if (pid == 0) {
        verdict = ask_as_nobody();
        _exit(write(ends[1], &verdict, 1) != 1);
    }
    until(read(ends[0], &verdict, 1) == 1);
    ck_assert_msg(verdict == '.', "as nobody: row %d", verdict - 'a');
    close(ends[0]);
    close(ends[1]);
    assert_state(service, SERVICE_STOPPED);
    ck_assert_uint_eq(t.events[EVENT_CONTROL_REQUEST], 0);
}
END_TEST

/* ---- reload, status, probe ---- */

START_TEST(reload) {
    struct service *service = add_service("a",
                                          "trap 'echo >>@/reloads' HUP; echo $$ >>@/starts; "
                                          "while :; do sleep 0.02; done",
                                          NULL);
    struct client client;

    serve();
    client = call("a", "Reload", "{}");
    (void) expect_error(&client, "NotRunning");
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    client = call("a", "Reload", "{}");
    expect_reloaded(&client);
    until(count_lines("reloads") == 1);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(service->record.generation, 1);
}
END_TEST

static json_t *get_status(const char *parameters) {
    struct client client = call("a", "GetStatus", parameters);
    char error[64];
    json_t *answer = answer_of(&client, error), *service;

    ck_assert_str_eq(error, "");
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "services")), 1);
    service = json_incref(json_array_get(json_object_get(answer, "services"), 0));
    json_decref(answer);
    return service;
}

START_TEST(status) {
    static const char *const fields[] = {
        "service",  "description",  "state",        "ready", "statusText", "supervisorPid",
        "mainPid",  "generation",   "invocationId", "unit",  "sinceUSec",  "restarts",
        "lastExit", "lastRecovery", "sockets",      "locks", "limits"};
    struct service *service =
        add_service("a", "exec 9<>@/l; flock -n 9; echo $$ >>@/starts; exec sleep 100", LOCK,
                    "Description=A b", "LimitNOFILE=512:1024", "Restart=no", NULL);
    struct client client;
    json_t *json, *lock;

    serve();
    json = get_status("{}");
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        ck_assert_msg(json_object_get(json, fields[i]), "no field %s", fields[i]);
    ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "stopped");
    ck_assert(json_is_null(json_object_get(json, "mainPid")));
    ck_assert(json_is_null(json_object_get(json, "lastExit")));
    json_decref(json);

    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    json = get_status("{\"locks\":true}");
    ck_assert_str_eq(json_string_value(json_object_get(json, "service")), "a");
    ck_assert_str_eq(json_string_value(json_object_get(json, "description")), "A b");
    ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "running");
    ck_assert(json_is_true(json_object_get(json, "ready")));
    ck_assert_int_eq(json_integer_value(json_object_get(json, "supervisorPid")), getpid());
    ck_assert_int_eq(json_integer_value(json_object_get(json, "mainPid")), service->record.main.pid);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "generation")), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json, "invocationId")), service->record.invocation_id);
    lock = json_array_get(json_object_get(json, "locks"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(lock, "path")), in("l"));
    ck_assert_str_eq(json_string_value(json_object_get(lock, "verdict")), "held");
    json_decref(json);

    json = get_status("{\"locks\":false}");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "locks")), 0);
    json_decref(json);

    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_FAILED);
    json = get_status("{}");
    ck_assert_str_eq(json_string_value(json_object_get(json, "state")), "failed");
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "lastExit"), "code")), "killed");
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(json, "lastExit"), "signal")),
                     SIGKILL);
    json_decref(json);
}
END_TEST

START_TEST(probe) {
    char error[64];
    struct client client;
    json_t *answer, *lock;
    pid_t stranger = hold_lock("l");

    add_service("a", STAYS, LOCK, "lock @/p:pidfile", NULL);
    serve();
    client = call("a", "Probe", "{}");
    answer = answer_of(&client, error);
    ck_assert_str_eq(error, "");
    ck_assert_uint_eq(json_array_size(json_object_get(answer, "locks")), 2);
    lock = json_array_get(json_object_get(answer, "locks"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(lock, "verdict")), "held");
    ck_assert_int_eq(
        json_integer_value(json_object_get(json_array_get(json_object_get(lock, "holders"), 0), "pid")),
        stranger);
    lock = json_array_get(json_object_get(answer, "locks"), 1);
    ck_assert_str_eq(json_string_value(json_object_get(lock, "verdict")), "absent");
    json_decref(answer);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, start_and_stop);
    tcase_add_test(tests, without_waiting);
    tcase_add_test(tests, not_in_time);
    tcase_add_loop_test(tests, failures, 0, 9);
    tcase_add_test(tests, held);
    tcase_add_test(tests, held_in_a_restart);
    tcase_add_test(tests, many_callers);
    tcase_add_test(tests, restarts_share_one_start);
    tcase_add_test(tests, stop_and_restart);
    tcase_add_test(tests, gone_while_waiting);
    tcase_add_test(tests, gone_without_a_trace);
    tcase_add_test(tests, supervisor_ends);
    tcase_add_test(tests, wrong_parameters);
    tcase_add_test(tests, nobody_may_look_only);
    tcase_add_test(tests, reload);
    tcase_add_test(tests, status);
    tcase_add_test(tests, probe);
    return run_suite("methods", tests);
}
