/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "probe/probe.h"
#include "lock/verdict.h"

#include "own-dir.h"
#include "suite.h"

static int create(const char *path, const char *text) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    return fd;
}

static struct lock_facts *probe(const char *path, enum lock_style style, bool may_try) {
    struct probe_request request = {.path = path, .style = style, .may_try = may_try};
    struct lock_facts *facts;

    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    return facts;
}

/* Whether another process finds the file locked by fcntl(2). */
static bool is_posix_locked(const char *path) {
    pid_t child = fork();
    int status;

    if (child == 0) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(path, O_RDWR | O_CLOEXEC);

        _exit(fcntl(fd, F_GETLK, &range) == 0 && range.l_type != F_UNLCK);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

/* fcntl(2): whoever closes any descriptor of a file loses its POSIX locks on it, a supervisor that probes
 * included. */
START_TEST(test_own_posix_lock) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = create("x.lock", "");
    struct lock_facts *facts;

    ck_assert_int_eq(fcntl(fd, F_SETLK, &range), 0);
    ck_assert(is_posix_locked("x.lock"));
    facts = probe("x.lock", LOCK_STYLE_INVALID, false);
    ck_assert_int_eq(facts->families[LOCK_FAMILY_POSIX], FAMILY_HELD);
    ck_assert_uint_eq(facts->n_holders, 1);
    ck_assert_int_eq(facts->holders[0].process.pid, getpid());
    ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_HELD);
    lock_facts_free_array(facts, 1);
    ck_assert_msg(is_posix_locked("x.lock"), "probing dropped our own lock");
}
END_TEST

START_TEST(test_own_posix_pidfile) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = create("x.pid", "812\n");

    ck_assert_int_eq(fcntl(fd, F_SETLK, &range), 0);
    lock_facts_free_array(probe("x.pid", LOCK_STYLE_INVALID, false), 1);
    ck_assert(is_posix_locked("x.pid"));
}
END_TEST

/* The lock may be tried instead of looked up: with the same outcome, and it is free again afterwards. */
START_TEST(test_try) {
    static const struct {
        int operation; /* of flock(2); 0: none */
        enum family_state state;
    } cases[] = {{0, FAMILY_FREE}, {LOCK_EX, FAMILY_HELD}, {LOCK_SH, FAMILY_HELD}};
    _cleanup_close_ int fd = create("x.lock", ""), other = open("x.lock", O_RDONLY | O_CLOEXEC);

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        for (int may_try = 0; may_try < 2; may_try++) {
            struct lock_facts *facts;

            ck_assert_int_eq(flock(fd, cases[i].operation ? cases[i].operation : LOCK_UN), 0);
            facts = probe("x.lock", LOCK_STYLE_FLOCK, may_try);
            ck_assert_msg(facts->families[LOCK_FAMILY_FLOCK] == cases[i].state, "case %zu, tried %d", i,
                          may_try);
            ck_assert_uint_eq(facts->n_holders, cases[i].operation != 0);
            lock_facts_free_array(facts, 1);
            ck_assert_int_eq(flock(fd, LOCK_UN), 0);
            ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), 0);
            ck_assert_int_eq(flock(other, LOCK_UN), 0);
        }
}
END_TEST

