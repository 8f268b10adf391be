/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long from a daemon's SIGKILL until its successor's main() runs.
 *
 * As the daemon (`crash-to-exec daemon FIFO [LOCKFILE [SOCKET [PIDFILE]]]`): writes its PID and the monotonic
 * time of its first instruction to the FIFO, takes LOCKFILE's flock as Kea does, listens on SOCKET, which
 * must not be there, writes PIDFILE, which must not be there either, and sleeps. As the meter (`crash-to-exec
 * meter ROUNDS ALIVE_MSEC FIFO...`): reads a line of each FIFO, kills the daemon behind each in turn, by its
 * pidfd, once it has lived for ALIVE_MSEC, and reads its successor's line; prints the median in microseconds,
 * a line for each FIFO. What else the machine does so falls upon all of them alike. The daemon also leaves
 * its PID in FIFO's name with .pid for .fifo, for whoever has to end it. As the limit (`crash-to-exec limit
 * FIFO [LOCKFILE [SOCKET [PIDFILE]]]`): a bare loop of posix_spawn(3) and waitpid(2) over the daemon, and of
 * unlink(2) where something is left: what no supervisor can do without. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_nsec(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* For clearing up after a supervisor that leaves its daemon running. */
static void leave_pid(const char *fifo) {
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%.*s.pid", (int) (strlen(fifo) - strlen(".fifo")), fifo);
    file = fopen(path, "w");
    if (file) {
        fprintf(file, "%d\n", (int) getpid());
        fclose(file);
    }
}

static bool begin_listening(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof address) == 0 && listen(fd, 8) == 0;
}

static bool write_pidfile(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool written = fd >= 0 && dprintf(fd, "%d\n", (int) getpid()) > 0;

    close(fd);
    return written;
}

static int daemon_main(const char *fifo, const char *lock, const char *listen_path, const char *pidfile) {
    long long born = now_nsec();
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || dprintf(fd, "%d %lld\n", (int) getpid(), born) < 0)
        return 1;
    close(fd);
    leave_pid(fifo);
    if (lock) {
        int lock_fd = open(lock, O_RDONLY | O_CREAT, 0600);

        if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
            return 1;
    }
    if ((listen_path && !begin_listening(listen_path)) || (pidfile && !write_pidfile(pidfile)))
        return 1;
    for (;;)
        pause();
}

static int compare(const void *a, const void *b) {
    long long x = *(const long long *) a, y = *(const long long *) b;

    return x < y ? -1 : x > y;
}

struct metered {
    FILE *lines;
    long long *took;
    int pid;
};

static bool read_line(struct metered *metered, long long *ret_born) {
    return fscanf(metered->lines, "%d %lld", &metered->pid, ret_born) == 2;
}

static bool kill_and_await(struct metered *metered, int round) {
    int pidfd = pidfd_open(metered->pid, 0);
    long long killed = now_nsec(), born;
    bool done = pidfd >= 0 && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0 && read_line(metered, &born);

    close(pidfd);
    metered->took[round] = done ? born - killed : 0;
    return done;
}

static int meter_main(int rounds, long alive_msec, char *fifos[], int n) {
    struct metered *metered = calloc((size_t) n, sizeof *metered);
    long pause_usec = alive_msec * 1000 / n;
    long long born;

    if (!metered)
        return 1;
    for (int i = 0; i < n; i++) {
        metered[i].lines = fdopen(open(fifos[i], O_RDWR | O_CLOEXEC), "r");
        metered[i].took = calloc((size_t) rounds, sizeof *metered[i].took);
        if (!metered[i].lines || !metered[i].took)
            return 1;
    }
    for (int i = 0; i < n; i++)
        if (!read_line(&metered[i], &born))
            return 1;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < n; i++) {
            struct timespec pause = {pause_usec / 1000000, pause_usec % 1000000 * 1000};

            nanosleep(&pause, NULL);
            if (!kill_and_await(&metered[i], round))
                return 1;
        }
    for (int i = 0; i < n; i++) {
        qsort(metered[i].took, (size_t) rounds, sizeof *metered[i].took, compare);
        printf("%.0f\n", (double) metered[i].took[rounds / 2] / 1000);
        free(metered[i].took);
        fclose(metered[i].lines);
    }
    free(metered);
    return 0;
}

static int limit_main(char *argv[]) {
    extern char **environ;
    char word[] = "daemon", *const arguments[] = {argv[0],
                                                  word,
                                                  argv[2],
                                                  argv[3],
                                                  argv[3] ? argv[4] : NULL,
                                                  argv[3] && argv[4] ? argv[5] : NULL,
                                                  NULL};

    for (;;) {
        pid_t pid;

        if (posix_spawn(&pid, argv[0], NULL, NULL, arguments, environ) != 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
        for (int i = 4; arguments[i]; i++)
            (void) unlink(arguments[i]);
    }
}

int main(int argc, char *argv[]) {
    if (argc >= 3 && strcmp(argv[1], "daemon") == 0)
        return daemon_main(argv[2], argv[3], argc > 4 ? argv[4] : NULL, argc > 5 ? argv[5] : NULL);
    if (argc >= 5 && strcmp(argv[1], "meter") == 0)
        return meter_main(atoi(argv[2]), atol(argv[3]), argv + 4, argc - 4);
    if (argc >= 3 && strcmp(argv[1], "limit") == 0)
        return limit_main(argv);
    fputs("usage: crash-to-exec daemon|limit FIFO [LOCKFILE [SOCKET [PIDFILE]]] | meter ROUNDS ALIVE_MSEC "
          "FIFO...\n",
          stderr);
    return 64;
}
