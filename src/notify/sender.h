/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a process belongs to a service, so that what it says counts. A uid alone proves nothing, and
 * neither does a number: the kernel gives numbers out again. */

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/strtab.h"

enum notify_sender {
    NOTIFY_SENDER_MAIN,
    NOTIFY_SENDER_FAMILY,     /* a descendant of the main process, or of this latchd for this service */
    NOTIFY_SENDER_INVOCATION, /* it carries the service's name and the invocation id of this generation */
    NOTIFY_SENDER_STRANGER,
    NOTIFY_SENDER_GONE,    /* it ended before it could be looked at */
    NOTIFY_SENDER_UNKNOWN, /* it may not be looked at, or could not be */
    NOTIFY_SENDER_MAX,
    NOTIFY_SENDER_INVALID = -EINVAL,
};
STRTAB_DECLARE(notify_sender, enum notify_sender);

#define NOTIFY_ANCESTORS_MAX 64

/* What was seen of a process. Strings are owned; see notify_sender_facts_done(). */
struct notify_sender_facts {
    pid_t pid;
    bool gone, unreadable;
    pid_t ancestors[NOTIFY_ANCESTORS_MAX]; /* the parent first */
    size_t n_ancestors;
    char *service, *invocation_id; /* of its environment; NULL: not set, or not read */
};
void notify_sender_facts_done(struct notify_sender_facts *facts);

/* What is known of the service. Strings are borrowed. */
struct notify_family {
    const char *service;
    const char *invocation_id;
    pid_t main;        /* pinned by the caller: not yet reaped, or alive; 0: none */
    uid_t main_uid;    /* effective; (uid_t) -1: not known */
    pid_t supervisor;  /* this latchd, when it is a child subreaper; 0: it is not */
    bool only_service; /* all of this latchd's children come from this service */
};

/* Pure. */
enum notify_sender notify_sender_judge(const struct notify_sender_facts *facts,
                                       const struct notify_family *family);

/* True for those whose word counts. */
static inline bool notify_sender_counts(enum notify_sender sender) {
    return sender == NOTIFY_SENDER_MAIN || sender == NOTIFY_SENDER_FAMILY ||
           sender == NOTIFY_SENDER_INVOCATION;
}

/* Whether two pidfds are of one process, which may be reaped already: true is proof, false is none (before Linux 6.9 all
 * pidfds have one inode). */
bool notify_sender_is_same(int pidfd, int other_pidfd);

/* Looks at whoever sent a message. uid: as the kernel told with the message; somebody who is neither root nor
 * the main process's user is a stranger, and not looked at: the look at a hostile process's environment may
 * take as long as it likes. pidfd: of the sender, or -EBADF where the kernel told none. */
enum notify_sender notify_sender_look(int proc_fd, pid_t pid, uid_t uid, int pidfd,
                                      const struct notify_family *family);

/* The same of a process that somebody whose word counts has named (MAINPID=); it runs as whoever it likes. */
enum notify_sender notify_sender_look_at_named(int proc_fd, pid_t pid, int pidfd,
                                               const struct notify_family *family);
