/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/limits-facts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"

#define STATUS_MAX (64 * 1024)
#define CAP_BIT(capability) (UINT64_C(1) << (capability))

static int read_status(int proc_fd, pid_t pid, char **ret) {
    char path[32];
    int r;

    snprintf(path, sizeof path, "%d/status", (int) pid);
    r = fd_read_file_at(proc_fd, path, STATUS_MAX, ret, NULL);
    return r == -ENOENT ? -ESRCH : r;
}

/* The number in the row "NAME:  NUMBER"; UINT64_MAX: there is no such row (a kernel thread has no memory). */
static uint64_t read_row(const char *status, const char *name, int base) {
    const char *at = strstr(status, name);
    unsigned long long value;
    char *end;

    if (!at)
        return UINT64_MAX;
    at += strlen(name);
    value = strtoull(at, &end, base);
    return end > at ? value : UINT64_MAX;
}

static uint64_t read_kib(const char *status, const char *name) {
    uint64_t value = read_row(status, name, 10);

    return value > UINT64_MAX / 1024 ? UINT64_MAX : value * 1024;
}

/* RLIMIT_CPU counts the processor time of all threads, in whole seconds (posix-cpu-timers.c). */
static uint64_t read_cpu_seconds(int proc_fd, pid_t pid) {
    _cleanup_free_ char *text = NULL;
    uint64_t user, system;
    const char *close;
    char path[32];

    snprintf(path, sizeof path, "%d/stat", (int) pid);
    if (fd_read_file_at(proc_fd, path, STATUS_MAX, &text, NULL) < 0 || !(close = strrchr(text, ')')) ||
        sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &system) != 2)
        return UINT64_MAX;
    return procfs_ticks_to_boottime_usec(user + system) / USEC_PER_SEC;
}

uint64_t limits_count_descriptors(int proc_fd, pid_t pid) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    struct stat st;
    uint64_t n = 0;
    char path[32];

    /* Since Linux 6.2 the size of /proc/PID/fd is their number (proc(5)); 0 before. */
    snprintf(path, sizeof path, "%d/fd", (int) pid);
    if (fstatat(proc_fd, path, &st, 0) < 0)
        return 0;
    if (st.st_size > 0)
        return (uint64_t) st.st_size;
    if (fd_open_dir_at(proc_fd, path, &dir) < 0)
        return 0;
    while ((entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    return n;
}

static void read_used(int proc_fd, pid_t pid, const char *status, uint64_t ret[static RLIMIT_NLIMITS]) {
    uint64_t files;

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        ret[i] = UINT64_MAX;
    ret[RLIMIT_DATA] = read_kib(status, "\nVmData:"); /* mm->data_vm, what may_expand_vm() holds against it */
    ret[RLIMIT_STACK] = read_kib(status, "\nVmStk:");
    ret[RLIMIT_RSS] = read_kib(status, "\nVmRSS:");
    ret[RLIMIT_AS] = read_kib(status, "\nVmSize:");
    ret[RLIMIT_MEMLOCK] = read_kib(status, "\nVmLck:");
    ret[RLIMIT_SIGPENDING] = read_row(status, "\nSigQ:", 10);
    ret[RLIMIT_CPU] = read_cpu_seconds(proc_fd, pid);
    files = limits_count_descriptors(proc_fd, pid);
    if (files > 0)
        ret[RLIMIT_NOFILE] = files;
}

static int read_owner(const char *status, struct limits_owner *ret) {
    uint64_t uid, effective;

    uid = read_row(status, "\nUid:", 10);
    effective = read_row(status, "\nCapEff:", 16);
    if (uid > UINT32_MAX)
        return -EBADMSG;
    if (effective == UINT64_MAX)
        effective = 0;
    *ret = (struct limits_owner){
        .uid = (uid_t) uid,
        .exempt = uid == 0 || effective & (CAP_BIT(CAP_SYS_RESOURCE) | CAP_BIT(CAP_SYS_ADMIN)),
        .may_raise = effective & CAP_BIT(CAP_SYS_RESOURCE),
    };
    return 0;
}

int limits_read_owner(int proc_fd, pid_t pid, struct limits_owner *ret) {
    _cleanup_free_ char *status = NULL;
    int r = read_status(proc_fd, pid, &status);

    return r < 0 ? r : read_owner(status, ret);
}

int limits_read_use(int proc_fd, pid_t pid, struct limits_owner *ret_owner,
                    uint64_t ret_used[static RLIMIT_NLIMITS]) {
    _cleanup_free_ char *status = NULL;
    int r = read_status(proc_fd, pid, &status);

    if (r < 0)
        return r;
    read_used(proc_fd, pid, status, ret_used);
    return read_owner(status, ret_owner);
}

int limits_count_tasks(int proc_fd, uid_t uid, uint64_t *ret) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    uint64_t n = 0;
    pid_t pid;
    int r = fd_open_dir_at(proc_fd, ".", &dir);

    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        _cleanup_free_ char *status = NULL;
        uint64_t threads;

        if (value_parse_pid(entry->d_name, &pid) < 0 || read_status(proc_fd, pid, &status) < 0 ||
            read_row(status, "\nUid:", 10) != uid)
            continue;
        threads = read_row(status, "\nThreads:", 10);
        n += threads == UINT64_MAX ? 1 : threads;
    }
    *ret = n;
    return 0;
}

