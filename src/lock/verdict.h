/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What follows from the facts. lock_judge() is pure and total: no system call, an answer for any facts. Only
 * absent, free, stale and a policy-approved orphaned permit an action; absence of evidence is unknown. */

#include "lock/facts.h"

enum verdict {
    VERDICT_ABSENT,   /* no such file */
    VERDICT_FREE,     /* nothing in the way; a leftover lock file is free and is left alone */
    VERDICT_STALE,    /* a PID file or socket whose owner is provably dead */
    VERDICT_ORPHANED, /* kept alive only by leftovers of a dead owner */
    VERDICT_HELD,     /* a living owner */
    VERDICT_UNKNOWN,  /* it cannot be told */
    VERDICT_MAX,
    VERDICT_INVALID = -EINVAL,
};
STRTAB_DECLARE(verdict, enum verdict);

enum verdict_reason {
    REASON_NONE,
    /* held */
    REASON_LIVE,
    REASON_BUSY,          /* its accept queue is full */
    REASON_STOPPED,       /* SIGSTOP or a debugger */
    REASON_SPLIT,         /* the living owner's lock is on another file, which stood at this path once */
    REASON_UNREACHABLE,   /* somebody listens on a socket that stood at this path once */
    REASON_UNLOCKED,      /* the daemon lives, though it does not hold the lock itself */
    REASON_NOT_LISTENING, /* a socket is bound to the path, or its daemon lives, but nobody listens */
    REASON_STORED, /* init keeps it (systemd's file descriptor store) for a service whose process is dead */
    /* stale */
    REASON_DEAD,
    REASON_ZOMBIE,
    REASON_RECYCLED, /* the number belongs to a process that began after the file was written */
    REASON_THREAD,   /* the number is a thread's of some process */
    REASON_SELF,     /* the number is the observer's own */
    REASON_REFUSED,  /* nobody listens */
    /* orphaned */
    REASON_LEFTOVER,
    /* unknown */
    REASON_LOCKER_DEAD, /* who took the lock is dead; whether who holds it is its leftover cannot be told */
    REASON_LOCKER_UNCLEAR,  /* the number of who took the lock is a living process's that does not hold it: it
                               handed the lock on, or it got the number later */
    REASON_INCOMPLETE_SCAN, /* held, holder not found, and not every process could be read */
    REASON_OTHER_LAYER, /* an overlay's layer can be used beside the overlay, and each does not see the other
                         */
    REASON_OTHER_HOST,  /* its content names a process of another machine */
    REASON_OTHER_PID_NAMESPACE, /* held, holder not found, and we see a part of the processes only */
    REASON_UNATTRIBUTED,        /* held, holder not found anywhere */
    REASON_ACCESS_DENIED,
    REASON_NETWORK_FILESYSTEM,
    REASON_NOT_A_LOCK,
    REASON_EMPTY,        /* a PID file without a PID: crashed, or between create and write */
    REASON_MAYBE_DAEMON, /* begun after the file was written, yet it may be the daemon: the clock was set, or
                            may have been */
    REASON_UNCLEAR,      /* connect(2) gave an error that says nothing about life */
    REASON_MAX,
    REASON_INVALID = -EINVAL,
};
STRTAB_DECLARE(verdict_reason, enum verdict_reason);

enum holder_role {
    ROLE_MAIN,     /* the daemon itself */
    ROLE_LEFTOVER, /* what a dead daemon left */
    ROLE_OTHER,
    ROLE_MAX,
};
STRTAB_DECLARE(holder_role, enum holder_role);

/* What the asker knows beyond the facts. All zero: nothing, as for `latchctl probe`. Strings are borrowed. */
struct lock_context {
    const char *daemon_exe;      /* the service's executable, as /proc/PID/exe would show it */
    const char *config_file;     /* what tells this daemon's command line from its sisters' */
    struct process_id main;      /* the main process as latchd itself recorded it; pid 0: none on record */
    enum process_life main_life; /* of that process, by identity; PROCESS_UNKNOWN when there is none */
    pid_t dead_pid;              /* a pid that another record of the service (its PID file) names, and that is
                                    provably dead; 0: none */
};

struct lock_judgement {
    enum verdict verdict;
    enum verdict_reason reason;
    bool daemon_gone; /* the service's main process is provably dead: see LOCK CLEARING in latchd(8) */
};

/* context may be NULL. */
struct lock_judgement lock_judge(const struct lock_facts *facts, const struct lock_context *context);

/* The part that a holder plays, given the judgement. */
enum holder_role lock_holder_role(const struct lock_facts *facts, const struct lock_context *context,
                                  const struct lock_judgement *judgement, size_t holder);

/* True when the process, or one above it, runs the service's daemon, or a script of that name. */
bool lock_process_is_under_daemon(const struct process_facts *process, const char *daemon_exe);

/* `latchctl probe`'s exit code for a verdict: 0 absent or free, 3 stale, 4 orphaned, 5 held, 6 unknown. */
int verdict_exit_code(enum verdict verdict);
