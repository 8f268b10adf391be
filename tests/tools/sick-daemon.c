/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Daemons, and clients of daemons, that run into EAGAIN in one way each:
 *
 *     sick-daemon MODE [ARGUMENT...]
 *
 * ADDRESS: a path, @abstract or a TCP port of 127.0.0.1. It prints "ready ..." once it is as sick as its mode
 * says. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE_SECONDS 300 /* no test forgets us for longer */

static const char usage[] =
    "usage: sick-daemon MODE [ARGUMENT...]\n"
    "  listen ADDRESS BACKLOG   listens, and never accepts\n"
    "  busy ADDRESS             the same, in a busy loop\n"
    "  fork N                   forks N children a second, each of which ends at once\n"
    "  files ADDRESS            listens, and opens files until it may open no more\n"
    "  send ADDRESS nonblock    accepts one connection and writes to it until EAGAIN, then sleeps\n"
    "  send ADDRESS block       the same, until the write blocks\n"
    "  dawdle ADDRESS           connects, and never reads\n"
    "  crowd ADDRESS N          connects N times without waiting, and keeps what succeeded\n"
    "  lock FILE                takes its lock (flock), waiting for it\n"
    "  idle                     sleeps\n";

static _Noreturn void sleep_for_good(void) {
    for (;;)
        (void) pause();
}

static void say_ready(const char *text, long number) {
    printf("ready %s %ld\n", text, number);
    (void) fflush(stdout);
}

static _Noreturn void give_up(const char *what) {
    fprintf(stderr, "sick-daemon: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

union any_address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in inet;
};

static socklen_t parse(const char *where, union any_address *ret) {
    memset(ret, 0, sizeof *ret);
    if (atoi(where) > 0) {
        ret->inet.sin_family = AF_INET;
        ret->inet.sin_port = htons((unsigned short) atoi(where));
        ret->inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof ret->inet;
    }
    if (strlen(where) >= sizeof ret->local.sun_path)
        give_up("the path is too long");
    ret->local.sun_family = AF_UNIX;
    strcpy(ret->local.sun_path, where);
    if (where[0] != '@')
        return sizeof ret->local;
    ret->local.sun_path[0] = '\0';
    return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(where));
}

static int listen_at(const char *where, int backlog) {
    union any_address address;
    socklen_t size = parse(where, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.any.sa_family == AF_UNIX && where[0] == '/')
        (void) unlink(where);
    if (fd < 0 || bind(fd, &address.any, size) < 0 || listen(fd, backlog) < 0)
        give_up(where);
    return fd;
}

static int connect_to(const char *where, int flags) {
    union any_address address;
    socklen_t size = parse(where, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    if (fd < 0 || connect(fd, &address.any, size) < 0) {
        if (fd >= 0)
            (void) close(fd);
        return -1;
    }
    return fd;
}

static _Noreturn void be_busy(const char *where) {
    (void) listen_at(where, 16);
    say_ready("busy", 0);
    for (volatile unsigned long n = 0;; n = n + 1)
        ;
}

static _Noreturn void fork_on(int per_second) {
    say_ready("forking", per_second);
    for (;;) {
        pid_t pid = fork();

        if (pid == 0) {
            (void) usleep(200 * 1000);
            _exit(0);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        (void) usleep(1000000U / (unsigned) per_second);
    }
}

static _Noreturn void open_files(const char *where) {
    long n = 0;

    (void) listen_at(where, 16);
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        n++;
    say_ready("files", n);
    sleep_for_good();
}

static _Noreturn void send_on(const char *where, int nonblock) {
    static char bytes[65536];
    int listener = listen_at(where, 16), fd;
    long sent = 0;
    ssize_t n;

    say_ready("listening", 0);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0));
    if (fd < 0)
        give_up("accept");
    for (;;) {
        struct pollfd writable = {.fd = fd, .events = POLLOUT};

        n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        if (n > 0) {
            sent += n;
            continue;
        }
        if (errno != EAGAIN)
            give_up("send");
        if (poll(&writable, 1, 300) == 0) /* TCP takes some more once the peer's queue is known to be full */
            break;
    }
    say_ready("full", sent);
    sleep_for_good();
}

static _Noreturn void crowd(const char *where, int n) {
    long in = 0;

    for (int i = 0; i < n; i++)
        in += connect_to(where, SOCK_NONBLOCK) >= 0;
    say_ready("connected", in);
    sleep_for_good();
}

int main(int argc, char *argv[]) {
    const char *mode = argc > 1 ? argv[1] : "", *what = argc > 2 ? argv[2] : NULL,
               *more = argc > 3 ? argv[3] : NULL;

    (void) alarm(LIFE_SECONDS);
    if (strcmp(mode, "listen") == 0 && more) {
        (void) listen_at(what, atoi(more));
        say_ready("listening", 0);
    } else if (strcmp(mode, "busy") == 0 && what)
        be_busy(what);
    else if (strcmp(mode, "fork") == 0 && what && atoi(what) > 0)
        fork_on(atoi(what));
    else if (strcmp(mode, "files") == 0 && what)
        open_files(what);
    else if (strcmp(mode, "send") == 0 && more)
        send_on(what, strcmp(more, "nonblock") == 0);
    else if (strcmp(mode, "dawdle") == 0 && what) {
        if (connect_to(what, 0) < 0)
            give_up(what);
        say_ready("connected", 1);
    } else if (strcmp(mode, "crowd") == 0 && more)
        crowd(what, atoi(more));
    else if (strcmp(mode, "lock") == 0 && what) {
        int fd = open(what, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

        say_ready("waiting", 0);
        if (fd < 0 || flock(fd, LOCK_EX) < 0)
            give_up(what);
        say_ready("locked", 0);
    } else if (strcmp(mode, "idle") == 0)
        say_ready("idle", 0);
    else {
        fputs(usage, stderr);
        return 64;
    }
    sleep_for_good();
}
