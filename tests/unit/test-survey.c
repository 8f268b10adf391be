/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/survey.h"

#include "suite.h"

static char dir[] = "/tmp/test-survey.XXXXXX";

static void make_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void) !system(command);
}

/* Each test has a directory of its own below. */
static void enter_dir(char own[static 64]) {
    snprintf(own, 64, "%s/XXXXXX", dir);
    ck_assert_ptr_nonnull(mkdtemp(own));
    ck_assert_int_eq(chdir(own), 0);
}

static int lock_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    return fd;
}

static struct lock_survey survey(void) {
    struct lock_survey survey;

    ck_assert_int_eq(lock_survey_read(&survey), 0);
    return survey;
}

static const struct survey_item *find(const struct lock_survey *survey, const char *own, const char *name) {
    char path[128];

    snprintf(path, sizeof path, "%s/%s", own, name);
    for (size_t i = 0; i < survey->n; i++)
        if (strcmp(survey->items[i].facts.path, path) == 0)
            return &survey->items[i];
    return NULL;
}

static void assert_held_by_us(const struct survey_item *item) {
    ck_assert_ptr_nonnull(item);
    ck_assert_int_eq(item->judgement.verdict, VERDICT_HELD);
    ck_assert_int_eq(item->judgement.reason, REASON_LIVE);
    ck_assert_ptr_nonnull(lock_facts_find_holder(&item->facts, getpid()));
}

START_TEST(test_names) {
    _cleanup_lock_survey_ struct lock_survey found = {0};
    _cleanup_close_ int held = -EBADF, removed = -EBADF, misleading = -EBADF, dropped = -EBADF;
    char own[64];

    enter_dir(own);
    held = lock_file("held");
    removed = lock_file("removed");
    ck_assert_int_eq(unlink("removed"), 0);
    misleading = lock_file("misleading (deleted)");
    dropped = lock_file("dropped");
    ck_assert_int_eq(flock(dropped, LOCK_UN), 0);
    found = survey();
    assert_held_by_us(find(&found, own, "held"));
    assert_held_by_us(find(&found, own, "removed"));
    ck_assert(find(&found, own, "removed")->facts.unlinked);
    assert_held_by_us(find(&found, own, "misleading (deleted)"));
    ck_assert(!find(&found, own, "misleading (deleted)")->facts.unlinked);
    ck_assert_ptr_null(find(&found, own, "dropped"));
    for (size_t i = 1; i < found.n; i++)
        ck_assert_int_le(strcmp(found.items[i - 1].facts.path, found.items[i].facts.path), 0);
}
END_TEST

/* A survey that has fewer descriptors than there are locks takes several looks, and leaves the limit as it
 * was. */
START_TEST(test_few_descriptors) {
    _cleanup_lock_survey_ struct lock_survey found = {0};
    struct rlimit limit = {.rlim_cur = 600, .rlim_max = 600}, after;
    char own[64], name[16];
    int fds[400];

    enter_dir(own);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        snprintf(name, sizeof name, "%zu", i);
        fds[i] = lock_file(name);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 500;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    found = survey();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
    ck_assert_uint_eq(after.rlim_cur, 500);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        snprintf(name, sizeof name, "%zu", i);
        assert_held_by_us(find(&found, own, name));
        close(fds[i]);
    }
}
END_TEST

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 3), 0);
    return fd;
}

START_TEST(test_listeners) {
    _cleanup_lock_survey_ struct lock_survey found = {0};
    _cleanup_close_ int here = -EBADF, lost = -EBADF;
    const struct survey_item *item;
    char own[64], path[128];

    enter_dir(own);
    snprintf(path, sizeof path, "%s/here", own);
    here = listen_at(path);
    snprintf(path, sizeof path, "%s/lost", own);
    lost = listen_at(path);
    ck_assert_int_eq(unlink("lost"), 0);
    found = survey();
    assert_held_by_us(find(&found, own, "here"));
    ck_assert_uint_eq(find(&found, own, "here")->facts.listener.backlog, 3);
    item = find(&found, own, "lost");
    ck_assert_ptr_nonnull(item);
    ck_assert_int_eq(item->judgement.verdict, VERDICT_HELD);
    ck_assert_int_eq(item->judgement.reason, REASON_UNREACHABLE);
    ck_assert_uint_eq(item->facts.n_displaced, 1);
    ck_assert_ptr_nonnull(lock_facts_find_holder(&item->facts.displaced[0], getpid()));
    ck_assert_int_eq(faccessat(AT_FDCWD, "here", F_OK, 0), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("survey");
    TCase *tcase = tcase_create("survey");

    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_few_descriptors);
    tcase_add_test(tcase, test_listeners);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
