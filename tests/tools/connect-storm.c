/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients that connect all the time, and somebody who tries to take a lock all the time, until SIGTERM:
 *
 *     connect-storm [--lock FILE] ADDRESS...        a path, @name or 127.0.0.1:PORT
 *
 * Each client connects, sends a line and reads an answer to its end. Then it prints what came of it, one
 * "WORD NUMBER" a line, and exits with 1 if any connection was refused, reset or not answered, or the lock
 * could be had. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_EACH 2
#define PAUSE_USEC 1000
#define THREADS_MAX 64

static atomic_bool over;
static atomic_uint answered, refused, reset, unanswered, failed, locked, lock_tries;

static socklen_t parse(const char *text, struct sockaddr_storage *ret) {
    struct sockaddr_un *local = (void *) ret;
    struct sockaddr_in *four = (void *) ret;
    const char *colon = strrchr(text, ':');
    char host[64];

    memset(ret, 0, sizeof *ret);
    if (*text == '/' || *text == '@') {
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%s", text);
        if (*text == '/')
            return sizeof *local;
        local->sun_path[0] = '\0';
        return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(text));
    }
    if (!colon || (size_t) (colon - text) >= sizeof host)
        return 0;
    snprintf(host, sizeof host, "%.*s", (int) (colon - text), text);
    four->sin_family = AF_INET;
    four->sin_port = htons((uint16_t) atoi(colon + 1));
    return inet_pton(AF_INET, host, &four->sin_addr) == 1 ? sizeof *four : 0;
}

static void once(const struct sockaddr_storage *address, socklen_t size) {
    struct timeval patience = {.tv_sec = 60};
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[64];
    ssize_t n, total = 0;

    if (fd < 0) {
        failed++;
        return;
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *) address, size) < 0) {
        (errno == ECONNREFUSED || errno == ENOENT ? &refused : &failed)[0]++;
        fprintf(stderr, "connect: %s\n", strerror(errno));
    } else if (send(fd, "hello\n", 6, MSG_NOSIGNAL) != 6) {
        reset++;
        fprintf(stderr, "send: %s\n", strerror(errno));
    } else {
        while ((n = recv(fd, answer, sizeof answer, 0)) > 0)
            total += n;
        if (n == 0 && total > 0)
            answered++;
        else if (n < 0 && errno == ECONNRESET)
            reset++;
        else
            unanswered++;
        if (n < 0)
            fprintf(stderr, "recv: %s\n", strerror(errno));
    }
    close(fd);
}

static void *connect_all_the_time(void *userdata) {
    struct sockaddr_storage address;
    socklen_t size = parse(userdata, &address);

    while (!over) {
        once(&address, size);
        usleep(PAUSE_USEC);
    }
    return NULL;
}

static void *lock_all_the_time(void *userdata) {
    while (!over) {
        int fd = open(userdata, O_RDONLY | O_CLOEXEC);

        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            locked++;
        lock_tries++;
        if (fd >= 0)
            close(fd);
        usleep(PAUSE_USEC);
    }
    return NULL;
}

int main(int argc, char *argv[]) {
    pthread_t threads[THREADS_MAX];
    struct sockaddr_storage address;
    size_t n = 0;
    sigset_t set;
    int signal, first = 1;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (argc > 2 && strcmp(argv[1], "--lock") == 0) {
        if (pthread_create(&threads[n++], NULL, lock_all_the_time, argv[2]) != 0)
            return 2;
        first = 3;
    }
    for (int i = first; i < argc; i++)
        for (int j = 0; j < CLIENTS_EACH && n < THREADS_MAX; j++)
            if (parse(argv[i], &address) == 0 ||
                pthread_create(&threads[n++], NULL, connect_all_the_time, argv[i]) != 0)
                return 2;
    sigwait(&set, &signal);
    over = true;
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("answered %u\nrefused %u\nreset %u\nunanswered %u\nfailed %u\nlock-tries %u\nlocked %u\n",
           answered, refused, reset, unanswered, failed, lock_tries, locked);
    return refused || reset || unanswered || failed || locked ? 1 : 0;
}
