/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Links and files that say by their form whose they are: what of it lock_clear() removes. */

#include <sys/file.h>
#include <time.h>

#include "base/value.h"
#include "clear-fixture.h"
#include "suite.h"

#define HOUR_USEC (3600 * USEC_PER_SEC)

static char host[LOCK_HOST_MAX];

static void find_host(void) {
    ck_assert_int_eq(gethostname(host, sizeof host - 1), 0);
}

/* What stands in place of %h, %p, %n, %b, %s: host, PID, PID namespace, when this boot began, and now. */
static void expand(const char *format, pid_t pid, int64_t boot_shift_seconds, char *ret, size_t size) {
    struct lock_facts *facts = probe("nothing");
    size_t n = 0;

    for (const char *p = format; *p && n < size; p++) {
        if (*p != '%') {
            ret[n++] = *p;
            continue;
        }
        switch (*++p) {
        case 'h':
            n += (size_t) snprintf(ret + n, size - n, "%s", host);
            break;
        case 'p':
            n += (size_t) snprintf(ret + n, size - n, "%d", (int) pid);
            break;
        case 'n':
            n += (size_t) snprintf(ret + n, size - n, "%llx", (unsigned long long) facts->pid_namespace);
            break;
        case 's':
            n += (size_t) snprintf(ret + n, size - n, "%lld", (long long) time(NULL));
            break;
        default:
            n += (size_t) snprintf(ret + n, size - n, "%lld",
                                   (long long) (facts->boot_usec / USEC_PER_SEC) +
                                       (long long) boot_shift_seconds);
        }
    }
    ck_assert_uint_lt(n, size);
    ret[n] = '\0';
    lock_facts_free_array(facts, 1);
}

static void make_link(const char *name, const char *format, pid_t pid) {
    char target[256];

    expand(format, pid, 0, target, sizeof target);
    ck_assert_int_eq(symlink(target, name), 0);
}

