/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "probe/probe.h"
#include "probe/remote.h"
#include "lock/verdict.h"

#include "suite.h"

static char dir[] = "/tmp/test-remote.XXXXXX";

/* dir/near, and links beside it; "dir/far" only stands in the list of mounts. */
static void make_dir(void) {
    static const char *const links[][2] = {
        {"far", "to-far"},       {"near", "to-near"},    {"to-far/x", "twice"},       {"loop", "loop"},
        {"near/../far/x", "up"}, {"far/a.lock", "file"}, {"/proc/self/cwd", "magic"},
    };
    char path[128], target[128];

    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(mkdir("near", 0755), 0);
    ck_assert_int_eq(mkdir("far", 0755), 0);
    for (size_t i = 0; i < ELEMENTSOF(links); i++)
        ck_assert_int_eq(symlink(links[i][0], links[i][1]), 0);
    snprintf(target, sizeof target, "%s/far/x", dir);
    snprintf(path, sizeof path, "%s/absolute", dir);
    ck_assert_int_eq(symlink(target, path), 0);
}

static void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void) !system(command);
}

static void read_mounts(struct mount_table *ret, const char *root_type, const char *far_type) {
    char text[512];

    snprintf(text, sizeof text,
             "1 0 0:1 / / rw - %s root rw\n"
             "2 1 0:2 / /proc rw - proc proc rw\n"
             "3 1 0:3 / %s/far rw - %s server:/ rw\n"
             "4 3 0:4 / %s/far/near rw - tmpfs tmpfs rw\n"
             "5 1 0:5 / %s/over rw - tmpfs tmpfs rw\n",
             root_type, dir, far_type, dir, dir);
    ck_assert_int_eq(mount_table_parse(text, ret), 0);
}

static const struct {
    const char *path; /* relative to dir, or absolute */
    enum remote_way way;
} ways[] = {
    {"near/a.lock", REMOTE_WAY_LOCAL},
    {"none/a.lock", REMOTE_WAY_LOCAL}, /* the kernel will say so by itself */
    {"far", REMOTE_WAY_FAR},
    {"far/", REMOTE_WAY_FAR},
    {"far/a.lock", REMOTE_WAY_FAR},
    {"farther/a.lock", REMOTE_WAY_LOCAL},
    {"./near/.././/far/x", REMOTE_WAY_FAR},
    {"far/near/a.lock", REMOTE_WAY_FAR}, /* local, but the way leads over what is not */
    {"far/../near/a.lock", REMOTE_WAY_FAR},
    {"to-far/a.lock", REMOTE_WAY_FAR},
    {"to-far/", REMOTE_WAY_FAR},
    {"to-far", REMOTE_WAY_LOCAL}, /* at the end a link is not followed */
    {"to-near/a.lock", REMOTE_WAY_LOCAL},
    {"to-near/../far/a.lock", REMOTE_WAY_FAR},
    {"twice/a.lock", REMOTE_WAY_FAR},
    {"up/a.lock", REMOTE_WAY_FAR},
    {"absolute/a.lock", REMOTE_WAY_FAR},
    {"file", REMOTE_WAY_LOCAL},
    {"loop/a.lock", REMOTE_WAY_LOCAL},
    {"magic/a.lock", REMOTE_WAY_UNSEEN},
    {"/proc/self/root/tmp/a.lock", REMOTE_WAY_UNSEEN},
    {"/proc/self/stat", REMOTE_WAY_LOCAL},
    {"/../../..", REMOTE_WAY_LOCAL},
    {"/", REMOTE_WAY_LOCAL},
};

START_TEST(test_ways) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    const struct mount_row *mount;
    char path[PATH_MAX];

    ck_assert_int_eq(chdir(dir), 0);
    read_mounts(&mounts, "ext4", "nfs4");
    ck_assert_msg(remote_find_way(&mounts, ways[_i].path, &mount) == ways[_i].way, "%s", ways[_i].path);
    if (ways[_i].path[0] == '/')
        return;
    if (ways[_i].way == REMOTE_WAY_FAR)
        ck_assert_int_eq(mount->id, 3);
    snprintf(path, sizeof path, "%s/%s", dir, ways[_i].path);
    ck_assert_msg(remote_find_way(&mounts, path, &mount) == ways[_i].way, "%s", path);
}
END_TEST

