/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/methods.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "control/interface-text.h"
#include "recovery/inspect.h"
#include "service/service.h"
#include "service/status.h"

/* What a call that waits is waiting for. */
enum goal { GOAL_UP, GOAL_DOWN };

struct waiting_call {
    struct control_call *call; /* a reference */
    struct endpoint *endpoint;
    enum goal goal;
    uint64_t restarts_before; /* GOAL_UP: a back-off that began after the call is a failure */
    sd_event_source *timer;
    struct waiting_call *next;
};

struct clearing;

/* For how long an answer to somebody unprivileged is good enough for the next one. */
#define LOOK_AGAIN_USEC (200 * USEC_PER_MSEC)

struct answer_cache {
    json_t *answer; /* owned; NULL: none */
    uint64_t made_usec;
};

/* One service's socket. */
struct endpoint {
    struct control *control;
    struct service *service;
    struct control_server *server;
    struct waiting_call *waiting;
    struct clearing *clearing;
    struct answer_cache status, probe;
};

struct control {
    struct manager *manager;
    struct endpoint *endpoints;
    size_t n_endpoints;
};

static void unlink_waiting(struct waiting_call *waiting) {
    struct waiting_call **link = &waiting->endpoint->waiting;

    while (*link && *link != waiting)
        link = &(*link)->next;
    if (*link)
        *link = waiting->next;
}

static void end_waiting(struct waiting_call *waiting) {
    unlink_waiting(waiting);
    control_call_set_gone(waiting->call, NULL, NULL);
    sd_event_source_disable_unref(waiting->timer);
    control_call_unref(waiting->call);
    free(waiting);
}

static void on_gone(struct control_call *call, void *userdata) {
    (void) call;
    end_waiting(userdata);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    struct waiting_call *waiting = userdata;
    const struct service *service = waiting->endpoint->service;
    _cleanup_free_ char *text = NULL;

    (void) source;
    (void) usec;
    if (asprintf(&text, "service %s is still %s; it goes on: see latchctl status %s", service->config->name,
                 service_state_shown(service->state), service->config->name) < 0)
        text = NULL;
    (void) control_call_error(waiting->call, "Timeout", text, NULL);
    end_waiting(waiting);
    return 0;
}

