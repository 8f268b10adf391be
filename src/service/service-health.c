/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A probe or WATCHDOG=1 is overdue: evidence is gathered, judged, told, and policy carried out. */
#include "service/service-health.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/value.h"

/* Examinations at a time in one manager, each with a process for a second. A machine that was held up as a
 * whole makes all its daemons late at once. */
#define EXAMINATIONS_MAX 8
#define EXAMINE_LATER_USEC (250 * USEC_PER_MSEC)

static const char *source_name(const struct health_source *source) {
    return source->socket ? source->socket->listen : "WATCHDOG=1";
}

static void drop_examination(struct health_source *source) {
    if (source->examination)
        source->health->service->manager->examinations--;
    examine_cancel(source->examination);
    source->examination = NULL;
    source->waiting = HEALTH_NONE;
}

static void set_verdict(struct health_source *source, enum health_verdict verdict) {
    if (source->verdict != verdict)
        source->since_usec = now_usec(CLOCK_REALTIME);
    source->verdict = verdict;
    if (verdict == HEALTH_HEALTHY) {
        free(source->evidence);
        source->evidence = NULL;
    }
}

static void add_evidence(const struct health_evidence *evidence, struct event_fields *fields, char *buffers) {
    char *cpu = buffers, *window = buffers + VALUE_FORMAT_MAX;

    if (!evidence->seen)
        return;
    event_field_add(fields, "LATCHD_PROCESS_STATE", "%c%s", evidence->state,
                    evidence->frozen ? " frozen" : "");
    event_field_set(fields, "LATCHD_CPU", value_format_usec(evidence->cpu_usec, cpu));
    event_field_set(fields, "LATCHD_WINDOW", value_format_usec(evidence->window_usec, window));
    if (evidence->queue_known)
        event_field_add(fields, "LATCHD_QUEUE", "%u", evidence->queue);
    if (evidence->tracer > 0)
        event_field_add(fields, "LATCHD_TRACER_PID", "%d", (int) evidence->tracer);
    if (evidence->wchan[0])
        event_field_set(fields, "LATCHD_WCHAN", evidence->wchan);
    if (evidence->syscall[0])
        event_field_set(fields, "LATCHD_SYSCALL", evidence->syscall);
    if (evidence->stack[0])
        event_field_set(fields, "LATCHD_STACK", evidence->stack);
}

static void report(const struct health_source *source, enum event_id id, const char *what, const char *then) {
    struct service *service = source->health->service;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char described[HEALTH_DESCRIBE_MAX], buffers[2 * VALUE_FORMAT_MAX];

    health_describe(source->evidence, source->verdict, described);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (source->socket)
        event_field_set(&fields, "LATCHD_SOCKET", source->socket->listen);
    event_field_set(&fields, "LATCHD_SYMPTOM", health_symptom_to_string(source->evidence->symptom));
    event_field_set(&fields, "LATCHD_REASON", described);
    add_evidence(source->evidence, &fields, buffers);
    if (asprintf(&text, "PID %d %s (%s): %s%s", (int) service->record.main.pid, what, source_name(source),
                 described, then) >= 0)
        service_emit(service, id, &fields, text);
}

void health_source_is_well(struct health_source *source) {
    struct service *service = source->health->service;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char ill[VALUE_FORMAT_MAX];
    uint64_t now = now_usec(CLOCK_REALTIME);

    drop_examination(source);
    source->chances = source->misses = source->late = 0;
    if (source->verdict == HEALTH_HEALTHY)
        return;
    value_format_usec(now > source->since_usec ? now - source->since_usec : 0, ill);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (source->socket)
        event_field_set(&fields, "LATCHD_SOCKET", source->socket->listen);
    event_field_set(&fields, "LATCHD_DURATION", ill);
    if (asprintf(&text, "PID %d is well again (%s), after %s", (int) service->record.main.pid,
                 source_name(source), ill) >= 0)
        service_emit(service, EVENT_DAEMON_WELL, &fields, text);
    set_verdict(source, HEALTH_HEALTHY);
    manager_service_changed(service->manager, service);
}

/* Where Restart= starts it again after a failure, it is ended for that. A missed WatchdogSec= ends it in any
 * case, as it does in systemd.service(5). */
static void found_hung(struct health_source *source, bool news) {
    struct service_health *health = source->health;
    struct service *service = health->service;
    bool ends = service->config->restart != RESTART_NO || !source->socket;
    char described[HEALTH_DESCRIBE_MAX];

    if (news) {
        free(health->hung);
        health->hung = calloc(1, sizeof *health->hung);
        if (health->hung)
            *health->hung = *source->evidence;
        health->hung_usec = now_usec(CLOCK_REALTIME);
        report(source, EVENT_DAEMON_HUNG, "hangs",
               ends ? ": ending it with SIGABRT" : "; Restart=no leaves it as it is: latchctl restart");
    }
    if (!ends) {
        health_source_arm(source, health_source_interval(source));
        return;
    }
    health_describe(source->evidence, HEALTH_HUNG, described);
    err_done(&service->failure);
    (void) err_set(&service->failure, ETIMEDOUT, "Hung", "it hung (%s): %s", source_name(source), described);
    service_handle(service, SERVICE_ON_HUNG);
}

