/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/executable.h"
#include "recovery/inspect.h"

#include <limits.h>
#include <string.h>

#include "lock/describe.h"
#include "probe/probe.h"
#include "exec/exec-child.h"

void inspection_done(struct inspection *inspection) {
    lock_facts_free_array(inspection->facts, inspection->n);
    free(inspection->paths);
    free(inspection->daemon_exe);
    *inspection = (struct inspection){0};
}

char *service_find_daemon_exe(const struct service_config *config) {
    _cleanup_free_ char *search_path = service_config_getenv(config, "PATH"), *found = NULL;

    if (!config->exec_start || !config->exec_start[0])
        return NULL;
    if (executable_find(config->exec_start[0], search_path, &found, NULL) < 0)
        return NULL;
    return executable_resolve(found);
}

static bool names_owner(enum lock_style style) {
    return style == LOCK_STYLE_PIDFILE || style == LOCK_STYLE_SYMLINK;
}

static bool is_to_act(enum inspect_purpose purpose) {
    return purpose == INSPECT_START || purpose == INSPECT_RETIRE;
}

/* Kea removes its socket itself, once it has the lock. */
static bool replaces_sockets(const struct service_config *config) {
    return config->kind == SERVICE_KIND_KEA;
}

/* A socket that latchd itself is to take: its lock and its path have to be free each by itself. What it has
 * already is in nobody's way, and is looked at for people only. */
static void list_own(const struct socket_config *socket, const struct lock_held *held,
                     enum inspect_purpose purpose, struct inspection *inspection) {
    bool act = is_to_act(purpose), has_lock = socket->lock.path && socket->lock.style != LOCK_STYLE_NONE;

    if (has_lock && !(act && held && held->lock))
        inspection->paths[inspection->n++] = (struct inspected){.name = socket->name,
                                                                .path = socket->lock.path,
                                                                .style = socket->lock.style,
                                                                .role = INSPECTED_LOCK,
                                                                .own = true};
    if (socket->listen && socket->listen[0] == '/' && (act ? !(held && held->socket) : !has_lock))
        inspection->paths[inspection->n++] = (struct inspected){.name = socket->name,
                                                                .path = socket->listen,
                                                                .style = LOCK_STYLE_INVALID,
                                                                .role = INSPECTED_SOCKET,
                                                                .own = true};
}

/* Behind its lock, which is the last of the list. */
static void add_guarded_socket(struct inspection *inspection, const struct socket_config *socket) {
    size_t guard = inspection->n++;

    inspection->paths[inspection->n] = (struct inspected){.name = socket->name,
                                                          .path = socket->listen,
                                                          .style = LOCK_STYLE_INVALID,
                                                          .role = INSPECTED_GUARDED_SOCKET,
                                                          .guard = guard};
}

/* Lists what there is to look at. A socket behind a lock file is the lock's business: who has the lock may
 * replace it. */
static int list_paths(const struct service_config *config, const struct lock_held *held,
                      enum inspect_purpose purpose, struct inspection *inspection) {
    inspection->paths = calloc(2 * config->n_sockets + config->n_locks + 1, sizeof *inspection->paths);
    if (!inspection->paths)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_sockets; i++) {
        const struct socket_config *socket = config->sockets[i];
        struct inspected *inspected = &inspection->paths[inspection->n];

        if (socket->owner == SOCKET_OWNER_LATCHD) {
            list_own(socket, held ? &held[i] : NULL, purpose, inspection);
            continue;
        }
        inspected->name = socket->name;
        if (socket->lock.path && socket->lock.style != LOCK_STYLE_NONE) {
            inspected->path = socket->lock.path;
            inspected->style = socket->lock.style;
            inspected->role = names_owner(socket->lock.style) ? INSPECTED_PIDFILE : INSPECTED_LOCK;
            if (is_to_act(purpose) && socket->listen && socket->listen[0] == '/' &&
                (purpose == INSPECT_RETIRE || !replaces_sockets(config)))
                add_guarded_socket(inspection, socket);
        } else if (socket->listen && socket->listen[0] == '/') {
            inspected->path = socket->listen;
            inspected->style = LOCK_STYLE_INVALID;
            inspected->role = INSPECTED_SOCKET;
        } else
            continue;
        inspection->n++;
    }
    for (size_t i = 0; i < config->n_locks; i++) {
        const struct lock_config *lock = config->locks[i];
        struct inspected *inspected = &inspection->paths[inspection->n];

        if (lock->style == LOCK_STYLE_NONE)
            continue;
        inspected->name = lock->name;
        inspected->path = lock->path;
        inspected->style = lock->style;
        inspected->role = !names_owner(lock->style) ? INSPECTED_LOCK
                          : lock->helper            ? INSPECTED_HELPER_PIDFILE
                                                    : INSPECTED_PIDFILE;
        if (lock->helper) {
            inspected->context.daemon_exe = lock->helper;
            inspected->context.config_file = lock->path; /* its command line names its PID file */
        }
        inspection->n++;
    }
    return 0;
}

