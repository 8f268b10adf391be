/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's end: watched for, read, told of, and what policy makes of it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/process-exit.h"
#include "base/value.h"
#include "service/service-internal.h"

/* A status as waitpid(2) has it. */
static void take_status(int status, struct exit_status *ret) {
    ret->known = true;
    ret->code = WIFEXITED(status) ? CLD_EXITED : WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
    ret->status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
}

/* Reaps, if it is ours to reap; else the kernel may tell all the same. */
static void read_exit_status(struct service *service, struct exit_status *ret) {
    siginfo_t info = {0};
    int status;

    *ret = (struct exit_status){0};
    if (waitid(P_PIDFD, (id_t) service->main_pidfd, &info, WEXITED | WNOHANG) >= 0 && info.si_pid > 0)
        *ret = (struct exit_status){.known = true, .code = info.si_code, .status = info.si_status};
    else if (process_exit_status(service->main_pidfd, &status) >= 0 ||
             process_zombie_status(service->manager->proc_fd, &service->record.main, &status) >= 0)
        take_status(status, ret);
}

static void add_exit_fields(const struct exit_status *exit, struct event_fields *fields) {
    event_field_set(fields, "LATCHD_EXIT_CODE",
                    exit->failed_to_execute    ? "not-executed"
                    : !exit->known             ? "unknown"
                    : exit->code == CLD_EXITED ? "exited"
                    : exit->code == CLD_DUMPED ? "dumped"
                                               : "killed");
    if (exit->known)
        event_field_add(fields, "LATCHD_EXIT_STATUS", "%d", exit->status);
    else
        event_field_set(fields, "LATCHD_EXIT_STATUS", "unknown");
}

static void report_exit(struct service *service, bool wanted) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char how[96], ran[VALUE_FORMAT_MAX];

    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_DURATION",
                    value_format_usec(now_usec(CLOCK_BOOTTIME) - service->main_since_usec, ran));
    add_exit_fields(&service->last_exit, &fields);
    if (asprintf(&text, "PID %d %s", (int) service->record.main.pid,
                 exit_status_describe(&service->last_exit, how, sizeof how)) < 0)
        return;
    service_emit(service, wanted ? EVENT_SERVICE_STOPPED : EVENT_SERVICE_EXITED, &fields, text);
}

/* The daemon is gone, or never came to be: which event is that? */
enum service_event service_judge_exit(const struct service *service) {
    if (service->end_is_failure) /* stopped by us, but a failure whatever its exit status says */
        return service->config->restart == RESTART_NO ? SERVICE_ON_EXIT_FAILED : SERVICE_ON_EXIT_AGAIN;
    if (service->stop_wanted)
        return service->start_again ? SERVICE_ON_EXIT_RESTART : SERVICE_ON_EXIT_WANTED;
    if (service_reload_ended_it(service)) /* nobody wanted it to end, be that signal a clean end else */
        return service->config->restart == RESTART_NO ? SERVICE_ON_EXIT_FAILED : SERVICE_ON_EXIT_AGAIN;
    if (restart_wanted(service->config->restart, &service->last_exit))
        return SERVICE_ON_EXIT_AGAIN;
    return exit_status_is_clean(&service->last_exit) ? SERVICE_ON_EXIT_CLEAN : SERVICE_ON_EXIT_FAILED;
}

void service_main_exited(struct service *service) {
    enum service_event event;

    service_notify_drain(service);
    if (service->main_pidfd < 0 || !process_pidfd_ended(service->main_pidfd))
        return; /* another process is the main one from now on: the last word of this one was MAINPID= */
    event_log_hold(service->manager->log);
    service_leftovers_ended(service);
    service->last_exit = (struct exit_status){0};
    read_exit_status(service, &service->last_exit);
    service->main_reaped = service->main_is_child && service->last_exit.known;
    if (service->launch && service->stop_wanted)
        service_launch_abandon(service); /* that it did not come to be is our own doing */
    if (service->launch_failed || (service->launch && service_launch_finish(service) < 0))
        service->last_exit.failed_to_execute = true;
    service->last_exit_usec = now_usec(CLOCK_REALTIME);
    if (!service->last_exit.failed_to_execute)
        report_exit(service, service->stop_wanted);
    service_reload_note_end(service);
    event = service_judge_exit(service);

    /* record.main stays: that this process is dead is what recovery goes by. */
    service_end_probes(service);
    service->main_source = sd_event_source_disable_unref(service->main_source);
    service->reap_timer = sd_event_source_disable_unref(service->reap_timer);
    service->main_pidfd = fd_close(service->main_pidfd);
    manager_forget_main(service);
    service_end_health(service);
    service->stop_wanted = service->end_is_failure = false;
    (void) service_arm_timer(service, USEC_INFINITY);
    service_exit_decided(service, event);
}

/* "the daemon exited with status 3", or what else is known to have kept it from running; of an end in good
 * order, that nobody asked for it. Owned by the caller. */