static const struct {
    const char *name, *content;
    enum lock_style style;
    enum path_kind kind;
    pid_t pid;
} kinds[] = {
    {"x.lock", "", LOCK_STYLE_INVALID, PATH_KIND_LOCK, 0},
    {"x.lock", "999999998\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 999999998},
    {"x.lock", "999999998\n", LOCK_STYLE_FLOCK, PATH_KIND_LOCK, 0},
    {"x.pid", "", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "starting", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x", "", LOCK_STYLE_PIDFILE, PATH_KIND_PIDFILE, 0},
    {"x", " 999999998 \n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 999999998},
    {"postmaster.pid", "999999998\n/var/lib/data\n5432\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 999999998},
    {".X0-lock", " 999999998\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 999999998},
    {"notes", "999999998 bottles\n", LOCK_STYLE_INVALID, PATH_KIND_LOCK, 0},
    {"version.lock", "12.5\n", LOCK_STYLE_INVALID, PATH_KIND_LOCK, 0},
    {"x.pid", "-1\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "0\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "4294967297\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "99999999999999999999999\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "812x\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
    {"x.pid", "0x5\n", LOCK_STYLE_INVALID, PATH_KIND_PIDFILE, 0},
};

START_TEST(test_kind) {
    struct lock_facts *facts;

    close(create(kinds[_i].name, kinds[_i].content));
    facts = probe(kinds[_i].name, kinds[_i].style, false);
    ck_assert_str_eq(path_kind_to_string(facts->kind), path_kind_to_string(kinds[_i].kind));
    ck_assert_int_eq(facts->recorded.pid, kinds[_i].pid);
    lock_facts_free_array(facts, 1);
}
END_TEST

/* One sweep answers for any number of paths, and each gets what is its own. */
START_TEST(test_many) {
    enum { N = 40 };
    struct probe_request requests[N];
    struct lock_facts *facts;
    char names[N][24];
    int fds[N];

    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%d.lock", i);
        fds[i] = create(names[i], "");
        if (i % 2)
            ck_assert_int_eq(flock(fds[i], LOCK_EX), 0);
        requests[i] = (struct probe_request){.path = names[i], .style = LOCK_STYLE_INVALID};
    }
    ck_assert_int_eq(lock_probe(requests, N, &facts), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_str_eq(facts[i].path, names[i]);
        ck_assert_int_eq(facts[i].families[LOCK_FAMILY_FLOCK], i % 2 ? FAMILY_HELD : FAMILY_FREE);
        ck_assert_uint_eq(facts[i].n_holders, i % 2);
        if (i % 2)
            ck_assert_int_eq(facts[i].holders[0].fd, fds[i]);
    }
    lock_facts_free_array(facts, N);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    ck_assert_int_eq(lock_probe(NULL, 0, &facts), 0);
    lock_facts_free_array(facts, 0);
}
END_TEST

/* A list of locks that the kernel hands out in several pieces is read whole. That a row is not in it proves
 * nothing, and the lock is tried; of a lock that is there, the others are taken for free. */
START_TEST(test_long_list) {
    enum { N = 400 };
    _cleanup_close_ int ranges = create("ofd", "");
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fds[N];
    struct lock_facts *facts;
    char name[24];

    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "%d.lock", i);
        fds[i] = create(name, "");
        ck_assert_int_eq(flock(fds[i], LOCK_EX), 0);
    }
    for (int i = 0; i < N; i += 133) {
        snprintf(name, sizeof name, "%d.lock", i);
        facts = probe(name, LOCK_STYLE_INVALID, false);
        ck_assert_int_eq(facts->families[LOCK_FAMILY_FLOCK], FAMILY_HELD);
        ck_assert_uint_eq(facts->n_claims, 1);
        ck_assert(!facts->tried);
        lock_facts_free_array(facts, 1);
    }
    close(create("free", ""));
    facts = probe("free", LOCK_STYLE_INVALID, false);
    ck_assert(facts->tried);
    ck_assert_int_eq(facts->families[LOCK_FAMILY_FLOCK], FAMILY_FREE);
    lock_facts_free_array(facts, 1);
    ck_assert_int_eq(fcntl(ranges, F_OFD_SETLK, &whole), 0);
    facts = probe("ofd", LOCK_STYLE_INVALID, false);
    ck_assert(!facts->tried);
    ck_assert_int_eq(facts->families[LOCK_FAMILY_OFD], FAMILY_HELD);
    ck_assert_int_eq(facts->families[LOCK_FAMILY_POSIX], FAMILY_FREE);
    lock_facts_free_array(facts, 1);
    for (int i = 0; i < N; i++)
        close(fds[i]);
}
END_TEST

/* A process that has this number in a PID namespace of its own; returns the one to be killed, the namespace's
 * first. */
static pid_t begin_namesake(pid_t number) {
    struct clone_args outer = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD},
                      inner = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t) &number, .set_tid_size = 1};
    int ready[2];
    pid_t first;
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    first = (pid_t) syscall(SYS_clone3, &outer, sizeof outer);
    ck_assert_int_ge(first, 0);
    if (first == 0) {
        if (syscall(SYS_clone3, &inner, sizeof inner) == 0)
            (void) !write(ready[1], "", 1);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return first;
}

static pid_t find_namesake(const char *path, struct probe_dead dead) {
    struct probe_request request = {.path = path, .style = LOCK_STYLE_PIDFILE, .dead = dead};
    struct lock_facts *facts;
    pid_t found;

    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    ck_assert_int_eq(facts->recorded.pid, facts->record.pid);
    found = facts->recorded.namesake.pid;
    lock_facts_free_array(facts, 1);
    return found;
}

/* Whom we saw write the file, and end, is nobody else. */
START_TEST(test_known_dead) {
    struct probe_dead dead = {.since_usec = now_usec(CLOCK_REALTIME)}, other;
    char text[16];
    pid_t first;

    if (geteuid() != 0)
        return;
    dead.pid = fork();
    if (dead.pid == 0)
        _exit(0);
    snprintf(text, sizeof text, "%d\n", (int) dead.pid);
    close(create("x.pid", text));
    ck_assert_int_eq(waitpid(dead.pid, NULL, 0), dead.pid);
    dead.until_usec = now_usec(CLOCK_REALTIME);
    first = begin_namesake(dead.pid);

    ck_assert_int_gt(find_namesake("x.pid", (struct probe_dead){0}), 0);
    ck_assert_int_eq(find_namesake("x.pid", dead), 0);
    other = dead;
    other.pid++;
    ck_assert_int_gt(find_namesake("x.pid", other), 0);
    other = dead;
    other.until_usec = dead.since_usec - USEC_PER_SEC; /* the file is younger */
    ck_assert_int_gt(find_namesake("x.pid", other), 0);
    other = dead;
    other.since_usec = dead.until_usec + USEC_PER_SEC; /* and older */
    ck_assert_int_gt(find_namesake("x.pid", other), 0);

    ck_assert_int_eq(kill(first, SIGKILL), 0);
    ck_assert_int_eq(waitpid(first, NULL, 0), first);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("probe");
    TCase *tcase = tcase_create("probe");

    tcase_set_timeout(tcase, 30);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_test(tcase, test_own_posix_lock);
    tcase_add_test(tcase, test_own_posix_pidfile);
    tcase_add_test(tcase, test_try);
    tcase_add_loop_test(tcase, test_kind, 0, (int) ELEMENTSOF(kinds));
    tcase_add_test(tcase, test_many);
    tcase_add_test(tcase, test_long_list);
    tcase_add_test(tcase, test_known_dead);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
