/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets that latchd owns, as a service has them: when they are opened and closed, how the daemon gets
 * them, and who keeps them when this latchd ends. */
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "base/closer.h"
#include "base/process.h"
#include "base/text.h"
#include "base/value.h"
#include "notify/message.h"
#include "notify/upstream.h"
#include "owned/owned.h"
#include "service/family.h"
#include "socket/queue.h"
#include "service/service-internal.h"

/* What systemd stores for us begins with a slash, which no service's name does: a daemon's own descriptors
 * are called SERVICE/NAME there. */
#define STORED_LISTENER "/listener/"
#define STORED_LOCK "/lock/"

/* Whoever came in between may be on his way out, such as a copy in systemd's store; or he stays. */
#define OPEN_AGAIN_USEC (100 * USEC_PER_MSEC)
#define OPEN_AGAIN_MOST_USEC (5 * USEC_PER_SEC)
#define TRIES_UNTIL_SLOW 6

static struct owned_host host_of(const struct service *service) {
    return (struct owned_host){.config = service->config,
                               .log = service->manager->log,
                               .scope = service_scope(service),
                               .proc_fd = service->manager->proc_fd};
}

/* ---- systemd's descriptor store ---- */

/* A colon separates names in LISTEN_FDNAMES. False: too long for a name. */
static bool stored_name(const char *kind, const struct service *service, const char *socket,
                        char ret[static NOTIFY_FD_NAME_MAX]) {
    int n = snprintf(ret, NOTIFY_FD_NAME_MAX, "%s%s/%s", kind, service->config->name, socket);

    for (char *p = ret; *p; p++)
        if (*p == ':')
            *p = '!';
    return n > 0 && n < NOTIFY_FD_NAME_MAX;
}

static void store_one(const struct service *service, const char *kind, const char *socket, int fd) {
    char name[NOTIFY_FD_NAME_MAX], text[NOTIFY_FD_NAME_MAX + 64];

    if (!service->manager->upstream || !stored_name(kind, service, socket, name))
        return;
    snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name); /* a predecessor's of that name */
    (void) notify_upstream_send(service->manager->upstream, text, -EBADF);
    if (fd < 0)
        return;
    snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
    (void) notify_upstream_send(service->manager->upstream, text, fd);
}

/* Those that systemd passed are in its hands already. */
static void store_all(struct service *service) {
    for (size_t i = 0; i < service->owned->n; i++) {
        struct owned_socket *own = &service->owned->sockets[i];
        const char *name = service->config->sockets[i]->name;

        if (own->fd < 0 || own->stored)
            continue;
        own->stored = true;
        if (!own->passed)
            store_one(service, STORED_LISTENER, name, own->fd);
        if (own->lock_fd >= 0)
            store_one(service, STORED_LOCK, name, own->lock_fd);
    }
}

static void unstore_all(const struct service *service) {
    for (size_t i = 0; i < service->owned->n; i++)
        if (service->owned->sockets[i].stored && !service->owned->sockets[i].passed) {
            store_one(service, STORED_LISTENER, service->config->sockets[i]->name, -EBADF);
            store_one(service, STORED_LOCK, service->config->sockets[i]->name, -EBADF);
            service->owned->sockets[i].stored = false;
        }
}

/* ---- while the service is up ---- */

/* Somebody changed something about the files. */
static void on_change(void *userdata) {
    struct service *service = userdata;
    struct owned_host host = host_of(service);

    owned_check(service->owned, &host);
    store_all(service); /* a lock that was taken anew */
}

/* Most services have none. NULL: so it is, or there is no memory. */
static struct owned *get_owned(struct service *service) {
    if (service->owned || !owned_wants(service->config) || owned_new(service->config, &service->owned) < 0)
        return service->owned;
    service->owned->event = service->manager->event;
    service->owned->on_change = on_change;
    service->owned->userdata = service;
    return service->owned;
}

const struct lock_held *service_sockets_held(const struct service *service) {
    return service->owned ? service->owned->held : NULL;
}

