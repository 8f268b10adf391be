/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "socket/peer.h"

#include "lingering.h"
#include "suite.h"

static const struct {
    int type;
    bool connects; /* has listeners and connections */
} types[] = {{SOCK_STREAM, true}, {SOCK_SEQPACKET, true}, {SOCK_DGRAM, false}};

static char dir[] = "/tmp/test-peer.XXXXXX";
static int proc_fd;

static void enter_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    proc_fd = procfs_open();
    ck_assert_int_ge(proc_fd, 0);
}

static void remove_dir(void) {
    char command[64];

    close(proc_fd);
    snprintf(command, sizeof command, "rm -rf %s", dir); /* a test that failed leaves its sockets */
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(system(command), 0);
}

static socklen_t fill(struct sockaddr_un *address, const char *name) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(address->sun_path, name);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int bind_socket(const char *name, int type, int backlog) {
    struct sockaddr_un address;
    socklen_t size = fill(&address, name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, size), 0);
    if (backlog >= 0)
        ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static int connect_to(const char *name, int type) {
    struct sockaddr_un address;
    socklen_t size = fill(&address, name);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect(fd, (const struct sockaddr *) &address, size), 0);
    return fd;
}

static struct peer_facts look(const char *name) {
    struct peer_facts facts;

    ck_assert_int_eq(name[0] == '@' ? peer_look_abstract(proc_fd, name + 1, &facts)
                                    : peer_look(proc_fd, AT_FDCWD, name, &facts),
                     0);
    return facts;
}

static void check_answer(const char *name, enum peer_answer answer, const char *when) {
    struct peer_facts facts = look(name);

    ck_assert_msg(facts.answer == answer, "%s, %s: %s", name, when, peer_answer_to_string(facts.answer));
}

/* A file's whole life, for each type of socket. */
START_TEST(test_file) {
    int type = types[_i].type, fd, client, accepted;

    if (types[_i].connects) {
        fd = bind_socket("s", type, -1);
        check_answer("s", PEER_BOUND, "bound only");
        ck_assert_int_eq(listen(fd, 2), 0);
    } else
        fd = bind_socket("s", type, -1);
    check_answer("s", PEER_CONNECTED, "listening");
    client = connect_to("s", type);
    check_answer("s", PEER_CONNECTED, "with a client");
    if (types[_i].connects) {
        accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        /* What our own looks left in the queue is closed at their end already. */
        ck_assert_int_ge(accepted, 0);
        close(fd);
        check_answer("s", PEER_REFUSED, "nothing but an accepted connection");
        close(accepted);
    } else
        close(fd);
    close(client);
    check_answer("s", PEER_REFUSED, "dead");
    ck_assert_int_eq(unlink("s"), 0);
}
END_TEST

/* A client may have a name of its own: nobody listens there, and yet it is no leftover. */
START_TEST(test_bound_client) {
    _cleanup_close_ int server = bind_socket("s", SOCK_STREAM, 2), client = bind_socket("c", SOCK_STREAM, -1);
    struct sockaddr_un address;
    socklen_t size = fill(&address, "s");

    ck_assert_int_eq(connect(client, (const struct sockaddr *) &address, size), 0);
    ck_assert_int_ge(server, 0);
    check_answer("c", PEER_BOUND, "connected elsewhere");
    ck_assert_int_eq(unlink("s") + unlink("c"), 0);
}
END_TEST

START_TEST(test_abstract) {
    char name[64];
    int fd;

    snprintf(name, sizeof name, "@test-peer-%d", (int) getpid());
    check_answer(name, PEER_REFUSED, "nothing");
    fd = bind_socket(name, types[_i].type, types[_i].connects ? 2 : -1);
    check_answer(name, PEER_CONNECTED, "listening");
    close(fd);
    check_answer(name, PEER_REFUSED, "dead");
    if (types[_i].connects) { /* only the kernel's table shows it */
        fd = bind_socket(name, types[_i].type, -1);
        check_answer(name, PEER_REFUSED, "bound only");
        close(fd);
    }
}
END_TEST

START_TEST(test_queue) {
    static const char *const names[] = {"s", "@test-peer-queue"};
    int clients[3];

    for (size_t n = 0; n < ELEMENTSOF(names); n++) {
        _cleanup_close_ int fd = bind_socket(names[n], types[_i].type, 2);

        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            clients[i] = connect_to(names[n], types[_i].type);
        ck_assert_int_ge(fd, 0);
        check_answer(names[n], PEER_QUEUE_FULL, "full");
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
            close(clients[i]);
    }
    ck_assert_int_eq(unlink("s"), 0);
}
END_TEST

