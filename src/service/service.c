/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/service.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/terminate.h"

struct event_scope service_scope(const struct service *service) {
    return (struct event_scope){
        .service = service->config->name,
        .generation = service->record.generation,
        .invocation_id = service->record.invocation_id[0] ? service->record.invocation_id : NULL,
    };
}

struct known_main service_known_main(const struct service *service) {
    struct known_main known = {.id = service->record.main, .life = PROCESS_UNKNOWN};

    if (known.id.pid > 0)
        known.life = process_look(service->manager->proc_fd, &known.id);
    return known;
}

struct recovery_host service_recovery_host(const struct service *service) {
    struct recovery_host host;

    recovery_host_init(&host, service->config, &service->record, service->manager->proc_fd,
                       service->manager->log);
    host.known = service_known_main(service);
    host.leftover.supervisor = service->manager->subreaper ? getpid() : 0;
    host.leftover.only_service = service->manager->n_services == 1 && !service->manager->had_children;
    return host;
}

static void emit(struct service *service, enum event_id id, const struct event_fields *fields,
                 const char *text) {
    struct event_scope scope = service_scope(service);

    event_emit(service->manager->log, id, &scope, fields ? fields->fields : NULL, fields ? fields->n : 0,
               "%s", text);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    service_handle(userdata, SERVICE_ON_TIMEOUT);
    return 0;
}

int service_arm_timer(struct service *service, uint64_t delay_usec) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    service->timer = sd_event_source_disable_unref(service->timer);
    if (delay_usec >= USEC_INFINITY - now)
        return 0;
    /* Not relative: that would count from the beginning of this turn of the loop, in which a sweep over all
     * processes may have taken its time. */
    return sd_event_add_time(service->manager->event, &service->timer, CLOCK_BOOTTIME, now + delay_usec, 1,
                             on_timer, service);
}

static void set_state(struct service *service, enum service_state state) {
    bool changed = service->state != state;

    service->state = state;
    if (state != SERVICE_BLOCKED)
        err_done(&service->blocked);
    if (!changed)
        return;
    service->state_since_usec = now_usec(CLOCK_REALTIME);
    manager_service_changed(service->manager, service);
}

static void stop_recovery(struct service *service) {
    service->recovery_source = sd_event_source_disable_unref(service->recovery_source);
    recovery_reset(&service->recovery);
}

static int on_recovery_wakeup(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    service_handle(userdata, SERVICE_ON_TIMEOUT);
    return 0;
}

static void keep_last_recovery(struct service *service) {
    if (!service->recovery.actions)
        return;
    json_decref(service->last_recovery);
    service->last_recovery = json_pack("{s:I, s:O}", "atUSec", (json_int_t) service->recovery.started_usec,
                                       "actions", service->recovery.actions);
}

bool service_is_down(const struct service *service) {
    return service->state == SERVICE_STOPPED || service->state == SERVICE_FAILED;
}

/* Wakes up when somebody that the recovery waits for has ended, and by the clock at next_usec. */
static void await_recovery(struct service *service, uint64_t next_usec) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (!service->recovery_source &&
        sd_event_add_io(service->manager->event, &service->recovery_source, service->recovery.wait_fd,
                        EPOLLIN, on_recovery_wakeup, service) < 0 &&
        next_usec == USEC_INFINITY)
        next_usec = now + USEC_PER_SEC; /* nothing will wake us: look again by the clock */
    if (next_usec != USEC_INFINITY)
        next_usec = next_usec > now ? next_usec - now : 0;
    (void) service_arm_timer(service, next_usec);
}

/* A stop on request is done when what the daemon left has gone as well: it would hold the locks, in the way
 * of a daemon that somebody starts by hand or from another unit. Policy and proofs are those of a start; who
 * is not proven to be ours is left alone: nothing is being started that it could be in the way of. */
static void sweep(struct service *service) {
    struct recovery_host host = service_recovery_host(service);
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome;
    uint64_t next_usec;
    int r;

    host.stopping = true;
    r = recovery_step(&service->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r >= 0 && outcome == RECOVERY_WORKING && now_usec(CLOCK_BOOTTIME) < service->sweep_until_usec) {
        await_recovery(service,
                       next_usec < service->sweep_until_usec ? next_usec : service->sweep_until_usec);
        return;
    }
    keep_last_recovery(service);
    service_handle(service, SERVICE_ON_SWEPT);
}

static void begin_sweep(struct service *service) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    stop_recovery(service);
    service_end_probes(service);
    if (__builtin_add_overflow(now, service->config->timeout_stop_usec, &service->sweep_until_usec))
        service->sweep_until_usec = USEC_INFINITY;
}