int service_sockets_open(struct service *service, struct err *err) {
    struct owned_host host = host_of(service);
    int r;

    if (!owned_wants(service->config))
        return 0;
    if (!get_owned(service))
        return err_set(err, ENOMEM, "Failed", "out of memory");
    r = owned_open(service->owned, &host, err);
    store_all(service);
    service->owned->tries = r < 0 ? service->owned->tries + 1 : 0;
    if (r >= 0) {
        free(service->owned->told);
        service->owned->told = NULL;
    }
    return r;
}

uint64_t service_sockets_retry_usec(const struct service *service) {
    unsigned tries = service->owned ? service->owned->tries : TRIES_UNTIL_SLOW;

    return tries >= TRIES_UNTIL_SLOW ? OPEN_AGAIN_MOST_USEC : OPEN_AGAIN_USEC << tries;
}

bool service_sockets_is_news(struct service *service, const char *reason) {
    if (!service->owned)
        return true;
    if (service->owned->told && strcmp(service->owned->told, reason) == 0)
        return false;
    free(service->owned->told);
    service->owned->told = strdup(reason);
    return true;
}

void service_sockets_prepare(struct service *service) {
    if (service->owned)
        owned_drop_partial(service->owned, service->config);
}

void service_sockets_close(struct service *service) {
    if (!service->owned)
        return;
    unstore_all(service);
    owned_close(service->owned, service->config);
}

void service_sockets_switch(struct service *service, const struct service_config *next) {
    if (!service->owned)
        return;
    unstore_all(service); /* what stays is stored again when it is opened */
    (void) owned_switch(&service->owned, service->config, next);
}

void service_sockets_free(struct service *service) {
    service->owned = owned_free(service->owned);
}

size_t service_sockets_list(const struct service *service, int fds[], const char *names[]) {
    return service->owned ? owned_list(service->owned, service->config, fds, names) : 0;
}

bool service_sockets_is_kept(const struct service *service, size_t i) {
    return service->owned && service->owned->sockets[i].fd >= 0;
}

bool service_sockets_look(const struct service *service, size_t i, const struct queue_tables *tables,
                          struct queue_facts *ret) {
    struct stat st;

    if (!service_sockets_is_kept(service, i) || fstat(service->owned->sockets[i].fd, &st) < 0)
        return false;
    queue_look_own(tables, service->config->sockets[i]->listen, (uint32_t) st.st_ino, ret);
    return true;
}

const char *service_sockets_remark(const struct service *service, size_t i) {
    if (service->config->sockets[i]->owner != SOCKET_OWNER_LATCHD)
        return NULL;
    if (!service_sockets_is_kept(service, i))
        return service_is_down(service) ? "nobody listens: the service is down" : NULL;
    switch (service->owned->sockets[i].sight) {
    case LISTENER_OTHER:
        return "clients do not come here by this path: something else stands there; remove it, and latchd "
               "puts its "
               "socket back";
    case LISTENER_REMOVED:
        return "clients do not come here by this path: it was removed with all that led back to it; latchctl "
               "restart "
               "makes the socket anew";
    default:
        return NULL;
    }
}

/* ---- over the end of a latchd ---- */

int service_sockets_hand_over(const struct service *service, struct handover *handover) {
    return service->owned ? owned_hand_over(service->owned, service->config, handover) : 0;
}

static void tell(struct service *service, enum event_id id, const char *socket, const char *text) {
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_SOCKET", socket);
    service_emit(service, id, &fields, text);
}