/* Told once for each verdict, and for each further interval that a busy daemon is given. */
static void follow(struct health_source *source, enum health_verdict verdict, bool news) {
    uint64_t interval = health_source_interval(source);

    switch (verdict) {
    case HEALTH_BUSY:
        report(source, EVENT_DAEMON_BUSY, "is busy", "");
        source->chances++;
        break;
    case HEALTH_STOPPED:
        source->chances = source->misses = 0;
        if (news)
            report(source, EVENT_DAEMON_STOPPED, "is stopped", "; it is left alone");
        break;
    case HEALTH_UNANSWERED:
        if (news)
            report(source, EVENT_DAEMON_UNANSWERED, "does not answer", "");
        if (interval > USEC_PER_SEC && source->evidence->symptom == HEALTH_NO_ANSWER)
            interval = USEC_PER_SEC; /* once more, and then it is known */
        break;
    case HEALTH_HUNG:
        found_hung(source, news);
        return;
    default:
        break;
    }
    health_source_arm(source, interval);
}

static void on_evidence(const struct health_evidence *evidence, void *userdata) {
    struct health_source *source = userdata;
    struct service *service = source->health->service;
    enum health_verdict verdict = health_judge(evidence);
    bool news = verdict != source->verdict;

    source->examination = NULL; /* it frees itself */
    service->manager->examinations--;
    if (process_pidfd_ended(service->main_pidfd))
        return; /* its end, which is about to be read, leads on */
    if (!source->evidence)
        source->evidence = calloc(1, sizeof *source->evidence);
    if (!source->evidence) {
        health_source_arm(source, health_source_interval(source));
        return;
    }
    *source->evidence = *evidence;
    set_verdict(source, verdict);
    follow(source, verdict, news);
    if (news)
        manager_service_changed(service->manager, service);
}

void health_source_examine(struct health_source *source, enum health_symptom symptom) {
    struct service *service = source->health->service;
    const char *listen =
        source->socket && strchr("/@", source->socket->listen[0]) ? source->socket->listen : NULL;
    struct health_evidence begin;

    source->waiting = HEALTH_NONE;
    if (source->examination)
        return;
    begin = (struct health_evidence){.symptom = symptom,
                                     .chances = source->chances,
                                     .misses = source->misses + 1,
                                     .was_stopped = source->verdict == HEALTH_STOPPED};
    if (service->manager->examinations >= EXAMINATIONS_MAX ||
        examine_start(service->manager->event, service->manager->proc_fd, service->record.main.pid, listen,
                      &begin, on_evidence, source, &source->examination) < 0) {
        source->waiting = symptom;
        health_source_arm(source, EXAMINE_LATER_USEC);
        return;
    }
    source->misses++;
    service->manager->examinations++;
}

static int on_timer(sd_event_source *event_source, uint64_t usec, void *userdata) {
    struct health_source *source = userdata;

    (void) event_source;
    (void) usec;
    if (source->waiting != HEALTH_NONE)
        health_source_examine(source, source->waiting);
    else
        health_source_is_due(source);
    return 0;
}

/* CLOCK_MONOTONIC, which stands still while the machine sleeps: so does the daemon. Behind all else that
 * happens in the same turn of the loop: a WATCHDOG=1 that is there, or an answer, is read first. */
void health_source_arm(struct health_source *source, uint64_t delay_usec) {
    sd_event *event = source->health->service->manager->event;

    if (__builtin_add_overflow(now_usec(CLOCK_MONOTONIC), delay_usec, &source->due_usec))
        source->due_usec = USEC_INFINITY;
    if (source->timer) {
        (void) sd_event_source_set_time(source->timer, source->due_usec);
        (void) sd_event_source_set_enabled(source->timer, SD_EVENT_ONESHOT);
        return;
    }
    if (sd_event_add_time(event, &source->timer, CLOCK_MONOTONIC, source->due_usec, 1, on_timer, source) >= 0)
        (void) sd_event_source_set_priority(source->timer, SD_EVENT_PRIORITY_NORMAL + 10);
}

static void end_source(struct health_source *source) {
    if (source->health)
        drop_examination(source);
    source->timer = sd_event_source_disable_unref(source->timer);
    ask_free(source->ask);
    free(source->evidence);
}

