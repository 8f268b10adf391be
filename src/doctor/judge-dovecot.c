/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dovecot's own causes, in Dovecot's own terms: a service at its process_limit or client_limit, too few
 * descriptors for a client_limit, a master that forks too much. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/judge.h"

#define FEW 10              /* of a process_limit below that, to be near it is nothing */
#define MAIL_PROCESSES 1024 /* Dovecot's own default for what serves a client each: imap, pop3 */
#define FILES_RESERVE 64    /* beside its clients' a process has some descriptors of its own */

static bool is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

static json_t *evidence_of(const struct doctor_dovecot_service *service) {
    return json_pack("{s:s?, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:o, s:o}", "service", service->name,
                     "processes", doctor_number_to_json(service->processes), "processLimit",
                     doctor_number_to_json(service->process_limit), "connections",
                     doctor_number_to_json(service->connections), "clientLimit",
                     doctor_number_to_json(service->client_limit), "serviceCount",
                     doctor_number_to_json(service->service_count), "socket", service->socket, "queue",
                     doctor_number_to_json(service->queue), "queueBefore",
                     doctor_number_to_json(service->queue_before), "backlog",
                     doctor_number_to_json(service->backlog));
}

static void advise_reload(struct doctor_finding *finding, const struct doctor_facts *facts) {
    doctor_advise(finding, "then: latchctl reload %s", facts->service ? facts->service : "");
}

/* imap, pop3, lmtp and the like; not imap-login. */
static bool serves_clients(const struct doctor_dovecot_service *service) {
    return service->protocol && *service->protocol && is(service->type, "");
}

/* ---- process_limit, client_limit ---- */

static bool waits(const struct doctor_dovecot_service *service) {
    return doctor_known(service->queue) && service->queue > 0;
}

/* Whether every client that the service may have at once is there: 1, 0, DOCTOR_UNKNOWN. */
static uint64_t is_taken(const struct doctor_dovecot_service *service) {
    if (!doctor_known(service->processes) || !doctor_known(service->process_limit) ||
        !doctor_known(service->client_limit))
        return DOCTOR_UNKNOWN;
    if (service->processes < service->process_limit)
        return 0;
    if (service->client_limit == 1)
        return 1;
    if (!doctor_known(service->connections))
        return DOCTOR_UNKNOWN;
    return service->connections / service->client_limit >= service->processes;
}

static void tell_waiting(struct doctor_finding *finding, const struct doctor_dovecot_service *service) {
    if (!waits(service))
        return;
    doctor_say(
        finding, "%s connection%s on %s, where %s can%s", COUNT(service->queue),
        service->queue == 1 ? " waits" : "s wait", service->socket, COUNT(service->backlog + 1),
        service->queue > service->backlog
            ? ": the next login fails there (net_connect_unix() failed: Resource temporarily unavailable)"
            : "");
}

static void judge_processes(const struct doctor_facts *facts, const struct doctor_dovecot_service *service,
                            struct doctor_findings *findings) {
    struct doctor_finding *finding;
    bool taken = doctor_yes(is_taken(service)),
         tight = service->client_limit == 1 && service->process_limit >= FEW &&
                 doctor_is_tight(service->processes, service->process_limit, DOCTOR_TIGHT_PERCENT),
         by_clients = service->process_limit == 1 && service->client_limit > 1;
    const char *setting = by_clients ? "client_limit" : "process_limit";
    uint64_t limit = by_clients ? service->client_limit : service->process_limit, more;

    if (!taken && !tight)
        return;
    finding = doctor_find(findings, by_clients ? DOCTOR_CLIENT_LIMIT : DOCTOR_PROCESS_LIMIT,
                          taken && waits(service) ? DOCTOR_ERROR : DOCTOR_WARNING, evidence_of(service),
                          "service %s { %s }", service->name, setting);
    if (by_clients)
        doctor_say(
            finding,
            "the process of Dovecot's service %s serves %s connections, of %s that client_limit allows",
            service->name, COUNT(service->connections), COUNT(limit));
    else
        doctor_say(finding, "Dovecot's service %s has %s process%s, of %s that process_limit allows%s",
                   service->name, COUNT(service->processes), service->processes == 1 ? "" : "es",
                   COUNT(limit),
                   !taken                       ? ""
                   : service->client_limit == 1 ? ", each for one client"
                                                : ", and all of them are full");
    tell_waiting(finding, service);
    more = doctor_more(limit);
    if (serves_clients(service) && !by_clients && more < MAIL_PROCESSES)
        more = MAIL_PROCESSES;
    doctor_advise(finding, "service %s { %s = %" PRIu64 " }", service->name, setting, more);
    if (is(service->type, "login") && service->service_count == 1)
        doctor_advise(
            finding,
            "or the high-performance login mode, a process for many: service %s { service_count = 0 }",
            service->name);
    advise_reload(finding, facts);
}

/* One that reads a client's mail from a disk has all its other clients wait for that. */
static void judge_sharing(const struct doctor_facts *facts, const struct doctor_dovecot_service *service,
                          struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (!serves_clients(service) || !doctor_known(service->client_limit_set) ||
        service->client_limit_set <= 1 || !doctor_known(service->client_limit) ||
        service->client_limit <= 1 || !waits(service) || !doctor_known(service->queue_before) ||
        service->queue_before == 0)
        return;
    finding = doctor_find(findings, DOCTOR_CLIENT_LIMIT, DOCTOR_WARNING, evidence_of(service),
                          "service %s { client_limit }", service->name);
    doctor_say(
        finding,
        "each process of Dovecot's service %s serves up to %s clients, who all wait while one of them has it "
        "read from a disk",
        service->name, COUNT(service->client_limit));
    tell_waiting(finding, service);
    doctor_advise(finding,
                  "service %s { client_limit = 1 }, and a process_limit for as many clients as shall come",
                  service->name);
    advise_reload(finding, facts);
}

