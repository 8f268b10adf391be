/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/value.h"
#include "socket/dial.h"

#include "own-dir.h"
#include "suite.h"

#define SOON (200 * USEC_PER_MSEC)
#define LONG (20 * USEC_PER_SEC)

static char path[128], abstract[64];
static struct dial_facts facts;

static void set_up(void) {
    char here[64];

    enter_dir();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(path, sizeof path, "%s/s", here);
    snprintf(abstract, sizeof abstract, "@test-dial-%d", (int) getpid());
}

static int listen_at(const char *where, int type, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, where);
    if (where[0] == '@')
        address.sun_path[0] = '\0';
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address,
                          (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(where))),
                     0);
    if (backlog >= 0)
        ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static int dial_for(const char *where, uint64_t usec) {
    facts = (struct dial_facts){0};
    return dial(where, deadline_after(usec), &facts);
}

START_TEST(test_unix) {
    const char *where = _i == 0 ? path : abstract;
    int listener, fd;

    ck_assert_int_eq(dial_for(where, LONG), _i == 0 ? -ENOENT : -ECONNREFUSED);
    listener = listen_at(where, SOCK_STREAM, 5);
    fd = dial_for(where, LONG);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(facts.tries, 1);
    close(fd);
    close(listener);
    ck_assert_int_eq(dial_for(where, LONG), -ECONNREFUSED);
    ck_assert_uint_eq(facts.tries, 1); /* that is no reason to wait */
}
END_TEST

START_TEST(test_no_stream) {
    int fd = listen_at(path, SOCK_DGRAM, -1);

    ck_assert_int_eq(dial_for(path, LONG), -EPROTOTYPE);
    close(fd);
}
END_TEST

/* Tried until the deadline, and not all too often. */
START_TEST(test_full) {
    const char *where = _i == 0 ? path : abstract;
    int listener = listen_at(where, SOCK_STREAM, 0), first = dial_for(where, LONG);

    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(dial_for(where, SOON), -EAGAIN);
    ck_assert_uint_ge(facts.took_usec, SOON);
    ck_assert_uint_lt(facts.took_usec, LONG / 2);
    ck_assert_uint_ge(facts.tries, 4);
    ck_assert_uint_le(facts.tries, 50);
    close(first);
    close(listener);
}
END_TEST

static void *accept_later(void *argument) {
    int fd;

    (void) usleep(SOON);
    fd = accept4(*(int *) argument, NULL, NULL, SOCK_CLOEXEC);
    (void) usleep(SOON);
    fd_close(fd);
    return NULL;
}

START_TEST(test_room_at_last) {
    int listener = listen_at(path, SOCK_STREAM, 0), first = dial_for(path, LONG), fd;
    pthread_t thread;

    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, accept_later, &listener), 0);
    fd = dial_for(path, LONG);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_gt(facts.tries, 1);
    ck_assert_uint_ge(facts.took_usec, SOON / 2);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close(fd);
    close(first);
    close(listener);
}
END_TEST

/* By number and by name, on either of the loopback's addresses. */
START_TEST(test_inet) {
    static const char *const hosts[] = {"127.0.0.1", "localhost", "*", "0.0.0.0"};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char where[64];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, size), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *) &address, &size), 0);
    snprintf(where, sizeof where, "%s:%d", hosts[_i], ntohs(address.sin_port));
    fd = dial_for(where, LONG);
    ck_assert_int_lt(fd, 0); /* bound, and not listening */
    ck_assert_int_eq(listen(listener, 5), 0);
    fd = dial_for(where, LONG);
    ck_assert_msg(fd >= 0, "%s: %s", where, strerror(-fd));
    close(fd);
    close(listener);
}
END_TEST

/* The top-level domain invalid has no names (RFC 6761); a machine without a name server finds that out, too.
 */
START_TEST(test_unknown_host) {
    ck_assert_int_eq(dial_for("no-such-host.invalid:1", 3 * USEC_PER_SEC), -EHOSTUNREACH);
    ck_assert_ptr_nonnull(facts.unknown_host);
    ck_assert_uint_lt(facts.took_usec, LONG / 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("dial");
    TCase *tcase = tcase_create("dial");

    tcase_set_timeout(tcase, 40);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_loop_test(tcase, test_unix, 0, 2);
    tcase_add_test(tcase, test_no_stream);
    tcase_add_loop_test(tcase, test_full, 0, 2);
    tcase_add_test(tcase, test_room_at_last);
    tcase_add_loop_test(tcase, test_inet, 0, 4);
    tcase_add_test(tcase, test_unknown_host);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
