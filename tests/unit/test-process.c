/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/process.h"

#include "suite.h"

static int proc_fd = -EBADF;

static void open_proc(void) {
    proc_fd = procfs_open();
    ck_assert_int_ge(proc_fd, 0);
}

static void close_proc(void) {
    proc_fd = fd_close(proc_fd);
}

static pid_t start_child(void) {
    pid_t child = fork();

    if (child == 0)
        for (;;)
            pause();
    ck_assert_int_gt(child, 0);
    return child;
}

static void end_child(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

START_TEST(test_life_of_stat) {
    static const struct {
        char state;
        unsigned threads;
        enum process_life life;
    } lives[] = {
        {'R', 1, PROCESS_ALIVE},  {'S', 4, PROCESS_ALIVE},   {'D', 1, PROCESS_ALIVE},
        {'I', 1, PROCESS_ALIVE},  {'T', 1, PROCESS_STOPPED}, {'t', 1, PROCESS_STOPPED},
        {'Z', 1, PROCESS_ZOMBIE}, {'Z', 0, PROCESS_ZOMBIE},  {'Z', 2, PROCESS_ALIVE},
        {'X', 1, PROCESS_GONE},   {'x', 1, PROCESS_GONE},
    };

    for (size_t i = 0; i < ELEMENTSOF(lives); i++) {
        struct proc_stat stat = {.state = lives[i].state, .threads = lives[i].threads};

        ck_assert_msg(process_life_of_stat(&stat) == lives[i].life, "%c %u", lives[i].state,
                      lives[i].threads);
    }
}
END_TEST

START_TEST(test_identity) {
    pid_t child = start_child();
    struct process_id id, other;
    _cleanup_close_ int pidfd = process_pin(proc_fd, child, &id), again = -EBADF;

    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(fcntl(pidfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(id.pid, child);
    ck_assert_uint_eq(strlen(id.boot_id), 36);
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_ALIVE);
    again = process_pin_id(proc_fd, &id);
    ck_assert_int_ge(again, 0);
    ck_assert(!process_pidfd_ended(pidfd));

    /* Who has the same number, but began at another time or in another boot, is another process. */
    other = id;
    other.start_ticks++;
    ck_assert_int_eq(process_look(proc_fd, &other), PROCESS_GONE);
    ck_assert_int_eq(process_pin_id(proc_fd, &other), -ESRCH);
    ck_assert(!process_id_equal(&id, &other));
    other = id;
    other.boot_id[0] = other.boot_id[0] == '0' ? '1' : '0';
    ck_assert_int_eq(process_look(proc_fd, &other), PROCESS_GONE);
    ck_assert_int_eq(process_pin_id(proc_fd, &other), -ESRCH);
    ck_assert(!process_id_equal(&id, &other));
    other = id;
    other.boot_id[0] = '\0'; /* this boot */
    ck_assert_int_eq(process_look(proc_fd, &other), PROCESS_ALIVE);
    ck_assert(process_id_equal(&id, &other));

    end_child(child);
    ck_assert(process_pidfd_ended(pidfd));
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_GONE);
    ck_assert(process_number_is_free(proc_fd, child));
    ck_assert_int_eq(process_pin(proc_fd, child, &other), -ESRCH);
    ck_assert_int_eq(process_pin_id(proc_fd, &id), -ESRCH);
}
END_TEST

START_TEST(test_nobody) {
    struct process_id id = {.pid = 0};

    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_UNKNOWN);
    id.pid = -1;
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_UNKNOWN);
    ck_assert_int_lt(process_pin(proc_fd, 0, &id), 0);
    ck_assert(!process_number_is_free(proc_fd, getpid()));
    ck_assert(!process_number_is_free(proc_fd, 1));
}
END_TEST

