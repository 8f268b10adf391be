/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "holder-fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include "suite.h"

/* Longer than a tick of the clock that file times come from. */
static void pause_for_clock(void) {
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
}

static void assert_displaced(const char *path, enum probe_effort effort, pid_t pid, bool unlinked,
                             const char *now_at) {
    _cleanup_free_ char *here = realpath(".", NULL);
    struct lock_facts *facts = probe_with(path, effort);
    const struct lock_facts *displaced = facts->displaced;
    struct lock_judgement judgement = lock_judge(facts, NULL);
    char full[4096];

    snprintf(full, sizeof full, "%s/%s", here, now_at);
    ck_assert_uint_eq(facts->n_displaced, 1);
    ck_assert_str_eq(displaced->path, full);
    ck_assert_int_eq(displaced->unlinked, unlinked);
    ck_assert_uint_eq(displaced->n_displaced, 0);
    ck_assert_int_eq(displaced->families[LOCK_FAMILY_FLOCK], FAMILY_HELD);
    ck_assert_int_eq(displaced->recorded.pid, pid);
    assert_holders(displaced, &pid, 1);
    ck_assert_uint_eq(facts->n_holders, 0);
    ck_assert_str_eq(verdict_to_string(judgement.verdict), "held");
    ck_assert_str_eq(verdict_reason_to_string(judgement.reason), "split");
    lock_facts_free_array(facts, 1);
}

static void assert_none(const char *path, enum verdict verdict) {
    struct lock_facts *facts = probe_with(path, PROBE_COMPLETE);

    ck_assert_msg(facts->n_displaced == 0, "taken for what stood at %s: %s", path,
                  facts->n_displaced ? facts->displaced[0].path : "");
    ck_assert_str_eq(verdict_to_string(lock_judge(facts, NULL).verdict), verdict_to_string(verdict));
    lock_facts_free_array(facts, 1);
}

START_TEST(test_deleted) {
    pid_t pid = begin(lock_exclusively, "x.lock");
    struct lock_facts *facts;

    ck_assert_int_eq(unlink("x.lock"), 0);
    assert_displaced("x.lock", PROBE_COMPLETE, pid, true, "x.lock");
    assert_displaced("./x.lock", PROBE_COMPLETE, pid, true, "x.lock");
    assert_none("y.lock", VERDICT_ABSENT);
    assert_none("x.loc", VERDICT_ABSENT);
    close(open_file("x.lock"));
    assert_displaced("x.lock", PROBE_COMPLETE, pid, true, "x.lock");
    facts = probe_with("x.lock", PROBE_SETTLE); /* it was not asked for */
    ck_assert_uint_eq(facts->n_displaced, 0);
    lock_facts_free_array(facts, 1);
    end(pid);
    assert_none("x.lock", VERDICT_FREE);
}
END_TEST

/* The new file at the path has a living owner of its own. */
START_TEST(test_deleted_and_taken) {
    pid_t old = begin(lock_exclusively, "x.lock"), new;
    struct lock_facts *facts;

    ck_assert_int_eq(unlink("x.lock"), 0);
    new = begin(lock_exclusively, "x.lock");
    facts = probe_with("x.lock", PROBE_COMPLETE);
    assert_holders(facts, &new, 1);
    ck_assert_uint_eq(facts->n_displaced, 1);
    assert_holders(&facts->displaced[0], &old, 1);
    ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_HELD);
    lock_facts_free_array(facts, 1);
    end(new);
    end(old);
}
END_TEST

static void lock_with_child(const char *path) {
    lock_exclusively(path);
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
}

/* One file, however many have it, by however many descriptors. */
START_TEST(test_deleted_and_shared) {
    pid_t pid = begin(lock_with_child, "x.lock");
    struct lock_facts *facts;

    ck_assert_int_eq(unlink("x.lock"), 0);
    facts = probe_with("x.lock", PROBE_COMPLETE);
    ck_assert_uint_eq(facts->n_displaced, 1);
    ck_assert_uint_eq(facts->displaced[0].n_holders, 2);
    lock_facts_free_array(facts, 1);
    end(pid);
}
END_TEST

/* Another path's answer is known early; that ends no search for what stood here. */
START_TEST(test_beside_settled) {
    pid_t living = begin(lock_exclusively, "a.lock"), pid = begin(lock_exclusively, "x.lock");
    struct probe_request requests[] = {
        {.path = "a.lock", .style = LOCK_STYLE_INVALID, .effort = PROBE_SETTLE},
        {.path = "x.lock", .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE},
    };
    struct lock_facts *facts;

    ck_assert_int_eq(unlink("x.lock"), 0);
    ck_assert_int_eq(lock_probe(requests, 2, &facts), 0);
    assert_holders(&facts[0], &living, 1);
    ck_assert_uint_eq(facts[1].n_displaced, 1);
    assert_holders(&facts[1].displaced[0], &pid, 1);
    lock_facts_free_array(facts, 2);
    end(pid);
    end(living);
}
END_TEST

