/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptors that the daemon has handed over (FDSTORE=1): kept while it is down between two starts,
 * given back with the next one, and kept by systemd too, so that they survive us. */
#include <stdio.h>
#include <string.h>

#include "base/strlist.h"
#include "base/text.h"
#include "base/closer.h"
#include "notify/message.h"
#include "notify/store.h"
#include "notify/upstream.h"
#include "service/service-internal.h"

/* SERVICE/NAME, for one store above us has the descriptors of all our services. A colon may be in a service's
 * name and not in a descriptor's. False: that is too long for a name. */
static bool upstream_name(const struct service *service, const char *name,
                          char ret[static NOTIFY_FD_NAME_MAX]) {
    int n = snprintf(ret, NOTIFY_FD_NAME_MAX, "%s/%s", service->config->name, name);

    for (char *p = ret; *p; p++)
        if (*p == ':')
            *p = '!';
    return n > 0 && n < NOTIFY_FD_NAME_MAX;
}

static void tell_stored(struct service *service, const char *name, int fd, bool poll) {
    char full[NOTIFY_FD_NAME_MAX], text[NOTIFY_FD_NAME_MAX + 64];

    if (!service->manager->upstream || !upstream_name(service, name, full))
        return;
    snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s%s", full, poll ? "" : "\nFDPOLL=0");
    if (notify_upstream_send(service->manager->upstream, text, fd) < 0)
        event_debug(service->manager->log, "%s: systemd could not be given the descriptor %s",
                    service->config->name, name);
}

static void tell_removed(struct service *service, const char *name) {
    char full[NOTIFY_FD_NAME_MAX], text[NOTIFY_FD_NAME_MAX + 64];

    if (!service->manager->upstream || !upstream_name(service, name, full))
        return;
    snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", full);
    (void) notify_upstream_send(service->manager->upstream, text, -EBADF);
}

static struct notify_store *get_store(struct service *service) {
    if (service->store)
        return service->store;
    service->store = calloc(1, sizeof *service->store);
    if (!service->store)
        return NULL;
    service->store->event = service->manager->event;
    service->store->closer = &service->manager->closer;
    return service->store;
}

const char *service_store_take(struct service *service, int fds[], size_t n, const char *name, bool poll) {
    struct notify_store *store = get_store(service);
    const char *objection = NULL;

    for (size_t i = 0; i < n; i++) {
        const char *why = notify_store_objection(service->manager->proc_fd, fds[i]);
        int r = why || !store ? -EPERM : notify_store_add(store, fds[i], name, poll);

        if (r == 1) {
            tell_stored(service, name, fds[i], poll);
            fds[i] = -EBADF;
        } else if (r < 0)
            objection = why            ? why
                        : r == -ENOSPC ? "512 are stored already"
                        : r == -ENOMEM ? "out of memory"
                                       : "it cannot be watched";
    }
    return objection;
}

void service_store_remove(struct service *service, const char *name) {
    if (service->store && notify_store_remove(service->store, name) > 0)
        tell_removed(service, name);
}

void service_store_clear(struct service *service) {
    while (service->store && service->store->n > 0) {
        char name[NOTIFY_FD_NAME_MAX];

        snprintf(name, sizeof name, "%s", service->store->entries[0]->name);
        service_store_remove(service, name);
    }
    service_store_free(service);
}

void service_store_free(struct service *service) {
    if (!service->store)
        return;
    (void) notify_store_remove(service->store, NULL);
    free(service->store);
    service->store = NULL;
}

int service_store_pass(const struct service *service, struct service_launch *launch) {
    size_t most =
               (service->store ? service->store->n : 0) + (service->owned ? service->config->n_sockets : 0),
           n;
    _cleanup_free_ const char **names = NULL;
    _cleanup_text_ struct text text = {0};
    _cleanup_free_ char *joined = NULL;
    _cleanup_free_ int *fds = NULL;

    if (most == 0)
        return 0;
    fds = calloc(most, sizeof *fds);
    names = calloc(most, sizeof *names);
    if (!fds || !names)
        return -ENOMEM;
    n = service_sockets_list(service, fds, names); /* first, as systemd has it */
    for (size_t i = 0; service->store && i < service->store->n; i++) {
        fds[n] = service->store->entries[i]->fd;
        names[n++] = service->store->entries[i]->name;
    }
    for (size_t i = 0; i < n; i++) {
        text_add(&text, i > 0 ? ":" : "");
        text_add(&text, names[i]);
    }
    if (n == 0)
        return 0;
    if (text_take(&text, &joined) < 0)
        return -ENOMEM;
    return service_launch_pass(launch, fds, n, joined);
}

int service_store_hand_over(struct service *service, struct handover *handover) {
    json_t *names = json_array();
    char name[300];

    for (size_t i = 0; names && service->store && i < service->store->n; i++) {
        int r;

        snprintf(name, sizeof name, "store:%s:%zu", service->config->name, i);
        r = handover_put_fd(handover, name, service->store->entries[i]->fd);
        if (r >= 0 &&
            json_array_append_new(names, json_pack("{s:s, s:b}", "name", service->store->entries[i]->name,
                                                   "poll", service->store->entries[i]->poll)) < 0)
            r = -ENOMEM;
        if (r < 0) {
            json_decref(names);
            return r;
        }
    }
    snprintf(name, sizeof name, "store:%s", service->config->name);
    return handover_put(handover, name, names);
}

/* What a latchd before us in this process had of it. */
static void take_handed_over(struct service *service) {
    struct handover *handover = service->manager->handover;
    struct notify_store *store;
    json_t *names, *stored;
    char name[300];
    size_t i;

    snprintf(name, sizeof name, "store:%s", service->config->name);
    names = handover_get(handover, name);
    json_array_foreach(names, i, stored) {
        const char *its = json_string_value(json_object_get(stored, "name"));
        bool poll = json_is_true(json_object_get(stored, "poll"));
        _cleanup_close_ int fd = -EBADF;

        snprintf(name, sizeof name, "store:%s:%zu", service->config->name, i);
        fd = handover_take_fd(handover, name);
        store = fd >= 0 && its ? get_store(service) : NULL;
        if (store && notify_store_add(store, fd, its, poll) == 1)
            TAKE_FD(fd);
    }
}

/* What systemd kept for us, of this service: an empty name is that of its notification socket. */
void service_store_inherit(struct service *service) {
    char prefix[NOTIFY_FD_NAME_MAX];
    struct notify_store *store;

    take_handed_over(service);
    if (!upstream_name(service, "", prefix))
        return;
    for (size_t i = 0; i < service->manager->n_inherited; i++) {
        struct inherited *inherited = &service->manager->inherited[i];
        const char *name = inherited->name + strlen(prefix);

        if (inherited->fd < 0 || strncmp(inherited->name, prefix, strlen(prefix)) != 0)
            continue;
        if (!*name) {
            service_notify_inherit(service, TAKE_FD(inherited->fd));
            continue;
        }
        store = get_store(service);
        if (store && notify_store_add(store, inherited->fd, name, true) == 1)
            TAKE_FD(inherited->fd);
    }
}

void service_store_keep_socket(struct service *service, int fd) {
    tell_removed(service, ""); /* its predecessor, of the same name */
    tell_stored(service, "", fd, false);
}

json_t *service_store_to_json(const struct service *service) {
    json_t *names = json_array();

    for (size_t i = 0; service->store && i < service->store->n; i++)
        json_array_append_new(names, json_string(service->store->entries[i]->name));
    return names;
}