static void make_file(const char *name, const char *format, pid_t pid) {
    char text[512];
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

    expand(format, pid, 0, text, sizeof text);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static const struct {
    const char *name, *text;
    bool link;
} forms[] = {
    {"SingletonLock", "%h-%p", true},
    {".#notes", "u@%h.%p:%b", true},
    {".#notes", "u@%h.%p", true},
    {"wlock", "%h/%n:%p", true},
    {"lock", "%h:%p", true},
    {"lock", "127.0.1.1:+%p", true},
    {".#notes", "u@%h.%p:%b", false},
    {"wlock", "%h/%n:%p", false},
    {"postmaster.pid", "%p\n/d\n%s\n5432\n\n\n", false},
    {"postmaster.pid", "-%p\n/d\n%s\n5432\n\n\n", false},
    {".s.PGSQL.5432.lock", "%p\n/d\n%s\n5432\n/d\n", false},
};

static void make(int form, pid_t pid) {
    (forms[form].link ? make_link : make_file)(forms[form].name, forms[form].text, pid);
}

START_TEST(test_stale) {
    _cleanup_err_ struct err err = {0};
    const char *name = forms[_i].name;

    make(_i, dead_pid());
    ck_assert_msg(probe_and_clear(name, false, true, &err) == 1, "%s: %s", name, err_text(&err));
    ck_assert(exists(name));
    ck_assert_msg(probe_and_clear(name, false, false, &err) == 1, "%s: %s", name, err_text(&err));
    ck_assert_uint_eq(count_files(), 0);
}
END_TEST

START_TEST(test_held) {
    _cleanup_err_ struct err err = {0};

    make(_i, getppid());
    assert_refused(probe_and_clear(forms[_i].name, true, false, &err), EBUSY, "Held", &err);
    ck_assert(exists(forms[_i].name));
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

/* What is no lock, and what somebody else is to judge, though no such process is here. */
START_TEST(test_not_ours) {
    /* clang-format off */
    static const struct {
        const char *name, *target;
    } links[] = {
        {"SingletonLock", "elsewhere-%p"}, {".#notes", "u@elsewhere.%p"}, {"lock", "elsewhere:%p"},
        {"lock", "192.0.2.1:+%p"},         {"wlock", "elsewhere/%n:%p"},  {"wlock", "%h/1:%p"},
        {"current", "%h-%p"},              {"lock", "%h-%p"},             {"notes", "u@%h.%p"},
        {"SingletonLock", "/%h-%p"},       {"SingletonLock", "%h-0%p"},   {"SingletonLock", "%h-%p\n"},
    };
    /* clang-format on */
    _cleanup_err_ struct err err = {0};

    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        make_link(links[i].name, links[i].target, dead_pid());
        assert_refused(probe_and_clear(links[i].name, true, false, &err), EPERM, "NotClearable", &err);
        ck_assert(exists(links[i].name));
        ck_assert_uint_eq(count_files(), 1);
        ck_assert_int_eq(unlink(links[i].name), 0);
    }
}
END_TEST

/* A link to a file is followed by nobody. */
START_TEST(test_link_to_file) {
    _cleanup_err_ struct err err = {0};

    write_pid("real.pid", dead_pid());
    ck_assert_int_eq(symlink("real.pid", "x.pid"), 0);
    assert_refused(probe_and_clear("x.pid", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert(exists("real.pid") && exists("x.pid"));
}
END_TEST

/* Emacs says which boot: the number of one that ran before is no proof against who has it now, for the clock
 * may have been set. */
START_TEST(test_other_boot) {
    _cleanup_err_ struct err err = {0};
    char target[256];

    expand("u@%h.%p:%b", getppid(), -3600, target, sizeof target);
    ck_assert_int_eq(symlink(target, ".#notes"), 0);
    assert_refused(probe_and_clear(".#notes", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_int_eq(unlink(".#notes"), 0);

    /* the number is nobody's */
    expand("u@%h.%p:%b", dead_pid(), -3600, target, sizeof target);
    ck_assert_int_eq(symlink(target, ".#notes"), 0);
    ck_assert_int_eq(probe_and_clear(".#notes", true, false, &err), 1);

    /* an old link, and a process that has begun only now: not so long after its boot as the link was made
     * after that one, so that it may be the same process */
    expand("u@%h.%p:%b", getpid(), -3600, target, sizeof target);
    ck_assert_int_eq(symlink(target, ".#notes"), 0);
    {
        struct lock_facts *facts = probe(".#notes");
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};

        times[1].tv_sec =
            (time_t) ((facts->recorded.process.start_usec - HOUR_USEC + 2 * USEC_PER_SEC) / USEC_PER_SEC);
        lock_facts_free_array(facts, 1);
        ck_assert_int_eq(utimensat(AT_FDCWD, ".#notes", times, AT_SYMLINK_NOFOLLOW), 0);
        facts = probe(".#notes");
        facts->recorded.is_self = false; /* as anybody else would see us */
        ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_UNKNOWN);
        facts->modified_usec -= 60 * USEC_PER_SEC; /* no: the number was given out again */
        ck_assert_int_eq(lock_judge(facts, NULL).verdict, VERDICT_STALE);
        lock_facts_free_array(facts, 1);
    }
}
END_TEST

/* Between the judging and the acting: nothing that has changed goes. */
START_TEST(test_changed) {
    _cleanup_err_ struct err err = {0};
    pid_t dead = dead_pid();
    struct lock_facts *facts;

    write_link("SingletonLock", dead);
    facts = probe("SingletonLock");
    switch (_i) {
    case 0: /* the same, made anew */
        ck_assert_int_eq(unlink("SingletonLock"), 0);
        usleep(20000);
        write_link("SingletonLock", dead);
        break;
    case 1: /* a living one's */
        ck_assert_int_eq(unlink("SingletonLock"), 0);
        write_link("SingletonLock", getppid());
        break;
    case 2: /* a file */
        ck_assert_int_eq(unlink("SingletonLock"), 0);
        write_pid("SingletonLock", dead);
        break;
    default: /* a directory */
        ck_assert_int_eq(unlink("SingletonLock"), 0);
        ck_assert_int_eq(mkdir("SingletonLock", 0755), 0);
    }
    assert_refused(clear_judged(facts, true, false, &err), ESTALE, "Changed", &err);
    lock_facts_free_array(facts, 1);
    ck_assert(exists("SingletonLock"));
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

/* Only one cleaner at a time; and none waits for another. */
START_TEST(test_other_cleaner) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    write_link("SingletonLock", dead_pid());
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    assert_refused(probe_and_clear("SingletonLock", false, false, &err), EBUSY, "Held", &err);
    ck_assert(exists("SingletonLock"));
    ck_assert_int_eq(flock(fd, LOCK_UN), 0);
    ck_assert_int_eq(probe_and_clear("SingletonLock", false, false, &err), 1);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0); /* it keeps no lock */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clear-link");
    TCase *tcase = tcase_create("clear-link");

    tcase_set_timeout(tcase, 30);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_unchecked_fixture(tcase, find_host, NULL);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_loop_test(tcase, test_stale, 0, ELEMENTSOF(forms));
    tcase_add_loop_test(tcase, test_held, 0, ELEMENTSOF(forms));
    tcase_add_test(tcase, test_not_ours);
    tcase_add_test(tcase, test_link_to_file);
    tcase_add_test(tcase, test_other_boot);
    tcase_add_loop_test(tcase, test_changed, 0, 4);
    tcase_add_test(tcase, test_other_cleaner);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
