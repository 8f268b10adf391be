/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a daemon leaves behind: when what is done about it, who belongs to whom, and that a signal never
 * reaches a process that only has the number. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "recovery/leftovers.h"
#include "recovery/members.h"
#include "recovery/own-cgroup.h"
#include "recovery/recover.h"

#include "own-dir.h"
#include "suite.h"

#define SEC USEC_PER_SEC
#define NOW (5000 * SEC)

static const struct service_config terminates = {
    .orphan_policy = ORPHAN_TERMINATE, .orphan_grace_usec = 2 * SEC, .orphan_kill_usec = 5 * SEC};

/* ---- when what is done ---- */

static enum leftovers_move plan(const struct service_config *config, const struct leftovers_clock *clock,
                                bool all_held, uint64_t *until) {
    *until = 0;
    return leftovers_plan(config, clock, all_held, NOW, until);
}

START_TEST(one_after_the_other) {
    struct leftovers_clock clock = {.seen_usec = NOW - SEC};
    uint64_t until;

    ck_assert_int_eq(plan(&terminates, &clock, false, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, NOW + SEC);
    clock.seen_usec = NOW - 2 * SEC;
    ck_assert_int_eq(plan(&terminates, &clock, false, &until), LEFTOVERS_TERMINATE);
    clock.terminated_usec = NOW - SEC;
    ck_assert_int_eq(plan(&terminates, &clock, false, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, NOW + 4 * SEC);
    clock.terminated_usec = NOW - 5 * SEC;
    ck_assert_int_eq(plan(&terminates, &clock, false, &until), LEFTOVERS_STOP);
    ck_assert_int_eq(plan(&terminates, &clock, true, &until), LEFTOVERS_KILL);
    clock.killed_usec = NOW - SEC;
    ck_assert_int_eq(plan(&terminates, &clock, true, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, NOW + 4 * SEC);
    clock.killed_usec = NOW - 5 * SEC;
    ck_assert_int_eq(plan(&terminates, &clock, false, &until), LEFTOVERS_GIVE_UP);
}
END_TEST

START_TEST(at_once_and_never) {
    struct service_config config = terminates;
    struct leftovers_clock clock = {.seen_usec = NOW};
    uint64_t until;

    config.orphan_grace_usec = 0;
    ck_assert_int_eq(plan(&config, &clock, false, &until), LEFTOVERS_TERMINATE);
    config.orphan_grace_usec = USEC_INFINITY;
    ck_assert_int_eq(plan(&config, &clock, false, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, USEC_INFINITY);
    clock.terminated_usec = 1;
    config.orphan_kill_usec = USEC_INFINITY; /* never SIGKILL */
    ck_assert_int_eq(plan(&config, &clock, true, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, USEC_INFINITY);
    config.orphan_kill_usec = 0;
    ck_assert_int_eq(plan(&config, &clock, true, &until), LEFTOVERS_KILL);
    clock.killed_usec = NOW; /* however short it is: nobody is given up at once */
    ck_assert_int_eq(plan(&config, &clock, true, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, NOW + 5 * SEC);
}
END_TEST

START_TEST(policies) {
    struct leftovers_clock clock = {.seen_usec = 1, .terminated_usec = 2};
    struct service_config config = terminates;
    uint64_t until;

    config.orphan_policy = ORPHAN_WAIT;
    ck_assert_int_eq(plan(&config, &clock, true, &until), LEFTOVERS_WAIT);
    ck_assert_uint_eq(until, USEC_INFINITY);
    config.orphan_policy = ORPHAN_FAIL;
    ck_assert_int_eq(plan(&config, &clock, true, &until), LEFTOVERS_BLOCK);
}
END_TEST

/* ---- who belongs to whom ---- */

static bool has(const pid_t *pids, size_t n, pid_t pid) {
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

START_TEST(families) {
    static const struct process_row rows[] = {
        {1, 0, 1},    {10, 1, 10},  {11, 10, 10}, {12, 11, 12},
        {13, 12, 12}, {20, 1, 20},  {21, 20, 20}, {30, 99, 30}, /* its parent is gone */
        {40, 41, 40}, {41, 40, 40}, /* read at two moments: each is the other's parent */
    };
    static const pid_t roots[] = {11, 20, 77};
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;

    ck_assert_int_eq(process_table_add_family(rows, ELEMENTSOF(rows), roots, 3, &pids, &n), 0);
    ck_assert_uint_eq(n, 5);
    for (pid_t pid = 11; pid <= 13; pid++)
        ck_assert(has(pids, n, pid));
    ck_assert(has(pids, n, 20));
    ck_assert(has(pids, n, 21));
    ck_assert_int_eq(process_table_add_family(rows, 0, roots, 3, &pids, &n), 0);
    ck_assert_uint_eq(n, 5);
}
END_TEST

/* A chain as long as a process table: in time that grows with it, not with its square. */
START_TEST(a_long_chain) {
    enum { N = 30000 };
    _cleanup_free_ struct process_row *rows = calloc(N, sizeof *rows);
    _cleanup_free_ pid_t *pids = NULL;
    static const pid_t root = 5;
    size_t n = 0;

    for (int i = 0; i < N; i++)
        rows[i] = (struct process_row){.pid = i + 1, .parent = i};
    ck_assert_int_eq(process_table_add_family(rows, N, &root, 1, &pids, &n), 0);
    ck_assert_uint_eq(n, N - 4);
}
END_TEST

START_TEST(within) {
    ck_assert(cgroup_is_within("/a/b", "/a/b"));
    ck_assert(cgroup_is_within("/a/b/c", "/a/b"));
    ck_assert(!cgroup_is_within("/a/bc", "/a/b"));
    ck_assert(!cgroup_is_within("/a", "/a/b"));
    ck_assert(!cgroup_is_within("/../a/b", "/a/b"));
    ck_assert(!cgroup_is_within("", "/a/b"));
    ck_assert(!cgroup_is_within(NULL, "/a/b"));
    ck_assert(cgroup_is_within("/a", "/"));
    ck_assert(cgroup_is_within("/", "/"));
}
END_TEST

START_TEST(paths) {
    struct own_cgroup own = {.dir_fd = -EBADF, .path = (char *) "/"};
    _cleanup_free_ char *path = own_cgroup_path(&own, "kea"), *below = NULL;
    char name[300];

    ck_assert_str_eq(path, "/kea.daemon");
    own.path = (char *) "/system.slice/x.service";
    below = own_cgroup_path(&own, "kea");
    ck_assert_str_eq(below, "/system.slice/x.service/kea.daemon");
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    ck_assert_ptr_null(own_cgroup_path(&own, name)); /* no file may have such a name */
}
END_TEST

/* Nothing is a cgroup of ours but a cgroup, and that on the unified hierarchy. */
START_TEST(no_cgroup) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct own_cgroup *own = NULL;

    ck_assert_int_eq(own_cgroup_find(proc_fd, "/proc/self/nothing", &own), -ENOENT);
    ck_assert_int_eq(own_cgroup_find(proc_fd, "/tmp", &own), -ENOENT);
    ck_assert_ptr_null(own);
}
END_TEST

/* A directory that has the right name, and not our mark: neither used nor removed. */
START_TEST(a_foreign_directory) {
    struct own_cgroup own = {.path = (char *) "/"};

    own.dir_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(own.dir_fd, 0);
    ck_assert_int_eq(own_cgroup_open(&own, "a", false), -ENOENT);
    ck_assert_int_eq(mkdirat(own.dir_fd, "a.daemon", 0755), 0);
    ck_assert_int_eq(own_cgroup_open(&own, "a", true), -EEXIST);
    ck_assert_int_eq(own_cgroup_remove(&own, "a"), -EEXIST);
    ck_assert_int_eq(faccessat(own.dir_fd, "a.daemon", F_OK, 0), 0);
    ck_assert_int_eq(symlinkat("a.daemon", own.dir_fd, "b.daemon"), 0);
    ck_assert_int_eq(own_cgroup_open(&own, "b", true), -ENOTDIR);
    fd_close(own.dir_fd);
}
END_TEST

/* ---- signals ---- */

static pid_t begin_sleep(void) {
    pid_t pid = fork();

    if (pid == 0) {
        static char *const argv[] = {(char *) "sleep", (char *) "100", NULL};

        (void) setsid();
        (void) execv("/bin/sleep", argv);
        _exit(1);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static struct process_id identify(int proc_fd, pid_t pid) {
    struct process_id id;
    _cleanup_close_ int pidfd = process_pin(proc_fd, pid, &id);

    ck_assert_int_ge(pidfd, 0);
    return id;
}

/* The leftover has ended, and its number is another's: that is not touched, and the set is empty. */
START_TEST(a_number_given_out_again) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct leftovers *leftovers = leftovers_new();
    pid_t innocent = begin_sleep();
    struct process_id before = identify(proc_fd, innocent);
    int status;

    before.start_ticks--; /* whom it belonged to began earlier */
    ck_assert_int_eq(leftovers_add_root(leftovers, proc_fd, &before), -ESRCH);
    leftovers->entries = calloc(1, sizeof *leftovers->entries);
    leftovers->entries[0] = (struct leftover){.id = before, .pidfd = -EBADF, .proof = PROOF_DESCENDANT};
    leftovers->n = 1;
    ck_assert_uint_eq(leftovers_signal(leftovers, proc_fd, SIGKILL), 0);
    ck_assert_int_eq(waitpid(innocent, &status, WNOHANG), 0);
    ck_assert_uint_eq(leftovers_prune(leftovers, proc_fd), 0);
    ck_assert_uint_eq(leftovers->n, 0);
    leftovers_free(leftovers);
    ck_assert_int_eq(kill(innocent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(innocent, &status, 0), innocent);
}
END_TEST

static struct recovery_host host_of(int proc_fd, const struct service_config *config, struct event_log *log) {
    return (struct recovery_host){
        .config = config,
        .leftover = {.service = config->name, .self = getpid(), .uid = (uid_t) -1},
        .log = log,
        .scope = {.service = config->name},
        .proc_fd = proc_fd,
    };
}

/* Children of ours: `strays` are those that the places name. */
static struct {
    pid_t pids[8];
    size_t n;
} strays;

static int find_strays(void *userdata, pid_t **ret, size_t *ret_n) {
    (void) userdata;
    *ret = malloc(sizeof strays.pids);
    memcpy(*ret, strays.pids, sizeof strays.pids);
    *ret_n = strays.n;
    return 0;
}

/* It may not have got to its setsid(2). */
static void until_session(pid_t pid) {
    for (int i = 0; i < 10000 && getsid(pid) != pid; i++)
        (void) usleep(1000);
    ck_assert_int_eq(getsid(pid), pid);
}

/* Of the candidates only those are taken that something proves. */
START_TEST(only_who_is_proven) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct leftovers *leftovers = leftovers_new();
    struct service_config config = terminates;
    struct recovery_host host;
    pid_t ours = begin_sleep(), innocent = begin_sleep();
    int status;

    config.name = (char *) "a";
    host = host_of(proc_fd, &config, NULL);
    host.places.find_strays = find_strays;
    strays.pids[0] = ours;
    strays.pids[1] = innocent;
    strays.n = 2;
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0);
    ck_assert_uint_eq(leftovers->n, 0);
    ck_assert(leftovers->looked);

    leftovers_forget(leftovers);
    host.leftover.session = ours; /* it is the leader of its session: as a daemon's main process is */
    host.leftover.session_until_ticks = UINT64_MAX;
    until_session(ours);
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0);
    ck_assert_uint_eq(leftovers->n, 1);
    ck_assert_int_eq(leftovers->entries[0].id.pid, ours);
    ck_assert_int_eq(leftovers->entries[0].proof, PROOF_SESSION);
    ck_assert_uint_gt(leftovers->clock.seen_usec, 0);
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0); /* once is enough */
    ck_assert_uint_eq(leftovers->n, 1);
    ck_assert_uint_eq(leftovers_signal(leftovers, proc_fd, SIGKILL), 1);
    ck_assert_int_eq(waitpid(ours, &status, 0), ours);
    ck_assert_int_eq(waitpid(innocent, &status, WNOHANG), 0);
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0);
    ck_assert_uint_eq(leftovers->n, 0);
    ck_assert_uint_eq(leftovers->clock.seen_usec, 0); /* the next set has its own time */

    /* What the last daemon left was killed; what the next one leaves has time to end by itself. */
    leftovers->clock = (struct leftovers_clock){.seen_usec = 1, .terminated_usec = 2, .killed_usec = 3};
    leftovers_forget(leftovers);
    ck_assert_uint_eq(leftovers->clock.seen_usec, 0);
    ck_assert_uint_eq(leftovers->clock.terminated_usec, 0);
    ck_assert_uint_eq(leftovers->clock.killed_usec, 0);
    leftovers_free(leftovers);
    ck_assert_int_eq(kill(innocent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(innocent, &status, 0), innocent);
}
END_TEST

/* No look goes on with what there is no room for: whoever repeats it until all are known would never end. */
START_TEST(no_room) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct leftovers *leftovers = leftovers_new();
    struct service_config config = terminates;
    struct recovery_host host;
    pid_t ours = begin_sleep();
    struct process_id self = identify(proc_fd, getpid());
    int status;

    config.name = (char *) "a";
    host = host_of(proc_fd, &config, NULL);
    host.places.find_strays = find_strays;
    strays.pids[0] = ours;
    strays.n = 1;
    until_session(ours);
    host.leftover.session = ours;
    host.leftover.session_until_ticks = UINT64_MAX;
    leftovers->entries = calloc(LEFTOVERS_MAX, sizeof *leftovers->entries);
    for (size_t i = 0; i < LEFTOVERS_MAX; i++)
        leftovers->entries[i] = (struct leftover){.id = self, .pidfd = -EBADF};
    leftovers->n = LEFTOVERS_MAX;
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0);
    ck_assert(leftovers->full && !leftovers->incomplete);
    ck_assert_uint_eq(leftovers->n, LEFTOVERS_MAX);
    leftovers->n = LEFTOVERS_MAX - 1; /* one has ended */
    ck_assert_int_eq(leftovers_look(leftovers, &host), 0);
    ck_assert(!leftovers->full && !leftovers->incomplete);
    ck_assert_int_eq(leftovers->entries[LEFTOVERS_MAX - 1].id.pid, ours);
    leftovers_free(leftovers);
    ck_assert_int_eq(kill(ours, SIGKILL), 0);
    ck_assert_int_eq(waitpid(ours, &status, 0), ours);
}
END_TEST

/* Many are told of in a line that stays short. */
START_TEST(descriptions) {
    struct leftovers leftovers = {.wait_fd = -EBADF};
    struct leftover entries[300];
    _cleanup_free_ char *one = NULL, *many = NULL, *none = NULL;

    for (int i = 0; i < 300; i++)
        entries[i] = (struct leftover){.id = {.pid = 1000 + i}, .pidfd = -EBADF, .comm = "w"};
    leftovers.entries = entries;
    none = leftovers_describe(&leftovers);
    ck_assert_str_eq(none, "");
    leftovers.n = 1;
    one = leftovers_describe(&leftovers);
    ck_assert_str_eq(one, "PID 1000 (w)");
    leftovers.n = 300;
    entries[0].given_up = true;
    many = leftovers_describe(&leftovers);
    ck_assert_str_eq(many,
                     "PID 1001 (w), PID 1002 (w), PID 1003 (w), PID 1004 (w), PID 1005 (w), PID 1006 (w), "
                     "PID 1007 (w), PID 1008 (w) and 291 more");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("leftovers");
    TCase *tests = tcase_create("all");

    tcase_add_unchecked_fixture(tests, make_dir, remove_dir);
    tcase_add_checked_fixture(tests, enter_dir, NULL);
    tcase_add_test(tests, one_after_the_other);
    tcase_add_test(tests, at_once_and_never);
    tcase_add_test(tests, policies);
    tcase_add_test(tests, families);
    tcase_add_test(tests, a_long_chain);
    tcase_add_test(tests, within);
    tcase_add_test(tests, paths);
    tcase_add_test(tests, no_cgroup);
    tcase_add_test(tests, a_foreign_directory);
    tcase_add_test(tests, a_number_given_out_again);
    tcase_add_test(tests, only_who_is_proven);
    tcase_add_test(tests, no_room);
    tcase_add_test(tests, descriptions);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
