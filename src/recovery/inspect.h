/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All locks, PID files and sockets of a service, looked at in one sweep and judged with what is known of the
 * service: its executable, its main process as recorded, what its PID file proves. */

#include "base/err.h"
#include "probe/hold.h"
#include "probe/probe.h"
#include "lock/verdict.h"
#include "config/config.h"

enum inspected_role {
    INSPECTED_LOCK,           /* a flock or fcntl lock that the daemon takes */
    INSPECTED_PIDFILE,        /* names the daemon by its content: a PID file, a symbolic link */
    INSPECTED_HELPER_PIDFILE, /* names a helper of the daemon that must not run while it starts (kea-lfc) */
    INSPECTED_SOCKET,         /* a socket that no lock file guards */
    INSPECTED_GUARDED_SOCKET, /* one that a lock file guards, and speaks for if it is there: looked at before a
                                 start only, for a daemon that does not remove its own leftover fails at bind(2) */
    INSPECTED_ROLE_MAX,
};

struct inspected {
    const char *name; /* of the [Socket] or [Lock] section, borrowed from the configuration */
    const char *path; /* likewise */
    enum lock_style style;
    enum inspected_role role;
    bool own;                    /* latchd itself takes it, and not the daemon */
    size_t guard;                /* INSPECTED_GUARDED_SOCKET: the place of its lock */
    struct lock_context context; /* what it was judged with; its strings live as long as the inspection */
    struct lock_judgement judgement;
};

/* What latchd knows of the daemon's process beside the files. */
struct known_main {
    struct process_id id;   /* pid 0: nothing on record */
    enum process_life life; /* as found just now, by identity */
    uint64_t since_usec,
        until_usec; /* CLOCK_REALTIME: when it lived, of one that we saw end; 0: we did not */
    const struct lock_held
        *held; /* what latchd itself has, one a configured socket, borrowed; NULL: nothing */
};

/* pid 0, unless it is gone and we saw it end. */
struct probe_dead known_main_dead(const struct known_main *known);

struct inspection {
    struct inspected *paths;
    struct lock_facts *facts; /* one for each path */
    size_t n;
    enum probe_effort effort; /* with which they were gathered */
    char *daemon_exe;         /* the executable as /proc/PID/exe shows it; NULL when it cannot be resolved */
};

#define _cleanup_inspection_ _cleanup_(inspection_done)
void inspection_done(struct inspection *inspection);

/* The daemon's executable as /proc/PID/exe shows it, to be freed; NULL when it cannot be resolved. */
char *service_find_daemon_exe(const struct service_config *config);

/* What an inspection is for, and so how much it looks for (enum probe_effort). */
enum inspect_purpose {
    INSPECT_STATUS,  /* a verdict */
    INSPECT_EXPLAIN, /* everything, for people */
    INSPECT_START,   /* a verdict to act on: the caller holds the service's own lock and its daemon is not
                        running,   so that locks may be tried. Of a daemon that latchd knows nothing of,
                        everything */
    INSPECT_RETIRE,  /* the same of places that are given up: no daemon comes that would replace what it finds
                        there */
};

/* -errno for want of resources. The configuration has to outlive the inspection. */
int service_inspect(const struct service_config *config, const struct known_main *known,
                    enum inspect_purpose purpose, struct inspection *ret, struct err *err);

/* See lock_probe_cached(). */
struct probe_cache;
int service_inspect_cached(const struct service_config *config, const struct known_main *known,
                           enum inspect_purpose purpose, struct probe_cache *cache, struct inspection *ret,
                           struct err *err);

/* As lock_report_to_json(), an array with a report for each path. */
json_t *inspection_to_json(const struct inspection *inspection, const char *service);
