/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon that an earlier latchd started is taken over. */
#include <stdio.h>
#include <time.h>

#include "base/value.h"
#include "service/service-internal.h"

static void reject_state(struct service *service, const char *reason) {
    struct event_fields fields = {.n = 0};

    event_field_add(&fields, "LATCHD_STATE_FILE", "%s.state", service->config->name);
    event_field_set(&fields, "LATCHD_REASON", reason);
    service_emit(service, EVENT_STATE_REJECTED, &fields, reason);
}

int service_adopt(struct service *service) {
    _cleanup_free_ char *daemon_exe = service_find_daemon_exe(service->config), *text = NULL;
    struct event_fields fields = {.n = 0};
    _cleanup_err_ struct err err = {0};
    struct proc_status status;
    int r, pidfd;

    r = state_file_read(service->manager->runtime_dir_fd, service->config->name, &service->record, &err);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        reject_state(service, err_text(&err));
        return r == -EBADMSG ? 0 : r;
    }
    pidfd =
        state_file_find_main(service->manager->proc_fd, service->config->name, &service->record, daemon_exe);
    if (pidfd == -EBADMSG) {
        if (asprintf(
                &text,
                "%s.state names PID %d, which does not carry this service's invocation id: not taken for its "
                "daemon",
                service->config->name, (int) service->record.main.pid) >= 0)
            reject_state(service, text);
        service->record.main = (struct process_id){0};
    }
    if (pidfd == -EXDEV && asprintf(&text,
                                    "PID %d carries the marks of this service's daemon, but its start time "
                                    "is not the recorded one: it "
                                    "was begun in another time namespace. Nothing is started beside it; run "
                                    "latchd where it ran before",
                                    (int) service->record.main.pid) >= 0)
        reject_state(service, text);
    if (pidfd < 0)
        return pidfd == -ESRCH || pidfd == -EBADMSG ? 0 : pidfd;
    r = service_watch_main(service, pidfd, false);
    if (r < 0)
        return r;
    if (service_notify_open(service, &err) < 0) /* it has its old address, where nobody listens any more */
        reject_state(service, err_text(&err));
    else if (procfs_read_status(service->manager->proc_fd, service->record.main.pid, &status) >= 0)
        service_notify_grant(service, status.uid);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "Taken over from an earlier latchd: PID %d goes on running",
                 (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_ADOPTED, &fields, text);
    service_handle(service, SERVICE_ON_ADOPTED);
    (void) service_arm_timer(service, service->config->timeout_start_usec);
    service_executed(service);
    return 1;
}