/* One round of recovery, and what follows from it. */
static void recover(struct service *service) {
    struct recovery_host host = service_recovery_host(service);
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome;
    uint64_t next_usec;
    int r;

    r = recovery_step(&service->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r < 0) {
        struct event_fields fields = {.n = 0};

        event_field_set(&fields, "LATCHD_PATH", "(not looked at)");
        event_field_set(&fields, "LATCHD_VERDICT", verdict_to_string(VERDICT_UNKNOWN));
        event_field_set(&fields, "LATCHD_REASON", err_text(&err));
        emit(service, EVENT_BLOCKED, &fields, err_text(&err));
        outcome = RECOVERY_BLOCKED;
        next_usec = now_usec(CLOCK_BOOTTIME) + USEC_PER_SEC;
    }
    keep_last_recovery(service);
    if (outcome == RECOVERY_CLEAR) {
        stop_recovery(service);
        service_handle(service, SERVICE_ON_WAY_CLEAR);
        return;
    }
    if (outcome == RECOVERY_BLOCKED) { /* before the state changes: who hears of that wants to know why */
        err_done(&service->blocked);
        service->blocked = err;
        err = (struct err){0};
    }
    service_handle(service, outcome == RECOVERY_BLOCKED ? SERVICE_ON_WAY_BLOCKED : SERVICE_ON_WAY_WAITS);
    await_recovery(service, next_usec);
}

/* After SIGKILL too there is a timer: a process in an uninterruptible sleep is told of again and again. */
static void terminate_main(struct service *service, bool force) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char signal[16], waited[VALUE_FORMAT_MAX];
    int number = force ? SIGKILL : service->config->kill_signal;
    int r;

    service->stop_wanted = true;
    service_end_probes(service);
    value_format_signal(number, signal, sizeof signal);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (force) {
        event_field_add(&fields, "LATCHD_TIMEOUT", "%s",
                        value_format_usec(service->config->timeout_stop_usec, waited));
        r = asprintf(&text, "PID %d did not end within %s of SIG%s: sending SIGKILL",
                     (int) service->record.main.pid, waited,
                     value_format_signal(service->config->kill_signal, signal, sizeof signal));
    } else
        r = asprintf(&text, "Stopping PID %d with SIG%s", (int) service->record.main.pid, signal);
    event_field_add(&fields, "LATCHD_SIGNAL", "SIG%s", signal); /* the one that it did not obey */
    if (r >= 0)
        emit(service, force ? EVENT_STOP_TIMEOUT : EVENT_SERVICE_STOPPING, &fields, text);
    (void) terminate_signal(service->main_pidfd, number);
    (void) service_arm_timer(service, service->config->timeout_stop_usec);
}

static void reload_main(struct service *service) {
    (void) terminate_signal(service->main_pidfd, service->config->reload_signal);
    if (service_begin_probes(service) < 0 || service->probes_pending == 0) {
        service_handle(service, SERVICE_ON_READY);
        return;
    }
    (void) service_arm_timer(service, service->config->timeout_start_usec);
}

static void back_off(struct service *service) {
    uint64_t now = now_usec(CLOCK_BOOTTIME),
             ran = service->main_since_usec ? now - service->main_since_usec : 0;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char delay_text[VALUE_FORMAT_MAX], how[96];
    bool limited;
    uint64_t delay = restart_delay(service->config, &service->history, now, ran, &limited);

    value_format_usec(delay, delay_text);
    event_field_set(&fields, "LATCHD_DELAY", delay_text);
    event_field_add(&fields, "LATCHD_RESTARTS", "%llu", (unsigned long long) service->record.restarts);
    event_field_add(&fields, "LATCHD_REASON", "it %s%s",
                    exit_status_describe(&service->last_exit, how, sizeof how),
                    limited ? ", too often for StartLimitBurst=" : "");
    if (limited ? asprintf(&text, "Started too often (StartLimitBurst=%u): starting again in %s",
                           service->config->start_limit_burst, delay_text) >= 0
                : asprintf(&text, "Starting again in %s", delay_text) >= 0)
        emit(service, EVENT_SERVICE_RESTART_SCHEDULED, &fields, text);
    (void) service_arm_timer(service,
                             delay); /* be it 0: not from in here, where a start that fails comes back */
}

static void report_start_timeout(struct service *service) {
    struct event_fields fields = {.n = 0};
    char waited[VALUE_FORMAT_MAX];
    _cleanup_free_ char *text = NULL;

    value_format_usec(service->config->timeout_start_usec, waited);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_TIMEOUT", waited);
    if (asprintf(&text, "Not ready after %s (TimeoutStartSec=): stopping it", waited) >= 0)
        emit(service, EVENT_READY_TIMEOUT, &fields, text);
    err_done(&service->failure);
    (void) err_set(&service->failure, ETIMEDOUT, "Timeout", "it was not ready within %s (TimeoutStartSec=)",
                   waited);
}

