/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/spawn.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void spawn_done(struct spawn *spawn) {
    spawn->pidfd = fd_close(spawn->pidfd);
    spawn->channel_fd = fd_close(spawn->channel_fd);
}

/* A fork into another cgroup. To be born there costs nothing, while a move (a write to cgroup.procs) waits
 * for a grace period of the kernel's, some 10 ms (cgroup_attach_lock() in kernel/cgroup/cgroup.c). Where the
 * kernel does not take it (clone3(2): ENOSYS before 5.3 and from seccomp filters, E2BIG before 5.7, EBUSY and
 * EOPNOTSUPP of a cgroup that takes no processes, ENODEV of one that is gone) the child is born into ours: it
 * starts all the same, and what it leaves is told by other proofs. */
static pid_t fork_into(int cgroup_fd) {
    struct clone_args arguments = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t) cgroup_fd};
    pid_t pid = cgroup_fd >= 0 ? (pid_t) syscall(SYS_clone3, &arguments, sizeof arguments) : -1;

    if (pid < 0 && (cgroup_fd < 0 || (errno != EAGAIN && errno != ENOMEM)))
        pid = fork();
    return pid;
}

/* With all signals blocked, so that no handler of ours runs in the child; the child unblocks its own. */
static pid_t fork_child(const struct exec_plan *plan, int channel_fd) {
    sigset_t all, before;
    pid_t pid;
    int saved;

    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &before) < 0)
        return -1;
    pid = fork_into(plan->cgroup_fd);
    if (pid == 0)
        exec_child(plan, channel_fd);
    saved = errno;
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

static int fork_failed(const struct exec_plan *plan, int number, struct err *err) {
    return err_set(
        err, number, "ForkFailed", "cannot start \"%s\": making a new process failed: %s%s", plan->executable,
        strerror(number),
        number == EAGAIN ? "; a limit of processes is reached: latchd's LimitNPROC=, pids.max of its cgroup "
                           "(TasksMax=), kernel.pid_max or kernel.threads-max"
        : number == EMFILE ? "; latchd has too many open files: raise LimitNOFILE= in the unit that starts it"
                           : "");
}

int spawn_start(int proc_fd, const struct exec_plan *plan, struct spawn *ret, struct err *err) {
    _cleanup_spawn_ struct spawn spawn = SPAWN_INIT;
    _cleanup_close_ int child_fd = -EBADF;
    int ends[2];
    pid_t pid;
    int r;

    /* One socket each way: a gate that is a pipe would raise SIGPIPE here when the child is dead already. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return fork_failed(plan, errno, err);
    spawn.channel_fd = ends[0];
    child_fd = ends[1];
    pid = fork_child(plan, child_fd);
    if (pid < 0)
        return fork_failed(plan, errno, err);
    child_fd = fd_close(child_fd);
    r = process_pin(proc_fd, pid, &spawn.id);
    if (r < 0) {
        spawn.channel_fd = fd_close(spawn.channel_fd); /* ends the child */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return fork_failed(plan, -r, err);
    }
    spawn.pidfd = r;
    *ret = spawn;
    spawn = SPAWN_INIT;
    return 0;
}

int spawn_release(struct spawn *spawn) {
    ssize_t n;

    do
        n = send(spawn->channel_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return 0;
    return errno == EPIPE || errno == ECONNRESET ? -ECANCELED : -errno;
}

int spawn_read_status(struct spawn *spawn, const struct exec_plan *plan, struct err *err) {
    for (;;) {
        struct exec_status status;
        ssize_t n = recv(spawn->channel_fd, &status, sizeof status, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return -EAGAIN;
        if (n == (ssize_t) sizeof status && status.error == 0) {
            spawn->at_exec = true;
            continue;
        }
        spawn->channel_fd = fd_close(spawn->channel_fd);
        if (n == (ssize_t) sizeof status) {
            int r = exec_stage_explain(plan, &status, err);

            return r == -EAGAIN ? -EBUSY : r;
        }
        if (n == 0 && spawn->at_exec)
            return 0;
        return err_set(
            err, ECANCELED, "ExecFailed",
            "cannot start \"%s\": process %d ended before it came to execute it (somebody killed it, or "
            "memory ran out); see the kernel's log",
            plan->executable, (int) spawn->id.pid);
    }
}
