/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "exec/rlimits.h"

#include "suite.h"

static struct limit_config parsed(int resource, const char *text) {
    struct limit_config limit = {0};
    _cleanup_err_ struct err err = {0};
    int r = rlimit_parse_value(resource, text, &limit, &err);

    ck_assert_msg(r == 0, "%s: %s", text, err_text(&err));
    ck_assert(limit.set);
    return limit;
}

static void assert_limit(int resource, const char *text, rlim_t soft, rlim_t hard) {
    struct limit_config limit = parsed(resource, text);

    ck_assert_uint_eq(limit.soft, soft);
    ck_assert_uint_eq(limit.hard, hard);
    ck_assert(!limit.automatic);
}

static void assert_refused(int resource, const char *text, int error, const char *word) {
    struct limit_config limit = {.soft = 7};
    _cleanup_err_ struct err err = {0};
    int r = rlimit_parse_value(resource, text, &limit, &err);

    ck_assert_msg(r == error, "\"%s\": %d", text, r);
    ck_assert_str_eq(err.name, "BadLimit");
    ck_assert_msg(strstr(err_text(&err), word), "\"%s\" not in: %s", word, err_text(&err));
    ck_assert_uint_eq(limit.soft, 7); /* written on success only */
}

START_TEST(names) {
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        ck_assert_ptr_nonnull(rlimit_to_name(i));
        ck_assert_int_eq(rlimit_from_name(rlimit_to_name(i)), i);
        ck_assert_int_lt(rlimit_unit(i), RLIMIT_UNIT_MAX);
    }
    ck_assert_int_eq(rlimit_from_name("NOFILE"), RLIMIT_NOFILE);
    ck_assert_int_eq(rlimit_from_name("AS"), RLIMIT_AS);
    ck_assert_int_eq(rlimit_from_name("RTTIME"), RLIMIT_RTTIME);
    ck_assert_int_eq(rlimit_from_name("nofile"), -EINVAL);
    ck_assert_int_eq(rlimit_from_name(""), -EINVAL);
    ck_assert_ptr_null(rlimit_to_name(-1));
    ck_assert_ptr_null(rlimit_to_name(RLIMIT_NLIMITS));
    ck_assert_int_eq(rlimit_unit(-1), RLIMIT_UNIT_MAX);
}
END_TEST

START_TEST(values) {
    assert_limit(RLIMIT_NOFILE, "1024", 1024, 1024);
    assert_limit(RLIMIT_NOFILE, "1024:4096", 1024, 4096);
    assert_limit(RLIMIT_NOFILE, "0", 0, 0);
    assert_limit(RLIMIT_NOFILE, "1024:infinity", 1024, RLIM_INFINITY);
    assert_limit(RLIMIT_NPROC, "infinity", RLIM_INFINITY, RLIM_INFINITY);
    assert_limit(RLIMIT_MEMLOCK, "64K", 65536, 65536);
    assert_limit(RLIMIT_AS, "1G:2G", UINT64_C(1) << 30, UINT64_C(2) << 30);
    assert_limit(RLIMIT_CORE, "1T", UINT64_C(1) << 40, UINT64_C(1) << 40);
    assert_limit(RLIMIT_CPU, "30", 30, 30);
    assert_limit(RLIMIT_CPU, "1min 30s:2h", 90, 7200);
    assert_limit(RLIMIT_CPU, "1500ms", 2, 2);
    assert_limit(RLIMIT_RTTIME, "500", 500, 500);
    assert_limit(RLIMIT_RTTIME, "500:2ms", 500, 2000);
    assert_limit(RLIMIT_RTTIME, "1s", 1000000, 1000000);
    assert_limit(RLIMIT_NICE, "40", 40, 40);
    assert_limit(RLIMIT_NICE, "-20", 40, 40);
    assert_limit(RLIMIT_NICE, "+19", 1, 1);
    assert_limit(RLIMIT_NICE, "+5:-5", 15, 25);
    ck_assert(parsed(RLIMIT_NOFILE, "auto").automatic);
}
END_TEST

