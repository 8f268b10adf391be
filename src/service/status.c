/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/status.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "base/cgroup.h"
#include "recovery/own-cgroup.h"
#include "service/family.h"
#include "service/service-limits.h"
#include "service/service-queues.h"
#include "service/service-health.h"

static json_t *text_or_null(const char *text) {
    return text && *text ? json_string(text) : json_null();
}

static json_t *last_exit_to_json(const struct service *service) {
    const struct exit_status *exit = &service->last_exit;
    bool executed =
        exit->known && !exit->failed_to_execute; /* else what is known is how our own child ended */
    bool by_signal = executed && exit->code != CLD_EXITED;
    char how[96];

    if (service->last_exit_usec == 0)
        return json_null();
    /* clang-format off */
    return json_pack("{s:o, s:o, s:o, s:s, s:I}",
                     "code", exit->failed_to_execute ? json_string("not-executed")
                             : executed ? json_string(exit->code == CLD_EXITED   ? "exited"
                                                      : exit->code == CLD_DUMPED ? "dumped"
                                                                                 : "killed")
                                        : json_null(),
                     "status", executed && !by_signal ? json_integer(exit->status) : json_null(),
                     "signal", by_signal ? json_integer(exit->status) : json_null(),
                     "text", exit_status_describe(exit, how, sizeof how),
                     "atUSec", (json_int_t) service->last_exit_usec);
    /* clang-format on */
}

/* The lock that guards a socket was looked at; the socket's own row is drawn from it. */
static json_t *sockets_to_json(const struct service *service, const struct inspection *inspection) {
    json_t *array = json_array();

    for (size_t i = 0; i < service->config->n_sockets; i++) {
        const struct socket_config *socket = service->config->sockets[i];
        json_t *json = json_pack("{s:s, s:s, s:s, s:s?, s:o}", "name", socket->name, "listen", socket->listen,
                                 "owner", socket_owner_to_string(socket->owner), "probe",
                                 socket_probe_to_string(socket->probe), "answerUSec",
                                 service->answer_usec[i] && service_state_has_main(service->state)
                                     ? json_integer((json_int_t) service->answer_usec[i])
                                     : json_null());

        for (size_t j = 0; inspection && j < inspection->n; j++) {
            const struct lock_facts *facts = &inspection->facts[j];

            if (inspection->paths[j].name != socket->name)
                continue;
            json_object_set_new(json, "verdict",
                                json_string(verdict_to_string(inspection->paths[j].judgement.verdict)));
            json_object_set_new(json, "reason",
                                json_string(verdict_reason_to_string(inspection->paths[j].judgement.reason)));
            json_object_set_new(json, "queue",
                                facts->listener.found ? json_integer(facts->listener.queue) : json_null());
            json_object_set_new(json, "backlog",
                                facts->listener.found ? json_integer(facts->listener.backlog) : json_null());
        }
        json_object_set_new(json, "kept", json_boolean(service_sockets_is_kept(service, i)));
        json_object_set_new(json, "remark", text_or_null(service_sockets_remark(service, i)));
        if (service_queues_mark(service, i))
            queue_mark_add_history(json, service_queues_mark(service, i));
        json_array_append_new(array, json);
    }
    return array;
}

/* Who is in the service's own cgroup, else the main process and all that descends from it. */
static json_t *count_processes(const struct service *service) {
    int n = service_count_cgroup(service);

    if (n >= 0)
        return json_integer(n);
    n = family_count(service->manager->proc_fd, service->record.main.pid);
    return n > 0 ? json_integer(n) : json_null();
}

/* The daemon's own figures, from its /proc/PID/stat and statm. */
static void add_usage(json_t *json, const struct service *service) {
    _cleanup_free_ char *stat = NULL, *statm = NULL;
    char path[64];
    unsigned long long user = 0, system = 0, resident = 0;
    const char *close;

    snprintf(path, sizeof path, "%d/stat", (int) service->record.main.pid);
    if (fd_read_file_at(service->manager->proc_fd, path, 4096, &stat, NULL) >= 0 &&
        (close = strrchr(stat, ')')) &&
        sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) == 2)
        json_object_set_new(json, "cpuUSec",
                            json_integer((json_int_t) procfs_ticks_to_boottime_usec(user + system)));
    snprintf(path, sizeof path, "%d/statm", (int) service->record.main.pid);
    if (fd_read_file_at(service->manager->proc_fd, path, 4096, &statm, NULL) >= 0 &&
        sscanf(statm, "%*u %llu", &resident) == 1)
        json_object_set_new(json, "memoryBytes",
                            json_integer((json_int_t) resident * (json_int_t) sysconf(_SC_PAGESIZE)));
}