/* The holders of whatever is held, for the error Held. */
static json_t *list_holders(const struct service *service) {
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
static int answer_error(struct control_call *call, const struct service *service, const struct err *err) {
    bool held = err->name && strcmp(err->name, "Held") == 0;

    return control_call_error(call, err->name ? err->name : "Failed", err_text(err),
                              held ? json_pack("{s:o}", "holders", list_holders(service)) : NULL);
}

static int answer_blocked(struct control_call *call, const struct service *service) {
    struct err blocked = service->blocked; /* borrowed */

    if (!blocked.name || strcmp(blocked.name, "Held") != 0)
        blocked.name = "Blocked";
    return answer_error(call, service, &blocked);
}

static int answer_failed(struct control_call *call, const struct service *service) {
    _cleanup_free_ char *text = NULL;
    char how[96];

    if (service->failure.message)
        text = strdup(service->failure.message);
    else if (asprintf(&text, "the daemon of service %s %s; its own messages: latchctl logs %s",
                      service->config->name, exit_status_describe(&service->last_exit, how, sizeof how),
                      service->config->name) < 0)
        text = NULL;
    return control_call_error(call, "Failed", text, NULL);
}

/* True when the call has been answered. */
static bool try_answer(struct control_call *call, const struct service *service, enum goal goal,
                       uint64_t restarts_before) {
    if (goal == GOAL_DOWN) {
        /* Down, or down and asked to start again by somebody else. */
        if (service_state_has_main(service->state) || service->state == SERVICE_SWEEPING)
            return false;
        (void) control_call_reply(call, NULL);
        return true;
    }
    switch (service->state) {
    case SERVICE_RUNNING:
        (void) control_call_reply(call, NULL);
        return true;
    case SERVICE_BLOCKED:
        if (!service->blocked.message)
            return false;
        (void) answer_blocked(call, service);
        return true;
    case SERVICE_BACKOFF:
        if (service->record.restarts == restarts_before)
            return false;
        (void) answer_failed(call, service);
        return true;
    case SERVICE_FAILED:
        (void) answer_failed(call, service);
        return true;
    case SERVICE_STOPPED:
        (void) control_call_error(call, "Failed", "it was stopped meanwhile", NULL);
        return true;
    default:
        return false;
    }
}

/* "block" and "timeoutUSec". */
static int read_waiting(json_t *parameters, bool *ret_block, uint64_t *ret_timeout_usec,
                        const char **ret_wrong) {
    json_t *block = json_object_get(parameters, "block"),
           *timeout = json_object_get(parameters, "timeoutUSec");

    if (block && !json_is_boolean(block) && !json_is_null(block)) {
        *ret_wrong = "block";
        return -EINVAL;
    }
    if (timeout && !json_is_null(timeout) && (!json_is_integer(timeout) || json_integer_value(timeout) < 0)) {
        *ret_wrong = "timeoutUSec";
        return -EINVAL;
    }
    *ret_block = !json_is_false(block);
    *ret_timeout_usec = json_is_integer(timeout) ? (uint64_t) json_integer_value(timeout) : USEC_INFINITY;
    return 0;
}

/* Answers when the goal is reached. */
static int wait_for(struct endpoint *endpoint, struct control_call *call, enum goal goal,
                    uint64_t restarts_before, uint64_t timeout_usec) {
    struct waiting_call *waiting;
    int r;

    if (try_answer(call, endpoint->service, goal, restarts_before))
        return 0;
    waiting = calloc(1, sizeof *waiting);
    if (!waiting)
        return -ENOMEM;
    *waiting = (struct waiting_call){.call = control_call_ref(call),
                                     .endpoint = endpoint,
                                     .goal = goal,
                                     .restarts_before = restarts_before,
                                     .next = endpoint->waiting};
    endpoint->waiting = waiting;
    control_call_set_gone(call, on_gone, waiting);
    if (timeout_usec == USEC_INFINITY)
        return 0;
    r = sd_event_add_time_relative(endpoint->control->manager->event, &waiting->timer, CLOCK_BOOTTIME,
                                   timeout_usec, 1, on_timeout, waiting);
    if (r < 0)
        end_waiting(waiting);
    return r < 0 ? r : 0;
}

static void note_request(struct endpoint *endpoint, struct control_call *call) {
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

    if (read_waiting(parameters, &block, &timeout_usec, &wrong) < 0)
        return control_call_invalid_parameter(call, wrong);
    if (endpoint->control->manager->stopping && event != SERVICE_ON_STOP)
        return control_call_error(call, "Busy", "this latchd is being stopped and begins nothing any more",
                                  NULL);
    note_request(endpoint, call);
    service_handle(endpoint->service, event);
    if (!block)
        return control_call_reply(call, NULL);
    return wait_for(endpoint, call, goal, restarts_before, timeout_usec);
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

static int method_reload(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;

    if (!service_state_has_main(endpoint->service->state))
        return control_call_error(call, "NotRunning", "the service does not run: there is nothing to reload",
                                  NULL);
    return change(endpoint, call, parameters, SERVICE_ON_RELOAD, GOAL_UP);
}

/* A look at the locks costs a sweep over /proc. Whoever may only look gets the answer of a moment ago, so
 * that many who ask do not keep the supervisor from its work. */
static int answer_look(struct control_call *call, struct answer_cache *cache,
                       json_t *(*look)(struct endpoint *), struct endpoint *endpoint) {
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (!cache->answer || control_call_is_privileged(call) || now - cache->made_usec >= LOOK_AGAIN_USEC) {
        json_decref(cache->answer);
        cache->answer = look(endpoint);
        cache->made_usec = now;
    }
    if (!cache->answer)
        return control_call_error(call, "Failed", "the locks could not be looked at for want of resources",
                                  NULL);
    return control_call_reply(call, json_incref(cache->answer));
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
    return answer_look(call, &endpoint->status, look_at_status, endpoint);
}

static int method_probe(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;

    (void) parameters;
    return answer_look(call, &endpoint->probe, look_at_locks, endpoint);
}

/* Clearing goes on until the way is free or blocked: a leftover takes its time to obey SIGTERM. */
struct clearing {
    struct endpoint *endpoint;
    struct control_call *call; /* a reference */
    struct recovery recovery;
    bool dry_run;
    sd_event_source *io, *timer;
    struct clearing *next;
};

static void end_clearing(struct clearing *clearing) {
    struct clearing **link = &clearing->endpoint->clearing;

    while (*link && *link != clearing)
        link = &(*link)->next;
    if (*link)
        *link = clearing->next;
    sd_event_source_disable_unref(clearing->io);
    sd_event_source_disable_unref(clearing->timer);
    recovery_done(&clearing->recovery);
    control_call_unref(clearing->call);
    free(clearing);
}

static int on_clearing_io(sd_event_source *source, int fd, uint32_t events, void *userdata);
static int on_clearing_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* One round. The service may have been started meanwhile: then the rest is its own recovery's. */
static void clear_step(struct clearing *clearing) {
    struct service *service = clearing->endpoint->service;
    struct recovery_host host = service_recovery_host(service);
    sd_event *event = clearing->endpoint->control->manager->event;
    _cleanup_err_ struct err err = {0};
    enum recover_outcome outcome = RECOVERY_CLEAR;
    uint64_t next_usec = USEC_INFINITY;
    int r = 0;

    host.dry_run = clearing->dry_run;
    host.on_request = true;
    if (!service_state_has_main(service->state))
        r = recovery_step(&clearing->recovery, &host, &outcome, &next_usec, NULL, &err);
    if (r < 0 || outcome == RECOVERY_BLOCKED) {
        (void) answer_error(clearing->call, service, &err);
        end_clearing(clearing);
        return;
    }
    if (outcome == RECOVERY_WORKING && !clearing->dry_run) {
        clearing->timer = sd_event_source_disable_unref(clearing->timer);
        if (!clearing->io)
            r = sd_event_add_io(event, &clearing->io, clearing->recovery.wait_fd, EPOLLIN, on_clearing_io,
                                clearing);
        if (r >= 0 && next_usec != USEC_INFINITY)
            r = sd_event_add_time(event, &clearing->timer, CLOCK_BOOTTIME, next_usec, 1, on_clearing_timer,
                                  clearing);
        if (r >= 0)
            return;
    }
    (void) control_call_reply(
        clearing->call,
        json_pack("{s:o}", "actions",
                  clearing->recovery.actions ? json_incref(clearing->recovery.actions) : json_array()));
    end_clearing(clearing);
    if (service->state == SERVICE_BLOCKED || service->state == SERVICE_RECOVERING)
        service_handle(service, SERVICE_ON_TIMEOUT); /* what was in the way may be gone */
}

static int on_clearing_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    clear_step(userdata);
    return 0;
}

static int on_clearing_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    clear_step(userdata);
    return 0;
}

