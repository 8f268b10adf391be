/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the daemon does what it is there for: its watchdog. */
#include <time.h>

#include "base/value.h"
#include "service/service-internal.h"

struct service_health {
    uint64_t watchdog_usec; /* 0: none; what the daemon asked for goes before WatchdogSec= */
    uint64_t pinged_usec;   /* CLOCK_MONOTONIC: the daemon's last sign of life, or when it became ready */
};

static struct service_health *get_health(struct service *service) {
    if (!service->health) {
        service->health = calloc(1, sizeof *service->health);
        if (service->health)
            service->health->watchdog_usec = service->config->watchdog_usec;
    }
    return service->health;
}

void service_watchdog_ping(struct service *service) {
    struct service_health *health = get_health(service);

    if (health)
        health->pinged_usec = now_usec(CLOCK_MONOTONIC);
}

void service_watchdog_set(struct service *service, uint64_t usec) {
    struct service_health *health = get_health(service);

    if (!health)
        return;
    health->watchdog_usec = usec == USEC_INFINITY ? 0 : usec;
    health->pinged_usec = now_usec(CLOCK_MONOTONIC);
}

void service_watchdog_trigger(struct service *service) {
    service_handle(service, SERVICE_ON_HUNG);
}

void service_health_free(struct service *service) {
    free(service->health);
    service->health = NULL;
}
