/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A daemon that speaks sd_notify(3) on command, and whatever else sends such messages.
 *
 *     notify-daemon daemon DIR           obeys lines written to the FIFO DIR/orders (made by whoever tests),
 * and tells of itself in DIR/told notify-daemon send TEXT [COUNT]    sends TEXT (\n: a line break) to
 * $NOTIFY_SOCKET, COUNT times notify-daemon send-fds TEXT PATH.. the same once, with PATHs opened for reading
 *
 * Orders: say TEXT; child TEXT (said by a child, which lives until it is handled); orphan TEXT (by a
 * grandchild whose parent has ended, with no LATCHD_SERVICE in its environment); brief TEXT (by a child that
 * ends at once and is reaped); store TEXT CONTENT (with a memfd of that content); store-file TEXT PATH;
 * store-pipe TEXT (with a pipe's end whose other end is closed then); again FD TEXT (with a descriptor that
 * it has); barrier; pass TEXT (a child becomes the daemon; "@" in TEXT is its PID; said before this one
 * ends); reload-slowly (from now on SIGHUP is answered by RELOADING=1, and READY=1 comes on order); exit
 * STATUS. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "send-datagram.h"

static const char *directory;
static volatile sig_atomic_t hung_up;
static bool reload_slowly;

static void on_hup(int number) {
    (void) number;
    hung_up = 1;
}

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...) {
    char path[4096], line[8192];
    va_list args;
    int fd, n;

    snprintf(path, sizeof path, "%s/told", directory);
    va_start(args, format);
    n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[n++] = '\n';
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, (size_t) n) != n)
        exit(3);
    close(fd);
}

static int send_message(const char *text, const int *fds, size_t n_fds) {
    const char *path = getenv("NOTIFY_SOCKET");
    char message[65536];
    size_t size = 0;

    for (const char *p = text; *p && size < sizeof message; p++)
        if (p[0] == '\\' && p[1] == 'n') {
            message[size++] = '\n';
            p++;
        } else
            message[size++] = *p;
    return path ? send_datagram(path, message, size, fds, n_fds) : -ENOENT;
}

/* Whether all that was said before is handled: sd_notify_barrier(3). */
static bool wait_for_barrier(void) {
    struct pollfd poll_fd;
    int ends[2];
    bool done;

    if (pipe2(ends, O_CLOEXEC) < 0 || send_message("BARRIER=1", &ends[1], 1) < 0)
        return false;
    close(ends[1]);
    poll_fd = (struct pollfd){.fd = ends[0]};
    while (poll(&poll_fd, 1, 20000) < 0 && errno == EINTR)
        ;
    done = (poll_fd.revents & POLLHUP) != 0;
    close(ends[0]);
    return done;
}

static void say(const char *text) {
    int r = send_message(text, NULL, 0);

    if (r < 0)
        tell("cannot say: %s", strerror(-r));
}

static void store(char *text) {
    char *content = strrchr(text, ' ');
    int fd = memfd_create("stored", MFD_CLOEXEC), r;

    *content++ = '\0';
    if (fd < 0 || write(fd, content, strlen(content)) < 0)
        exit(4);
    r = send_message(text, &fd, 1);
    if (r < 0)
        tell("cannot store: %s", strerror(-r));
    close(fd);
}

static void say_with(const char *text, int fd) {
    int r = send_message(text, &fd, 1);

    if (r < 0)
        tell("cannot store: %s", strerror(-r));
}

static void store_file(char *text) {
    char *path = strrchr(text, ' ');
    int fd;

    *path++ = '\0';
    fd = open(path, O_RDONLY | O_CLOEXEC);
    say_with(text, fd);
    close(fd);
}

static void store_pipe(const char *text) {
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        exit(4);
    say_with(text, ends[1]);
    (void) wait_for_barrier();
    close(ends[0]);
    close(ends[1]);
}

static void again(const char *argument) {
    const char *text = strchr(argument, ' ');

    if (text)
        say_with(text + 1, atoi(argument));
}

static void in_child(const char *text, bool briefly) {
    pid_t pid = fork();

    if (pid == 0) {
        say(text);
        if (!briefly)
            (void) wait_for_barrier();
        _exit(0);
    }
    (void) waitpid(pid, NULL, 0);
}

static void by_orphan(char *text) {
    pid_t pid = fork();

    if (pid == 0) {
        if (fork() == 0) {
            char *argv[] = {(char *) "notify-daemon", (char *) "send", text, (char *) "1", NULL}, path[4096];
            char address[256], *envp[] = {address, (char *) "STAY=1", NULL};
            ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

            snprintf(address, sizeof address, "NOTIFY_SOCKET=%s", getenv("NOTIFY_SOCKET"));
            path[n > 0 ? n : 0] = '\0';
            usleep(100000); /* for our parent to be gone */
            execve(path, argv, envp);
            _exit(1);
        }
        _exit(0);
    }
    (void) waitpid(pid, NULL, 0);
}

