/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/process.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum process_life process_life_of_stat(const struct proc_stat *stat) {
    switch (stat->state) {
    case 'X':
    case 'x':
        return PROCESS_GONE;
    case 'Z':
        return stat->threads > 1 ? PROCESS_ALIVE : PROCESS_ZOMBIE;
    case 'T':
    case 't':
        return PROCESS_STOPPED;
    default:
        return PROCESS_ALIVE;
    }
}

bool process_absence_is_true(int proc_fd, pid_t pid) {
    return procfs_is_own_namespace(proc_fd) && getsid(pid) < 0 && errno == ESRCH;
}

bool process_number_is_free(int proc_fd, pid_t pid) {
    struct proc_stat stat;

    return procfs_read_stat(proc_fd, pid, &stat) == -ESRCH && process_absence_is_true(proc_fd, pid);
}

enum process_life process_look(int proc_fd, const struct process_id *id) {
    struct proc_stat stat;
    char boot_id[37];
    int r;

    if (id->pid <= 0)
        return PROCESS_UNKNOWN;
    if (id->boot_id[0]) {
        r = procfs_read_boot_id(proc_fd, boot_id);
        if (r < 0)
            return PROCESS_UNKNOWN;
        if (strcmp(boot_id, id->boot_id) != 0)
            return PROCESS_GONE;
    }
    r = procfs_read_stat(proc_fd, id->pid, &stat);
    if (r == -ESRCH)
        return process_absence_is_true(proc_fd, id->pid) ? PROCESS_GONE : PROCESS_UNKNOWN;
    if (r < 0)
        return PROCESS_UNKNOWN;
    if (stat.start_ticks != id->start_ticks)
        return PROCESS_GONE;
    return process_life_of_stat(&stat);
}

bool process_pidfd_ended(int pidfd) {
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLIN | POLLHUP));
}

int process_identify(int proc_fd, pid_t pid, int pidfd, const char *boot_id, struct process_id *ret_id) {
    struct process_id id = {.pid = pid};
    struct proc_stat stat;
    int r;

    r = procfs_read_stat(proc_fd, pid, &stat);
    if (r < 0)
        return r;
    if (boot_id)
        snprintf(id.boot_id, sizeof id.boot_id, "%s", boot_id);
    else
        r = procfs_read_boot_id(proc_fd, id.boot_id);
    if (r < 0)
        return r;
    if (process_pidfd_ended(pidfd))
        return -ESRCH;
    id.start_ticks = stat.start_ticks;
    *ret_id = id;
    return 0;
}

int process_pin(int proc_fd, pid_t pid, struct process_id *ret_id) {
    _cleanup_close_ int pidfd = pidfd_open(pid, 0);
    int r;

    if (pidfd < 0)
        return errno == ENOENT ? -EINVAL : -errno; /* a thread's: newer kernels say ENOENT */
    r = process_identify(proc_fd, pid, pidfd, NULL, ret_id);
    return r < 0 ? r : TAKE_FD(pidfd);
}

bool process_id_equal(const struct process_id *a, const struct process_id *b) {
    return a->pid == b->pid && a->start_ticks == b->start_ticks &&
           (!a->boot_id[0] || !b->boot_id[0] || strcmp(a->boot_id, b->boot_id) == 0);
}

int process_pin_id(int proc_fd, const struct process_id *id) {
    struct process_id now;
    _cleanup_close_ int pidfd = process_pin(proc_fd, id->pid, &now);

    if (pidfd == -EINVAL)
        return -ESRCH; /* a thread has the number now */
    if (pidfd < 0)
        return pidfd;
    if (!process_id_equal(&now, id))
        return -ESRCH;
    return TAKE_FD(pidfd);
}
