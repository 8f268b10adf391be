/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor's facts go to JSON and back, its findings to JSON and into words; recorded facts are judged
 * again: tests/doctor/CASE.json holds what `latchctl doctor --facts` told, and which causes follow. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/facts.h"
#include "doctor/judge.h"

#include "suite.h"

START_TEST(facts_go_to_json_and_back) {
    struct doctor_facts facts, again;
    const char *where = NULL;
    json_t *json, *same;

    doctor_facts_init(&facts);
    facts.interval_usec = 1000000;
    doctor_add(&facts, processes)->comm = strdup("daemon");
    doctor_add(&facts, listeners)->queue = 3;
    doctor_add(&facts, locks)->path = strdup("/l");
    doctor_add(&facts, connections)->fd = 0;
    doctor_add(&facts, cgroups)->pids_max = DOCTOR_INFINITY;
    doctor_unseen(&facts, "this", EACCES);
    json = doctor_facts_to_json(&facts);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "intervalUSec")), 1000000);
    ck_assert_str_eq(
        json_string_value(json_object_get(json_array_get(json_object_get(json, "cgroups"), 0), "pidsMax")),
        "infinity");
    ck_assert(json_is_null(json_object_get(json, "uid")));
    ck_assert_int_eq(doctor_facts_from_json(json, &again, &where), 0);
    ck_assert_uint_eq(again.listeners[0].queue, 3);
    ck_assert_uint_eq(again.listeners[0].backlog, DOCTOR_UNKNOWN);
    ck_assert_str_eq(again.processes[0].comm, "daemon");
    same = doctor_facts_to_json(&again);
    ck_assert(json_equal(json, same));
    json_decref(same);
    doctor_facts_done(&again);
    json_object_set_new(json_array_get(json_object_get(json, "processes"), 0), "pid", json_string("x"));
    ck_assert_int_eq(doctor_facts_from_json(json, &again, &where), -EBADMSG);
    ck_assert_str_eq(where, "pid");
    json_object_set_new(json, "processes", json_integer(5));
    ck_assert_int_eq(doctor_facts_from_json(json, &again, &where), -EBADMSG);
    json_decref(json);
    doctor_facts_done(&facts);
}
END_TEST

START_TEST(findings_go_to_json) {
    struct doctor_findings findings = {0};
    struct doctor_finding *finding;
    json_t *json, *first;

    finding = doctor_find(&findings, DOCTOR_QUEUE_FULL, DOCTOR_WARNING, json_object(), "a queue");
    doctor_say(finding, "it is %s", "full");
    finding =
        doctor_find(&findings, DOCTOR_NOFILE, DOCTOR_ERROR, json_pack("{s:i}", "soft", 1024), "PID %d", 7);
    doctor_say(finding, "one");
    doctor_say(finding, "two\n");
    doctor_advise(finding, "more");
    doctor_say(NULL, "nobody has it");
    doctor_findings_sort(&findings);
    ck_assert(doctor_findings_have(&findings, DOCTOR_NOFILE));
    ck_assert(!doctor_findings_have(&findings, DOCTOR_STOPPED));
    json = doctor_findings_to_json(&findings);
    first = json_array_get(json, 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "cause")), "nofile");
    ck_assert_str_eq(json_string_value(json_object_get(first, "severity")), "error");
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(first, "evidence"), "soft")), 1024);
    ck_assert_str_eq(json_string_value(json_object_get(first, "subject")), "PID 7");
    ck_assert_str_eq(json_string_value(json_object_get(first, "summary")), "one; two?");
    ck_assert_str_eq(json_string_value(json_object_get(first, "remedy")), "more");
    ck_assert(json_is_null(json_object_get(json_array_get(json, 1), "remedy")));
    json_decref(json);
    ck_assert_ptr_null(doctor_find(&findings, DOCTOR_NOFILE, DOCTOR_ERROR, NULL, "no evidence"));
    ck_assert(findings.failed);
    doctor_findings_done(&findings);
}
END_TEST

START_TEST(every_cause_has_a_name) {
    for (int i = 0; i < DOCTOR_CAUSE_MAX; i++) {
        ck_assert_ptr_nonnull(doctor_cause_to_string((enum doctor_cause) i));
        ck_assert_int_eq(doctor_cause_from_string(doctor_cause_to_string((enum doctor_cause) i)), i);
    }
}
END_TEST

START_TEST(numbers_for_people) {
    char buffer[DOCTOR_COUNT_MAX];

    ck_assert_str_eq(doctor_count(0, buffer), "0");
    ck_assert_str_eq(doctor_count(999, buffer), "999");
    ck_assert_str_eq(doctor_count(1000, buffer), "1000");
    ck_assert_str_eq(doctor_count(1234567, buffer), "1234567");
    ck_assert_str_eq(doctor_count(DOCTOR_UNKNOWN - 2, buffer), "18446744073709551613");
    ck_assert_str_eq(doctor_count(DOCTOR_INFINITY, buffer), "no limit");
    ck_assert_str_eq(doctor_count(DOCTOR_UNKNOWN, buffer), "unknown");
}
END_TEST

/* The causes in order, as an array. */
static json_t *judge_recorded(json_t *json) {
    _cleanup_doctor_findings_ struct doctor_findings findings = {0};
    json_t *causes = json_array();
    struct doctor_facts facts;
    const char *where = "";

    ck_assert_msg(doctor_facts_from_json(json, &facts, &where) == 0, "%s", where);
    ck_assert_int_eq(doctor_judge(&facts, &findings), 0);
    for (size_t i = 0; i < findings.n; i++)
        json_array_append_new(causes, json_string(doctor_cause_to_string(findings.of[i].cause)));
    doctor_facts_done(&facts);
    return causes;
}

START_TEST(recorded_facts) {
    const char *srcdir = getenv("srcdir");
    char path[4096];
    struct dirent *entry;
    unsigned n = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/tests/doctor", srcdir ? srcdir : ".");
    dir = opendir(path);
    ck_assert_msg(dir != NULL, "%s", path);
    while ((entry = readdir(dir))) {
        json_t *recorded, *causes;
        char *found;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/tests/doctor/%s", srcdir ? srcdir : ".", entry->d_name);
        recorded = json_load_file(path, 0, NULL);
        ck_assert_msg(recorded != NULL, "%s", path);
        causes = judge_recorded(json_object_get(recorded, "facts"));
        found = json_dumps(causes, 0);
        ck_assert_msg(json_equal(causes, json_object_get(recorded, "expect")), "%s: found %s", entry->d_name,
                      found);
        free(found);
        json_decref(causes);
        json_decref(recorded);
        n++;
    }
    (void) closedir(dir);
    ck_assert_uint_ge(n, 6);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("doctor-facts");
    TCase *tcase = tcase_create("facts");

    tcase_add_test(tcase, facts_go_to_json_and_back);
    tcase_add_test(tcase, recorded_facts);
    tcase_add_test(tcase, findings_go_to_json);
    tcase_add_test(tcase, every_cause_has_a_name);
    tcase_add_test(tcase, numbers_for_people);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
