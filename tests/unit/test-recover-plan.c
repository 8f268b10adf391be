/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "leftover-fixture.h"

/* recover_plan(): what is done about it? */

#define PATHS 3
#define HOLDERS 3

/* An inspection of up to PATHS paths; what a test does not touch is absent. */
static struct {
    struct inspection inspection;
    struct inspected paths[PATHS];
    struct lock_facts facts[PATHS];
    struct holder_facts holders[PATHS][HOLDERS];
    struct service_config config;
    struct leftover_context context;
    struct leftover_watch watches[4];
    size_t n_watches;
    uint64_t now;
    struct recover_plan plan;
} t;

static void set_up(void) {
    static const char *const paths[PATHS] = {"/run/kea/s.lock", "/run/kea/kea4.pid", "/srv/l.csv.pid"};

    memset(&t, 0, sizeof t);
    t.inspection =
        (struct inspection){.paths = t.paths, .facts = t.facts, .n = PATHS, .daemon_exe = (char *) KEA};
    for (size_t i = 0; i < PATHS; i++) {
        t.paths[i].name = "x";
        t.paths[i].path = paths[i];
        t.paths[i].judgement.verdict = VERDICT_ABSENT;
        t.facts[i].path = (char *) (uintptr_t) paths[i];
        t.facts[i].holders = t.holders[i];
        t.facts[i].uid = USER;
        t.facts[i].complete = true;
    }
    t.paths[1].role = INSPECTED_PIDFILE;
    t.paths[2].role = INSPECTED_HELPER_PIDFILE;
    t.config = (struct service_config){
        .orphan_policy = ORPHAN_TERMINATE, .orphan_grace_usec = 2 * SEC, .orphan_kill_usec = 5 * SEC};
    t.context = ours;
    t.now = NOW;
}

static void tear_down(void) {
    recover_plan_done(&t.plan);
}

static void judge(size_t path, enum verdict verdict, enum verdict_reason reason) {
    t.paths[path].judgement = (struct lock_judgement){.verdict = verdict, .reason = reason};
}

static void hold(size_t path, struct process_facts process) {
    t.holders[path][t.facts[path].n_holders++].process = process;
}

static void name_in_pidfile(size_t path, struct process_facts process) {
    t.facts[path].recorded = (struct recorded_facts){.pid = process.pid, .process = process};
}

/* recovery.c's side: remembers whom it has seen and signalled. */
static struct leftover_watch *watch(pid_t pid) {
    t.watches[t.n_watches] =
        (struct leftover_watch){.id = {.pid = pid, .start_ticks = 1000 + (uint64_t) pid}, .seen_usec = t.now};
    return &t.watches[t.n_watches++];
}

static void plan(enum recover_outcome outcome, size_t n) {
    recover_plan_done(&t.plan);
    ck_assert_int_eq(
        recover_plan(&t.config, &t.inspection, &t.context, t.watches, t.n_watches, t.now, &t.plan), 0);
    ck_assert_int_eq(t.plan.outcome, outcome);
    ck_assert_uint_eq(t.plan.n, n);
}

static void assert_action(size_t i, enum recover_step step, size_t path, pid_t pid,
                          enum leftover_proof proof) {
    const struct process_facts *process;

    ck_assert_uint_lt(i, t.plan.n);
    ck_assert_str_eq(recover_step_to_string(t.plan.actions[i].step), recover_step_to_string(step));
    ck_assert_uint_eq(t.plan.actions[i].path, path);
    ck_assert_str_eq(leftover_proof_to_string(t.plan.actions[i].proof), leftover_proof_to_string(proof));
    process = recover_action_process(&t.inspection, &t.plan.actions[i]);
    ck_assert_int_eq(process ? process->pid : 0, pid);
}

START_TEST(nothing_in_the_way) {
    plan(RECOVERY_CLEAR, 0);
    judge(0, VERDICT_FREE, REASON_NONE);
    judge(1, VERDICT_FREE, REASON_NONE);
    plan(RECOVERY_CLEAR, 0);
    t.inspection.n = 0;
    plan(RECOVERY_CLEAR, 0);
}
END_TEST

START_TEST(stale_is_cleared) {
    judge(1, VERDICT_STALE, REASON_DEAD);
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_CLEAR, 1, 0, PROOF_NONE);
    judge(2, VERDICT_STALE, REASON_RECYCLED);
    name_in_pidfile(2, stranger(10)); /* who has the number now */
    plan(RECOVERY_WORKING, 2);
    ck_assert_int_eq(t.plan.actions[1].step, RECOVER_CLEAR);
    ck_assert_int_eq(t.plan.actions[1].proof, PROOF_NONE);
}
END_TEST