/* What is remembered of an event beyond the state, until the daemon has ended. */
static void remember(struct service *service, enum service_event event,
                     const struct service_transition *transition) {
    bool asked = event == SERVICE_ON_START || event == SERVICE_ON_RESTART || event == SERVICE_ON_STOP;

    if (service->state == SERVICE_STARTING && event == SERVICE_ON_TIMEOUT) {
        report_start_timeout(service);
        service->start_timed_out = true;
    } else if (asked && service->state == SERVICE_STOPPING)
        service->start_timed_out = false; /* what follows its end has been asked for anew */
    if (event == SERVICE_ON_STOP || event == SERVICE_ON_EXIT_RESTART)
        service->start_again = false;
    else if (event == SERVICE_ON_RESTART && transition->next == SERVICE_STOPPING)
        service->start_again = true;
    if (transition->action == SERVICE_DO_BACK_OFF)
        service->record.restarts++; /* before the state changes: whoever waits for the start goes by it */
}

static void carry_out(struct service *service, enum service_action action, enum service_state before) {
    switch (action) {
    case SERVICE_DO_RECOVER:
        if (before == SERVICE_SWEEPING)
            stop_recovery(service); /* what the sweep did not get to, the start does */
        (void) service_arm_timer(service, USEC_INFINITY);
        recover(service);
        break;
    case SERVICE_DO_SPAWN:
        service_spawn(service);
        break;
    case SERVICE_DO_TERMINATE:
        terminate_main(service, false);
        break;
    case SERVICE_DO_KILL:
        terminate_main(service, true);
        break;
    case SERVICE_DO_RELOAD:
        reload_main(service);
        break;
    case SERVICE_DO_SWEEP:
        if (before != SERVICE_SWEEPING)
            begin_sweep(service);
        sweep(service);
        break;
    case SERVICE_DO_BACK_OFF:
        back_off(service);
        break;
    case SERVICE_DO_ABANDON:
        stop_recovery(service);
        service_end_probes(service);
        (void) service_arm_timer(service, USEC_INFINITY);
        break;
    case SERVICE_DO_START_AGAIN:
        service->start_again = true;
        break;
    default:
        break;
    }
}

void service_handle(struct service *service, enum service_event event) {
    enum service_state before = service->state;
    struct service_transition transition = service_next(before, event);
    uint64_t since_usec = service->state_since_usec;

    remember(service, event, &transition);
    set_state(service, transition.next);
    if (transition.next == SERVICE_RUNNING && before != SERVICE_RUNNING) {
        (void) service_arm_timer(service, USEC_INFINITY);
        service_end_probes(service);
    }
    carry_out(service, transition.action, before);
    if (before == SERVICE_BLOCKED && event == SERVICE_ON_TIMEOUT && service->state == SERVICE_BLOCKED)
        service->state_since_usec = since_usec; /* it looked again, and is no step further */
}