static int method_clear(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    json_t *dry_run = json_object_get(parameters, "dryRun");
    struct clearing *clearing;
    int r;

    if (dry_run && !json_is_boolean(dry_run) && !json_is_null(dry_run))
        return control_call_invalid_parameter(call, "dryRun");
    if (service_state_has_main(endpoint->service->state))
        return control_call_error(call, "Held",
                                  "the service runs: its locks are its own and nothing is cleared",
                                  json_pack("{s:o}", "holders", list_holders(endpoint->service)));
    clearing = calloc(1, sizeof *clearing);
    if (!clearing)
        return -ENOMEM;
    r = recovery_init(&clearing->recovery);
    if (r < 0) {
        free(clearing);
        return r;
    }
    note_request(endpoint, call);
    clearing->endpoint = endpoint;
    clearing->call = control_call_ref(call);
    clearing->dry_run = json_is_true(dry_run);
    clearing->next = endpoint->clearing;
    endpoint->clearing = clearing;
    clear_step(clearing);
    return 0;
}

static const struct control_method methods[] = {
    {"GetStatus", false, method_get_status}, {"Start", true, method_start},   {"Stop", true, method_stop},
    {"Restart", true, method_restart},       {"Reload", true, method_reload}, {"Probe", false, method_probe},
    {"Clear", true, method_clear},
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

    for (size_t i = 0; i < control->n_endpoints; i++) {
        struct waiting_call *next;

        if (control->endpoints[i].service != service)
            continue;
        control->endpoints[i].status.made_usec = control->endpoints[i].probe.made_usec = 0;
        for (struct waiting_call *waiting = control->endpoints[i].waiting; waiting; waiting = next) {
            next = waiting->next;
            if (try_answer(waiting->call, service, waiting->goal, waiting->restarts_before))
                end_waiting(waiting);
        }
    }
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
        char name[NAME_MAX + 1];
        int r;

        *endpoint = (struct endpoint){.control = control, .service = manager->services[i]};
        control->n_endpoints++;
        snprintf(name, sizeof name, "%s.sock", endpoint->service->config->name);
        r = control_server_new(manager->event, manager->runtime_dir_fd, name, &interface, endpoint,
                               &endpoint->server, err);
        if (r < 0) {
            control_free(control);
            return r;
        }
    }
    manager->on_change = on_change;
    manager->on_change_userdata = control;
    *ret = control;
    return 0;
}

struct control *control_free(struct control *control) {
    if (!control)
        return NULL;
    control->manager->on_change = NULL;
    for (size_t i = 0; i < control->n_endpoints; i++) {
        while (control->endpoints[i].waiting)
            end_waiting(control->endpoints[i].waiting);
        while (control->endpoints[i].clearing)
            end_clearing(control->endpoints[i].clearing);
        json_decref(control->endpoints[i].status.answer);
        json_decref(control->endpoints[i].probe.answer);
        control_server_free(control->endpoints[i].server);
    }
    free(control->endpoints);
    free(control);
    return NULL;
}
