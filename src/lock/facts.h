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
#include "lock/record.h"
#include "lock/style.h"
#include "socket/peer.h"

enum path_kind {
    PATH_KIND_ABSENT,
    PATH_KIND_LOCK,    /* a regular file that locks by flock or fcntl; a symbolic link that names its owner */
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

/* By what a process keeps an open file description alive. Of a lock on the description, a descriptor and one
 * in flight are proof. A mapping and a ring only show the file, not the description: who has them is one of
 * those who may hold the lock, and they are looked for only when nobody else does. */
enum holder_via {
    VIA_FD,
    VIA_MAPS,      /* mapped memory (/proc/PID/maps), or attached shared memory */
    VIA_IO_URING,  /* a registered file of a ring */
    VIA_IN_FLIGHT, /* a message (SCM_RIGHTS) waits for it in one of its sockets */
    VIA_MAX,
    VIA_INVALID = -EINVAL,
};
STRTAB_DECLARE(holder_via, enum holder_via);

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
    bool frozen; /* by the freezer of its cgroup; its life is PROCESS_STOPPED then */
    uid_t uid;   /* (uid_t) -1: could not be read */
    char comm[64];
    char *exe, *cmdline, *cgroup;  /* NULL: could not be read */
    char *service, *invocation_id; /* LATCHD_SERVICE and INVOCATION_ID of its environment, NULL if not set */
    struct ancestor_facts *ancestors; /* parent first, as far up as could be read */
    size_t n_ancestors;
};

struct holder_facts {
    struct process_facts process;
    enum holder_via via;
    pid_t tid; /* the thread whose descriptor table has it; usually the pid */
    int fd;    /* the descriptor's number there; the ring's; the socket's that it is in flight in; -1: none */
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

/* The System V shared memory that a PID file names (PostgreSQL): while anybody has it attached, something of
 * that daemon lives. */
struct shm_facts {
    bool found;        /* there is a segment with that key and id */
    unsigned attached; /* by so many processes (shm_nattch, shmctl(2)) */
    pid_t creator;     /* who made it: maybe dead, maybe recycled */
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
    unsigned links; /* st_nlink: names that the file has */
    uint64_t size_bytes, modified_usec;
    uint64_t changed_usec; /* st_ctime, which nobody can set */
    uint64_t boot_usec;    /* when this boot began, by the wall clock as it was set when this was gathered */
    char filesystem[32];

    bool layered; /* an overlay shows it, and a layer of that can be reached as well: what is locked, or
                     listened on, through the one is not seen through the other */
    bool remote;  /* its locks live on another machine or in a user process */
    bool server_arbitrates; /* remote, and a lock taken on any machine would have been seen */

    bool content_read;         /* of a PID file or a symbolic link */
    char *content;             /* its first bytes, lines kept, all else printable; a link's target */
    struct lock_record record; /* what that says */
    struct shm_facts shm;

    enum family_state families[LOCK_FAMILY_MAX];
    bool tried; /* the lock itself was tried, for what the kernel lists was not the whole truth */
    struct claim_facts *claims;
    size_t n_claims;
    struct recorded_facts recorded;
    struct holder_facts *holders;
    size_t n_holders;
    struct holder_facts *openers; /* have it open and hold no lock on it; at most LOCK_OPENERS_MAX */
    size_t n_openers;
    unsigned openers_total;
    struct process_facts *waiters; /* for the lock; at most LOCK_WAITERS_MAX */
    size_t n_waiters;

    /* Files and sockets that stood at this path once and are still locked, or listened on, though they were
     * removed or renamed: each with facts of its own, whose path is where it is now. `unlinked`: nowhere. */
    struct lock_facts *displaced;
    size_t n_displaced;
    bool unlinked;

    bool scanned;       /* the holders were looked for */
    bool settled;       /* the search ended early: who holds it was known, or the likely were enough */
    bool complete;      /* every process's descriptors could be read, and were */
    unsigned processes; /* looked at */
    pid_t *unreadable;  /* those that refused, at most LOCK_UNREADABLE_MAX of them */
    size_t n_unreadable;
    unsigned unreadable_total;

    bool guarded;    /* kind socket: its guard (lock_guard_path()) stands there */
    bool has_socket; /* kind socket itself, or the socket beside PATH.lock */
    struct listener_facts listener;

    bool hidden;                /* other users' processes are not shown to the observer (hidepid=, proc(5)) */
    bool initial_pid_namespace; /* the observer's: rows of /proc/locks may be hidden elsewhere */
    uint64_t pid_namespace;     /* the observer's: inode number of /proc/self/ns/pid; 0: not known */
    char host[LOCK_HOST_MAX];   /* the observer's host name */
    char boot_id[37];
};

#define LOCK_UNREADABLE_MAX 16
#define LOCK_OPENERS_MAX 32
#define LOCK_WAITERS_MAX 32
#define LOCK_DISPLACED_MAX 8
#define LOCK_LINK_MAX 1023 /* of a link's target: what is longer is no lock */

#define _cleanup_lock_facts_ _cleanup_(lock_facts_done)
void lock_facts_done(struct lock_facts *facts);
void process_facts_done(struct process_facts *process);
int process_facts_copy(const struct process_facts *process, struct process_facts *ret); /* -ENOMEM */

bool lock_facts_any_family(const struct lock_facts *facts, enum family_state state);
bool lock_facts_is_held(const struct lock_facts *facts); /* any family */
bool lock_holder_has_lock(const struct holder_facts *holder);
const struct holder_facts *lock_facts_find_holder(const struct lock_facts *facts, pid_t pid); /* or NULL */
bool lock_facts_has_lock(const struct lock_facts *facts,
                         pid_t pid); /* it is a holder, and not of the listener only */

/* True of what says by its content whose it is: a PID file, a symbolic link. */
bool lock_facts_names_owner(const struct lock_facts *facts);

/* The process that it names is none of ours: our process of that number has nothing to do with it. */
bool lock_facts_names_other_host(const struct lock_facts *facts);
bool lock_facts_names_other_pid_namespace(const struct lock_facts *facts);

/* The process whose PID stands there could have written it: it lives, and began before. */
bool lock_facts_is_recorded_alive(const struct lock_facts *facts);

/* True when the file is the same and everything the verdict rests on is: what must hold between the judging
 * and the acting. */
bool lock_facts_same(const struct lock_facts *a, const struct lock_facts *b);

/* New references; NULL when memory runs out. */
json_t *lock_facts_to_json(const struct lock_facts *facts);
json_t *process_facts_to_json(const struct process_facts *process);

/* -EBADMSG: not what lock_facts_to_json makes; *ret_where (static) names the field. Unknown fields pass. */
int lock_facts_from_json(json_t *json, struct lock_facts *ret, const char **ret_where);
