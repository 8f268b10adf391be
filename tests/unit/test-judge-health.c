/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <string.h>

#include "base/value.h"
#include "health/judge.h"

#include "suite.h"

#define SEEN .seen = true, .window_usec = USEC_PER_SEC, .io_known = true, .threads = 1
#define IDLE SEEN, .state = 'S'

static const struct {
    const char *what;
    struct health_evidence evidence;
    enum health_verdict verdict;
    const char *words; /* that the description has */
} rows[] = {
    {"nothing is overdue", {.symptom = HEALTH_NONE, IDLE}, HEALTH_HEALTHY, "it answers"},
    {"a deadlock",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 1, .wchan = "futex_wait_queue"},
     HEALTH_HUNG,
     "WATCHDOG=1 did not come in time: it sleeps in futex_wait_queue and used nothing of processor time in "
     "1s"},
    {"one probe alone is no proof",
     {.symptom = HEALTH_NO_ANSWER, IDLE, .misses = 1},
     HEALTH_UNANSWERED,
     "takes connections and does not answer"},
    {"the second in a row is", {.symptom = HEALTH_NO_ANSWER, IDLE, .misses = 2}, HEALTH_HUNG, "it sleeps"},
    {"any later one", {.symptom = HEALTH_NO_ANSWER, IDLE, .misses = 9}, HEALTH_HUNG, "it sleeps"},
    {"a little processor time is none",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 1, .cpu_usec = 40000},
     HEALTH_HUNG,
     "used 40ms"},
    {"busy", {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 1, .cpu_usec = 50000}, HEALTH_BUSY, "(1 of 3)"},
    {"busy, all of a processor",
     {.symptom = HEALTH_NO_ANSWER, SEEN, .state = 'R', .misses = 2, .cpu_usec = 990000},
     HEALTH_BUSY,
     "it runs"},
    {"busy, several processors",
     {.symptom = HEALTH_NO_ANSWER, IDLE, .misses = 2, .cpu_usec = 7 * USEC_PER_SEC},
     HEALTH_BUSY,
     "used 7s"},
    {"runs, though it has used little yet",
     {.symptom = HEALTH_NO_ANSWER, SEEN, .state = 'R', .misses = 2},
     HEALTH_BUSY,
     "it runs"},
    {"waits for a disk",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 'D', .misses = 1, .wchan = "rpc_wait"},
     HEALTH_BUSY,
     "(state D) in rpc_wait"},
    {"moves bytes",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 1, .io_bytes = 4096},
     HEALTH_BUSY,
     "sleeps"},
    {"a few bytes are none",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 1, .io_bytes = 4095},
     HEALTH_HUNG,
     "sleeps"},
    {"bytes that are not known",
     {.symptom = HEALTH_NO_WATCHDOG,
      .seen = true,
      .state = 'S',
      .misses = 1,
      .window_usec = USEC_PER_SEC,
      .io_bytes = 1 << 20},
     HEALTH_HUNG,
     "sleeps"},
    {"the second further interval",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 'R', .chances = 1, .cpu_usec = 900000},
     HEALTH_BUSY,
     "(2 of 3)"},
    {"the last one",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 'R', .chances = 2, .cpu_usec = 900000},
     HEALTH_BUSY,
     "(3 of 3)"},
    {"a loop without end",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 'R', .chances = 3, .cpu_usec = 900000},
     HEALTH_HUNG,
     "after 3 times more time"},
    {"state D for ever",
     {.symptom = HEALTH_NO_ANSWER, SEEN, .state = 'D', .chances = 3, .misses = 9},
     HEALTH_HUNG,
     "state D"},
    {"SIGSTOP", {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 'T', .misses = 9}, HEALTH_STOPPED, "SIGCONT"},
    {"SIGSTOP after all chances",
     {.symptom = HEALTH_NO_ANSWER, SEEN, .state = 'T', .chances = 3, .misses = 9},
     HEALTH_STOPPED,
     "SIGSTOP"},
    {"in a debugger",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 't', .tracer = 77},
     HEALTH_STOPPED,
     "process 77 debugs it"},
    {"in a debugger that is not seen",
     {.symptom = HEALTH_NO_WATCHDOG, SEEN, .state = 't'},
     HEALTH_STOPPED,
     "a debugger holds it"},
    {"a debugger lets it run", {.symptom = HEALTH_NO_WATCHDOG, IDLE, .tracer = 77}, HEALTH_STOPPED, "77"},
    {"frozen: it looks like a sleeper",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .frozen = true, .misses = 9},
     HEALTH_STOPPED,
     "frozen"},
    {"frozen on the run",
     {.symptom = HEALTH_NO_ANSWER, SEEN, .state = 'R', .frozen = true, .misses = 9},
     HEALTH_STOPPED,
     "frozen"},
    {"just thawed",
     {.symptom = HEALTH_NO_WATCHDOG, IDLE, .misses = 9, .was_stopped = true},
     HEALTH_UNANSWERED,
     "sleeps"},
    {"a full queue is no hang",
     {.symptom = HEALTH_QUEUE_FULL, IDLE, .misses = 9, .queue_known = true, .queue = 5, .backlog = 4},
     HEALTH_UNANSWERED,
     "its queue is full: 5 connections wait (backlog 4)"},
    {"a full queue of a stopped one",
     {.symptom = HEALTH_QUEUE_FULL, SEEN, .state = 'T'},
     HEALTH_STOPPED,
     "SIGSTOP"},
    {"no listener", {.symptom = HEALTH_NO_LISTENER, IDLE, .misses = 9}, HEALTH_UNANSWERED, "nobody listens"},
    {"a bad answer is one", {.symptom = HEALTH_BAD_ANSWER, IDLE, .misses = 9}, HEALTH_UNANSWERED, "answer"},
    {"it says so itself",
     {.symptom = HEALTH_TRIGGER, SEEN, .state = 'R', .cpu_usec = 900000},
     HEALTH_HUNG,
     "WATCHDOG=trigger"},
    {"it said so, and was stopped",
     {.symptom = HEALTH_TRIGGER, SEEN, .state = 'T'},
     HEALTH_STOPPED,
     "SIGSTOP"},
    {"nothing is decided from what is not seen",
     {.symptom = HEALTH_NO_WATCHDOG, .misses = 9, .chances = 3},
     HEALTH_UNANSWERED,
     "could not be looked at"},
    {"the same of a probe",
     {.symptom = HEALTH_NO_ANSWER, .misses = 9, .state = 'R'},
     HEALTH_UNANSWERED,
     "could not be looked at"},
};