START_TEST(mistakes) {
    assert_refused(RLIMIT_NOFILE, "", -EINVAL, "LimitNOFILE=");
    assert_refused(RLIMIT_NOFILE, ":", -EINVAL, "SOFT:HARD");
    assert_refused(RLIMIT_NOFILE, "5:", -EINVAL, "SOFT:HARD");
    assert_refused(RLIMIT_NOFILE, ":5", -EINVAL, "SOFT:HARD");
    assert_refused(RLIMIT_NOFILE, "1:2:3", -EINVAL, "SOFT:HARD");
    assert_refused(RLIMIT_NOFILE, "-1", -EINVAL, "number");
    assert_refused(RLIMIT_NOFILE, "64K", -EINVAL, "number");
    assert_refused(RLIMIT_NOFILE, "auto:5", -EINVAL, "auto");
    assert_refused(RLIMIT_NOFILE, "18446744073709551615", -ERANGE, "out of range");
    assert_refused(RLIMIT_NOFILE, "99999999999999999999", -ERANGE, "out of range");
    assert_refused(RLIMIT_NPROC, "auto", -EINVAL, "only LimitNOFILE=");
    assert_refused(RLIMIT_NOFILE, "4096:1024", -EINVAL, "above the hard one");
    assert_refused(RLIMIT_NOFILE, "infinity:1024", -EINVAL, "above the hard one");
    assert_refused(RLIMIT_AS, "5X", -EINVAL, "64M");
    assert_refused(RLIMIT_CPU, "5 parsecs", -EINVAL, "30s");
    assert_refused(RLIMIT_NICE, "41", -ERANGE, "nice value");
    assert_refused(RLIMIT_NICE, "-21", -ERANGE, "nice value");
    assert_refused(RLIMIT_NICE, "+20", -ERANGE, "nice value");
    assert_refused(RLIMIT_NICE, "+-5", -EINVAL, "nice value");
    assert_refused(-1, "1", -EINVAL, "number -1");
    assert_refused(16, "1", -EINVAL, "number 16");
}
END_TEST

START_TEST(assignments) {
    struct limit_config limit;
    _cleanup_err_ struct err err = {0};
    int resource = -1;

    ck_assert_int_eq(rlimit_parse_assignment("NOFILE=10:20", &resource, &limit, &err), 0);
    ck_assert_int_eq(resource, RLIMIT_NOFILE);
    ck_assert_uint_eq(limit.soft, 10);
    ck_assert_uint_eq(limit.hard, 20);
    ck_assert_int_eq(rlimit_parse_assignment("NOFILE", &resource, &limit, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "NAME=SOFT[:HARD]"));
    ck_assert_int_eq(rlimit_parse_assignment("NOFILES=5", &resource, &limit, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "\"NOFILES\""));
    ck_assert_int_eq(rlimit_parse_assignment("=5", &resource, &limit, &err), -EINVAL);
    ck_assert_int_eq(rlimit_parse_assignment("CPU=x", &resource, &limit, NULL), -EINVAL);
    ck_assert_int_eq(resource, RLIMIT_NOFILE);
}
END_TEST

START_TEST(formats) {
    static const char *const texts[] = {"5", "5:6", "0:infinity", "infinity",
                                        "18446744073709551613:18446744073709551614"};
    char buffer[RLIMIT_FORMAT_MAX];

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        for (int resource = RLIMIT_NOFILE; resource <= RLIMIT_AS; resource++) {
            struct limit_config limit = parsed(resource, texts[i]);

            ck_assert_str_eq(rlimit_format(limit.soft, limit.hard, buffer), texts[i]);
        }
}
END_TEST