START_TEST(a_living_owner_blocks) {
    judge(0, VERDICT_HELD, REASON_LIVE);
    hold(0, stranger(10));
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    /* Even if it could be proven to be ours: a held lock is nobody's leftover. */
    ADOPT(&t.holders[0][0].process, under_us);
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    /* What is stale is cleared all the same. */
    judge(1, VERDICT_STALE, REASON_DEAD);
    plan(RECOVERY_WORKING, 2);
    assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    assert_action(1, RECOVER_CLEAR, 1, 0, PROOF_NONE);
}
END_TEST

/* Its lock is on the file that stood there once: who has that one is watched, not who has the new one open. */
START_TEST(a_displaced_owner_blocks) {
    static struct holder_facts holder;
    static struct lock_facts displaced;

    holder = (struct holder_facts){.process = stranger(20), .families = {true}};
    displaced = (struct lock_facts){.holders = &holder, .n_holders = 1};
    judge(0, VERDICT_HELD, REASON_SPLIT);
    hold(0, stranger(10));
    t.facts[0].displaced = &displaced;
    t.facts[0].n_displaced = 1;
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 20, PROOF_NONE);
    displaced.n_holders = 0; /* shown by the kernel's table only */
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 0, PROOF_NONE);
}
END_TEST

/* Whatever the reason: what cannot be told is in the way, and nobody is touched. */
START_TEST(unknown_blocks) {
    hold(0, lfc(10));
    ADOPT(&t.holders[0][0].process, under_us);
    for (int reason = 0; reason < REASON_MAX; reason++) {
        judge(0, VERDICT_UNKNOWN, (enum verdict_reason) reason);
        plan(RECOVERY_BLOCKED, 1);
        ck_assert_int_eq(t.plan.actions[0].step, RECOVER_BLOCKED);
    }
    judge(0, VERDICT_MAX, REASON_NONE); /* a verdict of the future */
    plan(RECOVERY_BLOCKED, 1);
    judge(0, VERDICT_INVALID, REASON_NONE);
    plan(RECOVERY_BLOCKED, 1);
}
END_TEST

/* The leftover gets its grace time, then SIGTERM, then time to obey, then SIGKILL, and then is waited for. */
START_TEST(grace_term_kill) {
    struct leftover_watch *seen;

    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, NOW + 2 * SEC);

    seen = watch(10);
    t.now = NOW + 2 * SEC - 1;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, NOW + 2 * SEC);
    t.now = NOW + 2 * SEC;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);

    seen->terminated_usec = t.now;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, NOW + 7 * SEC);
    t.now = NOW + 7 * SEC - 1;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    t.now = NOW + 7 * SEC;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_KILL, 0, 10, PROOF_HELPER);

    seen->killed_usec = t.now;
    t.now = NOW + 700 * SEC;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, USEC_INFINITY);
}
END_TEST

START_TEST(no_grace_and_endless_grace) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    t.config.orphan_grace_usec = 0;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);

    t.config.orphan_grace_usec = USEC_INFINITY;
    watch(10);
    t.now += SEC;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, USEC_INFINITY); /* and not a moment that is over */

    t.config.orphan_grace_usec = 0;
    t.config.orphan_kill_usec = USEC_INFINITY;
    t.watches[0].terminated_usec = t.now;
    t.now += 1000 * SEC;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, USEC_INFINITY);
    t.config.orphan_kill_usec = USEC_INFINITY - 1;
    plan(RECOVERY_WORKING, 1);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, USEC_INFINITY);
    t.config.orphan_kill_usec = 0;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_KILL, 0, 10, PROOF_HELPER);
}
END_TEST

/* The watch is on a process, not on a number. */
START_TEST(a_number_given_out_again) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    watch(10)->terminated_usec = NOW - 100 * SEC;
    t.holders[0][0].process.start_ticks++;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, NOW + 2 * SEC);
}
END_TEST

START_TEST(policies) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    watch(10);
    t.now += 1000 * SEC;
    t.config.orphan_policy = ORPHAN_WAIT;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    ck_assert_uint_eq(t.plan.actions[0].until_usec, USEC_INFINITY);
    t.config.orphan_policy = ORPHAN_FAIL;
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    t.config.orphan_policy = ORPHAN_TERMINATE;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);
}
END_TEST

/* Somebody was handed the descriptor (unix(7), SCM_RIGHTS). With nobody else in the way the service is
 * blocked. */
START_TEST(a_victim_with_the_descriptor) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, stranger(10));
    for (int policy = 0; policy < ORPHAN_POLICY_MAX; policy++) {
        t.config.orphan_policy = (enum orphan_policy) policy;
        plan(RECOVERY_BLOCKED, 1);
        assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    }
}
END_TEST

