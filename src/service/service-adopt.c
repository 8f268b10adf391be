/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A latchd comes after another one: it takes the daemon over, and goes on with what was under way. */
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "recovery/members.h"
#include "runtime/main-note.h"
#include "service/service-internal.h"
#include "service/service-limits.h"

static void reject_state(struct service *service, const char *reason) {
    struct event_fields fields = {.n = 0};

    event_field_add(&fields, "LATCHD_STATE_FILE", "%s.state", service->config->name);
    event_field_set(&fields, "LATCHD_REASON", reason);
    service_emit(service, EVENT_STATE_REJECTED, &fields, reason);
}

/* That it ended cannot have been missed: whoever reaps it, it is us. Only a latchd that took another one's
 * place in the same process has such children. */
static int pin_dead_child(const struct service *service) {
    const struct process_id *main = &service->record.main;
    _cleanup_close_ int pidfd = pidfd_open(main->pid, 0);
    struct proc_stat stat;

    if (pidfd < 0 || strcmp(main->boot_id, service->manager->boot_id) != 0 ||
        procfs_read_stat(service->manager->proc_fd, main->pid, &stat) < 0 || stat.ppid != getpid() ||
        stat.start_ticks != main->start_ticks)
        return -ESRCH;
    return TAKE_FD(pidfd);
}

_printf_(2, 3) static void reject_record(struct service *service, const char *format, ...) {
    _cleanup_free_ char *text = NULL;
    va_list args;
    int r;

    va_start(args, format);
    r = vasprintf(&text, format, args);
    va_end(args);
    if (r < 0)
        text = NULL;
    else
        reject_state(service, text);
}

/* A pidfd, or as main_note_find(). */
static int find_main(struct service *service, bool *ret_noted) {
    _cleanup_free_ char *daemon_exe = service_find_daemon_exe(service->config);
    const struct manager *manager = service->manager;
    const char *name = service->config->name;
    struct service_record *record = &service->record;
    pid_t named = record->main.pid;
    int r = main_note_find(manager->proc_fd, manager->runtime_dir_fd, name, daemon_exe, record, ret_noted);

    if (*ret_noted && named > 0)
        reject_record(service, "%s.state names PID %d, but %s.lock says that the daemon is PID %d: that one counts",
                      name, (int) named, name, (int) record->main.pid);
    if (r == -ESRCH && record->main.pid > 0)
        return pin_dead_child(service);
    if (r == -EBADMSG) {
        reject_record(service,
                      "%s.state names PID %d, which does not carry this service's invocation id: not taken for its "
                      "daemon",
                      name, (int) named);
        record->main = (struct process_id){0};
    }
    if (r == -EXDEV)
        reject_record(service,
                      "PID %d carries the marks of this service's daemon, but its start time is not the recorded "
                      "one: it was begun in another time namespace. Nothing is started beside it; run latchd where "
                      "it ran before",
                      (int) record->main.pid);
    return r;
}

static int watch_adopted(struct service *service, int pidfd) {
    struct proc_stat stat;
    bool ours = procfs_read_stat(service->manager->proc_fd, service->record.main.pid, &stat) >= 0 &&
                stat.ppid == getpid();
    int r = service_watch_main(service, pidfd, ours);

    if (r < 0)
        return r;
    service->main_since_usec = procfs_ticks_to_boottime_usec(service->record.main.start_ticks);
    return 0;
}

/* What was under way goes on: with the rest of its time, and since when it was so. */
static void go_on_with_daemon(struct service *service, enum service_state state) {
    uint64_t since_usec = service->record.state_since_usec;
    const struct service_config *config = service->config;
    uint64_t end;

    switch (state) {
    case SERVICE_RUNNING:
    case SERVICE_RELOADING:
        service_handle(service, SERVICE_ON_ADOPTED_UP);
        service_limits_executed(service);
        if (state == SERVICE_RELOADING) /* whether it had been told so cannot be known */
            service_handle(service, SERVICE_ON_RELOAD);
        break;
    case SERVICE_STOPPING:
        end = service_end_of_timer(service, config->timeout_stop_usec);
        service_handle(service, SERVICE_ON_ADOPTED_STOP);
        (void) service_arm_timer_at(service, end);
        break;
    default:
        end = service_end_of_timer(service, config->timeout_start_usec);
        service_handle(service, SERVICE_ON_ADOPTED);
        (void) service_arm_timer_at(service, end);
        service_executed(service);
        /* Of Type=simple it is ready by now, as of now; else it is still starting. */
        if (state != SERVICE_STARTING || service->state != SERVICE_STARTING)
            return;
    }
    if (since_usec > 0 && since_usec <= now_usec(CLOCK_REALTIME))
        service->state_since_usec = since_usec;
    service_note_change(service);
}

