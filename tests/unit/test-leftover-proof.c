/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "leftover-fixture.h"

/* leftover_prove(): whose process is it? */

static enum leftover_proof prove(const struct process_facts *process,
                                 const struct leftover_context *context) {
    return leftover_prove(process, context, (uid_t) -1);
}

START_TEST(a_stranger_is_not_ours) {
    struct process_facts process = stranger(10);

    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    ck_assert_int_eq(leftover_prove(&process, &ours, USER),
                     PROOF_NONE); /* the lock's owner proves nothing more */
    process.uid = (uid_t) -1;
    ck_assert_int_eq(leftover_prove(&process, &ours, (uid_t) -1), PROOF_NONE);
}
END_TEST

START_TEST(descendants) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    ADOPT(&process, under_us);
    process.uid = 0; /* whatever it has become */
    ck_assert_int_eq(prove(&process, &context), PROOF_DESCENDANT);

    context.only_service = false; /* then it has to say whose it is */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea6";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea4";
    ck_assert_int_eq(prove(&process, &context), PROOF_DESCENDANT);

    context.supervisor = 0; /* not a subreaper: what is below us says nothing */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

/* A latchd that the service's daemon runs: its daemons are below us, and not ours. */
START_TEST(another_service_below_us) {
    struct process_facts process = stranger(10);

    ADOPT(&process, under_us);
    process.service = (char *) "inner";
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
}
END_TEST

START_TEST(far_descendants) {
    struct ancestor_facts deep[] = {{70, NULL}, {71, (char *) "/bin/sh"}, {SUPERVISOR, NULL}, {1, NULL}};
    struct process_facts process = stranger(10);

    ADOPT(&process, deep);
    ck_assert_int_eq(prove(&process, &ours), PROOF_DESCENDANT);
    deep[2].pid = 72;
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    adopt(&process, NULL, 0); /* could not be read */
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
}
END_TEST

/* In a container latchd may be PID 1, and everything is below it. */
START_TEST(init_is_everybodys_ancestor) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    context.supervisor = context.self = 1;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea6";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea4";
    ck_assert_int_eq(prove(&process, &context), PROOF_DESCENDANT);
}
END_TEST

START_TEST(never_ourselves_nor_init) {
    struct leftover_context context = ours;
    struct process_facts process = lfc(SUPERVISOR);

    process.service = (char *) "kea4";
    process.invocation_id = (char *) INVOCATION;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE); /* the supervisor, begun within the service */
    context.supervisor = 0;                                  /* latchctl clear */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.self = 0;
    ck_assert_int_eq(prove(&process, &context), PROOF_INVOCATION);
    process.pid = 1;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.pid = 0;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.pid = -1;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

START_TEST(invocations) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    process.service = (char *) "kea4";
    ck_assert_int_eq(prove(&process, &ours),
                     PROOF_NONE); /* anybody can have that by `latchctl restart` in a shell */
    process.invocation_id = (char *) "0123456789abcdef0123456789abcdee";
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.invocation_id = (char *) INVOCATION;
    ck_assert_int_eq(prove(&process, &ours), PROOF_INVOCATION);
    process.service = NULL;
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.service = (char *) "kea";
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.service = (char *) "kea4";

    process.uid = 0; /* a program with the set-user-ID bit, or another user's */
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.uid = 201; /* the user that a wrapper changed to, who owns the lock */
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    ck_assert_int_eq(leftover_prove(&process, &ours, 201), PROOF_INVOCATION);
    process.uid = (uid_t) -1; /* could not be read */
    ck_assert_int_eq(leftover_prove(&process, &ours, (uid_t) -1), PROOF_NONE);
    context.uid = (uid_t) -1;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);

    context = ours;
    context.invocation_id = NULL; /* nothing on record */
    process.uid = USER;
    process.invocation_id = NULL;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

START_TEST(helper_executables) {
    struct leftover_context context = ours;
    struct process_facts process = lfc(10);

    ck_assert_int_eq(prove(&process, &ours), PROOF_HELPER);
    ADOPT(&process, under_shell);
    ck_assert_int_eq(prove(&process, &ours), PROOF_HELPER);
    process.exe = (char *) "/opt/other";
    ck_assert_int_eq(prove(&process, &ours), PROOF_HELPER);
    process.exe = (char *) "/opt/other2";
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.exe = NULL;
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    process.exe = (char *) "kea-lfc"; /* a name is none */
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);

    process = lfc(10);
    process.uid = 0;
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    ck_assert_int_eq(leftover_prove(&process, &ours, 0), PROOF_HELPER);
    process.uid = USER;
    ADOPT(&process, under_kea); /* at work */
    ck_assert_int_eq(prove(&process, &ours), PROOF_NONE);
    ADOPT(&process, under_init);
    context.daemon_exe = NULL; /* not known: whether it is at work cannot be told */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context = ours;
    context.helpers = NULL;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.helpers = &helpers[2]; /* none */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

