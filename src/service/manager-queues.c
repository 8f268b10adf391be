/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One look at the kernel's tables of sockets serves all services. Where no service has QueueWarn=, and nobody
 * asks, nothing of this exists. */
#include <time.h>

#include "base/value.h"
#include "service/manager-internal.h"
#include "service/service-queues.h"
#include "service/service.h"

/* For how long what was read is good enough for the next one who asks. */
#define TABLES_KEEP_USEC (50 * USEC_PER_MSEC)

struct manager_queues {
    sd_event_source *timer;  /* owned; the next look; NULL: nobody is watched */
    uint64_t due_usec;       /* CLOCK_MONOTONIC: of that */
    sd_event_source *forget; /* owned; until the tables are dropped; NULL: there are none */
    struct queue_tables tables;
    struct queue_clock when; /* they were read */
};

static struct manager_queues *get_queues(struct manager *manager) {
    if (!manager->queues)
        manager->queues = calloc(1, sizeof *manager->queues);
    return manager->queues;
}

void manager_queues_free(struct manager *manager) {
    struct manager_queues *queues = manager->queues;

    if (!queues)
        return;
    sd_event_source_disable_unref(queues->timer);
    sd_event_source_disable_unref(queues->forget);
    queue_tables_done(&queues->tables);
    free(queues);
    manager->queues = NULL;
}

static void free_if_idle(struct manager *manager) {
    if (manager->queues && !manager->queues->timer && !manager->queues->forget)
        manager_queues_free(manager);
}

static struct queue_clock read_clock(void) {
    return (struct queue_clock){.realtime_usec = now_usec(CLOCK_REALTIME),
                                .boottime_usec = now_usec(CLOCK_BOOTTIME)};
}

const struct mount_table *manager_queues_mounts(struct manager *manager, struct mount_table *buffer) {
    return mount_cache_read(&manager->probe_cache.mounts, manager->proc_fd, false, buffer) < 0 ? NULL
                                                                                               : buffer;
}

static void look_at_all(struct manager *manager, bool unix_wanted, bool inet_wanted) {
    _cleanup_queue_tables_ struct queue_tables tables;
    const struct mount_table *mounts;
    struct mount_table buffer;
    struct queue_clock now;

    (void) queue_tables_read(unix_wanted, inet_wanted, &tables);
    mounts = unix_wanted ? manager_queues_mounts(manager, &buffer) : NULL;
    now = read_clock();
    for (size_t i = 0; i < manager->n_services; i++)
        service_queues_look(manager->services[i], &tables, mounts, &now, false);
}

/* Who wants to be watched by now is asked each time: the state of a service tells. */
static uint64_t shortest_interval(const struct manager *manager, bool *unix_wanted, bool *inet_wanted) {
    uint64_t shortest = USEC_INFINITY;

    for (size_t i = 0; i < manager->n_services; i++) {
        uint64_t interval = service_queues_interval(manager->services[i], unix_wanted, inet_wanted);

        shortest = interval < shortest ? interval : shortest;
    }
    return shortest;
}

static int arm(struct manager_queues *queues, uint64_t due_usec, uint64_t interval_usec) {
    int r = sd_event_source_set_time(queues->timer, due_usec);

    if (r >= 0)
        r = sd_event_source_set_time_accuracy(queues->timer, interval_usec / 16 + 1);
    if (r >= 0)
        r = sd_event_source_set_enabled(queues->timer, SD_EVENT_ONESHOT);
    queues->due_usec = due_usec;
    return r;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;
    bool unix_wanted = false, inet_wanted = false;
    uint64_t interval = shortest_interval(manager, &unix_wanted, &inet_wanted);

    (void) source;
    (void) usec;
    if (interval != USEC_INFINITY) {
        look_at_all(manager, unix_wanted, inet_wanted);
        /* From now on, not from when it was due: one that is held up does not make up for it. */
        if (arm(manager->queues, now_usec(CLOCK_MONOTONIC) + interval, interval) >= 0)
            return 0;
    }
    manager->queues->timer = sd_event_source_disable_unref(manager->queues->timer);
    free_if_idle(manager);
    return 0;
}

/* The clock stands still while the machine sleeps: so do clients and daemons. */
void manager_queues_watch(struct manager *manager, uint64_t interval_usec) {
    struct manager_queues *queues = get_queues(manager);
    uint64_t due;

    if (!queues || __builtin_add_overflow(now_usec(CLOCK_MONOTONIC), interval_usec, &due))
        return;
    if (queues->timer && due >= queues->due_usec)
        return;
    if (!queues->timer &&
        sd_event_add_time(manager->event, &queues->timer, CLOCK_MONOTONIC, due, 0, on_timer, manager) < 0)
        queues->timer = NULL;
    else
        (void) arm(queues, due, interval_usec);
    free_if_idle(manager);
}

static int on_forget(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) usec;
    manager->queues->forget = sd_event_source_disable_unref(manager->queues->forget);
    queue_tables_done(&manager->queues->tables);
    manager->queues->when = (struct queue_clock){0};
    free_if_idle(manager);
    return 0;
}

static void read_tables(struct manager *manager, struct manager_queues *queues) {
    bool unix_wanted = false, inet_wanted = false;

    for (size_t i = 0; i < manager->n_services; i++) {
        const struct service_config *config = manager->services[i]->config;

        for (size_t j = 0; j < config->n_sockets; j++)
            *(queue_is_inet(config->sockets[j]->listen) ? &inet_wanted : &unix_wanted) = true;
    }
    queue_tables_done(&queues->tables);
    (void) queue_tables_read(unix_wanted, inet_wanted, &queues->tables);
    queues->when = read_clock();
}

const struct queue_tables *manager_queues_read(struct manager *manager, struct queue_clock *ret_when) {
    struct manager_queues *queues = get_queues(manager);
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (!queues)
        return NULL;
    /* Without the timer that drops them they would stay for good. */
    if (!queues->forget && sd_event_add_time(manager->event, &queues->forget, CLOCK_BOOTTIME,
                                             now + TABLES_KEEP_USEC, 1, on_forget, manager) < 0) {
        queues->forget = NULL;
        free_if_idle(manager);
        return NULL;
    }
    if (queues->when.boottime_usec == 0 || now - queues->when.boottime_usec >= TABLES_KEEP_USEC)
        read_tables(manager, queues);
    *ret_when = queues->when;
    return &queues->tables;
}
