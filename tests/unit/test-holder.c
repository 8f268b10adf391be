/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "holder-fixture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "suite.h"

/* So many processes that the sweep divides them among threads, where the machine has several processors. */
enum { CROWD = 260 };

static pid_t crowd[CROWD];

static void do_nothing(const char *argument) {
    (void) argument;
}

static void end_crowd(void) {
    for (int i = 0; i < CROWD; i++)
        end(crowd[i]);
}

/* Every third holds the lock, every third has the file open, the others have nothing. */
START_TEST(test_crowd) {
    pid_t holders[CROWD];
    struct lock_facts *facts;
    unsigned openers = 0;
    size_t n = 0;

    for (int i = 0; i < CROWD; i++)
        crowd[i] = begin(i % 3 == 0 ? lock_shared : i % 3 == 1 ? just_open : do_nothing, "x.lock");
    for (int i = 0; i < CROWD; i++)
        if (i % 3 == 0)
            holders[n++] = crowd[i];
        else
            openers += i % 3 == 1;
    facts = probe_with("x.lock", PROBE_COMPLETE);
    assert_holders(facts, holders, n);
    for (size_t i = 1; i < facts->n_holders; i++)
        ck_assert_int_lt(facts->holders[i - 1].process.pid, facts->holders[i].process.pid);
    ck_assert_uint_eq(facts->openers_total, openers);
    ck_assert_uint_eq(facts->n_openers, LOCK_OPENERS_MAX);
    for (size_t i = 0; i < facts->n_openers; i++) {
        ck_assert_ptr_null(lock_facts_find_holder(facts, facts->openers[i].process.pid));
        ck_assert_int_ge(facts->openers[i].fd, 0);
    }
    ck_assert_uint_ge(facts->processes, CROWD);
    ck_assert(facts->scanned && !facts->settled);
    lock_facts_free_array(facts, 1);
    end_crowd();
}
END_TEST

/* The sweep's threads are gone when it returns, and it leaves no descriptor behind. */
static unsigned count_entries(const char *path) {
    DIR *stream = opendir(path);
    unsigned n = 0;

    while (readdir(stream))
        n++;
    closedir(stream);
    return n;
}

/* A thread that was joined has told of its end (CLONE_CHILD_CLEARTID) a moment before the kernel forgets it.
 */
static void assert_threads(unsigned n) {
    for (int i = 0; i < 10000 && count_entries("/proc/self/task") > n; i++)
        usleep(1000);
    ck_assert_uint_eq(count_entries("/proc/self/task"), n);
}

START_TEST(test_leaves_nothing) {
    pid_t pid = begin(lock_exclusively, "x.lock");
    unsigned descriptors = count_entries("/proc/self/fd"), threads = count_entries("/proc/self/task");
    sigset_t before = {0}, after = {0};

    for (int i = 0; i < CROWD; i++)
        crowd[i] = begin(do_nothing, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (enum probe_effort effort = 0; effort < PROBE_EFFORT_MAX; effort++)
        lock_facts_free_array(probe_with("x.lock", effort), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_uint_eq(count_entries("/proc/self/fd"), descriptors);
    assert_threads(threads);
    ck_assert_int_eq(memcmp(&before, &after, sizeof before), 0);
    end_crowd();
    end(pid);
}
END_TEST

static void open_and_lock(const char *path) {
    open_file(path);
    lock_exclusively(path);
    open_file(path);
}

/* Who holds the lock by one descriptor, and has the file open by others, is a holder; who looks is no opener.
 */
START_TEST(test_openers) {
    pid_t holder = begin(open_and_lock, "x.lock"), opener = begin(just_open, "x.lock");
    _cleanup_close_ int own = open("x.lock", O_RDWR | O_CLOEXEC);
    struct lock_facts *facts = probe_with("x.lock", PROBE_COMPLETE);

    ck_assert_int_ge(own, 0);
    assert_holders(facts, &holder, 1);
    ck_assert_uint_eq(facts->n_openers, 1);
    ck_assert_uint_eq(facts->openers_total, 1);
    ck_assert_int_eq(facts->openers[0].process.pid, opener);
    lock_facts_free_array(facts, 1);

    facts = probe_with("x.lock", PROBE_SETTLE);
    ck_assert_uint_eq(facts->openers_total, 0);
    lock_facts_free_array(facts, 1);

    /* With nobody's lock on it, those who have it open are told all the same. */
    end(holder);
    facts = probe_with("x.lock", PROBE_COMPLETE);
    ck_assert_uint_eq(facts->n_holders, 0);
    ck_assert_uint_eq(facts->n_openers, 1);
    ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_FREE);
    lock_facts_free_array(facts, 1);
    end(opener);
}
END_TEST

/* The recorded process lives and has it: no verdict needs more. A complete look goes on. */
START_TEST(test_settle) {
    pid_t holders[] = {begin(lock_shared, "x.lock"), begin(lock_shared, "x.lock")};
    struct lock_facts *facts = probe_with("x.lock", PROBE_SETTLE);

    ck_assert(facts->scanned && facts->settled && !facts->complete);
    ck_assert_uint_ge(facts->n_holders, 1);
    ck_assert_uint_le(facts->processes, 2);
    ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_HELD);
    lock_facts_free_array(facts, 1);

    facts = probe_with("x.lock", PROBE_COMPLETE);
    ck_assert(!facts->settled);
    assert_holders(facts, holders, 2);
    lock_facts_free_array(facts, 1);

    facts = probe_with("x.lock", PROBE_QUICK);
    ck_assert(!facts->complete);
    ck_assert_uint_ge(facts->n_holders, 1);
    lock_facts_free_array(facts, 1);
    end(holders[0]);
    end(holders[1]);
}
END_TEST

