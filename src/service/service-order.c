/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After= and Requires= at run time: who has to wait for whom, whom a request reaches beside the service that
 * it names, and what follows for a service whose neighbour changed. The table in state.c knows a service by
 * itself; what it is told, and when, is decided here where it has neighbours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/service-internal.h"

/* Only of services that have neighbours, or miss one. */
struct service_order {
    /* What it is to be told once those that come after it have ended: SERVICE_ON_STOP, SERVICE_ON_RESTART,
     * SERVICE_ON_UNMET; SERVICE_EVENT_MAX: nothing. */
    enum service_event pending;
    bool unmet;  /* what it requires was lost: it comes up again with that */
    bool told;   /* that it waits, this time */
    bool marked; /* while a request is spread */
    bool queued;
    struct service *next_queued;
};

static const struct order_links *links_of(const struct service *service) {
    return &service->manager->order.links[service->place];
}

static struct service *at(const struct service *service, const struct order_list *list, size_t i) {
    return service->manager->services[list->items[i]];
}

static bool is_up(const struct service *service) {
    return service->state == SERVICE_RUNNING || service->state == SERVICE_RELOADING;
}

/* Down for good, and nothing is about to change that. */
static bool is_lost(const struct service *service) {
    return service_is_down(service) && service->order->pending == SERVICE_EVENT_MAX;
}

/* On its way down. */
static bool is_ending(const struct service *service) {
    return service->order->pending != SERVICE_EVENT_MAX || service->state == SERVICE_STOPPING ||
           service->state == SERVICE_SWEEPING;
}

/* On its way up or down: whoever comes after it waits for the outcome, whatever that is. */
static bool is_changing(const struct service *service) {
    return is_ending(service) || service->state == SERVICE_WAITING || service->state == SERVICE_RECOVERING ||
           service->state == SERVICE_STARTING;
}

enum admission { ADMITTED, WAITS, UNMET };

/* Whether a start may go on. *ret_other: for whom it waits, or whom it lacks; *ret_key: the key that says
 * so. */
static enum admission admit(const struct service *service, const struct service **ret_other,
                            const char **ret_key) {
    const struct order_links *links = links_of(service);

    *ret_other = NULL;
    *ret_key = "Requires=";
    if (links->missing)
        return UNMET;
    for (size_t i = 0; i < links->requires.n; i++) {
        *ret_other = at(service, &links->requires, i);
        if (order_list_has(&links->after, links->requires.items[i]) && is_lost(*ret_other))
            return UNMET;
    }
    for (size_t i = 0; i < links->requires.n; i++) {
        *ret_other = at(service, &links->requires, i);
        if (order_list_has(&links->after, links->requires.items[i]) &&
            (!is_up(*ret_other) || is_ending(*ret_other)))
            return WAITS;
    }
    *ret_key = "After=";
    for (size_t i = 0; i < links->after.n; i++) {
        *ret_other = at(service, &links->after, i);
        if (is_changing(*ret_other))
            return WAITS;
    }
    return ADMITTED;
}

bool service_order_admits(const struct service *service) {
    const struct service *other;
    const char *key;

    return !service->order || admit(service, &other, &key) == ADMITTED;
}

/* Why a service is not up, in the words of a status: its own, or the state at least. */
static int describe_other(const struct service *other, const char *before, const char *key, char **ret) {
    const char *why = other->blocked.message                 ? other->blocked.message
                      : service_state_has_main(other->state) ? NULL
                                                             : other->failure.message;

    return asprintf(ret, "%s %s (%s), which is %s%s%s", before, other->config->name, key,
                    service_state_shown(other->state), why ? ": " : "", why ? why : "");
}

char *service_order_text(const struct service *service) {
    const struct service *other;
    const char *key;
    char *text;

    if (!service->order)
        return NULL;
    if (service->order->pending != SERVICE_EVENT_MAX) {
        const struct order_links *links = links_of(service);

        for (size_t i = 0; i < links->before.n; i++)
            if (is_ending(at(service, &links->before, i)))
                return asprintf(&text, "is to be %s once %s has ended, which comes after it",
                                service->order->pending == SERVICE_ON_RESTART ? "restarted" : "stopped",
                                at(service, &links->before, i)->config->name) < 0
                           ? NULL
                           : text;
        return NULL;
    }
    if (service->state == SERVICE_WAITING && admit(service, &other, &key) == WAITS)
        return describe_other(other, "waits for", key, &text) < 0 ? NULL : text;
    if (service->order->unmet && service_is_down(service) && service->failure.message)
        return strdup(service->failure.message);
    return NULL;
}

