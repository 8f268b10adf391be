/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long it takes to find who holds a lock among many processes.
 *
 * As the crowd (`find-holder crowd DIR PROCESSES DESCRIPTORS`): begins so many processes, each with so many
 * open descriptors, and in their midst the lockers of two files: DIR/orphaned.lock, whose locker is dead and
 * whose child holds it, and DIR/living.lock, whose locker lives. Prints "PID of the orphan, PID of the living
 * one" on a line when all are there, then waits for the end of its input and ends them all; they also end
 * with it. As the limit (`find-holder limit`): one thread lists every process's descriptors and asks for each
 * one's file, which is what nobody can do without who looks into all of them in turn. As the meter
 * (`find-holder meter COMMAND...`): runs the command with its output thrown away, and prints how many
 * microseconds it took. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now_nsec(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Every one lives until the pipe's writing end is closed, which the crowd's parent alone has. */
static _Noreturn void wait_for_end(int end_fd) {
    char byte;

    while (read(end_fd, &byte, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

static int lock_file(const char *dir, const char *name) {
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Returns the PID of the one that holds it: with `orphan` the child of the locker, which ends at once. */
static pid_t begin_locker(const char *dir, const char *name, bool orphan, const int end[static 2]) {
    int told[2];
    pid_t pid, holder = -1;

    if (pipe(told) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        pid_t child = getpid();

        close(end[1]);
        if (lock_file(dir, name) < 0)
            _exit(1);
        if (orphan)
            child = fork();
        if (child == 0)
            wait_for_end(end[0]);
        if (child < 0 || write(told[1], &child, sizeof child) != sizeof child || orphan)
            _exit(0);
        wait_for_end(end[0]);
    }
    close(told[1]);
    if (pid < 0 || read(told[0], &holder, sizeof holder) != sizeof holder)
        holder = -1;
    close(told[0]);
    if (orphan && pid > 0)
        waitpid(pid, NULL, 0);
    return holder;
}

static int crowd_main(const char *dir, int processes, int descriptors) {
    pid_t orphan = -1, living = -1;
    int end[2];
    char byte;

    /* Held down to what this process has itself: three, and the pipe's end. */
    if (pipe(end) < 0)
        return 1;
    for (int i = 4; i < descriptors; i++)
        if (open("/dev/null", O_RDONLY) < 0)
            return 1;
    for (int i = 0; i < processes; i++) {
        pid_t pid;

        if (i == processes / 3)
            orphan = begin_locker(dir, "orphaned.lock", true, end);
        if (i == processes / 2)
            living = begin_locker(dir, "living.lock", false, end);
        pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            close(end[1]);
            wait_for_end(end[0]);
        }
    }
    if (orphan < 0 || living < 0)
        return 1;
    printf("%d %d\n", (int) orphan, (int) living);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    close(end[1]);
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    return 0;
}

static int limit_main(void) {
    DIR *proc = opendir("/proc");
    struct dirent *process, *descriptor;
    unsigned long n = 0;

    if (!proc)
        return 1;
    while ((process = readdir(proc))) {
        char path[300];
        DIR *table;

        if (!isdigit((unsigned char) process->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%s/fd", process->d_name);
        table = opendir(path);
        while (table && (descriptor = readdir(table))) {
            struct stat st;

            n += isdigit((unsigned char) descriptor->d_name[0]) &&
                 fstatat(dirfd(table), descriptor->d_name, &st, 0) == 0;
        }
        if (table)
            closedir(table);
    }
    closedir(proc);
    fprintf(stderr, "%lu descriptors\n", n);
    return 0;
}

static int meter_main(char *const command[]) {
    posix_spawn_file_actions_t actions;
    long long began;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    began = now_nsec();
    if (posix_spawnp(&pid, command[0], &actions, NULL, command, environ) != 0 ||
        waitpid(pid, &status, 0) != pid)
        return 1;
    printf("%lld\n", (now_nsec() - began) / 1000);
    posix_spawn_file_actions_destroy(&actions);
    return 0;
}

int main(int argc, char *argv[]) {
    if (argc == 5 && strcmp(argv[1], "crowd") == 0)
        return crowd_main(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc == 2 && strcmp(argv[1], "limit") == 0)
        return limit_main();
    if (argc >= 3 && strcmp(argv[1], "meter") == 0)
        return meter_main(argv + 2);
    fputs("usage: find-holder crowd DIR PROCESSES DESCRIPTORS | limit | meter COMMAND [ARGUMENT]...\n",
          stderr);
    return 64;
}
