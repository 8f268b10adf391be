/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/procfs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define PROC_TEXT_MAX (256 * 1024)
#define PROC_PID_INIT_INO UINT64_C(0xEFFFFFFC)
#define PF_KTHREAD 0x00200000U /* include/linux/sched.h */

int procfs_open(void) {
    _cleanup_close_ int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statfs facts;

    if (fd < 0)
        return -errno;
    if (fstatfs(fd, &facts) < 0)
        return -errno;
    if (facts.f_type != PROC_SUPER_MAGIC)
        return -ENODEV;
    return TAKE_FD(fd);
}

bool procfs_is_own_namespace(int proc_fd) {
    char self[16], number[16];
    ssize_t size = readlinkat(proc_fd, "self", self, sizeof self - 1);

    if (size < 0)
        return false;
    self[size] = '\0';
    snprintf(number, sizeof number, "%d", (int) getpid());
    return strcmp(self, number) == 0;
}

/* Reads PID/NAME. A process that ends meanwhile shows as ENOENT on open and ESRCH on read. */
static int read_entry(int proc_fd, pid_t pid, const char *name, char **ret, size_t *ret_size) {
    char path[64];
    int r;

    snprintf(path, sizeof path, "%d/%s", (int) pid, name);
    r = fd_read_file_at(proc_fd, path, PROC_TEXT_MAX, ret, ret_size);
    return r == -ENOENT ? -ESRCH : r;
}

int procfs_parse_stat(const char *text, struct proc_stat *ret) {
    struct proc_stat stat = {0};
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    uint64_t pid;
    unsigned flags;
    size_t length;
    char number[16];

    if (!open || !close || close < open || open == text || (size_t) (open - text) > sizeof number)
        return -EBADMSG;
    length = (size_t) (open - text) - 1;
    memcpy(number, text, length);
    number[length] = '\0';
    if (value_parse_u64(number, &pid) < 0 || pid > INT_MAX)
        return -EBADMSG;
    stat.pid = (pid_t) pid;
    length = (size_t) (close - open) - 1;
    if (length >= sizeof stat.comm)
        length = sizeof stat.comm - 1;
    memcpy(stat.comm, open + 1, length);
    value_make_printable(stat.comm);

    /* Fields 3 to 22: state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime
     * cutime cstime priority nice num_threads itrealvalue starttime */
    if (sscanf(close + 1, " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u %*d %" SCNu64,
               &stat.state, &stat.ppid, &stat.pgrp, &stat.session, &flags, &stat.threads,
               &stat.start_ticks) != 7)
        return -EBADMSG;
    stat.kernel_thread = flags & PF_KTHREAD;
    *ret = stat;
    return 0;
}

int procfs_read_stat(int proc_fd, pid_t pid, struct proc_stat *ret) {
    _cleanup_free_ char *text = NULL;
    int r = read_entry(proc_fd, pid, "stat", &text, NULL);

    return r < 0 ? r : procfs_parse_stat(text, ret);
}

/* The text behind "NAME:" at the start of a line, or NULL. */
static const char *find_row(const char *text, const char *name) {
    size_t length = strlen(name);

    while (text) {
        if (strncmp(text, name, length) == 0 && text[length] == ':')
            return text + length + 1;
        text = strchr(text, '\n');
        if (text)
            text++;
    }
    return NULL;
}

int procfs_parse_status(const char *text, struct proc_status *ret) {
    struct proc_status status = {.ns_depth = 1};
    const char *tgid = find_row(text, "Tgid"), *uid = find_row(text, "Uid"), *gid = find_row(text, "Gid"),
               *ns_pid = find_row(text, "NSpid");

    if (!tgid || !uid || !gid || sscanf(tgid, "%d", &status.tgid) != 1 ||
        sscanf(uid, "%*u %u", &status.uid) != 1 || sscanf(gid, "%*u %u", &status.gid) != 1)
        return -EBADMSG;
    status.ns_pid = status.ns_pids[0] = status.tgid;
    if (ns_pid) {
        int used, pid;

        for (status.ns_depth = 0; sscanf(ns_pid, "%*[ \t]%d%n", &pid, &used) == 1; ns_pid += used) {
            status.ns_pid = (pid_t) pid;
            if (status.ns_depth < PROC_NS_DEPTH_MAX)
                status.ns_pids[status.ns_depth] = (pid_t) pid;
            status.ns_depth++;
        }
        if (status.ns_depth == 0)
            return -EBADMSG;
    }
    *ret = status;
    return 0;
}

