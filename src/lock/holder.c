/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/holder.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/value.h"
#include "lock/process-facts.h"
#include "lock/snapshot.h"

#define FDINFO_MAX (1024 * 1024)

struct sweep {
    int proc_fd;
    const struct holder_target *targets;
    size_t n;
    bool threads;
    bool saw_init; /* every PID namespace has a process 1: where none is shown, hidepid= hides more (proc(5))
                    */
    unsigned processes, unreadable_total;
    pid_t unreadable[LOCK_UNREADABLE_MAX];
    size_t n_unreadable;
};

/* Only what is needed, and without asking a file server that may be out of reach (statx(2)). */
static int stat_descriptor(int fd_dir, const char *name, struct stat *ret) {
    struct statx stx;

    if (statx(fd_dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &stx) < 0)
        return -errno;
    *ret = (struct stat){.st_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor),
                         .st_ino = stx.stx_ino,
                         .st_mode = stx.stx_mode};
    return 0;
}

static int add_holder(struct sweep *sweep, const struct holder_target *target, int fd_dir, const char *name,
                      pid_t pid, pid_t tid, const bool families[static LOCK_FAMILY_MAX]) {
    struct lock_facts *facts = target->facts;
    struct holder_facts *holder = NULL;
    int fd = atoi(name), r;

    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid)
            holder = &facts->holders[i];
    if (!holder) {
        struct holder_facts *bigger = reallocarray(facts->holders, facts->n_holders + 1, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        facts->holders = bigger;
        holder = &bigger[facts->n_holders];
        *holder = (struct holder_facts){.tid = tid, .fd = fd};
        r = process_facts_read(sweep->proc_fd, pid, &holder->process);
        if (r < 0)
            return r;
        /* fd_dir stands for the very process whose descriptor it was (fs/proc/fd.c): while that lives, the
         * number cannot be somebody else's, and the facts are about it. */
        if (holder->process.life == PROCESS_GONE || holder->process.life == PROCESS_ZOMBIE ||
            faccessat(fd_dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            process_facts_done(&holder->process); /* it let go while we looked */
            return 0;
        }
        facts->n_holders++;
    }
    if (target->kind == HOLDER_TARGET_SOCKET)
        holder->listener = true;
    else {
        holder->tid = tid;
        holder->fd = fd;
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            holder->families[f] |= families[f];
    }
    return 0;
}

/* Looks at one descriptor: `fd_dir` is .../fd, `info_path` the .../fdinfo beside it. */
static int look_at_descriptor(struct sweep *sweep, int fd_dir, const char *info_path, const char *name,
                              pid_t pid, pid_t tid) {
    struct stat st = {0};
    int r = stat_descriptor(fd_dir, name, &st);

    if (r < 0)
        return r == -ENOENT || r == -ESRCH ? 0 : r;
    for (size_t i = 0; i < sweep->n; i++) {
        const struct holder_target *target = &sweep->targets[i];
        bool families[LOCK_FAMILY_MAX] = {false};

        if (target->inode != st.st_ino)
            continue;
        if (target->kind == HOLDER_TARGET_SOCKET ? !S_ISSOCK(st.st_mode)
                                                 : target->device != st.st_dev || !S_ISREG(st.st_mode))
            continue;
        if (target->kind == HOLDER_TARGET_FILE) {
            _cleanup_free_ char *text = NULL;
            char path[64 + NAME_MAX + 2];

            snprintf(path, sizeof path, "%s/%s", info_path, name);
            r = fd_read_file_at(sweep->proc_fd, path, FDINFO_MAX, &text, NULL);
            if (r == -ENOENT || r == -ESRCH)
                continue;
            if (r < 0)
                return r;
            lock_fdinfo_families(text, families);
            if (!families[LOCK_FAMILY_FLOCK] && !families[LOCK_FAMILY_POSIX] && !families[LOCK_FAMILY_OFD])
                continue; /* it has the file open, but not the lock */
        }
        r = add_holder(sweep, target, fd_dir, name, pid, tid, families);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What an error says of a process's directory: 0: it is gone; 1: it refuses; -errno: want of resources and
 * the like. */
static int unreadable(int error) {
    return error == ENOENT || error == ESRCH ? 0 : error == EACCES || error == EPERM ? 1 : -error;
}

/* Sweeps one descriptor table. 1: something of it could not be read. */
static int sweep_table(struct sweep *sweep, pid_t pid, pid_t tid, bool thread) {
    _cleanup_closedir_ DIR *dir = NULL;
    char fd_path[64], info_path[64];
    bool refused = false;
    int r;

    if (thread) {
        snprintf(fd_path, sizeof fd_path, "%d/task/%d/fd", (int) pid, (int) tid);
        snprintf(info_path, sizeof info_path, "%d/task/%d/fdinfo", (int) pid, (int) tid);
    } else {
        snprintf(fd_path, sizeof fd_path, "%d/fd", (int) pid);
        snprintf(info_path, sizeof info_path, "%d/fdinfo", (int) pid);
    }
    r = fd_open_dir_at(sweep->proc_fd, fd_path, &dir);
    if (r < 0)
        return unreadable(-r);
    for (;;) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            if (errno == EACCES || errno == EPERM)
                refused = true;
            break;
        }
        if (!isdigit((unsigned char) entry->d_name[0]))
            continue;
        r = look_at_descriptor(sweep, dirfd(dir), info_path, entry->d_name, pid, tid);
        if (r == -EACCES || r == -EPERM)
            refused = true;
        else if (r < 0 && r != -ENOENT && r != -ESRCH)
            return r;
    }
    return refused;
}

static int sweep_threads(struct sweep *sweep, pid_t pid) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int refused = 0, r;
    char path[64];

    snprintf(path, sizeof path, "%d/task", (int) pid);
    r = fd_open_dir_at(sweep->proc_fd, path, &dir);
    if (r < 0)
        return unreadable(-r);
    while ((entry = readdir(dir))) {
        pid_t tid;

        if (value_parse_pid(entry->d_name, &tid) < 0 || tid == pid)
            continue;
        r = sweep_table(sweep, pid, tid, true);
        if (r < 0)
            return r;
        refused |= r;
    }
    return refused;
}

