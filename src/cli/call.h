/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of latchctl call: what is sent, where the answer goes, and what is said when there is none. */

#include "cli/command.h"
#include "socket/dial.h"
#include "socket/exchange.h"

#define CALL_TEXT_MAX ((size_t) 16 * 1024 * 1024) /* of a command on standard input */

/* The socket that is called. */
struct call_target {
    char *service, *socket, *listen; /* its names, and ListenStream= */
    bool kea;                        /* it speaks Kea's JSON */
    pid_t main_pid;                  /* of the daemon, as its supervisor says; 0: not known */
};

#define _cleanup_call_target_ _cleanup_(call_target_done)
void call_target_done(struct call_target *target);

struct call_options {
    bool raw, json, keep_open;
    uint64_t timeout_usec;
};

/* ---- call-text.c ---- */

/* The whole of standard input, read before anybody is called: a daemon must not wait for who writes it.
 * -ETIMEDOUT: it did not end; -E2BIG: more than CALL_TEXT_MAX. The caller owns *ret. */
int call_read_text(uint64_t deadline_usec, char **ret, size_t *ret_size, struct err *err);

/* What Kea is sent for that text: a word becomes a command, an object stays as it is; in the place of *text.
 * -EINVAL: it is neither. */
int call_make_kea_command(char **text, size_t *size, struct err *err);

/* ---- call-output.c ---- */

/* Standard output, that never lets one wait. Of what is written to a terminal characters that steer it become
 * '?'. */
struct call_output {
    int fd, opened_fd; /* a descriptor of our own, not to change what others share; -EBADF: there is none */
    bool terminal, paced, socket;
    char last; /* the byte that came last */
};

void call_output_open(struct call_output *output, bool terminal);
ssize_t call_output_pass(void *output, const char *bytes, size_t size); /* as struct exchange wants it */
void call_output_close(struct call_output *output);

/* ---- call-failure.c ---- */

/* Each says on standard error what came of it, with whatever can be seen of the daemon, and returns the exit
 * code. `error` is a positive errno. */
int call_tell_unreachable(const struct cli *cli, const struct call_target *target,
                          const struct call_options *options, int error, const struct dial_facts *facts);
int call_tell_end(const struct cli *cli, const struct call_target *target, const struct call_options *options,
                  int fd, size_t size, const struct exchange_result *result);