/* What is proven is ended, what is not is never touched; and once it stands alone it is named. */
START_TEST(a_mixture) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, stranger(10));
    hold(0, lfc(11));
    hold(0, stranger(12));
    t.config.orphan_grace_usec = 0;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 0, 11, PROOF_HELPER);
    t.facts[0].n_holders = 1;
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 10, PROOF_NONE);
    t.facts[0].n_holders = 0; /* a leftover that nobody saw */
    plan(RECOVERY_BLOCKED, 1);
    ck_assert_int_eq(t.plan.actions[0].holder, -1);
}
END_TEST

/* The scan missed somebody: that forbids conclusions from absence, not ending what is proven. */
START_TEST(an_incomplete_scan) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    t.facts[0].complete = false;
    t.facts[0].unreadable_total = 1;
    hold(0, lfc(10));
    t.config.orphan_grace_usec = 0;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);
    /* And beside it something that blocks. */
    judge(1, VERDICT_UNKNOWN, REASON_INCOMPLETE_SCAN);
    plan(RECOVERY_WORKING, 2);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);
    assert_action(1, RECOVER_BLOCKED, 1, 0, PROOF_NONE);
}
END_TEST

/* A helper below something that holds the lock and is not known for a leftover: that may be the daemon under
 * another executable (it was upgraded, or ExecStart= is a script). */
START_TEST(a_helper_at_work) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, stranger(60));
    hold(0, lfc(10));
    ADOPT(&t.holders[0][1].process, under_shell); /* 60 */
    t.config.orphan_grace_usec = 0;
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 0, 60, PROOF_NONE);
    /* Below a leftover it is one as well. */
    ADOPT(&t.holders[0][0].process, under_us);
    plan(RECOVERY_WORKING, 2);
    assert_action(0, RECOVER_TERMINATE, 0, 60, PROOF_DESCENDANT);
    assert_action(1, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);
}
END_TEST

/* kea-lfc holds the lock and is named by its own PID file: one signal a round, and both paths wait for it. */
START_TEST(one_process_in_two_places) {
    struct leftover_watch *seen = watch(10);

    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    judge(2, VERDICT_HELD, REASON_LIVE);
    name_in_pidfile(2, lfc(10));
    t.now += 2 * SEC;
    plan(RECOVERY_WORKING, 2);
    assert_action(0, RECOVER_TERMINATE, 0, 10, PROOF_HELPER);
    assert_action(1, RECOVER_WAIT, 2, 10, PROOF_HELPER);
    seen->terminated_usec = t.now;
    t.now += 5 * SEC;
    plan(RECOVERY_WORKING, 2);
    assert_action(0, RECOVER_KILL, 0, 10, PROOF_HELPER);
    assert_action(1, RECOVER_WAIT, 2, 10, PROOF_HELPER);
}
END_TEST

/* kea-lfc by its PID file alone, on the way to its end: it has no command line any more, and may be neither
 * alive nor dead for all that can be read. */
START_TEST(dying_helper) {
    static const enum verdict verdicts[] = {VERDICT_HELD, VERDICT_UNKNOWN};
    struct process_facts dying = lfc(10);
    struct leftover_watch *seen = watch(10);

    dying.cmdline = NULL;
    dying.exe = NULL;
    name_in_pidfile(2, dying);
    judge(2, verdicts[_i], REASON_LIVE);
    seen->proof = PROOF_CGROUP;
    seen->terminated_usec = t.now;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 2, 10, PROOF_CGROUP);
    seen->id.start_ticks++; /* somebody else of that number */
    plan(RECOVERY_BLOCKED, 1);
    seen->id.start_ticks--;
    seen->proof = PROOF_NONE; /* watched only because it was in the way */
    plan(RECOVERY_BLOCKED, 1);
}
END_TEST

/* A dying process has no executable any more: what was proven of it stays proven. */
START_TEST(proven_once) {
    judge(0, VERDICT_ORPHANED, REASON_LEFTOVER);
    hold(0, lfc(10));
    watch(10)->proof = PROOF_HELPER;
    t.holders[0][0].process.exe = NULL;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 0, 10, PROOF_HELPER);
    t.watches[0].proof = PROOF_NONE;
    plan(RECOVERY_BLOCKED, 1);
}
END_TEST

/* ---- a helper's PID file ---- */

START_TEST(helper_pidfile) {
    judge(2, VERDICT_HELD, REASON_LIVE);
    name_in_pidfile(2, lfc(10));
    plan(RECOVERY_BLOCKED, 1); /* begun by the administrator, by hand: watched, not ended */
    assert_action(0, RECOVER_BLOCKED, 2, 10, PROOF_NONE);
    ADOPT(&t.facts[2].recorded.process, under_us);
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_WAIT, 2, 10, PROOF_DESCENDANT);
    t.config.orphan_grace_usec = 0;
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 2, 10, PROOF_DESCENDANT);
    judge(2, VERDICT_STALE, REASON_DEAD);
    plan(RECOVERY_WORKING, 1);
    ck_assert_int_eq(t.plan.actions[0].step, RECOVER_CLEAR);
}
END_TEST