int procfs_read_status(int proc_fd, pid_t pid, struct proc_status *ret) {
    _cleanup_free_ char *text = NULL;
    int r = read_entry(proc_fd, pid, "status", &text, NULL);

    return r < 0 ? r : procfs_parse_status(text, ret);
}

int procfs_read_held_signals(int proc_fd, pid_t pid, uint64_t *ret) {
    static const char *const fields[] = {"\nSigBlk:", "\nSigIgn:", "\nSigCgt:"};
    _cleanup_free_ char *text = NULL;
    int r = read_entry(proc_fd, pid, "status", &text, NULL);

    *ret = 0;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(fields); i++) {
        const char *found = strstr(text, fields[i]);

        if (!found)
            return -EBADMSG;
        *ret |= strtoull(found + strlen(fields[i]), NULL, 16);
    }
    return r < 0 ? r : 0;
}

int procfs_read_cmdline(int proc_fd, pid_t pid, char **ret) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = read_entry(proc_fd, pid, "cmdline", &text, &size);

    if (r < 0)
        return r;
    while (size > 0 && text[size - 1] == '\0')
        size--;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    value_make_printable(text);
    *ret = TAKE_PTR(text);
    return 0;
}

int procfs_read_exe(int proc_fd, pid_t pid, char **ret) {
    static const char deleted[] = " (deleted)";
    char path[64], target[PATH_MAX];
    ssize_t size;

    snprintf(path, sizeof path, "%d/exe", (int) pid);
    size = readlinkat(proc_fd, path, target, sizeof target - 1);
    if (size < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    target[size] = '\0';
    if ((size_t) size > sizeof deleted && strcmp(target + size - (sizeof deleted - 1), deleted) == 0)
        target[(size_t) size - (sizeof deleted - 1)] = '\0';
    value_make_printable(target);
    *ret = strdup(target);
    return *ret ? 0 : -ENOMEM;
}

int procfs_read_cgroup(int proc_fd, pid_t pid, char **ret) {
    _cleanup_free_ char *text = NULL;
    char *found = NULL, *save = NULL;
    int r = read_entry(proc_fd, pid, "cgroup", &text, NULL);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        static const char systemd[] = ":name=systemd:";
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            return -EBADMSG;
        if (strncmp(line, "0::", 3) == 0 ? !found || strcmp(path, ":/") != 0
                                         : strncmp(controllers, systemd, sizeof systemd - 1) == 0 && !found)
            found = path + 1;
    }
    if (!found)
        return -ENOENT;
    value_make_printable(found);
    *ret = strdup(found);
    return *ret ? 0 : -ENOMEM;
}

int procfs_read_environ(int proc_fd, pid_t pid, const char *name, char **ret) {
    _cleanup_free_ char *text = NULL;
    size_t size, length = strlen(name);
    int r = read_entry(proc_fd, pid, "environ", &text, &size);

    if (r < 0)
        return r;
    for (const char *p = text; p < text + size; p += strlen(p) + 1)
        if (strncmp(p, name, length) == 0 && p[length] == '=') {
            char *value = strdup(p + length + 1);

            if (!value)
                return -ENOMEM;
            value_make_printable(value);
            *ret = value;
            return 0;
        }
    return -ENOENT;
}