START_TEST(test_zombie) {
    pid_t child = start_child();
    struct process_id id, other;
    _cleanup_close_ int pidfd = process_pin(proc_fd, child, &id);
    siginfo_t info;

    ck_assert_int_ge(pidfd, 0);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(kill(child, 0), 0); /* which proves nothing */
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_ZOMBIE);
    ck_assert(process_pidfd_ended(pidfd));
    ck_assert_int_eq(process_pin(proc_fd, child, &other), -ESRCH);
    ck_assert(!process_number_is_free(proc_fd, child));
    waitpid(child, NULL, 0);
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_GONE);
}
END_TEST

static void *stay(void *data) {
    for (;;)
        pause();
    return data;
}

/* The main thread has ended and looks like a zombie; another one lives. */
START_TEST(test_zombie_leader) {
    struct process_id id;
    struct proc_stat stat = {0};
    pid_t child = fork();
    _cleanup_close_ int pidfd = -EBADF;

    if (child == 0) {
        pthread_t thread;

        pthread_create(&thread, NULL, stay, NULL);
        pthread_exit(NULL);
    }
    for (int i = 0; i < 400 && stat.state != 'Z'; i++) {
        usleep(5000);
        ck_assert_int_eq(procfs_read_stat(proc_fd, child, &stat), 0);
    }
    ck_assert_int_eq(stat.state, 'Z');
    pidfd = process_pin(proc_fd, child, &id);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(process_look(proc_fd, &id), PROCESS_ALIVE);
    ck_assert(!process_pidfd_ended(pidfd));
    end_child(child);
    ck_assert(process_pidfd_ended(pidfd));
}
END_TEST

START_TEST(test_stopped) {
    pid_t child = start_child();
    struct process_id id;
    _cleanup_close_ int pidfd = process_pin(proc_fd, child, &id);
    enum process_life life = PROCESS_ALIVE;

    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
    kill(child, SIGSTOP);
    for (int i = 0; i < 400 && life != PROCESS_STOPPED; i++) {
        usleep(5000);
        life = process_look(proc_fd, &id);
    }
    end_child(child);
    ck_assert_int_eq(life, PROCESS_STOPPED);
}
END_TEST

static void *report_tid(void *data) {
    *(volatile pid_t *) data = gettid();
    return stay(NULL);
}

/* A thread's number is in use, but it is no process's. */
START_TEST(test_thread) {
    struct process_id id;
    volatile pid_t tid = 0;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, report_tid, (void *) (uintptr_t) &tid), 0);
    while (tid == 0)
        usleep(1000);
    ck_assert_int_eq(process_pin(proc_fd, tid, &id), -EINVAL);
    ck_assert(!process_number_is_free(proc_fd, tid));
    id = (struct process_id){.pid = tid, .start_ticks = 1};
    ck_assert_int_eq(process_pin_id(proc_fd, &id), -ESRCH);
}
END_TEST

/* hidepid= makes /proc/PID vanish for who may not read it: that is no proof of death. */
START_TEST(test_hidden) {
    struct process_id id = {.pid = 1, .start_ticks = 1};
    int hidden;

    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=invisible") < 0)
        return;
    ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
    ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    hidden = procfs_open();
    ck_assert_int_ge(hidden, 0);
    ck_assert_int_ne(faccessat(hidden, "1", F_OK, 0), 0);
    ck_assert(!process_number_is_free(hidden, 1));
    ck_assert_int_eq(process_look(hidden, &id), PROCESS_UNKNOWN);
    id.pid = 0x7ffffff0;
    ck_assert_int_eq(process_look(hidden, &id), PROCESS_GONE);
    close(hidden);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("process");
    TCase *tcase = tcase_create("process");

    tcase_add_checked_fixture(tcase, open_proc, close_proc);
    tcase_add_test(tcase, test_life_of_stat);
    tcase_add_test(tcase, test_identity);
    tcase_add_test(tcase, test_nobody);
    tcase_add_test(tcase, test_zombie);
    tcase_add_test(tcase, test_zombie_leader);
    tcase_add_test(tcase, test_stopped);
    tcase_add_test(tcase, test_thread);
    tcase_add_test(tcase, test_hidden);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
