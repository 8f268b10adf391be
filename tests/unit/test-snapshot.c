/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "probe/snapshot.h"

#include "suite.h"

static const struct {
    const char *text;
    int result;
    enum lock_family family;
    pid_t pid;
    bool waiting, shared;
    unsigned device_major, device_minor;
    unsigned long long inode;
} rows[] = {
    {"1: FLOCK  ADVISORY  WRITE 812 fe:01:1234 0 EOF", 1, LOCK_FAMILY_FLOCK, 812, false, false, 0xfe, 1,
     1234},
    {"1: FLOCK  ADVISORY  READ 812 fe:01:1234 0 EOF", 1, LOCK_FAMILY_FLOCK, 812, false, true, 0xfe, 1, 1234},
    {"22: POSIX  ADVISORY  WRITE 7 00:1a:18446744073709551615 100 200", 1, LOCK_FAMILY_POSIX, 7, false, false,
     0, 26, 18446744073709551615ULL},
    {"3: POSIX  MANDATORY READ  9 08:01:5 0 0", 1, LOCK_FAMILY_POSIX, 9, false, true, 8, 1, 5},
    {"3: OFDLCK ADVISORY  WRITE -1 08:01:5 0 EOF", 1, LOCK_FAMILY_OFD, -1, false, false, 8, 1, 5},
    {"3: OFDLCK ADVISORY  READ  -1 103:00002:5 0 EOF", 1, LOCK_FAMILY_OFD, -1, false, true, 0x103, 2, 5},
    /* lockd's locks for other machines have negative numbers, those of another PID namespace 0 */
    {"4: POSIX  ADVISORY  WRITE -77 08:01:5 0 EOF", 1, LOCK_FAMILY_POSIX, -77, false, false, 8, 1, 5},
    {"4: FLOCK  ADVISORY  WRITE 0 08:01:5 0 EOF", 1, LOCK_FAMILY_FLOCK, 0, false, false, 8, 1, 5},
    /* waiters, and waiters for waiters */
    {"1: -> FLOCK  ADVISORY  WRITE 813 fe:01:1234 0 EOF", 1, LOCK_FAMILY_FLOCK, 813, true, false, 0xfe, 1,
     1234},
    {"1:   -> POSIX  ADVISORY  READ 814 fe:01:1234 0 EOF", 1, LOCK_FAMILY_POSIX, 814, true, true, 0xfe, 1,
     1234},
    {"9223372036854775807: FLOCK  ADVISORY  WRITE 1 00:01:1 0 EOF", 1, LOCK_FAMILY_FLOCK, 1, false, false, 0,
     1, 1},
    /* other sorts */
    {"5: LEASE  ACTIVE    READ  812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"5: LEASE  BREAKING  UNLCK 812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"5: -> LEASE  BREAKER   WRITE 812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"5: DELEG  ACTIVE    READ  812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"5: ACCESS ADVISORY  READ  812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"5: UNKNOWN UNKNOWN  READ  812 fe:01:1234 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"6: FLOCK  ADVISORY  WRITE 812 <none>:0 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    {"6: -> POSIX  ADVISORY  WRITE 812 <none>:0 0 EOF", 0, 0, 0, 0, 0, 0, 0, 0},
    /* garbage */
    {"", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1:", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1: ->", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"FLOCK  ADVISORY  WRITE 812 fe:01:1234 0 EOF", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1: FLOCK  ADVISORY  WRITE", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1: FLOCK  ADVISORY  WRITE who fe:01:1234 0 EOF", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1: FLOCK  ADVISORY  WRITE 812 fe:01", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    {"1: FLOCK  ADVISORY  WRITE 812 fe01:1234 0 EOF", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
    /* a row ends with its line, though the next one would complete it */
    {"1: FLOCK  ADVISORY  WRITE\n812 fe:01:1234 0 EOF", -EBADMSG, 0, 0, 0, 0, 0, 0, 0},
};

START_TEST(test_row) {
    struct lock_row row = {.inode = 42};

    ck_assert_msg(lock_row_parse(rows[_i].text, &row) == rows[_i].result, "%s: %d", rows[_i].text,
                  lock_row_parse(rows[_i].text, &row));
    if (rows[_i].result <= 0) {
        ck_assert_uint_eq(row.inode, 42); /* outputs are written only on success */
        return;
    }
    ck_assert_int_eq(row.claim.family, rows[_i].family);
    ck_assert_int_eq(row.claim.pid, rows[_i].pid);
    ck_assert_int_eq(row.claim.waiting, rows[_i].waiting);
    ck_assert_int_eq(row.claim.shared, rows[_i].shared);
    ck_assert_uint_eq(row.device, makedev(rows[_i].device_major, rows[_i].device_minor));
    ck_assert_uint_eq(row.inode, rows[_i].inode);
}
END_TEST

START_TEST(test_long_row) {
    char text[4096];
    struct lock_row row;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(lock_row_parse(text, &row), -EBADMSG);
}
END_TEST

START_TEST(test_list) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    static const char text[] = "1: POSIX  ADVISORY  READ  5 fe:00:10 128 128\n"
                               "2: FLOCK  ADVISORY  WRITE 6 fe:00:11 0 EOF\n"
                               "2: -> FLOCK  ADVISORY  WRITE 7 fe:00:11 0 EOF\n"
                               "3: LEASE  ACTIVE    READ  8 fe:00:12 0 EOF\n"
                               "4: OFDLCK ADVISORY  WRITE -1 fe:00:13 0 EOF\n";

    ck_assert_int_eq(lock_snapshot_parse(text, &snapshot), 0);
    ck_assert_uint_eq(snapshot.n, 4);
    ck_assert_int_eq(snapshot.rows[0].claim.pid, 5);
    ck_assert_int_eq(snapshot.rows[1].claim.pid, 6);
    ck_assert(snapshot.rows[2].claim.waiting);
    ck_assert_int_eq(snapshot.rows[3].claim.family, LOCK_FAMILY_OFD);
}
END_TEST

/* A list with a row that is not understood may miss the very row that matters: it is refused as a whole. */
START_TEST(test_list_refused) {
    struct lock_snapshot snapshot = {.n = 42};

    ck_assert_int_eq(
        lock_snapshot_parse("1: FLOCK  ADVISORY  WRITE 6 fe:00:11 0 EOF\nwhat is this?\n", &snapshot),
        -EBADMSG);
    ck_assert_uint_eq(snapshot.n, 42);
}
END_TEST

START_TEST(test_list_empty) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {.n = 42};

    ck_assert_int_eq(lock_snapshot_parse("", &snapshot), 0);
    ck_assert_uint_eq(snapshot.n, 0);
}
END_TEST

