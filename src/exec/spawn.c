/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/spawn.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/birth.h"

/* A child at its gate ends within microseconds, once it has a processor; one that somebody stopped there does
 * not. */
#define FAREWELL_MSEC 500

/* Sees the child end, or go on to its program: then its end of the channel is closed, after it has left our
 * memory (begin_new_exec() in fs/exec.c, do_exit() in kernel/exit.c). */
static bool await_farewell(struct spawn *spawn) {
    struct pollfd poll_fd = {.fd = spawn->channel_fd, .events = POLLIN};
    struct exec_status status;
    ssize_t n = 1;

    if (spawn->channel_fd < 0) {
        poll_fd.fd = spawn->pidfd;
        return spawn->pidfd >= 0 && poll(&poll_fd, 1, FAREWELL_MSEC) == 1;
    }
    (void) shutdown(spawn->channel_fd, SHUT_WR); /* the gate will not open any more */
    if (spawn->stack) /* it would yield its processor to everybody else, look after look, before it reads that */
        birth_open_gate(spawn->stack);
    while (n > 0 && poll(&poll_fd, 1, FAREWELL_MSEC) == 1)
        n = recv(spawn->channel_fd, &status, sizeof status, MSG_DONTWAIT);
    return n <= 0;
}

bool spawn_done(struct spawn *spawn) {
    bool left;

    if (spawn->stack)
        (void) birth_part(spawn->stack, spawn->id.pid);
    left = !spawn->stack || await_farewell(spawn);
    if (left)
        birth_free_stack(spawn->stack);
    spawn->stack = NULL;
    spawn->pidfd = fd_close(spawn->pidfd);
    spawn->channel_fd = fd_close(spawn->channel_fd);
    return left;
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
    struct birth birth;
    int ends[2];
    int r;

    /* One socket each way: a gate that is a pipe would raise SIGPIPE here when the child is dead already. */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return fork_failed(plan, errno, err);
    spawn.channel_fd = ends[0];
    child_fd = ends[1];
    r = birth_begin(plan, child_fd, &birth);
    if (r < 0)
        return fork_failed(plan, -r, err);
    child_fd = fd_close(child_fd);
    spawn.stack = birth.stack;
    spawn.in_cgroup = birth.in_cgroup;
    spawn.pidfd = birth.pidfd;
    r = birth.pidfd >= 0 ? process_identify(proc_fd, birth.pid, birth.pidfd, plan->boot_id, &spawn.id)
                         : process_pin(proc_fd, birth.pid, &spawn.id);
    if (r < 0) {
        if (spawn.stack) {
            (void) birth_part(spawn.stack, birth.pid);
            (void) await_farewell(&spawn);
        }
        spawn.channel_fd = fd_close(spawn.channel_fd); /* ends the child */
        while (waitpid(birth.pid, NULL, 0) < 0 && errno == EINTR)
            ;
        birth_free_stack(spawn.stack);
        spawn.stack = NULL;
        return fork_failed(plan, -r, err);
    }
    if (birth.pidfd < 0)
        spawn.pidfd = r;
    *ret = spawn;
    spawn = SPAWN_INIT;
    return 0;
}

int spawn_release(struct spawn *spawn) {
    ssize_t n;

    if (spawn->stack)
        (void) birth_part(spawn->stack, spawn->id.pid); /* one that is stopped goes on later */
    do
        n = send(spawn->channel_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 1 && spawn->stack)
        birth_open_gate(spawn->stack);
    if (n == 1)
        return 0;
    return errno == EPIPE || errno == ECONNRESET ? -ECANCELED : -errno;
}

int spawn_read_status(struct spawn *spawn, const struct exec_plan *plan, struct err *err) {
    struct exec_status status;
    ssize_t n;
    int r;

    if (spawn->stack)
        (void) birth_part(spawn->stack, spawn->id.pid);
    do {
        n = recv(spawn->channel_fd, &status, sizeof status, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return -EAGAIN;
        if (n == (ssize_t) sizeof status && status.error == 0)
            spawn->at_exec = true;
        else if (n == (ssize_t) sizeof status)
            spawn->failure = status; /* it is about to end, on the stack that we gave it */
        /* A reset (it ended and left the gate's byte unread: unix_release_sock() in net/unix/af_unix.c) is
         * told once, before what it had sent. */
    } while (n > 0 || (n < 0 && (errno == EINTR || errno == ECONNRESET)));
    spawn->channel_fd = fd_close(spawn->channel_fd);
    birth_free_stack(spawn->stack);
    spawn->stack = NULL;
    if (spawn->failure.error != 0) {
        r = exec_stage_explain(plan, &spawn->failure, err);
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
