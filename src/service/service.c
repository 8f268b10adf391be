/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/service-internal.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "base/value.h"
#include "service/service-limits.h"
#include "service/service-queues.h"

struct event_scope service_scope(const struct service *service) {
    return (struct event_scope){
        .service = service->config->name,
        .generation = service->record.generation,
        .invocation_id = service->record.invocation_id[0] ? service->record.invocation_id : NULL,
    };
}

/* This boot's identifier cannot change while latchd runs: it is not read again. */
static enum process_life look_at_main(const struct manager *manager, struct process_id id) {
    if (strcmp(id.boot_id, manager->boot_id) == 0)
        id.boot_id[0] = '\0';
    return process_look(manager->proc_fd, &id);
}

struct known_main service_known_main(const struct service *service) {
    struct known_main known = {
        .id = service->record.main, .life = PROCESS_UNKNOWN, .held = service_sockets_held(service)};

    if (known.id.pid > 0 && service->main_reaped) {
        known.life = PROCESS_GONE;
        known.since_usec = service->record.since_usec;
        known.until_usec = service->last_exit_usec;
    } else if (known.id.pid > 0)
        known.life = look_at_main(service->manager, known.id);
    return known;
}

struct recovery_host service_recovery_host(const struct service *service) {
    struct recovery_host host;

    recovery_host_init(&host, service->config, &service->record, service->manager->proc_fd,
                       service->manager->log);
    host.known = service_known_main(service);
    if (service->unrecorded)
        host.unrecorded = *service->unrecorded;
    host.cache = &service->manager->probe_cache;
    host.leftover.supervisor = service->manager->subreaper ? getpid() : 0;
    host.leftover.only_service = service->manager->n_services == 1 && !service->manager->had_children;
    service_fill_leftovers(service, &host);
    return host;
}

void service_emit(struct service *service, enum event_id id, const struct event_fields *fields,
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

/* A restart that is due at once: the loop's next turn goes on with it. Until then the journal waits, see
 * on_post() in manager.c. */
static void set_due(struct service *service, bool due) {
    service->manager->n_due += (size_t) due - (size_t) service->due;
    service->due = due;
}

static int on_turn(sd_event_source *source, void *userdata) {
    struct service *service = userdata;

    (void) source;
    set_due(service, false);
    service_handle(service, SERVICE_ON_TIMEOUT);
    return 0;
}

static void disarm_timer(struct service *service) {
    service->timer = NULL;
    service->turn_source = sd_event_source_disable_unref(service->turn_source);
    (void) sd_event_source_set_enabled(service->timer_source, SD_EVENT_OFF);
    set_due(service, false);
}

int service_arm_timer_at(struct service *service, uint64_t until_usec) {
    int r;

    disarm_timer(service);
    if (until_usec == USEC_INFINITY)
        return 0;
    service->timer_until_usec = until_usec;
    r = sd_event_source_set_time(service->timer_source, until_usec);
    if (r >= 0)
        r = sd_event_source_set_enabled(service->timer_source, SD_EVENT_ONESHOT);
    if (r >= 0)
        service->timer = service->timer_source;
    return r;
}

int service_arm_timer(struct service *service, uint64_t delay_usec) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);
    int r;

    if (delay_usec == 0) {
        r = service_arm_timer_at(service, now); /* which no want of memory keeps from running out */
        if (r >= 0 &&
            sd_event_add_defer(service->manager->event, &service->turn_source, on_turn, service) >= 0) {
            (void) sd_event_source_set_enabled(service->timer_source, SD_EVENT_OFF);
            set_due(service, true);
        }
        return r;
    }
    /* Not relative: that would count from the beginning of this turn of the loop, in which a sweep over all
     * processes may have taken its time. */
    return service_arm_timer_at(service,
                                delay_usec >= USEC_INFINITY - now ? USEC_INFINITY : now + delay_usec);
}

static bool is_up(enum service_state state) {
    return state == SERVICE_RUNNING || state == SERVICE_RELOADING;
}