bool service_order_is_pending(const struct service *service) {
    return service->order && service->order->pending != SERVICE_EVENT_MAX;
}

bool service_order_is_unmet(const struct service *service) {
    return service->order && service->order->unmet;
}

bool service_order_resume_unmet(struct service *service) {
    const struct order_list *requires = service->order ? &links_of(service)->requires : NULL;
    const char *name;

    if (!requires || requires->n == 0 || links_of(service)->missing)
        return false;
    name = at(service, requires, 0)->config->name;
    service->order->unmet = true;
    err_done(&service->failure);
    (void) err_set(&service->failure, ECANCELED, "Unmet",
                   "%s, which it requires (Requires=), was down before this latchd began; it is started together with "
                   "that: latchctl start %s",
                   name, name);
    service_order_changed(service); /* that may be up by now */
    return true;
}

const struct service *service_order_waits_for(const struct service *service) {
    const struct service *other;
    const char *key;

    return service->order && service->state == SERVICE_WAITING && admit(service, &other, &key) == WAITS
               ? other
               : NULL;
}

/* ---- telling ---- */

static void tell(struct service *service, enum event_id id, const char *other, const char *key, char *text) {
    struct event_fields fields = {.n = 0};

    if (!text)
        return;
    event_field_set(&fields, "LATCHD_OTHER_SERVICE", other);
    event_field_set(&fields, "LATCHD_KEY", key);
    service_emit(service, id, &fields, text);
    free(text);
}

void service_order_wait(struct service *service) {
    const struct service *other;
    const char *key;

    if (service->order && !service->order->told && admit(service, &other, &key) == WAITS) {
        char *text;

        service->order->told = true;
        if (asprintf(&text, "Waiting for %s (%s), which is %s", other->config->name, key,
                     other->order->pending != SERVICE_EVENT_MAX ? "about to be stopped or restarted"
                                                                :  service_state_shown(other->state)) >= 0)
            tell(service, EVENT_SERVICE_WAITING, other->config->name, key, text);
    }
}

static const char *describe_loss(const struct service *other) {
    return !service_is_down(other)          ? "is being stopped"
           : other->state == SERVICE_FAILED ? "has failed"
                                            : "has ended";
}

/* Notes why it is not to run. other NULL: it is not among the services of this latchd. */
static void set_unmet(struct service *service, const struct service *other) {
    const char *name = other ? other->config->name : links_of(service)->missing;
    char *text;

    service->order->unmet = true;
    err_done(&service->failure);
    if (other)
        (void) err_set(
            &service->failure, ECANCELED, "Unmet",
            "%s, which it requires (Requires=), %s; it is started together with that: latchctl start "
            "%s",
            name, describe_loss(other), name);
    else
        (void) err_set(
            &service->failure, ENOENT, "Unmet",
            "%s, which it requires (Requires=), is not served by this latchd: name it on the command "
            "line beside %s, or take it out of Requires=",
            name, service->config->name);
    if (asprintf(&text, "%s: %s",
                 service_is_down(service) || service->state == SERVICE_WAITING ? "Not started" : "Stopping",
                 err_text(&service->failure)) >= 0)
        tell(service, EVENT_REQUIREMENT_UNMET, name, "Requires=", text);
}

/* ---- what follows for one service ---- */

/* Tells it what it is to be told, unless somebody who comes after it has to end before. */
static void settle(struct service *service) {
    enum service_event pending = service->order->pending;
    const struct order_links *links = links_of(service);

    if (pending == SERVICE_EVENT_MAX)
        return;
    for (size_t i = 0; i < links->before.n; i++)
        if (is_ending(at(service, &links->before, i)))
            return;
    service->order->pending = SERVICE_EVENT_MAX;
    service_handle(service, pending);
    service_order_changed(service); /* be its state the same: nothing is pending any more */
}

/* Marks what can be reached by one of the two lists of Requires=. */
static void spread(struct service *service, bool backward) {
    const struct order_links *links = links_of(service);
    const struct order_list *list = backward ? &links->required_by : &links->requires;

    service->order->marked = true;
    for (size_t i = 0; i < list->n; i++)
        if (!at(service, list, i)->order->marked)
            spread(at(service, list, i), backward);
}