/* Who has a deleted file merely open keeps nobody out. */
START_TEST(test_deleted_and_unlocked) {
    pid_t pid = begin(just_open, "x.lock");

    ck_assert_int_eq(unlink("x.lock"), 0);
    assert_none("x.lock", VERDICT_ABSENT);
    end(pid);
}
END_TEST

START_TEST(test_directory_gone) {
    pid_t pid;

    ck_assert_int_eq(mkdir("run", 0755), 0);
    ck_assert_int_eq(mkdir("run/sub", 0755), 0);
    pid = begin(lock_exclusively, "run/sub/x.lock");
    ck_assert_int_eq(unlink("run/sub/x.lock"), 0);
    ck_assert_int_eq(rmdir("run/sub"), 0);
    assert_displaced("run/sub/x.lock", PROBE_COMPLETE, pid, true, "run/sub/x.lock");
    ck_assert_int_eq(rmdir("run"), 0);
    assert_displaced("run/sub/x.lock", PROBE_COMPLETE, pid, true, "run/sub/x.lock");
    assert_displaced("./run//sub/./x.lock", PROBE_COMPLETE, pid, true, "run/sub/x.lock");
    assert_none("run/x.lock", VERDICT_ABSENT);
    end(pid);
}
END_TEST

/* Asked for by another way to the same place. */
START_TEST(test_through_link) {
    pid_t pid;

    ck_assert_int_eq(mkdir("run", 0755), 0);
    ck_assert_int_eq(symlink("run", "var"), 0);
    pid = begin(lock_exclusively, "run/x.lock");
    ck_assert_int_eq(unlink("run/x.lock"), 0);
    assert_displaced("var/x.lock", PROBE_COMPLETE, pid, true, "run/x.lock");
    end(pid);
}
END_TEST

/* A file of that very name exists, as what is deleted is called elsewhere. */
START_TEST(test_named_deleted) {
    pid_t pid = begin(lock_exclusively, "x.lock (deleted)");

    assert_none("x.lock", VERDICT_ABSENT);
    end(pid);
}
END_TEST

static const struct {
    const char *name;
    bool at_once; /* renamed before the clock of file times has moved */
} renames[] = {{"x.lock.old", true},
               {"x.lock~", true},
               {"x.lock.old", false},
               {"x.lock.1", false},
               {"x.lock-moved", false}};

START_TEST(test_renamed) {
    pid_t pid = begin(lock_exclusively, "x.lock");

    if (!renames[_i].at_once)
        pause_for_clock();
    ck_assert_int_eq(rename("x.lock", renames[_i].name), 0);
    assert_displaced("x.lock", PROBE_COMPLETE, pid, false, renames[_i].name);
    pause_for_clock();
    close(open_file("x.lock"));
    assert_displaced("x.lock", PROBE_COMPLETE, pid, false, renames[_i].name);
    /* Under its new name it is a lock like any other. */
    {
        struct lock_facts *facts = probe_with(renames[_i].name, PROBE_COMPLETE);

        assert_holders(facts, &pid, 1);
        ck_assert_uint_eq(facts->n_displaced, 0);
        lock_facts_free_array(facts, 1);
    }
    end(pid);
    assert_none("x.lock", VERDICT_FREE);
}
END_TEST

/* The lock of a second instance was never at the path of the first one's, whichever of them is older. */
START_TEST(test_second_instance) {
    pid_t second = begin(lock_exclusively, "x.lock.2"), third;

    pause_for_clock();
    assert_none("x.lock", VERDICT_ABSENT);
    close(open_file("x.lock"));
    pause_for_clock();
    third = begin(lock_exclusively, "x.lock3");
    assert_none("x.lock", VERDICT_FREE);
    end(second);
    end(third);
}
END_TEST

/* What was put aside before its present holder began is no trace of a holder that had it at the path. */
START_TEST(test_put_aside_before) {
    pid_t pid;

    close(open_file("x.lock"));
    pause_for_clock();
    ck_assert_int_eq(rename("x.lock", "x.lock.old"), 0);
    pause_for_clock();
    pause_for_clock();
    pid = begin(lock_exclusively, "x.lock.old");
    assert_none("x.lock", VERDICT_ABSENT);
    end(pid);
}
END_TEST

