/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of exec-child and spawn share: a directory and a proc descriptor for each test, plans that
 * run a shell, and the steps of a start. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "exec/spawn.h"

#include "suite.h"

static char *const environment[] = {(char *) "PATH=/usr/bin:/bin", (char *) "LC_ALL=C", NULL};
static int proc_fd = -EBADF;
static char directory[64];

static void setup(void) {
    strcpy(directory, "/tmp/test-spawn.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chmod(directory, 0755), 0);
    proc_fd = procfs_open();
    ck_assert_int_ge(proc_fd, 0);
}

static void teardown(void) {
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
    proc_fd = fd_close(proc_fd);
}

static inline const char *in_directory(const char *name) {
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static inline struct exec_plan shell(const char *script) {
    static char *argv[4];
    struct exec_plan plan = EXEC_PLAN_INIT;

    argv[0] = (char *) "sh";
    argv[1] = (char *) "-c";
    argv[2] = (char *) (uintptr_t) script;
    argv[3] = NULL;
    plan.executable = "/bin/sh";
    plan.argv = argv;
    plan.envp = environment;
    plan.stdin_null = true;
    return plan;
}

static inline int wait_status(struct spawn *spawn, const struct exec_plan *plan, struct err *err) {
    for (;;) {
        int r = spawn_read_status(spawn, plan, err);
        struct pollfd poll_fd = {.fd = spawn->channel_fd, .events = POLLIN};

        if (r != -EAGAIN)
            return r;
        ck_assert_int_eq(poll(&poll_fd, 1, 30000), 1);
    }
}

static inline int reap(const struct spawn *spawn) {
    int status;

    ck_assert_int_eq(waitpid(spawn->id.pid, &status, 0), spawn->id.pid);
    ck_assert(process_pidfd_ended(spawn->pidfd));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs the plan to its end and returns what it wrote, owned by the caller. */
static inline char *run(struct exec_plan *plan) {
    _cleanup_spawn_ struct spawn spawn = SPAWN_INIT;
    _cleanup_close_ int output = -EBADF;
    _cleanup_err_ struct err err = {0};
    char *text;
    int ends[2], r;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    output = ends[0];
    plan->stdout_fd = ends[1];
    r = spawn_start(proc_fd, plan, &spawn, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
    close(ends[1]);
    ck_assert_int_eq(spawn_read_status(&spawn, plan, &err), -EAGAIN);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    r = wait_status(&spawn, plan, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
    ck_assert_int_lt(spawn.channel_fd, 0);
    ck_assert_int_eq(fd_read_all(output, 65536, &text, NULL), 0);
    ck_assert_int_eq(reap(&spawn), 0);
    return text;
}

static inline int run_tests(const char *name, const TTest *const tests[], size_t n) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
