/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <time.h>
#include <sys/resource.h>

#include <dirent.h>

#include "base/value.h"
#include "exec/birth.h"

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

/* What a start costs the supervisor's memory: nothing but the stack, and that is given back. */
static unsigned long count_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long n = 0;
    int c;

    ck_assert_ptr_nonnull(maps);
    while ((c = fgetc(maps)) != EOF)
        n += c == '\n';
    fclose(maps);
    return n;
}

/* The child may run on our memory: its failing calls are not our errno, and what it was given is as it was.
 */
START_TEST(memory_untouched) {
    struct exec_plan plan = shell("exit 0");
    _cleanup_err_ struct err err = {0};
    int fds[2], passed[2];
    unsigned long before;
    bool shared = false;

    plan.executable = "/nonexistent";
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    passed[0] = fds[0];
    passed[1] = fds[1];
    plan.pass_fds = passed;
    plan.n_pass_fds = 2;
    before = count_mappings();
    for (int i = 0; i < 20; i++) {
        _cleanup_spawn_ struct spawn spawn = SPAWN_INIT;
        uint64_t until;

        ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
        shared = spawn.stack;
        errno = EDOM;
        ck_assert_int_eq(spawn_release(&spawn), 0);
        for (until = now_usec(CLOCK_MONOTONIC) + 2000; now_usec(CLOCK_MONOTONIC) < until;)
            ck_assert_int_eq(errno, EDOM); /* KILL and STOP cannot be reset, and there is no such program */
        ck_assert_int_eq(wait_status(&spawn, &plan, &err), -ENOENT);
        ck_assert_ptr_null(spawn.stack);
        ck_assert_int_eq(reap(&spawn), 127);
        err_done(&err);
    }
    ck_assert_int_eq(passed[0], fds[0]);
    ck_assert_int_eq(passed[1], fds[1]);
    if (shared) /* else it is the sanitizers that map what they like; that of the heap may have come meanwhile
                 */
        ck_assert_uint_le(count_mappings(), before + 2);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* Let go of at its gate, it is gone from our memory when that is given back, and has executed nothing. */
START_TEST(let_go_at_the_gate) {
    const char *marker = in_directory("marker");
    char script[192];
    struct exec_plan plan = shell(script);

    snprintf(script, sizeof script, "touch '%s'", marker);
    for (int i = 0; i < 20; i++) {
        struct spawn spawn = SPAWN_INIT;
        int status;
        pid_t pid;

        ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
        pid = spawn.id.pid;
        if (i % 2)
            spawn.pidfd = fd_close(spawn.pidfd); /* somebody else watches it now */
        ck_assert(spawn_done(&spawn));
        ck_assert_ptr_null(spawn.stack);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    }
    ck_assert_int_ne(access(in_directory("marker"), F_OK), 0);
}
END_TEST

/* Somebody stops it there: its memory is left to it, and nobody waits for long. */
START_TEST(let_go_while_stopped) {
    struct exec_plan plan = shell("exit 0");
    struct spawn spawn = SPAWN_INIT;
    int status;
    bool shared;
    pid_t pid;

    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    shared = spawn.stack;
    pid = spawn.id.pid;
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert(spawn_done(&spawn) == !shared);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 127); /* on a stack that was still there */
}
END_TEST

/* What sharing memory would do to us, and what the child's handlers would. */
START_TEST(settings_untouched) {
    struct credentials credentials = {.set_uid = true, .uid = 65533};
    struct exec_plan plan = shell("id -u; cat /proc/self/oom_score_adj");
    _cleanup_free_ char *before = NULL, *after = NULL, *said = NULL;

    ck_assert_int_eq(fd_read_file_at(proc_fd, "self/oom_score_adj", 100, &before, NULL), 0);
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
    plan.credentials = &credentials;
    plan.set_oom_score_adjust = true;
    plan.oom_score_adjust = 321;
    said = run(&plan);
    ck_assert_str_eq(said, "65533\n321\n");
    ck_assert_int_eq(fd_read_file_at(proc_fd, "self/oom_score_adj", 100, &after, NULL), 0);
    ck_assert_str_eq(before, after);
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
}
END_TEST

static void on_signal(int signal) {
    _exit(signal); /* the test's end, were it to run in a child on our memory */
}

/* A signal for the child ends the child, and runs no handler of ours on its stack. */
START_TEST(gate_signalled) {
    struct exec_plan plan = shell("exit 0");
    struct spawn spawn = SPAWN_INIT;

    signal(SIGTERM, on_signal);
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    ck_assert_int_eq(kill(spawn.id.pid, SIGTERM), 0);
    ck_assert_int_eq(reap(&spawn), 128 + SIGTERM);
    ck_assert_int_eq(spawn_release(&spawn), -ECANCELED);
    ck_assert(spawn_done(&spawn));
}
END_TEST

static size_t list_descriptors(pid_t pid, int *numbers, size_t room) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    char path[32];
    size_t n = 0;

    snprintf(path, sizeof path, "%d/fd", (int) pid);
    ck_assert_int_eq(fd_open_dir_at(proc_fd, path, &dir), 0);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && n < room)
            numbers[n++] = atoi(entry->d_name);
    return n;
}

/* The child shares our table for a moment at most: then it has standard descriptors, output and channel (both
 * twice, under a number that is out of the way), and we have all that we had. */
START_TEST(tables_part) {
    int ours[1024], theirs[16], after[1024], out[2];
    struct exec_plan plan = shell("echo said");
    struct spawn spawn = SPAWN_INIT;
    size_t n, n_theirs = 0;
    char text[16] = "";

    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    plan.stdout_fd = out[1];
    birth_reserve();
    n = list_descriptors(getpid(), ours, ELEMENTSOF(ours));
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    for (int i = 0; i < 1000 && n_theirs != 7; i++) {
        n_theirs = list_descriptors(spawn.id.pid, theirs, ELEMENTSOF(theirs));
        usleep(1000);
    }
    ck_assert_uint_eq(n_theirs, 7);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    ck_assert_int_eq(wait_status(&spawn, &plan, NULL), 0);
    close(out[1]);
    ck_assert_int_eq(read(out[0], text, sizeof text - 1),
                     5); /* the only ends of it were the child's and ours */
    ck_assert_str_eq(text, "said\n");
    ck_assert_int_eq(read(out[0], text, sizeof text - 1), 0);
    ck_assert_int_eq(reap(&spawn), 0);
    ck_assert(spawn_done(&spawn));
    ck_assert_uint_eq(list_descriptors(getpid(), after, ELEMENTSOF(after)), n - 1);
    close(out[0]);
}
END_TEST

/* A child takes another way when there are many: all tests once more. */
static void open_many(void) {
    for (int i = 0; i < 200; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            exit(EXIT_FAILURE);
}

int main(void) {
    const TTest *const tests[] = {
        identity,         gate_closed,        gate_supervisor_dies, gate_of_two,
        gate_killed,      gate_holds_no_lock, fails_to_fork,        fails_to_pin,
        memory_untouched, let_go_at_the_gate, let_go_while_stopped, settings_untouched,
        gate_signalled,   tables_part,
    };
    int r = run_tests("spawn", tests, ELEMENTSOF(tests));

    open_many();
    return run_tests("spawn, many descriptors", tests, ELEMENTSOF(tests)) != EXIT_SUCCESS ? EXIT_FAILURE : r;
}
