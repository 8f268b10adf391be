/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "health/ready.h"

#include <time.h>

#include "base/value.h"
#include "health/ask.h"

#define RETRY_FIRST_USEC (5 * USEC_PER_MSEC)
#define RETRY_MOST_USEC (250 * USEC_PER_MSEC)

struct ready_probe {
    sd_event *event;
    struct path_watcher *watcher;
    const struct socket_config *config;
    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata);
    void *userdata;
    struct ask *ask;
    struct path_watch *watch; /* while it is not there */
    sd_event_source *timer;   /* the first look, and the next one */
    uint64_t retry_usec;
    enum ask_outcome last; /* ASK_PENDING: no try is over */
};

static void try_once(struct ready_probe *probe);

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    try_once(userdata);
    return 0;
}

static int arm_timer(struct ready_probe *probe, uint64_t delay_usec) {
    probe->timer = sd_event_source_disable_unref(probe->timer);
    return sd_event_add_time_relative(probe->event, &probe->timer, CLOCK_BOOTTIME, delay_usec, 1, on_timer,
                                      probe);
}

static void try_later(struct ready_probe *probe) {
    uint64_t delay = probe->retry_usec;

    probe->retry_usec = delay * 2 < RETRY_MOST_USEC ? delay * 2 : RETRY_MOST_USEC;
    (void) arm_timer(probe, delay);
}

static void stop_waiting(struct ready_probe *probe) {
    probe->timer = sd_event_source_disable_unref(probe->timer);
    path_watch_free(probe->watch);
    probe->watch = NULL;
}

static void on_appearance(void *userdata) {
    struct ready_probe *probe = userdata;

    if (ask_is_pending(probe->ask))
        return;
    probe->retry_usec = RETRY_FIRST_USEC; /* bind(2) comes first, listen(2) moments later */
    try_once(probe);
}

/* Whether something will tell that the socket has appeared. It may have since the look. */
static bool await_appearance(struct ready_probe *probe) {
    if (probe->watch && path_watch_is_blind(probe->watch)) {
        path_watch_free(probe->watch);
        probe->watch = NULL;
    }
    return probe->watch ||
           path_watch_new(probe->watcher, probe->config->listen, on_appearance, probe, &probe->watch) >= 0;
}

static void take(struct ready_probe *probe, const struct ask_result *result) {
    if (result->outcome != ASK_PENDING)
        probe->last = result->outcome;
    switch (result->outcome) {
    case ASK_PENDING:
        break;
    case ASK_ANSWERED:
        stop_waiting(probe);
        probe->on_ready(probe, result->took_usec, probe->userdata); /* may free the probe */
        break;
    case ASK_NO_ANSWER: /* it had its time */
        (void) arm_timer(probe, 0);
        break;
    default:
        try_later(probe);
    }
}

static void on_result(struct ask *ask, const struct ask_result *result, void *userdata) {
    (void) ask;
    take(userdata, result);
}

static void try_once(struct ready_probe *probe) {
    bool watched = probe->watch != NULL;
    struct ask_result result;

    probe->timer = sd_event_source_disable_unref(probe->timer);
    result = ask_begin(probe->ask);
    if (result.outcome == ASK_ABSENT && await_appearance(probe)) {
        probe->last = ASK_ABSENT;
        if (watched)
            return;
        result = ask_begin(probe->ask); /* what came between the look and the watch */
        if (result.outcome == ASK_ABSENT)
            return;
    }
    take(probe, &result);
}

int ready_probe_new(sd_event *event, struct path_watcher *watcher, const struct socket_config *config,
                    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata),
                    void *userdata, struct ready_probe **ret) {
    struct ready_probe *probe = calloc(1, sizeof *probe);
    int r;

    if (!probe)
        return -ENOMEM;
    *probe = (struct ready_probe){.event = sd_event_ref(event),
                                  .watcher = watcher,
                                  .config = config,
                                  .on_ready = on_ready,
                                  .userdata = userdata,
                                  .retry_usec = RETRY_FIRST_USEC};
    r = ask_new(event, config, on_result, probe, &probe->ask);
    if (r >= 0) /* from the loop, so that on_ready never is called before this function has returned */
        r = arm_timer(probe, 0);
    if (r < 0) {
        ready_probe_free(probe);
        return r;
    }
    *ret = probe;
    return 0;
}

const char *ready_probe_describe(const struct ready_probe *probe) {
    switch (probe->last) {
    case ASK_ABSENT:
        return "is not there";
    case ASK_REFUSED:
        return "refuses connections";
    case ASK_FULL:
        return "has a full queue";
    case ASK_BAD:
        return probe->config->probe == SOCKET_PROBE_KEA ? "has no good answer to status-get"
                                                        : "closes connections";
    case ASK_FAILED:
        return "could not be asked";
    default:
        return probe->config->probe == SOCKET_PROBE_KEA ? "does not answer status-get" : "does not answer";
    }
}

void ready_probe_free(struct ready_probe *probe) {
    if (!probe)
        return;
    stop_waiting(probe);
    ask_free(probe->ask);
    sd_event_unref(probe->event);
    free(probe);
}
