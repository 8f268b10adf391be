/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "socket/unix-diag.h"

#include "suite.h"

/* A buffer of netlink messages as the kernel would fill it. */
struct dump {
    _Alignas(8) char bytes[4096];
    size_t size;
    struct nlmsghdr *last;
};

static void *append(struct dump *dump, size_t size) {
    void *here = dump->bytes + dump->size;

    ck_assert_uint_le(dump->size + NLMSG_ALIGN(size), sizeof dump->bytes);
    memset(here, 0, NLMSG_ALIGN(size));
    dump->size += NLMSG_ALIGN(size);
    if (dump->last)
        dump->last->nlmsg_len = (uint32_t) (dump->bytes + dump->size - (char *) dump->last);
    return here;
}

static void begin(struct dump *dump, unsigned type) {
    dump->last = NULL;
    dump->last = append(dump, sizeof *dump->last);
    *dump->last = (struct nlmsghdr){.nlmsg_len = sizeof *dump->last, .nlmsg_type = (uint16_t) type};
}

static void begin_socket(struct dump *dump, uint32_t inode, unsigned type, unsigned state) {
    begin(dump, SOCK_DIAG_BY_FAMILY);
    *(struct unix_diag_msg *) append(dump, sizeof(struct unix_diag_msg)) =
        (struct unix_diag_msg){.udiag_family = AF_UNIX,
                               .udiag_type = (uint8_t) type,
                               .udiag_state = (uint8_t) state,
                               .udiag_ino = inode};
}

static void attribute(struct dump *dump, unsigned type, const void *payload, size_t size) {
    struct nlattr *header = append(dump, sizeof *header + size);

    *header = (struct nlattr){.nla_len = (uint16_t) (sizeof *header + size), .nla_type = (uint16_t) type};
    memcpy(header + 1, payload, size);
}

static void file(struct dump *dump, uint32_t inode, unsigned major, unsigned minor) {
    struct unix_diag_vfs vfs = {.udiag_vfs_ino = inode, .udiag_vfs_dev = major << 20 | minor};

    attribute(dump, UNIX_DIAG_VFS, &vfs, sizeof vfs);
}

static void lengths(struct dump *dump, uint32_t r, uint32_t w) {
    struct unix_diag_rqlen rqlen = {.udiag_rqueue = r, .udiag_wqueue = w};

    attribute(dump, UNIX_DIAG_RQLEN, &rqlen, sizeof rqlen);
}

static void number(struct dump *dump, int value) {
    *(int *) append(dump, sizeof value) = value;
}

/* Listeners, what is bound only, connections, those without any name, in an order that misleads. */
START_TEST(test_parse) {
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct unix_socket *socket;
    struct dump dump = {0};
    size_t position = 0;

    begin_socket(&dump, 11, SOCK_STREAM, TCP_ESTABLISHED); /* accepted by 12 */
    attribute(&dump, UNIX_DIAG_NAME, "/run/a", 7);
    file(&dump, 812, 254, 3);
    lengths(&dump, 100, 200);
    begin_socket(&dump, 12, SOCK_STREAM, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "/run/a", 7);
    file(&dump, 812, 254, 3);
    lengths(&dump, 3, 5);
    begin_socket(&dump, 13, SOCK_STREAM, TCP_ESTABLISHED); /* a client without a name */
    begin_socket(&dump, 14, SOCK_DGRAM, TCP_ESTABLISHED);
    attribute(&dump, UNIX_DIAG_NAME, "/dev/a", 7);
    file(&dump, 812, 254, 4);
    lengths(&dump, 100, 200);
    begin_socket(&dump, 15, SOCK_SEQPACKET, TCP_CLOSE);
    attribute(&dump, UNIX_DIAG_NAME, "\0name", 5);
    begin_socket(&dump, 16, SOCK_SEQPACKET, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "\0name", 5);
    begin_socket(&dump, 17, SOCK_STREAM, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "\0na\0e", 5);
    begin_socket(&dump, 18, SOCK_STREAM, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "@name", 6); /* a path, relative */
    file(&dump, 813, 254, 3);
    begin_socket(&dump, 19, SOCK_STREAM, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "/run/\nb", 8);
    file(&dump, 814, 254, 3);
    begin_socket(&dump, 20, SOCK_STREAM, TCP_LISTEN);
    ck_assert_int_eq(unix_table_parse(dump.bytes, dump.size, &table), 1);

    dump.size = 0;
    begin(&dump, NLMSG_DONE);
    number(&dump, 0);
    ck_assert_int_eq(unix_table_parse(dump.bytes, dump.size, &table), 0);
    ck_assert_ptr_null(unix_table_find(&table, makedev(254, 3), 812)); /* nothing is sorted yet */
    ck_assert_int_eq(unix_table_index(&table), 0);
    ck_assert_uint_eq(table.n, 9);

    socket = unix_table_find(&table, makedev(254, 3), 812 + (UINT64_C(1) << 32));
    ck_assert_ptr_nonnull(socket);
    ck_assert_uint_eq(socket->inode, 12);
    ck_assert_int_eq(socket->type, SOCK_STREAM);
    ck_assert(socket->listening && !socket->connected);
    ck_assert_uint_eq(socket->queue, 3);
    ck_assert_uint_eq(socket->backlog, 5);
    ck_assert_ptr_null(unix_table_find(&table, makedev(254, 5), 812));
    ck_assert_ptr_null(unix_table_find(&table, makedev(254, 3), 811));
    ck_assert(unix_table_find_inode(&table, 11)->connected);

    socket = unix_table_find(&table, makedev(254, 4), 812);
    ck_assert_uint_eq(socket->inode, 14);
    ck_assert(!socket->connected && !socket->listening); /* a datagram socket that was connected to */
    ck_assert_uint_eq(socket->queue + socket->backlog, 0);

    ck_assert_uint_eq(unix_table_find_name(&table, "@name")->inode, 16);
    ck_assert_ptr_null(unix_table_find_name(&table, "@na@e")); /* that would be another name */
    ck_assert_ptr_null(unix_table_find_name(&table, "@nam"));
    ck_assert_uint_eq(unix_table_find_inode(&table, 17)->name_altered, true);
    ck_assert_str_eq(unix_table_find_inode(&table, 17)->name, "@na@e");
    ck_assert_ptr_null(unix_table_find_inode(&table, 13));

    ck_assert_str_eq(unix_table_next(&table, "a", &position)->name, "/run/a");
    for (unsigned i = 0; i < 2; i++)
        ck_assert_ptr_nonnull(unix_table_next(&table, "a", &position));
    ck_assert_ptr_null(unix_table_next(&table, "a", &position));
    position = 0;
    ck_assert_ptr_null(unix_table_next(&table, "?b", &position)); /* not its real name */
}
END_TEST