/* A machine that does not depend on the one we run on. */
static struct rlimits_system machine(bool may_raise) {
    struct rlimits_system system = {.may_raise = may_raise, .nr_open = 1048576};

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        system.current[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    system.current[RLIMIT_NOFILE] = (struct rlimit){1024, 4096};
    system.current[RLIMIT_CORE] = (struct rlimit){0, 0};
    return system;
}

static int plan(int resource, const char *text, const struct rlimits_system *system,
                const struct rlimits_need *need, struct rlimits_planned *ret, struct err *err) {
    struct limit_config limits[RLIMIT_NLIMITS] = {0};

    limits[resource] = parsed(resource, text);
    return rlimits_plan(limits, need, system, ret, err);
}

static void assert_plan(bool may_raise, const char *text, uint64_t clients, uint64_t open_files, rlim_t soft,
                        rlim_t hard) {
    struct rlimits_system system = machine(may_raise);
    struct rlimits_need need = {.client_limit = clients, .open_files = open_files};
    struct rlimits_planned planned;
    _cleanup_err_ struct err err = {0};
    int r = plan(RLIMIT_NOFILE, text, &system, &need, &planned, &err);

    ck_assert_msg(r == 0, "%s: %s", text, err_text(&err));
    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        ck_assert_int_eq(planned.of[i].set, i == RLIMIT_NOFILE);
    ck_assert_uint_eq(planned.of[RLIMIT_NOFILE].soft, soft);
    ck_assert_uint_eq(planned.of[RLIMIT_NOFILE].hard, hard);
}

START_TEST(plans) {
    assert_plan(false, "100", 0, 0, 100, 100);
    assert_plan(false, "2048:4096", 0, 0, 2048, 4096);
    assert_plan(true, "65536", 0, 0, 65536, 65536);
    assert_plan(true, "1048576", 0, 0, 1048576, 1048576);
    assert_plan(true, "infinity", 0, 0, 1048576, 1048576);
    assert_plan(true, "4096:infinity", 0, 0, 4096, 1048576);
}
END_TEST

START_TEST(plans_automatic) {
    assert_plan(false, "auto", 0, 0, 1024, 4096);
    assert_plan(false, "auto", 500, 0, 1024, 4096);
    assert_plan(false, "auto", 2000, 10, 2000 + 10 + RLIMITS_RESERVE, 4096);
    assert_plan(false, "auto", 4096 - RLIMITS_RESERVE, 0, 4096, 4096);
    assert_plan(true, "auto", 10000, 0, 10000 + RLIMITS_RESERVE, 10000 + RLIMITS_RESERVE);
}
END_TEST

static void assert_no_plan(bool may_raise, int resource, const char *text, uint64_t clients, int error,
                           const char *name, const char *const words[]) {
    struct rlimits_system system = machine(may_raise);
    struct rlimits_need need = {.client_limit = clients};
    struct rlimits_planned planned = {0};
    _cleanup_err_ struct err err = {0};

    ck_assert_int_eq(plan(resource, text, &system, &need, &planned, &err), error);
    ck_assert_str_eq(err.name, name);
    for (; *words; words++)
        ck_assert_msg(strstr(err_text(&err), *words), "\"%s\" not in: %s", *words, err_text(&err));
    ck_assert(!planned.of[resource].set);
}

START_TEST(plans_refused) {
    assert_no_plan(
        false, RLIMIT_NOFILE, "65536", 0, -EPERM, "NotPermitted",
        (const char *[]){"NOFILE", "from 4096 to 65536", "CAP_SYS_RESOURCE", "LimitNOFILE=65536", NULL});
    assert_no_plan(false, RLIMIT_NOFILE, "1024:4097", 0, -EPERM, "NotPermitted",
                   (const char *[]){"to 4097", NULL});
    assert_no_plan(false, RLIMIT_CORE, "infinity", 0, -EPERM, "NotPermitted",
                   (const char *[]){"CORE", "from 0 to infinity", NULL});
    assert_no_plan(false, RLIMIT_NOFILE, "auto", 5000, -EPERM, "NotPermitted",
                   (const char *[]){"from 4096 to the 5064", "ClientLimit=5000", NULL});
    assert_no_plan(true, RLIMIT_NOFILE, "1048577", 0, -EINVAL, "BadLimit",
                   (const char *[]){"fs.nr_open", "1048576", "sysctl fs.nr_open=1048577", NULL});
    assert_no_plan(true, RLIMIT_NOFILE, "auto", 2000000, -EINVAL, "BadLimit",
                   (const char *[]){"fs.nr_open", "lower ClientLimit=", NULL});
    assert_no_plan(true, RLIMIT_NOFILE, "auto", UINT64_MAX - 3, -ERANGE, "BadLimit",
                   (const char *[]){"too large", NULL});
}
END_TEST

/* sysctl fs.nr_open was lowered below our own hard limit: what stood stays, but the kernel refuses to set it.
 */
START_TEST(plans_nr_open_lowered) {
    struct rlimits_system system = machine(true);
    struct rlimits_need need = {0};
    struct rlimits_planned planned;

    system.nr_open = 2048;
    ck_assert_int_eq(plan(RLIMIT_NOFILE, "auto", &system, &need, &planned, NULL), 0);
    ck_assert_uint_eq(planned.of[RLIMIT_NOFILE].soft, 1024);
    ck_assert_uint_eq(planned.of[RLIMIT_NOFILE].hard, 2048);
    system.nr_open = 0; /* not known: the kernel will tell */
    ck_assert_int_eq(plan(RLIMIT_NOFILE, "99999999", &system, &need, &planned, NULL), 0);
}
END_TEST

START_TEST(reads_system) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct rlimits_system system;
    struct rlimit limit;