int procfs_read_pid_namespace(int proc_fd, pid_t pid, uint64_t *ret) {
    char path[64];
    struct stat st;

    if (pid == 0)
        snprintf(path, sizeof path, "self/ns/pid");
    else
        snprintf(path, sizeof path, "%d/ns/pid", (int) pid);
    if (fstatat(proc_fd, path, &st, 0) < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    *ret = st.st_ino;
    return 0;
}

/* The rows' names are those of fs/proc/base.c, lnames[]. */
static const struct {
    const char *name;
    int resource;
} limit_rows[] = {
    {"Max cpu time", RLIMIT_CPU},
    {"Max file size", RLIMIT_FSIZE},
    {"Max data size", RLIMIT_DATA},
    {"Max stack size", RLIMIT_STACK},
    {"Max core file size", RLIMIT_CORE},
    {"Max resident set", RLIMIT_RSS},
    {"Max processes", RLIMIT_NPROC},
    {"Max open files", RLIMIT_NOFILE},
    {"Max locked memory", RLIMIT_MEMLOCK},
    {"Max address space", RLIMIT_AS},
    {"Max file locks", RLIMIT_LOCKS},
    {"Max pending signals", RLIMIT_SIGPENDING},
    {"Max msgqueue size", RLIMIT_MSGQUEUE},
    {"Max nice priority", RLIMIT_NICE},
    {"Max realtime priority", RLIMIT_RTPRIO},
    {"Max realtime timeout", RLIMIT_RTTIME},
};

static int parse_limit(const char **text, uint64_t *ret) {
    char word[32];
    int used;

    if (sscanf(*text, " %31s%n", word, &used) != 1)
        return -EBADMSG;
    *text += used;
    if (strcmp(word, "unlimited") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    return value_parse_u64(word, ret) < 0 ? -EBADMSG : 0;
}

int procfs_parse_limits(const char *text, struct proc_limit limits[static 16]) {
    struct proc_limit parsed[16] = {0};

    static_assert(RLIMIT_NLIMITS == 16, "a new resource limit needs a row");
    for (size_t i = 0; i < ELEMENTSOF(limit_rows); i++) {
        const char *row = strstr(text, limit_rows[i].name);
        int r;

        if (!row)
            return -EBADMSG;
        row += strlen(limit_rows[i].name);
        r = parse_limit(&row, &parsed[limit_rows[i].resource].soft);
        if (r >= 0)
            r = parse_limit(&row, &parsed[limit_rows[i].resource].hard);
        if (r < 0)
            return r;
    }
    memcpy(limits, parsed, sizeof parsed);
    return 0;
}

int procfs_read_limits(int proc_fd, pid_t pid, struct proc_limit limits[static 16]) {
    _cleanup_free_ char *text = NULL;
    int r = read_entry(proc_fd, pid, "limits", &text, NULL);

    return r < 0 ? r : procfs_parse_limits(text, limits);
}

int procfs_read_boot_id(int proc_fd, char ret[static 37]) {
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(proc_fd, "sys/kernel/random/boot_id", 64, &text, NULL);

    if (r < 0)
        return r;
    if (strlen(text) < 36)
        return -EBADMSG;
    memcpy(ret, text, 36);
    ret[36] = '\0';
    return 0;
}

uint64_t procfs_ticks_to_boottime_usec(uint64_t ticks) {
    long per_second = sysconf(_SC_CLK_TCK);

    return ticks * (USEC_PER_SEC / (uint64_t) per_second);
}

uint64_t procfs_ticks_to_realtime_usec(uint64_t ticks) {
    uint64_t now = now_usec(CLOCK_BOOTTIME), began = procfs_ticks_to_boottime_usec(ticks);

    /* What is older than the zero of our time namespace has a start time below zero, which the kernel shows
     * as a huge number (time_namespaces(7); proc_pid_stat()): it is at least as old as that. */
    return now_usec(CLOCK_REALTIME) - now + (began > now + USEC_PER_SEC ? 0 : began);
}

bool procfs_in_initial_pid_namespace(int proc_fd) {
    uint64_t inode = 0;

    return procfs_read_pid_namespace(proc_fd, 0, &inode) >= 0 && inode == PROC_PID_INIT_INO;
}
