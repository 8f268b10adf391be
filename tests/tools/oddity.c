/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes situations that a shell cannot:
 *
 * oddity thread            starts a thread, prints its id, and sleeps
 * oddity take PID FD COMMAND [ARG...]
 *                          gets descriptor FD of process PID over a unix socket, as SCM_RIGHTS delivers it,
 * and becomes COMMAND with it oddity in-flight PID FD  the same, but leaves the descriptor in the socket, in
 * a message that nobody receives, keeps none of its own, and sleeps
 *
 * It gets the descriptor itself by pidfd_getfd(2), in place of a daemon that would hand it out. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int broken(const char *what) {
    fprintf(stderr, "oddity: %s: %s\n", what, strerror(errno));
    return 1;
}

static _Noreturn void sleep_for_good(void) {
    (void) fflush(stdout);
    for (;;)
        (void) pause();
}

static void *run_thread(void *unused) {
    (void) unused;
    printf("%ld\n", syscall(SYS_gettid));
    sleep_for_good();
}

/* Sends fd to the other end of a socket pair; *ret_socket is that end. */
static int send_over(int fd, int *ret_socket) {
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int pair[2];

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || sendmsg(pair[0], &message, 0) < 0)
        return -1;
    *ret_socket = pair[1];
    return 0;
}

static int receive(int socket) {
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header;
    int fd;

    if (recvmsg(socket, &message, 0) < 0 || !(header = CMSG_FIRSTHDR(&message)))
        return -1;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

int main(int argc, char *argv[]) {
    pthread_t thread;
    int pidfd, fd, socket;

    if (argc == 2 && strcmp(argv[1], "thread") == 0) {
        if ((errno = pthread_create(&thread, NULL, run_thread, NULL)) != 0)
            return broken("pthread_create");
        sleep_for_good();
    }
    if (argc < 4 ||
        (strcmp(argv[1], "take") == 0 ? argc < 5 : strcmp(argv[1], "in-flight") != 0 || argc != 4)) {
        fprintf(stderr, "usage: oddity thread | take PID FD COMMAND [ARG...] | in-flight PID FD\n");
        return 64;
    }
    pidfd = (int) syscall(SYS_pidfd_open, atoi(argv[2]), 0);
    fd = pidfd < 0 ? -1 : (int) syscall(SYS_pidfd_getfd, pidfd, atoi(argv[3]), 0);
    if (fd < 0 || send_over(fd, &socket) < 0)
        return broken("cannot get the descriptor");
    (void) close(fd);
    (void) close(pidfd);
    if (strcmp(argv[1], "in-flight") == 0) {
        puts("in flight");
        sleep_for_good();
    }
    if (receive(socket) < 0)
        return broken("cannot receive the descriptor");
    (void) close(socket);
    (void) execvp(argv[4], &argv[4]);
    return broken(argv[4]);
}
