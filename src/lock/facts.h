/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything that was observed about one lock file, PID file or socket, and nothing that was concluded.
 * Facts are plain data: they are gathered by probe.c, judged by verdict.c, and go to JSON and back, so that
 * what `latchctl probe --json` printed on somebody's machine can be judged again in a test. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/process.h"
#include "base/strtab.h"
#include "lock/style.h"
#include "socket/peer.h"

enum path_kind {
    PATH_KIND_ABSENT,
    PATH_KIND_LOCK,    /* a regular file that locks by flock or fcntl */
    PATH_KIND_PIDFILE, /* a regular file whose content names its owner */
    PATH_KIND_SOCKET,
    PATH_KIND_OTHER, /* a FIFO, a directory, a device, a symbolic link */
    PATH_KIND_MAX,
    PATH_KIND_INVALID = -EINVAL,
};
STRTAB_DECLARE(path_kind, enum path_kind);

enum lock_family {
    LOCK_FAMILY_FLOCK,
    LOCK_FAMILY_POSIX,
    LOCK_FAMILY_OFD,
    LOCK_FAMILY_MAX,
    LOCK_FAMILY_INVALID = -EINVAL,
};
STRTAB_DECLARE(lock_family, enum lock_family);

enum family_state {
    FAMILY_FREE,
    FAMILY_HELD,
    FAMILY_UNKNOWN,
    FAMILY_STATE_MAX,
    FAMILY_STATE_INVALID = -EINVAL,
};
STRTAB_DECLARE(family_state, enum family_state);

STRTAB_DECLARE(process_life, enum process_life);

struct ancestor_facts {
    pid_t pid;
    char *exe; /* NULL: could not be read */
};

struct process_facts {
    pid_t pid;
    enum process_life life;
    uint64_t start_ticks;
    uint64_t start_usec; /* on the wall clock as it was set when this was gathered */
    pid_t ppid, pgrp, session;
    bool session_leader_gone; /* provably, and it is not the observer's session: what forks twice to become a
                                 daemon looks so (daemon(7)) */
    bool kernel_thread;
    uid_t uid; /* (uid_t) -1: could not be read */
    char comm[64];
    char *exe, *cmdline, *cgroup;  /* NULL: could not be read */
    char *service, *invocation_id; /* LATCHD_SERVICE and INVOCATION_ID of its environment, NULL if not set */
    struct ancestor_facts *ancestors; /* parent first, as far up as could be read */
    size_t n_ancestors;
};

struct holder_facts {
    struct process_facts process;
    pid_t tid;                      /* the thread whose descriptor table has it; usually the pid */
    int fd;                         /* the descriptor's number there */
    bool families[LOCK_FAMILY_MAX]; /* its description holds a lock of that family */
    bool listener;                  /* it has the listening socket */
};

/* A row of /proc/locks on this file. */
struct claim_facts {
    enum lock_family family;
    pid_t pid; /* who called for the lock: maybe dead, maybe recycled; -1 OFD locks, 0 another namespace */
    bool waiting;
    bool shared;
};

/* The process that the claim, or the PID file's content, names. */
struct recorded_facts {
    pid_t pid;                    /* 0: none, or not to be told */
    bool is_thread;               /* the number is a thread's, not a process's */
    bool is_self;                 /* it is the observer's own */
    struct process_facts process; /* life PROCESS_GONE: no such process now */
    /* One that has that number in a PID namespace below ours, and began early enough to have written the
     * file; looked for where a PID file's number looks dead here. pid 0: none. */
    struct process_facts namesake;
};

struct listener_facts {
    bool found; /* sock_diag has a socket bound to the file */
    bool listening;
    uint32_t inode; /* the socket's own */
    uint32_t queue, backlog;
    struct peer_facts peer;
};

struct lock_facts {
    char *path;
    enum path_kind kind;
    int error;           /* positive errno that kept us from looking further, 0 else */
    char *error_subject; /* what that was about, for people; NULL else */

    dev_t device; /* st_dev */
    ino_t inode;
    mode_t mode;
    uid_t uid;
    uint64_t size_bytes, modified_usec;
    uint64_t changed_usec; /* st_ctime, which nobody can set */
    uint64_t boot_usec;    /* when this boot began, by the wall clock as it was set when this was gathered */
    char filesystem[32];

    bool content_read; /* of a PID file */
    char *content;     /* its first bytes, printable; whether a PID stands there: lock_parse_pid_content() */

    enum family_state families[LOCK_FAMILY_MAX];
    struct claim_facts *claims;
    size_t n_claims;
    struct recorded_facts recorded;
    struct holder_facts *holders;
    size_t n_holders;

    bool scanned;       /* the holders were looked for */
    bool complete;      /* every process's descriptors could be read */
    unsigned processes; /* looked at */
    pid_t *unreadable;  /* those that refused, at most LOCK_UNREADABLE_MAX of them */
    size_t n_unreadable;
    unsigned unreadable_total;

    bool has_socket; /* kind socket itself, or the socket beside PATH.lock */
    struct listener_facts listener;

    bool initial_pid_namespace; /* the observer's: rows of /proc/locks may be hidden elsewhere */
    char boot_id[37];
};

#define LOCK_UNREADABLE_MAX 16

#define _cleanup_lock_facts_ _cleanup_(lock_facts_done)
void lock_facts_done(struct lock_facts *facts);
void process_facts_done(struct process_facts *process);

/* True when the file is the same and everything the verdict rests on is: what must hold between the judging
 * and the acting. */
bool lock_facts_same(const struct lock_facts *a, const struct lock_facts *b);

/* New references; NULL when memory runs out. */
json_t *lock_facts_to_json(const struct lock_facts *facts);
json_t *process_facts_to_json(const struct process_facts *process);

/* -EBADMSG: not what lock_facts_to_json makes; *ret_where (static) names the field. Unknown fields pass. */
int lock_facts_from_json(json_t *json, struct lock_facts *ret, const char **ret_where);
