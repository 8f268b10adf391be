/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kind=dovecot: its services as it tells of them itself, and of each how many processes it has, how many
 * connections those serve, and the fullest of its queues. */
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/value.h"
#include "config/kind-dovecot.h"
#include "doctor/gather-parts.h"
#include "exec/capture.h"

#define COMM_BYTES 15 /* of a program's name the kernel keeps (TASK_COMM_LEN) */

struct gathering {
    int proc_fd;
    const struct doctor_look *before, *look;
    struct dovecot_conf conf;
    struct doctor_facts *facts;
};

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- queues ---- */

static const struct unix_socket *find_path(const struct unix_table *table, const char *path) {
    const struct unix_socket *socket;
    size_t position = 0;

    while ((socket = unix_table_next(table, base_name(path), &position)))
        if (socket->listening && !socket->name_altered && strcmp(socket->name, path) == 0)
            return socket;
    return NULL;
}

static const struct inet_socket *find_port(const struct inet_table *table, unsigned port) {
    for (size_t i = 0; i < table->n; i++)
        if (table->sockets[i].listening && table->sockets[i].local.port == port)
            return &table->sockets[i];
    return NULL;
}

/* Keeps the queue that has the least room. */
static void note_queue(struct doctor_dovecot_service *service, const char *address, uint64_t queue,
                       uint64_t backlog, uint64_t before) {
    if (service->socket && queue * (service->backlog + 1) <= service->queue * (backlog + 1))
        return;
    free(service->socket);
    service->socket = strdup(address);
    service->queue = queue;
    service->backlog = backlog;
    service->queue_before = before;
}

static void gather_queues(const struct gathering *gathering, const struct dovecot_service *conf,
                          struct doctor_dovecot_service *service) {
    char address[64];

    for (size_t i = 0; i < conf->n_listeners; i++) {
        const struct dovecot_listener *listener = &conf->listeners[i];

        if (listener->is_inet && listener->port > 0) {
            const struct inet_socket *now = find_port(&gathering->look->inet_sockets, listener->port), *then;

            if (!now)
                continue;
            then = inet_table_find_inode(&gathering->before->inet_sockets, now->inode);
            snprintf(address, sizeof address, "port %u", listener->port);
            note_queue(service, address, now->queue, now->backlog,
                       then && then->listening ? then->queue : DOCTOR_UNKNOWN);
        } else if (!listener->is_inet && listener->mode != 0) {
            const struct unix_socket *now = find_path(&gathering->look->unix_sockets, listener->name), *then;

            if (!now)
                continue;
            then = unix_table_find_inode(&gathering->before->unix_sockets, now->inode);
            note_queue(service, listener->name, now->queue, now->backlog,
                       then && then->listening ? then->queue : DOCTOR_UNKNOWN);
        }
    }
}

/* ---- processes ---- */

/* Who listens at that path or port: the service, by its number in the configuration; SIZE_MAX: none of them.
 */
static size_t service_of_socket(const struct gathering *gathering, const struct unix_socket *local,
                                const struct inet_socket *inet) {
    for (size_t i = 0; i < gathering->conf.n_services; i++)
        for (size_t k = 0; k < gathering->conf.services[i].n_listeners; k++) {
            const struct dovecot_listener *listener = &gathering->conf.services[i].listeners[k];

            if (listener->is_inet ? inet && listener->port > 0 && inet->local.port == listener->port
                                  : local && local->name && strcmp(local->name, listener->name) == 0)
                return i;
        }
    return SIZE_MAX;
}

/* What a process has to do with the services' sockets. */
struct share {
    size_t listens_for;   /* the service; SIZE_MAX: for none */
    uint64_t connections; /* accepted at any of them: a client's moves from imap-login to imap */
    bool known;
};

static int look_at_descriptors(const struct gathering *gathering, pid_t pid, struct share *ret) {
    _cleanup_descriptors_ struct descriptors open = {0};
    struct share share = {.listens_for = SIZE_MAX};
    int r = descriptors_read(gathering->proc_fd, pid, NULL, 0, &open);

    if (r == -ENOMEM)
        return r;
    share.known = r >= 0;
    for (size_t i = 0; r >= 0 && i < open.n; i++) {
        const struct unix_socket *local =
            unix_table_find_inode(&gathering->look->unix_sockets, open.of[i].inode);
        const struct inet_socket *inet =
            inet_table_find_inode(&gathering->look->inet_sockets, open.of[i].inode);
        bool listens = local ? local->listening : inet && inet->listening,
             accepted = local ? local->connected : inet && inet->state == TCP_ESTABLISHED;
        size_t service = listens || accepted ? service_of_socket(gathering, local, inet) : SIZE_MAX;

        if (service == SIZE_MAX)
            continue;
        if (listens)
            share.listens_for = service;
        else
            share.connections++;
    }
    *ret = share;
    return 0;
}

