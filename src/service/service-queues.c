/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/service-queues.h"

#include <stdio.h>
#include <time.h>

#include "base/value.h"
#include "health/queue-sight.h"
#include "service/service-internal.h"

/* With QueueWarn=, and while there is somebody who takes the connections. A listener that latchd itself holds
 * takes them in any case. */
static bool is_watched(const struct service *service, const struct socket_config *socket) {
    return socket->queue_warn.number > 0 && socket->queue_interval_usec != USEC_INFINITY &&
           (service_state_has_main(service->state) ||
            (socket->owner == SOCKET_OWNER_LATCHD && !service_is_down(service)));
}

uint64_t service_queues_interval(const struct service *service, bool *unix_wanted, bool *inet_wanted) {
    uint64_t interval = USEC_INFINITY;

    for (size_t i = 0; i < service->config->n_sockets; i++) {
        const struct socket_config *socket = service->config->sockets[i];

        if (!is_watched(service, socket))
            continue;
        *(queue_is_inet(socket->listen) ? inet_wanted : unix_wanted) = true;
        if (socket->queue_interval_usec < interval)
            interval = socket->queue_interval_usec;
    }
    return interval;
}

const struct queue_mark *service_queues_mark(const struct service *service, size_t i) {
    return service->queues && service->queues[i].sampled.realtime_usec > 0 ? &service->queues[i] : NULL;
}

void service_queues_free(struct service *service) {
    free(service->queues);
    service->queues = NULL;
}