/* Its daemon lives: whichever that is. */
START_TEST(helper_pidfile_of_a_living_daemon) {
    struct ancestor_facts *parents[] = {under_kea, under_shell};

    t.config.orphan_grace_usec = 0;
    judge(2, VERDICT_HELD, REASON_LIVE);
    name_in_pidfile(2, lfc(10));
    for (size_t i = 0; i < ELEMENTSOF(parents); i++) {
        adopt(&t.facts[2].recorded.process, parents[i], 2);
        plan(RECOVERY_BLOCKED, 1);
        assert_action(0, RECOVER_BLOCKED, 2, 10, PROOF_NONE);
    }
    t.context.supervisor = 0; /* no subreaper: our own child is at work for somebody */
    ADOPT(&t.facts[2].recorded.process, under_us);
    plan(RECOVERY_BLOCKED, 1);
}
END_TEST

/* Somebody else has the number, and the clock was set, so that it does not show. */
START_TEST(helper_pidfile_names_an_innocent) {
    struct process_facts innocent = lfc(10);

    t.config.orphan_grace_usec = 0;
    judge(2, VERDICT_HELD, REASON_LIVE);
    innocent.cmdline = (char *) LFC " -4 -p /srv/other.csv.pid"; /* of a sister daemon that is dead as well */
    name_in_pidfile(2, innocent);
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 2, 10, PROOF_NONE);
    innocent.cmdline = NULL;
    name_in_pidfile(2, innocent);
    plan(RECOVERY_BLOCKED, 1);
    innocent = stranger(10);
    ADOPT(&innocent, under_us);
    name_in_pidfile(2, innocent);
    plan(RECOVERY_BLOCKED, 1);
    innocent.cmdline =
        (char *) "sh /opt/my-lfc -p l.csv.pid"; /* a script, told of the PID file as Kea has it */
    name_in_pidfile(2, innocent);
    plan(RECOVERY_WORKING, 1);
    assert_action(0, RECOVER_TERMINATE, 2, 10, PROOF_DESCENDANT);
}
END_TEST

/* The daemon's own PID file: never its process, though it be below us and have a helper's executable. */
START_TEST(daemons_pidfile) {
    struct process_facts process = lfc(10);

    ADOPT(&process, under_us);
    t.config.orphan_grace_usec = 0;
    judge(1, VERDICT_HELD, REASON_LIVE);
    name_in_pidfile(1, process);
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 1, 10, PROOF_NONE);
}
END_TEST

/* A helper's PID file that somebody has locked is like any lock. */
START_TEST(helper_pidfile_locked) {
    t.config.orphan_grace_usec = 0;
    judge(2, VERDICT_HELD, REASON_LIVE);
    name_in_pidfile(2, lfc(10));
    hold(2, stranger(11));
    plan(RECOVERY_BLOCKED, 1);
    assert_action(0, RECOVER_BLOCKED, 2, 11, PROOF_NONE);
    judge(2, VERDICT_UNKNOWN, REASON_EMPTY);
    plan(RECOVERY_BLOCKED, 1);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("plans");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, nothing_in_the_way);
    tcase_add_test(tests, stale_is_cleared);
    tcase_add_test(tests, a_living_owner_blocks);
    tcase_add_test(tests, a_displaced_owner_blocks);
    tcase_add_test(tests, unknown_blocks);
    tcase_add_test(tests, grace_term_kill);
    tcase_add_test(tests, no_grace_and_endless_grace);
    tcase_add_test(tests, a_number_given_out_again);
    tcase_add_test(tests, policies);
    tcase_add_test(tests, a_victim_with_the_descriptor);
    tcase_add_test(tests, a_mixture);
    tcase_add_test(tests, an_incomplete_scan);
    tcase_add_test(tests, a_helper_at_work);
    tcase_add_test(tests, one_process_in_two_places);
    tcase_add_loop_test(tests, dying_helper, 0, 2);
    tcase_add_test(tests, proven_once);
    tcase_add_test(tests, helper_pidfile);
    tcase_add_test(tests, helper_pidfile_of_a_living_daemon);
    tcase_add_test(tests, helper_pidfile_names_an_innocent);
    tcase_add_test(tests, daemons_pidfile);
    tcase_add_test(tests, helper_pidfile_locked);
    return run_suite("recover-plan", tests);
}
