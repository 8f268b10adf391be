/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/methods.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "control/endpoint.h"
#include "control/interface-text.h"
#include "recovery/inspect.h"
#include "service/status.h"

/* For how long an answer to somebody unprivileged is good enough for the next one. */
#define LOOK_AGAIN_USEC (200 * USEC_PER_MSEC)

/* The holders of whatever is held, for the error Held. */
json_t *endpoint_list_holders(const struct service *service) {
    struct known_main known = service_known_main(service);
    _cleanup_inspection_ struct inspection inspection = {0};
    json_t *holders = json_array();

    if (service_inspect(service->config, &known, INSPECT_EXPLAIN, &inspection, NULL) < 0)
        return holders;
    for (size_t i = 0; i < inspection.n; i++)
        for (size_t j = 0;
             inspection.paths[i].judgement.verdict == VERDICT_HELD && j < inspection.facts[i].n_holders; j++)
            json_array_append_new(holders, process_facts_to_json(&inspection.facts[i].holders[j].process));
    return holders;
}

/* An error with what the interface promises beside its message. */
int endpoint_answer_error(struct control_call *call, const struct service *service, const struct err *err) {
    bool held = err->name && strcmp(err->name, "Held") == 0;

    return control_call_error(call, err->name ? err->name : "Failed", err_text(err),
                              held ? json_pack("{s:o}", "holders", endpoint_list_holders(service)) : NULL);
}

void endpoint_note_request(struct endpoint *endpoint, struct control_call *call) {
    const struct ucred *peer = control_call_peer(call);
    struct event_scope scope = service_scope(endpoint->service);
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_REQUEST", control_call_method(call));
    event_field_add(&fields, "LATCHD_CLIENT_PID", "%d", (int) peer->pid);
    event_field_add(&fields, "LATCHD_CLIENT_UID", "%u", peer->uid);
    event_emit(endpoint->control->manager->log, EVENT_CONTROL_REQUEST, &scope, fields.fields, fields.n,
               "%s, asked for by PID %d of uid %u", control_call_method(call), (int) peer->pid, peer->uid);
}

static int change(struct endpoint *endpoint, struct control_call *call, json_t *parameters,
                  enum service_event event, enum goal goal) {
    uint64_t timeout_usec, restarts_before = endpoint->service->record.restarts;
    const char *wrong;
    bool block;

    if (endpoint_read_waiting(parameters, &block, &timeout_usec, &wrong) < 0)
        return control_call_invalid_parameter(call, wrong);
    if (endpoint->control->manager->stopping && event != SERVICE_ON_STOP)
        return control_call_error(call, "Busy", "this latchd is being stopped and begins nothing any more",
                                  NULL);
    endpoint_note_request(endpoint, call);
    service_ask(endpoint->service, event);
    if (!block)
        return control_call_reply(call, NULL);
    return endpoint_wait(endpoint, call, goal, restarts_before, timeout_usec, NULL);
}

static int method_start(struct control_call *call, json_t *parameters, void *userdata) {
    return change(userdata, call, parameters, SERVICE_ON_START, GOAL_UP);
}

static int method_stop(struct control_call *call, json_t *parameters, void *userdata) {
    return change(userdata, call, parameters, SERVICE_ON_STOP, GOAL_DOWN);
}

static int method_restart(struct control_call *call, json_t *parameters, void *userdata) {
    return change(userdata, call, parameters, SERVICE_ON_RESTART, GOAL_UP);
}

static json_t *to_strings(char *const *words) {
    json_t *array = json_array();

    for (; words && *words; words++)
        json_array_append_new(array, json_string(*words));
    return array;
}

/* The mistakes, which stand behind the message, a line each, are a list of their own in the answer. */
static int answer_mistakes(struct control_call *call, const struct err *err) {
    _cleanup_free_ char *text = strdup(err_text(err));
    char *line = text, *message;
    json_t *problems;

    if (!err->name || strcmp(err->name, "BadConfiguration") != 0 || !text)
        return control_call_error_from(call, err);
    problems = json_array();
    message = strsep(&line, "\n");
    while (line)
        json_array_append_new(problems, json_string(strsep(&line, "\n")));
    return control_call_error(call, err->name, message, json_pack("{s:o}", "problems", problems));
}

/* While the configuration is tried. */
struct reload_call {
    struct endpoint *endpoint;
    struct control_call *call; /* a reference */
    uint64_t timeout_usec;
    bool block;
};

