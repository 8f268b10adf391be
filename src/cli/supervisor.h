/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reaching a service's supervisor, and what can be known without one. */

#include "cli/command.h"
#include "varlink/client.h"

/* Calls a method of the service's supervisor. Outputs as varlink_client_call(). "NotRunning": no supervisor
 * runs. */
int supervisor_call(const struct cli *cli, const char *service, const char *method, json_t *parameters,
                    uint64_t timeout_usec, json_t **ret, struct err *err);

/* Names of all services that are configured or that a supervisor has a socket for: sorted, unique, owned by
 * the caller (strlist_free). */
int supervisor_list(const struct cli *cli, char ***ret, struct err *err);

/* Says on standard error that there is no service at all, and where was looked. */
void supervisor_tell_none(const struct cli *cli);

/* Those that were named on the command line (NULL-terminated), else all there are; says so when there are
 * none. */
int supervisor_choose(const struct cli *cli, char *const named[], char ***ret, struct err *err);

/* Loads a configuration. "NoService" (-ENOENT): there is none of that name; "BadConfiguration": its mistakes
 * were printed. */
int supervisor_load_config(const struct cli *cli, const char *service, struct service_config **ret,
                           struct err *err);

/* "COMMAND SERVICE" with the directories that latchctl itself was told of: what it advises has to work when it is
 * typed. The caller owns it; NULL: no memory. */
char *supervisor_advise(const struct cli *cli, const char *command, const char *service);

/* No supervisor runs, as *err says: says what there is instead (a daemon that lives all the same, a
 * configuration, or nothing of that name) and what to do. 0: there is nothing to say that *err does not; else
 * -errno. */
int supervisor_tell_unsupervised(const struct cli *cli, const char *service, struct err *err);

/* GetStatus of one service, or, without a supervisor, what is known all the same: state "stopped", and
 * unsupervisedPid and statusText tell of a daemon that lives unsupervised, be its configuration as it may. "NoService" when
 * there is neither a supervisor nor a configuration. The caller owns *ret. */
int supervisor_status(const struct cli *cli, const char *service, bool locks, json_t **ret, struct err *err);

/* The second half of it, for whose supervisor does not answer. */
int supervisor_status_alone(const struct cli *cli, const char *service, json_t **ret, struct err *err);

/* Reports on the service's locks: from its supervisor, else looked at by ourselves. The caller owns the
 * array. */
int supervisor_probe(const struct cli *cli, const char *service, json_t **ret, struct err *err);

/* The same without connecting to a socket that somebody listens on, and no further than a verdict needs.
 * status: of supervisor_status() with the locks. */
int supervisor_look(const struct cli *cli, const char *service, json_t *status, json_t **ret,
                    struct err *err);
