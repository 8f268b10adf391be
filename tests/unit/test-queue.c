/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "socket/queue.h"

#include "own-dir.h"
#include "suite.h"

/* -- of the network: a table as the kernel would have it -- */

static const struct {
    int family;
    const char *address;
    uint16_t port;
    bool six_only, listening;
    uint32_t inode, depth, backlog;
} rows[] = {
    {AF_INET, "127.0.0.1", 80, false, true, 1, 3, 2}, /* full */
    {AF_INET, "0.0.0.0", 80, false, true, 2, 2, 2},   /* one more may come */
    {AF_INET6, "::", 81, false, true, 3, 0, 5},       /* takes IPv4 as well */
    {AF_INET6, "::", 82, true, true, 4, 1, 5},        /* does not */
    {AF_INET6, "::1", 83, true, true, 5, 1, 5},
    {AF_INET, "0.0.0.0", 84, false, true, 6, 1, 9}, /* SO_REUSEPORT */
    {AF_INET, "0.0.0.0", 84, false, true, 7, 8, 9},
    {AF_INET, "0.0.0.0", 84, false, true, 8, 2, 9},
    {AF_INET, "10.0.0.1", 85, false, true, 9, 0, 9},
    {AF_INET, "10.0.0.2", 86, false, false, 10, 70, 90}, /* a connection: these are bytes */
    {AF_INET6, "::ffff:127.0.0.1", 87, false, true, 11, 0, 9},
    {AF_INET, "0.0.0.0", 88, false, true, 12, 0, UINT32_MAX},
    {AF_INET6, "::", 80, true, true, 13, 0, 9},
};

static const struct {
    const char *listen;
    enum queue_sight sight;
    uint32_t inode, depth, limit;
    bool full;
} cases[] = {
    {"127.0.0.1:80", QUEUE_SEEN, 1, 3, 3, true},
    {"localhost:80", QUEUE_SEEN, 1, 3, 3, true},
    {"127.0.0.2:80", QUEUE_SEEN, 2, 2, 3, false}, /* by the one of any address */
    {"0.0.0.0:80", QUEUE_SEEN, 2, 2, 3, false},
    {"*:80", QUEUE_SEEN, 2, 2, 3, false},
    {"[::]:80", QUEUE_SEEN, 13, 0, 10, false},
    {"[::1]:80", QUEUE_SEEN, 13, 0, 10, false},
    {"127.0.0.1:81", QUEUE_SEEN, 3, 0, 6, false},
    {"0.0.0.0:81", QUEUE_SEEN, 3, 0, 6, false},
    {"[::]:81", QUEUE_SEEN, 3, 0, 6, false},
    {"[2001:db8::1]:81", QUEUE_SEEN, 3, 0, 6, false},
    {"127.0.0.1:82", QUEUE_ABSENT, 0, 0, 0, false},
    {"*:82", QUEUE_SEEN, 4, 1, 6, false},
    {"[::1]:83", QUEUE_SEEN, 5, 1, 6, false},
    {"localhost:83", QUEUE_SEEN, 5, 1, 6, false},
    {"[::2]:83", QUEUE_ABSENT, 0, 0, 0, false},
    {"*:83", QUEUE_ABSENT, 0, 0, 0, false},
    {"*:84", QUEUE_SEEN, 7, 8, 10, false},
    {"10.0.0.1:85", QUEUE_SEEN, 9, 0, 10, false},
    {"10.0.0.2:85", QUEUE_ABSENT, 0, 0, 0, false},
    {"10.0.0.2:86", QUEUE_ABSENT, 0, 0, 0, false},
    {"127.0.0.1:87", QUEUE_SEEN, 11, 0, 10, false},
    {"*:88", QUEUE_SEEN, 12, 0, UINT32_MAX, false},
    {"*:89", QUEUE_ABSENT, 0, 0, 0, false},
    {"host.example:80", QUEUE_UNSEEN, 0, 0, 0, false}, /* no name server is asked */
    {"[fe80::1%lo]:80", QUEUE_UNSEEN, 0, 0, 0, false},
    {":80", QUEUE_UNSEEN, 0, 0, 0, false},
    {"*:0", QUEUE_UNSEEN, 0, 0, 0, false},
    {"@name", QUEUE_UNSEEN, 0, 0, 0, false}, /* that table was not read */
    {"/path", QUEUE_UNSEEN, 0, 0, 0, false},
};