static int refuse_stopping(struct control_call *call) {
    return control_call_error(call, "Busy", "this latchd is being stopped and begins nothing any more", NULL);
}

static int reload(const struct reload_call *reload) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    struct service *service = reload->endpoint->service;
    _cleanup_err_ struct err err = {0};
    json_t *answer;

    if (reload->endpoint->control->manager->stopping)
        return refuse_stopping(reload->call);
    if (service_read_config(service, &changes, &err) < 0)
        return answer_mistakes(reload->call, &err);
    answer = json_pack("{s:b, s:o, s:o}", "fromFile", service->config_word != NULL, "countsNow",
                       to_strings(changes.live), "countsLater", to_strings(changes.later));
    service_handle(service, SERVICE_ON_RELOAD);
    if (!reload->block || !service_state_has_main(service->state) || service->state == SERVICE_STOPPING)
        return control_call_reply(reload->call, answer);
    return endpoint_wait(reload->endpoint, reload->call, GOAL_RELOADED, service->record.restarts,
                         reload->timeout_usec, answer);
}

static void on_config_checked(struct service *service, const struct err *err, void *userdata) {
    struct reload_call *call = userdata;

    (void) service;
    if (err)
        (void) control_call_error_from(call->call, err);
    else if (reload(call) < 0)
        (void) control_call_error(call->call, "Failed", "out of memory", NULL); /* unless it has its answer */
    control_call_unref(call->call);
    free(call);
}

/* latchd's own configuration first; only if that is good the daemon is told. */
static int method_reload(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    struct service *service = endpoint->service;
    struct reload_call *reload;
    uint64_t timeout_usec;
    const char *wrong;
    bool block;

    if (endpoint_read_waiting(parameters, &block, &timeout_usec, &wrong) < 0)
        return control_call_invalid_parameter(call, wrong);
    if (endpoint->control->manager->stopping)
        return refuse_stopping(call);
    if (!service->config_word && !service_state_has_main(service->state))
        return control_call_error(call, "NotRunning",
                                  "the service does not run, and was described by options of latchd: there is "
                                  "nothing to reload",
                                  NULL);
    endpoint_note_request(endpoint, call);
    reload = malloc(sizeof *reload);
    if (!reload)
        return -ENOMEM;
    *reload = (struct reload_call){.endpoint = endpoint,
                                   .call = control_call_ref(call),
                                   .timeout_usec = timeout_usec,
                                   .block = block};
    service_check_config(service, on_config_checked, reload);
    return 0;
}

/* Returns whether there still is one. */
static bool forget_old(struct answer_cache *cache, uint64_t now) {
    if (cache->answer && now - cache->made_usec >= LOOK_AGAIN_USEC) {
        json_decref(cache->answer);
        cache->answer = NULL;
    }
    return cache->answer;
}

/* Of a thousand services a thousand answers are ten times as much as all that is needed to serve them. */
static int on_forget(sd_event_source *source, uint64_t usec, void *userdata) {
    struct control *control = userdata;
    uint64_t now = now_usec(CLOCK_BOOTTIME);
    bool any = false;

    (void) usec;
    for (size_t i = 0; i < control->n_endpoints; i++) {
        any |= forget_old(&control->endpoints[i].status, now);
        any |= forget_old(&control->endpoints[i].probe, now);
        any |= forget_old(&control->endpoints[i].limits, now);
        any |= forget_old(&control->endpoints[i].sockets, now);
    }
    if (!any || sd_event_source_set_time(source, now + LOOK_AGAIN_USEC) < 0 ||
        sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) < 0)
        control->forget = sd_event_source_disable_unref(source);
    return 0;
}

int endpoint_answer_look(struct control_call *call, struct answer_cache *cache,
                         json_t *(*look)(struct endpoint *), struct endpoint *endpoint) {
    struct control *control = endpoint->control;
    uint64_t now = now_usec(CLOCK_BOOTTIME);
    json_t *answer = NULL;

    if (!control_call_is_privileged(call) && forget_old(cache, now))
        answer = json_incref(cache->answer);
    else {
        answer = look(endpoint);
        if (!answer)
            return control_call_error(call, "Failed",
                                      "it could not be looked at for want of resources", NULL);
    }
    if (!control_call_is_privileged(call) && !cache->answer &&
        (control->forget || sd_event_add_time(control->manager->event, &control->forget, CLOCK_BOOTTIME,
                                              now + LOOK_AGAIN_USEC, 0, on_forget, control) >= 0)) {
        cache->answer = json_incref(answer);
        cache->made_usec = now;
    }
    return control_call_reply(call, answer);
}

