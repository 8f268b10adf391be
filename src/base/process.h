/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The identity of a process: a pid alone is a number that the kernel gives out again. Boot id and start
 * time make it unique, a pidfd pins it (pidfd_open(2)): open first, then read, then see that the pidfd is
 * still alive; what was read in between is about this very process. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fd.h"
#include "base/procfs.h"

struct process_id {
    pid_t pid;            /* 0: none */
    uint64_t start_ticks; /* see struct proc_stat */
    char boot_id[37];     /* empty: this boot */
};

enum process_life {
    PROCESS_GONE,   /* provably: no such pid, or the number belongs to another process now */
    PROCESS_ZOMBIE, /* dead but not reaped: holds nothing, though kill(pid, 0) succeeds */
    PROCESS_ALIVE,
    PROCESS_STOPPED, /* SIGSTOP or a debugger: alive */
    PROCESS_UNKNOWN, /* could not be read */
    PROCESS_LIFE_MAX,
};

/* What /proc/PID/stat says of life: a zombie thread group leader with living threads is alive. */
enum process_life process_life_of_stat(const struct proc_stat *stat);

/* True when nobody has that number: neither a process nor a thread. That /proc shows no such entry is no
 * proof by itself: hidepid= hides other users' processes (proc(5)), so the kernel is asked as well, by
 * getsid(2), which wants no permission. */
bool process_number_is_free(int proc_fd, pid_t pid);

/* The second half of it, for who has just seen that /proc shows no such entry (-ESRCH). */
bool process_absence_is_true(int proc_fd, pid_t pid);

/* Whether the process of that identity lives. Never guesses by kill(pid, 0). */
enum process_life process_look(int proc_fd, const struct process_id *id);

/* Pins the process that has this pid now: fills *ret_id (boot id included) and returns a pidfd that the
 * caller owns. -ESRCH: no such process, a zombie included; -EINVAL: pid is a thread's. */
int process_pin(int proc_fd, pid_t pid, struct process_id *ret_id);

/* The same for a process that is pinned already. boot_id is that of this boot, NULL: not known yet. Returns
 * 0. */
int process_identify(int proc_fd, pid_t pid, int pidfd, const char *boot_id, struct process_id *ret_id);

/* The same, and -ESRCH unless it is the process *id names. */
int process_pin_id(int proc_fd, const struct process_id *id);

/* True once the process behind the pidfd has ended (reaped or not). */
bool process_pidfd_ended(int pidfd);

bool process_id_equal(const struct process_id *a, const struct process_id *b);