/* A second name of the path's own file is no other file. */
START_TEST(test_hard_link) {
    pid_t pid = begin(lock_exclusively, "x.lock");

    pause_for_clock();
    ck_assert_int_eq(link("x.lock", "x.lock.old"), 0);
    assert_none("x.lock", VERDICT_HELD);
    end(pid);
}
END_TEST

/* In a mount namespace of its own, on a file system of its own: by its text the path is the same. */
static void lock_elsewhere(const char *path) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "run", "tmpfs", 0, NULL) < 0)
        abort();
    lock_exclusively(path);
    if (unlink(path) < 0)
        abort();
}

START_TEST(test_other_device) {
    _cleanup_free_ char *here = realpath(".", NULL);
    char shown[4096] = "", expected[4200], link[64];
    pid_t pid;

    if (getuid() != 0)
        return;
    ck_assert_int_eq(mkdir("run", 0755), 0);
    pid = begin(lock_elsewhere, "run/x.lock");
    snprintf(expected, sizeof expected, "%s/run/x.lock (deleted)", here);
    for (int fd = 3; fd < 64 && strcmp(shown, expected) != 0; fd++) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int) pid, fd);
        memset(shown, 0, sizeof shown);
        (void) !readlink(link, shown, sizeof shown - 1);
    }
    ck_assert_msg(strcmp(shown, expected) == 0, "the kernel tells the two apart by itself: %s", shown);
    assert_none("run/x.lock", VERDICT_ABSENT);
    end(pid);
}
END_TEST

static void lock_relative_to_pid(const char *path) {
    char text[16];
    int fd = open_file(path);

    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0)
        abort();
    snprintf(text, sizeof text, "%d\n", (int) getpid());
    (void) !write(fd, text, strlen(text));
}

/* Several generations, each of which lost its file. */
START_TEST(test_many) {
    pid_t pids[LOCK_DISPLACED_MAX + 2];
    struct lock_facts *facts;

    for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
        pids[i] = begin(lock_relative_to_pid, "x.pid");
        ck_assert_int_eq(unlink("x.pid"), 0);
    }
    facts = probe_with("x.pid", PROBE_COMPLETE);
    ck_assert_uint_eq(facts->n_displaced, LOCK_DISPLACED_MAX);
    for (size_t i = 0; i < facts->n_displaced; i++) {
        ck_assert_uint_eq(facts->displaced[i].n_holders, 1);
        ck_assert_int_eq(facts->displaced[i].holders[0].process.pid, facts->displaced[i].record.pid);
        for (size_t j = 0; j < i; j++)
            ck_assert_int_ne(facts->displaced[j].record.pid, facts->displaced[i].record.pid);
    }
    lock_facts_free_array(facts, 1);
    for (size_t i = 0; i < ELEMENTSOF(pids); i++)
        end(pids[i]);
}
END_TEST

/* fcntl(2): closing a descriptor of it would drop our own lock on the deleted file. */
START_TEST(test_own_posix_lock) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = open_file("x.lock");
    char self[64];
    pid_t child;
    int status;

    ck_assert_int_eq(fcntl(fd, F_SETLK, &range), 0);
    ck_assert_int_eq(unlink("x.lock"), 0);
    lock_facts_free_array(probe_with("x.lock", PROBE_COMPLETE), 1);
    snprintf(self, sizeof self, "/proc/%d/fd/%d", (int) getpid(), fd);
    child = fork();
    if (child == 0) {
        int other = open(self, O_RDWR | O_CLOEXEC);

        _exit(fcntl(other, F_GETLK, &range) == 0 && range.l_type != F_UNLCK);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WEXITSTATUS(status) == 1, "probing dropped our own lock");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("displaced");
    TCase *tcase = tcase_create("displaced");

    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_test(tcase, test_deleted);
    tcase_add_test(tcase, test_deleted_and_taken);
    tcase_add_test(tcase, test_deleted_and_unlocked);
    tcase_add_test(tcase, test_deleted_and_shared);
    tcase_add_test(tcase, test_beside_settled);
    tcase_add_test(tcase, test_directory_gone);
    tcase_add_test(tcase, test_through_link);
    tcase_add_test(tcase, test_named_deleted);
    tcase_add_loop_test(tcase, test_renamed, 0, (int) ELEMENTSOF(renames));
    tcase_add_test(tcase, test_second_instance);
    tcase_add_test(tcase, test_put_aside_before);
    tcase_add_test(tcase, test_hard_link);
    tcase_add_test(tcase, test_other_device);
    tcase_add_test(tcase, test_many);
    tcase_add_test(tcase, test_own_posix_lock);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
