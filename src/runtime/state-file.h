/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NAME.state in the runtime directory: what a latchd that comes after us needs to know the daemon again. It
 * is written as a whole, before the daemon executes its first instruction, in a directory that only the owner
 * can write to. */

#include <stdint.h>

#include "base/err.h"
#include "base/process.h"

struct service_record {
    uint64_t generation;    /* how often this service was started */
    char invocation_id[33]; /* of that generation: 32 hexadecimal digits; empty: none */
    struct process_id main; /* pid 0: no daemon */
    uint64_t since_usec;    /* CLOCK_REALTIME: when that daemon was started */
    uint64_t restarts;
};

int state_file_write(int runtime_dir_fd, const char *service, const struct service_record *record,
                     struct err *err);

/* -ENOENT: there is none. -EBADMSG "BadState": it is not one of ours, or is not owned by root or us. Else
 * -errno: it may name a daemon, and could not be read. */
int state_file_read(int runtime_dir_fd, const char *service, struct service_record *ret, struct err *err);

/* Whether the daemon that a record names runs: the very process, and it carries the service's name and the
 * invocation id. A daemon may write over its environment (for its title) or hide it: then its executable
 * speaks, or its identity alone. A child of a latchd that died before the child came to execute the daemon is
 * the daemon too: it may be held up for long, and goes on in the end. Returns a pidfd that the caller owns;
 * -ESRCH: it is gone, or there is none; -EBADMSG: a process of that identity runs, but it is not this
 * service's daemon (a forged record); else -errno: it cannot be told, so that a start could make a second
 * daemon. May wait for moments: a child on its way to exec mostly ends, or has its environment, at once.
 * daemon_exe: as service_find_daemon_exe() tells; may be NULL. -EXDEV: it seems to be
 * there, but was recorded in another time namespace. */
int state_file_find_main(int proc_fd, const char *service, const struct service_record *record,
                         const char *daemon_exe);
