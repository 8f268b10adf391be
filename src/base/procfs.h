/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Readers of proc(5). They open everything below a descriptor of the proc directory, so that another
 * mount of it, or a recorded one, can be read as well. All text that a process can choose (comm, cmdline,
 * exe) comes back printable. Errors: -ESRCH the process is gone, -EACCES or -EPERM it may not be read,
 * -EBADMSG the kernel's text was not understood. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

/* Opens /proc itself. Returns a descriptor that the caller owns. -ENODEV: nothing, or something else, is
 * mounted there, and every process would look dead. */
int procfs_open(void);

/* Whether the numbers of this proc mount are those that our own system calls take: it shows the PID namespace
 * we are in, and not one above or below (pid_namespaces(7)). */
bool procfs_is_own_namespace(int proc_fd);

struct proc_stat {
    pid_t pid, ppid, pgrp, session;
    char state;           /* one letter: R S D Z T t X I ... */
    char comm[64];        /* as the process calls itself */
    unsigned threads;     /* of the whole thread group */
    uint64_t start_ticks; /* field 22: clock ticks after boot, CLOCK_BOOTTIME */
    bool kernel_thread;   /* a thread of the kernel itself */
};

/* /proc/PID/stat; comm may contain blanks and parentheses: the last ')' ends it. */
int procfs_parse_stat(const char *text, struct proc_stat *ret);
int procfs_read_stat(int proc_fd, pid_t pid, struct proc_stat *ret);

#define PROC_NS_DEPTH_MAX 33 /* MAX_PID_NS_LEVEL (include/linux/pid_namespace.h), and the initial one */

struct proc_status {
    pid_t tgid;                       /* differs from the pid asked for when that is a thread's */
    uid_t uid;                        /* effective */
    gid_t gid;                        /* effective */
    pid_t ns_pids[PROC_NS_DEPTH_MAX]; /* its pid in each namespace, that of this proc mount first */
    pid_t ns_pid;                     /* the pid in the innermost PID namespace the process is in */
    unsigned ns_depth;                /* 1: the process is in the namespace of this proc mount */
};

int procfs_parse_status(const char *text, struct proc_status *ret);
int procfs_read_status(int proc_fd, pid_t pid, struct proc_status *ret);

/* The signals that its main thread catches, ignores or blocks: bit 0 is signal 1. */
int procfs_read_held_signals(int proc_fd, pid_t pid, uint64_t *ret);

int procfs_read_cmdline(int proc_fd, pid_t pid, char **ret); /* arguments joined by blanks; "" for a zombie */
int procfs_read_exe(int proc_fd, pid_t pid, char **ret);     /* " (deleted)" is cut off */
int procfs_read_cgroup(int proc_fd, pid_t pid, char **ret);  /* the unified path, else that of name=systemd */

/* The value of an environment variable as it was at exec time. -ENOENT: not set. */
int procfs_read_environ(int proc_fd, pid_t pid, const char *name, char **ret);

/* The inode number of /proc/PID/ns/pid; pid 0 stands for ourselves. */
int procfs_read_pid_namespace(int proc_fd, pid_t pid, uint64_t *ret);

/* One row of /proc/PID/limits, by its resource number (RLIMIT_NOFILE ...); RLIM_INFINITY is UINT64_MAX. */
struct proc_limit {
    uint64_t soft, hard;
};
int procfs_parse_limits(const char *text, struct proc_limit limits[static 16]);
int procfs_read_limits(int proc_fd, pid_t pid, struct proc_limit limits[static 16]);

int procfs_read_boot_id(int proc_fd, char ret[static 37]);

/* Start times: ticks after boot, and the same moment on the wall clock as it is set now. */
uint64_t procfs_ticks_to_boottime_usec(uint64_t ticks);
uint64_t procfs_ticks_to_realtime_usec(uint64_t ticks);

/* True when this process is in the initial PID namespace, where the kernel hides no row of /proc/locks
 * (PROC_PID_INIT_INO in include/uapi/linux/nsfs.h and include/linux/proc_ns.h). */
bool procfs_in_initial_pid_namespace(int proc_fd);
