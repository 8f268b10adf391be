/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* It ended, and is started again after a while: how long that is, and when that is. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/value.h"
#include "service/service-internal.h"

/* "at 03:12:45", and with its day where that is not today. The delay runs on CLOCK_BOOTTIME, which nobody
 * sets: what the clock on the wall will show then follows from what it shows now. */
static const char *format_moment(uint64_t delay_usec, char ret[static VALUE_FORMAT_MAX]) {
    uint64_t now = now_usec(CLOCK_REALTIME);
    char today[VALUE_FORMAT_MAX];
    size_t day = strlen("2024-05-01 ");

    value_format_time(now, today);
    value_format_time(now + delay_usec, ret);
    if (strncmp(today, ret, day) == 0)
        memmove(ret, ret + day, strlen(ret + day) + 1);
    return ret;
}

uint64_t service_next_try_usec(const struct service *service) {
    uint64_t now = now_usec(CLOCK_BOOTTIME), until = service->timer_until_usec;

    if (service->state != SERVICE_BACKOFF || !service->timer)
        return USEC_INFINITY;
    return now_usec(CLOCK_REALTIME) + (until > now ? until - now : 0);
}

/* "too often (StartLimitBurst=3 within StartLimitIntervalSec=1min)" */
static int describe_limit(const struct service_config *config, char **ret) {
    char window[VALUE_FORMAT_MAX];

    return asprintf(ret, "too often (StartLimitBurst=%u within StartLimitIntervalSec=%s)",
                    config->start_limit_burst, value_format_usec(config->start_limit_interval_usec, window));
}

char *service_next_try_text(const struct service *service) {
    uint64_t now = now_usec(CLOCK_REALTIME), at = service_next_try_usec(service), delay;
    char moment[VALUE_FORMAT_MAX], span[VALUE_FORMAT_MAX], *text;
    _cleanup_free_ char *limit = NULL;
    int r;

    if (service->state != SERVICE_BACKOFF ||
        (service->backoff_limited && describe_limit(service->config, &limit) < 0))
        return NULL;
    delay = at > now ? at - now : 0;
    if (at == USEC_INFINITY)
        r = asprintf(&text, "no further try by itself; once mended: latchctl start %s",
                     service->config->name);
    else if (delay < USEC_PER_SEC)
        r = asprintf(&text, "%s%s%snext try in a moment", limit ? "started " : "", limit ? limit : "",
                     limit ? "; " : "");
    else
        r = asprintf(&text, "%s%s%snext try at %s, in %s; at once: latchctl start %s",
                     limit ? "started " : "", limit ? limit : "", limit ? "; " : "",
                     format_moment(delay, moment),
                     value_format_usec(delay / USEC_PER_SEC * USEC_PER_SEC, span), service->config->name);
    return r < 0 ? NULL : text;
}

/* Chance comes from outside of the reckoning, which is pure. Without any the delay is what it is at most. */
static uint32_t draw(void) {
    uint32_t random = 0;

    return getrandom(&random, sizeof random, GRND_NONBLOCK) == (ssize_t) sizeof random ? random : 0;
}

static char *describe_delay(const struct service *service, uint64_t delay, bool limited) {
    char span[VALUE_FORMAT_MAX], moment[VALUE_FORMAT_MAX], *text;
    const struct service_config *config = service->config;
    _cleanup_free_ char *limit = NULL;
    int r;

    if (limited && describe_limit(config, &limit) < 0)
        return NULL;
    value_format_usec(delay, span);
    if (delay == USEC_INFINITY && !limited)
        r = asprintf(&text, "RestartSec=infinity: not started again by itself; latchctl start %s", config->name);
    else if (delay == USEC_INFINITY)
        r = asprintf(&text, "Started %s: not started again by itself; once mended: latchctl start %s", limit,
                     config->name);
    else if (limited)
        r = asprintf(&text, "Started %s: a pause; next try at %s, in %s; at once: latchctl start %s", limit,
                     format_moment(delay, moment), span, config->name);
    else if (delay < USEC_PER_SEC)
        r = asprintf(&text, "Starting again in %s", span);
    else
        r = asprintf(&text, "Starting again in %s, at %s", span, format_moment(delay, moment));
    return r < 0 ? NULL : text;
}

/* What never comes is nothing to wait for: then it has failed, and whoever waits for its end hears of that. */
bool service_plan_back_off(struct service *service) {
    uint64_t now = now_usec(CLOCK_BOOTTIME),
             ran = service->main_since_usec ? now - service->main_since_usec : 0;

    service->backoff_usec =
        restart_delay(service->config, &service->history, now, ran, draw(), &service->backoff_limited);
    return service->backoff_usec != USEC_INFINITY;
}

char *service_back_off_text(const struct service *service) {
    return describe_delay(service, service->backoff_usec, service->backoff_limited);
}

void service_back_off(struct service *service) {
    uint64_t delay = service->backoff_usec;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = service_back_off_text(service);
    char span[VALUE_FORMAT_MAX], how[96];

    event_field_set(&fields, "LATCHD_DELAY", value_format_usec(delay, span));
    event_field_add(&fields, "LATCHD_NEXT_TRY", "%llu", (unsigned long long) (now_usec(CLOCK_REALTIME) + delay));
    event_field_add(&fields, "LATCHD_RESTARTS", "%llu", (unsigned long long) service->record.restarts);
    event_field_add(&fields, "LATCHD_REASON", "it %s%s",
                    exit_status_describe(&service->last_exit, how, sizeof how),
                    service->backoff_limited ? ", too often for StartLimitBurst=" : "");
    if (text)
        service_emit(service, EVENT_SERVICE_RESTART_SCHEDULED, &fields, text);
    (void) service_arm_timer(service,
                             delay); /* be it 0: not from in here, where a start that fails comes back */
}
