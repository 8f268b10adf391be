/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor makes of a service that is down, of one that nobody supervises, and of the sockets that
 * latchd owns. */
#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/judge.h"

#include "suite.h"

#define MAIN_PID 812

static struct doctor_facts facts;
static struct doctor_findings findings;

static void set(char **text, const char *value) {
    free(*text);
    *text = value ? strdup(value) : NULL;
}

/* A service that is down. */
static void begin(void) {
    doctor_facts_init(&facts);
    set(&facts.service, "d");
    set(&facts.options, "--config-dir /c --runtime-dir /r");
    set(&facts.config_file, "/c/d.conf");
    facts.supervised = 1;
    facts.supervisor_pid = 800;
    facts.pid = 0;
    facts.interval_usec = 1000000;
    facts.somaxconn = 4096;
}

static void end(void) {
    doctor_findings_done(&findings);
    doctor_facts_done(&facts);
}

static void be_running(void) {
    struct doctor_process *process = doctor_add(&facts, processes);

    process->pid = facts.pid = MAIN_PID;
    set(&process->comm, "daemon");
    set(&process->state, "S");
    set(&facts.state, "running");
    facts.ended = 0;
}

/* A listener of latchd's. */
static struct doctor_listener *add_listener(void) {
    struct doctor_listener *listener = doctor_add(&facts, listeners);

    set(&listener->name, "c");
    set(&listener->address, "/run/d.sock");
    set(&listener->family, "unix");
    listener->owned = listener->listening = 1;
    listener->queue = listener->queue_before = 0;
    listener->asked = listener->backlog = 4096;
    return listener;
}

static void judge(void) {
    doctor_findings_done(&findings);
    ck_assert_int_eq(doctor_judge(&facts, &findings), 0);
}

static void expect_nothing(void) {
    judge();
    ck_assert_msg(findings.n == 0, "found: %s: %s", doctor_cause_to_string(findings.of[0].cause),
                  findings.of[0].summary);
}

/* The only finding, and what must stand in its words. */
_sentinel_ static void expect(enum doctor_cause cause, enum doctor_severity severity, ...) {
    const struct doctor_finding *finding;
    const char *part;
    va_list parts;

    judge();
    ck_assert_uint_eq(findings.n, 1);
    finding = &findings.of[0];
    ck_assert_str_eq(doctor_cause_to_string(finding->cause), doctor_cause_to_string(cause));
    ck_assert_str_eq(doctor_severity_to_string(finding->severity), doctor_severity_to_string(severity));
    ck_assert_int_eq(doctor_is_healthy(&facts, &findings), 0);
    ck_assert_ptr_nonnull(finding->remedy);
    va_start(parts, severity);
    while ((part = va_arg(parts, const char *)))
        ck_assert_msg(strstr(finding->summary, part) || strstr(finding->remedy, part),
                      "\"%s\" is not in: %s; %s", part, finding->summary, finding->remedy);
    va_end(parts);
}

START_TEST(why_it_is_down) {
    set(&facts.state, "blocked");
    set(&facts.status_text, "/l is in the way: PID 7 has it; leave it alone");
    expect(DOCTOR_BLOCKED, DOCTOR_ERROR, "PID 7 has it; leave it alone",
           "latchctl probe --config-dir /c --runtime-dir /r d", NULL);
    set(&facts.state, "backoff");
    set(&facts.status_text, "the daemon exited with status 3; next try in 4s; at once: latchctl start d");
    facts.restarts = 5;
    expect(DOCTOR_CRASH_LOOP, DOCTOR_ERROR, "5 times so far; the daemon exited with status 3; next try in 4s",
           "latchctl logs --config-dir /c --runtime-dir /r d",
           "latchctl start --config-dir /c --runtime-dir /r d", NULL);
    ck_assert_ptr_null(strstr(findings.of[0].summary, "at once"));
    set(&facts.state, "failed");
    expect(DOCTOR_FAILED, DOCTOR_ERROR, "exited with status 3", "latchctl logs", "latchctl start", NULL);
    set(&facts.state, "stopped");
    expect(DOCTOR_ENDED, DOCTOR_WARNING, "exited with status 3", "latchctl logs", "latchctl start", NULL);
    set(&facts.status_text, NULL);
    expect(DOCTOR_STOPPED_BY_REQUEST, DOCTOR_HINT, "asked for",
           "latchctl start --config-dir /c --runtime-dir /r d", NULL);
    set(&facts.options, NULL);
    expect(DOCTOR_STOPPED_BY_REQUEST, DOCTOR_HINT, "latchctl start d", NULL);
    for (const char **state = (const char *[]){"starting", "stopping", "recovering", "reloading", NULL};
         *state; state++) {
        set(&facts.state, *state);
        expect_nothing();
    }
    facts.supervised = DOCTOR_UNKNOWN; /* and with it all that is said of the state */
    set(&facts.state, "failed");
    expect_nothing();
}
END_TEST

