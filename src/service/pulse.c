/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/pulse.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/value.h"
#include "notify/upstream.h"
#include "service/service.h"

bool pulse_is_due(size_t n_services, size_t n_beyond_help) {
    return n_services > 1 || n_beyond_help == 0;
}

static int on_pulse(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;
    size_t n_beyond_help = 0;

    (void) usec;
    for (size_t i = 0; i < manager->n_services; i++)
        n_beyond_help += service_is_beyond_help(manager->services[i]);
    if (pulse_is_due(manager->n_services, n_beyond_help))
        (void) notify_upstream_send(manager->upstream, "WATCHDOG=1", -EBADF);
    (void) sd_event_source_set_time(source, now_usec(CLOCK_MONOTONIC) + manager->pulse_usec);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int pulse_start(struct manager *manager) {
    uint64_t usec;
    int r = sd_watchdog_enabled(0, &usec);

    if (r <= 0)
        return 0; /* nobody wants it; what is no number there, nobody can want */
    manager->pulse_usec = usec / 2;
    return sd_event_add_time(manager->event, &manager->pulse, CLOCK_MONOTONIC, 0, 1, on_pulse, manager);
}