/* What is not a whole dump never looks like one. */
static const struct {
    unsigned type;
    uint16_t flags;
    int number, result;
} not_whole[] = {
    {NLMSG_ERROR, 0, -EPERM, -EPERM},
    {NLMSG_ERROR, 0, 0, -EBADMSG},
    {NLMSG_ERROR, 0, 5, -EBADMSG},
    {NLMSG_ERROR, 0, INT32_MIN, -EBADMSG},
    {NLMSG_OVERRUN, 0, 0, -ENOBUFS},
    {NLMSG_DONE, 0, -ENOMEM, -ENOMEM},
    {NLMSG_DONE, 0, 1, -EBADMSG},
    {NLMSG_DONE, NLM_F_DUMP_INTR, 0, -EINTR},
    {SOCK_DIAG_BY_FAMILY, 0, 0, -EBADMSG},
    {SOCK_DIAG_BY_FAMILY + 1, 0, 0, -EBADMSG},
    {NLMSG_NOOP, 0, 0, 1},
};

START_TEST(test_not_whole) {
    _cleanup_unix_table_ struct unix_table table = {0};
    struct dump dump = {0};

    begin(&dump, not_whole[_i].type);
    dump.last->nlmsg_flags = not_whole[_i].flags;
    number(&dump, not_whole[_i].number);
    ck_assert_int_eq(unix_table_parse(dump.bytes, dump.size, &table), not_whole[_i].result);
    ck_assert_uint_eq(table.n, 0);
}
END_TEST

/* Cut off anywhere, a message is refused or what stands before it is taken; nothing is read behind the end.
 */
START_TEST(test_cut) {
    struct dump dump = {0};

    begin_socket(&dump, 12, SOCK_STREAM, TCP_LISTEN);
    attribute(&dump, UNIX_DIAG_NAME, "/run/a", 7);
    file(&dump, 812, 254, 3);
    lengths(&dump, 3, 5);
    for (size_t size = 0; size < dump.size; size++) {
        _cleanup_unix_table_ struct unix_table table = {0};
        _cleanup_free_ char *copy = malloc(size ? size : 1);

        memcpy(copy, dump.bytes, size);
        ck_assert_int_eq(unix_table_parse(copy, size, &table), size == 0 ? 1 : -EBADMSG);
        ck_assert_uint_eq(table.n, 0);
    }
    /* The message is whole, its attributes are not. */
    for (uint16_t length = 0; length < 64; length++) {
        _cleanup_unix_table_ struct unix_table table = {0};
        struct dump again = dump;
        struct nlattr *first = (struct nlattr *) (again.bytes + NLMSG_HDRLEN + sizeof(struct unix_diag_msg));

        first->nla_len = length;
        ck_assert_int_eq(unix_table_parse(again.bytes, again.size, &table), 1);
        ck_assert_uint_eq(table.n, 1);
    }
}
END_TEST

static int bind_socket(const char *path, size_t length, int type, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, path, length);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address,
                          (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)),
                     0);
    if (backlog > 0)
        ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static uint32_t inode_of(int fd) {
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint32_t) st.st_ino;
}

static char dir[] = "/tmp/test-unix-diag.XXXXXX";

static void enter_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
}

static void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir); /* a test that failed leaves its sockets */
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(system(command), 0);
}

