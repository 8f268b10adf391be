/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon is asked to end, and made to. */
#include <signal.h>
#include <stdio.h>

#include "base/value.h"
#include "exec/terminate.h"
#include "service/service-internal.h"

/* After SIGKILL too there is a timer: a process in an uninterruptible sleep is told of again and again. */
void service_terminate(struct service *service, bool force) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char signal[16], waited[VALUE_FORMAT_MAX];
    int number = force ? SIGKILL : service->config->kill_signal;
    int r;

    service->stop_wanted = true;
    service_end_probes(service);
    service_end_health(service);
    value_format_signal(number, signal, sizeof signal);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (force) {
        event_field_add(&fields, "LATCHD_TIMEOUT", "%s",
                        value_format_usec(service->config->timeout_stop_usec, waited));
        r = asprintf(&text, "PID %d did not end within %s of SIG%s: sending SIGKILL",
                     (int) service->record.main.pid, waited,
                     value_format_signal(service_end_signal(service, true), signal, sizeof signal));
    } else
        r = asprintf(&text, "Stopping PID %d with SIG%s", (int) service->record.main.pid, signal);
    event_field_add(&fields, "LATCHD_SIGNAL", "SIG%s", signal); /* the one that it did not obey */
    if (r >= 0)
        service_emit(service, force ? EVENT_STOP_TIMEOUT : EVENT_SERVICE_STOPPING, &fields, text);
    (void) service_arm_timer(service, service->config->timeout_stop_usec);
    (void) service_write_record(service, NULL); /* before: a latchd that comes next goes on stopping it */
    (void) terminate_signal(service->main_pidfd, number);
}

void service_send_abort(struct service *service) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;

    service->stop_wanted = true;
    service_end_probes(service);
    service_end_health(service);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_SIGNAL", "SIGABRT");
    if (asprintf(&text, "Ending PID %d with SIGABRT, which leaves a core where LimitCORE= has room for one",
                 (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_SERVICE_STOPPING, &fields, text);
    (void) service_arm_timer(service, service->config->timeout_stop_usec);
    (void) service_write_record(service, NULL);
    (void) terminate_signal(service->main_pidfd, SIGABRT);
}
