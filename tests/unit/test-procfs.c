/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"

#include "suite.h"

#define TAIL " 0 0 20 0 3 0 987654 0 0 18446744073709551615 0 0"

START_TEST(test_stat) {
    struct proc_stat stat;

    ck_assert_int_eq(procfs_parse_stat("812 (kea-dhcp4) S 1 800 700 0 -1 4194560 1 2 3 4 5 6" TAIL, &stat),
                     0);
    ck_assert_int_eq(stat.pid, 812);
    ck_assert_str_eq(stat.comm, "kea-dhcp4");
    ck_assert_int_eq(stat.state, 'S');
    ck_assert_int_eq(stat.ppid, 1);
    ck_assert_int_eq(stat.pgrp, 800);
    ck_assert_int_eq(stat.session, 700);
    ck_assert_uint_eq(stat.threads, 3);
    ck_assert_uint_eq(stat.start_ticks, 987654);
    ck_assert(!stat.kernel_thread);
    ck_assert_int_eq(procfs_parse_stat("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 6" TAIL, &stat), 0);
    ck_assert(stat.kernel_thread);
}
END_TEST

static const struct {
    const char *comm, *printed;
} comms[] = {
    {"a b", "a b"},
    {") R 1 1", ") R 1 1"},
    {"(", "("},
    {"))))", "))))"},
    {"1 (x) Z 9 9", "1 (x) Z 9 9"},
    {"", ""},
    {"a\nb\033[31m", "a?b?[31m"},
    {"\xff\xfe", "??"},
    {"kworker/0:1-events_of_a_very_long_name_that_goes_on_and_on_and_on_and_on",
     "kworker/0:1-events_of_a_very_long_name_that_goes_on_and_on_and_"},
};

START_TEST(test_stat_evil_comm) {
    struct proc_stat stat;
    char text[512];

    snprintf(text, sizeof text, "7 (%s) T 5 6 7 0 -1 4194560 1 2 3 4 5 6" TAIL, comms[_i].comm);
    ck_assert_int_eq(procfs_parse_stat(text, &stat), 0);
    ck_assert_str_eq(stat.comm, comms[_i].printed);
    ck_assert_int_eq(stat.state, 'T');
    ck_assert_int_eq(stat.ppid, 5);
    ck_assert_uint_eq(stat.start_ticks, 987654);
}
END_TEST

START_TEST(test_stat_refused) {
    static const char *const texts[] = {
        "",
        "812",
        "812 (x",
        "812 x) S 1",
        ") (",
        "(x) S 1 1 1 0 -1 0 1 2 3 4 5 6" TAIL,
        "812 (x) S 1 800 700 0 -1",
        "x (x) S 1 1 1 0 -1 0 1 2 3 4 5 6" TAIL,
        "99999999999 (x) S 1 1 1 0 -1 0 1 2 3 4 5 6" TAIL,
        "12345678901234567890123 (x) S 1 1 1 0 -1 0 1 2 3 4 5 6" TAIL,
    };
    struct proc_stat stat = {.pid = 42};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        ck_assert_msg(procfs_parse_stat(texts[i], &stat) == -EBADMSG, "%s", texts[i]);
    ck_assert_int_eq(stat.pid, 42);
}
END_TEST

START_TEST(test_status) {
    struct proc_status status;

    ck_assert_int_eq(
        procfs_parse_status("Name:\tx\nTgid:\t812\nPid:\t813\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", &status),
        0);
    ck_assert_int_eq(status.tgid, 812);
    ck_assert_uint_eq(status.uid, 2); /* the effective one */
    ck_assert_uint_eq(status.gid, 6);
    ck_assert_int_eq(status.ns_pid, 812);
    ck_assert_uint_eq(status.ns_depth, 1);
    ck_assert_int_eq(
        procfs_parse_status("Tgid:\t812\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t812\t30\t4\nx:\t1\n",
                            &status),
        0);
    ck_assert_int_eq(status.ns_pid, 4);
    ck_assert_uint_eq(status.ns_depth, 3);
    ck_assert_int_eq(
        procfs_parse_status("Tgid:\t812\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t812\n", &status), 0);
    ck_assert_int_eq(status.ns_pid, 812);
    ck_assert_uint_eq(status.ns_depth, 1);
}
END_TEST

