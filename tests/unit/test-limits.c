/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is configured against what is needed (recorded facts), remarks on limits in force, and changes of a
 * process's limits. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "exec/limits-check.h"
#include "exec/limits-facts.h"
#include "exec/limits-set.h"

#include "suite.h"

static struct socket_config control_socket = {.name = (char *) "control", .backlog = 4096};
static struct socket_config *sockets[] = {&control_socket};

/* Enough of everything. */
static struct limits_facts plenty(void) {
    return (struct limits_facts){
        .pid = 77,
        .nofile_soft = 1024,
        .client_limit = 900,
        .open_files = 60,
        .sockets = sockets,
        .n_sockets = 1,
        .somaxconn = 4096,
        .nproc_counts = true,
        .nproc_soft = 100,
        .user_tasks = 79,
        .uid = 1000,
        .user = "_kea",
        .pids = {.found = true, .current = 79, .maximum = 100, .path = (char *) "/a"}};
}

_sentinel_ static void expect(const struct limits_facts *facts, enum limits_shortage shortage,
                              const char *limit, uint64_t needed, uint64_t available, ...) {
    struct limits_warnings warnings;
    const char *part;
    va_list parts;

    ck_assert_int_eq(limits_check(facts, &warnings), 0);
    ck_assert_uint_eq(warnings.n, 1);
    ck_assert_int_eq(warnings.of[0].shortage, shortage);
    ck_assert_str_eq(warnings.of[0].limit, limit);
    ck_assert_uint_eq(warnings.of[0].needed, needed);
    ck_assert_uint_eq(warnings.of[0].available, available);
    va_start(parts, available);
    while ((part = va_arg(parts, const char *)))
        ck_assert_msg(strstr(warnings.of[0].text, part), "\"%s\" is not in: %s", part, warnings.of[0].text);
    va_end(parts);
    limits_warnings_done(&warnings);
}

static void expect_none(const struct limits_facts *facts) {
    struct limits_warnings warnings;

    ck_assert_int_eq(limits_check(facts, &warnings), 0);
    ck_assert_msg(warnings.n == 0, "unexpected: %s", warnings.n ? warnings.of[0].text : "");
    limits_warnings_done(&warnings);
}

START_TEST(enough) {
    struct limits_facts facts = plenty();

    expect_none(&facts); /* each of them is on the very edge */
    facts.nofile_soft = facts.nproc_soft = UINT64_MAX;
    expect_none(&facts);
    expect_none(&(struct limits_facts){0});
}
END_TEST

START_TEST(files) {
    struct limits_facts facts = plenty();

    facts.nofile_soft = 1023;
    expect(&facts, LIMITS_SHORT_OF_FILES, "NOFILE", 1024, 1023, "PID 77 may open 1023", "needs 1024",
           "ClientLimit=900 + 60 held open beside its clients + 64 in reserve",
           "LimitNOFILE=auto, or to 1024", NULL);
    facts.nofile_automatic = true;
    expect(&facts, LIMITS_SHORT_OF_FILES, "NOFILE", 1024, 1023, "from the next start", NULL);
    facts.client_limit = UINT64_MAX - 5;
    expect(&facts, LIMITS_SHORT_OF_FILES, "NOFILE", UINT64_MAX, 1023, NULL);
    facts.client_limit = 0; /* nothing is known of what it needs */
    expect_none(&facts);
}
END_TEST

START_TEST(queues) {
    struct limits_facts facts = plenty();

    facts.somaxconn = 128;
    expect(&facts, LIMITS_SHORT_OF_QUEUE, "net.core.somaxconn", 4096, 128, "[Socket control]", "Backlog=4096",
           "129 connections can wait, not 4097", "sysctl net.core.somaxconn=4096", NULL);
    facts.somaxconn = 0; /* not known */
    expect_none(&facts);
}
END_TEST