static int adopt_daemon(struct service *service, enum service_state state, int pidfd) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err err = {0};
    struct proc_status status;
    int r = watch_adopted(service, pidfd);

    if (r < 0)
        return r;
    service_sockets_regain(service, service->main_pidfd);
    service_leftovers_begun(service, service->main_is_child, service_main_is_in_cgroup(service));
    if (service_notify_open(service, &err) < 0) /* it has its old address, where nobody listens any more */
        reject_state(service, err_text(&err));
    else if (procfs_read_status(service->manager->proc_fd, service->record.main.pid, &status) >= 0)
        service_notify_grant(service, status.uid);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "Taken over from an earlier latchd: PID %d goes on %s",
                 (int) service->record.main.pid, state == SERVICE_STOPPING ? "stopping" : "running") >= 0)
        service_emit(service, EVENT_ADOPTED, &fields, text);
    go_on_with_daemon(service, state);
    return 1;
}

/* How it ended nobody can tell any more; policy goes by that. */
static void ended_unwatched(struct service *service, enum service_state state) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;

    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "PID %d ended while no latchd watched it: how is not known",
                 (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_ENDED_UNWATCHED, &fields, text);
    service->last_exit = (struct exit_status){0};
    service->last_exit_usec = now_usec(CLOCK_REALTIME);
    service->main_since_usec = procfs_ticks_to_boottime_usec(service->record.main.start_ticks);
    service->stop_wanted = state == SERVICE_STOPPING;
    service_exit_decided(service, service_judge_exit(service));
    service->stop_wanted = service->end_is_failure = false;
}

static void resumed(struct service *service, const char *text) {
    service_emit(service, EVENT_STATE_RESUMED, NULL, text);
    manager_service_changed(service->manager, service);
}

/* An earlier latchd left it down: by policy, or since somebody asked for that. */
static void stays_down(struct service *service, enum service_event event) {
    enum restart_policy restart = service->config->restart;
    _cleanup_free_ char *text = NULL;
    bool failed = event == SERVICE_ON_EXIT_FAILED;
    int r;

    if (service->record.ended_by_itself) {
        service->backoff_usec = USEC_INFINITY;
        service_leave_down(
            service, event,
            failed && (restart == RESTART_ON_FAILURE || restart_wanted(restart, &service->last_exit)));
        r = asprintf(&text, "It %s before this latchd began: %s", failed ? "failed" : "ended",
                     err_text(&service->failure));
    } else
        r = asprintf(
            &text, "It %s before this latchd began, and stays so until somebody starts it: latchctl start %s",
            failed ? "had failed" : "was stopped", service->config->name);
    if (r >= 0)
        resumed(service, text);
}

static void go_on_backing_off(struct service *service) {
    uint64_t since_usec = service->record.state_since_usec,
             most = service->config->restart_max_delay_usec > service->config->start_limit_interval_usec
                        ? service->config->restart_max_delay_usec
                        : service->config->start_limit_interval_usec,
             end = service_end_of_timer(service, most);
    uint64_t now = now_usec(CLOCK_BOOTTIME);
    char waits[VALUE_FORMAT_MAX];
    _cleanup_free_ char *text = NULL;

    service_handle(service, SERVICE_ON_BACKOFF_REST);
    if (since_usec > 0 && since_usec <= now_usec(CLOCK_REALTIME))
        service->state_since_usec = since_usec;
    (void) service_arm_timer_at(service, end);
    if (asprintf(&text, "It ended before, and an earlier latchd waited to start it again: in %s",
                 value_format_usec(end == USEC_INFINITY ? end
                                   : end > now          ? end - now
                                                        : 0,
                                   waits)) >= 0)
        resumed(service, text);
}

/* It stays as it was, and is told as nothing new: it comes up with what it requires. */
static bool go_on_unmet(struct service *service, enum service_state state) {
    uint64_t since_usec = service->record.state_since_usec;

    if (!service->record.unmet || (state != SERVICE_STOPPED && state != SERVICE_FAILED) ||
        !service_order_resume_unmet(service))
        return false;
    if (state == SERVICE_FAILED)
        service_handle(service, SERVICE_ON_EXIT_FAILED);
    if (since_usec > 0 && since_usec <= now_usec(CLOCK_REALTIME))
        service->state_since_usec = since_usec;
    service_note_change(service);
    return true;
}