START_TEST(test_list_long) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    for (int i = 1; i <= 100000; i++)
        fprintf(file, "%d: FLOCK  ADVISORY  WRITE %d fe:00:%d 0 EOF\n", i, i, i);
    fclose(file);
    ck_assert_int_eq(lock_snapshot_parse(text, &snapshot), 0); /* and soon: the time limit of a test is 4 s */
    ck_assert_uint_eq(snapshot.n, 100000);
    ck_assert_uint_eq(snapshot.rows[99999].inode, 100000);
}
END_TEST

START_TEST(test_fdinfo) {
    bool families[LOCK_FAMILY_MAX] = {false};

    lock_fdinfo_families("pos:\t0\nflags:\t0100002\nmnt_id:\t27\nino:\t1234\n", families);
    ck_assert(!families[LOCK_FAMILY_FLOCK] && !families[LOCK_FAMILY_POSIX] && !families[LOCK_FAMILY_OFD]);
    lock_fdinfo_families("pos:\t0\nflags:\t0100002\nlock:\t1: FLOCK  ADVISORY  WRITE 0 fe:01:1234 0 EOF\n",
                         families);
    ck_assert(families[LOCK_FAMILY_FLOCK] && !families[LOCK_FAMILY_POSIX] && !families[LOCK_FAMILY_OFD]);
    lock_fdinfo_families("lock:\t1: OFDLCK ADVISORY  READ  -1 fe:01:1234 0 EOF\n"
                         "lock:\t2: POSIX  ADVISORY  WRITE 5 fe:01:1234 0 EOF\n"
                         "lock:\t3: LEASE  ACTIVE    READ  5 fe:01:1234 0 EOF\n",
                         families);
    ck_assert(families[LOCK_FAMILY_FLOCK] && families[LOCK_FAMILY_POSIX] && families[LOCK_FAMILY_OFD]);
}
END_TEST

