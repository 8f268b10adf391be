/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How every unit test runs, and ends. A test that fails stops where it is and leaves behind what it began:
 * the suite runs in a child, and we, to whom all of that comes (PR_SET_CHILD_SUBREAPER), end it, also when we
 * are asked to end. */

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ends everything below us. Each round may bring up grandchildren. */
static inline void suite_end_children(void) {
    char path[64];
    int n;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int) getpid());
    for (int i = 0; i < 1000; i++) {
        FILE *file = fopen(path, "re");
        bool any = false;

        while (file && fscanf(file, "%d", &n) == 1) {
            (void) kill(n, SIGKILL);
            any = true;
        }
        if (file)
            (void) fclose(file);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!any)
            return;
        (void) usleep(1000);
    }
}

/* Until that child has ended, whose exit status is returned, or a signal asks us to end. Reaps everybody. */
static inline int suite_await(pid_t pid, const sigset_t *signals) {
    for (;;) {
        int signal = sigwaitinfo(signals, NULL), status;
        pid_t ended;

        if (signal > 0 && signal != SIGCHLD)
            return EXIT_FAILURE;
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
            if (ended == pid)
                return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
        if (ended < 0 && errno == ECHILD)
            return EXIT_FAILURE;
    }
}

/* Runs and releases the suite. Returns what main() returns. */
static inline int suite_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    sigset_t signals, before;
    int status;
    pid_t pid;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    (void) sigprocmask(SIG_BLOCK, &signals, &before);
    (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid = fork();
    if (pid <= 0) {
        (void) sigprocmask(SIG_SETMASK, &before, NULL);
        srunner_run_all(runner, CK_NORMAL);
        status = srunner_ntests_failed(runner) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    } else {
        status = suite_await(pid, &signals);
        suite_end_children();
    }
    srunner_free(runner);
    return status;
}