/* Either a listener or a lock. */
static void take_stored(struct service *service, struct inherited *inherited, bool is_lock) {
    struct owned_host host = host_of(service);
    _cleanup_err_ struct err err = {0};

    for (size_t i = 0; inherited->fd >= 0 && i < service->config->n_sockets; i++) {
        const char *socket = service->config->sockets[i]->name;
        char name[NOTIFY_FD_NAME_MAX];
        int r;

        if (!stored_name(is_lock ? STORED_LOCK : STORED_LISTENER, service, socket, name) ||
            strcmp(name, inherited->name) != 0)
            continue;
        r = is_lock ? owned_take_lock(service->owned, &host, socket, inherited->fd, &err)
                    : owned_take_listener(service->owned, &host, socket, inherited->fd, false, &err);
        if (r >= 0)
            inherited->fd = -EBADF;
        else
            tell(service, EVENT_SOCKET_LOST, socket, err_text(&err));
        return;
    }
}

/* From a .socket unit: by the name that it gives (FileDescriptorName=), which is its own without one. */
static void take_passed(struct service *service, struct inherited *inherited) {
    struct owned_host host = host_of(service);
    _cleanup_err_ struct err err = {0};

    for (size_t i = 0; i < service->config->n_sockets; i++) {
        const struct socket_config *socket = service->config->sockets[i];
        size_t length = strlen(socket->name);

        if (socket->owner != SOCKET_OWNER_LATCHD || strncmp(inherited->name, socket->name, length) != 0 ||
            (inherited->name[length] && strcmp(inherited->name + length, ".socket") != 0))
            continue;
        if (owned_take_listener(service->owned, &host, socket->name, inherited->fd, true, &err) >= 0)
            inherited->fd = -EBADF;
        else
            tell(service, EVENT_SOCKET_LOST, socket->listen, err_text(&err));
        return;
    }
}

void service_sockets_inherit(struct service *service) {
    struct manager *manager = service->manager;

    if (!get_owned(service))
        return;
    owned_take_over(service->owned, service->config, manager->handover);
    for (size_t i = 0; i < manager->n_inherited; i++)
        if (manager->inherited[i].fd >= 0) {
            take_stored(service, &manager->inherited[i], false);
            if (manager->inherited[i].fd >= 0)
                take_stored(service, &manager->inherited[i], true);
            if (manager->inherited[i].fd >= 0)
                take_passed(service, &manager->inherited[i]);
        }
}

static size_t regain_from_children(struct service *service, const struct owned_host *host, size_t missing) {
    _cleanup_family_ struct family family = {0};

    if (family_read(service->manager->proc_fd, service->record.main.pid, &family) < 0)
        return missing;
    for (size_t i = 1; i < family.n && missing > 0; i++) {
        _cleanup_close_ int pidfd = pidfd_open(family.of[i].pid, 0);

        if (pidfd >= 0)
            missing = owned_regain(service->owned, host, family.of[i].pid, pidfd);
    }
    return missing;
}

static void tell_lost(struct service *service) {
    _cleanup_text_ struct text text = {0};
    _cleanup_free_ char *joined = NULL;

    for (size_t i = 0; i < service->owned->n; i++)
        if (service->config->sockets[i]->owner == SOCKET_OWNER_LATCHD && service->owned->sockets[i].fd < 0) {
            text_add(&text, text.length > 0 ? ", " : "");
            text_add(&text, service->config->sockets[i]->listen);
        }
    text_add(
        &text,
        ": this latchd has no copy of the listener, since the daemon has none that may be read, or has "
        "closed it. The daemon goes on; while it is restarted, connections will be refused for a moment");
    if (text_take(&text, &joined) >= 0)
        tell(service, EVENT_SOCKET_LOST, joined, joined);
}

void service_sockets_regain(struct service *service, int pidfd) {
    struct owned_host host = host_of(service);
    _cleanup_err_ struct err err = {0};
    size_t missing;

    if (!service->owned)
        return;
    if (owned_lock(service->owned, &host, &err) <
        0) /* first of all: it is nobody's since the last latchd died */
        tell(service, EVENT_SOCKET_LOST, "", err_text(&err));
    missing = owned_regain(service->owned, &host, service->record.main.pid, pidfd);
    if (missing > 0 && regain_from_children(service, &host, missing) > 0)
        tell_lost(service);
    store_all(service);
    owned_check(service->owned, &host); /* nobody watched meanwhile */
}
