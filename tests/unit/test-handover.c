/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/closer.h"
#include "base/value.h"
#include "runtime/handover.h"

#include "lingering.h"
#include "suite.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}
static bool survives(int fd) {
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
}
static int open_null(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

START_TEST(there_and_back) {
    _cleanup_handover_ struct handover *ours = NULL, *theirs = NULL;
    int a = open_null(), b = open_null(), c = open_null(), memfd;

    ck_assert_int_eq(handover_new(&ours), 0);
    ck_assert_int_eq(handover_put_fd(ours, "lock:x", a), 0);
    ck_assert_int_eq(handover_put_fd(ours, "control:x", b), 0);
    ck_assert_int_eq(handover_put_fd(ours, "nobody's", c), 0);
    ck_assert_int_eq(handover_put_fd(ours, "lock:x", c), -EEXIST);
    ck_assert_int_eq(handover_put(ours, "text", json_string("said")), 0);
    ck_assert_int_eq(handover_put(ours, "text", json_string("again")), -EEXIST);
    ck_assert_int_eq(handover_put(ours, "nothing", NULL), -ENOMEM);
    memfd = handover_pack(ours);
    ck_assert_int_ge(memfd, 0);
    ck_assert(!survives(memfd) && !survives(a));
    ck_assert_int_lt(write(memfd, "x", 1), 0); /* sealed */

    /* execve(2) would fail: all is as it was. */
    ck_assert_int_eq(handover_release(ours, memfd, true), 0);
    ck_assert(survives(memfd) && survives(a) && survives(b) && survives(c));
    ck_assert_int_eq(handover_release(ours, memfd, false), 0);
    ck_assert(!survives(memfd) && !survives(a) && !survives(b) && !survives(c));

    /* It succeeds: same numbers, same process. */
    ck_assert_int_eq(handover_release(ours, memfd, true), 0);
    ck_assert_int_eq(handover_receive(memfd, &theirs, NULL), 0);
    ck_assert(!is_open(memfd));
    ck_assert(!survives(a) && !survives(b) && !survives(c));
    ck_assert_int_eq(handover_take_fd(theirs, "lock:x"), a);
    ck_assert_int_eq(handover_take_fd(theirs, "lock:x"), -ENOENT);
    ck_assert_int_eq(handover_take_fd(theirs, "control:x"), b);
    ck_assert_str_eq(json_string_value(handover_get(theirs, "text")), "said");
    ck_assert_ptr_null(handover_get(theirs, "more"));
    theirs = handover_free(theirs);
    ck_assert(is_open(a) && is_open(b) && !is_open(c)); /* what nobody took is closed */
    close(a);
    close(b);
}
END_TEST

START_TEST(none) {
    ck_assert_int_eq(handover_take_fd(NULL, "x"), -ENOENT);
    ck_assert_ptr_null(handover_get(NULL, "x"));
}
END_TEST

static int make(const char *text, int seals) {
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

/* PID, a good descriptor, the same again. */
static const char *const forged[] = {
    "",
    "[]",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {}}",
    "{\"schema\": 2, \"pid\": %d, \"fds\": {}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": 1%d, \"fds\": {}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": [], \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {}, \"values\": []}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": \"%d\"}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": %d, \"b\": %d}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": -1}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": 2}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": 999999}, \"values\": {}}",
    "{\"schema\": 1, \"pid\": %d, \"fds\": {\"a\": 4294967299}, \"values\": {}}",
};

START_TEST(damage) {
    _cleanup_close_ int good = open_null();
    _cleanup_err_ struct err err = {0};
    struct handover *got = NULL;
    char text[256];
    int fd;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    snprintf(text, sizeof text, forged[_i], (int) getpid(), good, good);
#pragma GCC diagnostic pop
    fd = make(text, SEALS);
    ck_assert_msg(handover_receive(fd, &got, &err) == -EBADMSG, "taken: %s", text);
    ck_assert_str_eq(err.name, "BadHandover");
    ck_assert_ptr_null(got);
    ck_assert(!is_open(fd) && is_open(good));
}
END_TEST

/* What the successor would refuse is not handed over at all. */
START_TEST(too_much) {
    _cleanup_handover_ struct handover *handover = NULL;
    size_t size = (size_t) 64 << 20;
    char *text = malloc(size + 1);

    ck_assert_ptr_nonnull(text);
    memset(text, 'x', size);
    text[size] = '\0';
    ck_assert_int_eq(handover_new(&handover), 0);
    ck_assert_int_eq(handover_put(handover, "large", json_string_nocheck(text)), 0);
    free(text);
    ck_assert_int_eq(handover_pack(handover), -EFBIG);
}
END_TEST

START_TEST(not_sealed) {
    struct handover *got = NULL;
    char text[128];
    int fd;

    snprintf(text, sizeof text, "{\"schema\": 1, \"pid\": %d, \"fds\": {}, \"values\": {}}", (int) getpid());
    ck_assert_int_eq(handover_receive(make(text, SEALS & ~F_SEAL_WRITE), &got, NULL), -EBADMSG);
    ck_assert_int_eq(handover_receive(open_null(), &got, NULL), -EBADMSG);
    ck_assert_int_eq(handover_receive(999999, &got, NULL), -EBADMSG);
    fd = make(text, SEALS);
    ck_assert_int_eq(handover_receive(fd, &got, NULL), 0);
    got = handover_free(got);
}
END_TEST

/* What nobody took may be a stranger's, whose close lets one wait. */
START_TEST(dropped_beside_the_loop) {
    struct handover *ours = NULL, *theirs = NULL;
    struct closer *closer = NULL;
    uint64_t before;
    int peer, fd = make_lingering(&peer), memfd;

    ck_assert_int_eq(handover_new(&ours), 0);
    ck_assert_int_eq(handover_put_fd(ours, "store:x:0", fd), 0);
    memfd = handover_pack(ours);
    ck_assert_int_ge(memfd, 0);
    ours = handover_free(ours);
    ck_assert_int_eq(handover_receive(memfd, &theirs, NULL), 0);
    before = now_usec(CLOCK_MONOTONIC);
    ck_assert_ptr_null(handover_drop(theirs, &closer));
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 2 * USEC_PER_SEC);
    close(peer);
    closer_free(closer);
    ck_assert_ptr_null(handover_drop(NULL, &closer));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("handover");
    TCase *tests = tcase_create("handover");

    tcase_add_test(tests, there_and_back);
    tcase_add_test(tests, dropped_beside_the_loop);
    tcase_add_test(tests, none);
    tcase_add_loop_test(tests, damage, 0, (int) ELEMENTSOF(forged));
    tcase_add_test(tests, not_sealed);
    tcase_add_test(tests, too_much);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