static void set_state(struct service *service, enum service_state state) {
    bool changed = service->state != state, still_up = is_up(service->state) && is_up(state);

    service->state = state;
    if (state != SERVICE_BLOCKED)
        err_done(&service->blocked);
    if (!changed)
        return;
    if (service_is_down(service)) {
        service_store_clear(service);
        service_sockets_close(service);
    }
    if (!still_up) /* a reload does not make it run anew */
        service->state_since_usec = now_usec(CLOCK_REALTIME);
    service_note_change(service);
    manager_service_changed(service->manager, service);
    service_order_changed(service);
}

bool service_is_down(const struct service *service) {
    return service->state == SERVICE_STOPPED || service->state == SERVICE_FAILED;
}

/* What its start still lacked; NULL: nothing that can be named. */
static char *describe_unready(const struct service *service) {
    _cleanup_text_ struct text text = {0};
    char *joined;

    if (!service->record.executed)
        return strdup("it was not even executed");
    if (service->probes_pending == 0 && service->config->type == SERVICE_TYPE_NOTIFY)
        return strdup("READY=1 did not come (Type=notify)");
    for (size_t i = 0; i < service->config->n_sockets; i++)
        if (service->probes[i]) {
            text_add(&text, text.length > 0 ? "; socket " : "socket ");
            text_add(&text, service->config->sockets[i]->listen);
            text_add(&text, " ");
            text_add(&text, ready_probe_describe(service->probes[i]));
        }
    return text.length > 0 && text_take(&text, &joined) >= 0 ? joined : NULL;
}

static void report_start_timeout(struct service *service) {
    struct event_fields fields = {.n = 0};
    char waited[VALUE_FORMAT_MAX];
    _cleanup_free_ char *text = NULL, *unready = describe_unready(service);

    value_format_usec(service->config->timeout_start_usec, waited);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_TIMEOUT", waited);
    if (asprintf(&text, "Not ready after %s (TimeoutStartSec=)%s%s: stopping it", waited,
                 unready ? ", " : "", unready ? unready : "") >= 0)
        service_emit(service, EVENT_READY_TIMEOUT, &fields, text);
    err_done(&service->failure);
    (void) err_set(&service->failure, ETIMEDOUT, "Timeout", "it was not ready within %s (TimeoutStartSec=)%s%s",
                   waited, unready ? ": " : "", unready ? unready : "");
}

/* What is remembered of an event beyond the state, until the daemon has ended. */
static void remember(struct service *service, enum service_event event,
                     const struct service_transition *transition) {
    bool asked = event == SERVICE_ON_START || event == SERVICE_ON_RESTART || event == SERVICE_ON_STOP;

    if (service->state == SERVICE_STARTING && event == SERVICE_ON_TIMEOUT) {
        report_start_timeout(service);
        service->end_is_failure = true;
    } else if (transition->action == SERVICE_DO_ABORT)
        service->end_is_failure = true;
    else if (asked && service->state == SERVICE_STOPPING)
        service->end_is_failure = false; /* what follows its end has been asked for anew */
    if (asked) {
        /* That latchd itself is to end takes nothing back. */
        bool down = event == SERVICE_ON_STOP && (service->down_wanted || !service->manager->stopping);

        if (down != service->down_wanted)
            service_note_change(service);
        service->down_wanted = down;
    }
    if (event == SERVICE_ON_START || event == SERVICE_ON_RESTART)
        service->ended_by_itself = false; /* what comes of that is another matter */
    if (transition->action == SERVICE_DO_SPAWN)
        service->record.executed = service->record_foreign = false;
    if (event == SERVICE_ON_STOP || event == SERVICE_ON_UNMET || event == SERVICE_ON_EXIT_RESTART)
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
            service_stop_recovery(service); /* what the sweep did not get to, the start does */
        (void) service_arm_timer(service, USEC_INFINITY);
        service_recover(service);
        break;
    case SERVICE_DO_SPAWN:
        service_spawn(service);
        break;
    case SERVICE_DO_TERMINATE:
        service_terminate(service, false);
        break;
    case SERVICE_DO_KILL:
        service_terminate(service, true);
        break;
    case SERVICE_DO_ABORT:
        service_abort(service);
        break;
    case SERVICE_DO_RELOAD:
        service_reload(service);
        break;
    case SERVICE_DO_SWEEP:
        if (before != SERVICE_SWEEPING)
            service_begin_sweep(service);
        service_sweep(service);
        break;
    case SERVICE_DO_BACK_OFF:
        service_back_off(service);
        break;
    case SERVICE_DO_ABANDON:
        service_stop_recovery(service);
        service_end_probes(service);
        service_remove_cgroup(service);
        (void) service_arm_timer(service, USEC_INFINITY);
        break;
    case SERVICE_DO_WAIT:
        service_stop_recovery(service);
        (void) service_arm_timer(service, USEC_INFINITY);
        service_order_wait(service);
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
    struct service_transition transition;
    uint64_t since_usec = service->state_since_usec;

    if (event == SERVICE_ON_STOP && before == SERVICE_STOPPED && service_has_leftovers(service))
        event = SERVICE_ON_STOP_REST;
    transition = service_next(before, event);
    if (before == SERVICE_RELOADING && event == SERVICE_ON_READY && service_reload_holds_ready(service))
        return;
    if (before == SERVICE_RELOADING && event == SERVICE_ON_TIMEOUT)
        service_reload_timed_out(service); /* before the state changes: who waits for that is told why */
    if (transition.action == SERVICE_DO_WAIT && service_order_admits(service)) /* nobody sees it wait */
        transition = service_next(transition.next, SERVICE_ON_TURN);
    remember(service, event, &transition);
    set_state(service, transition.next);
    if (before == SERVICE_RELOADING && transition.next != SERVICE_RELOADING)
        service_end_reload(service);
    if (transition.next == SERVICE_RUNNING && before != SERVICE_RUNNING) {
        (void) service_arm_timer(service, USEC_INFINITY);
        service_end_probes(service);
        service_begin_health(service);
    }
    carry_out(service, transition.action, before);
    if (before == SERVICE_BLOCKED && event == SERVICE_ON_TIMEOUT && service->state == SERVICE_BLOCKED)
        service->state_since_usec = since_usec; /* it looked again, and is no step further */
}