/* The kernel's own table. */
START_TEST(test_kernel) {
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    char name[64];

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_unix_table_ struct unix_table table = {0};
        int n = snprintf(name, sizeof name, "%cunix-diag-%d-%zu", '\0', (int) getpid(), i);
        _cleanup_close_ int path = bind_socket("s", 1, types[i], types[i] == SOCK_DGRAM ? 0 : 4);
        _cleanup_close_ int abstract = bind_socket(name, (size_t) n, types[i], 0);
        const struct unix_socket *socket;

        ck_assert_int_eq(unix_table_read(&table), 0);
        socket = unix_table_find_inode(&table, inode_of(path));
        ck_assert_ptr_nonnull(socket);
        ck_assert_int_eq(socket->type, types[i]);
        ck_assert_str_eq(socket->name, "s");
        ck_assert_int_eq(socket->listening, types[i] != SOCK_DGRAM);
        ck_assert_uint_eq(socket->backlog, types[i] == SOCK_DGRAM ? 0 : 4);
        ck_assert_ptr_eq(unix_table_find(&table, socket->file_device, socket->file_inode), socket);
        name[0] = '@';
        ck_assert_uint_eq(unix_table_find_name(&table, name)->inode, inode_of(abstract));
        ck_assert_int_eq(unlink("s"), 0);
    }
}
END_TEST

/* Another network namespace's, and we stay in ours. */
START_TEST(test_other_namespace) {
    _cleanup_unix_table_ struct unix_table table = {0};
    _cleanup_close_ int netns = -EBADF;
    int ready[2], r;
    struct stat before, after;
    uint32_t inode = 0;
    char path[64];
    pid_t child;

    ck_assert_int_eq(stat("/proc/self/ns/net", &before), 0);
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) == 0)
            inode = inode_of(bind_socket("\0there", 6, SOCK_STREAM, 1));
        (void) !write(ready[1], &inode, sizeof inode);
        pause();
        _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &inode, sizeof inode), sizeof inode);
    if (inode != 0) { /* else we may not make one */
        snprintf(path, sizeof path, "/proc/%d/ns/net", (int) child);
        netns = open(path, O_RDONLY | O_CLOEXEC);
        r = unix_table_read_in(netns, &table);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(table.n, 1);
        ck_assert_uint_eq(unix_table_find_name(&table, "@there")->inode, inode);
        ck_assert_int_eq(stat("/proc/thread-self/ns/net", &after), 0);
        ck_assert(stat_same_inode(&before, &after));
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    ck_assert_int_lt(unix_table_read_in(-EBADF, &table), 0);
}
END_TEST

enum { FEW = 2000, MANY = 40000 };

static void fill_table(struct unix_table *table, uint32_t n) {
    for (uint32_t i = 1; i <= n; i++) {
        struct dump dump;
        char name[64];

        dump.size = 0;
        begin_socket(&dump, i, SOCK_STREAM, TCP_LISTEN);
        attribute(&dump, UNIX_DIAG_NAME, name, (size_t) snprintf(name, sizeof name, "/run/%u/x%u", i, i) + 1);
        file(&dump, i * 31, 254, i % 3);
        ck_assert_int_eq(unix_table_parse(dump.bytes, dump.size, table), 1);
    }
    ck_assert_int_eq(unix_table_index(table), 0);
}

/* The processor's time for MANY questions to a table of n sockets, in each way they can be asked. */
static uint64_t ask_many(const struct unix_table *table, uint32_t n) {
    uint64_t began = now_usec(CLOCK_PROCESS_CPUTIME_ID);

    for (uint32_t question = 0; question < MANY; question++) {
        uint32_t i = question % n + 1;
        size_t position = 0;
        char name[64];

        ck_assert_uint_eq(unix_table_find(table, makedev(254, i % 3), i * 31)->inode, i);
        ck_assert_uint_eq(unix_table_find_inode(table, i)->file_inode, i * 31);
        snprintf(name, sizeof name, "x%u", i);
        ck_assert_uint_eq(unix_table_next(table, name, &position)->inode, i);
        ck_assert_ptr_null(unix_table_next(table, name, &position));
    }
    return now_usec(CLOCK_PROCESS_CPUTIME_ID) - began;
}

/* Of twenty times as many sockets a question does not take twenty times as long. */
START_TEST(test_many) {
    _cleanup_unix_table_ struct unix_table few = {0}, many = {0};
    uint64_t short_usec, long_usec;

    fill_table(&few, FEW);
    fill_table(&many, MANY);
    short_usec = ask_many(&few, FEW);
    long_usec = ask_many(&many, MANY);
    ck_assert_msg(long_usec < 8 * short_usec, "%u us of few, %u us of many", (unsigned) short_usec,
                  (unsigned) long_usec);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("unix-diag");
    TCase *tcase = tcase_create("unix-diag");

    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, enter_dir, remove_dir);
    tcase_add_test(tcase, test_parse);
    tcase_add_loop_test(tcase, test_not_whole, 0, ELEMENTSOF(not_whole));
    tcase_add_test(tcase, test_cut);
    tcase_add_test(tcase, test_kernel);
    tcase_add_test(tcase, test_other_namespace);
    tcase_add_test(tcase, test_many);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
