/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the doctor makes of Dovecot: facts as they were gathered of Dovecot 2.3.19 (tests/data/dovecot), and
 * those with single figures changed. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/judge.h"

#include "suite.h"

static struct doctor_facts facts;
static struct doctor_findings findings;

static void setup(void) {
    doctor_facts_init(&facts);
    findings = (struct doctor_findings){0};
}

static void teardown(void) {
    doctor_facts_done(&facts);
    doctor_findings_done(&findings);
}

static void read_recorded(const char *name) {
    const char *srcdir = getenv("srcdir"), *where = "";
    _cleanup_free_ char *path = NULL;
    json_error_t error;
    json_t *json;

    ck_assert_int_ge(asprintf(&path, "%s/tests/data/dovecot/doctor-%s.json", srcdir ? srcdir : ".", name), 0);
    json = json_load_file(path, 0, &error);
    ck_assert_msg(json != NULL, "%s: %s", path, error.text);
    ck_assert_msg(doctor_facts_from_json(json, &facts, &where) == 0, "%s: %s", path, where);
    json_decref(json);
}

static struct doctor_dovecot_service *service(const char *name) {
    for (size_t i = 0; i < facts.n_dovecot_services; i++)
        if (strcmp(facts.dovecot_services[i].name, name) == 0)
            return &facts.dovecot_services[i];
    ck_abort_msg("no service %s", name);
}

/* The causes by their names, the likeliest first. */
static void assert_causes(const char *expected) {
    char causes[512] = "";

    doctor_findings_done(&findings);
    findings = (struct doctor_findings){0};
    ck_assert_int_eq(doctor_judge(&facts, &findings), 0);
    for (size_t i = 0; i < findings.n; i++) {
        strcat(causes, i ? " " : "");
        strcat(causes, doctor_cause_to_string(findings.of[i].cause));
    }
    ck_assert_str_eq(causes, expected);
}

static void assert_first(enum doctor_severity severity, const char *subject, const char *summary,
                         const char *remedy) {
    const struct doctor_finding *first = &findings.of[0];

    ck_assert_uint_gt(findings.n, 0);
    ck_assert_int_eq(first->severity, severity);
    ck_assert_str_eq(first->subject, subject);
    ck_assert_msg(strstr(first->summary, summary) != NULL, "%s", first->summary);
    ck_assert_msg(strstr(first->remedy, remedy) != NULL, "%s", first->remedy);
}

START_TEST(healthy) {
    read_recorded("healthy");
    ck_assert_uint_eq(service("imap")->processes, 10);
    assert_causes("");
    ck_assert_int_eq(doctor_is_healthy(&facts, &findings), 1);
}
END_TEST

START_TEST(process_limit) {
    read_recorded("process-limit");
    assert_causes("process-limit queue-full");
    assert_first(
        DOCTOR_ERROR, "service imap { process_limit }",
        "Dovecot's service imap has 1 process, of 1 that process_limit allows, each for one client; 5 "
        "connections wait on /run/dovecot/login/imap, where 5 can: the next login fails",
        "service imap { process_limit = 1024 }; then: latchctl reload mail");
    ck_assert_ptr_nonnull(
        strstr(findings.of[1].summary, "client_limit * process_limit of service imap: 1 * 1"));

    service("imap")->processes =
        DOCTOR_UNKNOWN; /* nothing is said of it then; the queue is there all the same */
    assert_causes("not-accepting queue-full");
    service("imap")->processes = 0;
    assert_causes("not-accepting queue-full");
}
END_TEST

/* Nobody waits yet: the next client will. */
START_TEST(at_the_limit) {
    read_recorded("healthy");
    service("imap")->process_limit = 10;
    assert_causes("process-limit");
    assert_first(DOCTOR_WARNING, "service imap { process_limit }",
                 "10 processes, of 10 that process_limit allows", "process_limit = 1024");
    service("imap")->process_limit = 12; /* near */
    assert_causes("process-limit");
    service("imap")->process_limit = 13;
    assert_causes("");
    service("imap")->process_limit = DOCTOR_UNKNOWN;
    assert_causes("");
    service("imap-login")->processes = service("imap-login")->process_limit;
    assert_causes("process-limit");
    assert_first(DOCTOR_WARNING, "service imap-login { process_limit }", "100 processes, of 100",
                 "high-performance login mode, a process for many: service imap-login { service_count = 0 }");
}
END_TEST

