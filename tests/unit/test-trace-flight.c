/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors in flight in the sockets of children; and that looking at them changes nothing. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "suite.h"
#include "trace-fixture.h"

static const int socket_types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

static void send_with(int to, const char *text, int file) {
    struct iovec iov = {(void *) (uintptr_t) text, strlen(text)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (file >= 0) {
        struct cmsghdr *header;

        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &file, sizeof(int));
    }
    must(sendmsg(to, &message, 0) == (ssize_t) iov.iov_len);
}

/* Returns the descriptor that came with it, or -1. */
static int receive_with(int from, char *text, size_t size) {
    struct iovec iov = {text, size - 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header;
    int file = -1;

    ck_assert_msg(n >= 0, "nothing to receive: %s", strerror(errno));
    text[n] = '\0';
    header = CMSG_FIRSTHDR(&message);
    if (header)
        memcpy(&file, CMSG_DATA(header), sizeof file);
    return file;
}

static bool is_locked(const struct world *world) {
    int fd = open(world->path, O_RDWR | O_CLOEXEC);
    bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0;

    (void) close(fd);
    return locked;
}

static unsigned count_descriptors(void) {
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* The child has the receiving end. Whatever was seen, all is there afterwards, in its order. */
START_TEST(test_in_flight) {
    struct world *world = world_new();
    unsigned descriptors;
    char text[64];
    int ready, fd;

    ck_assert_int_eq(socketpair(AF_UNIX, socket_types[_i] | SOCK_CLOEXEC, 0, world->pair), 0);
    if (in_child(world, &ready)) {
        fd = open_again(world);
        (void) close(world->file);
        must(flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", fd);
        send_with(world->pair[0], "two", -1);
        must(close(fd) == 0);
        stay(ready);
    }
    aim(world);
    descriptors = count_descriptors();
    for (unsigned i = 0; i < 3; i++) {
        world->found = 0;
        ck_assert_int_eq(trace(world), 0);
        ck_assert_uint_eq(world->found, 1);
        ck_assert_int_eq(world->via, VIA_IN_FLIGHT);
        ck_assert_int_eq(world->fd, world->pair[1]);
        ck_assert(world->families[LOCK_FAMILY_FLOCK] && !world->families[LOCK_FAMILY_OFD]);
    }
    ck_assert_uint_eq(count_descriptors(), descriptors);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG | __WALL), 0); /* there is the world's child alone */
    ck_assert(is_locked(world));
    fd = receive_with(world->pair[1], text, 4);
    ck_assert_str_eq(text, "one");
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0); /* it is that very description */
    (void) close(fd);
    ck_assert(!is_locked(world));
    ck_assert_int_eq(receive_with(world->pair[1], text, sizeof text), -1);
    ck_assert_str_eq(text, "two");
    world_free(world);
}
END_TEST

/* Descriptors that the first message does not carry. In a stream those of the first message that has some
 * can be seen; else what is in flight is unseen, and the trace says so. */
START_TEST(test_deeper) {
    struct world *world = world_new();
    bool stream = socket_types[_i / 2] == SOCK_STREAM, behind_another = _i % 2;
    char text[64];
    int ready, fd;

    ck_assert_int_eq(socketpair(AF_UNIX, socket_types[_i / 2] | SOCK_CLOEXEC, 0, world->pair), 0);
    if (in_child(world, &ready)) {
        fd = open_again(world);
        (void) close(world->file);
        must(flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", behind_another ? ready : -1);
        send_with(world->pair[0], "two", fd);
        must(close(fd) == 0);
        stay(ready);
    }
    aim(world);
    ck_assert_int_eq(trace(world), stream && !behind_another ? 0 : TRACE_UNSEEN);
    ck_assert_uint_eq(world->found, stream && !behind_another);
    fd = receive_with(world->pair[1], text, 4);
    ck_assert_str_eq(text, "one");
    ck_assert_int_eq(fd >= 0, behind_another);
    fd = receive_with(world->pair[1], text, 4);
    ck_assert_str_eq(text, "two");
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    world_free(world);
}
END_TEST

/* 0: OFD; 1: the file is in flight, but nobody has locked that description; 2: another file is; 3: a socket
 * with the file in flight is in flight itself; 4: the file's inode number on another device; 5: the listener
 * that is looked for is in flight */
START_TEST(test_what_is_in_flight) {
    static const bool expected[] = {true, false, false, true, false, true};
    struct world *world = world_new();
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ready, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world->pair), 0);
    ck_assert_int_eq(fstat(listener, &st), 0);
    if (in_child(world, &ready)) {
        int fd = _i == 2 ? open(world->dir, O_RDONLY | O_CLOEXEC) : open_again(world);

        (void) close(world->file);
        must(_i == 0 ? fcntl(fd, F_OFD_SETLK, &range) == 0 : _i == 1 || flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", _i == 5 ? listener : fd);
        must(close(fd) == 0 && close(listener) == 0);
        if (_i == 3) {
            int outer[2];

            must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, outer) == 0);
            send_with(outer[0], "two", world->pair[1]);
            must(close(world->pair[1]) == 0);
        }
        stay(ready);
    }
    ck_assert_int_eq(close(listener), 0);
    aim(world);
    if (_i == 4)
        world->target.device++;
    if (_i == 5) {
        world->target.kind = HOLDER_TARGET_SOCKET;
        world->target.inode = st.st_ino;
    }
    ck_assert_int_eq(trace(world), 0);
    ck_assert_uint_eq(world->found, expected[_i]);
    if (_i == 0)
        ck_assert(world->families[LOCK_FAMILY_OFD] && !world->families[LOCK_FAMILY_FLOCK]);
    world_free(world);
}
END_TEST

