/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "exec-fixture.h"

START_TEST(identity) {
    struct exec_plan plan = shell("exec sleep 60");
    _cleanup_spawn_ struct spawn spawn = SPAWN_INIT;
    struct process_id id;
    int pidfd;

    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    ck_assert_int_eq(process_look(proc_fd, &spawn.id), PROCESS_ALIVE);
    ck_assert_uint_eq(strlen(spawn.id.boot_id), 36);
    pidfd = process_pin_id(proc_fd, &spawn.id);
    ck_assert_int_ge(pidfd, 0);
    fd_close(pidfd);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    ck_assert_int_eq(wait_status(&spawn, &plan, NULL), 0);
    pidfd = process_pin(proc_fd, spawn.id.pid, &id); /* still the same one: exec changes no identity */
    ck_assert_int_ge(pidfd, 0);
    ck_assert(process_id_equal(&id, &spawn.id));
    fd_close(pidfd);
    ck_assert_int_eq(kill(spawn.id.pid, SIGKILL), 0);
    ck_assert_int_eq(reap(&spawn), 128 + SIGKILL);
}
END_TEST

START_TEST(gate_closed) {
    const char *marker = in_directory("marker");
    char script[192];
    struct exec_plan plan = shell(script);
    struct spawn spawn;

    snprintf(script, sizeof script, "touch '%s'", marker);
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    usleep(100000); /* it would have been there by now */
    ck_assert_int_ne(access(marker, F_OK), 0);
    ck_assert(!process_pidfd_ended(spawn.pidfd));
    spawn.channel_fd = fd_close(spawn.channel_fd);
    ck_assert_int_eq(reap(&spawn), 127);
    ck_assert_int_ne(access(marker, F_OK), 0);
    spawn_done(&spawn);

    free(run(&plan)); /* the same plan does make it, when released */
    ck_assert_int_eq(access(in_directory("marker"), F_OK), 0);
}
END_TEST

/* The supervisor dies before it could record the child: the child's end is seen by its standard output. */
START_TEST(gate_supervisor_dies) {
    const char *marker = in_directory("marker");
    char script[192], byte;
    struct exec_plan plan = shell(script);
    struct spawn spawn;
    int ends[2], status;
    pid_t pid;

    snprintf(script, sizeof script, "touch '%s'", marker);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    plan.stdout_fd = ends[1];
    pid = fork();
    if (pid == 0)
        _exit(spawn_start(proc_fd, &plan, &spawn, NULL) < 0);
    close(ends[1]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0);
    ck_assert_int_ne(access(marker, F_OK), 0);
    close(ends[0]);
}
END_TEST

/* Two at their gates: the younger must not keep the elder's open. */
START_TEST(gate_of_two) {
    struct exec_plan plan = shell("exit 3");
    struct spawn elder, younger;

    ck_assert_int_eq(spawn_start(proc_fd, &plan, &elder, NULL), 0);
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &younger, NULL), 0);
    elder.channel_fd = fd_close(elder.channel_fd);
    ck_assert_int_eq(reap(&elder), 127);
    ck_assert_int_eq(spawn_release(&younger), 0);
    ck_assert_int_eq(wait_status(&younger, &plan, NULL), 0);
    ck_assert_int_eq(reap(&younger), 3);
    spawn_done(&elder);
    spawn_done(&younger);
}
END_TEST

START_TEST(gate_killed) {
    struct exec_plan plan = shell("exit 0");
    _cleanup_err_ struct err err = {0};
    struct spawn spawn;

    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    ck_assert_int_eq(kill(spawn.id.pid, SIGKILL), 0);
    ck_assert_int_eq(reap(&spawn), 128 + SIGKILL);
    ck_assert_int_eq(spawn_release(&spawn), -ECANCELED);                  /* and no SIGPIPE for us */
    ck_assert_int_eq(spawn_read_status(&spawn, &plan, &err), -ECANCELED); /* not taken for a success */
    ck_assert_ptr_nonnull(strstr(err_text(&err), "ended before"));
    spawn_done(&spawn);
}
END_TEST

/* A flock belongs to the description, which the fork shares: the child has to let go before the gate opens.
 */
START_TEST(gate_holds_no_lock) {
    struct exec_plan plan = shell("exit 0");
    int fd = open(in_directory("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), other, tries;
    struct spawn spawn;

    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    close(fd);
    other = open(in_directory("lock"), O_RDWR | O_CLOEXEC);
    for (tries = 0; flock(other, LOCK_EX | LOCK_NB) < 0; tries++) {
        ck_assert_int_eq(errno, EWOULDBLOCK);
        ck_assert_int_lt(tries, 500);
        usleep(10000);
    }
    ck_assert(!process_pidfd_ended(spawn.pidfd)); /* free while it waits */
    close(other);
    spawn.channel_fd = fd_close(spawn.channel_fd);
    ck_assert_int_eq(reap(&spawn), 127);
    spawn_done(&spawn);
}
END_TEST

START_TEST(fails_to_fork) {
    struct exec_plan plan = shell("exit 0");
    _cleanup_err_ struct err err = {0};
    struct spawn spawn = SPAWN_INIT;
    struct rlimit before, limit;
    int r;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = (struct rlimit){3, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    r = spawn_start(proc_fd, &plan, &spawn, &err);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
    ck_assert_str_eq(err.name, "ForkFailed");
    ck_assert_int_lt(spawn.channel_fd, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left over */
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* The child is there already when its identity cannot be read, and has to go again. */
START_TEST(fails_to_pin) {
    struct exec_plan plan = shell("exit 0");
    _cleanup_err_ struct err err = {0};
    struct spawn spawn = SPAWN_INIT;

    ck_assert_int_eq(spawn_start(-EBADF, &plan, &spawn, &err), -EBADF);
    ck_assert_str_eq(err.name, "ForkFailed");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        identity,    gate_closed,        gate_supervisor_dies, gate_of_two,
        gate_killed, gate_holds_no_lock, fails_to_fork,        fails_to_pin,
    };

    return run_tests("spawn", tests, ELEMENTSOF(tests));
}
