/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "socket/inet-diag.h"

#include "inet-diag-recorded.h"
#include "suite.h"

static struct inet_endpoint endpoint(int family, const char *address, uint16_t port) {
    struct inet_endpoint endpoint = {.port = port};

    ck_assert_int_eq(inet_pton(family, address, &endpoint.address), 1);
    return endpoint;
}

static const struct inet_socket *find(const struct inet_table *table, int family, const char *address,
                                      uint16_t port) {
    const struct inet_endpoint local = endpoint(family, address, port);
    size_t position = 0;

    return inet_table_next(table, family, &local, &position);
}

static void parse(struct inet_table *table, const void *buffer, size_t size, int result) {
    ck_assert_int_eq(inet_table_parse(buffer, size, table), result);
}

START_TEST(test_listeners) {
    _cleanup_inet_table_ struct inet_table table = {0};
    const struct inet_endpoint any = endpoint(AF_INET, "0.0.0.0", 8003);
    const struct inet_socket *socket, *other;
    size_t position = 0;

    parse(&table, recorded_four, sizeof recorded_four, 1);
    parse(&table, recorded_done, sizeof recorded_done, 0);
    parse(&table, recorded_six, sizeof recorded_six, 1);
    parse(&table, recorded_done, sizeof recorded_done, 0);
    ck_assert_uint_eq(table.n, 6);
    ck_assert_ptr_null(find(&table, AF_INET, "127.0.0.1", 8000)); /* nothing is sorted yet */
    ck_assert_int_eq(inet_table_index(&table), 0);

    socket = find(&table, AF_INET, "127.0.0.1", 8000);
    ck_assert_ptr_nonnull(socket);
    ck_assert(socket->listening && !socket->has_memory);
    ck_assert_int_eq(socket->state, TCP_LISTEN);
    ck_assert_uint_eq(socket->queue, 3);
    ck_assert_uint_eq(socket->backlog, 2);
    ck_assert_uint_eq(socket->inode, 13010218);
    ck_assert_ptr_eq(inet_table_find_inode(&table, 13010218), socket);
    ck_assert_ptr_null(inet_table_find_inode(&table, 13010219));
    ck_assert_ptr_null(inet_table_find_inode(&table, 0));

    socket = find(&table, AF_INET6, "::", 8001);
    ck_assert(socket->family == AF_INET6 && !socket->six_only);
    ck_assert_uint_eq(socket->backlog, 16);
    ck_assert_uint_eq(socket->inode, 13010222);
    ck_assert(find(&table, AF_INET6, "::1", 8002)->six_only);

    ck_assert_ptr_null(find(&table, AF_INET, "0.0.0.0", 8001)); /* it is one of IPv6 */
    ck_assert_ptr_null(find(&table, AF_INET6, "::", 8002));
    ck_assert_ptr_null(find(&table, AF_INET, "127.0.0.1", 7999));
    ck_assert_ptr_null(find(&table, AF_INET, "127.0.0.1", 8005));

    socket = inet_table_next(&table, AF_INET, &any, &position); /* SO_REUSEPORT */
    other = inet_table_next(&table, AF_INET, &any, &position);
    ck_assert(socket && other && socket != other);
    ck_assert_uint_eq(socket->backlog + other->backlog, 4 + 5);
    ck_assert_ptr_null(inet_table_next(&table, AF_INET, &any, &position));
}
END_TEST

START_TEST(test_connections) {
    _cleanup_inet_table_ struct inet_table table = {0};
    const struct inet_socket *socket;
    size_t n_unowned = 0;

    parse(&table, recorded_connections, sizeof recorded_connections, 1);
    parse(&table, recorded_four, sizeof recorded_four, 1);
    ck_assert_int_eq(inet_table_index(&table), 0);
    socket = inet_table_find_inode(&table, 13010231);
    ck_assert_ptr_nonnull(socket);
    ck_assert(!socket->listening && socket->has_memory);
    ck_assert_int_eq(socket->state, TCP_ESTABLISHED);
    ck_assert_uint_eq(socket->local.port, 8004);
    ck_assert_uint_eq(socket->queue, 100); /* bytes */
    ck_assert_uint_gt(socket->receive_bytes, 100);
    ck_assert_uint_eq(socket->receive_buffer_bytes, 131072);
    ck_assert_uint_eq(socket->send_bytes, 0);
    ck_assert_uint_eq(socket->send_buffer_bytes, 3939840);
    socket = inet_table_find_inode(&table, 13010230);
    ck_assert_uint_eq(socket->remote.port, 8004);
    ck_assert_int_eq(memcmp(&socket->remote.address, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16), 0);
    for (size_t i = 0; i < table.n; i++) /* they wait in the queue of 8000 */
        n_unowned += table.sockets[i].inode == 0 && table.sockets[i].local.port == 8000;
    ck_assert_uint_ge(n_unowned, 2);
    /* The listener comes first. */
    ck_assert(find(&table, AF_INET, "127.0.0.1", 8000)->listening);
    ck_assert(find(&table, AF_INET, "127.0.0.1", 8004)->listening);
}
END_TEST

