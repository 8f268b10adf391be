/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/process-facts.h"

#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/freezer.h"

#define ANCESTORS_MAX 64

static int read_ancestors(int proc_fd, pid_t ppid, struct process_facts *process) {
    while (ppid > 0 && process->n_ancestors < ANCESTORS_MAX) {
        struct ancestor_facts *bigger =
            reallocarray(process->ancestors, process->n_ancestors + 1, sizeof *bigger);
        struct proc_stat stat;

        if (!bigger)
            return -ENOMEM;
        process->ancestors = bigger;
        bigger[process->n_ancestors] = (struct ancestor_facts){.pid = ppid};
        (void) procfs_read_exe(proc_fd, ppid, &bigger[process->n_ancestors].exe);
        process->n_ancestors++;
        if (procfs_read_stat(proc_fd, ppid, &stat) < 0)
            break;
        ppid = stat.ppid;
    }
    return 0;
}

/* Gone for good: its number is free, or a zombie's. Our own session is nobody's daemon's, though it may have
 * lost its leader. */
static bool is_session_leader_gone(int proc_fd, pid_t session) {
    struct proc_stat leader;
    int r;

    if (session <= 0 /* in another PID namespace */ || session == getsid(0))
        return false;
    r = procfs_read_stat(proc_fd, session, &leader);
    if (r >= 0)
        return process_life_of_stat(&leader) == PROCESS_ZOMBIE;
    return r == -ESRCH && process_absence_is_true(proc_fd, session);
}

int process_facts_read(int proc_fd, pid_t pid, struct process_facts *ret) {
    struct process_facts process = {.pid = pid, .life = PROCESS_GONE, .uid = (uid_t) -1};
    _cleanup_close_ int pidfd = pidfd_open(pid, 0);
    struct proc_status status;
    struct proc_stat stat;
    int r;

    r = procfs_read_stat(proc_fd, pid, &stat);
    if (r == -ESRCH) {
        if (!process_absence_is_true(proc_fd, pid))
            process.life = PROCESS_UNKNOWN;
        *ret = process;
        return 0;
    }
    if (r < 0) {
        process.life = PROCESS_UNKNOWN;
        *ret = process;
        return r == -ENOMEM ? r : 0;
    }
    process.life = process_life_of_stat(&stat);
    /* A frozen process sleeps: S in a cgroup of version 2, D in one of version 1. */
    if (process.life == PROCESS_ALIVE && !stat.kernel_thread && (stat.state == 'S' || stat.state == 'D') &&
        freezer_has(proc_fd, pid)) {
        process.frozen = true;
        process.life = PROCESS_STOPPED;
    }
    process.start_ticks = stat.start_ticks;
    process.start_usec = procfs_ticks_to_realtime_usec(stat.start_ticks);
    process.ppid = stat.ppid;
    process.pgrp = stat.pgrp;
    process.session = stat.session;
    process.session_leader_gone = is_session_leader_gone(proc_fd, stat.session);
    process.kernel_thread = stat.kernel_thread;
    memcpy(process.comm, stat.comm, sizeof process.comm);
    if (procfs_read_status(proc_fd, pid, &status) >= 0)
        process.uid = status.uid;
    (void) procfs_read_exe(proc_fd, pid, &process.exe);
    (void) procfs_read_cmdline(proc_fd, pid, &process.cmdline);
    (void) procfs_read_cgroup(proc_fd, pid, &process.cgroup);
    (void) procfs_read_environ(proc_fd, pid, "LATCHD_SERVICE", &process.service);
    (void) procfs_read_environ(proc_fd, pid, "INVOCATION_ID", &process.invocation_id);
    r = read_ancestors(proc_fd, stat.ppid, &process);
    if (r < 0) {
        process_facts_done(&process);
        return r;
    }
    if (pidfd >= 0 && process.life != PROCESS_ZOMBIE && process_pidfd_ended(pidfd)) {
        /* It ended while it was read: what was read may be another's. */
        process_facts_done(&process);
        process = (struct process_facts){.pid = pid, .uid = (uid_t) -1};
        process.life = procfs_read_stat(proc_fd, pid, &stat) == -ESRCH ? PROCESS_GONE : PROCESS_ZOMBIE;
    }
    *ret = process;
    return 0;
}
