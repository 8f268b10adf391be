/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that are answered when a service has got where it was told to go. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/value.h"
#include "control/endpoint.h"

struct waiting_call {
    struct control_call *call; /* a reference */
    struct endpoint *endpoint;
    enum goal goal;
    uint64_t restarts_before; /* GOAL_UP: a back-off that began after the call is a failure */
    json_t *answer;           /* owned; NULL: {} */
    sd_event_source *timer;
    struct waiting_call *next;
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
    json_decref(waiting->answer);
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

static int answer_blocked(struct control_call *call, const struct service *service) {
    struct err blocked = service->blocked; /* borrowed */

    if (!blocked.name || strcmp(blocked.name, "Held") != 0)
        blocked.name = "Blocked";
    return endpoint_answer_error(call, service, &blocked);
}

static int answer_failed(struct control_call *call, const struct service *service) {
    _cleanup_free_ char *text = NULL;
    char how[96];

    if (service->failure.message && strcmp(service->failure.name, "Exited") != 0)
        text = strdup(service->failure.message);
    else if (asprintf(&text, "%s%s%s; its own messages: latchctl logs %s", service->config->name,
                      service->failure.message ? ": " : ": the daemon ",
                      service->failure.message ? service->failure.message
                                               : exit_status_describe(&service->last_exit, how, sizeof how),
                      service->config->name) < 0)
        text = NULL;
    return control_call_error(call, "Failed", text, NULL);
}

/* Whoever it waits for has had a try, and it failed: that may take for ever. */
static bool answer_waiting(struct control_call *call, const struct service *service) {
    const struct service *other = service_order_waits_for(service);
    _cleanup_free_ char *text = NULL, *why = NULL;

    if (!other || (other->state != SERVICE_BLOCKED && other->state != SERVICE_BACKOFF))
        return false;
    why = service_order_text(service);
    if (asprintf(&text, "service %s %s; it goes on by itself when that is up", service->config->name,
                 why ? why : "waits") < 0)
        text = NULL;
    (void) control_call_error(call, "Failed", text, NULL);
    return true;
}

/* Who was left running is named; mostly that is nobody. Where somebody else has asked for a start meanwhile,
 * it is that which sees to them. */
static void answer_stopped(struct control_call *call, struct service *service) {
    json_t *remaining = service_is_down(service) ? service_remaining_to_json(service) : NULL;

    if (json_array_size(remaining) > 0)
        (void) control_call_reply(call, json_pack("{s:O}", "remaining", remaining));
    else
        (void) control_call_reply(call, NULL);
    json_decref(remaining);
}

/* True when the call has been answered. */
static bool try_answer(struct control_call *call, struct service *service, enum goal goal,
                       uint64_t restarts_before, json_t *answer) {
    _cleanup_free_ char *text = NULL;

    if (service_order_is_pending(service))
        return false;
    if (goal == GOAL_DOWN) {
        /* Down, or down and asked to start again by somebody else. */
        if (service_state_has_main(service->state) || service->state == SERVICE_SWEEPING)
            return false;
        answer_stopped(call, service);
        return true;
    }
    switch (service->state) {
    case SERVICE_RUNNING:
        if (goal == GOAL_RELOADED && service->reload_failure.name)
            (void) control_call_error_from(call, &service->reload_failure);
        else
            (void) control_call_reply(call, answer ? json_incref(answer) : NULL);
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
    case SERVICE_WAITING:
        return answer_waiting(call, service);
    case SERVICE_STOPPED:
        if (service->ended_by_itself && !service_order_is_unmet(service)) {
            (void) answer_failed(call, service);
            return true;
        }
        text = service_order_text(service);
        (void) control_call_error(call, "Failed", text ? text : "it was stopped meanwhile", NULL);
        return true;
    default:
        return false;
    }
}

/* "block" and "timeoutUSec". */
int endpoint_read_waiting(json_t *parameters, bool *ret_block, uint64_t *ret_timeout_usec,
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
int endpoint_wait(struct endpoint *endpoint, struct control_call *call, enum goal goal,
                  uint64_t restarts_before, uint64_t timeout_usec, json_t *answer) {
    struct waiting_call *waiting;
    int r;

    if (try_answer(call, endpoint->service, goal, restarts_before, answer)) {
        json_decref(answer);
        return 0;
    }
    waiting = calloc(1, sizeof *waiting);
    if (!waiting) {
        json_decref(answer);
        return -ENOMEM;
    }
    *waiting = (struct waiting_call){.call = control_call_ref(call),
                                     .endpoint = endpoint,
                                     .goal = goal,
                                     .restarts_before = restarts_before,
                                     .answer = answer,
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

void endpoint_wake_waiting(struct endpoint *endpoint) {
    struct waiting_call *next;

    for (struct waiting_call *waiting = endpoint->waiting; waiting; waiting = next) {
        next = waiting->next;
        if (try_answer(waiting->call, endpoint->service, waiting->goal, waiting->restarts_before, waiting->answer))
            end_waiting(waiting);
    }
}

void endpoint_end_waiting(struct endpoint *endpoint) {
    while (endpoint->waiting)
        end_waiting(endpoint->waiting);
}
