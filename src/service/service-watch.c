/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* While the daemon runs: its control sockets are asked from time to time, its watchdog is kept. */
#include <sys/random.h>
#include <time.h>

#include "base/value.h"
#include "service/service-health.h"

#define LATE_CHANCES 3

/* A number below `range`: a thousand services that were begun together are not asked together. */
static uint64_t random_below(uint64_t range) {
    uint64_t number;

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t) sizeof number)
        number = now_usec(CLOCK_MONOTONIC) * UINT64_C(6364136223846793005);
    return range ? number % range : 0;
}

/* The interval, a tenth more or less. */
static uint64_t jittered(uint64_t interval_usec) {
    return interval_usec - interval_usec / 10 + random_below(interval_usec / 5);
}

uint64_t health_source_interval(const struct health_source *source) {
    return source->socket ? jittered(source->socket->probe_interval_usec) : source->health->watchdog_usec;
}

static enum health_symptom symptom_of(enum ask_outcome outcome) {
    switch (outcome) {
    case ASK_FULL:
        return HEALTH_QUEUE_FULL;
    case ASK_ABSENT:
    case ASK_REFUSED:
        return HEALTH_NO_LISTENER;
    case ASK_BAD:
        return HEALTH_BAD_ANSWER;
    case ASK_NO_ANSWER:
        return HEALTH_NO_ANSWER;
    default:
        return HEALTH_NONE;
    }
}

static void take(struct health_source *source, const struct ask_result *result) {
    enum health_symptom symptom = symptom_of(result->outcome);

    if (result->outcome == ASK_PENDING)
        return;
    if (symptom != HEALTH_NONE) {
        health_source_examine(source, symptom);
        return;
    }
    if (result->outcome == ASK_ANSWERED) {
        *source->answer_usec = result->took_usec ? result->took_usec : 1;
        health_source_is_well(source);
    }
    health_source_arm(source, health_source_interval(source));
}

static void on_result(struct ask *ask, const struct ask_result *result, void *userdata) {
    (void) ask;
    take(userdata, result);
}

/* The daemon is asked while it runs: at a reload its sockets are being asked already. */
static void probe_is_due(struct health_source *source) {
    struct ask_result result;

    if (source->health->service->state != SERVICE_RUNNING) {
        health_source_arm(source, health_source_interval(source));
        return;
    }
    result = ask_begin(source->ask);
    take(source, &result);
}

/* If we come late ourselves (stopped, without processor, a paused machine), the daemon may have been held up
 * with us: it gets the time once more. */
static void watchdog_is_due(struct health_source *source) {
    uint64_t watchdog = source->health->watchdog_usec, now = now_usec(CLOCK_MONOTONIC);

    if (now - source->due_usec > watchdog / 4 + 100 * USEC_PER_MSEC && source->late < LATE_CHANCES) {
        source->late++;
        health_source_arm(source, watchdog);
        return;
    }
    health_source_examine(source, HEALTH_NO_WATCHDOG);
}

void health_source_is_due(struct health_source *source) {
    if (source->socket)
        probe_is_due(source);
    else
        watchdog_is_due(source);
}

void service_begin_watchdog(struct service_health *health) {
    if (health->watchdog_usec > 0)
        health_source_arm(&health->watchdog, health->watchdog_usec);
}

bool service_probes_periodically(const struct socket_config *socket) {
    return socket->probe_interval_usec > 0 && socket->probe_interval_usec != USEC_INFINITY &&
           socket->probe != SOCKET_PROBE_NONE;
}

int service_begin_periodic_probes(struct service_health *health) {
    const struct service_config *config = health->service->config;

    health->probes = calloc(config->n_sockets + 1, sizeof *health->probes);
    if (!health->probes)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_sockets; i++) {
        const struct socket_config *socket = config->sockets[i];
        struct health_source *source = &health->probes[health->n_probes];
        int r;

        if (!service_probes_periodically(socket))
            continue;
        *source = (struct health_source){.health = health,
                                         .socket = socket,
                                         .probe = socket->probe,
                                         .interval_usec = socket->probe_interval_usec,
                                         .timeout_usec = socket->probe_timeout_usec,
                                         .answer_usec = &health->service->answer_usec[i]};
        r = ask_new(health->service->manager->event, socket, on_result, source, &source->ask);
        if (r < 0)
            return r;
        health->n_probes++;
        health_source_arm(source, random_below(socket->probe_interval_usec));
    }
    return 0;
}
