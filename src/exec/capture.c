/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/capture.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "exec/spawn.h"
#include "exec/terminate.h"

#define DRAIN_READS 256 /* of READ_BYTES each: the most that a pipe holds unless root lets it (pipe(7)) */
#define READ_BYTES 4096 /* on the stack, which stays as large as it ever was */
#define FAREWELL_USEC (500 * USEC_PER_MSEC) /* one that was killed ends within microseconds, if it can */

struct stream {
    int fd; /* our end of a pipe; -EBADF: it has come to its end */
    char *data;
    size_t size, room, max;
    bool keeps_on; /* beyond max it is read and thrown away */
};

struct capture {
    struct exec_plan plan;
    struct spawn spawn;
    int proc_fd;
    struct stream out, said;
};

static void capture_done(struct capture *capture) {
    fd_close(capture->proc_fd);
    fd_close(capture->out.fd);
    fd_close(capture->said.fd);
    free(capture->out.data);
    free(capture->said.data);
    /* One that cannot be ended now reads no plan any more: with a SIGKILL pending no process returns from the
     * kernel (exit_to_user_mode_loop() in kernel/entry/common.c). */
    (void) spawn_done(&capture->spawn);
}

/* 0, or -E2BIG, or -errno. At the end of the stream its descriptor is closed. */
static int stream_read(struct stream *stream) {
    char buffer[READ_BYTES];
    ssize_t n = read(stream->fd, buffer, sizeof buffer);
    size_t left = stream->max - stream->size, take;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0) {
        stream->fd = fd_close(stream->fd);
        return 0;
    }
    take = (size_t) n < left ? (size_t) n : left;
    if (stream->room - stream->size <= take) {
        size_t room = 2 * (stream->size + take) + 1;
        char *bigger = realloc(stream->data, room);

        if (!bigger)
            return -ENOMEM;
        stream->data = bigger;
        stream->room = room;
    }
    memcpy(stream->data + stream->size, buffer, take);
    stream->size += take;
    return take < (size_t) n && !stream->keeps_on ? -E2BIG : 0;
}

/* What it wrote before it ended is in the pipe by then, and no more than that is waited for: a descendant may
 * write on and on. */
static int stream_drain(struct stream *stream) {
    for (int i = 0; i < DRAIN_READS; i++) {
        struct pollfd poll_fd = {.fd = stream->fd, .events = POLLIN};
        int r = stream->fd >= 0 ? poll(&poll_fd, 1, 0) : 0;

        if (r <= 0)
            return 0;
        r = stream_read(stream);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The text as a string of its own, the stream's no more. */
static char *stream_take(struct stream *stream) {
    char *text = stream->data ? TAKE_PTR(stream->data) : calloc(1, 1);

    if (text)
        text[stream->size] = '\0'; /* stream_read() leaves room for it */
    return text;
}

/* Both ends O_CLOEXEC; only ours does not block. */
static int make_pipe(struct stream *stream, int *ret_fd) {
    int ends[2], r;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    stream->fd = ends[0];
    *ret_fd = ends[1];
    r = fd_set_nonblock(stream->fd, true);
    if (r < 0)
        *ret_fd = fd_close(ends[1]);
    return r;
}

static int begin(struct capture *capture, const struct config_question *question, struct err *err) {
    _cleanup_close_ int out_fd = -EBADF, said_fd = -EBADF;
    int r = make_pipe(&capture->out, &out_fd);

    if (r >= 0)
        r = make_pipe(&capture->said, &said_fd);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot run %s: making a pipe failed: %m", question->argv[0]);
    capture->proc_fd = procfs_open();
    if (capture->proc_fd < 0)
        return err_set(err, -capture->proc_fd, "Failed", "cannot run %s: cannot open /proc: %m",
                       question->argv[0]);
    capture->plan.executable = question->argv[0];
    capture->plan.argv = question->argv;
    capture->plan.envp = question->envp;
    capture->plan.working_directory = question->working_directory;
    capture->plan.stdin_null = true;
    capture->plan.ends_with_us = true; /* a configuration read on trial ends with its child */
    capture->plan.stdout_fd = out_fd;
    capture->plan.stderr_fd = said_fd;
    r = spawn_start(capture->proc_fd, &capture->plan, &capture->spawn, err);
    if (r < 0)
        return r;
    r = spawn_release(&capture->spawn);
    return r < 0 ? err_set(err, -r, "ExecFailed", "cannot run %s: the new process ended at once",
                           question->argv[0])
                 : 0;
}

/* Until it has ended: 0. */
static int listen_to(struct capture *capture, uint64_t deadline_usec, struct err *err) {
    enum { CHANNEL, OUT, SAID, END, N };

    for (;;) {
        struct pollfd fds[N] = {
            [CHANNEL] = {.fd = capture->spawn.channel_fd, .events = POLLIN},
            [OUT] = {.fd = capture->out.fd, .events = POLLIN},
            [SAID] = {.fd = capture->said.fd, .events = POLLIN},
            [END] = {.fd = capture->spawn.pidfd, .events = POLLIN},
        };
        int r = deadline_poll(fds, N, deadline_usec);

        if (r <= 0 || deadline_left(deadline_usec) == 0) /* one that writes on and on is never waited for */
            return r < 0 ? r : -ETIMEDOUT;
        if (fds[CHANNEL].revents) {
            r = spawn_read_status(&capture->spawn, &capture->plan, err);
            if (r < 0 && r != -EAGAIN)
                return r;
        }
        r = fds[OUT].revents ? stream_read(&capture->out) : 0;
        if (r >= 0 && fds[SAID].revents)
            r = stream_read(&capture->said);
        if (r < 0)
            return r;
        if (fds[END].revents && capture->spawn.channel_fd < 0)
            break;
    }
    int r = stream_drain(&capture->out);

    return r < 0 ? r : stream_drain(&capture->said);
}

/* False: it does not end, whatever is done to it (a file system that does not answer). */
static bool reap(struct capture *capture, bool kill_it, int *ret_status) {
    struct pollfd poll_fd = {.fd = capture->spawn.pidfd, .events = POLLIN};
    siginfo_t info = {0};

    if (kill_it)
        (void) terminate_signal(capture->spawn.pidfd, SIGKILL);
    if (deadline_poll(&poll_fd, 1, deadline_after(FAREWELL_USEC)) != 1)
        return false;
    while (waitid(P_PIDFD, (id_t) capture->spawn.pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    *ret_status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return true;
}

int capture_run(const struct config_question *question, struct config_answer *ret, struct err *err) {
    _cleanup_(capture_done) struct capture capture = {
        .plan = EXEC_PLAN_INIT,
        .spawn = SPAWN_INIT,
        .proc_fd = -EBADF,
        .out = {.fd = -EBADF, .max = question->max_bytes},
        .said = {.fd = -EBADF, .max = CAPTURE_SAID_MAX, .keeps_on = true},
    };
    uint64_t deadline_usec = deadline_after(question->timeout_usec);
    struct config_answer answer = {0};
    int r, status = 0;

    r = begin(&capture, question, err);
    if (r >= 0)
        r = listen_to(&capture, deadline_usec, err);
    if (capture.spawn.pidfd >= 0 && !reap(&capture, r < 0, &status) && r >= 0)
        r = -ETIMEDOUT;
    if (r < 0)
        return r;
    answer.size = capture.out.size;
    answer.text = stream_take(&capture.out);
    answer.said = stream_take(&capture.said);
    answer.status = status;
    if (!answer.text || !answer.said) {
        config_answer_done(&answer);
        return err_set(err, ENOMEM, "Failed", "out of memory");
    }
    *ret = answer;
    return 0;
}