/* All of the service's processes together, where it has a cgroup of its own. */
static void add_cgroup_usage(json_t *json, const struct service *service) {
    _cleanup_close_ int fd = service_open_cgroup(service);
    uint64_t cpu_usec, memory_bytes;

    if (fd < 0)
        return;
    own_cgroup_usage(fd, &cpu_usec, &memory_bytes);
    if (cpu_usec != UINT64_MAX)
        json_object_set_new(json, "cpuUSec", json_integer((json_int_t) cpu_usec));
    if (memory_bytes != UINT64_MAX)
        json_object_set_new(json, "memoryBytes", json_integer((json_int_t) memory_bytes));
}

/* Why it is down, and until when. */
static json_t *backoff_text(const struct service *service) {
    _cleanup_free_ char *next = service_next_try_text(service), *text = NULL;
    const char *why = service->failure.message;
    char how[96];

    if (!why)
        why = exit_status_describe(&service->last_exit, how, sizeof how);
    if (asprintf(&text, "%s%s; %s", service->failure.message ? "" : "the daemon ", why, next ? next : "") < 0)
        return json_null();
    return json_string(text);
}

static json_t *next_try(const struct service *service) {
    uint64_t at = service_next_try_usec(service);

    return at == USEC_INFINITY ? json_null() : json_integer((json_int_t) at);
}

static json_t *status_text(const struct service *service) {
    _cleanup_free_ char *order = service_order_text(service);
    json_t *actions = service->recovery.actions;

    if (order)
        return json_string(order);
    if (service->state == SERVICE_RECOVERING && json_array_size(actions) > 0)
        return json_incref(json_object_get(json_array_get(actions, json_array_size(actions) - 1), "text"));
    if (service->state == SERVICE_BLOCKED)
        return text_or_null(service->blocked.message);
    if (service->state == SERVICE_BACKOFF)
        return backoff_text(service);
    if (service->state == SERVICE_FAILED || (service->state == SERVICE_STOPPED && service->ended_by_itself))
        return text_or_null(service->failure.message);
    return service_state_has_main(service->state) ? text_or_null(service_record_status(&service->record)) : json_null();
}

json_t *service_status_to_json(struct service *service, bool inspect) {
    const struct service_config *config = service->config;
    bool has_main = service_state_has_main(service->state) && service->main_pidfd >= 0;
    struct known_main known = service_known_main(service);
    _cleanup_inspection_ struct inspection inspection = {0};
    _cleanup_free_ char *cgroup = NULL;
    char unit[128] = "";
    bool inspected = inspect && service_inspect(config, &known, INSPECT_STATUS, &inspection, NULL) >= 0;
    json_t *json;

    if (procfs_read_cgroup(service->manager->proc_fd, getpid(), &cgroup) >= 0)
        cgroup_unit(cgroup, unit, sizeof unit);
    /* clang-format off */
    json = json_pack("{s:s, s:o, s:s, s:b, s:o, s:i, s:o, s:I, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o}",
                     "service", config->name,
                     "description", text_or_null(config->description),
                     "state", service_state_shown(service->state),
                     "ready", service->state == SERVICE_RUNNING && !service_notify_is_stopping(service),
                     "statusText", status_text(service),
                     "supervisorPid", (int) getpid(),
                     "mainPid", has_main ? json_integer(service->record.main.pid) : json_null(),
                     "generation", (json_int_t) service->record.generation,
                     "invocationId", text_or_null(service->record.invocation_id),
                     "unit", text_or_null(unit),
                     "sinceUSec", (json_int_t) service->state_since_usec,
                     "restarts", (json_int_t) service->record.restarts,
                     "lastExit", last_exit_to_json(service),
                     "lastRecovery", service->last_recovery ? json_incref(service->last_recovery) : json_null(),
                     "sockets", sockets_to_json(service, inspected ? &inspection : NULL),
                     "locks", inspected ? inspection_to_json(&inspection, config->name) : json_array(),
                     "limits", service_limits_to_json(service, false));
    /* clang-format on */
    if (!json)
        return NULL;
    json_object_set_new(json, "kind", json_string(service_kind_to_string(config->kind)));
    json_object_set_new(json, "processes", has_main && inspect ? count_processes(service) : json_null());
    json_object_set_new(json, "leftovers", service_leftovers_to_json(service));
    json_object_set_new(json, "unattributed", service_unattributed_to_json(service->manager));
    json_object_set_new(json, "notify", service_notify_to_json(service));
    json_object_set_new(json, "limitWarnings", service_limits_warnings_to_json(service, false));
    json_object_set_new(json, "nextTryUSec", next_try(service));
    json_object_set_new(json, "memoryBytes", json_null());
    json_object_set_new(json, "cpuUSec", json_null());
    if (has_main) {
        add_usage(json, service);
        add_cgroup_usage(json, service);
    }
    json_object_set_new(json, "health", service_health_to_json(service, has_main));
    return json;
}