START_TEST(a_daemon_that_runs_again_just_now) {
    be_running();
    set(&facts.last_exit, "exited with status 3");
    facts.last_exit_failed = 1;
    facts.last_exit_ago_usec = 59900000;
    facts.restarts = 2;
    expect_nothing();
    facts.restarts = 3;
    expect(DOCTOR_CRASH_LOOP, DOCTOR_WARNING, "3 times", "exited with status 3 last 59s ago", "latchctl logs",
           NULL);
    facts.last_exit_failed = 0;
    expect_nothing();
    facts.last_exit_failed = 1;
    facts.last_exit_ago_usec = 61000000;
    expect_nothing();
}
END_TEST

START_TEST(nobody_supervises_it) {
    facts.supervised = 0;
    set(&facts.state, "stopped");
    expect(DOCTOR_NO_SUPERVISOR, DOCTOR_ERROR, "no daemon of it",
           "latchctl start --config-dir /c --runtime-dir /r d", NULL);
    be_running();
    set(&facts.state, "stopped"); /* for want of one who knows better */
    expect(DOCTOR_NO_SUPERVISOR, DOCTOR_WARNING, "PID 812, goes on",
           "latchd run --config-dir /c --runtime-dir /r d", NULL);
    ck_assert_ptr_null(strstr(findings.of[0].remedy, "systemctl"));
    set(&facts.options, NULL);
    expect(DOCTOR_NO_SUPERVISOR, DOCTOR_WARNING, "systemctl start latchd@d", NULL);
    set(&facts.config_file, NULL);
    expect(DOCTOR_NO_SUPERVISOR, DOCTOR_WARNING, "no configuration file", NULL);
    set(&facts.supervisor_silence, "no answer within 5s"); /* there is one */
    expect(DOCTOR_SUPERVISOR_SILENT, DOCTOR_WARNING, "no answer", NULL);
    set(&facts.supervisor_silence, NULL);
    set(&facts.service, NULL);
    expect_nothing();
}
END_TEST

START_TEST(a_configuration_with_mistakes) {
    be_running();
    set(&facts.config_error, "the configuration of service d has mistakes");
    expect(DOCTOR_CONFIGURATION, DOCTOR_WARNING, "has mistakes", "next start would fail",
           "latchd check --config-dir /c --runtime-dir /r d", NULL);
    facts.n_processes = 0;
    facts.pid = 0;
    set(&facts.state, "starting");
    expect(DOCTOR_CONFIGURATION, DOCTOR_ERROR, "cannot be started", NULL);
    set(&facts.state, "backoff");
    judge();
    ck_assert_uint_eq(findings.n, 2);
    ck_assert_int_eq(findings.of[0].cause, DOCTOR_CONFIGURATION);
    ck_assert_int_eq(findings.of[1].cause, DOCTOR_CRASH_LOOP);
    free(facts.processes[0].comm);
    free(facts.processes[0].state);
}
END_TEST

