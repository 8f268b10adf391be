/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A quick daemon that treats its files as Kea does, for tests that start it a thousand times:
 *
 *     lock-daemon DIR HELPER    DIR/S is its socket, DIR/S.lock the lock, DIR/S.pid its PID file
 *     lock-helper               (a copy of this program) what HELPER names: sleeps, and ignores SIGTERM
 *
 * It refuses to start while the PID file names a living process or the lock is taken. The helper inherits all
 * descriptors. Every connection gets an answer like that to Kea's status-get. DIR/journal gets a line for
 * each event; those in capital letters are what must never happen:
 *
 *     start PID, helper PID, ready PID, hup PID (SIGHUP: told to reload), term PID, end PID
 *     TWO PID OTHER     another instance is alive (a POSIX lock on DIR/alone tells, which nobody inherits)
 *     REFUSED PID WHY   it was started though something was in the way
 *     LOST PID WHAT     its lock or its socket is not its own any more */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE_SECONDS 1200        /* no test forgets us for longer */
#define NEW_PID_FILE "S.pid.new" /* one that is killed may leave it, and the next one writes it again */

extern char **environ;

struct lock_daemon {
    int dir_fd, lock_fd, listen_fd, signal_fd;
    struct stat lock, socket;
    pid_t helper;
};

__attribute__((format(printf, 2, 3))) static void note(int dir_fd, const char *format, ...) {
    int fd = openat(dir_fd, "journal", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char line[256];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof line - 1, format, ap);
    va_end(ap);
    line[n++] = '\n';
    if (fd < 0 || write(fd, line, (size_t) n) != n) /* one write: lines of several writers stay whole */
        abort();
    (void) close(fd);
}

static _Noreturn void refuse(int dir_fd, const char *why) {
    note(dir_fd, "REFUSED %d %s: %s", (int) getpid(), why, strerror(errno));
    exit(EXIT_FAILURE);
}

/* Its descriptor stays open to the end: closing it would drop the lock (fcntl(2)). */
static void be_alone(int dir_fd) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = openat(dir_fd, "alone", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        refuse(dir_fd, "cannot open alone");
    if (fcntl(fd, F_SETLK, &range) == 0)
        return;
    (void) fcntl(fd, F_GETLK, &range);
    note(dir_fd, "TWO %d %d", (int) getpid(), (int) range.l_pid);
    exit(EXIT_FAILURE);
}

/* Whole or not at all: one that is killed between open(2) and write(2) would leave an empty file, of which
 * nobody can tell whether its writer lives, and which latchd therefore leaves alone. */
static void write_pid(int dir_fd) {
    int fd = openat(dir_fd, "S.pid", O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    long pid;

    if (fd < 0 ? errno != ENOENT : read(fd, text, sizeof text - 1) < 0)
        refuse(dir_fd, "cannot read S.pid");
    if (fd >= 0)
        (void) close(fd);
    pid = strtol(text, NULL, 10);
    if (pid > 0 && kill((pid_t) pid, 0) == 0)
        refuse(dir_fd, "S.pid names a living process");
    fd = openat(dir_fd, NEW_PID_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t) sprintf(text, "%d\n", (int) getpid())) < 0 || close(fd) < 0 ||
        renameat(dir_fd, NEW_PID_FILE, dir_fd, "S.pid") < 0)
        refuse(dir_fd, "cannot write S.pid");
}

/* As Kea: the lock's descriptor and the listener go to every child. */
static void take_lock_and_bind(struct lock_daemon *daemon) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "S"};

    daemon->lock_fd = openat(daemon->dir_fd, "S.lock", O_RDONLY | O_CREAT, 0600);
    if (daemon->lock_fd < 0 || flock(daemon->lock_fd, LOCK_EX | LOCK_NB) < 0)
        refuse(daemon->dir_fd, "S.lock");
    (void) unlinkat(daemon->dir_fd, "S", 0);
    daemon->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (daemon->listen_fd < 0 || fchdir(daemon->dir_fd) < 0 ||
        bind(daemon->listen_fd, (struct sockaddr *) &address, sizeof address) < 0 ||
        listen(daemon->listen_fd, 16) < 0)
        refuse(daemon->dir_fd, "cannot bind S");
    if (fstat(daemon->lock_fd, &daemon->lock) < 0 ||
        fstatat(daemon->dir_fd, "S", &daemon->socket, AT_SYMLINK_NOFOLLOW) < 0)
        refuse(daemon->dir_fd, "cannot look at S");
}