START_TEST(table) {
    char text[HEALTH_DESCRIBE_MAX];
    enum health_verdict verdict = health_judge(&rows[_i].evidence);

    ck_assert_msg(verdict == rows[_i].verdict, "%s: %s, not %s", rows[_i].what,
                  health_verdict_to_string(verdict), health_verdict_to_string(rows[_i].verdict));
    health_describe(&rows[_i].evidence, verdict, text);
    ck_assert_msg(strstr(text, rows[_i].words), "%s: \"%s\" lacks \"%s\"", rows[_i].what, text,
                  rows[_i].words);
}
END_TEST

/* Whatever else is so: who was stopped by somebody is never taken for hung, and who is idle and overdue by
 * its own promise always is. Every combination. */
START_TEST(promises) {
    static const char states[] = "RSDTtI";

    for (int symptom = HEALTH_NO_ANSWER; symptom < HEALTH_SYMPTOM_MAX; symptom++)
        for (const char *state = states; *state; state++)
            for (unsigned bits = 0; bits < 128; bits++) {
                struct health_evidence evidence = {.symptom = (enum health_symptom) symptom,
                                                   .seen = true,
                                                   .state = *state,
                                                   .window_usec = USEC_PER_SEC,
                                                   .frozen = bits & 1,
                                                   .tracer = bits & 2 ? 5 : 0,
                                                   .chances = bits & 4 ? HEALTH_CHANCES : 0,
                                                   .misses = bits & 8 ? HEALTH_MISSES : 1,
                                                   .cpu_usec = bits & 16 ? USEC_PER_SEC : 0,
                                                   .io_known = bits & 32,
                                                   .io_bytes = bits & 32 ? 1 << 20 : 0,
                                                   .was_stopped = bits & 64};
                enum health_verdict verdict = health_judge(&evidence);
                bool stopped = *state == 'T' || *state == 't' || (bits & 3);

                ck_assert_int_ne(verdict, HEALTH_HEALTHY);
                ck_assert_int_eq(verdict == HEALTH_STOPPED, stopped);
                if (verdict == HEALTH_BUSY)
                    ck_assert_uint_lt(evidence.chances, HEALTH_CHANCES);
                if (verdict == HEALTH_HUNG)
                    ck_assert(symptom == HEALTH_NO_WATCHDOG || symptom == HEALTH_TRIGGER ||
                              (symptom == HEALTH_NO_ANSWER &&
                               (evidence.misses >= HEALTH_MISSES || evidence.chances >= HEALTH_CHANCES)));
            }
}
END_TEST

START_TEST(names) {
    for (int verdict = 0; verdict < HEALTH_VERDICT_MAX; verdict++)
        ck_assert_int_eq(health_verdict_from_string(health_verdict_to_string((enum health_verdict) verdict)),
                         verdict);
    for (int symptom = 0; symptom < HEALTH_SYMPTOM_MAX; symptom++)
        ck_assert_int_eq(health_symptom_from_string(health_symptom_to_string((enum health_symptom) symptom)),
                         symptom);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("judge-health");
    TCase *tests = tcase_create("all");

    tcase_add_loop_test(tests, table, 0, (int) ELEMENTSOF(rows));
    tcase_add_test(tests, promises);
    tcase_add_test(tests, names);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
