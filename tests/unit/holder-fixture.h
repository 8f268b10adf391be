/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A directory for each test, and processes that have something open and wait until the test ends them. */

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/holder.h"
#include "probe/probe.h"
#include "lock/verdict.h"

#include "own-dir.h"

typedef void step_t(const char *argument);

/* Begins a process that does the step and then waits for its end, which comes with the test's at the latest.
 */
static __attribute__((unused)) pid_t begin(step_t *step, const char *argument) {
    int told[2];
    char byte = 0;
    pid_t pid;

    ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(told[0]);
        step(argument);
        (void) !write(told[1], &byte, 1);
        close(told[1]);
        for (;;)
            pause();
    }
    close(told[1]);
    ck_assert_msg(read(told[0], &byte, 1) == 1, "the process did not do its step");
    close(told[0]);
    return pid;
}

static __attribute__((unused)) void end(pid_t pid) {
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static __attribute__((unused)) int open_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT, 0644);

    if (fd < 0)
        abort();
    return fd;
}

static __attribute__((unused)) void just_open(const char *path) {
    open_file(path);
}

static __attribute__((unused)) void lock_exclusively(const char *path) {
    if (flock(open_file(path), LOCK_EX | LOCK_NB) < 0)
        abort();
}

static __attribute__((unused)) void lock_shared(const char *path) {
    if (flock(open_file(path), LOCK_SH | LOCK_NB) < 0)
        abort();
}

static __attribute__((unused)) struct lock_facts *probe_with(const char *path, enum probe_effort effort) {
    struct probe_request request = {.path = path, .style = LOCK_STYLE_INVALID, .effort = effort};
    struct lock_facts *facts;

    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    return facts;
}

/* Exactly these, in any order. */
static __attribute__((unused)) void assert_holders(const struct lock_facts *facts, const pid_t *pids,
                                                   size_t n) {
    ck_assert_uint_eq(facts->n_holders, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(lock_facts_has_lock(facts, pids[i]), "%d holds it and was not found", (int) pids[i]);
}
