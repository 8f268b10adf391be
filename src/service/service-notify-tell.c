/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the journal is told only because the daemon said so: so often, and no more, or a daemon that goes mad fills it
 * with our words. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/value.h"
#include "service/service-internal.h"

#define TOLD_MAX 10
#define INTERVAL_USEC (60 * USEC_PER_SEC)

struct service_notify_tell {
    uint64_t since_usec; /* CLOCK_BOOTTIME: of the first one in this interval */
    unsigned told, untold;
    sd_event_source *end; /* of the interval: NULL while everything was told */
};

static void tell_untold(struct service *service) {
    struct service_notify_tell *tell = service->notify_tell;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    unsigned n = tell->untold;

    tell->end = sd_event_source_disable_unref(tell->end);
    tell->told = tell->untold = 0;
    if (n == 0)
        return;
    event_field_add(&fields, "LATCHD_SUPPRESSED", "%u", n);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text,
                 "%u more change%s that the daemon told of (RELOADING=, READY=, MAINPID=) %s not told one by one within "
                 "the last minute",
                 n, n == 1 ? "" : "s", n == 1 ? "was" : "were") >= 0)
        service_emit(service, EVENT_NOTIFY_SUPPRESSED, &fields, text);
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    tell_untold(userdata);
    return 0;
}

bool service_notify_may_tell(struct service *service) {
    struct service_notify_tell *tell = service->notify_tell;
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (!tell)
        tell = service->notify_tell = calloc(1, sizeof *tell);
    if (!tell)
        return false;
    if (tell->told == 0 || now - tell->since_usec >= INTERVAL_USEC) {
        tell_untold(service);
        tell->since_usec = now;
    }
    if (tell->told < TOLD_MAX) {
        tell->told++;
        return true;
    }
    tell->untold++;
    if (!tell->end)
        (void) sd_event_add_time(service->manager->event, &tell->end, CLOCK_BOOTTIME, tell->since_usec + INTERVAL_USEC,
                                 USEC_PER_SEC, on_end, service);
    return false;
}

void service_notify_tell_free(struct service *service) {
    if (!service->notify_tell)
        return;
    tell_untold(service);
    free(service->notify_tell);
    service->notify_tell = NULL;
}