static int sweep_process(struct sweep *sweep, pid_t pid) {
    struct proc_stat stat;
    int r;

    r = sweep_table(sweep, pid, pid, false);
    if (r < 0)
        return r;
    /* A leader that has ended shows an empty table; its threads still have theirs. */
    if (sweep->threads || (r == 0 && procfs_read_stat(sweep->proc_fd, pid, &stat) >= 0 && stat.state == 'Z' &&
                           stat.threads > 1)) {
        int t = sweep_threads(sweep, pid);

        if (t < 0)
            return t;
        r |= t;
    }
    sweep->processes++;
    if (r > 0) {
        if (sweep->n_unreadable < LOCK_UNREADABLE_MAX)
            sweep->unreadable[sweep->n_unreadable++] = pid;
        sweep->unreadable_total++;
    }
    return 0;
}

/* Copies what the sweep as a whole found out into every target's facts. */
static int publish(const struct sweep *sweep) {
    for (size_t i = 0; i < sweep->n; i++) {
        struct lock_facts *facts = sweep->targets[i].facts;

        free(facts->unreadable);
        facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
        if (!facts->unreadable)
            return -ENOMEM;
        memcpy(facts->unreadable, sweep->unreadable, sizeof sweep->unreadable);
        facts->n_unreadable = sweep->n_unreadable;
        facts->unreadable_total = sweep->unreadable_total;
        facts->processes = sweep->processes;
        facts->scanned = true;
        facts->complete = sweep->unreadable_total == 0 && sweep->saw_init;
    }
    return 0;
}

int holder_sweep(int proc_fd, const struct holder_target *targets, size_t n, bool threads) {
    struct sweep sweep = {.proc_fd = proc_fd, .targets = targets, .n = n, .threads = threads};
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int r;

    r = fd_open_dir_at(proc_fd, ".", &dir);
    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        pid_t pid;

        if (value_parse_pid(entry->d_name, &pid) < 0)
            continue;
        sweep.saw_init |= pid == 1;
        r = sweep_process(&sweep, pid);
        if (r < 0)
            return r;
    }
    return publish(&sweep);
}

int holder_find_namesake(int proc_fd, pid_t pid, uint64_t until_usec, struct process_facts *ret) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int r;

    r = fd_open_dir_at(proc_fd, ".", &dir);
    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        struct process_facts process;
        struct proc_status status;
        pid_t here;

        if (value_parse_pid(entry->d_name, &here) < 0 || procfs_read_status(proc_fd, here, &status) < 0 ||
            status.ns_depth < 2 || status.ns_pid != pid)
            continue;
        r = process_facts_read(proc_fd, here, &process);
        if (r < 0)
            return r;
        if (process.start_usec <= until_usec && process.life != PROCESS_GONE &&
            process.life != PROCESS_ZOMBIE) {
            *ret = process;
            return 0;
        }
        process_facts_done(&process);
    }
    return 0;
}
