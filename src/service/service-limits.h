/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service's limits at run time: what its daemon was given, has and uses; checked at each start, changed on
 * request (prlimit(2)). */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "exec/rlimits.h"

struct service;
struct service_limits;

struct service_limits *service_limits_free(struct service_limits *limits); /* returns NULL */

/* Descriptors the daemon holds open beside its clients, for LimitNOFILE=auto: what it is given, and what was
 * counted in an earlier generation. */
uint64_t service_limits_open_files(const struct service *service);

/* The daemon runs: compares its limits with what was set, and has what it needs checked in a moment, when
 * nothing else is to be done. */
void service_limits_executed(struct service *service);

/* It is ready: counts what it holds open, in a moment, if anybody reckons with that. */
void service_limits_ready(struct service *service);

/* {NOFILE: {configured, soft, hard, used, unit, attention, remark}, ...}. `all`: also what takes a look at every process
 * (the user's processes). NULL: no memory. */
json_t *service_limits_to_json(const struct service *service, bool all);

/* What is configured against what is needed, as an array of sentences: as the check after the start found it, or
 * as it is now. Empty while the service does not run. */
json_t *service_limits_warnings_to_json(const struct service *service, bool now);

struct limits_request {
    struct limit_config asked[RLIMIT_NLIMITS]; /* .set: those to change */
    bool all; /* the descendants of the daemon, too, that have its old limit */
    pid_t client_pid;
    uid_t client_uid;
};

/* Changes the running daemon's limits until its next start; the configuration stays. All are looked at before
 * the first one is set. *ret: an array of {limit, pid, before, after}, the caller's. "NotRunning",
 * "BadLimit", "NotPermitted", "Failed". */
int service_limits_change(struct service *service, const struct limits_request *request, json_t **ret,
                          struct err *err);