/* ---- descriptors ---- */

/* What was found already: that the master itself is near to its limit. */
static struct doctor_finding *find_files(struct doctor_findings *findings, const char *subject) {
    for (size_t i = 0; i < findings->n; i++)
        if (findings->of[i].cause == DOCTOR_NOFILE && is(findings->of[i].subject, subject))
            return &findings->of[i];
    return NULL;
}

static void advise_files(struct doctor_finding *finding, const struct doctor_facts *facts, uint64_t needed) {
    if (facts->limits_command)
        doctor_advise(finding, "at once: %s --all NOFILE=%" PRIu64, facts->limits_command, needed);
    doctor_advise(finding,
                  "from the next start on: LimitNOFILE=%" PRIu64
                  ", or LimitNOFILE=auto, which counts with Dovecot's settings, in %s",
                  needed, facts->config_file ? facts->config_file : "its configuration");
}

/* "fd limit (ulimit -n) is lower than required under max. load", says Dovecot itself at its start. */
static void judge_files(const struct doctor_facts *facts, struct doctor_findings *findings) {
    const struct doctor_process *main = doctor_main(facts);
    const struct doctor_dovecot *dovecot = facts->dovecot;
    struct doctor_finding *finding;
    char subject[128];

    if (!main || !doctor_known(main->nofile_soft) || !doctor_known(dovecot->needed_files) ||
        main->nofile_soft >= dovecot->needed_files)
        return;
    snprintf(subject, sizeof subject, "PID %" PRIu64 " (%s)", main->pid, main->comm ? main->comm : "?");
    finding = find_files(findings, subject);
    if (finding) { /* one remedy for both */
        free(finding->remedy);
        finding->remedy = NULL;
    } else
        finding = doctor_find(findings, DOCTOR_NOFILE, DOCTOR_WARNING,
                              json_pack("{s:o, s:o, s:o}", "pid", doctor_number_to_json(main->pid), "soft",
                                        doctor_number_to_json(main->nofile_soft), "hard",
                                        doctor_number_to_json(main->nofile_hard)),
                              "%s", subject);
    if (!finding)
        return;
    (void) json_object_set_new(finding->evidence, "needed", doctor_number_to_json(dovecot->needed_files));
    doctor_say(finding, "Dovecot's processes may have %s descriptors, and %s%s%s = %s%s needs more",
               COUNT(main->nofile_soft), dovecot->needed_by ? "service " : "default_client_limit",
               dovecot->needed_by ? dovecot->needed_by : "", dovecot->needed_by ? " { client_limit" : "",
               COUNT(dovecot->needed_files), dovecot->needed_by ? " }" : "");
    doctor_say(finding, "below its client_limit a process stops to accept, and the queue grows");
    advise_files(finding, facts, dovecot->needed_files + FILES_RESERVE);
}

/* ---- the master ---- */

/* What the judges of any daemon have found, said in Dovecot's terms. */
static void advise_master(const struct doctor_facts *facts, struct doctor_finding *finding) {
    for (size_t i = 0; i < facts->n_dovecot_services; i++) {
        const struct doctor_dovecot_service *service = &facts->dovecot_services[i];

        if (service->service_count != 1 || !service->protocol || !*service->protocol)
            continue;
        if (is(service->type, "login"))
            doctor_advise(
                finding,
                "have the master fork less: service %s { service_count = 0; process_min_avail = 4 }, the "
                "high-performance login mode",
                service->name);
        else if (is(service->type, ""))
            doctor_advise(finding,
                          "reuse processes: service %s { service_count = 100; process_min_avail = 4 }",
                          service->name);
    }
}

void doctor_judge_dovecot(const struct doctor_facts *facts, struct doctor_findings *findings) {
    if (facts->n_dovecot == 0)
        return;
    judge_files(facts, findings);
    for (size_t i = 0; i < facts->n_dovecot_services; i++) {
        size_t before = findings->n;

        judge_processes(facts, &facts->dovecot_services[i], findings);
        if (findings->n == before)
            judge_sharing(facts, &facts->dovecot_services[i], findings);
    }
    for (size_t i = 0; i < findings->n; i++)
        if (findings->of[i].cause == DOCTOR_MAIN_BUSY)
            advise_master(facts, &findings->of[i]);
}

bool doctor_dovecot_advise_backlog(const struct doctor_facts *facts, const struct doctor_listener *listener,
                                   struct doctor_finding *finding) {
    for (size_t i = 0; i < facts->n_dovecot_services; i++) {
        const struct doctor_dovecot_service *service = &facts->dovecot_services[i];
        const char *port = listener->address ? strrchr(listener->address, ':') : NULL;

        if (!service->socket || !listener->address)
            continue;
        if (strcmp(service->socket, listener->address) != 0 &&
            !(strncmp(service->socket, "port ", 5) == 0 && port &&
              strcmp(port + 1, service->socket + 5) == 0))
            continue;
        doctor_say(finding,
                   "Dovecot asks for a backlog of client_limit * process_limit of service %s: %s * %s",
                   service->name, COUNT(service->client_limit), COUNT(service->process_limit));
        if (doctor_known(facts->somaxconn) && service->asked > facts->somaxconn)
            doctor_advise(finding,
                          "sysctl net.core.somaxconn=%" PRIu64 ", which cuts every backlog, and restart",
                          service->asked < (1 << 16) ? service->asked : UINT64_C(1) << 16);
        else
            doctor_advise(
                finding,
                "a longer queue comes with more clients at once: service %s { process_limit = %" PRIu64
                " }, and restart",
                service->name, doctor_more(service->process_limit));
        return true;
    }
    return false;
}