static char *describe_end(const struct service *service) {
    const struct exit_status *exit = &service->last_exit;
    char how[96], *text;
    int r;

    if (service->failure.message)
        return strdup(service->failure.message);
    exit_status_describe(exit, how, sizeof how);
    if (exit_status_is_clean(exit) && exit->code == CLD_EXITED)
        r = asprintf(&text, "the daemon ended by itself with status %d", exit->status);
    else if (exit_status_is_clean(exit))
        r = asprintf(&text, "the daemon %s, which counts as a clean end", how);
    else
        r = asprintf(&text, "the daemon %s", how);
    return r < 0 ? NULL : text;
}

/* What leaves it down, and what to do. given_up: it would be started again, but never is. Owned by the
 * caller. */
static char *describe_policy(const struct service *service, enum service_event event, bool given_up) {
    char *text;

    if (given_up)
        return service_back_off_text(service);
    return asprintf(&text, "Restart=%s does not restart it; %slatchctl start %s",
                    restart_policy_to_string(service->config->restart),
                    event == SERVICE_ON_EXIT_FAILED ? "once mended: " : "", service->config->name) < 0
               ? NULL
               : text;
}

void service_leave_down(struct service *service, enum service_event event, bool given_up) {
    _cleanup_free_ char *end = describe_end(service), *policy = describe_policy(service, event, given_up);
    _cleanup_err_ struct err why = service->failure;

    service->failure = (struct err){0};
    service->ended_by_itself = true;
    if (end && policy)
        (void) err_set(&service->failure, why.number ? why.number : EIO, why.name ? why.name : "Exited",
                       "%s%s %s", end, given_up ? "." : ";", policy);
}

static void report_left_down(struct service *service, enum service_event event, bool given_up) {
    struct event_fields fields = {.n = 0};
    bool failed = event == SERVICE_ON_EXIT_FAILED;
    _cleanup_free_ char *text = NULL;
    char how[96];

    exit_status_describe(&service->last_exit, how, sizeof how);
    if (!given_up)
        event_field_add(&fields, "LATCHD_REASON", "it %s, and Restart=%s leaves it down then", how,
                        restart_policy_to_string(service->config->restart));
    else
        event_field_add(&fields, "LATCHD_REASON", "it %s, %s", how,
                        service->backoff_limited ? "too often for StartLimitBurst="
                                                 : "and RestartSec=infinity");
    event_field_add(&fields, "LATCHD_RESTARTS", "%llu", (unsigned long long) service->record.restarts);
    add_exit_fields(&service->last_exit, &fields);
    if (asprintf(&text, "%s: %s%s", failed ? "Failed" : "Stays down", err_text(&service->failure),
                 service->manager->is_init || service->manager->n_services > 1
                     ? ""
                     : " (latchd stays, and answers latchctl; SIGTERM or Ctrl-C ends it)") >= 0)
        service_emit(service, failed ? EVENT_SERVICE_FAILED : EVENT_SERVICE_ENDED, &fields, text);
}

void service_exit_decided(struct service *service, enum service_event event) {
    bool given_up = event == SERVICE_ON_EXIT_AGAIN && !service_plan_back_off(service);

    if (given_up)
        event = SERVICE_ON_EXIT_FAILED;
    service->ended_by_itself = false;
    if (event == SERVICE_ON_EXIT_CLEAN || event == SERVICE_ON_EXIT_FAILED) {
        service_leave_down(service, event, given_up);
        report_left_down(service, event, given_up);
    }
    service_handle(service, event);
}

void service_could_not_launch(struct service *service) {
    service->last_exit = (struct exit_status){.failed_to_execute = true};
    service->last_exit_usec = now_usec(CLOCK_REALTIME);
    service_exit_decided(service, service_judge_exit(service));
}

/* How long the parent of an adopted daemon may take to reap it, before its exit status is given up: a start
 * is not kept waiting by a parent that never does. */
#define REAP_PATIENCE_USEC (100 * USEC_PER_MSEC)

static int on_reap_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct service *service = userdata;

    (void) source;
    (void) usec;
    service->reap_timer = sd_event_source_disable_unref(service->reap_timer);
    service_main_exited(service);
    return 0;
}

/* True: its status is known in a moment, when the pidfd hangs up. */
static bool await_reaping(struct service *service) {
    int status;

    if (service->main_is_child || service->reap_timer ||
        process_exit_status(service->main_pidfd, &status) != -EAGAIN ||
        process_zombie_status(service->manager->proc_fd, &service->record.main, &status) >= 0 ||
        sd_event_source_set_io_events(service->main_source, 0) < 0) /* EPOLLHUP is told of in any case */
        return false;
    return sd_event_add_time_relative(service->manager->event, &service->reap_timer, CLOCK_BOOTTIME,
                                      REAP_PATIENCE_USEC, 1, on_reap_timer, service) >= 0;
}

static int on_main_pidfd(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    if (!await_reaping(userdata))
        service_main_exited(userdata);
    return 0;
}

int service_watch_main(struct service *service, int pidfd, bool is_child) {
    int r;

    service->main_pidfd = pidfd;
    service->main_reaped = false;
    service->main_is_child = is_child;
    service->main_since_usec = now_usec(CLOCK_BOOTTIME);
    manager_track_main(service);
    r = sd_event_add_io(service->manager->event, &service->main_source, pidfd, EPOLLIN, on_main_pidfd,
                        service);
    return r;
}
