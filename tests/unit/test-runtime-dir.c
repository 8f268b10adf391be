/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "runtime/runtime-dir.h"

#include "suite.h"

static char directory[64], run[96];
static int run_fd = -EBADF;
static pid_t child;

static void set_up(void) {
    strcpy(directory, "/tmp/test-runtime-dir.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(run, sizeof run, "%s/run", directory);
    (void) umask(022);
    run_fd = runtime_dir_open(run, true, NULL);
    ck_assert_int_ge(run_fd, 0);
    child = 0;
}

static void tear_down(void) {
    char command[96];

    if (child > 0) {
        (void) kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
    }
    run_fd = fd_close(run_fd);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

static void assert_error(int r, int number, const struct err *err, const char *name, const char *part) {
    ck_assert_int_eq(r, -number);
    ck_assert_str_eq(err->name, name);
    ck_assert_msg(strstr(err_text(err), part), "\"%s\" is not in: %s", part, err_text(err));
}

START_TEST(made_where_missing) {
    struct stat st;
    int again;

    ck_assert_int_eq(stat(run, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0755);
    ck_assert_int_ne(fcntl(run_fd, F_GETFD) & FD_CLOEXEC, 0);
    again = runtime_dir_open(run, true, NULL);
    ck_assert_int_ge(again, 0);
    close(again);
    again = runtime_dir_open(run, false, NULL);
    ck_assert_int_ge(again, 0);
    close(again);
}
END_TEST

START_TEST(cannot_be_had) {
    _cleanup_err_ struct err err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/none", directory);
    assert_error(runtime_dir_open(path, false, &err), ENOENT, &err, "Failed", path);
    snprintf(path, sizeof path, "%s/none/below", directory);
    assert_error(runtime_dir_open(path, true, &err), ENOENT, &err, "Failed", path);
    snprintf(path, sizeof path, "%s/file", directory);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_error(runtime_dir_open(path, true, &err), ENOTDIR, &err, "Failed", path);
}
END_TEST

START_TEST(wrong_mode_or_owner) {
    static const mode_t bad[] = {0775, 0757, 0777, 01777, 0722};
    _cleanup_err_ struct err err = {0};

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        ck_assert_int_eq(chmod(run, bad[i]), 0);
        assert_error(runtime_dir_open(run, true, &err), EPERM, &err, "NotPermitted", run);
    }
    ck_assert_int_eq(chmod(run, 0700), 0);
    ck_assert_int_eq(close(runtime_dir_open(run, true, &err)), 0);
    if (geteuid() != 0) {
        printf("SKIP owner: needs root\n");
        return;
    }
    ck_assert_int_eq(chown(run, 65534, 65534), 0);
    assert_error(runtime_dir_open(run, true, &err), EPERM, &err, "NotPermitted", "uid 65534");
}
END_TEST

static int lock_a(struct err *err) {
    return runtime_dir_lock_service(run_fd, run, "a", err);
}

START_TEST(locks) {
    struct stat st;
    int fd = lock_a(NULL), other;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    /* Whoever may open it may lock it. */
    ck_assert_int_eq(fstatat(run_fd, "a.lock", &st, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    other = openat(run_fd, "a.lock", O_RDONLY | O_CLOEXEC);
    ck_assert_int_lt(flock(other, LOCK_SH | LOCK_NB), 0);
    close(fd);
    ck_assert_int_eq(flock(other, LOCK_SH | LOCK_NB), 0);
    close(other);
    ck_assert_int_eq(faccessat(run_fd, "a.lock", F_OK, 0), 0); /* it stays */
    fd = lock_a(NULL);
    ck_assert_int_ge(fd, 0);
    other = runtime_dir_lock_service(run_fd, run, "b", NULL);
    ck_assert_int_ge(other, 0);
    close(fd);
    close(other);
}
END_TEST

/* Of an earlier version, or by hand. */
START_TEST(others_lose_their_rights) {
    struct stat st;
    int fd;

    close(openat(run_fd, "a.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    fd = lock_a(NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0077, 0);
    close(fd);
}
END_TEST

/* A process that takes a.lock and holds it for so long. */
static void hold(unsigned usec) {
    int ends[2];
    char byte;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        int fd = openat(run_fd, "a.lock", O_RDONLY | O_CREAT, 0600);

        if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(ends[1], "", 1) != 1)
            _exit(1);
        (void) usleep(usec);
        _exit(0);
    }
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
}

START_TEST(second_one_is_named) {
    _cleanup_err_ struct err err = {0};
    char pid[32], path[160];
    uint64_t before = now_usec(CLOCK_MONOTONIC);

    hold(30000000);
    assert_error(lock_a(&err), EBUSY, &err, "Held", "service a");
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 20 * USEC_PER_SEC);
    snprintf(pid, sizeof pid, "PID %d", (int) child);
    snprintf(path, sizeof path, "%s/a.lock", run);
    ck_assert_msg(strstr(err_text(&err), pid), "who? %s", err_text(&err));
    ck_assert_msg(strstr(err_text(&err), "test-runtime-dir"), "what? %s", err_text(&err));
    ck_assert_msg(strstr(err_text(&err), path), "where? %s", err_text(&err));
    ck_assert_msg(strstr(err_text(&err), "latchctl status a"), "what to do? %s", err_text(&err));
}
END_TEST

/* The child of a latchd that was killed between fork and exec. */
START_TEST(patient_for_a_moment) {
    int fd;

    hold(150000);
    fd = lock_a(NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
}
END_TEST

START_TEST(not_a_lock_file) {
    _cleanup_err_ struct err err = {0};
    char victim[96];
    struct stat st;

    snprintf(victim, sizeof victim, "%s/victim", directory);
    ck_assert_int_eq(symlinkat(victim, run_fd, "a.lock"), 0);
    ck_assert_int_eq(lock_a(&err), -ELOOP);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "a.lock"));
    ck_assert_int_lt(stat(victim, &st), 0); /* nothing was made through the link */
    ck_assert_int_eq(unlinkat(run_fd, "a.lock", 0), 0);

    ck_assert_int_eq(mkfifoat(run_fd, "a.lock", 0600), 0);
    assert_error(lock_a(&err), EPERM, &err, "NotPermitted", "a.lock");
    ck_assert_int_eq(unlinkat(run_fd, "a.lock", 0), 0);

    ck_assert_int_eq(mkdirat(run_fd, "a.lock", 0700), 0);
    ck_assert_int_lt(lock_a(&err), 0);
    ck_assert_int_eq(unlinkat(run_fd, "a.lock", AT_REMOVEDIR), 0);

    if (geteuid() != 0) {
        printf("SKIP owner: needs root\n");
        return;
    }
    close(openat(run_fd, "a.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ck_assert_int_eq(fchownat(run_fd, "a.lock", 65534, 65534, 0), 0);
    assert_error(lock_a(&err), EPERM, &err, "NotPermitted", "a.lock");
}
END_TEST

START_TEST(name_too_long) {
    _cleanup_err_ struct err err = {0};
    char name[300];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(runtime_dir_lock_service(run_fd, run, name, &err), -ENAMETOOLONG);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("runtime-dir");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, made_where_missing);
    tcase_add_test(tests, cannot_be_had);
    tcase_add_test(tests, wrong_mode_or_owner);
    tcase_add_test(tests, locks);
    tcase_add_test(tests, others_lose_their_rights);
    tcase_add_test(tests, second_one_is_named);
    tcase_add_test(tests, patient_for_a_moment);
    tcase_add_test(tests, not_a_lock_file);
    tcase_add_test(tests, name_too_long);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