/* Ends a service and all that require it, those that come after first. cause: what it lost, with
 * SERVICE_ON_UNMET. */
static void pull_down(struct service *service, enum service_event event, const struct service *cause) {
    struct manager *manager = service->manager;
    const struct order *order = &manager->order;

    spread(service, true);
    for (size_t i = 0; i < order->n; i++) {
        struct service *other = manager->services[i];
        char *text;

        if (!other->order || !other->order->marked)
            continue;
        if (other != service && (service_is_down(other) || other->state == SERVICE_SWEEPING)) {
            other->order->marked = false;
            continue;
        }
        other->order->pending = event;
        other->order->unmet = false;
        if (event == SERVICE_ON_UNMET)
            set_unmet(other, other == service ? cause : service);
        else if (other != service &&
                 asprintf(&text, "%s with %s, which it requires (Requires=)",
                          event == SERVICE_ON_STOP ? "Stopping" : "Restarting", service->config->name) >= 0)
            tell(other, EVENT_FOLLOWS_REQUIRED, service->config->name, "Requires=", text);
    }
    for (size_t i = order->n; i-- > 0;) {
        struct service *other = manager->services[order->sequence[i]];

        if (!other->order || !other->order->marked)
            continue;
        other->order->marked = false;
        settle(other);
    }
}

/* Starts what a service requires, and the service itself; those that come before first. */
static void pull_up(struct service *service, bool itself) {
    struct manager *manager = service->manager;
    const struct order *order = &manager->order;

    spread(service, false);
    for (size_t i = 0; i < order->n; i++) {
        struct service *other = manager->services[order->sequence[i]];

        if (!other->order || !other->order->marked)
            continue;
        other->order->marked = false;
        if (other == service && !itself)
            continue;
        other->order->pending = SERVICE_EVENT_MAX;
        other->order->unmet = false;
        service_order_changed(other);
        restart_forget(&other->history);
        service_handle(other, SERVICE_ON_START);
    }
}

void service_ask(struct service *service, enum service_event event) {
    if (event == SERVICE_ON_START || event == SERVICE_ON_RESTART)
        restart_forget(&service->history); /* somebody has seen to it */
    if (!service->order) {
        service_handle(service, event);
        return;
    }
    if (event == SERVICE_ON_START)
        pull_up(service, true);
    else if (event == SERVICE_ON_STOP)
        pull_down(service, event, NULL);
    else if (event == SERVICE_ON_RESTART) {
        pull_up(service, false);
        pull_down(service, event, NULL);
    } else
        service_handle(service, event);
}

/* The first of what it requires that is down for good; NULL: none. */
static const struct service *find_lost(const struct service *service) {
    const struct order_list *requires = &links_of(service)->requires;

    for (size_t i = 0; i < requires->n; i++)
        if (is_lost(at(service, requires, i)))
            return at(service, requires, i);
    return NULL;
}

static bool requires_are_up(const struct service *service) {
    const struct order_list *requires = &links_of(service)->requires;

    for (size_t i = 0; i < requires->n; i++)
        if (!is_up(at(service, requires, i)))
            return false;
    return !links_of(service)->missing;
}

/* A neighbour's state changed, or its own did. */
static void look_again(struct service *service) {
    const struct service *other;
    const char *key;

    if (service->order->pending != SERVICE_EVENT_MAX) {
        settle(service);
        return;
    }
    if (service->state == SERVICE_WAITING) {
        switch (admit(service, &other, &key)) {
        case ADMITTED:
            service_handle(service, SERVICE_ON_TURN);
            break;
        case UNMET:
            set_unmet(service, other);
            service_handle(service, SERVICE_ON_UNMET);
            break;
        default: /* who waits for it wants to know what it waits for now */
            service_order_wait(service);
            manager_service_changed(service->manager, service);
        }
    } else if (service_is_down(service)) {
        if (service->order->unmet && requires_are_up(service) && !service->manager->stopping)
            service_ask(service, SERVICE_ON_START);
    } else if (!is_ending(service) && (other = find_lost(service))) {
        /* Those that require this one go first where they come after it. */
        pull_down(service, SERVICE_ON_UNMET, other);
    }
}

/* ---- the plan, and the services whose turn it is to be looked at ---- */

static void enqueue(struct service *service) {
    struct manager *manager = service->manager;

    if (service->order->queued)
        return;
    service->order->queued = true;
    service->order->next_queued = manager->order_queue;
    manager->order_queue = service;
    (void) sd_event_source_set_enabled(manager->order_source, SD_EVENT_ONESHOT);
}