static json_t *look_at_status(struct endpoint *endpoint) {
    return json_pack("{s:[o]}", "services", service_status_to_json(endpoint->service, true));
}

static json_t *look_at_locks(struct endpoint *endpoint) {
    struct known_main known = service_known_main(endpoint->service);
    _cleanup_inspection_ struct inspection inspection = {0};

    if (service_inspect(endpoint->service->config, &known, INSPECT_EXPLAIN, &inspection, NULL) < 0)
        return NULL;
    return json_pack("{s:o}", "locks", inspection_to_json(&inspection, endpoint->service->config->name));
}

static int method_get_status(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    json_t *locks = json_object_get(parameters, "locks");

    if (locks && !json_is_boolean(locks) && !json_is_null(locks))
        return control_call_invalid_parameter(call, "locks");
    if (json_is_false(locks))
        return control_call_reply(
            call, json_pack("{s:[o]}", "services", service_status_to_json(endpoint->service, false)));
    return endpoint_answer_look(call, &endpoint->status, look_at_status, endpoint);
}

static int method_probe(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;

    (void) parameters;
    return endpoint_answer_look(call, &endpoint->probe, look_at_locks, endpoint);
}

static const struct control_method methods[] = {
    {"GetStatus", false, method_get_status},
    {"Start", true, method_start},
    {"Stop", true, method_stop},
    {"Restart", true, method_restart},
    {"Reload", true, method_reload},
    {"Probe", false, method_probe},
    {"Clear", true, endpoint_clear},
    {"GetLimits", false, endpoint_get_limits},
    {"SetLimits", true, endpoint_set_limits},
    {"GetSockets", false, endpoint_get_sockets},
    {"Kill", true, endpoint_kill},
    {"Reexec", true, endpoint_reexec},
};

static const struct control_interface interface = {
    .name = "io.latchd.Supervisor",
    .description = control_interface_text,
    .methods = methods,
    .n_methods = ELEMENTSOF(methods),
    .version = PACKAGE_VERSION,
};

/* Some state changed: who waited for it is answered. */
static void on_change(struct service *service, void *userdata) {
    struct control *control = userdata;

    struct endpoint *endpoint = &control->endpoints[service->place];

    endpoint->status.made_usec = endpoint->probe.made_usec = endpoint->limits.made_usec =
        endpoint->sockets.made_usec = 0;
    endpoint_wake_waiting(endpoint);
}

int control_new(struct manager *manager, struct control **ret, struct err *err) {
    struct control *control = calloc(1, sizeof *control);

    if (!control || !(control->endpoints = calloc(manager->n_services + 1, sizeof *control->endpoints))) {
        free(control);
        return err_set(err, ENOMEM, "Failed", "out of memory");
    }
    control->manager = manager;
    for (size_t i = 0; i < manager->n_services; i++) {
        struct endpoint *endpoint = &control->endpoints[i];
        int r;

        *endpoint = (struct endpoint){.control = control, .service = manager->services[i]};
        control->n_endpoints++;
        r = endpoint_open(endpoint, &interface, err);
        if (r < 0) {
            control_free(control);
            return r;
        }
    }
    manager->on_change = on_change;
    manager->on_hand_over = control_hand_over;
    manager->on_change_userdata = control;
    *ret = control;
    return 0;
}

struct control *control_free(struct control *control) {
    if (!control)
        return NULL;
    control->manager->on_change = NULL;
    control->manager->on_hand_over = NULL;
    control_end_reexec(control);
    sd_event_source_disable_unref(control->forget);
    for (size_t i = 0; i < control->n_endpoints; i++) {
        endpoint_end_waiting(&control->endpoints[i]);
        endpoint_end_clearing(&control->endpoints[i]);
        json_decref(control->endpoints[i].status.answer);
        json_decref(control->endpoints[i].probe.answer);
        json_decref(control->endpoints[i].limits.answer);
        json_decref(control->endpoints[i].sockets.answer);
        control_server_free(control->endpoints[i].server);
    }
    free(control->endpoints);
    free(control);
    return NULL;
}
