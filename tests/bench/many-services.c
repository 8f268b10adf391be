/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long it takes until a thousand daemons run.
 *
 * As a daemon (`many-services daemon FIFO`): writes one byte to the FIFO as soon as its main() runs, and
 * sleeps. As the limit (`many-services limit FIFO N`): a bare loop of posix_spawn(3) over N such daemons,
 * what no supervisor can do without; ends them when it is told to end. As the meter (`many-services meter
 * FIFO N COMMAND...`): begins the command, reads N bytes, and prints how many microseconds that took and the
 * command's PID, which it leaves running. As a bare program (`many-services pause`): sleeps, for a look at
 * its memory. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now_usec(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static int daemon_main(const char *fifo) {
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, "", 1) != 1)
        return 1;
    close(fd);
    for (;;)
        pause();
}

static int limit_main(char *self, char *fifo, int n) {
    char word[] = "daemon", *const arguments[] = {self, word, fifo, NULL};
    pid_t *pids = calloc((size_t) n, sizeof *pids);
    sigset_t end;
    int signal;

    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    if (!pids || sigprocmask(SIG_BLOCK, &end, NULL) < 0)
        return 1;
    for (int i = 0; i < n; i++)
        if (posix_spawn(&pids[i], self, NULL, NULL, arguments, environ) != 0)
            return 1;
    sigwait(&end, &signal);
    for (int i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    free(pids);
    return 0;
}

static int meter_main(const char *fifo, int n, char *const command[]) {
    int fd = open(fifo, O_RDWR | O_CLOEXEC);
    long long began = now_usec();
    pid_t pid;

    if (fd < 0 || posix_spawnp(&pid, command[0], NULL, NULL, command, environ) != 0)
        return 1;
    while (n > 0) {
        char bytes[4096];
        ssize_t got = read(fd, bytes, sizeof bytes);

        if (got < 0 && errno != EINTR)
            return 1;
        n -= got > 0 ? (int) got : 0;
    }
    dprintf(STDOUT_FILENO, "%lld %d\n", now_usec() - began, (int) pid);
    return 0;
}

int main(int argc, char *argv[]) {
    if (argc == 3 && strcmp(argv[1], "daemon") == 0)
        return daemon_main(argv[2]);
    if (argc == 4 && strcmp(argv[1], "limit") == 0)
        return limit_main(argv[0], argv[2], atoi(argv[3]));
    if (argc >= 5 && strcmp(argv[1], "meter") == 0)
        return meter_main(argv[2], atoi(argv[3]), argv + 4);
    if (argc == 2 && strcmp(argv[1], "pause") == 0)
        return pause() < 0;
    fputs("usage: many-services daemon FIFO | limit FIFO N | meter FIFO N COMMAND [ARGUMENT]... | pause\n",
          stderr);
    return 64;
}