static void add_main(struct event_fields *fields, const struct service *service) {
    if (service->record.main.pid > 0)
        event_field_add(fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
}

static void report_filled(struct service *service, const struct socket_config *socket,
                          const struct queue_mark *mark) {
    const struct queue_facts *last = &mark->last;
    uint32_t threshold = queue_mark_threshold(&socket->queue_warn, last->limit);
    uint64_t passed = mark->seen_usec - mark->alarm.since_usec;
    const char *then = !last->full ? ""
                       : queue_is_inet(socket->listen)
                           ? "; it is full: clients wait, and give up after their own time"
                           : "; it is full: clients get EAGAIN at once, or wait";
    struct event_fields fields = {.n = 0};
    char while_text[VALUE_FORMAT_MAX], since[VALUE_FORMAT_MAX + 16] = "", who[32] = "a daemon";
    _cleanup_free_ char *text = NULL;

    if (passed > 0)
        snprintf(since, sizeof since, ", for %s now", value_format_usec(passed, while_text));
    event_field_set(&fields, "LATCHD_SOCKET", socket->listen);
    add_main(&fields, service);
    event_field_add(&fields, "LATCHD_QUEUE", "%u", last->depth);
    event_field_add(&fields, "LATCHD_QUEUE_LIMIT", "%u", last->limit);
    event_field_add(&fields, "LATCHD_THRESHOLD", "%u", threshold);
    event_field_set(&fields, "LATCHD_DURATION", passed > 0 ? while_text : NULL);
    if (service->record.main.pid > 0)
        snprintf(who, sizeof who, "PID %d", (int) service->record.main.pid);
    if (asprintf(&text, "%u of %u connections wait at %s for %s to take them%s%s: latchctl doctor %s",
                 last->depth, last->limit, socket->listen, who, since, then, service->config->name) >= 0)
        service_emit(service, EVENT_QUEUE_FILLED, &fields, text);
}

static void report_drained(struct service *service, const struct socket_config *socket,
                           const struct queue_mark *mark, bool gone) {
    const struct queue_alarm *alarm = &mark->alarm;
    struct event_fields fields = {.n = 0};
    uint64_t lasted_usec = alarm->calm_usec > alarm->since_usec ? alarm->calm_usec - alarm->since_usec : 0;
    char lasted[VALUE_FORMAT_MAX], times[48] = "";
    _cleanup_free_ char *text = NULL;

    value_format_usec(lasted_usec, lasted);
    if (alarm->times > 1)
        snprintf(times, sizeof times, ", and it filled %u times", alarm->times);
    event_field_set(&fields, "LATCHD_SOCKET", socket->listen);
    if (!gone) { /* else it may be another daemon by now */
        add_main(&fields, service);
        event_field_add(&fields, "LATCHD_QUEUE", "%u", mark->last.depth);
    }
    event_field_add(&fields, "LATCHD_QUEUE_LIMIT", "%u", alarm->limit);
    event_field_add(&fields, "LATCHD_QUEUE_HIGH", "%u", alarm->high);
    event_field_set(&fields, "LATCHD_DURATION", lasted);
    event_field_add(&fields, "LATCHD_TIMES", "%u", alarm->times);
    if (asprintf(&text, "%s %s%s; at most %u of %u waited%s%s%s",
                 gone ? "The daemon has ended, or no longer listens at" : "The queue has drained at",
                 socket->listen, gone ? ", where connections waited" : "", alarm->high, alarm->limit,
                 lasted_usec > 0 ? ", for " : "", lasted_usec > 0 ? lasted : "", times) >= 0)
        service_emit(service, EVENT_QUEUE_DRAINED, &fields, text);
}

static void tell(struct service *service, size_t i, enum queue_news news) {
    const struct socket_config *socket = service->config->sockets[i];
    const struct queue_mark *mark = &service->queues[i];

    if (news == QUEUE_FILLED)
        report_filled(service, socket, mark);
    else if (news != QUEUE_NO_NEWS)
        report_drained(service, socket, mark, news == QUEUE_GONE);
}

void service_queues_look(struct service *service, const struct queue_tables *tables,
                         const struct mount_table *mounts, const struct queue_clock *now, bool all) {
    const struct service_config *config = service->config;

    for (size_t i = 0; i < config->n_sockets; i++) {
        const struct socket_config *socket = config->sockets[i];
        bool watched = is_watched(service, socket);
        const struct queue_warn never = {0}, *warn = watched ? &socket->queue_warn : &never;
        struct queue_facts facts;

        if (!watched && !all)
            continue;
        if (!service->queues && !(service->queues = calloc(config->n_sockets, sizeof *service->queues)))
            return;
        if (!service_sockets_look(service, i, tables, &facts))
            queue_sight_look(tables, mounts, service->manager->proc_fd, socket->listen, &facts);
        tell(service, i,
             queue_mark_step(&service->queues[i], &facts, warn, socket->queue_interval_usec, now));
    }
}

void service_queues_follow(struct service *service) {
    bool of_unix = false, of_inet = false, up = service_state_has_main(service->state);
    uint64_t interval;

    for (size_t i = 0; service->queues && i < service->config->n_sockets; i++) {
        enum queue_news news;

        if (is_watched(service, service->config->sockets[i]))
            continue;
        news = queue_mark_end(&service->queues[i]);
        if (!up) /* else QueueWarn= is gone: nothing has ended but that it is told of */
            tell(service, i, news);
    }
    interval = service_queues_interval(service, &of_unix, &of_inet);
    if (interval != USEC_INFINITY)
        manager_queues_watch(service->manager, interval);
}

json_t *service_queues_to_json(struct service *service) {
    const struct queue_mark never = {0};
    const struct queue_tables *tables;
    struct mount_table mounts;
    struct queue_clock when;
    uint32_t somaxconn = 0;
    json_t *array = json_array(), *json;

    tables = service->config->n_sockets > 0 ? manager_queues_read(service->manager, &when) : NULL;
    if (tables)
        service_queues_look(service, tables, manager_queues_mounts(service->manager, &mounts), &when, true);
    for (size_t i = 0; i < service->config->n_sockets; i++) {
        const struct socket_config *socket = service->config->sockets[i];

        if (socket->owner == SOCKET_OWNER_LATCHD && somaxconn == 0)
            (void) queue_read_somaxconn(service->manager->proc_fd, &somaxconn);
        json = queue_mark_to_json(socket, service->queues ? &service->queues[i] : &never, somaxconn);
        if (json && service_sockets_remark(service, i))
            json_object_set_new(json, "remark", json_string(service_sockets_remark(service, i)));
        json_array_append_new(array, json);
    }
    return array;
}
