/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What service-health.c, service-watch.c and status-health.c share and nobody else needs. */

#include "health/ask.h"
#include "health/examine.h"
#include "health/judge.h"
#include "service/service-internal.h"

/* One thing that tells whether the daemon is well: a control socket that is asked, or the watchdog. */
struct health_source {
    struct service_health *health;
    const struct socket_config *socket; /* NULL: the watchdog */
    enum socket_probe probe; /* what it was begun with: a reload may change that of the socket */
    uint64_t interval_usec, timeout_usec;
    uint64_t *answer_usec;              /* where the time of its last answer is kept */
    struct ask *ask;
    sd_event_source *timer; /* the next question, or when the watchdog runs out */
    uint64_t due_usec;      /* CLOCK_MONOTONIC: of that timer */
    struct examination *examination;
    enum health_symptom waiting; /* an examination that has to wait until others are done */

    enum health_verdict verdict;
    uint64_t since_usec;              /* CLOCK_REALTIME: of that verdict */
    struct health_evidence *evidence; /* what it was judged by; NULL while it is healthy */
    unsigned chances, misses, late;
};

struct service_health {
    struct service *service;
    bool active;            /* the daemon runs and is looked after */
    uint64_t watchdog_usec; /* 0: none; what the daemon asked for goes before WatchdogSec= */
    uint64_t pinged_usec;   /* CLOCK_REALTIME: the last WATCHDOG=1 of this daemon; 0: none */
    struct health_source watchdog;
    struct health_source *probes;
    size_t n_probes;

    uint64_t hung_usec;           /* CLOCK_REALTIME: when a daemon was last found hung; 0: never */
    struct health_evidence *hung; /* by what */
    bool aborted;                 /* and was sent SIGABRT; this daemon */
    unsigned kills;               /* SIGKILLs since */
};

/* The last answer, or WATCHDOG=1, has come. */
void health_source_is_well(struct health_source *source);

/* It has not. */
void health_source_examine(struct health_source *source, enum health_symptom symptom);
void health_source_arm(struct health_source *source, uint64_t delay_usec);

/* The worst of them; NULL: all are well. */
const struct health_source *service_health_worst(const struct service *service);

/* -- service-watch.c -- */
void health_source_is_due(struct health_source *source);
bool service_probes_periodically(const struct socket_config *socket);
int service_begin_periodic_probes(struct service_health *health);
void service_begin_watchdog(struct service_health *health);

/* How long until it is looked at again, after a verdict. */
uint64_t health_source_interval(const struct health_source *source);

/* -- status-health.c -- */
json_t *service_health_to_json(struct service *service, bool has_main);