START_TEST(processes) {
    struct limits_facts facts = plenty();

    facts.user_tasks = 80;
    expect(&facts, LIMITS_SHORT_OF_PROCESSES, "NPROC", 80, 100, "user _kea has 80", "of 100", "20 are left",
           NULL);
    facts.user = NULL;
    facts.user_tasks = 200;
    expect(&facts, LIMITS_SHORT_OF_PROCESSES, "NPROC", 200, 100, "user 1000 has 200", ": 0 are left", NULL);
    facts.nproc_counts = false; /* root */
    expect_none(&facts);
    facts = plenty();
    facts.pids.current = 85;
    expect(&facts, LIMITS_SHORT_OF_PIDS, "pids.max", 85, 100, "cgroup /a has 85", "15 are left",
           "TasksMax=", NULL);
    facts.pids.path = (char *) "/a\nb";
    expect(&facts, LIMITS_SHORT_OF_PIDS, "pids.max", 85, 100, "cgroup /a?b", NULL);
}
END_TEST

/* Use goes up and down, and is no news; another limit is, and another need of descriptors. */
START_TEST(told_once) {
    struct limits_facts facts = plenty();
    struct limits_warnings before, after;

    facts.nofile_soft = 1000;
    facts.user_tasks = 90;
    ck_assert_int_eq(limits_check(&facts, &before), 0);
    facts.user_tasks = 91;
    ck_assert_int_eq(limits_check(&facts, &after), 0);
    ck_assert_uint_eq(after.n, 2);
    ck_assert(limits_warnings_have(&before, &after.of[0]));
    ck_assert(limits_warnings_have(&before, &after.of[1]));
    limits_warnings_done(&after);
    facts.nproc_soft = 101;
    facts.open_files = 61;
    ck_assert_int_eq(limits_check(&facts, &after), 0);
    ck_assert(!limits_warnings_have(&before, &after.of[0]));
    ck_assert(!limits_warnings_have(&before, &after.of[1]));
    limits_warnings_done(&after);
    limits_warnings_done(&before);
}
END_TEST

static void expect_remark(const struct limits_row *row, bool attention, const char *part) {
    char *remark;
    bool got;

    ck_assert_int_eq(limits_remark(row, &got, &remark), 0);
    if (!part)
        ck_assert_msg(!remark, "unexpected: %s", remark);
    else
        ck_assert_msg(remark && strstr(remark, part), "\"%s\" is not in: %s", part,
                      remark ? remark : "nothing");
    ck_assert_int_eq(got, attention);
    free(remark);
}

START_TEST(remarks) {
    struct limits_row row = {.resource = RLIMIT_NOFILE,
                             .planned = true,
                             .planned_soft = 64,
                             .planned_hard = 128,
                             .soft = 64,
                             .hard = 128,
                             .used = 51};

    expect_remark(&row, false, NULL);
    row.used = 52;
    expect_remark(&row, true, "81 % of the soft limit is used");
    row.soft = 100; /* who did that cannot be told */
    expect_remark(&row, true,
                  "not the 64:128 it was started with: the daemon changed it by itself, or somebody");
    row.hard = 200; /* but here it can */
    expect_remark(&row, true, "somebody changed it by prlimit, for the daemon itself may not");
    row.may_raise = true;
    expect_remark(&row, true, "by itself, or somebody");
    row.changed = true;
    row.changed_soft = 100;
    row.changed_hard = 200;
    row.changed_by = 1000;
    expect_remark(&row, true, "set by latchctl limits for uid 1000, until the next start");
    row.soft = 101; /* and then again */
    expect_remark(&row, true, "not the 64:128");
    row = (struct limits_row){.resource = RLIMIT_NPROC, .soft = 8, .hard = 8, .used = 200, .exempt = true};
    expect_remark(&row, false, "not enforced for root");
    row.exempt = false;
    expect_remark(&row, true, "2500 %");
    row = (struct limits_row){.resource = RLIMIT_RSS, .soft = 8, .hard = 8, .used = 200};
    expect_remark(&row, false, "Linux ignores it");
    row = (struct limits_row){
        .resource = RLIMIT_AS, .soft = UINT64_MAX, .hard = UINT64_MAX, .used = UINT64_MAX - 1};
    expect_remark(&row, false, NULL);
    row.soft = UINT64_MAX - 1;
    expect_remark(&row, true, "100 %");
    row.used = UINT64_MAX;
    expect_remark(&row, false, NULL);
    row.soft = row.used = 0; /* MEMLOCK=0, and nothing is locked */
    expect_remark(&row, false, NULL);
}
END_TEST

