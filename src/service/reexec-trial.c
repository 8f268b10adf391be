/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/reexec-trial.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/terminate.h"
#include "recovery/members.h"

#define ROUNDS_MAX 8 /* who forks while he is killed is met again */

static int open_program(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    return fd >= 0 || errno != EACCES ? fd : open(path, O_PATH | O_CLOEXEC); /* one may execute what one may not read */
}

static void note_file(const struct stat *st, struct trial_program *program) {
    program->device = st->st_dev;
    program->inode = st->st_ino;
    program->changed_sec = (uint64_t) st->st_ctim.tv_sec;
    program->changed_nsec = (uint64_t) st->st_ctim.tv_nsec;
}

void trial_program_open(const char *path, struct trial_program *ret) {
    _cleanup_close_ int fd = open_program(path);
    struct stat st;
    char magic[2];

    *ret = (struct trial_program){.fd = -EBADF};
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    note_file(&st, ret);
    if (pread(fd, magic, sizeof magic, 0) == sizeof magic && magic[0] == '#' && magic[1] == '!')
        return; /* its interpreter opens it again, by a path */
    ret->fd = TAKE_FD(fd);
    snprintf(ret->path, sizeof ret->path, "/proc/%d/fd/%d", (int) getpid(), ret->fd);
}

void trial_program_close(struct trial_program *program) {
    program->fd = fd_close(program->fd);
}

bool trial_program_is_same(const struct trial_program *program, const char *path) {
    struct trial_program now = {.fd = -EBADF};
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    note_file(&st, &now);
    return now.device == program->device && now.inode == program->inode && now.changed_sec == program->changed_sec &&
           now.changed_nsec == program->changed_nsec;
}

struct hunt {
    int proc_fd;
    const struct process_id *leader;
    const char *mark;
    const pid_t *family;
    size_t n_family;
};

static bool is_in_family(const struct hunt *hunt, pid_t pid) {
    for (size_t i = 0; i < hunt->n_family; i++)
        if (hunt->family[i] == pid)
            return true;
    return pid == hunt->leader->pid;
}

/* Pinned, if it is the trial's: born since it began, and tied to it by what is read while it lives. */
static int pin_hunted(const struct hunt *hunt, pid_t pid) {
    _cleanup_close_ int pidfd = -EBADF;
    _cleanup_free_ char *mark = NULL;
    struct process_id id;
    struct proc_stat stat;

    if (pid == getpid() || procfs_read_stat(hunt->proc_fd, pid, &stat) < 0 ||
        stat.start_ticks < hunt->leader->start_ticks)
        return -ESRCH;
    pidfd = process_pin(hunt->proc_fd, pid, &id);
    if (pidfd < 0 || procfs_read_stat(hunt->proc_fd, pid, &stat) < 0 || stat.start_ticks != id.start_ticks)
        return -ESRCH;
    if (stat.session != hunt->leader->pid && pid != hunt->leader->pid && !is_in_family(hunt, stat.ppid) &&
        (procfs_read_environ(hunt->proc_fd, pid, TRIAL_MARK, &mark) < 0 || strcmp(mark, hunt->mark) != 0))
        return -ESRCH;
    return process_pidfd_ended(pidfd) ? -ESRCH : TAKE_FD(pidfd);
}

/* All are pinned before the first is killed: a family without its elders cannot be told any more. */
static size_t hunt_once(struct hunt *hunt, const struct process_row *rows, size_t n_rows) {
    _cleanup_free_ int *pidfds = calloc(n_rows + 1, sizeof *pidfds);
    size_t n = 0;

    for (size_t i = 0; pidfds && i < n_rows; i++) {
        int pidfd = pin_hunted(hunt, rows[i].pid);

        if (pidfd >= 0)
            pidfds[n++] = pidfd;
    }
    for (size_t i = 0; i < n; i++) {
        (void) terminate_signal(pidfds[i], SIGKILL);
        fd_close(pidfds[i]);
    }
    return n;
}

void trial_end_processes(int proc_fd, const struct process_id *leader, const char *mark) {
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        _cleanup_free_ struct process_row *rows = NULL;
        _cleanup_free_ pid_t *family = NULL;
        struct hunt hunt = {.proc_fd = proc_fd, .leader = leader, .mark = mark};
        size_t n_rows;

        if (process_table_read(proc_fd, &rows, &n_rows) < 0 ||
            process_table_add_family(rows, n_rows, &leader->pid, 1, &family, &hunt.n_family) < 0)
            return;
        hunt.family = family;
        if (hunt_once(&hunt, rows, n_rows) == 0)
            return;
    }
}
