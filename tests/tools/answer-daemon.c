/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* answer-daemon LISTEN MODE [BYTES]: a daemon that answers each command in the way of its mode, in a process
 * of its own for each connection. LISTEN: a path, @abstract or a TCP port of 127.0.0.1. It prints "ready"
 * once it listens. */

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OPENING "{\"result\": 0, \"text\": \""

static const char usage[] =
    "usage: answer-daemon LISTEN MODE [BYTES]\n"
    "  echo         sends the command back once the sending side is closed, then closes\n"
    "  line         sends it back at the end of its line; the end of input ends the connection without an "
    "answer\n"
    "  json BYTES   a JSON answer that is so long; the connection stays open\n"
    "  eager BYTES  the same, before it reads; it reads on only when that is taken\n"
    "  text BYTES   so many letters once all is read, then closes\n"
    "  open BYTES   so many letters; the connection stays open\n"
    "  cut BYTES    closes in the middle of a JSON answer, after so many bytes of it\n"
    "  reset BYTES  the same, with the command unread\n"
    "  mute         reads, and never answers\n"
    "  deaf         accepts, and never reads\n"
    "  full         a queue of one, which is full\n";

static void send_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);

        if (n < 0)
            _exit(EXIT_FAILURE);
        bytes += n;
        size -= (size_t) n;
    }
}

static void send_letters(int fd, size_t size) {
    char letters[4096];

    memset(letters, 'x', sizeof letters);
    for (size_t n; size > 0; size -= n) {
        n = size < sizeof letters ? size : sizeof letters;
        send_all(fd, letters, n);
    }
}

static void send_json(int fd, size_t size) {
    send_all(fd, OPENING, sizeof OPENING - 1);
    send_letters(fd, size > sizeof OPENING + 1 ? size - sizeof OPENING - 1 : 0);
    send_all(fd, "\"}", 2);
}

static void send_beginning(int fd, size_t size) {
    size_t opening = size < sizeof OPENING - 1 ? size : sizeof OPENING - 1;

    send_all(fd, OPENING, opening);
    send_letters(fd, size - opening);
}

static void await(int fd) { /* the first bytes of the command */
    char byte;

    (void) !recv(fd, &byte, 1, MSG_PEEK);
}

static size_t drain(int fd) {
    char bytes[65536];
    size_t size = 0;
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        size += (size_t) n;
    return size;
}

static void echo(int fd, int lines) {
    static char text[1 << 20];
    size_t size = 0;
    ssize_t n;

    while ((n = read(fd, text + size, sizeof text - size)) > 0) {
        size += (size_t) n;
        if (lines && text[size - 1] == '\n') {
            send_all(fd, text, size);
            (void) usleep(200 * 1000); /* as slow as one has to be for who closes too early */
            return;
        }
    }
    if (!lines)
        send_all(fd, text, size);
}

static void serve(int fd, const char *mode, size_t size) {
    if (strcmp(mode, "echo") == 0)
        echo(fd, 0);
    else if (strcmp(mode, "line") == 0)
        echo(fd, 1);
    else if (strcmp(mode, "json") == 0) {
        await(fd);
        send_json(fd, size);
        (void) pause();
    } else if (strcmp(mode, "eager") == 0) {
        send_json(fd, size);
        printf("%zu\n", drain(fd));
        (void) fflush(stdout);
    } else if (strcmp(mode, "text") == 0) {
        (void) drain(fd);
        send_letters(fd, size);
    } else if (strcmp(mode, "open") == 0) {
        await(fd);
        send_letters(fd, size);
        (void) pause();
    } else if (strcmp(mode, "cut") == 0) {
        (void) drain(fd);
        send_beginning(fd, size);
    } else if (strcmp(mode, "reset") == 0) {
        await(fd);
        send_beginning(fd, size);
    } else {
        if (strcmp(mode, "mute") == 0)
            (void) drain(fd);
        (void) pause();
    }
}

static int listen_at(const char *where, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd, port = atoi(where), on = 1;

    if (port > 0) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        inet.sin_port = htons((unsigned short) port);
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        return bind(fd, (struct sockaddr *) &inet, sizeof inet) < 0 || listen(fd, backlog) < 0 ? -1 : fd;
    }
    if (strlen(where) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, where);
    if (where[0] == '@') {
        address.sun_path[0] = '\0';
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(where));
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, size) < 0 || listen(fd, backlog) < 0)
        return -1;
    if (backlog == 0) { /* takes the one place that there is */
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (client < 0 || connect(client, (struct sockaddr *) &address, size) < 0)
            return -1;
    }
    return fd;
}

int main(int argc, char *argv[]) {
    int full = argc > 2 && strcmp(argv[2], "full") == 0, listener;

    if (argc < 3 || argc > 4) {
        fputs(usage, stderr);
        return 64;
    }
    (void) signal(SIGCHLD, SIG_IGN);
    listener = listen_at(argv[1], full ? 0 : 4096);
    if (listener < 0) {
        fprintf(stderr, "answer-daemon: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    printf("ready\n");
    (void) fflush(stdout);
    while (full)
        (void) pause();
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0 && fork() == 0) {
            (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(fd, argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 0);
            return 0;
        }
        (void) close(fd);
    }
}