/* A name cannot bring a row of its own: the kernel writes its newlines as \n. */
START_TEST(test_status_refused) {
    struct proc_status status = {.tgid = 42};

    ck_assert_int_eq(procfs_parse_status("", &status), -EBADMSG);
    ck_assert_int_eq(procfs_parse_status("Name:\tTgid:\t5\nUid:\t0\t0\nGid:\t0\t0\n", &status), -EBADMSG);
    ck_assert_int_eq(procfs_parse_status("Tgid:\tx\nUid:\t0\t0\nGid:\t0\t0\n", &status), -EBADMSG);
    ck_assert_int_eq(procfs_parse_status("Tgid:\t1\nUid:\t0\nGid:\t0\t0\n", &status), -EBADMSG);
    ck_assert_int_eq(procfs_parse_status("Tgid:\t1\nUid:\t0\t0\nGid:\t0\t0\nNSpid:\t\n", &status), -EBADMSG);
    ck_assert_int_eq(status.tgid, 42);
}
END_TEST

/* A directory that looks like /proc, with the one file 7/NAME. */
static int make_proc(char *dir, const char *name, const char *text) {
    char path[256];
    int fd;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/7", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/7/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
    fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void remove_proc(const char *dir, const char *name) {
    char path[256];

    snprintf(path, sizeof path, "%s/7/%s", dir, name);
    unlink(path);
    snprintf(path, sizeof path, "%s/7", dir);
    rmdir(path);
    rmdir(dir);
}

static const struct {
    const char *text, *path; /* NULL: -ENOENT; "": -EBADMSG */
} cgroups[] = {
    {"0::/system.slice/kea.service\n", "/system.slice/kea.service"},
    {"0::/\n", "/"},
    {"12:cpu,cpuacct:/a\n1:name=systemd:/user.slice/session-1.scope\n", "/user.slice/session-1.scope"},
    {"1:name=systemd:/system.slice/x.service\n0::/\n", "/system.slice/x.service"},
    {"1:name=systemd:/old\n0::/new\n", "/new"},
    {"0::/new\n1:name=systemd:/old\n", "/new"},
    {"12:cpu:/\n", NULL},
    {"", NULL},
    /* names that are made to look like other rows */
    {"12:cpu:/evil:name=systemd:/fake\n1:name=systemd:/true\n", "/true"},
    {"0::/with:colon\n", "/with:colon"},
    {"0::/gone (deleted)\n", "/gone (deleted)"},
    {"0::/a\033]0;b\n", "/a?]0;b"},
    {"nonsense\n", ""},
    {"0:\n", ""},
};

START_TEST(test_cgroup) {
    char dir[] = "/tmp/test-procfs.XXXXXX";
    _cleanup_close_ int fd = make_proc(dir, "cgroup", cgroups[_i].text);
    _cleanup_free_ char *path = NULL;
    int r = procfs_read_cgroup(fd, 7, &path);

    remove_proc(dir, "cgroup");
    if (!cgroups[_i].path || !cgroups[_i].path[0]) {
        ck_assert_int_eq(r, cgroups[_i].path ? -EBADMSG : -ENOENT);
        return;
    }
    ck_assert_int_eq(r, 0);
    ck_assert_str_eq(path, cgroups[_i].path);
}
END_TEST

START_TEST(test_limits) {
    struct proc_limit limits[16], kept[16] = {{42, 42}};
    _cleanup_close_ int proc_fd = procfs_open();
    struct rlimit own = {100, 200};
    char *cut;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &own), 0);
    ck_assert_int_eq(procfs_read_limits(proc_fd, getpid(), limits), 0);
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(getrlimit((__rlimit_resource_t) i, &own), 0);
        ck_assert_msg(limits[i].soft == own.rlim_cur && limits[i].hard == own.rlim_max, "%d", i);
    }
    ck_assert_uint_eq(limits[RLIMIT_NOFILE].soft, 100);
    ck_assert_int_eq(procfs_parse_limits("", kept), -EBADMSG);
    cut = strdup("Max cpu time              unlimited            much                 seconds\n");
    ck_assert_int_eq(procfs_parse_limits(cut, kept), -EBADMSG);
    free(cut);
    ck_assert_uint_eq(kept[0].soft, 42);
}
END_TEST

