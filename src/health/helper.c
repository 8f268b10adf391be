/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "exec/terminate.h"

#define REAP_MSEC 100

struct helper {
    sd_event_source *io, *timer;
    int in_fd, pidfd;
    helper_done_t done;
    helper_heard_t heard; /* NULL: the answer is kept */
    uint64_t patience_usec;
    void *userdata;
    char *answer;
    size_t size;
};

/* ---- the child ---- */

/* All but its output (1) and what it was given (0, which is closed when there is nothing). */
static void leave_all_but(int fd, int out_fd) {
    int output = fcntl(out_fd, F_DUPFD, 3), given = fd < 0 ? -1 : fcntl(fd, F_DUPFD, 3);

    if (output < 0 || (fd >= 0 && given < 0) || dup2(output, 1) < 0 || (fd >= 0 && dup2(given, 0) < 0))
        _exit(1);
    if (fd < 0)
        (void) close(0);
    (void) close_range(2, ~0U, 0);
}

_Noreturn static void be_child(helper_work_t work, const void *question, int fd, int out_fd) {
    sigset_t none;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    leave_all_but(fd, out_fd);
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    work(question, fd < 0 ? -EBADF : 0, 1);
    _exit(0);
}

/* ---- the parent ---- */

static void finish(struct helper *helper, int error) {
    helper_done_t done = helper->done;
    void *userdata = helper->userdata;
    char *answer = TAKE_PTR(helper->answer);
    size_t size = helper->size;

    helper_free(helper);
    done(error, answer, size, userdata);
    free(answer);
}

static void hear(struct helper *helper) {
    char text[4096];
    ssize_t n = read(helper->in_fd, text, sizeof text);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        finish(helper, n == 0 ? 0 : -errno);
        return;
    }
    (void) sd_event_source_set_time_relative(helper->timer, helper->patience_usec);
    helper->heard(text, (size_t) n, helper->userdata);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct helper *helper = userdata;
    char *bigger;
    ssize_t n;

    (void) source;
    (void) events;
    if (helper->heard) {
        hear(helper);
        return 0;
    }
    bigger = realloc(helper->answer, helper->size + 4096);
    if (!bigger) {
        finish(helper, -ENOMEM);
        return 0;
    }
    helper->answer = bigger;
    n = read(fd, helper->answer + helper->size, 4096);
    if (n > 0)
        helper->size += (size_t) n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        finish(helper, n == 0 ? 0 : -errno);
    if (n > 0 && helper->size > HELPER_ANSWER_MAX)
        finish(helper, -E2BIG);
    return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    finish(userdata, -ETIMEDOUT);
    return 0;
}

void helper_listen(struct helper *helper, uint64_t patience_usec, helper_heard_t heard) {
    helper->heard = heard;
    helper->patience_usec = patience_usec;
}

static void reap(int pidfd) {
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    siginfo_t child;

    (void) poll(&end, 1, REAP_MSEC);
    (void) waitid(P_PIDFD, (id_t) pidfd, &child, WEXITED | WNOHANG);
}

void helper_free(struct helper *helper) {
    if (!helper)
        return;
    sd_event_source_disable_unref(helper->io);
    sd_event_source_disable_unref(helper->timer);
    if (helper->pidfd >= 0)
        (void) terminate_signal(helper->pidfd, SIGKILL);
    if (helper->pidfd >= 0 && helper->heard)
        reap(helper->pidfd);
    fd_close(helper->pidfd);
    fd_close(helper->in_fd);
    free(helper->answer);
    free(helper);
}

static int start_child(struct helper *helper, helper_work_t work, const void *question, int fd) {
    _cleanup_close_ int out_fd = -EBADF;
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    helper->in_fd = ends[0];
    out_fd = ends[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        be_child(work, question, fd, out_fd);
    /* Our own child, and nobody has reaped it since: the number is its. Without a pidfd it ends by itself. */
    helper->pidfd = pidfd_open(pid, 0);
    return fd_set_nonblock(helper->in_fd, true);
}

int helper_start(sd_event *event, helper_work_t work, const void *question, int fd, uint64_t timeout_usec,
                 helper_done_t done, void *userdata, struct helper **ret) {
    struct helper *helper = calloc(1, sizeof *helper);
    int r;

    if (!helper)
        return -ENOMEM;
    *helper = (struct helper){.in_fd = -EBADF, .pidfd = -EBADF, .done = done, .userdata = userdata};
    r = start_child(helper, work, question, fd);
    if (r >= 0)
        r = sd_event_add_io(event, &helper->io, helper->in_fd, EPOLLIN, on_answer, helper);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &helper->timer, CLOCK_MONOTONIC, timeout_usec, 1, on_deadline,
                                       helper);
    if (r >= 0) /* what has been said in time is read first, however late we are */
        r = sd_event_source_set_priority(helper->timer, SD_EVENT_PRIORITY_NORMAL + 5);
    if (r < 0) {
        helper_free(helper);
        return r;
    }
    *ret = helper;
    return 0;
}