int service_new(struct manager *manager, struct service_config *config, int lock_fd, struct service **ret) {
    struct service *service = calloc(1, sizeof *service);
    int r = -ENOMEM;

    if (!service)
        return r;
    if (config->n_sockets > 0) {
        service->answer_usec = calloc(config->n_sockets, sizeof *service->answer_usec);
        service->probes = calloc(config->n_sockets, sizeof(struct ready_probe *));
    }
    service->leftovers = leftovers_new();
    if (service->leftovers && (config->n_sockets == 0 || (service->answer_usec && service->probes)))
        r = sd_event_add_time(manager->event, &service->timer_source, CLOCK_BOOTTIME, USEC_INFINITY, 1,
                              on_timer, service);
    if (r >= 0)
        r = sd_event_source_set_enabled(service->timer_source, SD_EVENT_OFF);
    if (r >= 0)
        r = recovery_init(&service->recovery);
    if (r < 0) {
        sd_event_source_disable_unref(service->timer_source);
        leftovers_free(service->leftovers);
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
    service_leftovers_begun(service, false, service_has_cgroup(service));
    *ret = service;
    return 0;
}

struct service *service_free(struct service *service) {
    if (!service)
        return NULL;
    service_end_probes(service);
    service_end_reload(service);
    service_end_config_checks(service);
    service_health_free(service);
    service_queues_free(service);
    service_order_free(service);
    service_notify_tell_free(service);
    service_notify_free(service);
    manager_forget_main(service);
    service_store_free(service);
    service_sockets_free(service);
    disarm_timer(service);
    sd_event_source_disable_unref(service->timer_source);
    sd_event_source_disable_unref(service->reap_timer);
    sd_event_source_disable_unref(service->main_source);
    sd_event_source_disable_unref(service->launch_source);
    sd_event_source_disable_unref(service->recovery_source);
    service_launch_free(service->launch);
    service_limits_free(service->limits);
    service_remove_cgroup(service);
    leftovers_free(service->leftovers);
    recovery_done(&service->recovery);
    json_decref(service->last_recovery);
    err_done(&service->blocked);
    err_done(&service->failure);
    fd_close(service->main_pidfd);
    fd_close(service->lock_fd);
    free(service->answer_usec);
    free(service->probes);
    service_record_done(&service->record);
    free(service->config_text);
    free(service->config_word);
    err_done(&service->reload_failure);
    free(service->unrecorded);
    service_config_free(service->next_config);
    service_config_free(service->config);
    free(service);
    return NULL;
}
