/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* unix-call PATH SECONDS TEXT: sends a text to a listening unix socket, closes its sending side and prints
 * what comes back until the end. Exit status: 0; 1 nobody listens or it broke; 2 the time is up. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void on_alarm(int signal) {
    (void) signal;
    _exit(2);
}

int main(int argc, char *argv[]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char buffer[65536];
    size_t sent = 0, length;
    ssize_t n;
    int fd;

    if (argc != 4 || strlen(argv[1]) >= sizeof(address.sun_path)) {
        fprintf(stderr, "usage: unix-call PATH SECONDS TEXT\n");
        return 64;
    }
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGALRM, on_alarm);
    (void) alarm((unsigned) atoi(argv[2]));
    strcpy(address.sun_path, argv[1]);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0) {
        fprintf(stderr, "unix-call: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    for (length = strlen(argv[3]); sent < length; sent += (size_t) n) {
        n = write(fd, argv[3] + sent, length - sent);
        if (n < 0)
            return 1;
    }
    (void) shutdown(fd, SHUT_WR);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        if (fwrite(buffer, 1, (size_t) n, stdout) != (size_t) n)
            return 1;
    (void) putchar('\n');
    return n < 0 || fflush(stdout) != 0 ? 1 : 0;
}
