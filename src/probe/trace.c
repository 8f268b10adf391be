/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/trace-parts.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/value.h"

#define FDINFO_MAX (1024 * 1024)

struct walk {
    const struct trace *trace;
    struct trace_socket *sockets; /* owned */
    size_t n_sockets;
};

int trace_error(int error) {
    if (error == -ENOENT || error == -ESRCH)
        return 0;
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE ? error : TRACE_UNREADABLE;
}

int trace_stat_at(int dir_fd, const char *path, int flags, struct stat *ret) {
    struct statx stx;

    if (statx(dir_fd, path, flags | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &stx) < 0)
        return -errno;
    *ret = (struct stat){.st_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor),
                         .st_ino = stx.stx_ino,
                         .st_mode = stx.stx_mode};
    return 0;
}

int trace_same_namespace(const struct trace *trace, const char *kind) {
    struct stat own, other;
    char path[64];
    int r;

    snprintf(path, sizeof path, "%d/ns/%s", (int) trace->pid, kind);
    r = trace_stat_at(trace->proc_fd, path, 0, &other);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "self/ns/%s", kind);
    r = trace_stat_at(trace->proc_fd, path, 0, &own);
    return r < 0 ? r : own.st_ino == other.st_ino;
}

unsigned trace_count_in_flight(const char *fdinfo) {
    const char *row = strstr(fdinfo, "\nscm_fds:");

    return row ? (unsigned) strtoul(row + strlen("\nscm_fds:"), NULL, 10) : 0;
}

static int look_at_socket(struct walk *walk, const char *info_path, struct trace_socket socket) {
    _cleanup_free_ char *text = NULL;
    struct trace_socket *bigger;
    int r = fd_read_file_at(walk->trace->proc_fd, info_path, FDINFO_MAX, &text, NULL);

    if (r < 0)
        return trace_error(r);
    if (trace_count_in_flight(text) == 0)
        return 0;
    bigger = reallocarray(walk->sockets, walk->n_sockets + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    walk->sockets = bigger;
    bigger[walk->n_sockets++] = socket;
    return 0;
}

/* One descriptor table, that of a thread; `own`: not the main thread's. */
static int walk_table(struct walk *walk, pid_t tid, bool own) {
    _cleanup_closedir_ DIR *dir = NULL;
    const struct trace *trace = walk->trace;
    char table[64], path[400], link[64];
    struct dirent *entry;
    int result = 0, r;

    if (own)
        snprintf(table, sizeof table, "%d/task/%d", (int) trace->pid, (int) tid);
    else
        snprintf(table, sizeof table, "%d", (int) trace->pid);
    snprintf(path, sizeof path, "%s/fd", table);
    r = fd_open_dir_at(trace->proc_fd, path, &dir);
    if (r < 0)
        return trace_error(r);
    while ((entry = readdir(dir))) {
        unsigned long long inode;
        ssize_t size;
        int fd;

        if (!isdigit((unsigned char) entry->d_name[0]))
            continue;
        size = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);
        if (size < 0) {
            r = trace_error(-errno);
            if (r < 0)
                return r;
            result |= r;
            continue;
        }
        link[size] = '\0';
        fd = atoi(entry->d_name);
        snprintf(path, sizeof path, "%s/fdinfo/%s", table, entry->d_name);
        if (strcmp(link, "anon_inode:[io_uring]") == 0)
            r = trace_ring(trace, path, fd);
        else if (sscanf(link, "socket:[%llu]", &inode) == 1)
            r = look_at_socket(walk, path, (struct trace_socket){tid, fd, inode});
        else
            continue;
        if (r < 0)
            return r;
        result |= r;
    }
    return result;
}

/* Threads share one table, but for those that asked for one of their own (unshare(2), CLONE_FILES), and but
 * for a main thread that has ended, which has none. kcmp(2) tells; where it may not be asked, each is read.
 */
static int walk_threads(struct walk *walk) {
    _cleanup_closedir_ DIR *dir = NULL;
    pid_t pid = walk->trace->pid;
    struct dirent *entry;
    bool asks = procfs_is_own_namespace(walk->trace->proc_fd);
    int result = 0, r;
    char path[64];

    snprintf(path, sizeof path, "%d/task", (int) pid);
    r = fd_open_dir_at(walk->trace->proc_fd, path, &dir);
    if (r < 0)
        return trace_error(r);
    while ((entry = readdir(dir))) {
        pid_t tid;

        if (value_parse_pid(entry->d_name, &tid) < 0 || tid == pid ||
            (asks && syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) == 0))
            continue;
        r = walk_table(walk, tid, true);
        if (r < 0)
            return r;
        result |= r;
    }
    return result;
}

int trace_process(int proc_fd, pid_t pid, const struct holder_target *targets, size_t n, trace_found_t *found,
                  void *userdata) {
    const struct trace trace = {proc_fd, pid, targets, n, found, userdata};
    struct walk walk = {.trace = &trace};
    int result, r;

    result = trace_maps(proc_fd, pid, targets, n, found, userdata);
    if (result < 0)
        return result;
    r = walk_table(&walk, pid, false);
    if (r >= 0) {
        result |= r;
        r = walk_threads(&walk);
    }
    if (r >= 0) {
        result |= r;
        r = walk.n_sockets > 0 ? trace_flight(&trace, walk.sockets, walk.n_sockets) : 0;
    }
    free(walk.sockets);
    return r < 0 ? r : result | r;
}