START_TEST(test_fdinfo_others) {
    bool families[LOCK_FAMILY_MAX] = {false};

    /* a waiter holds nothing; "lock:" within a row is no row; a lease is no lock; nor is garbage */
    lock_fdinfo_families("lock:\t1: -> FLOCK  ADVISORY  WRITE 5 fe:01:1234 0 EOF\n"
                         "clock:\t1: FLOCK  ADVISORY  WRITE 5 fe:01:1234 0 EOF\n"
                         "lock:\t1: LEASE  ACTIVE    READ  5 fe:01:1234 0 EOF\n"
                         "lock:\nlock:\t1:\nlock:\tFLOCK\nlock:",
                         families);
    ck_assert(!families[LOCK_FAMILY_FLOCK] && !families[LOCK_FAMILY_POSIX] && !families[LOCK_FAMILY_OFD]);
}
END_TEST

/* The kernel's own text: our locks of all families on a file. */
START_TEST(test_kernel) {
    char path[] = "/tmp/test-snapshot.XXXXXX", info[64];
    _cleanup_close_ int fd = mkostemp(path, O_CLOEXEC), ofd = open(path, O_RDWR | O_CLOEXEC),
                        proc_fd = procfs_open();
    struct flock first = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10},
                 second = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    bool families[LOCK_FAMILY_MAX] = {false}, seen[LOCK_FAMILY_MAX] = {false};
    _cleanup_free_ char *text = NULL;
    struct stat st;

    ck_assert(fd >= 0 && ofd >= 0 && proc_fd >= 0);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert_int_eq(fcntl(fd, F_SETLK, &first), 0);
    ck_assert_int_eq(fcntl(ofd, F_OFD_SETLK, &second), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(lock_snapshot_read(proc_fd, &snapshot), 0);
    for (size_t i = 0; i < snapshot.n; i++) {
        const struct lock_row *row = &snapshot.rows[i];

        if (row->inode != st.st_ino)
            continue;
        seen[row->claim.family] = true;
        ck_assert_int_eq(row->claim.pid, row->claim.family == LOCK_FAMILY_OFD ? -1 : getpid());
        ck_assert_int_eq(row->claim.shared, row->claim.family == LOCK_FAMILY_OFD);
    }
    ck_assert(seen[LOCK_FAMILY_FLOCK] && seen[LOCK_FAMILY_POSIX] && seen[LOCK_FAMILY_OFD]);
    snprintf(info, sizeof info, "self/fdinfo/%d", fd);
    ck_assert_int_eq(fd_read_file_at(proc_fd, info, 65536, &text, NULL), 0);
    lock_fdinfo_families(text, families);
    ck_assert(families[LOCK_FAMILY_FLOCK] && families[LOCK_FAMILY_POSIX] && !families[LOCK_FAMILY_OFD]);
    unlink(path);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("snapshot");
    TCase *tcase = tcase_create("snapshot");

    tcase_add_loop_test(tcase, test_row, 0, (int) ELEMENTSOF(rows));
    tcase_add_test(tcase, test_long_row);
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_list_refused);
    tcase_add_test(tcase, test_list_empty);
    tcase_add_test(tcase, test_list_long);
    tcase_add_test(tcase, test_fdinfo);
    tcase_add_test(tcase, test_fdinfo_others);
    tcase_add_test(tcase, test_kernel);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
