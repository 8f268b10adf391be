/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's health, for status. No connection is made for it: what the last probes told is shown. */
#include "service/service-health.h"

#include <string.h>

static json_t *text_or_null(const char *text) {
    return text && *text ? json_stringn_nocheck(text, strlen(text)) : json_null();
}

static json_t *evidence_to_json(const struct health_evidence *evidence) {
    char state[2] = {evidence->state, '\0'};

    if (!evidence->seen)
        return json_null();
    /* clang-format off */
    return json_pack("{s:s, s:b, s:i, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "state", state,
                     "frozen", evidence->frozen,
                     "tracerPid", (int) evidence->tracer,
                     "threads", (int) evidence->threads,
                     "cpuUSec", (json_int_t) evidence->cpu_usec,
                     "windowUSec", (json_int_t) evidence->window_usec,
                     "ioBytes", evidence->io_known ? json_integer((json_int_t) evidence->io_bytes) : json_null(),
                     "queue", evidence->queue_known ? json_integer(evidence->queue) : json_null(),
                     "backlog", evidence->queue_known ? json_integer(evidence->backlog) : json_null(),
                     "wchan", text_or_null(evidence->wchan),
                     "syscall", text_or_null(evidence->syscall),
                     "stack", text_or_null(evidence->stack));
    /* clang-format on */
}

static json_t *finding_to_json(const char *verdict, uint64_t since_usec,
                               const struct health_evidence *evidence, enum health_verdict judged) {
    char described[HEALTH_DESCRIBE_MAX];

    return json_pack("{s:s, s:o, s:s, s:s, s:o}", "verdict", verdict, "sinceUSec",
                     since_usec ? json_integer((json_int_t) since_usec) : json_null(), "symptom",
                     health_symptom_to_string(evidence->symptom), "text",
                     health_describe(evidence, judged, described), "evidence", evidence_to_json(evidence));
}

static json_t *source_to_json(const struct health_source *source) {
    json_t *json;

    if (source->verdict == HEALTH_HEALTHY || !source->evidence)
        return NULL;
    json = finding_to_json(health_verdict_to_string(source->verdict), source->since_usec, source->evidence,
                           source->verdict);
    json_object_set_new(json, "source", json_string(source->socket ? source->socket->name : "watchdog"));
    return json;
}

/* Nobody asks it anything: whether somebody has stopped it is seen at a glance. */
static const char *glance(struct service *service, char described[static HEALTH_DESCRIBE_MAX]) {
    struct health_evidence evidence = {.symptom = HEALTH_NO_ANSWER};

    examine_glance(service->manager->proc_fd, service->record.main.pid, &evidence);
    if (health_judge(&evidence) != HEALTH_STOPPED)
        return NULL;
    return health_describe_doing(&evidence, described);
}

json_t *service_health_to_json(struct service *service, bool has_main) {
    const struct service_health *health = service->health;
    const struct health_source *worst = service_health_worst(service);
    bool checked = health && health->active && (health->n_probes > 0 || health->watchdog_usec > 0);
    char described[HEALTH_DESCRIBE_MAX];
    json_t *json = json_object(), *findings = json_array();
    const char *verdict = !has_main ? NULL : checked ? "healthy" : "unchecked", *text = NULL;
    uint64_t since_usec = 0;

    if (has_main && worst) {
        verdict = health_verdict_to_string(worst->verdict);
        text = health_describe(worst->evidence, worst->verdict, described);
        since_usec = worst->since_usec;
    } else if (has_main && (text = glance(service, described)))
        verdict = health_verdict_to_string(HEALTH_STOPPED);
    json_object_set_new(json, "verdict", text_or_null(verdict));
    json_object_set_new(json, "sinceUSec", since_usec ? json_integer((json_int_t) since_usec) : json_null());
    json_object_set_new(json, "text", text_or_null(text));
    for (size_t i = 0; health && i <= health->n_probes; i++)
        json_array_append_new(findings,
                              source_to_json(i < health->n_probes ? &health->probes[i] : &health->watchdog));
    json_object_set_new(json, "findings", findings);
    json_object_set_new(json, "watchdogUSec",
                        health && health->watchdog_usec ? json_integer((json_int_t) health->watchdog_usec)
                                                        : json_null());
    json_object_set_new(json, "watchdogPingUSec",
                        health && health->pinged_usec ? json_integer((json_int_t) health->pinged_usec)
                                                      : json_null());
    json_object_set_new(json, "lastHang",
                        health && health->hung
                            ? finding_to_json("hung", health->hung_usec, health->hung, HEALTH_HUNG)
                            : json_null());
    return json;
}