START_TEST(test_self) {
    _cleanup_close_ int proc_fd = procfs_open();
    _cleanup_free_ char *exe = NULL, *cmdline = NULL, *none = NULL;
    struct proc_stat stat;
    struct proc_status status;
    uint64_t usec;
    char boot_id[37];

    ck_assert_int_ge(proc_fd, 0);
    ck_assert(procfs_is_own_namespace(proc_fd));
    ck_assert_int_eq(prctl(PR_SET_NAME, "e) Z 1\n(vil"), 0);
    ck_assert_int_eq(procfs_read_stat(proc_fd, getpid(), &stat), 0);
    ck_assert_str_eq(stat.comm, "e) Z 1?(vil");
    ck_assert_int_eq(stat.ppid, getppid());
    ck_assert_int_eq(stat.pgrp, getpgrp());
    ck_assert_int_eq(stat.state, 'R');
    ck_assert_int_eq(procfs_read_status(proc_fd, getpid(), &status), 0);
    ck_assert_int_eq(status.tgid, getpid());
    ck_assert_uint_eq(status.uid, geteuid());
    ck_assert_int_eq(procfs_read_exe(proc_fd, getpid(), &exe), 0);
    ck_assert_int_eq(exe[0], '/');
    ck_assert_int_eq(procfs_read_cmdline(proc_fd, getpid(), &cmdline), 0);
    ck_assert_int_eq(procfs_read_environ(proc_fd, getpid(), "NO SUCH VARIABLE", &none), -ENOENT);
    ck_assert_int_eq(procfs_read_boot_id(proc_fd, boot_id), 0);
    ck_assert_uint_eq(strlen(boot_id), 36);
    usec = procfs_ticks_to_realtime_usec(stat.start_ticks);
    ck_assert(usec <= now_usec(CLOCK_REALTIME) && usec + 10 * 60 * USEC_PER_SEC > now_usec(CLOCK_REALTIME));
    ck_assert_int_eq(procfs_read_stat(proc_fd, 0x7fffffff, &stat), -ESRCH);
}
END_TEST

/* What a process can choose comes back printable, whatever it is. */
START_TEST(test_environ_evil) {
    char other[] = "LATCHD_SERVICEX=no", own[] = "LATCHD_SERVICE=a\xff\033[2Jb";
    char *const environment[] = {other, own, NULL};
    _cleanup_close_ int proc_fd = procfs_open();
    _cleanup_free_ char *value = NULL, *cmdline = NULL;
    pid_t child = fork();

    if (child == 0) {
        execle("/bin/sleep", "sl\tee\x80p", "100", NULL, environment);
        _exit(1);
    }
    for (int i = 0; i < 200 && !value; i++) {
        (void) procfs_read_environ(proc_fd, child, "LATCHD_SERVICE", &value);
        usleep(5000);
    }
    ck_assert_int_eq(procfs_read_cmdline(proc_fd, child, &cmdline), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ck_assert_ptr_nonnull(value);
    ck_assert_str_eq(value, "a??[2Jb");
    ck_assert_str_eq(cmdline, "sl?ee?p 100");
}
END_TEST

/* The exit status of `check` in a process of its own; it may unshare what it likes. */
static int run_apart(int (*check)(void)) {
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(check());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int check_no_proc(void) {
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 0;
    return mount("none", "/proc", "tmpfs", 0, NULL) == 0 && procfs_open() == -ENODEV ? 0 : 1;
}

/* An empty directory in place of /proc must not make every process look dead. */
START_TEST(test_no_proc) {
    ck_assert_int_eq(run_apart(check_no_proc), 0);
}
END_TEST

static int check_foreign(void) {
    int proc_fd = procfs_open();

    return proc_fd >= 0 && !procfs_is_own_namespace(proc_fd) && !procfs_in_initial_pid_namespace(proc_fd) ? 0
                                                                                                          : 1;
}

static int check_new_namespace(void) {
    return unshare(CLONE_NEWPID) < 0 ? 0 : run_apart(check_foreign);
}

/* In a new PID namespace, /proc still shows the old one: its numbers are not ours. */
START_TEST(test_foreign_proc) {
    ck_assert_int_eq(run_apart(check_new_namespace), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("procfs");
    TCase *tcase = tcase_create("procfs");

    tcase_add_test(tcase, test_stat);
    tcase_add_loop_test(tcase, test_stat_evil_comm, 0, (int) ELEMENTSOF(comms));
    tcase_add_test(tcase, test_stat_refused);
    tcase_add_test(tcase, test_status);
    tcase_add_test(tcase, test_status_refused);
    tcase_add_loop_test(tcase, test_cgroup, 0, (int) ELEMENTSOF(cgroups));
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_self);
    tcase_add_test(tcase, test_environ_evil);
    tcase_add_test(tcase, test_no_proc);
    tcase_add_test(tcase, test_foreign_proc);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