/* Who is in the service's own cgroup is the service's, whatever it says of itself. */
START_TEST(members_of_the_cgroup) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    process.cgroup = (char *) "/system.slice/latchd@kea4.service/kea4.daemon";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.cgroup = "/system.slice/latchd@kea4.service/kea4.daemon";
    ck_assert_int_eq(prove(&process, &context), PROOF_CGROUP);
    process.uid = 0;
    process.service = (char *) "inner"; /* of a latchd within: killed with the outer one's daemon */
    ck_assert_int_eq(prove(&process, &context), PROOF_CGROUP);
    process.cgroup = (char *) "/system.slice/latchd@kea4.service/kea4.daemon/below";
    ck_assert_int_eq(prove(&process, &context), PROOF_CGROUP);
    process.cgroup = (char *) "/system.slice/latchd@kea4.service/kea4.daemon2"; /* another service's */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.cgroup = (char *) "/system.slice/latchd@kea4.service";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.cgroup = NULL; /* could not be read */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.cgroup = (char *) "/system.slice/latchd@kea4.service/kea4.daemon";
    process.pid = SUPERVISOR;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

/* The main process had number 50, and began a session of that number. */
START_TEST(members_of_the_session) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10); /* begun at 1010 */

    process.session = 50;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.session = 50;
    context.session_until_ticks = 1011;
    ck_assert_int_eq(prove(&process, &context), PROOF_SESSION);
    process.uid = 0;
    ck_assert_int_eq(prove(&process, &context), PROOF_SESSION);
    process.start_ticks = 1011; /* the number may be another's by then */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.session_until_ticks = UINT64_MAX; /* it is not reaped */
    ck_assert_int_eq(prove(&process, &context), PROOF_SESSION);
    process.service = (char *) "inner";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea4";
    ck_assert_int_eq(prove(&process, &context), PROOF_SESSION);
    process.session = 51;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.session = process.session = 0; /* of another PID namespace, and not known */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

/* A child of latchd in latchd's session is no daemon's, but a helper of latchd itself. */
START_TEST(helpers_of_our_own) {
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    ADOPT(&process, under_us);
    process.session = 90;
    context.own_session = 90;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = (char *) "kea4"; /* latchd itself was begun by a daemon of that name */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.session = 10;
    ck_assert_int_eq(prove(&process, &context), PROOF_DESCENDANT);
}
END_TEST

/* What a process begins that is proven is proven as well. */
START_TEST(children_of_the_proven) {
    const struct process_id family[] = {{.pid = 61, .start_ticks = 5}, {.pid = 60, .start_ticks = 6}};
    struct leftover_context context = ours;
    struct process_facts process = stranger(10);

    context.only_service = false;
    ADOPT(&process, under_shell); /* of PID 60 */
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    context.family = family;
    context.n_family = 2;
    ck_assert_int_eq(prove(&process, &context), PROOF_DESCENDANT);
    process.service = (char *) "kea6";
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
    process.service = NULL;
    context.n_family = 1;
    ck_assert_int_eq(prove(&process, &context), PROOF_NONE);
}
END_TEST

START_TEST(names) {
    static const char *const proofs[] = {"none", "cgroup", "session", "descendant", "invocation", "helper"},
                             *const steps[] = {"clear", "wait", "terminate", "kill", "blocked"};

    for (int i = 0; i < PROOF_MAX; i++)
        ck_assert_str_eq(leftover_proof_to_string((enum leftover_proof) i), proofs[i]);
    for (int i = 0; i < RECOVER_STEP_MAX; i++)
        ck_assert_str_eq(recover_step_to_string((enum recover_step) i), steps[i]);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("proofs");

    tcase_add_test(tests, a_stranger_is_not_ours);
    tcase_add_test(tests, descendants);
    tcase_add_test(tests, another_service_below_us);
    tcase_add_test(tests, far_descendants);
    tcase_add_test(tests, init_is_everybodys_ancestor);
    tcase_add_test(tests, never_ourselves_nor_init);
    tcase_add_test(tests, invocations);
    tcase_add_test(tests, helper_executables);
    tcase_add_test(tests, members_of_the_cgroup);
    tcase_add_test(tests, members_of_the_session);
    tcase_add_test(tests, helpers_of_our_own);
    tcase_add_test(tests, children_of_the_proven);
    tcase_add_test(tests, names);
    return run_suite("leftover-proof", tests);
}
