/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Before a start and after a stop: rounds of recovery, and what follows from each. */
#include <time.h>

#include "base/value.h"
#include "service/service-internal.h"

void service_stop_recovery(struct service *service) {
    service->recovery_source = sd_event_source_disable_unref(service->recovery_source);
    recovery_reset(&service->recovery);
}

static int on_recovery_wakeup(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    service_handle(userdata, SERVICE_ON_TIMEOUT);
    return 0;
}

static void keep_last_recovery(struct service *service) {
    if (!service->recovery.actions)
        return;
    json_decref(service->last_recovery);
    service->last_recovery = json_pack("{s:I, s:O}", "atUSec", (json_int_t) service->recovery.started_usec,
                                       "actions", service->recovery.actions);
}

/* Wakes up when somebody that the recovery waits for has ended, and by the clock at next_usec. */
static void await_recovery(struct service *service, uint64_t next_usec) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (!service->recovery_source &&
        (service->recovery.wait_fd < 0 ||
         sd_event_add_io(service->manager->event, &service->recovery_source, service->recovery.wait_fd,
                         EPOLLIN, on_recovery_wakeup, service) < 0) &&
        next_usec == USEC_INFINITY)
        next_usec = now + USEC_PER_SEC; /* nothing will wake us: look again by the clock */
    if (next_usec != USEC_INFINITY)
        next_usec = next_usec > now ? next_usec - now : 0;
    (void) service_arm_timer(service, next_usec);
}

/* A stop on request is done when what the daemon left has gone as well: it would hold the locks, in the way
 * of a daemon that somebody starts by hand or from another unit. Policy and proofs are those of a start; who
 * is not proven to be ours is left alone: nothing is being started that it could be in the way of. */
void service_sweep(struct service *service) {
    struct recovery_host host = service_recovery_host(service);
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome;
    uint64_t next_usec;
    int r;

    host.stopping = true;
    r = recovery_step(&service->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r >= 0 && outcome == RECOVERY_WORKING && now_usec(CLOCK_BOOTTIME) < service->sweep_until_usec) {
        await_recovery(service,
                       next_usec < service->sweep_until_usec ? next_usec : service->sweep_until_usec);
        return;
    }
    keep_last_recovery(service);
    /* A living owner is none of ours. */
    service_report_remaining(service, r >= 0 && outcome == RECOVERY_BLOCKED && err.name &&
                                              strcmp(err.name, "Held") != 0
                                          ? err_text(&err)
                                          : NULL);
    service_handle(service, SERVICE_ON_SWEPT);
}

void service_begin_sweep(struct service *service) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    service_stop_recovery(service);
    service_end_probes(service);
    if (__builtin_add_overflow(now, service->config->timeout_stop_usec, &service->sweep_until_usec))
        service->sweep_until_usec = USEC_INFINITY;
}

/* A daemon that was started with another configuration may have left what that one names: that is cleared
 * first. Whoever lives and is in the way there is in nobody's way any more. True: it is done. */
static bool recover_old_config(struct service *service) {
    struct recovery_host host = service_recovery_host(service);
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome;
    uint64_t next_usec;

    host.retiring = true;
    host.stopping = true; /* nothing is started with it: it is not reported as being blocked */
    if (recovery_step(&service->recovery, &host, &outcome, &next_usec, NULL, &err) >= 0 &&
        outcome == RECOVERY_WORKING) {
        keep_last_recovery(service);
        service_handle(service, SERVICE_ON_WAY_WAITS);
        await_recovery(service, next_usec);
        return false;
    }
    keep_last_recovery(service);
    service_stop_recovery(service);
    service_switch_config(service);
    return true;
}

/* Apart, as the fields are large and what follows from a recovery lies deep in the stack. */
static __attribute__((noinline)) void report_unseen(struct service *service, const struct err *err) {
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_PATH", "(no verdict)");
    event_field_set(&fields, "LATCHD_VERDICT", verdict_to_string(VERDICT_UNKNOWN));
    event_field_set(&fields, "LATCHD_REASON", err_text(err));
    service_emit(service, EVENT_BLOCKED, &fields, err_text(err));
}

/* The way was clear, and a socket of our own cannot be had: told once for each reason. */
static void report_unopened(struct service *service, const struct err *err) {
    if (service_sockets_is_news(service, err_text(err)))
        report_unseen(service, err);
}

/* One round of recovery, and what follows from it. */
void service_recover(struct service *service) {
    struct recovery_host host;
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome;
    uint64_t next_usec;
    int r;

    service_sockets_prepare(service);
    if (service->next_config && !recover_old_config(service))
        return;
    host = service_recovery_host(service);
    r = recovery_step(&service->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r < 0) {
        report_unseen(service, &err);
        outcome = RECOVERY_BLOCKED;
        next_usec = now_usec(CLOCK_BOOTTIME) + USEC_PER_SEC;
    }
    keep_last_recovery(service);
    if (r >= 0 && outcome == RECOVERY_CLEAR && service_sockets_open(service, &err) < 0) {
        report_unopened(service, &err);
        outcome = RECOVERY_BLOCKED;
        next_usec = now_usec(CLOCK_BOOTTIME) + service_sockets_retry_usec(service);
    }
    if (outcome == RECOVERY_CLEAR) {
        service_stop_recovery(service);
        service_handle(service, SERVICE_ON_WAY_CLEAR);
        return;
    }
    if (outcome == RECOVERY_BLOCKED) { /* before the state changes: who hears of that wants to know why */
        err_done(&service->blocked);
        service->blocked = err;
        err = (struct err){0};
    }
    service_handle(service, outcome == RECOVERY_BLOCKED ? SERVICE_ON_WAY_BLOCKED : SERVICE_ON_WAY_WAITS);
    await_recovery(service, next_usec);
}