static int orphan_pipe[2];

static void lock_and_leave(const char *path) {
    pid_t child;

    lock_exclusively(path);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        for (;;)
            pause();
    }
    (void) !write(orphan_pipe[1], &child, sizeof child);
}

/* The same where nothing else asks for everything: what a descriptor stands for was displaced by nobody. */
START_TEST(test_complete_by_descriptor) {
    pid_t holders[CROWD];
    _cleanup_close_ int fd = -EBADF;
    struct probe_request request = {
        .path = "x.lock", .by_fd = true, .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE};
    struct lock_facts *facts;

    for (int i = 0; i < CROWD; i++)
        holders[i] = crowd[i] = begin(lock_shared, "x.lock");
    request.fd = fd = open("x.lock", O_PATH | O_CLOEXEC);
    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    ck_assert(!facts->settled);
    assert_holders(facts, holders, CROWD);
    lock_facts_free_array(facts, 1);
    end_crowd();
}
END_TEST

/* The recorded process is dead: then only the whole scan tells, and nothing else ends it. A quick look names
 * who has it; what it found is no ground to act on. */
START_TEST(test_settle_needs_a_living_claimant) {
    pid_t locker, orphan;
    struct lock_facts *facts;

    ck_assert_int_eq(pipe2(orphan_pipe, O_CLOEXEC), 0);
    locker = begin(lock_and_leave, "x.lock");
    ck_assert_int_eq(read(orphan_pipe[0], &orphan, sizeof orphan), sizeof orphan);
    end(locker);
    facts = probe_with("x.lock", PROBE_SETTLE);
    ck_assert(facts->scanned && !facts->settled);
    assert_holders(facts, &orphan, 1);
    lock_facts_free_array(facts, 1);

    facts = probe_with("x.lock", PROBE_QUICK);
    ck_assert(facts->settled && !facts->complete);
    assert_holders(facts, &orphan, 1);
    ck_assert_int_ne(lock_judge(facts, NULL).verdict, VERDICT_ORPHANED);
    lock_facts_free_array(facts, 1);
    ck_assert_int_eq(kill(orphan, SIGKILL), 0);
    close(orphan_pipe[0]);
    close(orphan_pipe[1]);
}
END_TEST

/* One path's thoroughness is not cut short by another's early end. */
START_TEST(test_mixed_efforts) {
    pid_t one = begin(lock_exclusively, "1.lock"), two = begin(lock_shared, "2.lock"),
          three = begin(lock_shared, "2.lock"), holders[] = {two, three};
    struct probe_request requests[] = {
        {.path = "1.lock", .style = LOCK_STYLE_INVALID, .effort = PROBE_SETTLE},
        {.path = "2.lock", .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE},
    };
    struct lock_facts *facts;

    ck_assert_int_eq(lock_probe(requests, 2, &facts), 0);
    assert_holders(&facts[0], &one, 1);
    assert_holders(&facts[1], holders, 2);
    ck_assert(!facts[1].settled);
    lock_facts_free_array(facts, 2);
    end(one);
    end(two);
    end(three);
}
END_TEST

static void *keep_table(void *nothing) {
    (void) nothing;
    if (unshare(CLONE_FILES) < 0)
        abort();
    lock_exclusively("x.lock");
    (void) !write(orphan_pipe[1], "", 1);
    for (;;)
        pause();
}

