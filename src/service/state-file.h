/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NAME.state in the runtime directory: what a latchd that comes after us needs to know the daemon again. It is
 * written as a whole, before the daemon executes its first instruction, in a directory that only the owner can
 * write to. */

#include <stdint.h>

#include "base/err.h"
#include "base/process.h"

struct service_record {
    uint64_t generation;      /* how often this service was started */
    char invocation_id[33];   /* of that generation: 32 hexadecimal digits; empty: none */
    struct process_id main;   /* pid 0: no daemon */
    uint64_t since_usec;      /* CLOCK_REALTIME: when that daemon was started */
    uint64_t restarts;
};

int state_file_write(int runtime_dir_fd, const char *service, const struct service_record *record, struct err *err);

/* -ENOENT: there is none. -EBADMSG "BadState": it is not one of ours, or is not owned by root or us. */
int state_file_read(int runtime_dir_fd, const char *service, struct service_record *ret, struct err *err);

/* Whether the daemon that a record names runs: the very process, and it carries the service's name and the
 * invocation id. Returns a pidfd that the caller owns; -ESRCH: it is gone, or there is none; -EBADMSG: a process
 * of that identity runs, but it is not this service's daemon (a forged record). May wait for moments: a daemon on
 * its way to exec has no environment yet. */
int state_file_find_main(int proc_fd, const char *service, const struct service_record *record);
