/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "health/path-watch.h"

#include "suite.h"

#define MSEC USEC_PER_MSEC
#define PATIENCE (20 * USEC_PER_SEC)

static struct {
    sd_event *event;
    struct path_watcher *watcher;
    struct path_watch *watches[1000];
    unsigned changes[1000];
    unsigned limits;
    int limit_error;
    bool free_in_callback;
    char directory[64];
} t;

static const char *in(const char *name) {
    static char paths[8][192];
    static unsigned n;
    char *path = paths[n++ % ELEMENTSOF(paths)];

    snprintf(path, sizeof paths[0], "%s/%s", t.directory, name);
    return path;
}

static void on_limit(int error, void *userdata) {
    ck_assert_ptr_eq(userdata, &t);
    t.limits++;
    t.limit_error = error;
}

static void on_change(void *userdata) {
    size_t i = (size_t) ((unsigned *) userdata - t.changes);

    t.changes[i]++;
    if (t.free_in_callback) {
        path_watch_free(t.watches[i]);
        t.watches[i] = NULL;
    }
}

static int begin(size_t i, const char *path) {
    return path_watch_new(t.watcher, path, on_change, &t.changes[i], &t.watches[i]);
}

static void end(size_t i) {
    path_watch_free(t.watches[i]);
    t.watches[i] = NULL;
}

static unsigned linger(uint64_t usec) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + usec, now;
    unsigned n = 0;

    while ((now = now_usec(CLOCK_MONOTONIC)) < until)
        n += sd_event_run(t.event, until - now) > 0;
    return n;
}

static void await(size_t i) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + PATIENCE;

    while (t.changes[i] == 0) {
        ck_assert_msg(now_usec(CLOCK_MONOTONIC) < until, "no change of watch %zu", i);
        (void) linger(10 * MSEC);
    }
    (void) linger(20 * MSEC);
    t.changes[i] = 0;
}