/* A program's name is what its executable is called, cut by the kernel. SIZE_MAX: of no service; several have
 * it (auth and auth-worker): by what it listens on, or, if that is not known, *ret_unclear. */
static size_t service_of_process(const struct gathering *gathering, const struct family_member *member,
                                 const struct share *share, bool *ret_unclear) {
    size_t found = SIZE_MAX, n = 0;

    *ret_unclear = false;
    for (size_t i = 0; i < gathering->conf.n_services; i++)
        if (strncmp(base_name(gathering->conf.services[i].executable), member->comm, COMM_BYTES) == 0) {
            if (share->listens_for == i)
                return i;
            found = i;
            n++;
        }
    *ret_unclear = n > 1;
    return n == 1 ? found : SIZE_MAX;
}

static void add_to(uint64_t *sum, bool known, uint64_t number) {
    if (!known)
        *sum = DOCTOR_UNKNOWN;
    else if (doctor_known(*sum))
        *sum += number;
}

static int gather_processes(const struct gathering *gathering) {
    struct doctor_dovecot_service *services = gathering->facts->dovecot_services;
    const struct family_sweep *sweep = &gathering->look->processes;
    size_t looked_at = 0;

    for (size_t i = 0; i < sweep->n; i++) {
        const struct family_member *member = &sweep->of[i];
        struct share share = {.listens_for = SIZE_MAX};
        bool unclear;
        size_t service;

        if ((uint64_t) member->ppid != gathering->facts->pid || member->state == 'Z' || member->state == 'X')
            continue;
        if (looked_at++ < DOCTOR_PROCESSES_MAX && look_at_descriptors(gathering, member->pid, &share) < 0)
            return -ENOMEM;
        service = service_of_process(gathering, member, &share, &unclear);
        for (size_t k = 0; unclear && k < gathering->conf.n_services; k++)
            if (strncmp(base_name(gathering->conf.services[k].executable), member->comm, COMM_BYTES) == 0)
                services[k].processes = services[k].connections = DOCTOR_UNKNOWN;
        if (service == SIZE_MAX)
            continue;
        add_to(&services[service].processes, true, 1);
        add_to(&services[service].connections, share.known, share.connections);
    }
    return 0;
}

/* ---- */

static int gather_settings(struct gathering *gathering) {
    struct doctor_facts *facts = gathering->facts;
    struct doctor_dovecot *dovecot = doctor_add(facts, dovecot);
    const char *needed_by;

    if (!dovecot)
        return -ENOMEM;
    dovecot->needed_files = dovecot_conf_needed_files(&gathering->conf, &needed_by);
    dovecot->needed_by = needed_by ? strdup(needed_by) : NULL;
    dovecot->version = gathering->conf.version ? strdup(gathering->conf.version) : NULL;
    dovecot->base_dir = strdup(gathering->conf.base_dir);
    for (size_t i = 0; i < gathering->conf.n_services; i++) {
        const struct dovecot_service *conf = &gathering->conf.services[i];
        struct doctor_dovecot_service *service = doctor_add(facts, dovecot_services);

        if (!service)
            return -ENOMEM;
        service->name = strdup(conf->name);
        service->type = strdup(conf->type);
        service->protocol = strdup(conf->protocol);
        if (!service->name || !service->type || !service->protocol)
            return -ENOMEM;
        value_make_printable(service->name);
        service->processes = service->connections = 0;
        service->client_limit = conf->client_limit;
        service->client_limit_set = conf->written_client_limit;
        service->process_limit = conf->process_limit;
        service->process_min_avail = conf->process_min_avail;
        service->service_count = conf->service_count;
        service->asked = dovecot_service_backlog(conf);
        gather_queues(gathering, conf, service);
    }
    return 0;
}

int doctor_gather_dovecot(int proc_fd, const struct doctor_request *request, const struct doctor_look *before,
                          const struct doctor_look *look, struct doctor_facts *facts) {
    struct gathering gathering = {.proc_fd = proc_fd, .before = before, .look = look, .facts = facts};
    _cleanup_err_ struct err err = {0};
    int r;

    if (!request->config || request->config->kind != SERVICE_KIND_DOVECOT || request->pid <= 0)
        return 0;
    r = kind_dovecot_ask(request->config, capture_run, &gathering.conf, &err);
    if (r < 0) {
        if (r != -ENOMEM)
            doctor_unseen_because(facts, "Dovecot's services", err_text(&err));
        return r == -ENOMEM ? r : 0;
    }
    r = gather_settings(&gathering);
    if (r >= 0)
        r = gather_processes(&gathering);
    dovecot_conf_done(&gathering.conf);
    return r;
}