/* The fourth field of /proc/loadavg, "RUNNING/ALL", counts the tasks of the whole machine (proc(5)). */
int limits_count_tasks_if_tight(int proc_fd, uid_t uid, uint64_t soft, uint64_t *ret) {
    _cleanup_free_ char *text = NULL;
    uint64_t all;

    *ret = 0;
    if (soft == UINT64_MAX)
        return 0;
    if (fd_read_file_at(proc_fd, "loadavg", 256, &text, NULL) >= 0 &&
        sscanf(text, "%*s %*s %*s %*u/%" SCNu64, &all) == 1 && all < soft / 2)
        return 0;
    return limits_count_tasks(proc_fd, uid, ret);
}

uint64_t limits_read_somaxconn(int proc_fd) {
    _cleanup_free_ char *text = NULL;
    uint64_t value;

    /* Below sys/net/ every reader sees its own network namespace. */
    if (fd_read_file_at(proc_fd, "sys/net/core/somaxconn", 64, &text, NULL) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return value_parse_u64(text, &value) < 0 ? 0 : value;
}

/* "max" stands for no limit. */
static int read_number(int cgroup_fd, const char *name, uint64_t *ret) {
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(cgroup_fd, name, 64, &text, NULL);

    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    if (strcmp(text, "max") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    return value_parse_u64(text, ret);
}

static int look_at_cgroup(int mount_fd, const char *path, struct limits_pids *best) {
    _cleanup_close_ int fd = openat(mount_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    uint64_t maximum, current;

    if (fd < 0 || read_number(fd, "pids.max", &maximum) < 0 || maximum == UINT64_MAX ||
        read_number(fd, "pids.current", &current) < 0)
        return 0; /* without the controller, or without a limit */
    if (best->found && best->maximum - (best->current < best->maximum ? best->current : best->maximum) <=
                           maximum - (current < maximum ? current : maximum))
        return 0;
    free(best->path);
    *best = (struct limits_pids){.found = true, .current = current, .maximum = maximum};
    return asprintf(&best->path, "/%s", path) < 0 ? (best->path = NULL, -ENOMEM) : 0;
}

static int walk_up(int proc_fd, pid_t pid, const char *controller, struct limits_pids *best) {
    _cleanup_close_ int mount_fd = -EBADF;
    _cleanup_free_ char *path = NULL;
    char *slash;
    int r = cgroup_find(proc_fd, pid, controller, &mount_fd, &path);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    while (*path && r >= 0) { /* the root has no limit */
        r = look_at_cgroup(mount_fd, path, best);
        slash = strrchr(path, '/');
        *(slash ? slash : path) = '\0';
    }
    return r;
}

int limits_read_pids(int proc_fd, pid_t pid, struct limits_pids *ret) {
    struct limits_pids best = {0};
    int r = walk_up(proc_fd, pid, NULL, &best);

    if (r >= 0)
        r = walk_up(proc_fd, pid, "pids", &best);
    if (r < 0) {
        free(best.path);
        return r;
    }
    *ret = best;
    return 0;
}
