/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/file.h>

#include "clear-fixture.h"
#include "suite.h"

START_TEST(test_stale) {
    _cleanup_err_ struct err err = {0};

    write_pid("x.pid", dead_pid());
    ck_assert_msg(probe_and_clear("x.pid", false, false, &err) == 1, "%s", err_text(&err));
    ck_assert_uint_eq(count_files(), 0);
    ck_assert_int_eq(probe_and_clear("x.pid", false, false, &err), 0); /* absent */
}
END_TEST

START_TEST(test_free) {
    _cleanup_err_ struct err err = {0};

    close(open("x.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ck_assert_int_eq(probe_and_clear("x.lock", false, false, &err), 0);
    ck_assert(exists("x.lock"));
}
END_TEST

START_TEST(test_dry_run) {
    _cleanup_err_ struct err err = {0};
    struct stat file, parent, file_after, parent_after;

    write_pid("x.pid", dead_pid());
    make_stale_socket("s");
    close(open("s.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ck_assert(lstat("x.pid", &file) == 0 && lstat(".", &parent) == 0);
    ck_assert_int_eq(probe_and_clear("x.pid", false, true, &err), 1);
    ck_assert_int_eq(probe_and_clear("s", false, true, &err), 1);
    ck_assert(lstat("x.pid", &file_after) == 0 && lstat(".", &parent_after) == 0);
    ck_assert_int_eq(memcmp(&file.st_ctim, &file_after.st_ctim, sizeof file.st_ctim), 0);
    ck_assert_int_eq(memcmp(&parent.st_mtim, &parent_after.st_mtim, sizeof parent.st_mtim), 0);
    ck_assert_int_eq(memcmp(&parent.st_ctim, &parent_after.st_ctim, sizeof parent.st_ctim), 0);
    ck_assert(exists("s") && exists("s.lock"));
}
END_TEST

START_TEST(test_held) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int fd = -EBADF;

    write_pid("x.pid", getppid());
    assert_refused(probe_and_clear("x.pid", true, false, &err), EBUSY, "Held", &err);
    fd = open("x.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    assert_refused(probe_and_clear("x.lock", true, false, &err), EBUSY, "Held", &err);
    close(open("empty.pid", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    assert_refused(probe_and_clear("empty.pid", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_int_eq(mkdir("x", 0755), 0);
    assert_refused(probe_and_clear("x", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_uint_eq(count_files(), 4);
}
END_TEST

/* Any file may begin with a number: only what is called a PID file or a lock goes. */
START_TEST(test_no_lock_by_name) {
    _cleanup_err_ struct err err = {0};

    write_pid("serial", dead_pid());
    assert_refused(probe_and_clear("serial", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_int_eq(rename("serial", "notes.txt"), 0);
    ck_assert_int_eq(truncate("notes.txt", 2), 0);
    write_at("notes.txt", O_APPEND, 5); /* "12" and "5" as two numbers would be a text */
    ck_assert(exists("notes.txt"));
    int fd = open("notes.txt", O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert_int_eq(fd_write_all(fd, "999999 bottles of beer\n", 23), 0);
    close(fd);
    ck_assert_int_eq(probe_and_clear("notes.txt", true, false, &err), 0); /* a file that nobody locks */
    ck_assert(exists("notes.txt"));
}
END_TEST

/* Between the judging and the acting: nothing that has changed goes. */
START_TEST(test_changed) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int fd = -EBADF;
    pid_t dead = dead_pid();
    struct lock_facts *facts;
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    write_pid("x.pid", dead);
    facts = probe("x.pid");
    switch (_i) {
    case 0: /* written anew */
        write_pid("x.pid", getpid());
        break;
    case 1: /* the same content, at another time */
        usleep(20000);
        write_pid("x.pid", dead);
        break;
    case 2: /* replaced by the same */
        write_pid("y.pid", dead);
        ck_assert_int_eq(rename("y.pid", "x.pid"), 0);
        break;
    case 3: /* emptied: somebody is about to write */
        ck_assert_int_eq(truncate("x.pid", 0), 0);
        break;
    case 4:
    case 5: /* locked */
        fd = open("x.pid", O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(_i == 4 ? flock(fd, LOCK_EX) : fcntl(fd, F_OFD_SETLK, &range), 0);
        break;
    case 6: /* open for writing, and not written yet */
        fd = open("x.pid", O_RDWR | O_CLOEXEC);
        break;
    default: /* something else */
        ck_assert_int_eq(unlink("x.pid"), 0);
        ck_assert_int_eq(mkdir("x.pid", 0755), 0);
    }
    if (_i == 6)
        assert_refused(clear_judged(facts, true, false, &err), EBUSY, "Held", &err);
    else
        assert_refused(clear_judged(facts, true, false, &err), ESTALE, "Changed", &err);
    lock_facts_free_array(facts, 1);
    ck_assert(exists("x.pid"));
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

START_TEST(test_socket) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int guard = -EBADF, fd = -EBADF;
    struct lock_facts *facts;

    make_stale_socket("s");
    assert_refused(probe_and_clear("s", false, false, &err), EPERM, "NotClearable", &err);
    ck_assert(exists("s"));
    ck_assert_int_eq(probe_and_clear("s", true, false, &err), 1); /* its service is ours */
    ck_assert_uint_eq(count_files(), 0);

    make_stale_socket("s");
    guard = open("s.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(flock(guard, LOCK_EX), 0);
    assert_refused(probe_and_clear("s", true, false, &err), EBUSY, "Held", &err);
    ck_assert_int_eq(flock(guard, LOCK_UN), 0);
    ck_assert_int_eq(probe_and_clear("s", false, false, &err), 1);
    ck_assert(!exists("s") && exists("s.lock"));

    /* a lock by existence, whose owner lives */
    make_stale_socket("s");
    write_pid("s.lock", getppid());
    assert_refused(probe_and_clear("s", true, false, &err), EBUSY, "Held", &err);
    ck_assert(exists("s"));

    /* came to life */
    ck_assert_int_eq(unlink("s.lock"), 0);
    facts = probe("s");
    ck_assert_int_eq(unlink("s"), 0);
    fd = bind_socket("s", 5);
    assert_refused(clear_judged(facts, true, false, &err), ESTALE, "Changed", &err);
    lock_facts_free_array(facts, 1);
    ck_assert(exists("s"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clear");
    TCase *tcase = tcase_create("clear");

    tcase_set_timeout(tcase, 30);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_test(tcase, test_stale);
    tcase_add_test(tcase, test_free);
    tcase_add_test(tcase, test_dry_run);
    tcase_add_test(tcase, test_held);
    tcase_add_test(tcase, test_no_lock_by_name);
    tcase_add_loop_test(tcase, test_changed, 0, 8);
    tcase_add_test(tcase, test_socket);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