/* latchd was killed: its lock went with it, the daemon has the listener. */
START_TEST(the_lock_of_a_latchd_that_is_dead) {
    struct doctor_listener *listener;
    struct doctor_lock *lock;

    be_running();
    listener = add_listener();
    lock = doctor_add(&facts, locks);
    set(&lock->name, "c");
    set(&lock->path, "/run/d.sock.lock");
    set(&lock->kind, "lock");
    set(&lock->verdict, "held");
    set(&lock->reason, "unlocked");
    set(&lock->advice, "leave it alone");
    lock->holder_pid = MAIN_PID;
    facts.supervised = 0;
    expect(DOCTOR_NO_SUPERVISOR, DOCTOR_WARNING, NULL);
    set(&lock->name, NULL); /* of which lock that is is not known */
    judge();
    ck_assert(doctor_findings_have(&findings, DOCTOR_LOCK_HELD));
    set(&lock->name, "c");
    lock->holder_pid = 900; /* but for somebody else */
    judge();
    ck_assert(doctor_findings_have(&findings, DOCTOR_LOCK_HELD));
    lock->holder_pid = MAIN_PID;
    listener->owned = 0; /* the daemon itself ought to have it locked */
    judge();
    ck_assert(doctor_findings_have(&findings, DOCTOR_LOCK_HELD));
    listener->owned = 1;
    facts.supervised = 1;
    expect(DOCTOR_LOCK_HELD, DOCTOR_WARNING, NULL, NULL);
}
END_TEST

START_TEST(a_socket_that_is_not_at_its_path) {
    struct doctor_listener *listener;
    struct doctor_lock *lock;

    be_running();
    listener = add_listener();
    set(&listener->displaced, "file");
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "a file stands there", "rm /run/d.sock", "puts its socket back",
           NULL);
    ck_assert_str_eq(json_string_value(json_object_get(findings.of[0].evidence, "displaced")), "file");
    set(&listener->displaced, "directory");
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "a directory stands there", "rmdir /run/d.sock", NULL);
    set(&listener->displaced, "socket");
    lock = doctor_add(&facts, locks); /* of the other one, which is told already */
    set(&lock->kind, "socket");
    set(&lock->path, "/run/d.sock");
    set(&lock->verdict, "stale");
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "another socket stands there", "latchctl probe", NULL);
    set(&listener->displaced, "no-directory");
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "the directory is not there",
           "latchctl restart --config-dir /c --runtime-dir /r d", NULL);
    set(&listener->displaced, "nothing");
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "nothing stands there", "latchctl restart", NULL);
}
END_TEST

START_TEST(a_backlog_that_the_daemon_replaced) {
    struct doctor_listener *listener;

    be_running();
    listener = add_listener();
    expect_nothing();
    listener->backlog = 2048;
    expect(DOCTOR_BACKLOG_REPLACED, DOCTOR_HINT, "Backlog=4096, and 2048 is in force", "listen(2) again",
           "the daemon's own settings", NULL);
    listener->queue = 2049;
    judge();
    ck_assert_int_eq(findings.of[0].cause, DOCTOR_QUEUE_FULL);
    ck_assert_ptr_null(strstr(findings.of[0].remedy, "Backlog="));
    ck_assert_ptr_nonnull(strstr(findings.of[0].remedy, "by its own settings"));
    listener->queue = 0;
    facts.somaxconn = 2048; /* it was cut */
    expect(DOCTOR_BACKLOG_CLAMPED, DOCTOR_HINT, NULL, NULL);
    facts.somaxconn = DOCTOR_UNKNOWN;
    expect_nothing();
    facts.somaxconn = 4096;
    listener->owned = 0;
    expect_nothing();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("doctor-service");
    TCase *tcase = tcase_create("judge");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, why_it_is_down);
    tcase_add_test(tcase, a_daemon_that_runs_again_just_now);
    tcase_add_test(tcase, nobody_supervises_it);
    tcase_add_test(tcase, a_configuration_with_mistakes);
    tcase_add_test(tcase, the_lock_of_a_latchd_that_is_dead);
    tcase_add_test(tcase, a_socket_that_is_not_at_its_path);
    tcase_add_test(tcase, a_backlog_that_the_daemon_replaced);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