static void drop_probes(struct service_health *health) {
    for (size_t i = 0; i < health->n_probes; i++)
        end_source(&health->probes[i]);
    free(health->probes);
    health->probes = NULL;
    health->n_probes = 0;
}

static void drop_sources(struct service_health *health) {
    end_source(&health->watchdog);
    health->watchdog = (struct health_source){.health = health};
    drop_probes(health);
}

static struct service_health *get_health(struct service *service) {
    if (!service->health) {
        service->health = calloc(1, sizeof *service->health);
        if (service->health) {
            service->health->service = service;
            service->health->watchdog.health = service->health;
            service->health->watchdog_usec = service->config->watchdog_usec;
        }
    }
    return service->health;
}

static bool is_wanted(const struct service *service) {
    if (service->health || service->config->watchdog_usec > 0)
        return true;
    for (size_t i = 0; i < service->config->n_sockets; i++)
        if (service->config->sockets[i]->probe_interval_usec > 0)
            return true;
    return false;
}

void service_begin_health(struct service *service) {
    struct service_health *health = is_wanted(service) ? get_health(service) : NULL;

    if (!health || health->active)
        return;
    health->active = true;
    health->aborted = false;
    health->kills = 0;
    service_begin_watchdog(health);
    (void) service_begin_periodic_probes(health);
}

void service_end_health(struct service *service) {
    struct service_health *health = service->health;

    if (!health)
        return;
    drop_sources(health);
    health->active = false;
    if (service->main_pidfd < 0) { /* what that daemon asked for ends with it */
        health->watchdog_usec = service->config->watchdog_usec;
        health->pinged_usec = 0;
    }
}

static bool is_as_configured(const struct health_source *source) {
    return source->probe == source->socket->probe && source->interval_usec == source->socket->probe_interval_usec &&
           source->timeout_usec == source->socket->probe_timeout_usec;
}

void service_health_config_changed(struct service *service) {
    struct service_health *health = service->health;
    bool same = true;
    size_t wanted = 0;

    if (!health || !health->active) {
        if (service->state == SERVICE_RUNNING)
            service_begin_health(service);
        return;
    }
    for (size_t i = 0; i < service->config->n_sockets; i++)
        wanted += service_probes_periodically(service->config->sockets[i]);
    for (size_t i = 0; i < health->n_probes; i++)
        same = same && is_as_configured(&health->probes[i]);
    if (same && wanted == health->n_probes)
        return;
    drop_probes(health);
    (void) service_begin_periodic_probes(health);
    manager_service_changed(service->manager, service);
}

void service_health_switch_config(struct service *service) {
    if (service->health && service->main_pidfd < 0)
        service->health->watchdog_usec = service->config->watchdog_usec;
}

void service_health_free(struct service *service) {
    if (!service->health)
        return;
    drop_sources(service->health);
    free(service->health->hung);
    free(service->health);
    service->health = NULL;
}

void service_watchdog_ping(struct service *service) {
    struct service_health *health = service->health;

    if (!health || health->watchdog_usec == 0)
        return; /* nobody asked for it */
    health->pinged_usec = now_usec(CLOCK_REALTIME);
    if (!health->active)
        return;
    health_source_is_well(&health->watchdog);
    health_source_arm(&health->watchdog, health->watchdog_usec);
}

void service_watchdog_set(struct service *service, uint64_t usec) {
    struct service_health *health = get_health(service);

    if (!health)
        return;
    health->watchdog_usec = usec == USEC_INFINITY ? 0 : usec;
    if (health->active) {
        end_source(&health->watchdog);
        health->watchdog = (struct health_source){.health = health};
        service_begin_watchdog(health);
    }
}

void service_watchdog_trigger(struct service *service) {
    struct service_health *health = get_health(service);

    if (health && health->active)
        health_source_examine(&health->watchdog, HEALTH_TRIGGER);
}

void service_abort(struct service *service) {
    service_send_abort(service);
    if (service->health)
        service->health->aborted = true;
}

int service_end_signal(struct service *service, bool by_force) {
    struct service_health *health = service->health;

    if (!health || !health->aborted)
        return service->config->kill_signal;
    health->kills += by_force;
    return SIGABRT;
}

bool service_is_beyond_help(const struct service *service) {
    return service->health && service->health->aborted && service->health->kills > 1 &&
           service->state == SERVICE_STOPPING;
}

const struct health_source *service_health_worst(const struct service *service) {
    const struct service_health *health = service->health;
    const struct health_source *worst = NULL;

    for (size_t i = 0; health && i <= health->n_probes; i++) {
        const struct health_source *source = i < health->n_probes ? &health->probes[i] : &health->watchdog;

        if (source->verdict != HEALTH_HEALTHY && source->evidence &&
            (!worst || source->verdict > worst->verdict))
            worst = source;
    }
    return worst;
}
