/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The method Kill. */
#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "config/config-keys.h"
#include "control/endpoint.h"

static int refuse_signal(struct control_call *call, const char *given) {
    const char *nearest = config_signal_nearest(given);
    _cleanup_free_ char *text = NULL, *shown = strdup(given);

    if (shown)
        value_make_printable(shown);
    if (asprintf(&text, "%s is no signal%s%s%s; give a name such as SIGTERM, TERM or RTMIN+3, or a number",
                 shown && *shown ? shown : "that", nearest ? ": did you mean SIG" : "",
                 nearest ? nearest : "", nearest ? "?" : "") < 0)
        text = NULL;
    return control_call_error(call, "BadSignal", text,
                              json_pack("{s:o}", "nearest", nearest ? json_string(nearest) : json_null()));
}

/* A name, or a number as JSON has them. -EINVAL. */
static int read_signal(json_t *value, int *ret) {
    char number[24];

    if (!value || json_is_null(value)) {
        *ret = SIGTERM;
        return 0;
    }
    if (json_is_string(value))
        return value_parse_signal(json_string_value(value), ret);
    snprintf(number, sizeof number, "%lld", (long long) json_integer_value(value));
    return value_parse_signal(number, ret);
}

/* Who asked, for what, and how many got it. */
static void report(struct endpoint *endpoint, struct control_call *call, int signal, bool all,
                   const struct service_signalled *signalled) {
    const struct ucred *peer = control_call_peer(call);
    struct service *service = endpoint->service;
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};
    size_t n = signalled->n;
    char name[16];

    value_format_signal(signal, name, sizeof name);
    event_field_add(&fields, "LATCHD_SIGNAL", "SIG%s", name);
    event_field_add(&fields, "LATCHD_LEFTOVERS", "%zu", n);
    if (service->main_pidfd >= 0)
        event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_add(&fields, "LATCHD_CLIENT_PID", "%d", (int) peer->pid);
    event_field_add(&fields, "LATCHD_CLIENT_UID", "%u", peer->uid);
    if (all)
        event_emit(endpoint->control->manager->log, EVENT_SIGNAL_SENT, &scope, fields.fields, fields.n,
                   "Sent SIG%s to %zu process%s of the service%s, asked for by PID %d of uid %u", name, n,
                   n == 1 ? "" : "es", signalled->more ? ", which has more" : "", (int) peer->pid, peer->uid);
    else
        event_emit(endpoint->control->manager->log, EVENT_SIGNAL_SENT, &scope, fields.fields, fields.n,
                   "Sent SIG%s to PID %d, asked for by PID %d of uid %u", name,
                   (int) service->record.main.pid, (int) peer->pid, peer->uid);
}

int endpoint_kill(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    json_t *value = json_object_get(parameters, "signal"), *whom = json_object_get(parameters, "whom");
    _cleanup_err_ struct err err = {0};
    bool all = false;
    struct service_signalled signalled;
    int signal, r;

    if (value && !json_is_string(value) && !json_is_integer(value) && !json_is_null(value))
        return control_call_invalid_parameter(call, "signal");
    if (whom && !json_is_null(whom)) {
        all = json_is_string(whom) && strcmp(json_string_value(whom), "all") == 0;
        if (!all && (!json_is_string(whom) || strcmp(json_string_value(whom), "main") != 0))
            return control_call_invalid_parameter(call, "whom");
    }
    if (read_signal(value, &signal) < 0) {
        char number[24];

        snprintf(number, sizeof number, "%lld", (long long) json_integer_value(value));
        return refuse_signal(call, json_is_string(value) ? json_string_value(value) : number);
    }
    r = service_signal(endpoint->service, signal, all, &signalled, &err);
    if (r < 0)
        return control_call_error_from(call, &err);
    report(endpoint, call, signal, all, &signalled);
    return control_call_reply(
        call, json_pack("{s:I, s:b}", "signalled", (json_int_t) signalled.n, "more", (int) signalled.more));
}