/* A receiver that peeks by an offset: our look would move it. */
START_TEST(test_peek_offset) {
    struct world *world = world_new();
    int ready, offset = 0;
    socklen_t size = sizeof offset;
    char text[64];

    ck_assert_int_eq(socketpair(AF_UNIX, socket_types[_i] | SOCK_CLOEXEC, 0, world->pair), 0);
    ck_assert_int_eq(setsockopt(world->pair[1], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset), 0);
    if (in_child(world, &ready)) {
        int fd = open_again(world);

        must(flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", fd);
        must(close(fd) == 0);
        stay(ready);
    }
    aim(world);
    ck_assert_int_eq(trace(world), TRACE_UNSEEN);
    ck_assert_uint_eq(world->found, 0);
    ck_assert_int_eq(getsockopt(world->pair[1], SOL_SOCKET, SO_PEEK_OFF, &offset, &size), 0);
    ck_assert_int_eq(offset, 0);
    ck_assert_int_ge(receive_with(world->pair[1], text, sizeof text), 0);
    world_free(world);
}
END_TEST

/* The sender has hung up with something unread: the receiver's next call tells it ECONNRESET, once. */
START_TEST(test_pending_error) {
    struct world *world = world_new();
    struct pollfd state;
    int ready, error = 0;
    socklen_t size = sizeof error;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, world->pair), 0);
    if (in_child(world, &ready)) {
        int fd = open_again(world);

        must(flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", fd);
        send_with(world->pair[1], "unread", -1);
        must(close(fd) == 0 && close(world->pair[0]) == 0);
        stay(ready);
    }
    ck_assert_int_eq(close(world->pair[0]), 0);
    state = (struct pollfd){.fd = world->pair[1]};
    ck_assert_int_eq(poll(&state, 1, 0), 1);
    ck_assert(state.revents & POLLERR);
    aim(world);
    ck_assert_int_eq(trace(world), TRACE_UNSEEN);
    ck_assert_uint_eq(world->found, 0);
    ck_assert_int_eq(getsockopt(world->pair[1], SOL_SOCKET, SO_ERROR, &error, &size), 0);
    ck_assert_int_eq(error, ECONNRESET);
    world_free(world);
}
END_TEST

/* In a connection that was not accepted. */
START_TEST(test_listener) {
    struct world *world = world_new();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ready;

    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", world->dir);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 5), 0);
    if (in_child(world, &ready)) {
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = open_again(world);

        must(connect(client, (const struct sockaddr *) &address, sizeof address) == 0);
        send_with(client, "one", fd);
        must(close(fd) == 0);
        stay(ready);
    }
    aim(world);
    ck_assert_int_eq(trace(world), TRACE_UNSEEN);
    ck_assert_uint_eq(world->found, 0);
    world_free(world);
}
END_TEST

/* fcntl(2): any close of the file ends our own POSIX lock on it. A look at somebody's socket must not. */
START_TEST(test_own_lock_stays) {
    struct world *world = world_new();
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ready, status;
    pid_t other;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world->pair), 0);
    if (in_child(world, &ready)) {
        int fd = open_again(world);

        must(flock(fd, LOCK_EX) == 0);
        send_with(world->pair[0], "one", fd);
        must(close(fd) == 0);
        stay(ready);
    }
    aim(world);
    ck_assert_int_eq(fcntl(world->file, F_SETLK, &range), 0);
    ck_assert_int_eq(trace(world), 0);
    ck_assert_uint_eq(world->found, 1);
    ck_assert(!world->families[LOCK_FAMILY_POSIX]);
    other = fork();
    if (other == 0) {
        must(fcntl(world->file, F_GETLK, &range) == 0 && range.l_type == F_WRLCK && range.l_pid == getppid());
        _exit(EXIT_SUCCESS);
    }
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_msg(status == 0, "our own lock is gone");
    world_free(world);
}
END_TEST

static void *flight_in_thread(void *data) {
    struct world *world = data;
    int fd;

    must(unshare(CLONE_FILES) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world->pair) == 0);
    fd = open_again(world);
    must(flock(fd, LOCK_EX) == 0);
    send_with(world->pair[0], "one", fd);
    must(close(fd) == 0);
    stay(world->fd);
}

/* A thread's own table. Older kernels give no handle on a thread (pidfd_open(2), PIDFD_THREAD). */
START_TEST(test_thread_table) {
    struct world *world = world_new();
    int ready, r;

    if (in_child(world, &ready)) {
        pthread_t thread;

        world->fd = ready;
        must(pthread_create(&thread, NULL, flight_in_thread, world) == 0);
        for (;;)
            (void) pause();
    }
    aim(world);
    r = trace(world);
    ck_assert(r == 0 || r == TRACE_UNSEEN);
    ck_assert_uint_eq(world->found, r == 0);
    world_free(world);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace-flight");
    TCase *tcase = tcase_create("trace");

    tcase_set_timeout(tcase, 20);
    tcase_add_loop_test(tcase, test_in_flight, 0, 3);
    tcase_add_loop_test(tcase, test_deeper, 0, 6);
    tcase_add_loop_test(tcase, test_what_is_in_flight, 0, 6);
    tcase_add_loop_test(tcase, test_peek_offset, 0, 3);
    tcase_add_test(tcase, test_pending_error);
    tcase_add_test(tcase, test_listener);
    tcase_add_test(tcase, test_own_lock_stays);
    tcase_add_test(tcase, test_thread_table);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
