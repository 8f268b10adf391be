/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A daemon that lives on while latchd's record of it is lost (NAME.state missing, damaged, or of no daemon).
 * Its marks say whose it seems to be; anybody can set those, so that it is neither taken over nor ended on
 * that evidence: nothing is started beside it, and that is all. */

#include <stdbool.h>

#include "base/process.h"
#include "config/config.h"

struct marks_table;

struct unrecorded {
    struct process_id id; /* pid 0: nobody */
    const char *record;   /* static: what is wrong with the record: "missing", "damaged"; or: */
};

/* Nothing: it names this very process, which carries another one's marks. */
#define UNRECORDED_OTHER_MARKS ""

/* The topmost process with the service's mark, that of this runtime directory (another one may have a service
 * of the same name) and an invocation id, the daemon's user and its executable. Who cannot be read is not it.
 * table: the marks as they were read before; NULL: it is read now. True: there is one. */
bool unrecorded_find(int proc_fd, int runtime_dir_fd, const struct service_config *config,
                     const char *daemon_exe, uid_t uid, const struct marks_table *table,
                     struct process_id *ret);

/* "PID 7 (/usr/bin/redis-server, since ...) ...": who it is, why it is in the way, what to do; owned by the
 * caller. */
char *unrecorded_describe(int proc_fd, const struct unrecorded *unrecorded, const char *service);