static void check_files(const struct lock_daemon *daemon) {
    struct stat st;

    if (fstatat(daemon->dir_fd, "S.lock", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != daemon->lock.st_ino)
        note(daemon->dir_fd, "LOST %d lock", (int) getpid());
    if (fstatat(daemon->dir_fd, "S", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != daemon->socket.st_ino)
        note(daemon->dir_fd, "LOST %d socket", (int) getpid());
}

static void answer(struct lock_daemon *daemon) {
    int fd = accept4(daemon->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char text[512];

    if (fd < 0)
        return;
    check_files(daemon);
    if (poll(&wait, 1, 200) == 1 && recv(fd, text, sizeof text, 0) > 0) {
        int n =
            snprintf(text, sizeof text, "{ \"result\": 0, \"arguments\": { \"pid\": %d } }", (int) getpid());

        (void) !send(fd, text, (size_t) n, MSG_NOSIGNAL);
    }
    (void) close(fd);
}

static void start_helper(struct lock_daemon *daemon, char *path) {
    char *argv[] = {path, NULL};

    if (posix_spawn(&daemon->helper, path, NULL, NULL, argv, environ) != 0)
        refuse(daemon->dir_fd, "cannot start the helper");
    note(daemon->dir_fd, "helper %d", (int) daemon->helper);
}

/* Stopped in good order, it leaves nothing but the lock file. */
static void finish(struct lock_daemon *daemon) {
    note(daemon->dir_fd, "term %d", (int) getpid());
    check_files(daemon);
    (void) kill(daemon->helper, SIGKILL);
    (void) waitpid(daemon->helper, NULL, 0);
    (void) unlinkat(daemon->dir_fd, "S", 0);
    (void) unlinkat(daemon->dir_fd, "S.pid", 0);
    note(daemon->dir_fd, "end %d", (int) getpid());
}

static int next_signal(const struct lock_daemon *daemon) {
    struct signalfd_siginfo info;

    if (read(daemon->signal_fd, &info, sizeof info) != (ssize_t) sizeof info)
        abort();
    if (info.ssi_signo == SIGHUP)
        note(daemon->dir_fd, "hup %d", (int) getpid());
    return (int) info.ssi_signo;
}

static int be_daemon(const char *dir, char *helper) {
    struct lock_daemon daemon = {.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct pollfd waits[2];
    sigset_t set;

    if (daemon.dir_fd < 0)
        return EXIT_FAILURE;
    note(daemon.dir_fd, "start %d", (int) getpid());
    be_alone(daemon.dir_fd);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    (void) sigprocmask(SIG_BLOCK, &set, NULL); /* a stop waits until there is something to stop */
    daemon.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    write_pid(daemon.dir_fd);
    take_lock_and_bind(&daemon);
    start_helper(&daemon, helper);
    note(daemon.dir_fd, "ready %d", (int) getpid());
    waits[0] = (struct pollfd){.fd = daemon.signal_fd, .events = POLLIN};
    waits[1] = (struct pollfd){.fd = daemon.listen_fd, .events = POLLIN};
    while (poll(waits, 2, -1) >= 0 || errno == EINTR) {
        if (waits[0].revents && next_signal(&daemon) == SIGTERM) {
            finish(&daemon);
            return EXIT_SUCCESS;
        }
        if (waits[1].revents)
            answer(&daemon);
    }
    return EXIT_FAILURE;
}

int main(int argc, char *argv[]) {
    const char *name = strrchr(argv[0], '/');

    (void) alarm(LIFE_SECONDS);
    if (strcmp(name ? name + 1 : argv[0], "lock-helper") == 0) {
        (void) signal(SIGTERM, SIG_IGN);
        for (;;)
            (void) pause();
    }
    if (argc != 3) {
        fputs("usage: lock-daemon DIR HELPER\n", stderr);
        return 64;
    }
    return be_daemon(argv[1], argv[2]);
}
