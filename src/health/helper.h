/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A child process that does what may wait for ever (reading a strange process's stack, asking a name server),
 * with a deadline, beside the event loop. It keeps nothing open but its pipe and the descriptors it was given
 * (a lock's descriptor in it would keep the lock), and dies with latchd. One that the kernel does not let go
 * of is left behind: it ends with what it waits for. Whoever runs the loop reaps children (the manager does,
 * on SIGCHLD). */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define HELPER_ANSWER_MAX (64 * 1024)

struct helper;

/* Runs in the child: says what it found by write(2) to out_fd. A whole copy of latchd's memory is there to
 * read; `fd` is the one descriptor that was given to it (-EBADF: none). Memory may be allocated here,
 * though latchd may have other threads (base/closer.h): fork(3) of the C library has malloc(3)'s locks free in
 * the child, and those threads take no other lock that somebody else takes: they call close(2) and free(3) and
 * nothing else. More than that a thread must not be given to do. */
typedef void (*helper_work_t)(const void *question, int fd, int out_fd);

/* Called from the loop, once: all that the child wrote, in order, until it ended or the deadline came
 * (`error` is -ETIMEDOUT then, and what had been written is there). The helper is freed
 * behind it. */
typedef void (*helper_done_t)(int error, const void *answer, size_t size, void *userdata);

/* Nothing of `question` has to live on behind this call. -errno of fork(2) and its like. */
int helper_start(sd_event *event, helper_work_t work, const void *question, int fd, uint64_t timeout_usec,
                 helper_done_t done, void *userdata, struct helper **ret);

/* From now on what it says is passed on as it comes, and not kept: the deadline begins anew with each word, and
 * helper_done_t gets nothing but the error. It is waited for when it ends, 100 ms at most, and reaped: for who has no
 * loop yet that would do it. */
typedef void (*helper_heard_t)(const char *text, size_t size, void *userdata);
void helper_listen(struct helper *helper, uint64_t patience_usec, helper_heard_t heard);

/* Ends it; nothing is called any more. NULL is fine. */
void helper_free(struct helper *helper);