static int prepare(int resource, const char *text, bool may_raise, uint64_t hard, struct rlimit *ret,
                   struct err *err) {
    const struct rlimits_system system = {.may_raise = may_raise, .nr_open = 1000000};
    struct limit_config asked;

    ck_assert_int_eq(rlimit_parse_value(resource, text, &asked, NULL), 0);
    return limits_prepare_change(resource, &asked, hard, &system, ret, err);
}

START_TEST(prepares) {
    _cleanup_err_ struct err err = {0};
    struct rlimit wanted = {1, 2};

    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "10:20", false, 20, &wanted, &err), 0);
    ck_assert_uint_eq(wanted.rlim_cur, 10);
    ck_assert_uint_eq(wanted.rlim_max, 20);
    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "10:21", false, 20, &wanted, &err), -EPERM);
    ck_assert_str_eq(err.name, "NotPermitted");
    ck_assert_ptr_nonnull(strstr(err_text(&err), "from 20 to 21"));
    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "10:21", true, 20, &wanted, &err), 0);
    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "infinity", true, 20, &wanted, &err), 0);
    ck_assert_uint_eq(wanted.rlim_max, 1000000);
    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "1000001", true, 20, &wanted, &err), -EINVAL);
    ck_assert_str_eq(err.name, "BadLimit");
    ck_assert_int_eq(prepare(RLIMIT_NOFILE, "auto", true, 20, &wanted, &err), -EINVAL);
    ck_assert_str_eq(err.name, "BadLimit");
    ck_assert_int_eq(prepare(RLIMIT_CORE, "infinity", false, UINT64_MAX, &wanted, &err), 0);
    ck_assert_uint_eq(wanted.rlim_max, RLIM_INFINITY);
    ck_assert_int_eq(prepare(RLIMIT_CORE, "infinity", false, UINT64_MAX - 1, &wanted, &err), -EPERM);
}
END_TEST

static pid_t sleeper(uid_t uid) {
    pid_t parent = getpid(), pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || setresuid(uid, uid, uid) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    return pid;
}

static void end(pid_t pid) {
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(changes) {
    _cleanup_close_ int proc_fd = procfs_open(), pidfd = -EBADF;
    struct rlimit wanted = {30, 40}, before;
    struct proc_limit limits[RLIMIT_NLIMITS];
    _cleanup_err_ struct err err = {0};
    struct process_id id;
    pid_t pid = sleeper(getuid());

    pidfd = process_pin(proc_fd, pid, &id);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){100, 200}), 0); /* ours, not its */
    ck_assert_int_eq(limits_change(pid, pidfd, RLIMIT_SIGPENDING, &wanted, &before, &err), 0);
    ck_assert_uint_ne(before.rlim_cur, 100);
    ck_assert_int_eq(limits_change(pid, pidfd, RLIMIT_SIGPENDING, &(struct rlimit){20, 40}, &before, &err),
                     0);
    ck_assert_uint_eq(before.rlim_cur, 30);
    ck_assert_uint_eq(before.rlim_max, 40);
    ck_assert_int_eq(procfs_read_limits(proc_fd, pid, limits), 0);
    ck_assert_uint_eq(limits[RLIMIT_SIGPENDING].soft, 20);
    ck_assert_uint_eq(limits[RLIMIT_SIGPENDING].hard, 40);

    /* A zombie keeps its number, and is no process to change. */
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t) pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(limits_change(pid, pidfd, RLIMIT_SIGPENDING, &wanted, &before, &err), -ESRCH);
    ck_assert_str_eq(err.name, "NotRunning");
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

    /* A pidfd of a process that is gone, with a number that is somebody else's by now: nothing is changed. */
    pid = sleeper(getuid());
    ck_assert_int_eq(limits_change(pid, pidfd, RLIMIT_SIGPENDING, &wanted, &before, &err), -ESRCH);
    ck_assert_int_eq(procfs_read_limits(proc_fd, pid, limits), 0);
    ck_assert_uint_eq(limits[RLIMIT_SIGPENDING].soft, 100);
    end(pid);
}
END_TEST

