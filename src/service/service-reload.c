/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon is told to read its configuration again. */
#include "exec/terminate.h"
#include "service/service-internal.h"

void service_reload(struct service *service) {
    uint64_t patience_usec = service_notify_begin_reload(service);

    (void) terminate_signal(service->main_pidfd, service->config->reload_signal);
    if (patience_usec > 0) { /* for READY=1, where RELOADING=1 came before it */
        (void) service_arm_timer(service, patience_usec);
        return;
    }
    if (service_begin_probes(service) < 0 || service->probes_pending == 0) {
        service_handle(service, SERVICE_ON_READY);
        return;
    }
    (void) service_arm_timer(service, service->config->timeout_start_usec);
}