/* A machine without a disk of its own: its root is the server's, what is mounted on it is not. */
START_TEST(test_root) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    const struct mount_row *mount;
    char path[128];

    read_mounts(&mounts, "nfs", "ext4");
    snprintf(path, sizeof path, "%s/near/a.lock", dir);
    ck_assert_int_eq(remote_find_way(&mounts, path, &mount), REMOTE_WAY_FAR);
    snprintf(path, sizeof path, "%s/over/a.lock", dir);
    ck_assert_int_eq(remote_find_way(&mounts, path, &mount), REMOTE_WAY_LOCAL);
}
END_TEST

/* What is mounted when somebody walks by may be any server's. */
START_TEST(test_automatic) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    const struct mount_row *mount;
    char path[128];

    read_mounts(&mounts, "ext4", "autofs");
    snprintf(path, sizeof path, "%s/far/a.lock", dir);
    ck_assert_int_eq(remote_find_way(&mounts, path, &mount), REMOTE_WAY_FAR);
}
END_TEST

START_TEST(test_ask_local) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    _cleanup_close_ int proc_fd = procfs_open();
    struct remote_answer answer;
    char path[128];

    ck_assert_int_eq(mount_table_read(proc_fd, &mounts), 0);
    snprintf(path, sizeof path, "%s/near", dir);
    ck_assert_int_eq(remote_ask(&mounts, path, -1, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert(answer.local);
    snprintf(path, sizeof path, "%s/none", dir);
    ck_assert_int_eq(remote_ask(&mounts, path, -1, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert_int_eq(answer.error, -ENOENT);
    ck_assert_int_eq(answer.step, REMOTE_STEP_OPEN);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}
END_TEST

/* By a list of mounts that calls this file system remote, the child looks at everything. */
START_TEST(test_ask_far) {
    _cleanup_mount_table_ struct mount_table mounts = {0};
    _cleanup_close_ int fd = -EBADF, path_fd = -EBADF;
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct remote_answer answer;
    char path[128], text[128];

    snprintf(path, sizeof path, "%s/near/a.pid", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(fd_write_all(fd, "812\n", 4), 0);
    snprintf(text, sizeof text, "%d 0 0:1 / / rw - nfs server:/ rw", mount_id_of_fd(fd));
    ck_assert_int_eq(mount_table_parse(text, &mounts), 0);
    ck_assert_int_eq(remote_ask(&mounts, path, -1, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert(!answer.local && answer.error == 0 && answer.range_error == 0);
    ck_assert_uint_eq(answer.content_length, 4);
    ck_assert_int_eq(memcmp(answer.content, "812\n", 4), 0);
    ck_assert_int_eq(answer.range.l_type, F_UNLCK);
    ck_assert_int_eq(fcntl(fd, F_SETLK, &range), 0);
    path_fd = open(path, O_PATH | O_CLOEXEC);
    ck_assert_int_eq(remote_ask(&mounts, NULL, path_fd, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert_int_eq(answer.range.l_type, F_WRLCK); /* ours was seen, and is still there: */
    ck_assert_int_eq(remote_ask(&mounts, path, -1, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert_int_eq(answer.range.l_pid, getpid());
    snprintf(path, sizeof path, "%s/to-far", dir);
    ck_assert_int_eq(remote_ask(&mounts, path, -1, 10 * USEC_PER_SEC, &answer), 0);
    ck_assert(S_ISLNK(answer.st.st_mode) && answer.content_length == 3);
    ck_assert_int_eq(memcmp(answer.content, "far", 3), 0);
}
END_TEST

static const struct {
    const char *type, *options;
    bool arbitrated;
} servers[] = {
    {"nfs", "rw,vers=3,local_lock=none,addr=10.0.0.1", true},
    {"nfs", "rw,vers=3,nolock,local_lock=none", false},
    {"nfs", "rw,vers=3,local_lock=all", false},
    {"nfs", "rw,vers=3,local_lock=flock", false},
    {"nfs", "rw,vers=3", false},
    {"nfs4", "rw,vers=4.2,local_lock=none", false}, /* a delegation answers in the server's place */
    {"nfs", "rw,vers=4.2,local_lock=none", false},
    {"nfs", "rw,vers=2,local_lock=none", false},
    {"fuse.sshfs", "rw,vers=3,local_lock=none", false},
    {"ceph", "rw", false},
};

START_TEST(test_arbitrated) {
    struct mount_row row = {.options = strdup(servers[_i].options)};

    snprintf(row.facts.type, sizeof row.facts.type, "%s", servers[_i].type);
    ck_assert_int_eq(remote_is_arbitrated(&row), servers[_i].arbitrated);
    free(row.options);
}
END_TEST

/* A child with a lease of `type` on the file. Its exit status says whether somebody has broken it. */
static pid_t lease(const char *path, int type, int *ret_end_fd) {
    int ready[2], end[2];
    char byte;
    pid_t pid;

    ck_assert(pipe2(ready, O_CLOEXEC) == 0 && pipe2(end, O_CLOEXEC) == 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        sigset_t set;
        int fd;

        fd_close(end[1]);
        sigemptyset(&set);
        sigaddset(&set, SIGIO);
        sigprocmask(SIG_BLOCK, &set, NULL);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fcntl(fd, F_SETLEASE, type) < 0 || write(ready[1], "", 1) != 1)
            _exit(2);
        (void) !read(end[0], &byte, 1);
        sigpending(&set);
        _exit(sigismember(&set, SIGIO));
    }
    fd_close(ready[1]);
    fd_close(end[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    fd_close(ready[0]);
    *ret_end_fd = end[1];
    return pid;
}

static const struct {
    const char *text, *name;
    int type, operation; /* of flock(2); 0: none */
    enum verdict verdict;
    bool read;
} leases[] = {
    {"", "a.lock", F_WRLCK, 0, VERDICT_FREE, false},
    {"", "a.lock", F_WRLCK, LOCK_EX, VERDICT_HELD, false},
    {"4194303\n", "a.pid", F_WRLCK, 0, VERDICT_UNKNOWN, false},
    {"4194303\n", "a.pid", F_RDLCK, 0, VERDICT_STALE, true},
};

/* Opening it would tell its holder, who would have to give it up: a probe changes nothing. */
START_TEST(test_lease) {
    struct probe_request request = {.style = LOCK_STYLE_INVALID};
    struct lock_facts *facts;
    struct lock_judgement judgement;
    int end_fd, status, fd;
    char path[128];
    pid_t child, locker = 0;

    snprintf(path, sizeof path, "%s/near/lease-%d-%s", dir, _i, leases[_i].name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(fd_write_all(fd, leases[_i].text, strlen(leases[_i].text)), 0);
    fd_close(fd);
    child = lease(path, leases[_i].type, &end_fd);
    if (leases[_i].operation) { /* by the one descriptor there may be: its holder's own */
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        fd_close(end_fd);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(flock(fd, leases[_i].operation), 0);
        signal(SIGIO, SIG_IGN);
        ck_assert_int_eq(fcntl(fd, F_SETLEASE, leases[_i].type), 0);
        locker = getpid();
    }
    request.path = path;
    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    judgement = lock_judge(facts, NULL);
    /* A list of more than a page may miss rows (snapshot.c): then only a look at the file would tell. */
    if (leases[_i].verdict != VERDICT_FREE || facts->error != EWOULDBLOCK)
        ck_assert_msg(judgement.verdict == leases[_i].verdict, "%s %s: %s",
                      verdict_to_string(judgement.verdict), verdict_reason_to_string(judgement.reason),
                      facts->error_subject);
    ck_assert_int_eq(facts->content_read, leases[_i].read);
    if (leases[_i].verdict == VERDICT_UNKNOWN)
        ck_assert_ptr_nonnull(strstr(facts->error_subject, "lease"));
    lock_facts_free_array(facts, 1);
    if (locker > 0) {
        ck_assert_int_eq(fcntl(fd, F_GETLEASE), leases[_i].type);
        fd_close(fd);
        return;
    }
    fd_close(end_fd);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the lease was broken: %#x", status);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("remote");
    TCase *tcase = tcase_create("remote");
    _cleanup_close_ int proc_fd = procfs_open();

    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_ways, 0, ELEMENTSOF(ways));
    tcase_add_test(tcase, test_root);
    tcase_add_test(tcase, test_automatic);
    tcase_add_test(tcase, test_ask_local);
    tcase_add_test(tcase, test_ask_far);
    tcase_add_loop_test(tcase, test_arbitrated, 0, ELEMENTSOF(servers));
    if (procfs_in_initial_pid_namespace(proc_fd)) /* elsewhere /proc/locks hides the leases of others */
        tcase_add_loop_test(tcase, test_lease, 0, ELEMENTSOF(leases));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