static void make_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void set_up(void) {
    memset(&t, 0, sizeof t);
    strcpy(t.directory, "/tmp/test-path-watch.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.directory));
    ck_assert_int_ge(sd_event_new(&t.event), 0);
    ck_assert_int_eq(path_watcher_new(t.event, on_limit, &t, &t.watcher), 0);
}

static void tear_down(void) {
    char command[96];

    path_watcher_free(t.watcher); /* and whatever watches there are */
    sd_event_unref(t.event);
    snprintf(command, sizeof command, "rm -rf '%s'", t.directory);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(silence) {
    ck_assert(path_watcher_is_idle(t.watcher));
    ck_assert_int_eq(begin(0, in("a")), 0);
    ck_assert(!path_watcher_is_idle(t.watcher));
    ck_assert_uint_eq(linger(300 * MSEC), 0);
    make_file(in("other")); /* another name in the same directory is none of it */
    (void) linger(50 * MSEC);
    ck_assert_uint_eq(t.changes[0], 0);
    make_file(in("a"));
    await(0);
    end(0);
    ck_assert(path_watcher_is_idle(t.watcher));
    make_file(in("b"));
    ck_assert_uint_eq(linger(100 * MSEC), 0);
}
END_TEST

/* A chain of directories of which none is there; made at once, or one by one, or by a rename. */
START_TEST(chain) {
    ck_assert_int_eq(begin(0, in("a/b/c/s")), 0);
    if (_i == 0) {
        ck_assert_int_eq(mkdir(in("a"), 0755), 0);
        ck_assert_int_eq(mkdir(in("a/b"), 0755), 0);
        ck_assert_int_eq(mkdir(in("a/b/c"), 0755), 0);
        await(0);
    } else if (_i == 1) {
        ck_assert_int_eq(mkdir(in("a"), 0755), 0);
        await(0);
        ck_assert_int_eq(mkdir(in("a/b"), 0755), 0);
        await(0);
        ck_assert_int_eq(mkdir(in("a/b/c"), 0755), 0);
        await(0);
    } else {
        ck_assert_int_eq(mkdir(in("x"), 0755), 0);
        ck_assert_int_eq(mkdir(in("x/b"), 0755), 0);
        ck_assert_int_eq(mkdir(in("x/b/c"), 0755), 0);
        ck_assert_int_eq(rename(in("x"), in("a")), 0);
        await(0);
    }
    ck_assert_uint_eq(linger(100 * MSEC), 0);
    make_file(in("a/b/c/s"));
    await(0);
}
END_TEST

/* The directory goes, with all above it, and comes again. */
START_TEST(directory_goes) {
    ck_assert_int_eq(mkdir(in("a"), 0755), 0);
    ck_assert_int_eq(mkdir(in("a/b"), 0755), 0);
    ck_assert_int_eq(begin(0, in("a/b/s")), 0);
    ck_assert_int_eq(rmdir(in("a/b")), 0);
    ck_assert_int_eq(rmdir(in("a")), 0);
    await(0);
    ck_assert_uint_eq(linger(100 * MSEC), 0);
    ck_assert_int_eq(mkdir(in("a"), 0755), 0);
    ck_assert_int_eq(mkdir(in("a/b"), 0755), 0);
    await(0);
    make_file(in("a/b/s"));
    await(0);
}
END_TEST

/* Many watches share a directory: one that goes leaves the others theirs. */
START_TEST(shared) {
    ck_assert_int_eq(begin(0, in("a")), 0);
    ck_assert_int_eq(begin(1, in("b")), 0);
    ck_assert_int_eq(begin(2, in("a")), 0);
    end(0);
    make_file(in("a"));
    await(2);
    ck_assert_uint_eq(t.changes[1], 0);
    make_file(in("b"));
    await(1);
}
END_TEST

/* A thousand, and each frees itself when it is called. */
START_TEST(thousand) {
    t.free_in_callback = true;
    for (size_t i = 0; i < ELEMENTSOF(t.watches); i++) {
        char name[32];

        snprintf(name, sizeof name, "d/%zu", i);
        ck_assert_int_eq(begin(i, in(name)), 0);
    }
    ck_assert_int_eq(mkdir(in("d"), 0755), 0);
    (void) linger(100 * MSEC);
    for (size_t i = 0; i < ELEMENTSOF(t.watches); i++)
        ck_assert_uint_eq(t.changes[i], 1);
    ck_assert(path_watcher_is_idle(t.watcher));
}
END_TEST

START_TEST(links) {
    ck_assert_int_eq(mkdir(in("real"), 0755), 0);
    ck_assert_int_eq(symlink("real", in("link")), 0);
    ck_assert_int_eq(symlink("nowhere", in("dangling")), 0);
    ck_assert_int_eq(begin(0, in("link/s")), 0);
    make_file(in("real/s"));
    await(0);
    ck_assert_int_eq(begin(1, in("dangling/s")), -ENOTSUP); /* no event tells of what it names */
    make_file(in("file"));
    ck_assert_int_eq(begin(1, in("file/s")), -ENOTSUP);
    ck_assert_int_eq(begin(1, "@abstract"), -ENOTSUP);
    ck_assert_uint_eq(t.limits, 0);
}
END_TEST

/* inotify says nothing of a mount. */
START_TEST(mounted_upon) {
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mkdir(in("a"), 0755), 0);
    ck_assert_int_eq(begin(0, in("a/s")), 0);
    (void) linger(20 * MSEC);
    t.changes[0] = 0;
    ck_assert_uint_eq(linger(100 * MSEC), 0);
    ck_assert_int_eq(mount("test", in("a"), "tmpfs", 0, NULL), 0);
    await(0);
    make_file(in("a/s"));
    await(0);
    ck_assert_int_eq(umount2(in("a"), MNT_DETACH), 0);
}
END_TEST

/* No descriptor is left: told once, and what had been begun is undone. */
START_TEST(limit) {
    struct rlimit files = {.rlim_cur = 0, .rlim_max = 4096}, before;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    files.rlim_max = before.rlim_max;
    files.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert_int_eq(begin(0, in("a")), -EMFILE);
    ck_assert_int_eq(begin(1, in("a")), -EMFILE);
    ck_assert_uint_eq(t.limits, 1);
    ck_assert_int_eq(t.limit_error, -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(begin(2, in("a")), 0);
    make_file(in("a"));
    await(2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("path-watch");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, silence);
    tcase_add_loop_test(tests, chain, 0, 3);
    tcase_add_test(tests, directory_goes);
    tcase_add_test(tests, shared);
    tcase_add_test(tests, thousand);
    tcase_add_test(tests, links);
    tcase_add_test(tests, mounted_upon);
    tcase_add_test(tests, limit);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
