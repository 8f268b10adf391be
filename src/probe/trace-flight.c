/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in flight is looked at by MSG_PEEK, on a duplicate of the socket (pidfd_getfd(2)): the kernel gives
 * us duplicates of the descriptors in the first message that carries some, and leaves message and descriptors
 * for the one they are for (net/unix/af_unix.c, unix_peek_fds()). A child of our own does that, for
 * - closing a descriptor of a file drops every POSIX lock that the process has on it (fcntl(2)); the child
 *   has none;
 * - whoever sent them chose them: close(2) of a file in a FUSE file system waits for its server. We do not
 *   wait for the child any longer than DEADLINE. */
#include "probe/trace-parts.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "probe/snapshot.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 (pidfd_open(2)) */
#endif

#define DEADLINE_USEC (USEC_PER_SEC / 2)
#define MERCY_USEC 50000             /* for its end, once its time is over */
#define DESCRIPTORS_MAX 253          /* of a message (SCM_MAX_FD, unix(7)) */
#define NESTED_MAX 4                 /* sockets in flight in sockets in flight */
#define LOOKAHEAD_BYTES (256 * 1024) /* of a stream: more than its queue has room for by default */

/* From the child. Shorter than PIPE_BUF, so that each comes whole (pipe(7)). */
struct report {
    uint32_t socket;
    int32_t target;    /* that is in flight in it; -1: all that is in flight in it was seen */
    char fdinfo[1024]; /* of the duplicate, as much as fits */
};

/* All that the child uses: it may not allocate (signal-safety(7)). */
struct job {
    const struct trace *trace;
    const struct trace_socket *sockets;
    size_t n;
    int out;
    struct report report;
    char *data;
};

static bool read_own_fdinfo(struct job *job, int fd) {
    _cleanup_close_ int file = -EBADF;
    char path[32];
    ssize_t size;

    snprintf(path, sizeof path, "self/fdinfo/%d", fd);
    file = openat(job->trace->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    size = read(file, job->report.fdinfo, sizeof job->report.fdinfo - 1);
    if (size < 0)
        return false;
    memset(job->report.fdinfo + size, 0, sizeof job->report.fdinfo - (size_t) size);
    return true;
}

static bool look_into(struct job *job, int fd, unsigned depth);

/* A descriptor that was in flight. */
static bool look_at_duplicate(struct job *job, int fd, unsigned depth) {
    struct stat st;

    if (trace_stat_at(fd, "", AT_EMPTY_PATH, &st) < 0)
        return false;
    for (size_t i = 0; i < job->trace->n; i++) {
        const struct holder_target *target = &job->trace->targets[i];

        if (target->inode != st.st_ino ||
            !(target->kind == HOLDER_TARGET_SOCKET
                  ? S_ISSOCK(st.st_mode)
                  : target->kind == HOLDER_TARGET_FILE && S_ISREG(st.st_mode) && target->device == st.st_dev))
            continue;
        job->report.target = (int32_t) i;
        if (!read_own_fdinfo(job, fd) ||
            write(job->out, &job->report, sizeof job->report) != (ssize_t) sizeof job->report)
            return false;
    }
    return !S_ISSOCK(st.st_mode) || look_into(job, fd, depth + 1);
}

/* Whether a look at the queue leaves it as it is: not where the socket keeps a place to peek at, which a look
 * moves (SO_PEEK_OFF, socket(7)); nor where it has an error to tell, which the first call to receive gets.
 */
static bool can_look(int fd) {
    int offset;
    socklen_t size = sizeof offset;
    struct pollfd state = {.fd = fd};

    if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &size) < 0 || offset >= 0)
        return false;
    return poll(&state, 1, 0) >= 0 && !(state.revents & POLLERR);
}

/* True when everything that is in flight in the socket was seen. Only the first message with descriptors can
 * be; of datagrams only the first at all; and nothing that connections carry which a listener has not
 * accepted (it has nothing to receive: EINVAL, ENOTCONN). */
static bool look_into(struct job *job, int fd, unsigned depth) {
    union {
        /* and what else the socket's owner may have asked for: credentials, a pidfd, a security label */
        char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX) + 1024];
        struct cmsghdr align;
    } control;
    struct iovec iov = {job->data, LOOKAHEAD_BYTES};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    unsigned expected, seen = 0;
    bool whole = true;

    if (!read_own_fdinfo(job, fd))
        return false;
    expected = trace_count_in_flight(job->report.fdinfo);
    if (expected == 0)
        return true;
    if (depth >= NESTED_MAX || !can_look(fd) ||
        recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
        return false;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
            int duplicate;

            memcpy(&duplicate, CMSG_DATA(header) + at, sizeof duplicate);
            whole &= look_at_duplicate(job, duplicate, depth);
            fd_close(duplicate);
            seen++;
        }
    }
    return whole && !(message.msg_flags & MSG_CTRUNC) && seen >= expected;
}

/* The very socket that was seen in the process's table: its number may be another's meanwhile, and so may the
 * process's. */
