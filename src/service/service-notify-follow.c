/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What follows from what the daemon tells by sd_notify(3). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "notify/store.h"
#include "notify/upstream.h"
#include "service/service-notify.h"

#define EXTENSION_MIN_USEC (100 * USEC_PER_MSEC) /* of what systemd was told before */
#define STATUS_INTERVAL_USEC USEC_PER_SEC

/* -- telling others -- */

static void write_record(struct service *service) {
    _cleanup_err_ struct err err = {0};

    if (service_write_record(service, &err) < 0)
        event_debug(service->manager->log, "%s", err_text(&err));
}

static void tell_status(struct service *service) {
    service->notify->told_usec = now_usec(CLOCK_BOOTTIME);
    service->notify->tell = sd_event_source_disable_unref(service->notify->tell);
    write_record(service);
    service->manager->changed = true; /* systemd is told with the end of this turn */
}

static int on_tell(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    tell_status(userdata);
    return 0;
}

/* At once, and then once a second however often it changes. */
static void status_changed(struct service *service) {
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (notify->tell)
        return;
    if (notify->told_usec == 0 || now - notify->told_usec >= STATUS_INTERVAL_USEC ||
        sd_event_add_time(service->manager->event, &notify->tell, CLOCK_BOOTTIME,
                          notify->told_usec + STATUS_INTERVAL_USEC, 0, on_tell, service) < 0)
        tell_status(service);
}

/* -- MAINPID= -- */

/* Returns whether there is another main process now. */
static bool change_main(struct service *service, const struct notify_datagram *datagram,
                        const struct notify_family *family, pid_t pid) {
    _cleanup_close_ int pidfd = -EBADF;
    sd_event_source *old_source = service->main_source;
    int old_pidfd = service->main_pidfd;
    uint64_t since_usec = service->main_since_usec;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    struct proc_stat stat;
    struct process_id id;
    int r;

    if (pid == service->record.main.pid || service->state == SERVICE_STOPPING)
        return false;
    pidfd = process_pin(service->manager->proc_fd, pid, &id);
    if (pidfd < 0 ||
        !notify_sender_counts(notify_sender_look_at_named(service->manager->proc_fd, pid, pidfd, family))) {
        service_notify_complain(service, datagram, "MAINPID=%d names %s", (int) pid,
                                pidfd < 0 ? "no living process"
                                          : "a process that does not provably belong to this service");
        return false;
    }
    service->main_source = NULL;
    r = service_watch_main(service, pidfd, service->main_is_child);
    service->main_since_usec = since_usec;
    if (r < 0) {
        service_notify_complain(service, datagram, "MAINPID=%d: it cannot be watched: %s", (int) pid,
                                strerror(-r));
        service->main_source = old_source;
        service->main_pidfd = old_pidfd;
        return false;
    }
    TAKE_FD(pidfd); /* the service's now */
    sd_event_source_disable_unref(old_source);
    fd_close(old_pidfd);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) pid);
    event_field_add(&fields, "LATCHD_OLD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "The main process is PID %d from now on (MAINPID=), instead of PID %d", (int) pid,
                 (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_MAIN_CHANGED, &fields, text);
    service->record.main = id;
    service->record.session = 0;
    service->record.leads_session = false;
    if (procfs_read_stat(service->manager->proc_fd, pid, &stat) >= 0)
        service_record_set_session(&service->record, stat.session);
    (void) service_note_main(service);
    manager_track_main(service);
    return true;
}

/* -- what follows -- */

/* The daemon needs longer, for as long as it says so again in time. */
static void extend_timeout(struct service *service, uint64_t usec) {
    const struct manager *manager = service->manager;
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME), until, at;
    char text[64];

    if (notify->stopping && sd_event_source_get_time(notify->stopping, &at) >= 0 &&
        usec < USEC_INFINITY - now && at < now + usec)
        (void) sd_event_source_set_time(notify->stopping, now + usec);
    if (!service->timer || (service->state != SERVICE_STARTING && service->state != SERVICE_STOPPING &&
                            service->state != SERVICE_RELOADING))
        return;
    until = usec >= USEC_INFINITY - now ? USEC_INFINITY : now + usec;
    if (sd_event_source_get_time(service->timer, &at) >= 0 && at < until) {
        (void) service_arm_timer_at(service, until);
        service_note_change(service); /* a latchd that comes next is to wait as long */
    }
    /* Where there is one service, what takes it longer takes us longer. */
    if (manager->n_services == 1 && (!manager->announced || manager->stopping || manager->told_reloading) &&
        until > notify->extended_usec && until - notify->extended_usec >= EXTENSION_MIN_USEC) {
        notify->extended_usec = until;
        snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long) usec);
        (void) notify_upstream_send(manager->upstream, text, -EBADF);
    }
}