START_TEST(test_inet) {
    struct inet_socket sockets[ELEMENTSOF(rows)];
    struct queue_tables tables = {.has_inet = true, .of_inet = {.sockets = sockets, .n = ELEMENTSOF(rows)}};
    struct queue_facts facts;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        sockets[i] = (struct inet_socket){.family = rows[i].family,
                                          .listening = rows[i].listening,
                                          .state = rows[i].listening ? TCP_LISTEN : TCP_ESTABLISHED,
                                          .six_only = rows[i].six_only,
                                          .local.port = rows[i].port,
                                          .inode = rows[i].inode,
                                          .queue = rows[i].depth,
                                          .backlog = rows[i].backlog};
        ck_assert_int_eq(inet_pton(rows[i].family, rows[i].address, &sockets[i].local.address), 1);
    }
    ck_assert_int_eq(inet_table_index(&tables.of_inet), 0);
    queue_look(&tables, -EBADF, cases[_i].listen, &facts);
    ck_assert_int_eq(facts.sight, cases[_i].sight);
    ck_assert_uint_eq(facts.inode, cases[_i].inode);
    ck_assert_uint_eq(facts.depth, cases[_i].depth);
    ck_assert_uint_eq(facts.limit, cases[_i].limit);
    ck_assert_int_eq(facts.full, cases[_i].full);
    tables.of_inet.sockets = NULL;
    queue_tables_done(&tables);
}
END_TEST

/* -- unix sockets: the kernel's own table -- */

static char own_dir[64]; /* of this test */

static void enter_own_dir(void) {
    enter_dir();
    ck_assert_ptr_nonnull(getcwd(own_dir, sizeof own_dir));
}

static int listen_at(const char *name, size_t length, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, name, length);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address,
                          (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

/* 0 or -errno. The connection stays for as long as the test runs. */
static int call(const char *name, size_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, name, length);
    return connect(fd, (const struct sockaddr *) &address,
                   (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)) < 0
               ? -errno
               : 0;
}

static struct queue_facts look(const char *listen) {
    _cleanup_close_ int proc_fd = procfs_open();
    _cleanup_queue_tables_ struct queue_tables tables;
    struct queue_facts facts;

    ck_assert_int_eq(queue_tables_read(!queue_is_inet(listen), queue_is_inet(listen), &tables), 0);
    queue_look(&tables, proc_fd, listen, &facts);
    return facts;
}

static uint32_t inode_of(int fd) {
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint32_t) st.st_ino;
}

static void expect(const char *listen, uint32_t inode, uint32_t depth, uint32_t limit) {
    struct queue_facts facts = look(listen);

    ck_assert_int_eq(facts.sight, QUEUE_SEEN);
    ck_assert_uint_eq(facts.inode, inode);
    ck_assert_uint_eq(facts.depth, depth);
    ck_assert_uint_eq(facts.limit, limit);
    ck_assert_int_eq(facts.full, depth == limit);
}