/* PID files first: what they prove about the daemon counts for its locks. */
static void judge_paths(const struct service_config *config, const struct known_main *known,
                        struct inspection *inspection) {
    pid_t dead_pid = 0;

    for (size_t i = 0; i < inspection->n; i++) {
        struct inspected *inspected = &inspection->paths[i];

        if (inspected->role == INSPECTED_HELPER_PIDFILE) {
            inspected->judgement = lock_judge(&inspection->facts[i], &inspected->context);
            continue;
        }
        inspected->context.daemon_exe = inspection->daemon_exe;
        inspected->context.config_file = config->config_file;
        inspected->context.main = known->id;
        inspected->context.main_life = known->life;
        if (inspected->role != INSPECTED_PIDFILE)
            continue;
        inspected->judgement = lock_judge(&inspection->facts[i], &inspected->context);
        if (inspected->judgement.verdict == VERDICT_STALE && inspected->judgement.reason != REASON_THREAD)
            dead_pid = inspection->facts[i].recorded.pid;
    }
    for (size_t i = 0; i < inspection->n; i++) {
        struct inspected *inspected = &inspection->paths[i];

        if (inspected->role == INSPECTED_PIDFILE || inspected->role == INSPECTED_HELPER_PIDFILE)
            continue;
        inspected->context.dead_pid = dead_pid;
        inspected->judgement = lock_judge(&inspection->facts[i], &inspected->context);
    }
}

/* A daemon that we began ourselves is known to be dead or alive. Of any other, one may run whose lock file or
 * socket somebody removed. */
static enum probe_effort choose_effort(enum inspect_purpose purpose, const struct known_main *known) {
    if (purpose == INSPECT_EXPLAIN || (is_to_act(purpose) && known->id.pid == 0))
        return PROBE_COMPLETE;
    return PROBE_SETTLE;
}

struct probe_dead known_main_dead(const struct known_main *known) {
    if (known->life != PROCESS_GONE || known->until_usec == 0)
        return (struct probe_dead){0};
    return (struct probe_dead){
        .pid = known->id.pid, .since_usec = known->since_usec, .until_usec = known->until_usec};
}

int service_inspect(const struct service_config *config, const struct known_main *known,
                    enum inspect_purpose purpose, struct inspection *ret, struct err *err) {
    return service_inspect_cached(config, known, purpose, NULL, ret, err);
}

int service_inspect_cached(const struct service_config *config, const struct known_main *known,
                           enum inspect_purpose purpose, struct probe_cache *cache, struct inspection *ret,
                           struct err *err) {
    _cleanup_inspection_ struct inspection inspection = {0};
    _cleanup_free_ struct probe_request *requests = NULL;
    int r;

    r = list_paths(config, known->held, purpose, &inspection);
    if (r < 0)
        return err_set(err, -r, "Failed", "out of memory");
    if (inspection.n == 0) { /* nothing to look at, and so nobody to tell from the daemon */
        *ret = inspection;
        inspection = (struct inspection){0};
        return 0;
    }
    requests = calloc(inspection.n, sizeof *requests);
    if (!requests)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    inspection.effort = choose_effort(purpose, known);
    for (size_t i = 0; i < inspection.n; i++)
        requests[i] = (struct probe_request){.path = inspection.paths[i].path,
                                             .style = inspection.paths[i].style,
                                             .effort = inspection.effort,
                                             .dead = known_main_dead(known),
                                             .may_try = is_to_act(purpose),
                                             /* a daemon that runs has better to do than to be looked at */
                                             .spare_listener = purpose == INSPECT_STATUS};
    r = lock_probe_cached(cache, requests, inspection.n, &inspection.facts);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot look at the locks of service %s: %m", config->name);
    inspection.daemon_exe = service_find_daemon_exe(config);
    judge_paths(config, known, &inspection);
    *ret = inspection;
    inspection = (struct inspection){0};
    return 0;
}

json_t *inspection_to_json(const struct inspection *inspection, const char *service) {
    json_t *array = json_array();

    for (size_t i = 0; i < inspection->n; i++) {
        const struct inspected *inspected = &inspection->paths[i];
        json_t *report =
            lock_report_to_json(&inspection->facts[i], &inspected->context, &inspected->judgement, service);

        if (json_object_set_new(report, "name", json_string(inspected->name)) < 0 ||
            json_array_append_new(array, report) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}