START_TEST(changes_of_another_user) {
    _cleanup_close_ int proc_fd = procfs_open(), pidfd = -EBADF;
    struct rlimit before, wanted = {10, 20};
    struct rlimits_system system;
    _cleanup_err_ struct err err = {0};
    struct process_id id;
    pid_t pid;
    int r;

    if (getuid() != 0)
        return;
    pid = sleeper(65534);
    pidfd = process_pin(proc_fd, pid, &id);
    ck_assert_int_eq(rlimits_read_system(proc_fd, &system), 0);
    for (int i = 0; i < 500; i++) { /* until it is that user's */
        struct limits_owner owner;

        ck_assert_int_eq(limits_read_owner(proc_fd, pid, &owner), 0);
        if (owner.uid == 65534)
            break;
        (void) usleep(1000);
    }
    r = limits_change(pid, pidfd, RLIMIT_SIGPENDING, &wanted, &before, &err);
    if (system.may_raise)
        ck_assert_int_eq(r, 0);
    else {
        ck_assert_int_eq(r, -EPERM);
        ck_assert_str_eq(err.name, "NotPermitted");
        ck_assert_ptr_nonnull(strstr(err_text(&err), "another user"));
    }
    end(pid);
}
END_TEST

START_TEST(used) {
    _cleanup_close_ int proc_fd = procfs_open();
    uint64_t before[RLIMIT_NLIMITS], after[RLIMIT_NLIMITS], tasks;
    uid_t uid = 100000 + (uid_t) getpid(); /* nobody else's */
    struct limits_owner owner;
    int fds[10];
    pid_t pid;

    ck_assert_int_eq(limits_read_use(proc_fd, getpid(), &owner, before), 0);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        ck_assert_int_ge(fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    ck_assert_int_eq(limits_read_use(proc_fd, getpid(), &owner, after), 0);
    ck_assert_uint_eq(after[RLIMIT_NOFILE] - before[RLIMIT_NOFILE], ELEMENTSOF(fds));
    ck_assert_uint_eq(limits_count_descriptors(proc_fd, getpid()), after[RLIMIT_NOFILE]);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        (void) close(fds[i]);
    ck_assert_uint_gt(after[RLIMIT_AS], after[RLIMIT_RSS]);
    ck_assert_uint_gt(after[RLIMIT_RSS], 4096);
    ck_assert_uint_lt(after[RLIMIT_CPU], 1000);
    ck_assert_uint_eq(after[RLIMIT_FSIZE], UINT64_MAX);
    ck_assert_int_eq(limits_read_use(proc_fd, 0x7ffffff0, &owner, after), -ESRCH);

    ck_assert_int_eq(limits_read_owner(proc_fd, getpid(), &owner), 0);
    ck_assert_uint_eq(owner.uid, getuid());
    if (getuid() != 0)
        return;
    ck_assert(owner.exempt);
    pid = sleeper(uid);
    for (int i = 0; i < 500; i++) {
        ck_assert_int_eq(limits_count_tasks(proc_fd, uid, &tasks), 0);
        if (tasks > 0)
            break;
        (void) usleep(1000);
    }
    ck_assert_uint_eq(tasks, 1);
    ck_assert_int_eq(limits_count_tasks_if_tight(proc_fd, uid, 1, &tasks), 0);
    ck_assert_uint_eq(tasks, 1);
    ck_assert_int_eq(limits_count_tasks_if_tight(proc_fd, uid, UINT64_MAX - 1, &tasks), 0);
    ck_assert_uint_eq(tasks, 0); /* not looked at */
    end(pid);
}
END_TEST

static char tree[64];

static void make_tree(void) {
    strcpy(tree, "/tmp/test-limits.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(tree));
}

static void remove_tree(void) {
    char command[96];

    snprintf(command, sizeof command, "rm -rf '%s'", tree);
    ck_assert_int_eq(system(command), 0);
}

/* A file below the tree, with its directories. */
_printf_(2, 3) static void put(const char *name, const char *fmt, ...) {
    char path[256], command[300];
    FILE *file;
    va_list args;

    snprintf(path, sizeof path, "%s/%s", tree, name);
    snprintf(command, sizeof command, "mkdir -p '%.*s'", (int) (strrchr(path, '/') - path), path);
    ck_assert_int_eq(system(command), 0);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    va_start(args, fmt);
    ck_assert_int_ge(vfprintf(file, fmt, args), 0);
    va_end(args);
    ck_assert_int_eq(fclose(file), 0);
}

/* Of the process's cgroup and those above it, the one with the least room; in a recorded /proc. */
START_TEST(cgroups) {
    _cleanup_close_ int proc_fd = -EBADF;
    struct limits_pids pids;
    char proc[96];

    put("proc/77/cgroup", "5:memory:/x\n4:pids:/v1\n0::/a/b/c\n");
    put("proc/self/mountinfo",
        "30 20 0:26 / %s/two rw - cgroup2 cgroup2 rw\n31 20 0:27 / %s/one rw - cgroup cgroup rw,pids\n", tree,
        tree);
    put("two/a/b/c/pids.max", "max\n");
    put("two/a/b/c/pids.current", "5\n");
    put("two/a/pids.max", "100\n");
    put("two/a/pids.current", "90\n");
    put("two/pids.max", "1\n"); /* the root's, where the kernel has none */
    put("two/pids.current", "1\n");
    snprintf(proc, sizeof proc, "%s/proc", tree);
    proc_fd = open(proc, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(proc_fd, 0);
    ck_assert_int_eq(limits_read_pids(proc_fd, 77, &pids), 0);
    ck_assert(pids.found);
    ck_assert_str_eq(pids.path, "/a");
    ck_assert_uint_eq(pids.current, 90);
    ck_assert_uint_eq(pids.maximum, 100);
    free(pids.path);
    put("two/a/b/pids.max", "20\n"); /* nine are left */
    put("two/a/b/pids.current", "11\n");
    ck_assert_int_eq(limits_read_pids(proc_fd, 77, &pids), 0);
    ck_assert_str_eq(pids.path, "/a/b");
    free(pids.path);
    put("one/v1/pids.max", "7\n"); /* more than allowed, as after it was lowered */
    put("one/v1/pids.current", "9\n");
    ck_assert_int_eq(limits_read_pids(proc_fd, 77, &pids), 0);
    ck_assert_str_eq(pids.path, "/v1");
    ck_assert_uint_eq(pids.current, 9);
    free(pids.path);
    put("proc/self/mountinfo", "\n");
    ck_assert_int_eq(limits_read_pids(proc_fd, 77, &pids), 0);
    ck_assert(!pids.found);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("limits");
    TCase *tcase = tcase_create("limits");

    tcase_add_test(tcase, enough);
    tcase_add_test(tcase, files);
    tcase_add_test(tcase, queues);
    tcase_add_test(tcase, processes);
    tcase_add_test(tcase, told_once);
    tcase_add_test(tcase, remarks);
    tcase_add_test(tcase, prepares);
    tcase_add_test(tcase, changes);
    tcase_add_test(tcase, changes_of_another_user);
    tcase_add_test(tcase, used);
    tcase_add_checked_fixture(tcase, make_tree, remove_tree);
    tcase_add_test(tcase, cgroups);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