/* Who called listen(2) is named, alive, dead and unreaped, and dead. */
START_TEST(test_maker) {
    struct peer_facts facts;
    pid_t child;
    int fd;

    fd = bind_socket("s", SOCK_STREAM, -1);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(listen(fd, 2) == 0 && raise(SIGSTOP) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    ck_assert_int_eq(waitid(P_PID, (id_t) child, NULL, WSTOPPED | WNOWAIT), 0);
    facts = look("s");
    ck_assert_int_eq(facts.pid, child);
    ck_assert_uint_eq(facts.uid, getuid());
    ck_assert_int_eq(facts.life, PROCESS_STOPPED);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitid(P_PID, (id_t) child, NULL, WEXITED | WNOWAIT), 0);
    facts = look("s");
    ck_assert_int_eq(facts.answer, PEER_CONNECTED); /* we have it still */
    ck_assert_int_eq(facts.pid, child);
    ck_assert_int_eq(facts.life, PROCESS_ZOMBIE);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    facts = look("s");
    ck_assert_int_eq(facts.life, PROCESS_GONE);
    ck_assert_int_eq(facts.pid, child);
    close(fd);
    ck_assert_int_eq(unlink("s"), 0);

    fd = bind_socket("d", SOCK_DGRAM, -1);
    facts = look("d");
    ck_assert_int_eq(facts.answer, PEER_CONNECTED);
    ck_assert_int_eq(facts.pid, 0); /* there is no record of who made it */
    ck_assert_int_eq(facts.life, PROCESS_UNKNOWN);
    close(fd);
    ck_assert_int_eq(unlink("d"), 0);
}
END_TEST

/* A look leaves one connection in the queue that is closed already, and nothing at all with datagrams. */
START_TEST(test_undisturbed) {
    _cleanup_close_ int fd = bind_socket("s", types[_i].type, types[_i].connects ? 5 : -1);
    char byte;

    ck_assert_int_eq(fd_set_nonblock(fd, true), 0);
    (void) look("s");
    if (types[_i].connects) {
        _cleanup_close_ int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        ck_assert_int_ge(accepted, 0);
        ck_assert_int_eq(recv(accepted, &byte, 1, MSG_DONTWAIT), 0);
        ck_assert_int_lt(accept4(fd, NULL, NULL, SOCK_CLOEXEC), 0);
    } else {
        ck_assert_int_lt(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
        ck_assert_int_eq(errno, EAGAIN);
    }
    ck_assert_int_eq(unlink("s"), 0);
}
END_TEST

/* What the other side sent into a connection that was only looked at does not keep us. */
START_TEST(test_close_with_what_hangs) {
    static const int connections[] = {SOCK_STREAM, SOCK_SEQPACKET};
    uint64_t before;
    int ends[2], fd, peer;

    ck_assert_int_eq(socketpair(AF_UNIX, connections[_i] | SOCK_CLOEXEC, 0, ends), 0);
    fd = make_lingering(&peer);
    ck_assert_int_eq(send_away(ends[0], (char *) "x", _i == 0 ? 1 : 0, &fd, 1), 0);
    before = now_usec(CLOCK_MONOTONIC);
    ck_assert_int_eq(peer_close(ends[1]), -EBADF);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 2 * USEC_PER_SEC);
    ck_assert_int_eq(peer_close(-EBADF), -EBADF);
    close(peer); /* ends the wait */
    close(ends[0]);
}
END_TEST

START_TEST(test_no_socket) {
    struct peer_facts facts = look("nothing");
    char name[256];

    ck_assert_int_eq(facts.answer, PEER_UNCLEAR);
    ck_assert_int_eq(facts.error, ENOENT);
    close(open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    facts = look("file");
    ck_assert_int_eq(facts.answer, PEER_UNCLEAR);
    ck_assert_int_eq(facts.error, ENOTSOCK);
    ck_assert_int_eq(symlink("file", "link"), 0);
    ck_assert_int_eq(look("link").error, ENOTSOCK); /* it is not followed */
    ck_assert_int_eq(unlink("file") + unlink("link"), 0);
    memset(name, 'x', sizeof name - 1);
    name[0] = '@';
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(look(name).error, ENAMETOOLONG);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("peer");
    TCase *tcase = tcase_create("peer");

    tcase_set_timeout(tcase, 20);
    tcase_add_unchecked_fixture(tcase, enter_dir, remove_dir);
    tcase_add_loop_test(tcase, test_file, 0, ELEMENTSOF(types));
    tcase_add_test(tcase, test_bound_client);
    tcase_add_loop_test(tcase, test_abstract, 0, ELEMENTSOF(types));
    tcase_add_loop_test(tcase, test_queue, 0, 2);
    tcase_add_test(tcase, test_maker);
    tcase_add_loop_test(tcase, test_undisturbed, 0, ELEMENTSOF(types));
    tcase_add_test(tcase, test_no_socket);
    tcase_add_loop_test(tcase, test_close_with_what_hangs, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
