/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Daemons that make it hard for whoever supervises them:
 *
 *     bad-daemon FILE KIND
 *
 * Each appends a line "PID KIND" to FILE when it has got as far as being bad, "PID child" for each child.
 *
 *     deaf       ignores every signal that can be ignored
 *     closer     closes all its descriptors
 *     flood      writes without end to its standard output and error
 *     hidden     changes its title and its environment, and is not dumpable: /proc/PID belongs to root, and
 *                hides most from others
 *     headless   its first thread ends, another one goes on: a zombie as the leader of a living process
 *     vfork      waits in vfork(2) for a child that does nothing: the parent is in an uninterruptible sleep
 *     twice      forks twice and ends; the grandchild goes on
 *     bomb       its children fork without end, as many as there may be */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFE_SECONDS 300 /* no test forgets us for longer */

extern char **environ;

static const char *file;

static void note(const char *kind) {
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char line[64];
    int n = snprintf(line, sizeof line, "%d %s\n", (int) getpid(), kind);

    if (fd < 0 || write(fd, line, (size_t) n) != n)
        _exit(2);
    (void) close(fd);
}

static _Noreturn void sleep_for_good(void) {
    for (;;)
        (void) pause();
}

static void be_deaf(void) {
    for (int i = 1; i < NSIG; i++)
        (void) signal(i, SIG_IGN);
}

static void be_hidden(char *argv[]) {
    /* Where the command line and the environment stand, which the kernel shows: one block
     * (proc_pid_cmdline(5)). */
    for (char **word = argv; *word; word++)
        memset(*word, 'x', strlen(*word));
    for (char **variable = environ; *variable; variable++)
        memset(*variable, 'y', strlen(*variable));
    (void) prctl(PR_SET_NAME, "nobody-known", 0, 0, 0);
    (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void *go_on(void *unused) {
    (void) unused;
    (void) usleep(50000); /* for the first thread's end */
    note("headless");
    sleep_for_good();
}

static _Noreturn void be_headless(void) {
    pthread_t thread;

    if (pthread_create(&thread, NULL, go_on, NULL) != 0)
        _exit(2);
    pthread_exit(NULL);
}

static _Noreturn void be_in_vfork(void) {
    note("vfork");
    /* Neither exec nor exit follows: the parent sleeps for as long as the child does. */
    if (vfork() == 0)
        for (;;)
            (void) pause();
    sleep_for_good();
}

static _Noreturn void be_bomb(void) {
    note("bomb");
    for (;;)
        if (fork() < 0)
            (void) usleep(1000); /* as many as there may be: again as soon as one has ended */
}

static _Noreturn void flood(void) {
    char block[4096];

    memset(block, 'f', sizeof block);
    for (size_t i = 79; i < sizeof block; i += 80)
        block[i] = '\n';
    note("flood");
    for (;;)
        if (write(STDOUT_FILENO, block, sizeof block) < 0 || write(STDERR_FILENO, block, sizeof block) < 0)
            (void) usleep(1000);
}

int main(int argc, char *argv[]) {
    char kind[16];

    if (argc != 3)
        return 64;
    (void) alarm(LIFE_SECONDS);
    file = strdup(argv[1]);
    snprintf(kind, sizeof kind, "%s", argv[2]);
    if (strcmp(kind, "deaf") == 0)
        be_deaf();
    else if (strcmp(kind, "closer") == 0)
        (void) syscall(SYS_close_range, 0, ~0U, 0);
    else if (strcmp(kind, "hidden") == 0)
        be_hidden(argv);
    else if (strcmp(kind, "flood") == 0)
        flood();
    else if (strcmp(kind, "headless") == 0)
        be_headless();
    else if (strcmp(kind, "vfork") == 0)
        be_in_vfork();
    else if (strcmp(kind, "bomb") == 0)
        be_bomb();
    else if (strcmp(kind, "twice") == 0) {
        if (fork() > 0)
            _exit(0);
        (void) setsid();
        if (fork() > 0)
            _exit(0);
    } else
        return 64;
    note(kind);
    sleep_for_good();
}