/* One process for all: auth, anvil. That it is one is as it should be. */
START_TEST(client_limit) {
    read_recorded("healthy");
    service("auth")->connections = 999;
    assert_causes("");
    service("auth")->connections = 1000;
    assert_causes("client-limit");
    assert_first(
        DOCTOR_WARNING, "service auth { client_limit }",
        "the process of Dovecot's service auth serves 1000 connections, of 1000 that client_limit allows",
        "service auth { client_limit = 2048 }");
    service("auth")->queue = 1;
    assert_causes("client-limit");
    assert_first(DOCTOR_ERROR, "service auth { client_limit }", "1 connection waits on /run/dovecot/auth",
                 "service auth { client_limit = 2048 }");
    service("auth")->connections = DOCTOR_UNKNOWN;
    assert_causes("");
}
END_TEST

/* Several processes, each for several: all have to be full. */
START_TEST(both_limits) {
    struct doctor_dovecot_service *imap;

    read_recorded("healthy");
    imap = service("imap");
    imap->process_limit = imap->processes = 4;
    imap->client_limit = imap->client_limit_set = 10;
    imap->connections = 39;
    assert_causes("");
    imap->connections = 40;
    assert_causes("process-limit");
    assert_first(DOCTOR_WARNING, "service imap { process_limit }", "and all of them are full",
                 "process_limit = 1024");
    imap->connections = 20;
    imap->queue = imap->queue_before = 3; /* they wait although there is room */
    assert_causes("client-limit");
    assert_first(DOCTOR_WARNING, "service imap { client_limit }",
                 "who all wait while one of them has it read", "service imap { client_limit = 1 }");
    imap->client_limit_set = 0; /* as imap-hibernate, which reads no mail */
    assert_causes("");
}
END_TEST

START_TEST(descriptors) {
    read_recorded("healthy");
    facts.processes[0].nofile_soft = 999;
    assert_causes("nofile");
    assert_first(DOCTOR_WARNING, findings.of[0].subject,
                 "Dovecot's processes may have 999 descriptors, and default_client_limit = 1000 needs more",
                 "from the next start on: LimitNOFILE=1064, or LimitNOFILE=auto");
    facts.dovecot->needed_files = 12000;
    facts.dovecot->needed_by = strdup("auth");
    facts.processes[0].nofile_soft = 1100;
    assert_causes("nofile");
    assert_first(DOCTOR_WARNING, findings.of[0].subject, "service auth { client_limit = 12000 } needs more",
                 "LimitNOFILE=12064");
    facts.processes[0].open_files = 1100; /* and is at its end as well: one finding, one remedy */
    assert_causes("nofile");
    assert_first(DOCTOR_ERROR, findings.of[0].subject, "EMFILE", "LimitNOFILE=12064");
    ck_assert_ptr_null(strstr(findings.of[0].remedy, "4096"));
    facts.processes[0].open_files = 200;
    facts.processes[0].nofile_soft = DOCTOR_UNKNOWN;
    assert_causes("");
}
END_TEST

START_TEST(busy_master) {
    read_recorded("healthy");
    facts.processes[0].cpu_usec = facts.processes[0].busiest_usec = facts.interval_usec;
    assert_causes("main-busy");
    ck_assert_ptr_nonnull(
        strstr(findings.of[0].remedy, "service imap-login { service_count = 0; process_min_avail = 4 }"));
    ck_assert_ptr_nonnull(
        strstr(findings.of[0].remedy, "service imap { service_count = 100; process_min_avail = 4 }"));
    service("imap")->service_count = service("imap-login")->service_count =
        100; /* what it would forbid is set */
    assert_causes("main-busy");
    ck_assert_ptr_null(strstr(findings.of[0].remedy, "service_count = 100"));
}
END_TEST

START_TEST(small_backlog) {
    read_recorded("small-backlog");
    assert_causes("queue-full stopped backlog-clamped");
    assert_first(DOCTOR_ERROR, "127.0.0.1:15272",
                 "client_limit * process_limit of service imap-login: 1000 * 1",
                 "sysctl net.core.somaxconn=1000");
    facts.somaxconn = 4096; /* then it is not that which cuts it */
    assert_causes("queue-full stopped");
    assert_first(DOCTOR_ERROR, "127.0.0.1:15272", "imap-login", "service imap-login { process_limit = 16 }");
}
END_TEST

/* Dovecot could not be asked, or it is another daemon. */
START_TEST(not_asked) {
    read_recorded("process-limit");
    facts.n_dovecot = 0;
    for (size_t i = 0; i < facts.n_dovecot_services; i++)
        service("imap")->processes = DOCTOR_UNKNOWN;
    assert_causes("not-accepting queue-full");
    facts.n_dovecot = 1;
}
END_TEST

int main(void) {
    Suite *suite = suite_create("doctor-dovecot");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, healthy);
    tcase_add_test(tests, process_limit);
    tcase_add_test(tests, at_the_limit);
    tcase_add_test(tests, client_limit);
    tcase_add_test(tests, both_limits);
    tcase_add_test(tests, descriptors);
    tcase_add_test(tests, busy_master);
    tcase_add_test(tests, small_backlog);
    tcase_add_test(tests, not_asked);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
