/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/supervisor.h"
#include "socket/peer.h"
#include "socket/unix-diag.h"

static bool is_unix(const struct call_target *target) {
    return *target->listen == '/' || *target->listen == '@';
}

/* " (129 connections wait, and 129 may)": of a unix socket, where the kernel shows it. */
static void add_queue(struct text *text, const struct call_target *target) {
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct unix_socket *socket;
    struct stat st;

    if (!is_unix(target) || unix_table_read(&table) < 0)
        return;
    if (*target->listen == '@')
        socket = unix_table_find_name(&table, target->listen);
    else
        socket = stat(target->listen, &st) < 0 ? NULL : unix_table_find(&table, st.st_dev, st.st_ino);
    if (socket && socket->listening)
        text_add_format(text, " (%" PRIu32 " connection%s in its queue, which takes %" PRIu64 ")",
                        socket->queue, socket->queue == 1 ? "" : "s", (uint64_t) socket->backlog + 1);
}

static bool is_halted(const struct proc_stat *stat) {
    return process_life_of_stat(stat) == PROCESS_STOPPED;
}

/* How it is with the process that has, or should have, the listener. */
static void add_process(struct text *text, pid_t pid, const char *what) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct proc_stat stat;

    if (procfs_read_stat(proc_fd, pid, &stat) < 0)
        text_add_format(text, "; %s, PID %d, is gone", what, (int) pid);
    else if (is_halted(&stat))
        text_add_format(text, "; %s, PID %d (%s), is stopped: let it go on by kill -CONT %d", what, (int) pid,
                        stat.comm, (int) pid);
    else
        text_add_format(text, "; %s, PID %d (%s), is not stopped: it is busy or hangs", what, (int) pid,
                        stat.comm);
}

/* Who made the listener may be dead, and a leftover of it have it: then a connection succeeds, and nobody
 * answers. */
static void add_listener(struct text *text, int fd) {
    _cleanup_close_ int proc_fd = procfs_open();
    struct peer_facts peer;

    if (peer_identify(proc_fd, fd, &peer) < 0 || peer.pid <= 0)
        return;
    if (peer.life == PROCESS_GONE || peer.life == PROCESS_ZOMBIE)
        text_add_format(text, "; PID %d, which made the socket, is dead, and somebody else has it",
                        (int) peer.pid);
    else if (peer.life != PROCESS_UNKNOWN)
        add_process(text, peer.pid, "its listener");
}

static void add_remedy(struct text *text, const struct cli *cli, const struct call_target *target) {
    _cleanup_free_ char *status = supervisor_advise(cli, "latchctl status", target->service);

    text_add_format(text, ". See %s", status ? status : "latchctl status");
    if (is_unix(target))
        text_add_format(text, ", and who has the socket: latchctl probe %s", target->listen);
}

/* Says it, with the service in front. Returns `code`, or that of a want of rights. */
static int tell(const struct call_target *target, struct text *text, int number, const char *name, int code) {
    _cleanup_free_ char *message = NULL;
    _cleanup_err_ struct err err = {0};
    int failed;

    if (text_take(text, &message) < 0)
        (void) err_set(&err, ENOMEM, "Failed", "out of memory");
    else
        (void) err_set(&err, number, name, "cannot call %s: %s", target->service, message);
    failed = cli_fail(&err);
    return failed == EXIT_NOT_PERMITTED ? failed : code;
}

int call_tell_unreachable(const struct cli *cli, const struct call_target *target,
                          const struct call_options *options, int error, const struct dial_facts *facts) {
    _cleanup_text_ struct text text = {0};
    char time[VALUE_FORMAT_MAX];
    const char *name = "Failed";
    int code = EXIT_FAILURE;

    value_format_usec(options->timeout_usec, time);
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        code = EXIT_NOBODY_LISTENS;
        text_add_format(&text, "nobody listens on %s: there is no such socket: ", target->listen);
        if (target->main_pid > 0)
            text_add_format(
                &text,
                "the daemon (PID %d) runs, but has not made it yet, or somebody has removed or renamed it",
                (int) target->main_pid);
        else
            text_add(&text, "the daemon does not run, or has not made it yet");
        break;
    case ECONNREFUSED:
        code = EXIT_NOBODY_LISTENS;
        text_add_format(&text, "nobody listens on %s: %s", target->listen,
                        *target->listen == '/'   ? "who made that socket is dead, or has closed it"
                        : *target->listen == '@' ? "no such socket is in this network namespace"
                                                 : "the connection was refused");
        break;
    case EHOSTUNREACH:
    case ENETUNREACH:
        if (facts->unknown_host)
            text_add_format(&text, "cannot find the host of %s: %s", target->listen, facts->unknown_host);
        else {
            code = EXIT_NOBODY_LISTENS;
            text_add_format(&text, "nobody listens on %s: %s", target->listen, strerror(error));
        }
        break;
    case EAGAIN:
        code = EXIT_BUSY;
        text_add_format(&text, "the queue of %s was full for %s, in each of %u tries", target->listen, time,
                        facts->tries);
        add_queue(&text, target);
        text_add(&text, ": nothing was sent, and it may be tried again");
        if (target->main_pid > 0)
            add_process(&text, target->main_pid, "the daemon");
        break;
    case ETIMEDOUT:
        code = EXIT_BUSY;
        text_add_format(&text,
                        "%s took no connection within %s: its queue is full, or nobody is there; nothing was "
                        "sent, and it may be tried again",
                        target->listen, time);
        break;
    case EACCES:
    case EPERM:
        name = "NotPermitted";
        text_add_format(&text,
                        "uid %lu may not connect to %s: %s: its mode, or a directory above it, forbids it",
                        (unsigned long) geteuid(), target->listen, strerror(error));
        break;
    case EPROTOTYPE:
        text_add_format(&text, "%s is a socket of datagrams or packets, and only a stream can be called",
                        target->listen);
        break;
    default:
        text_add_format(&text, "cannot connect to %s: %s", target->listen, strerror(error));
    }
    if (error != EACCES && error != EPERM && error != EPROTOTYPE)
        add_remedy(&text, cli, target);
    return tell(target, &text, error, name, code);
}