static int duplicate_socket(const struct job *job, const struct trace_socket *socket) {
    pid_t pid = job->trace->pid;
    _cleanup_close_ int pidfd =
        socket->tid == pid ? pidfd_open(pid, 0) : pidfd_open(socket->tid, PIDFD_THREAD);
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (pidfd < 0)
        return -errno;
    fd = pidfd_getfd(pidfd, socket->fd, 0);
    if (fd < 0)
        return -errno;
    if (trace_stat_at(fd, "", AT_EMPTY_PATH, &st) < 0 || !S_ISSOCK(st.st_mode) || st.st_ino != socket->inode)
        return -ESTALE;
    return TAKE_FD(fd);
}

static void carry_out(struct job *job) {
    for (size_t i = 0; i < job->n; i++) {
        int fd = duplicate_socket(job, &job->sockets[i]);

        job->report.socket = (uint32_t) i;
        if (fd >= 0 && look_into(job, fd, 0)) {
            job->report.target = -1;
            if (write(job->out, &job->report, sizeof job->report) != (ssize_t) sizeof job->report)
                return;
        }
        fd_close(fd);
    }
}

/* In the child. Whatever happens to it, nothing of ours stays open in it, and its time is limited by the
 * kernel. */
static _Noreturn void be_child(struct job *job) {
    unsigned low = (unsigned) job->out, high = (unsigned) job->trace->proc_fd;
    struct itimerval deadline = {.it_value = {.tv_usec = DEADLINE_USEC}};
    sigset_t alarms;

    if (low > high) {
        unsigned swapped = low;

        low = high;
        high = swapped;
    }
    if ((low > 0 && close_range(0, low - 1, 0) < 0) ||
        (high > low + 1 && close_range(low + 1, high - 1, 0) < 0) || close_range(high + 1, ~0U, 0) < 0)
        _exit(EXIT_FAILURE);
    (void) signal(SIGALRM, SIG_DFL);
    (void) sigemptyset(&alarms);
    (void) sigaddset(&alarms, SIGALRM);
    if (setitimer(ITIMER_REAL, &deadline, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &alarms, NULL) < 0)
        _exit(EXIT_FAILURE);
    carry_out(job);
    _exit(EXIT_SUCCESS);
}

/* A child that nobody who waits for all his children gets to see: its end sends no signal (clone(2)). Signals
 * are blocked over it, so that no handler of ours runs there. */
static int make_child(struct job *job, pid_t *ret_pid, int *ret_pidfd) {
    int pidfd = -EBADF, error;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t) &pidfd};
    sigset_t all, before;
    long pid;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        be_child(job);
    error = errno;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return -error;
    *ret_pid = (pid_t) pid;
    *ret_pidfd = pidfd;
    return 0;
}

/* 1: readable; 0: the time is over. */
static int wait_readable(int fd, uint64_t until_usec) {
    struct pollfd state = {.fd = fd, .events = POLLIN};
    uint64_t now = now_usec(CLOCK_MONOTONIC);
    int r = poll(&state, 1, now < until_usec ? (int) ((until_usec - now + 999) / 1000) : 0);

    return r < 0 ? errno == EINTR : r > 0;
}

static int take_report(const struct job *job, const struct report *report, bool *seen) {
    const struct trace *trace = job->trace;
    bool families[LOCK_FAMILY_MAX] = {false};

    if (report->socket >= job->n || report->target >= (int32_t) trace->n)
        return 0;
    if (report->target < 0) {
        seen[report->socket] = true;
        return 0;
    }
    if (trace->targets[report->target].kind == HOLDER_TARGET_FILE) {
        lock_fdinfo_families(report->fdinfo, families);
        if (!families[LOCK_FAMILY_FLOCK] && !families[LOCK_FAMILY_OFD])
            return 0; /* the file, but not the lock */
    }
    return trace->found(trace->userdata, (size_t) report->target, trace->pid, VIA_IN_FLIGHT,
                        job->sockets[report->socket].fd, families);
}

int trace_flight(const struct trace *trace, const struct trace_socket *sockets, size_t n) {
    uint64_t until_usec = now_usec(CLOCK_MONOTONIC) + DEADLINE_USEC;
    _cleanup_free_ char *data = malloc(LOOKAHEAD_BYTES);
    _cleanup_free_ bool *seen = calloc(n, sizeof *seen);
    _cleanup_close_ int in = -EBADF, out = -EBADF, pidfd = -EBADF;
    struct job job = {.trace = trace, .sockets = sockets, .n = n, .data = data};
    int ends[2], result = 0, r;
    pid_t child = 0;

    if (!data || !seen)
        return -ENOMEM;
    if (!procfs_is_own_namespace(trace->proc_fd)) /* its numbers are not those of our system calls */
        return TRACE_UNSEEN;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    in = ends[0];
    job.out = out = ends[1];
    r = make_child(&job, &child, &pidfd);
    if (r < 0)
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : TRACE_UNSEEN; /* we may make no process */
    out = fd_close(out);
    while (wait_readable(in, until_usec)) {
        struct report report;
        ssize_t size = read(in, &report, sizeof report);

        if (size < 0 && errno == EINTR)
            continue;
        if (size != (ssize_t) sizeof report)
            break;
        r = take_report(&job, &report, seen);
        if (r < 0)
            break;
    }
    /* One that hangs in the kernel is left to itself: it has nothing of ours. */
    if (wait_readable(pidfd, until_usec + MERCY_USEC))
        (void) waitpid(child, NULL, WNOHANG | __WALL);
    for (size_t i = 0; i < n; i++)
        if (!seen[i])
            result |= TRACE_UNSEEN;
    return r < 0 ? r : result;
}
