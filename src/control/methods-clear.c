/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The method Clear. */
#include <time.h>

#include "base/value.h"
#include "control/endpoint.h"

/* Clearing goes on until the way is free or blocked: a leftover takes its time to obey SIGTERM. */
struct clearing {
    struct endpoint *endpoint;
    struct control_call *call; /* a reference */
    struct recovery recovery;
    bool dry_run;
    sd_event_source *io, *timer;
    struct clearing *next;
};

static void end_clearing(struct clearing *clearing) {
    struct clearing **link = &clearing->endpoint->clearing;

    while (*link && *link != clearing)
        link = &(*link)->next;
    if (*link)
        *link = clearing->next;
    sd_event_source_disable_unref(clearing->io);
    sd_event_source_disable_unref(clearing->timer);
    recovery_done(&clearing->recovery);
    control_call_unref(clearing->call);
    free(clearing);
}

static int on_clearing_io(sd_event_source *source, int fd, uint32_t events, void *userdata);
static int on_clearing_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* One round. The service may have been started meanwhile: then the rest is its own recovery's. */
static void clear_step(struct clearing *clearing) {
    struct service *service = clearing->endpoint->service;
    struct recovery_host host = service_recovery_host(service);
    sd_event *event = clearing->endpoint->control->manager->event;
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome = RECOVERY_CLEAR;
    uint64_t next_usec = USEC_INFINITY;
    bool changed;
    int r = 0;

    host.dry_run = clearing->dry_run;
    host.on_request = true;
    if (!service_state_has_main(service->state))
        r = recovery_step(&clearing->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r < 0 || outcome == RECOVERY_BLOCKED) {
        (void) endpoint_answer_error(clearing->call, service, &err);
        end_clearing(clearing);
        return;
    }
    if (outcome == RECOVERY_WORKING && !clearing->dry_run) {
        clearing->timer = sd_event_source_disable_unref(clearing->timer);
        if (!clearing->io && clearing->recovery.wait_fd >= 0)
            r = sd_event_add_io(event, &clearing->io, clearing->recovery.wait_fd, EPOLLIN, on_clearing_io,
                                clearing);
        if (r >= 0 && next_usec != USEC_INFINITY)
            r = sd_event_add_time(event, &clearing->timer, CLOCK_BOOTTIME, next_usec, 1, on_clearing_timer,
                                  clearing);
        if (r >= 0)
            return;
    }
    (void) control_call_reply(
        clearing->call,
        json_pack("{s:o}", "actions",
                  clearing->recovery.actions ? json_incref(clearing->recovery.actions) : json_array()));
    changed = !clearing->dry_run;
    end_clearing(clearing);
    if (changed && (service->state == SERVICE_BLOCKED || service->state == SERVICE_RECOVERING))
        service_handle(service, SERVICE_ON_TIMEOUT); /* what was in the way may be gone */
}

static int on_clearing_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    clear_step(userdata);
    return 0;
}

static int on_clearing_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    clear_step(userdata);
    return 0;
}

int endpoint_clear(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    json_t *dry_run = json_object_get(parameters, "dryRun");
    struct clearing *clearing;
    int r;

    if (dry_run && !json_is_boolean(dry_run) && !json_is_null(dry_run))
        return control_call_invalid_parameter(call, "dryRun");
    if (service_state_has_main(endpoint->service->state))
        return control_call_error(call, "Held",
                                  "the service runs: its locks are its own and nothing is cleared",
                                  json_pack("{s:o}", "holders", endpoint_list_holders(endpoint->service)));
    clearing = calloc(1, sizeof *clearing);
    if (!clearing)
        return -ENOMEM;
    r = recovery_init(&clearing->recovery);
    if (r < 0) {
        free(clearing);
        return r;
    }
    clearing->endpoint = endpoint;
    clearing->call = control_call_ref(call);
    clearing->dry_run = json_is_true(dry_run);
    if (!clearing->dry_run) /* which changes nothing */
        endpoint_note_request(endpoint, call);
    clearing->next = endpoint->clearing;
    endpoint->clearing = clearing;
    clear_step(clearing);
    return 0;
}

void endpoint_end_clearing(struct endpoint *endpoint) {
    while (endpoint->clearing)
        end_clearing(endpoint->clearing);
}
