/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NAME.state in the runtime directory: what a latchd that comes after us needs to know the daemon again. It
 * is written as a whole, before the daemon executes its first instruction, in a directory that only the owner
 * can write to. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/process.h"
#include "exec/rlimits.h"

/* A latchd that finds a file of a higher number cannot know what it leaves out: it refuses. Fields may come
 * and go without a new number, as long as one that is missing has a sane default (zero). */
#define STATE_FILE_SCHEMA 1

#define STATE_STATUS_MAX 255
#define STATE_SESSION_OUTSIDE UINT32_MAX /* led by somebody in another PID namespace: the kernel says 0 */

struct service_record {
    uint64_t generation;    /* how often this service was started */
    char invocation_id[33]; /* of that generation: 32 hexadecimal digits; empty: none */
    struct process_id main; /* pid 0: no daemon */
    uint64_t since_usec;    /* CLOCK_REALTIME: when that daemon was started */
    uint64_t restarts;

    /* From here on whatever may be missing in the file; each has a line in optional_fields[]. All that is
     * said in CLOCK_BOOTTIME counts in that boot alone. */
    char state[16];            /* as in doc/states.md; empty: not said */
    char state_boot_id[37];    /* the boot in which it was said */
    uint64_t state_since_usec; /* CLOCK_REALTIME */
    uint64_t state_until_usec; /* CLOCK_BOOTTIME: when the state's timer runs out; 0: it has none */
    bool stays_down;           /* it is down, or on the way there, on request or by policy: no latchd that
                                * comes next is to start it by itself */
    bool ended_by_itself;      /* and that by policy: nobody asked for its end */
    bool unmet;                /* it is down for want of what it requires, and comes up with that */
    bool start_again;          /* when it has stopped */
    bool end_is_failure;       /* it is being stopped since it was never ready, or hung */
    bool executed;             /* execve(2) is known to have succeeded */
    bool leads_session; /* the daemon was begun as the leader of a session of its own, or is known to be */
    uint64_t session;   /* in which it is; 0: not said; STATE_SESSION_OUTSIDE */
    uint64_t main_usec; /* CLOCK_BOOTTIME: since when `main` is that one (runtime/main-note.h) */
    uint64_t restarts_in_a_row, limit_window_usec, limit_starts; /* struct restart_history */
    uint64_t exit_usec;                                          /* CLOCK_REALTIME; 0: none so far */
    bool exit_known, exit_unexecuted;                            /* struct exit_status */
    uint64_t exit_code, exit_status;
    bool ready;                    /* it has said READY=1 */
    /* Most services have neither, and a thousand of them pay for nothing: set by the functions below. */
    char *status_text; /* owned: its last STATUS=, printable and no longer than STATE_STATUS_MAX; NULL: none */
    struct rlimits_planned *limits; /* owned: as that daemon was given them; NULL: none was set */
    bool limits_known;              /* false: written by a latchd that did not write them down */
    uint64_t open_files; /* descriptors it, or the one before it, had open when it ran; 0: not known */

    const char *config; /* borrowed, for writing: the configuration the daemon was started with, as
                         * service_config_record() has it; NULL: not said. Reading leaves it NULL */
};

/* Releases what it owns. Read or set anew, it has to be released before. */
#define _cleanup_record_ _cleanup_(service_record_done)
void service_record_done(struct service_record *record);

/* "" or NULL: none. Where memory ran out there is none either. */
void service_record_set_status(struct service_record *record, const char *text);

/* Without memory they are not known. */
void service_record_set_limits(struct service_record *record, const struct rlimits_planned *limits);

/* Never NULL. */
const char *service_record_status(const struct service_record *record);
const struct rlimits_planned *service_record_limits(const struct service_record *record);

/* What is said of a state is no longer so: as in the file of an older version. */
void state_record_forget_state(struct service_record *record);

int state_file_write(int runtime_dir_fd, const char *service, const struct service_record *record,
                     struct err *err);

/* -ENOENT: there is none. -EBADMSG "BadState": it is not one of ours, or is not owned by root or us.
 * -EPROTONOSUPPORT "NewerState": a later version wrote it. Else -errno: it may name a daemon, and could not
 * be read. */
int state_file_read(int runtime_dir_fd, const char *service, struct service_record *ret, struct err *err);

/* The configuration in it, owned by the caller. -ENODATA: none was written; else as above. */
int state_file_read_config(int runtime_dir_fd, const char *service, char **ret, struct err *err);

/* The process is in this session, which it may leave only to lead one of its own (setsid(2)). */
void service_record_set_session(struct service_record *record, pid_t session);

/* Whether the daemon that a record names runs: the very process, and it carries the service's name and the
 * invocation id. A daemon may write over its environment (for its title), be begun without one (env -i) or
 * hide it: then its executable speaks, or that it is in the session that the record tells, or leads one of its
 * own. A child of a latchd that died before the child came to execute the daemon is the daemon too: it may be
 * held up for long, and goes on in the end. Returns a pidfd that the caller owns; -ESRCH: it is gone, or there
 * is none; -EBADMSG: a process of that identity runs, but it is not this service's daemon (a forged record);
 * -ENODATA: it is the very process, but carries the marks of another one; else -errno: it cannot be told. With
 * all but the first two a start could make a second daemon. May wait for moments: a child on its way to exec
 * mostly ends, or has its environment, at once. daemon_exe: as service_find_daemon_exe() tells; may be NULL.
 * -EXDEV: it seems to be there, but was recorded in another time namespace. */
int state_file_find_main(int proc_fd, const char *service, const struct service_record *record,
                         const char *daemon_exe);