/* Returns in the child, which is the daemon from now on. */
static void pass(const char *text) {
    char message[4096] = "", number[16], *to = message;
    int gate[2];
    pid_t pid;

    if (pipe2(gate, O_CLOEXEC) < 0)
        exit(5);
    pid = fork();
    if (pid == 0) {
        char byte;

        close(gate[1]);
        if (read(gate[0], &byte, 1) > 0) /* its end is the other one's end */
            exit(5);
        close(gate[0]);
        tell("passed to %d", (int) getpid());
        return;
    }
    snprintf(number, sizeof number, "%d", (int) pid);
    for (const char *p = text; *p; p++)
        to += *p == '@' ? sprintf(to, "%s", number) : sprintf(to, "%c", *p);
    say(message);
    _exit(0);
}

static void on_reload(void) {
    struct timespec now;
    char text[128];

    hung_up = 0;
    tell("reload");
    if (!reload_slowly)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\\nMONOTONIC_USEC=%lld",
             now.tv_sec * 1000000LL + now.tv_nsec / 1000);
    say(text);
}

static void obey(char *line) {
    char *argument = strchr(line, ' ');

    if (argument)
        *argument++ = '\0';
    else
        argument = line + strlen(line);
    if (strcmp(line, "say") == 0)
        say(argument);
    else if (strcmp(line, "child") == 0)
        in_child(argument, false);
    else if (strcmp(line, "brief") == 0)
        in_child(argument, true);
    else if (strcmp(line, "orphan") == 0)
        by_orphan(argument);
    else if (strcmp(line, "store") == 0)
        store(argument);
    else if (strcmp(line, "store-file") == 0)
        store_file(argument);
    else if (strcmp(line, "store-pipe") == 0)
        store_pipe(argument);
    else if (strcmp(line, "again") == 0)
        again(argument);
    else if (strcmp(line, "pass") == 0)
        pass(argument);
    else if (strcmp(line, "reload-slowly") == 0)
        reload_slowly = true;
    else if (strcmp(line, "barrier") == 0)
        tell(wait_for_barrier() ? "barrier passed" : "barrier not passed");
    else if (strcmp(line, "exit") == 0)
        exit(atoi(argument));
    else
        tell("what is %s?", line);
}

/* What was stored comes back as descriptors 3, 4, ... (sd_listen_fds(3)). */
static void tell_of_stored(void) {
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    int n = count && pid && atoi(pid) == (int) getpid() ? atoi(count) : 0;

    tell("begun %d with %d stored: %s", (int) getpid(), n, names ? names : "");
    for (int i = 0; i < n; i++) {
        char content[256];
        ssize_t size = pread(3 + i, content, sizeof content - 1, 0);

        content[size > 0 ? size : 0] = '\0';
        tell("stored %d: %s", i, content);
    }
}

static int run_daemon(void) {
    struct sigaction action = {.sa_handler = on_hup};
    char path[4096], buffer[65536];
    sigset_t hup, none;
    size_t n = 0;
    int fd;

    sigaction(SIGHUP, &action, NULL);
    sigemptyset(&none);
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP); /* comes while it waits, and at no other time */
    sigprocmask(SIG_BLOCK, &hup, NULL);
    snprintf(path, sizeof path, "%s/orders", directory);
    fd = open(path, O_RDWR | O_CLOEXEC); /* for writing too: it never ends */
    if (fd < 0)
        return 2;
    tell_of_stored();
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

        if (ppoll(&poll_fd, 1, NULL, &none) < 0 && errno != EINTR)
            return 2;
        if (hung_up)
            on_reload();
        if (!(poll_fd.revents & POLLIN))
            continue;
        if (read(fd, buffer + n, 1) != 1) /* no more: the rest is for whoever is the daemon then */
            return 2;
        if (buffer[n] == '\n') {
            buffer[n] = '\0';
            n = 0;
            obey(buffer);
        } else if (n < sizeof buffer - 2)
            n++;
    }
}

int main(int argc, char *argv[]) {
    if (argc >= 3 && strcmp(argv[1], "daemon") == 0) {
        directory = argv[2];
        return run_daemon();
    }
    if (argc >= 3 && strncmp(argv[1], "send", 4) == 0) {
        long count = strcmp(argv[1], "send") == 0 && argc > 3 ? atol(argv[3]) : 1;
        int fds[64];
        size_t n_fds = 0;

        for (int i = 3; strcmp(argv[1], "send-fds") == 0 && i < argc && n_fds < 64; i++)
            fds[n_fds++] = open(argv[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        for (long i = 0; i < count; i++) {
            int r = send_message(argv[2], fds, n_fds);

            if (r < 0) {
                fprintf(stderr, "notify-daemon: %s\n", strerror(-r));
                return 1;
            }
        }
        if (getenv("STAY")) /* until all of it is handled, and a look at this process finds it */
            return wait_for_barrier() ? 0 : 1;
        return 0;
    }
    fprintf(stderr, "usage: notify-daemon daemon DIR | send TEXT [COUNT] | send-fds TEXT PATH...\n");
    return 64;
}