    ck_assert_int_ge(proc_fd, 0);
    limit = (struct rlimit){100, 200};
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
    ck_assert_int_eq(rlimits_read_system(proc_fd, &system), 0);
    ck_assert_uint_eq(system.current[RLIMIT_SIGPENDING].rlim_cur, 100);
    ck_assert_uint_eq(system.current[RLIMIT_SIGPENDING].rlim_max, 200);
    ck_assert_uint_gt(system.nr_open, 0);
    /* What it says of raising is what the kernel does. */
    limit = (struct rlimit){100, 201};
    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit) == 0, system.may_raise);
}
END_TEST

START_TEST(verifies) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct rlimits_mismatch mismatches[RLIMIT_NLIMITS];
    struct rlimits_planned planned = {0};
    struct rlimit limit = {100, 200};

    ck_assert_int_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
    limit = (struct rlimit){4096, 8192};
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    planned.of[RLIMIT_SIGPENDING].set = planned.of[RLIMIT_CORE].set = planned.of[RLIMIT_MEMLOCK].set = true;
    planned.of[RLIMIT_SIGPENDING].soft = 100;
    planned.of[RLIMIT_SIGPENDING].hard = 200;
    planned.of[RLIMIT_MEMLOCK].soft = 4096;
    planned.of[RLIMIT_MEMLOCK].hard = 8192;
    ck_assert_int_eq(rlimits_verify(proc_fd, getpid(), &planned, mismatches), 0);
    planned.of[RLIMIT_SIGPENDING].hard = 201;
    planned.of[RLIMIT_MEMLOCK].soft = RLIM_INFINITY;
    ck_assert_int_eq(rlimits_verify(proc_fd, getpid(), &planned, mismatches), 2);
    ck_assert_int_eq(mismatches[1].resource, RLIMIT_SIGPENDING);
    ck_assert_uint_eq(mismatches[1].soft, 100);
    ck_assert_uint_eq(mismatches[1].hard, 200);
    ck_assert_int_eq(mismatches[0].resource, RLIMIT_MEMLOCK);
    ck_assert_uint_eq(mismatches[0].soft, 4096);
    planned.of[RLIMIT_SIGPENDING].set = planned.of[RLIMIT_MEMLOCK].set = false;
    ck_assert_int_eq(rlimits_verify(proc_fd, getpid(), &planned, mismatches), 0);
    ck_assert_int_eq(rlimits_verify(proc_fd, 0x7ffffff0, &planned, mismatches), -ESRCH);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rlimits");
    TCase *tcase = tcase_create("rlimits");

    tcase_add_test(tcase, names);
    tcase_add_test(tcase, values);
    tcase_add_test(tcase, mistakes);
    tcase_add_test(tcase, assignments);
    tcase_add_test(tcase, formats);
    tcase_add_test(tcase, plans);
    tcase_add_test(tcase, plans_automatic);
    tcase_add_test(tcase, plans_refused);
    tcase_add_test(tcase, plans_nr_open_lowered);
    tcase_add_test(tcase, reads_system);
    tcase_add_test(tcase, verifies);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
