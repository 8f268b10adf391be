/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* imap-clients PORT NUMBER FILE: so many logins at once at 127.0.0.1:PORT, as users u1, u2, ..., who all stay
 * until we are ended. FILE always has how they fare: "connected 40 greeted 38 in 1 refused 20 closed 20". */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    bool connected, greeted, in, refused, closed;
    char line[2048];
    size_t size;
};

static struct client *clients;
static struct pollfd *fds;
static nfds_t n_clients;

static void tell(const char *path) {
    unsigned connected = 0, greeted = 0, in = 0, refused = 0, closed = 0;
    char temporary[4096];
    FILE *file;

    for (nfds_t i = 0; i < n_clients; i++) {
        connected += clients[i].connected;
        greeted += clients[i].greeted;
        in += clients[i].in;
        refused += clients[i].refused;
        closed += clients[i].closed;
    }
    snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "we");
    if (!file)
        exit(1);
    fprintf(file, "connected %u greeted %u in %u refused %u closed %u\n", connected, greeted, in, refused,
            closed);
    if (fclose(file) != 0 || rename(temporary, path) < 0)
        exit(1);
}

static void begin(nfds_t i, in_port_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    fds[i] = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
    if (fd < 0 || (connect(fd, (struct sockaddr *) &address, sizeof address) < 0 && errno != EINPROGRESS)) {
        clients[i].closed = true;
        fds[i].fd = -1;
    }
}

static void read_line(nfds_t i) {
    struct client *client = &clients[i];
    char command[64];
    int size;

    if (strncmp(client->line, "* OK", 4) == 0 && !client->greeted) {
        client->greeted = true;
        size = snprintf(command, sizeof command, "a LOGIN u%u x\r\n", (unsigned) i + 1);
        if (send(fds[i].fd, command, (size_t) size, MSG_NOSIGNAL) < 0)
            client->closed = true;
    } else if (strncmp(client->line, "a OK", 4) == 0)
        client->in = true;
    else if (strncmp(client->line, "a ", 2) == 0)
        client->refused = true;
}

static void hear(nfds_t i) {
    struct client *client = &clients[i];
    char buffer[4096];
    ssize_t n = recv(fds[i].fd, buffer, sizeof buffer, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        client->closed = true;
        (void) close(fds[i].fd);
        fds[i].fd = -1;
        return;
    }
    for (ssize_t k = 0; k < n; k++) {
        if (client->size < sizeof client->line - 1)
            client->line[client->size++] = buffer[k];
        if (buffer[k] != '\n')
            continue;
        client->line[client->size] = '\0';
        read_line(i);
        client->size = 0;
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: imap-clients PORT NUMBER FILE\n");
        return 64;
    }
    n_clients = (nfds_t) atoi(argv[2]);
    clients = calloc(n_clients, sizeof *clients);
    fds = calloc(n_clients, sizeof *fds);
    if (!clients || !fds)
        return 1;
    for (nfds_t i = 0; i < n_clients; i++)
        begin(i, (in_port_t) atoi(argv[1]));
    for (;;) {
        tell(argv[3]);
        if (poll(fds, n_clients, -1) < 0)
            return 1;
        for (nfds_t i = 0; i < n_clients; i++) {
            if (fds[i].revents & POLLOUT) {
                clients[i].connected = !(fds[i].revents & (POLLERR | POLLHUP));
                fds[i].events = POLLIN;
            }
            if (fds[i].fd >= 0 && fds[i].revents & (POLLIN | POLLERR | POLLHUP))
                hear(i);
        }
    }
}