void service_order_changed(struct service *service) {
    const struct order_links *links;
    const struct order_list *lists[4];

    if (!service->order)
        return;
    if (service->state != SERVICE_WAITING)
        service->order->told = false;
    links = links_of(service);
    lists[0] = &links->after;
    lists[1] = &links->before;
    lists[2] = &links->requires;
    lists[3] = &links->required_by;
    enqueue(service);
    for (size_t i = 0; i < ELEMENTSOF(lists); i++)
        for (size_t j = 0; j < lists[i]->n; j++)
            enqueue(at(service, lists[i], j));
}

/* Not from within the change of a state, where one change would come back into another. What changes here is
 * looked at in the next turn of the loop. */
static int on_queue(sd_event_source *source, void *userdata) {
    struct manager *manager = userdata;
    struct service *next, *queue = manager->order_queue;

    (void) source;
    manager->order_queue = NULL;
    for (struct service *service = queue; service; service = next) {
        next = service->order->next_queued;
        service->order->queued = false;
        look_again(service);
    }
    return 0;
}

void service_order_stop_all(struct manager *manager) {
    const struct order *order = &manager->order;

    for (size_t i = manager->n_services; i-- > 0;) {
        struct service *service = manager->services[i];

        if (!service->order) {
            service_handle(service, SERVICE_ON_STOP);
            continue;
        }
        service->order->pending = SERVICE_ON_STOP;
        service->order->unmet = false;
    }
    for (size_t i = order->links ? order->n : 0; i-- > 0;)
        if (manager->services[order->sequence[i]]->order)
            settle(manager->services[order->sequence[i]]);
}

void service_order_start_all(struct manager *manager) {
    const struct order *order = &manager->order;

    for (size_t i = 0; i < manager->n_services; i++) {
        struct service *service = manager->services[order->links ? order->sequence[i] : i];

        if (!service->resumed)
            service_handle(service, SERVICE_ON_START);
    }
}

static bool has_neighbours(const struct order_links *links) {
    return links->after.n > 0 || links->before.n > 0 || links->requires.n > 0 || links->required_by.n > 0 ||
           links->missing;
}

/* Gives each service that needs one its place in the plan; what is pending stays. */
static int take_places(struct manager *manager, const struct order *order) {
    for (size_t i = 0; order->links && i < order->n; i++) {
        struct service *service = manager->services[i];

        if (service->order || !has_neighbours(&order->links[i]))
            continue;
        service->order = calloc(1, sizeof *service->order);
        if (!service->order)
            return -ENOMEM;
        *service->order = (struct service_order){.pending = SERVICE_EVENT_MAX};
    }
    return 0;
}

int manager_plan_order(struct manager *manager, struct err *err) {
    _cleanup_free_ struct order_wish *wishes = calloc(manager->n_services + 1, sizeof *wishes);
    _cleanup_order_ struct order order = {0};
    int r;

    if (!wishes)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    for (size_t i = 0; i < manager->n_services; i++)
        wishes[i] = order_wish_of(manager->services[i]->config);
    r = order_plan(wishes, manager->n_services, &order, err);
    if (r < 0)
        return r;
    if (!manager->order_source && order.links) {
        r = sd_event_add_defer(manager->event, &manager->order_source, on_queue, manager);
        if (r >= 0)
            r = sd_event_source_set_enabled(manager->order_source, SD_EVENT_OFF);
        if (r < 0)
            return err_set(err, -r, "Failed", "cannot set up the order of services: %m");
    }
    r = take_places(manager, &order);
    if (r < 0)
        return err_set(err, -r, "Failed", "out of memory");
    if (!order.links && manager->order.links) { /* those that had neighbours may look, and find none */
        order.links = calloc(order.n, sizeof *order.links);
        order.sequence = calloc(order.n, sizeof *order.sequence);
        if (!order.links || !order.sequence)
            return err_set(err, ENOMEM, "Failed", "out of memory");
        for (unsigned i = 0; i < order.n; i++)
            order.sequence[i] = i;
    }
    order_done(&manager->order);
    manager->order = order;
    order = (struct order){0};
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->order)
            enqueue(manager->services[i]);
    return 0;
}

void service_order_free(struct service *service) {
    free(service->order);
    service->order = NULL;
}