/* Cut off anywhere, a message is refused; nothing is read behind the end. */
START_TEST(test_cut) {
    for (size_t size = 0; size < sizeof recorded_six; size++) {
        _cleanup_inet_table_ struct inet_table table = {0};
        _cleanup_free_ char *copy = malloc(size ? size : 1);
        uint32_t first;
        int r;

        memcpy(&first, recorded_six, sizeof first);
        memcpy(copy, recorded_six, size);
        r = inet_table_parse(copy, size, &table);
        ck_assert_int_eq(r, size == 0 || size == first ? 1 : -EBADMSG);
        ck_assert_uint_eq(table.n, size >= first);
    }
    /* The message is whole, its attributes are not. */
    for (uint16_t length = 0; length < 80; length++) {
        _cleanup_inet_table_ struct inet_table table = {0};
        _Alignas(8) unsigned char again[sizeof recorded_connections];

        memcpy(again, recorded_connections, sizeof again);
        memcpy(again + NLMSG_HDRLEN + 72, &length, sizeof length); /* behind struct inet_diag_msg */
        parse(&table, again, sizeof again, 1);
        ck_assert_uint_ge(table.n, 2);
    }
}
END_TEST

/* A family that was not asked for is not understood, and an unsorted, empty table finds nothing. */
START_TEST(test_strange) {
    _cleanup_inet_table_ struct inet_table table = {0};
    _Alignas(8) unsigned char again[sizeof recorded_six];

    memcpy(again, recorded_six, sizeof again);
    again[NLMSG_HDRLEN] = AF_UNIX;
    parse(&table, again, sizeof again, -EBADMSG);
    ck_assert_int_eq(inet_table_index(&table), 0);
    ck_assert_ptr_null(find(&table, AF_INET, "127.0.0.1", 8000));
    ck_assert_ptr_null(inet_table_find_inode(&table, 1));
}
END_TEST

static int listener(int family, const char *address, int backlog, uint16_t *ret_port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr *name = family == AF_INET ? (struct sockaddr *) &four : (struct sockaddr *) &six;
    socklen_t size = family == AF_INET ? sizeof four : sizeof six;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(
        inet_pton(family, address, family == AF_INET ? (void *) &four.sin_addr : (void *) &six.sin6_addr), 1);
    if (fd < 0 || bind(fd, name, size) < 0) {
        fd_close(fd);
        return -1;
    }
    ck_assert_int_eq(listen(fd, backlog), 0);
    ck_assert_int_eq(getsockname(fd, name, &size), 0);
    *ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return fd;
}

/* The kernel's own table. */
START_TEST(test_kernel) {
    static const struct {
        int family;
        const char *address;
    } kinds[] = {{AF_INET, "127.0.0.1"}, {AF_INET6, "::1"}};

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        _cleanup_inet_table_ struct inet_table table = {0}, all = {0};
        uint16_t port = 0;
        _cleanup_close_ int fd = listener(kinds[i].family, kinds[i].address, 7, &port);
        const struct inet_socket *found;
        struct stat st;

        if (fd < 0) /* a machine without IPv6 */
            continue;
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_eq(inet_table_read(INET_LISTENERS, &table), 0);
        found = inet_table_find_inode(&table, (uint32_t) st.st_ino);
        ck_assert_ptr_nonnull(found);
        ck_assert_ptr_eq(find(&table, kinds[i].family, kinds[i].address, port), found);
        ck_assert_uint_eq(found->backlog, 7);
        ck_assert_uint_eq(found->uid, getuid());
        for (size_t j = 0; j < table.n; j++)
            ck_assert(table.sockets[j].listening);
        ck_assert_int_eq(inet_table_read(INET_ALL, &all), 0);
        ck_assert(inet_table_find_inode(&all, (uint32_t) st.st_ino)->has_memory);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("inet-diag");
    TCase *tcase = tcase_create("inet-diag");

    tcase_add_test(tcase, test_listeners);
    tcase_add_test(tcase, test_connections);
    tcase_add_test(tcase, test_cut);
    tcase_add_test(tcase, test_strange);
    tcase_add_test(tcase, test_kernel);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return suite_run(suite());
}