static void begin_reloading(struct service *service, const struct notify_message *message) {
    struct service_notify *notify = service->notify;

    if (service->state == SERVICE_RUNNING) {
        notify->reload_asked_usec = 0;
        service_handle(service, SERVICE_ON_RELOADING);
    } else if (service->state != SERVICE_RELOADING ||
               (message->has_monotonic && message->monotonic_usec < notify->reload_asked_usec))
        return; /* it tells of a reload before the one that was asked for */
    notify->reload_announced = notify->announces_reloads = true;
    (void) service_arm_timer(service, service->config->timeout_start_usec);
}

/* It said that it stops, and lives on: then it hangs on its way out, and would be down for ever. */
static int on_overdue(sd_event_source *source, uint64_t usec, void *userdata) {
    struct service *service = userdata;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char waited[VALUE_FORMAT_MAX];

    (void) source;
    (void) usec;
    service->notify->stopping = sd_event_source_disable_unref(service->notify->stopping);
    if ((service->state != SERVICE_RUNNING && service->state != SERVICE_RELOADING) ||
        !service_notify_is_stopping(service) || service->main_pidfd < 0)
        return 0;
    value_format_usec(service->config->timeout_stop_usec, waited);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_TIMEOUT", waited);
    if (asprintf(&text, "PID %d said that it stops (STOPPING=1), and did not end within %s (TimeoutStopSec=)",
                 (int) service->record.main.pid, waited) >= 0)
        service_emit(service, EVENT_STOPPING_OVERDUE, &fields, text);
    service_handle(service, SERVICE_ON_HUNG);
    return 0;
}

static void begin_stopping(struct service *service) {
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME), patience_usec = service->config->timeout_stop_usec;

    status_changed(service);
    if (!notify->stopping && patience_usec < USEC_INFINITY - now)
        (void) sd_event_add_time(service->manager->event, &notify->stopping, CLOCK_BOOTTIME,
                                 now + patience_usec, 0, on_overdue, service);
}

static void follow_phase(struct service *service, const struct notify_message *message) {
    struct service_notify *notify = service->notify;

    if (message->phase == NOTIFY_PHASE_NONE)
        return;
    notify->phase = message->phase;
    if (message->phase != NOTIFY_PHASE_STOPPING) /* it thought better of it */
        notify->stopping = sd_event_source_disable_unref(notify->stopping);
    if (service->config->type != SERVICE_TYPE_NOTIFY)
        return;
    if (message->phase == NOTIFY_PHASE_RELOADING)
        begin_reloading(service, message);
    else if (message->phase == NOTIFY_PHASE_READY) {
        if ((service->state == SERVICE_STARTING &&
             !service->launch) || /* else service_executed() sees to it */
            (service->state == SERVICE_RELOADING && notify->reload_announced))
            service_become_ready(service);
    } else
        begin_stopping(service);
}

static void follow_watchdog(struct service *service, const struct notify_message *message) {
    if (message->has_watchdog_usec)
        service_watchdog_set(service, message->watchdog_usec);
    if (message->watchdog_ping)
        service_watchdog_ping(service);
    if (message->watchdog_trigger)
        service_watchdog_trigger(service);
}

static void follow_store(struct service *service, struct notify_datagram *datagram,
                         const struct notify_message *message) {
    const char *objection = NULL;

    if (message->fd_remove) {
        if (message->fd_name[0])
            service_store_remove(service, message->fd_name);
        else
            objection = "FDSTOREREMOVE=1 without FDNAME=";
    } else if (message->fd_store && datagram->fds_lost)
        objection = "a descriptor cannot be taken: latchd has too many open files";
    else if (message->fd_store)
        objection = service_store_take(service, datagram->fds, datagram->n_fds,
                                       message->fd_name[0] ? message->fd_name : NOTIFY_STORE_DEFAULT_NAME,
                                       message->fd_poll);
    if (objection)
        service_notify_complain(service, datagram, "%s%s",
                                message->fd_store ? "a descriptor is not stored: " : "", objection);
}

void service_notify_apply(struct service *service, struct notify_datagram *datagram,
                          const struct notify_family *family, const struct notify_message *message) {
    struct service_notify *notify = service->notify;
    bool main_changed, write = false;

    if (message->barrier || !service_state_has_main(service->state) || service->main_pidfd < 0)
        return; /* a barrier's descriptor is closed with those that nobody wants */
    main_changed = message->main_pid > 0 && change_main(service, datagram, family, message->main_pid);
    if (message->has_status)
        service_record_set_status(&service->record, message->status);
    if (message->phase == NOTIFY_PHASE_READY && !service->record.ready)
        service->record.ready = write = true;
    if (message->has_errno) {
        notify->has_errno = true;
        notify->error_number = message->error_number;
    }
    if (message->has_exit_status) {
        notify->has_exit_status = true;
        notify->exit_status = message->exit_status;
    }
    /* In one write: a successor must neither take the daemon for starting, nor its first process for it. */
    if (main_changed || write)
        tell_status(service);
    else if (message->has_status)
        status_changed(service);
    if (main_changed)
        manager_service_changed(service->manager, service);
    if (message->extend_usec > 0)
        extend_timeout(service, message->extend_usec);
    follow_store(service, datagram, message);
    follow_phase(service, message);
    follow_watchdog(service, message);
}