/* Reaps, if it is ours to reap. */
static void read_exit_status(struct service *service, struct exit_status *ret) {
    siginfo_t info = {0};

    *ret = (struct exit_status){0};
    if (!service->main_is_child ||
        waitid(P_PIDFD, (id_t) service->main_pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return;
    *ret = (struct exit_status){.known = true, .code = info.si_code, .status = info.si_status};
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
    emit(service, wanted ? EVENT_SERVICE_STOPPED : EVENT_SERVICE_EXITED, &fields, text);
}

/* The daemon is gone, or never came to be: which event is that? */
static enum service_event judge_exit(const struct service *service) {
    if (service->start_timed_out) /* stopped by us, but a failure whatever its exit status says */
        return service->config->restart == RESTART_NO ? SERVICE_ON_EXIT_FAILED : SERVICE_ON_EXIT_AGAIN;
    if (service->stop_wanted)
        return service->start_again ? SERVICE_ON_EXIT_RESTART : SERVICE_ON_EXIT_WANTED;
    if (restart_wanted(service->config->restart, &service->last_exit))
        return SERVICE_ON_EXIT_AGAIN;
    return exit_status_is_clean(&service->last_exit) ? SERVICE_ON_EXIT_CLEAN : SERVICE_ON_EXIT_FAILED;
}

void service_main_exited(struct service *service) {
    enum service_event event;

    service->last_exit = (struct exit_status){0};
    read_exit_status(service, &service->last_exit);
    if (service->launch && service->stop_wanted)
        service_launch_abandon(service); /* that it did not come to be is our own doing */
    if (service->launch_failed || (service->launch && service_launch_finish(service) < 0))
        service->last_exit.failed_to_execute = true;
    service->last_exit_usec = now_usec(CLOCK_REALTIME);
    if (!service->last_exit.failed_to_execute)
        report_exit(service, service->stop_wanted);
    event = judge_exit(service);

    /* record.main stays: that this process is dead is what recovery goes by. */
    service_end_probes(service);
    service->main_source = sd_event_source_disable_unref(service->main_source);
    service->main_pidfd = fd_close(service->main_pidfd);
    service->stop_wanted = service->start_timed_out = false;
    (void) service_arm_timer(service, USEC_INFINITY);
    service_exit_decided(service, event);
}

void service_exit_decided(struct service *service, enum service_event event) {
    if (event == SERVICE_ON_EXIT_FAILED) {
        struct event_fields fields = {.n = 0};
        char how[96];

        event_field_add(&fields, "LATCHD_REASON", "it %s, and Restart= leaves it down then",
                        exit_status_describe(&service->last_exit, how, sizeof how));
        event_field_add(&fields, "LATCHD_RESTARTS", "%llu", (unsigned long long) service->record.restarts);
        add_exit_fields(&service->last_exit, &fields);
        emit(service, EVENT_SERVICE_FAILED, &fields,
             "Failed, and Restart= leaves it down; once mended: latchctl start");
    }
    service_handle(service, event);
}

void service_could_not_launch(struct service *service) {
    service->last_exit = (struct exit_status){.failed_to_execute = true};
    service->last_exit_usec = now_usec(CLOCK_REALTIME);
    service_exit_decided(service, judge_exit(service));
}

static int on_main_pidfd(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    service_main_exited(userdata);
    return 0;
}

int service_watch_main(struct service *service, int pidfd, bool is_child) {
    int r;

    service->main_pidfd = pidfd;
    service->main_is_child = is_child;
    service->main_since_usec = now_usec(CLOCK_BOOTTIME);
    r = sd_event_add_io(service->manager->event, &service->main_source, pidfd, EPOLLIN, on_main_pidfd,
                        service);
    return r;
}

static void reject_state(struct service *service, const char *reason) {
    struct event_fields fields = {.n = 0};

    event_field_add(&fields, "LATCHD_STATE_FILE", "%s.state", service->config->name);
    event_field_set(&fields, "LATCHD_REASON", reason);
    emit(service, EVENT_STATE_REJECTED, &fields, reason);
}

int service_adopt(struct service *service) {
    _cleanup_free_ char *daemon_exe = service_find_daemon_exe(service->config), *text = NULL;
    struct event_fields fields = {.n = 0};
    _cleanup_err_ struct err err = {0};
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
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "Taken over from an earlier latchd: PID %d goes on running",
                 (int) service->record.main.pid) >= 0)
        emit(service, EVENT_ADOPTED, &fields, text);
    service_handle(service, SERVICE_ON_ADOPTED);
    (void) service_arm_timer(service, service->config->timeout_start_usec);
    service_executed(service);
    return 1;
}

int service_new(struct manager *manager, struct service_config *config, int lock_fd, struct service **ret) {
    struct service *service = calloc(1, sizeof *service);
    int r = -ENOMEM;

    if (!service)
        return r;
    service->answer_usec = calloc(config->n_sockets + 1, sizeof *service->answer_usec);
    service->probes = calloc(config->n_sockets + 1, sizeof(struct ready_probe *));
    if (service->answer_usec && service->probes)
        r = recovery_init(&service->recovery);
    if (r < 0) {
        free(service->answer_usec);
        free(service->probes);
        free(service);
        return r;
    }
    service->manager = manager;
    service->config = config;
    service->lock_fd = lock_fd;
    service->main_pidfd = -EBADF;
    service->state_since_usec = now_usec(CLOCK_REALTIME);
    *ret = service;
    return 0;
}

struct service *service_free(struct service *service) {
    if (!service)
        return NULL;
    service_end_probes(service);
    sd_event_source_disable_unref(service->timer);
    sd_event_source_disable_unref(service->main_source);
    sd_event_source_disable_unref(service->launch_source);
    sd_event_source_disable_unref(service->recovery_source);
    service_launch_free(service->launch);
    recovery_done(&service->recovery);
    json_decref(service->last_recovery);
    err_done(&service->blocked);
    err_done(&service->failure);
    fd_close(service->main_pidfd);
    fd_close(service->lock_fd);
    free(service->answer_usec);
    free(service->probes);
    service_config_free(service->config);
    free(service);
    return NULL;
}
