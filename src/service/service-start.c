/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From exec to being ready: limits checked, control sockets asked, locks verified. */
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "lock/describe.h"
#include "service/service-limits.h"
#include "service/service-internal.h"

/* After start: the daemon's own descriptor holds the lock, and it is the lock at the path (nobody replaced
 * the file meanwhile, as Kea's own failure path may do). */
static __attribute__((noinline)) void verify_locks(struct service *service) {
    struct known_main known = service_known_main(service);
    struct event_scope scope = service_scope(service);
    _cleanup_inspection_ struct inspection inspection = {0};

    if (service_inspect(service->config, &known, INSPECT_STATUS, &inspection, NULL) < 0)
        return;
    for (size_t i = 0; i < inspection.n; i++) {
        const struct inspected *inspected = &inspection.paths[i];
        _cleanup_free_ char *summary = NULL;
        struct event_fields fields = {.n = 0};
        bool has_it = false;

        if (inspected->role != INSPECTED_LOCK || inspected->own)
            continue;
        for (size_t j = 0; j < inspection.facts[i].n_holders; j++)
            if (inspection.facts[i].holders[j].process.pid == service->record.main.pid)
                has_it = true;
        if (has_it)
            continue;
        summary = lock_describe(&inspection.facts[i], &inspected->context, &inspected->judgement);
        event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
        event_field_set(&fields, "LATCHD_PATH", inspected->path);
        event_field_set(&fields, "LATCHD_VERDICT", verdict_to_string(inspected->judgement.verdict));
        event_field_set(&fields, "LATCHD_REASON", verdict_reason_to_string(inspected->judgement.reason));
        event_emit(service->manager->log, EVENT_VERIFY_FAILED, &scope, fields.fields, fields.n,
                   "PID %d runs, but it does not hold %s (%s, %s): %s; latchctl restart %s puts it right",
                   (int) service->record.main.pid, inspected->path,
                   verdict_to_string(inspected->judgement.verdict),
                   verdict_reason_to_string(inspected->judgement.reason), summary ? summary : "",
                   service->config->name);
    }
}

/* Apart, as its fields are large: what is called after it shall not lie still deeper in the stack, which a process
 * never gives back. */
static __attribute__((noinline)) void report_ready(struct service *service, bool reloading) {
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};
    char took[VALUE_FORMAT_MAX];

    value_format_usec(now_usec(CLOCK_BOOTTIME) - service->main_since_usec, took);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_DURATION", took);
    event_emit(service->manager->log, EVENT_SERVICE_READY, &scope, fields.fields, fields.n,
               reloading ? "Ready again after the reload: PID %d" : "Ready: PID %d, after %s",
               (int) service->record.main.pid, took);
}

void service_become_ready(struct service *service) {
    bool reloading = service->state == SERVICE_RELOADING;

    if (!reloading || !service_notify_reloads_by_itself(service) || service_notify_may_tell(service))
        report_ready(service, reloading);
    /* Of Type=simple nothing says that it has got as far as taking its locks. */
    if (!reloading && service->config->type != SERVICE_TYPE_SIMPLE)
        verify_locks(service);
    service_handle(service, SERVICE_ON_READY);
    service_limits_ready(service);
}

static void on_socket_ready(struct ready_probe *probe, uint64_t answer_usec, void *userdata) {
    struct service *service = userdata;

    for (size_t i = 0; i < service->config->n_sockets; i++)
        if (service->probes[i] == probe) {
            service->answer_usec[i] = answer_usec;
            service->probes[i] = NULL;
        }
    ready_probe_free(probe);
    if (--service->probes_pending == 0)
        service_become_ready(service);
}

int service_begin_probes(struct service *service) {
    service_end_probes(service);
    if (service->config->type != SERVICE_TYPE_SOCKET)
        return 0;
    for (size_t i = 0; i < service->config->n_sockets; i++) {
        int r;

        if (service->config->sockets[i]->probe == SOCKET_PROBE_NONE)
            continue;
        r = ready_probe_new(service->manager->event, service->manager->watcher, service->config->sockets[i], on_socket_ready, service,
                            &service->probes[i]);
        if (r < 0) {
            service_end_probes(service);
            return r;
        }
        service->probes_pending++;
    }
    return 0;
}

void service_end_probes(struct service *service) {
    for (size_t i = 0; i < service->config->n_sockets; i++) {
        ready_probe_free(service->probes[i]);
        service->probes[i] = NULL;
    }
    service->probes_pending = 0;
}

void service_executed(struct service *service) {
    if (service->state != SERVICE_STARTING)
        return; /* it is being stopped already */
    service_limits_executed(service);
    service->record.executed = true;
    if (service->record_dirty) /* whoever is told that it runs may look for it there */
        (void) service_write_record(service, NULL);
    service_note_change(service);
    if (service_notify_awaits_ready(service))
        return; /* READY=1 leads on, or TimeoutStartSec= */
    if (service_begin_probes(service) < 0 || service->probes_pending == 0)
        service_become_ready(service);
}
