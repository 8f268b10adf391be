/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The only place that executes a program. The plan is made by the parent; between birth and exec nothing is
 * allocated, looked up or locked: system calls only (signal-safety(7)), and bare ones, for the child may
 * share the parent's memory with its errno (system-call.h). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "exec/credentials.h"
#include "exec/exec-stage.h"
#include "exec/rlimits.h"

/* Everything it points to is borrowed, and has to live until the outcome is known (spawn_read_status()).
 * Start from EXEC_PLAN_INIT. */
struct exec_plan {
    const char *executable;        /* a path, see executable_find() */
    const char *shown_as;          /* what messages call it; NULL: by its path */
    const char *key;               /* what names it in the configuration: "ExecStart="; NULL: nothing does */
    const char *boot_id;           /* of this boot, for the child's identity; NULL: to be read */
    char *const *argv;             /* NULL-terminated */
    char *const *envp;             /* NULL-terminated: the whole environment */
    const char *working_directory; /* NULL: unchanged */

    uint64_t default_signals; /* those that need not be reset, see exec_default_signals(); 0: not known */
    bool set_umask, set_nice, set_oom_score_adjust;
    mode_t umask;
    int nice;
    int oom_score_adjust;
    bool no_new_privileges;
    bool new_session; /* not for exec_become(): a process group leader cannot */
    bool ends_with_us; /* SIGKILL when the thread that made it ends (PR_SET_PDEATHSIG, prctl(2)): of a program
                        * that is asked something, not of a daemon */
    int cgroup_fd;    /* the directory of the cgroup that the child is born into; -EBADF: ours. Not for
                       * exec_become() */

    const struct rlimit *own_files; /* RLIMIT_NOFILE as it was before we raised it for ourselves; NULL: we
                                     * did not */
    const struct rlimits_planned *rlimits; /* NULL: unchanged */
    const struct credentials *credentials; /* NULL: unchanged */

    bool stdin_null; /* /dev/null becomes standard input */
    int stdout_fd,
        stderr_fd; /* these become 1 and 2; -EBADF: what 1 and 2 are already, or /dev/null if closed */

    /* These become 3, 4, ... in the daemon, and no other descriptor above 2 survives. With more than
     * EXEC_SHARED_FDS_MAX the array is overwritten (in a child: the child's copy of it). */
    int *pass_fds;
    size_t n_pass_fds;
    /* The value of LISTEN_PID= inside envp, with room for EXEC_PID_SIZE bytes: the child writes its pid
     * there, which nobody else can know in time, in our memory too where it shares that. NULL: none. */
    char *listen_pid;
    char *watchdog_pid; /* the same of WATCHDOG_PID= (sd_watchdog_enabled(3)) */
};

#define EXEC_PID_SIZE 12       /* a pid_t in decimal, and NUL */
#define EXEC_SHARED_FDS_MAX 64 /* a child that is passed more does not share our memory (birth.h) */
#define EXEC_PLAN_INIT ((struct exec_plan){.cgroup_fd = -EBADF, .stdout_fd = -EBADF, .stderr_fd = -EBADF})

/* Signals that this process neither ignores nor handles, of number N bit N - 1: a child that resets only the others
 * saves some sixty system calls. Good until the next sigaction(2). */
uint64_t exec_default_signals(void);

/* The numbers that the descriptors have in the child, and whether it has a table of its own of them. */
struct exec_handles {
    int channel_fd, stdout_fd, stderr_fd; /* the latter two as in the plan; -EBADF alike */
    /* NULL: they are a copy. Else the child shares the parent's table, until it has made a copy of what it
     * needs and nothing else: then it sets this futex(2) to 1, or to -errno if it could not. Not with
     * pass_fds. */
    int *apart;
    /* Not 0: the byte is in the channel. NULL, or where the child may look for it a while before it sleeps: a
     * processor that falls idle meanwhile takes longer to wake than the parent takes to record the child. */
    const int *gate;
};

/* The child's whole life. First of all it lets go of every descriptor that the plan does not
 * name: a flock(2) belongs to the open file description and would survive the supervisor in this copy. When
 * all steps but the last are taken, or one has failed, it waits for one byte on the channel; end of file
 * means that the supervisor died before it had recorded this child, and nothing is executed. A failure is
 * reported as struct exec_status, the step of execve(2) itself as one with error 0 before it; that the
 * channel closes after that means that it succeeded. Descriptors 0 to 2 must have been open in the parent
 * when it opened others. */
_Noreturn void exec_child(const struct exec_plan *plan, const struct exec_handles *handles);

/* Takes the same steps (but gate and session) in this very process and becomes the daemon. Returns only on
 * failure, with -errno and *err, and by then the process is half of what it was: report it and exit. */
int exec_become(const struct exec_plan *plan, struct err *err);