static void lock_in_thread(const char *nothing) {
    pthread_t thread;
    char byte;

    (void) nothing;
    if (pthread_create(&thread, NULL, keep_table, NULL) != 0)
        abort();
    (void) !read(orphan_pipe[0], &byte, 1);
}

/* A descriptor table that one thread has to itself. */
START_TEST(test_thread_table) {
    struct lock_facts *facts;
    pid_t pid;

    ck_assert_int_eq(pipe2(orphan_pipe, O_CLOEXEC), 0);
    pid = begin(lock_in_thread, NULL);
    facts = probe_with("x.lock", PROBE_COMPLETE);
    assert_holders(facts, &pid, 1);
    ck_assert_int_eq(facts->holders[0].via, VIA_FD);
    ck_assert_int_ne(facts->holders[0].tid, pid);
    ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_HELD);
    lock_facts_free_array(facts, 1);
    end(pid);
    close(orphan_pipe[0]);
    close(orphan_pipe[1]);
}
END_TEST

/* Of the daemon that forgets its descriptor, and keeps the lock by its memory. */
static void lock_and_map(const char *path) {
    int fd = open_file(path);

    if (ftruncate(fd, 4096) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ||
        mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
        abort();
    close(fd);
}

START_TEST(test_mapped) {
    pid_t pid = begin(lock_and_map, "x.lock");
    struct lock_facts *facts = probe_with("x.lock", PROBE_COMPLETE);

    assert_holders(facts, &pid, 1);
    ck_assert_int_eq(facts->holders[0].via, VIA_MAPS);
    lock_facts_free_array(facts, 1);
    end(pid);
}
END_TEST

enum { NOBODY = 65534 };

static void lose_rights(const char *path) {
    (void) path;
    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        abort();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Without rights over others' processes none of their descriptors is seen: that is counted, and makes the
 * scan incomplete. */
START_TEST(test_unreadable) {
    pid_t holder, pid;
    int status;

    if (getuid() != 0)
        return;
    holder = begin(lock_exclusively, "x.lock");
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(chmod(".", 0755), 0);
    pid = fork();
    if (pid == 0) {
        struct lock_facts *facts;
        bool right;

        lose_rights(NULL);
        facts = probe_with("x.lock", PROBE_COMPLETE);
        right = facts->n_holders == 0 && facts->scanned && !facts->complete && facts->unreadable_total >= 2 &&
                facts->n_unreadable >= 2 && facts->unreadable[0] == 1 &&
                facts->unreadable_total < facts->processes &&
                lock_judge(facts, NULL).verdict == VERDICT_UNKNOWN;
        for (size_t i = 1; i < facts->n_unreadable; i++)
            right &= facts->unreadable[i - 1] < facts->unreadable[i];
        lock_facts_free_array(facts, 1);
        _exit(!right);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    end(holder);
}
END_TEST

/* Want of descriptors is a failure, and no complete scan. */
START_TEST(test_scarcity) {
    pid_t holder = begin(lock_exclusively, "x.lock"), pid = fork();
    int status;

    if (pid == 0) {
        struct probe_request request = {
            .path = "x.lock", .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE};
        bool right = true, whole = false;

        for (rlim_t limit = 4; limit < 24; limit++) {
            struct rlimit few = {limit, 24};
            struct lock_facts *facts;
            int r;

            (void) setrlimit(RLIMIT_NOFILE, &few);
            r = lock_probe(&request, 1, &facts);
            if (r < 0) {
                right &= r == -EMFILE;
                continue;
            }
            whole |= lock_facts_has_lock(facts, holder);
            right &= lock_facts_has_lock(facts, holder) || lock_judge(facts, NULL).verdict == VERDICT_UNKNOWN;
            lock_facts_free_array(facts, 1);
        }
        _exit(!right || !whole);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    end(holder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("holder");
    TCase *tcase = tcase_create("holder");

    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_test(tcase, test_crowd);
    tcase_add_test(tcase, test_leaves_nothing);
    tcase_add_test(tcase, test_openers);
    tcase_add_test(tcase, test_settle);
    tcase_add_test(tcase, test_complete_by_descriptor);
    tcase_add_test(tcase, test_settle_needs_a_living_claimant);
    tcase_add_test(tcase, test_mixed_efforts);
    tcase_add_test(tcase, test_thread_table);
    tcase_add_test(tcase, test_mapped);
    tcase_add_test(tcase, test_unreadable);
    tcase_add_test(tcase, test_scarcity);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