/* The limit is what the kernel lets in: one more than the backlog. */
START_TEST(test_unix_path) {
    char path[96], through[128];
    int n = snprintf(path, sizeof path, "%s/real/s", own_dir), fd, other;

    snprintf(through, sizeof through, "%s/real", own_dir);
    ck_assert_int_eq(mkdir(through, 0700), 0);
    ck_assert_int_eq(look(path).sight, QUEUE_ABSENT);
    fd = listen_at(path, (size_t) n, 2);
    expect(path, inode_of(fd), 0, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(call(path, (size_t) n), 0);
    ck_assert_int_eq(call(path, (size_t) n), -EAGAIN);
    expect(path, inode_of(fd), 3, 3);

    /* By a directory that is a link, and by a link to the socket itself. */
    snprintf(through, sizeof through, "%s/link", own_dir);
    ck_assert_int_eq(symlink("real", through), 0);
    snprintf(through, sizeof through, "%s/link/s", own_dir);
    expect(through, inode_of(fd), 3, 3);
    snprintf(through, sizeof through, "%s/direct", own_dir);
    ck_assert_int_eq(symlink("real/s", through), 0);
    expect(through, inode_of(fd), 3, 3);

    /* Another file has taken its place: who listens on the old one is not who is reached. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(look(path).sight, QUEUE_ABSENT);
    other = listen_at(path, (size_t) n, 7);
    expect(path, inode_of(other), 0, 8);
    ck_assert_int_eq(call(path, (size_t) n), 0);
    expect(path, inode_of(other), 1, 8);

    /* Renamed: the name that the socket was bound to no longer leads to it. */
    snprintf(through, sizeof through, "%s/real/t", own_dir);
    ck_assert_int_eq(rename(path, through), 0);
    expect(through, inode_of(other), 1, 8);
    ck_assert_int_eq(look(path).sight, QUEUE_ABSENT);

    /* A file that is no socket, and a listener that is gone, whose connections still have its file. */
    ck_assert_int_eq(look(own_dir).sight, QUEUE_ABSENT);
    fd_close(other);
    ck_assert_int_eq(look(through).sight, QUEUE_ABSENT);
}
END_TEST

START_TEST(test_abstract) {
    char name[64];
    int n = snprintf(name, sizeof name, "%cqueue-%d", '\0', (int) getpid());
    _cleanup_close_ int fd = listen_at(name, (size_t) n, 0);

    ck_assert_int_eq(call(name, (size_t) n), 0);
    ck_assert_int_eq(call(name, (size_t) n), -EAGAIN);
    name[0] = '@';
    expect(name, inode_of(fd), 1, 1);
    name[1] = 'Q';
    ck_assert_int_eq(look(name).sight, QUEUE_ABSENT);
}
END_TEST

/* The one of any address of the kernel, of IPv4: what does not fit is dropped, and stays out of the queue. */
START_TEST(test_inet_kernel) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address;
    char listen_text[32];

    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(listen(fd, 2), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &address, &size), 0);
    for (int i = 0; i < 5; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void) connect(client, (const struct sockaddr *) &address, size);
    }
    (void) usleep(50 * 1000);
    snprintf(listen_text, sizeof listen_text, "127.0.0.1:%u", ntohs(address.sin_port));
    expect(listen_text, inode_of(fd), 3, 3);
}
END_TEST

/* Where the kernel gives the file another device than stat(2): an overlay whose layers lie on several file
 * systems. */
START_TEST(test_overlay) {
    static const char script[] =
        "exec 2>/dev/null; mount --make-rprivate / && mkdir low up all &&"
        "mount -t tmpfs none low && mount -t tmpfs none up && mkdir up/up up/work &&"
        "mount -t overlay -o lowerdir=low,upperdir=up/up,workdir=up/work overlay all";
    char path[128];
    int n = snprintf(path, sizeof path, "%s/all/s", own_dir);
    _cleanup_close_ int fd = -EBADF;

    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || system(script) != 0)
        return; /* none may be made here */
    fd = listen_at(path, (size_t) n, 4);
    ck_assert_int_eq(call(path, (size_t) n), 0);
    expect(path, inode_of(fd), 1, 5);
}
END_TEST

START_TEST(test_somaxconn) {
    _cleanup_close_ int proc_fd = procfs_open();
    uint32_t most = 0;

    ck_assert_int_eq(queue_read_somaxconn(proc_fd, &most), 0);
    ck_assert_uint_gt(most, 0);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("queue");
    TCase *tcase = tcase_create("queue");

    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_own_dir, NULL);
    tcase_add_loop_test(tcase, test_inet, 0, ELEMENTSOF(cases));
    tcase_add_test(tcase, test_unix_path);
    tcase_add_test(tcase, test_abstract);
    tcase_add_test(tcase, test_inet_kernel);
    tcase_add_test(tcase, test_overlay);
    tcase_add_test(tcase, test_somaxconn);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return suite_run(suite());
}