/* There is no daemon. 1: it is as the latchd before left it; 0: it is to be started. */
static int go_on_without_daemon(struct service *service, enum service_state state) {
    if (go_on_unmet(service, state))
        return 1;
    switch (state) {
    case SERVICE_STARTING:
        if (!service->record.executed) /* it died with its latchd, before it was anything */
            return 0;
        break;
    case SERVICE_RUNNING:
    case SERVICE_RELOADING:
    case SERVICE_STOPPING:
        break;
    case SERVICE_BACKOFF:
        go_on_backing_off(service);
        return 1;
    case SERVICE_FAILED:
        if (!service->record.stays_down)
            return 0;
        service_handle(service, SERVICE_ON_EXIT_FAILED);
        stays_down(service, SERVICE_ON_EXIT_FAILED);
        return 1;
    case SERVICE_SWEEPING:
    case SERVICE_STOPPED:
        if (!service->record.stays_down)
            return 0;
        if (state == SERVICE_SWEEPING)
            service_handle(service, SERVICE_ON_EXIT_WANTED);
        stays_down(service, SERVICE_ON_EXIT_CLEAN);
        return 1;
    default:
        return 0;
    }
    if (service->record.main.pid <= 0)
        return 0;
    ended_unwatched(service, state);
    return 1;
}

/* A later version's file: what it says of a daemon cannot be relied on, nor that there is none. */
static void leave_it_alone(struct service *service, const struct err *err) {
    reject_state(service, err_text(err));
    service->record_foreign = true;
    (void) err_set(&service->failure, err->number, err->name, "%s", err_text(err));
    service_handle(service, SERVICE_ON_EXIT_FAILED);
}

static void remember_unrecorded(struct service *service, const struct unrecorded *found) {
    service->unrecorded = calloc(1, sizeof *service->unrecorded);
    if (service->unrecorded)
        *service->unrecorded = *found;
}

/* Nothing is known of a daemon: one may run all the same, if somebody has lost the record. */
static void look_for_unrecorded(struct service *service, const char *record) {
    struct manager *manager = service->manager;
    _cleanup_free_ char *daemon_exe = service_find_daemon_exe(service->config);
    struct recovery_host host = service_recovery_host(service);
    struct unrecorded found = {.record = record};

    if (manager->beginning && !manager->marks)
        (void) marks_table_read(manager->proc_fd, &manager->marks);
    if (unrecorded_find(manager->proc_fd, manager->runtime_dir_fd, service->config, daemon_exe, host.leftover.uid,
                        manager->marks, &found.id))
        remember_unrecorded(service, &found);
}

/* It is the very process, and carries another one's marks: it is neither taken over, nor is anything begun beside
 * it. */
static void leave_in_the_way(struct service *service) {
    struct unrecorded found = {.id = service->record.main, .record = UNRECORDED_OTHER_MARKS};

    service->record.main = (struct process_id){0};
    remember_unrecorded(service, &found);
}

/* The record is lost, or tells of no daemon. What NAME.lock says of one is less: that it runs is all that is known,
 * and so it counts as up. */
static int adopt_noted(struct service *service, const char *record) {
    bool noted = false;
    int pidfd = find_main(service, &noted);

    if (pidfd >= 0) {
        reject_record(service, "%s.state is %s: the daemon is known by %s.lock", service->config->name, record,
                      service->config->name);
        service->record.ready = service->record.executed = true;
        return adopt_daemon(service, SERVICE_RUNNING, pidfd);
    }
    if (pidfd == -ENODATA)
        leave_in_the_way(service);
    else if (pidfd == -ESRCH || pidfd == -EBADMSG)
        look_for_unrecorded(service, record);
    return pidfd == -ENODATA || pidfd == -ESRCH || pidfd == -EBADMSG ? 0 : pidfd;
}

int service_adopt(struct service *service) {
    _cleanup_err_ struct err err = {0};
    enum service_state state = SERVICE_STATE_INVALID;
    bool noted = false;
    int r, pidfd;

    r = state_file_read(service->manager->runtime_dir_fd, service->config->name, &service->record, &err);
    if (r >= 0) {
        service_restore(service);
        state = service_state_from_string(service->record.state); /* none, or an unknown one: below zero */
        service_restore_config(service);
    }
    service_sockets_inherit(service);
    if (r == -ENOENT)
        return adopt_noted(service, "missing");
    if (r == -EPROTONOSUPPORT) {
        leave_it_alone(service, &err);
        return 1;
    }
    if (r < 0) {
        reject_state(service, err_text(&err));
        return r == -EBADMSG ? adopt_noted(service, "damaged") : r;
    }
    pidfd = find_main(service, &noted);
    if (noted) /* all that is known may be that it runs */
        state = service->record.state[0] ? service_state_from_string(service->record.state) : SERVICE_RUNNING;
    if (pidfd >= 0)
        return adopt_daemon(service, state, pidfd);
    if (pidfd == -ENODATA)
        leave_in_the_way(service);
    else if (!service->record.invocation_id[0]) /* as a latchd before us left it that was blocked by just that daemon */
        look_for_unrecorded(service, "one of no daemon");
    if (pidfd == -ENODATA)
        return 0;
    if (pidfd != -ESRCH && pidfd != -EBADMSG)
        return pidfd;
    return go_on_without_daemon(service, pidfd == -EBADMSG ? SERVICE_STATE_INVALID : state);
}
