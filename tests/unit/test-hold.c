/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/hold.h"

#include "own-dir.h"
#include "suite.h"

static char path[128];
static struct err err;

static void set_up(void) {
    char here[64];

    enter_dir();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(path, sizeof path, "%s/l", here);
}

static void tear_down(void) {
    err_done(&err);
}

static bool can_lock(enum lock_style style) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    return (style == LOCK_STYLE_OFD ? fcntl(fd, F_OFD_SETLK, &whole) : flock(fd, LOCK_EX | LOCK_NB)) == 0;
}

static const enum lock_style styles[] = {LOCK_STYLE_FLOCK, LOCK_STYLE_OFD};

START_TEST(held_and_released) {
    int fd = lock_hold(path, styles[_i], &err), copy;
    struct stat st;

    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert(!can_lock(styles[_i]));
    ck_assert(lock_hold_is_at(fd, path));
    ck_assert_int_eq(lock_hold_again(fd, styles[_i]), 0);
    ck_assert_int_eq(lock_hold(path, styles[_i], &err), -EBUSY);
    ck_assert_str_eq(err.name, "Held");
    copy = dup(fd); /* as systemd's store has one */
    ck_assert_int_eq(lock_release(fd, styles[_i]), -EBADF);
    ck_assert(can_lock(styles[_i]));
    close(copy);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(the_file_goes) {
    int fd = lock_hold(path, LOCK_STYLE_FLOCK, &err), other;

    ck_assert_int_eq(unlink(path), 0);
    ck_assert(!lock_hold_is_at(fd, path));
    other = lock_hold(path, LOCK_STYLE_FLOCK, &err);
    ck_assert_int_ge(other, 0);
    ck_assert(lock_hold_is_at(other, path));
    ck_assert(!lock_hold_is_at(fd, path));
    (void) lock_release(fd, LOCK_STYLE_FLOCK);
    ck_assert(!can_lock(LOCK_STYLE_FLOCK));
    (void) lock_release(other, LOCK_STYLE_FLOCK);
}
END_TEST

START_TEST(no_lock_file) {
    static const char *const kinds[] = {"link", "directory", "fifo"};

    if (_i == 0)
        ck_assert_int_eq(symlink("elsewhere", path), 0);
    else if (_i == 1)
        ck_assert_int_eq(mkdir(path, 0755), 0);
    else
        ck_assert_int_eq(mkfifo(path, 0644), 0);
    ck_assert_msg(lock_hold(path, LOCK_STYLE_FLOCK, &err) < 0, "%s", kinds[_i]);
    ck_assert_int_eq(access("elsewhere", F_OK), -1);
}
END_TEST

/* In a directory of everybody's, of somebody else. */
START_TEST(a_strangers_file) {
    int fd;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(chmod(".", 01777), 0);
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    ck_assert_int_eq(fchown(fd, 65534, 65534), 0);
    ck_assert_int_eq(lock_hold(path, LOCK_STYLE_FLOCK, &err), -EPERM);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "uid 65534"));
    ck_assert_int_eq(chmod(".", 0755), 0);
    ck_assert_int_ge(lock_hold(path, LOCK_STYLE_FLOCK, &err), 0);
    close(fd);
}
END_TEST

START_TEST(no_directory) {
    strcat(path, "/l");
    ck_assert_int_eq(lock_hold(path, LOCK_STYLE_FLOCK, &err), -ENOENT);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hold");
    TCase *tcase = tcase_create("hold");

    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, held_and_released, 0, 2);
    tcase_add_test(tcase, the_file_goes);
    tcase_add_loop_test(tcase, no_lock_file, 0, 3);
    tcase_add_test(tcase, a_strangers_file);
    tcase_add_test(tcase, no_directory);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
