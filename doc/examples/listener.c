/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon that takes its listeners from whoever starts it (latchd with Owner=latchd, or a .socket unit of
 * systemd), and says when it is ready. Each client sends a line and gets the daemon's PID. Build it with
 *
 *     cc -o listener listener.c $(pkg-config --cflags --libs libsystemd)
 *
 * and see listener.conf beside it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll(2), accept4(2) */
#endif

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LISTENERS_MAX 16

static volatile sig_atomic_t stopping;

static void on_term(int signal) {
    (void) signal;
    stopping = 1;
}

/* A client that says nothing does not hold up the others for ever. */
static void serve(int client) {
    struct timeval patience = {.tv_sec = 5};
    char line[256], answer[32];
    size_t size = 0;
    ssize_t n;

    (void) setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void) setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    while (size < sizeof line && (n = recv(client, line + size, sizeof line - size, 0)) > 0) {
        size += (size_t) n;
        if (memchr(line, '\n', size))
            break;
    }
    snprintf(answer, sizeof answer, "%d\n", (int) getpid());
    (void) send(client, answer, strlen(answer), MSG_NOSIGNAL);
    close(client);
}

int main(void) {
    struct pollfd listeners[LISTENERS_MAX];
    struct sigaction action = {.sa_handler = on_term};
    int n = sd_listen_fds(1);
    sigset_t blocked, before;

    if (n <= 0 || n > LISTENERS_MAX) {
        fprintf(stderr,
                "listener: started with %d listeners, and needs 1 to %d (Owner=latchd in latchd.conf(5))\n",
                n < 0 ? 0 : n, LISTENERS_MAX);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < n; i++)
        listeners[i] = (struct pollfd){.fd = SD_LISTEN_FDS_START + i, .events = POLLIN};

    /* SIGTERM is let in only while nobody is being served: whoever was accepted gets an answer, and whoever
     * was not waits for the next daemon, in the queue that latchd keeps. */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigdelset(&before, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGHUP, SIG_IGN); /* "latchctl reload": there is nothing to read again */

    sd_notify(0, "READY=1");
    while (!stopping) {
        if (ppoll(listeners, (nfds_t) n, NULL, &before) < 0) {
            if (errno != EINTR)
                return EXIT_FAILURE;
            continue;
        }
        for (int i = 0; i < n && !stopping; i++)
            if (listeners[i].revents & POLLIN) {
                int client = accept4(listeners[i].fd, NULL, NULL, SOCK_CLOEXEC);

                if (client >= 0)
                    serve(client);
            }
    }
    sd_notify(0, "STOPPING=1");
    return EXIT_SUCCESS;
}