/* "all 28 bytes of the command were sent" */
static void add_sent(struct text *text, size_t size, const struct exchange_result *result) {
    if (result->sent_bytes == size)
        text_add_format(text, "all %zu bytes of the command were sent", size);
    else
        text_add_format(text, "%" PRIu64 " of %zu bytes of the command were sent, and no more taken",
                        result->sent_bytes, size);
}

static void add_ended_early(struct text *text, const struct call_target *target, size_t size,
                            const struct exchange_result *result) {
    if (result->end == EXCHANGE_RESET)
        text_add_format(text, "%s broke the connection off (%s)", target->listen, strerror(result->error));
    else
        text_add_format(text, "%s closed the connection", target->listen);
    if (result->received_bytes == 0)
        text_add(text, " without an answer: ");
    else
        text_add_format(text, " in the middle: the answer was cut short after %" PRIu64 " bytes: ",
                        result->received_bytes);
    add_sent(text, size, result);
}

static void add_overdue(struct text *text, const struct call_target *target,
                        const struct call_options *options, size_t size,
                        const struct exchange_result *result) {
    char time[VALUE_FORMAT_MAX];

    value_format_usec(options->timeout_usec, time);
    if (result->end == EXCHANGE_SILENT) {
        text_add_format(text, "timed out: %s did not answer within %s: ", target->listen, time);
        add_sent(text, size, result);
        add_queue(text, target);
        text_add(text, "; it may carry it out yet, so look before it is said again");
    } else if (result->end == EXCHANGE_STUCK)
        text_add_format(text,
                        "timed out: standard output took %" PRIu64 " of the %" PRIu64
                        " bytes that had come within %s, and no more: the answer was cut short",
                        result->passed_bytes, result->received_bytes, time);
    else if (options->json)
        text_add_format(text,
                        "timed out: the answer of %s was not whole within %s: it was cut short after %" PRIu64
                        " bytes",
                        target->listen, time, result->received_bytes);
    else
        text_add_format(text,
                        "timed out: %s did not close the connection within %s: whether the %" PRIu64
                        " bytes that came are the whole answer cannot be told (of JSON it can: --json)",
                        target->listen, time, result->received_bytes);
}

int call_tell_end(const struct cli *cli, const struct call_target *target, const struct call_options *options,
                  int fd, size_t size, const struct exchange_result *result) {
    _cleanup_text_ struct text text = {0};
    int code = EXIT_FAILURE;

    switch (result->end) {
    case EXCHANGE_ANSWERED:
        if (result->received_bytes == 0 && size > 0 && !options->keep_open)
            fprintf(stderr,
                    "latchctl: %s closed the connection without a word, which may be its answer; a daemon "
                    "that takes "
                    "the end of our sending for the end of everything is called with --keep-open\n",
                    target->listen);
        return EXIT_SUCCESS;
    case EXCHANGE_CLOSED:
    case EXCHANGE_RESET:
        code = EXIT_CUT_SHORT;
        add_ended_early(&text, target, size, result);
        add_remedy(&text, cli, target);
        break;
    case EXCHANGE_SILENT:
    case EXCHANGE_PARTIAL:
        code = result->end == EXCHANGE_PARTIAL ? EXIT_CUT_SHORT : EXIT_FAILURE;
        add_overdue(&text, target, options, size, result);
        if (is_unix(target))
            add_listener(&text, fd);
        add_remedy(&text, cli, target);
        break;
    case EXCHANGE_STUCK:
        code = EXIT_CUT_SHORT;
        add_overdue(&text, target, options, size, result);
        break;
    case EXCHANGE_NOT_JSON:
        text_add_format(&text, "the answer of %s, %" PRIu64 " bytes, is not JSON%s", target->listen,
                        result->received_bytes, target->kea ? "; if it need not be: --raw" : "");
        break;
    case EXCHANGE_REFUSED:
        text_add_format(&text,
                        "cannot write the answer to standard output, after %" PRIu64 " bytes of it: %s",
                        result->passed_bytes, strerror(result->error));
        break;
    default:
        text_add_format(
            &text, "the connection to %s failed after %" PRIu64 " bytes sent and %" PRIu64 " received: %s",
            target->listen, result->sent_bytes, result->received_bytes, strerror(result->error));
        add_remedy(&text, cli, target);
    }
    return tell(target, &text, result->error, "Failed", code);
}
