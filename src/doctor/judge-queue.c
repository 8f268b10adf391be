/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners and their queues. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor/judge.h"

#define IDLE_PERCENT 2 /* who uses less of a processor does not accept one connection after another */

static bool is_absent(const char *displaced) {
    return strcmp(displaced, "nothing") == 0 || strcmp(displaced, "no-directory") == 0;
}

static const char *address_of(const struct doctor_listener *listener) {
    return listener->address ? listener->address : "a listener";
}

/* sk_acceptq_is_full() in include/net/sock.h, of unix sockets and of TCP: a queue is full when it is longer
 * than the backlog. */
static uint64_t room_of(const struct doctor_listener *listener) {
    return doctor_known(listener->backlog) ? listener->backlog + 1 : DOCTOR_UNKNOWN;
}

static bool is_full(uint64_t queue, const struct doctor_listener *listener) {
    return doctor_known(queue) && doctor_known(listener->backlog) && queue > listener->backlog;
}

static json_t *evidence_of(const struct doctor_facts *facts, const struct doctor_listener *listener) {
    return json_pack(
        "{s:s?, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "socket", listener->name, "address",
        listener->address, "family", listener->family, "queue", doctor_number_to_json(listener->queue),
        "queueBefore", doctor_number_to_json(listener->queue_before), "backlog",
        doctor_number_to_json(listener->backlog), "room", doctor_number_to_json(room_of(listener)), "asked",
        doctor_number_to_json(listener->asked), "somaxconn", doctor_number_to_json(facts->somaxconn), "pid",
        doctor_number_to_json(listener->pid));
}

/* Some cause was found already that keeps the queue from being emptied: a longer queue would not help. */
static bool is_explained(const struct doctor_findings *findings) {
    for (size_t i = 0; i < findings->n; i++)
        if (findings->of[i].severity == DOCTOR_ERROR)
            return true;
    return false;
}

/* Of a socket that latchd made: the daemon has called listen(2) for it again, with a number of its own, or
 * net.core.somaxconn was less when latchd did. Where both are cut to the same number nothing can be told. */
static bool is_replaced(const struct doctor_facts *facts, const struct doctor_listener *listener) {
    return doctor_yes(listener->owned) && doctor_known(listener->asked) && doctor_known(listener->backlog) &&
           doctor_known(facts->somaxconn) && listener->backlog != listener->asked &&
           (listener->asked <= facts->somaxconn || listener->backlog > listener->asked);
}

static void advise_backlog(struct doctor_finding *finding, const struct doctor_facts *facts,
                           const struct doctor_listener *listener) {
    uint64_t more = doctor_more(listener->backlog);

    if (doctor_dovecot_advise_backlog(facts, listener, finding))
        return;
    if (listener->backlog >= facts->somaxconn)
        doctor_advise(finding,
                      "sysctl net.core.somaxconn=%" PRIu64 ", which cuts every backlog, and start it again",
                      more);
    if (doctor_known(listener->asked) && !is_replaced(facts, listener))
        doctor_advise(finding, "Backlog=%" PRIu64 " in [Socket %s] of %s", more,
                      listener->name ? listener->name : "",
                      facts->config_file ? facts->config_file : "its configuration");
    else
        doctor_advise(
            finding, "raise the backlog that the daemon gives to listen(2), by its own settings, to %" PRIu64,
            more);
}

static void judge_full(const struct doctor_facts *facts, const struct doctor_listener *listener,
                       struct doctor_findings *findings) {
    bool now = is_full(listener->queue, listener), before = is_full(listener->queue_before, listener),
         explained = is_explained(findings);
    uint64_t room = room_of(listener);
    bool is_unix = listener->family && strcmp(listener->family, "unix") == 0;
    struct doctor_finding *finding;

    if (!now && !before && !doctor_is_tight(listener->queue, room, DOCTOR_TIGHT_PERCENT))
        return;
    finding = doctor_find(findings, DOCTOR_QUEUE_FULL, now ? DOCTOR_ERROR : DOCTOR_WARNING,
                          evidence_of(facts, listener), "%s", address_of(listener));
    doctor_say(finding, "%s connections wait on %s, where %s can (backlog %s, and one more)%s",
               COUNT(listener->queue), address_of(listener), COUNT(room), COUNT(listener->backlog),
               !now      ? ""
               : is_unix ? ": whoever connects without waiting gets EAGAIN"
                         : ": the next ones are dropped, and try again until they time out");
    if (before && !now)
        doctor_say(finding, "the queue was full at the first look");
    if (explained)
        doctor_advise(finding, "first what keeps the daemon from accepting, see the others");
    advise_backlog(finding, facts, listener);
}

static bool same_place(const struct doctor_process *a, const struct doctor_process *b) {
    return a->waits_in && b->waits_in && strcmp(a->waits_in, b->waits_in) == 0 &&
           strcmp(a->waits_call ? a->waits_call : "", b->waits_call ? b->waits_call : "") == 0;
}

static void tell_place(struct doctor_finding *finding, const struct doctor_process *process, size_t n,
                       size_t of) {
    const char *call = process->waits_call ? process->waits_call : "",
               *place = process->waits_in ? process->waits_in : "",
               *kernel = *call && *place ? ", the kernel's " : "",
               *file = process->waits_file ? process->waits_file : "";

    if (n > 1)
        doctor_say(finding, "%zu of %zu other processes wait in %s%s%s, PID %" PRIu64 " among them%s%s", n,
                   of, call, kernel, place, process->pid, *file ? ", there on " : "", file);
    else
        doctor_say(finding, "PID %" PRIu64 " waits in %s%s%s%s%s", process->pid, call, kernel, place,
                   *file ? ", on " : "", file);
}

/* Where the main process waits, and where most of the others do. */
static void tell_places(const struct doctor_facts *facts, struct doctor_finding *finding) {
    const struct doctor_process *main = doctor_main(facts), *common = NULL;
    size_t most = 0;

    if (main->waits_in || main->waits_call)
        tell_place(finding, main, 1, 1);
    for (size_t i = 1; i < facts->n_processes; i++) {
        size_t n = 0;

        for (size_t j = i; j < facts->n_processes; j++)
            n += same_place(&facts->processes[i], &facts->processes[j]);
        if (n > most) {
            most = n;
            common = &facts->processes[i];
        }
    }
    if (common)
        tell_place(finding, common, most, facts->n_processes - 1);
}

/* So slow that the next one who waits is a second away: as many as come meanwhile, it makes no difference
 * whether one was taken between the looks or none. */
static bool hardly_accepts(const struct doctor_facts *facts, const struct doctor_listener *listener) {
    uint64_t seconds = doctor_known(facts->interval_usec) ? facts->interval_usec / 1000000 : 0;

    return doctor_known(listener->queue) && doctor_known(listener->queue_before) && listener->queue > 0 &&
           listener->queue_before > 0 && listener->queue + seconds + 1 >= listener->queue_before;
}

/* Connections waited at the first look and wait at the second, and nobody did anything meanwhile. */
static void judge_waiting(const struct doctor_facts *facts, const struct doctor_listener *listener,
                          struct doctor_findings *findings) {
    uint64_t share = doctor_share(facts, doctor_cpu_of_all(facts));
    const struct doctor_process *main = doctor_main(facts);
    struct doctor_finding *finding;
    uint64_t accepts;

    if (!main || !hardly_accepts(facts, listener) || !doctor_known(share) || share >= IDLE_PERCENT ||
        doctor_findings_have(findings, DOCTOR_STOPPED) ||
        doctor_findings_have(findings, DOCTOR_PROCESS_LIMIT) ||
        doctor_findings_have(findings, DOCTOR_CLIENT_LIMIT))
        return;
    finding = doctor_find(findings, DOCTOR_NOT_ACCEPTING,
                          is_full(listener->queue, listener) || is_full(listener->queue_before, listener)
                              ? DOCTOR_ERROR
                              : DOCTOR_WARNING,
                          evidence_of(facts, listener), "%s", address_of(listener));
    doctor_say(finding,
               "%s connections wait on %s, %s did %s ms before, and all its processes together used %s ms of "
               "processor time meanwhile: it does not accept, or hardly one a second",
               COUNT(listener->queue), address_of(listener), COUNT(listener->queue_before),
               COUNT(facts->interval_usec / 1000), COUNT(doctor_cpu_of_all(facts) / 1000));
    tell_places(facts, finding);
    accepts = doctor_known(listener->worker_pid) ? listener->worker_pid : main->pid;
    if (accepts != main->pid)
        doctor_say(finding, "%s worker%s of it may accept there, PID %" PRIu64 " among them",
                   COUNT(listener->workers), listener->workers == 1 ? "" : "s", accepts);
    doctor_advise(finding, "see what %s waits for: strace -f -p %" PRIu64 ", gdb -p %" PRIu64,
                  accepts == main->pid ? "it" : "the worker", accepts, accepts);
}

static void judge_clamped(const struct doctor_facts *facts, const struct doctor_listener *listener,
                          struct doctor_findings *findings) {
    bool asked_more = doctor_known(listener->asked) && doctor_known(facts->somaxconn) &&
                      listener->asked > facts->somaxconn,
         at_bound = is_full(listener->queue, listener) && doctor_known(facts->somaxconn) &&
                    listener->backlog == facts->somaxconn &&
                    (!doctor_known(listener->asked) || is_replaced(facts, listener));
    struct doctor_finding *finding;

    if (!asked_more && !at_bound)
        return;
    finding = doctor_find(findings, DOCTOR_BACKLOG_CLAMPED, at_bound ? DOCTOR_WARNING : DOCTOR_HINT,
                          evidence_of(facts, listener), "%s", address_of(listener));
    if (asked_more && !at_bound)
        doctor_say(
            finding,
            "Backlog=%s was asked for, and net.core.somaxconn=%s cuts it: %s connections can wait, not %s",
            COUNT(listener->asked), COUNT(facts->somaxconn), COUNT(room_of(listener)),
            COUNT(listener->asked + 1));
    else
        doctor_say(finding,
                   "the backlog in force, %s, is exactly net.core.somaxconn: more was asked for, perhaps",
                   COUNT(listener->backlog));
    doctor_advise(finding, "sysctl net.core.somaxconn=%" PRIu64 " and start it again",
                  asked_more && !at_bound ? listener->asked : doctor_more(facts->somaxconn));
}

/* A socket of latchd's that nobody reaches by its path. */
static void judge_displaced(const struct doctor_facts *facts, const struct doctor_listener *listener,
                            struct doctor_findings *findings) {
    static const char *const words[][2] = {
        {"no-directory", "the directory is not there any more"},
        {"nothing", "nothing stands there any more"},
        {"socket", "another socket stands there"},
        {"file", "a file stands there"},
        {"directory", "a directory stands there"},
        {"link", "a symbolic link stands there"},
    };
    const char *what = "something else stands there", *address = address_of(listener);
    struct doctor_finding *finding;

    if (!listener->displaced)
        return;
    finding =
        doctor_find(findings, DOCTOR_NO_LISTENER, DOCTOR_ERROR, evidence_of(facts, listener), "%s", address);
    if (finding)
        json_object_set_new(finding->evidence, "displaced", json_string(listener->displaced));
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcmp(listener->displaced, words[i][0]) == 0)
            what = words[i][1];
    doctor_say(finding,
               "%s does not lead to the socket that latchd has for the service: %s; whoever connects "
               "there does not reach the daemon",
               address, what);
    if (is_absent(listener->displaced))
        doctor_advise_command(finding, facts, "to make it anew", "latchctl restart");
    else {
        doctor_advise_command(finding, facts, "see whose it is", "latchctl probe");
        doctor_advise(finding, "then remove it, or move it away: %s %s",
                      strcmp(listener->displaced, "directory") == 0 ? "rmdir" : "rm", address);
        doctor_advise(finding, "latchd, while it runs, puts its socket back then");
    }
}

static void judge_replaced(const struct doctor_facts *facts, const struct doctor_listener *listener,
                           struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (!is_replaced(facts, listener))
        return;
    finding = doctor_find(findings, DOCTOR_BACKLOG_REPLACED, DOCTOR_HINT, evidence_of(facts, listener), "%s",
                          address_of(listener));
    doctor_say(
        finding,
        "latchd asked for Backlog=%s, and %s is in force: the daemon has called listen(2) again, with a "
        "number of its own%s",
        COUNT(listener->asked), COUNT(listener->backlog),
        listener->backlog < listener->asked ? ", or net.core.somaxconn was less at that time" : "");
    doctor_advise(finding, "set it by the daemon's own settings: Backlog= does not count after that");
}

static void judge_missing(const struct doctor_facts *facts, const struct doctor_listener *listener,
                          struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (listener->listening != 0 || !doctor_main(facts))
        return;
    finding = doctor_find(findings, DOCTOR_NO_LISTENER, DOCTOR_ERROR, evidence_of(facts, listener), "%s",
                          address_of(listener));
    doctor_say(finding, "nobody listens on %s, though the service runs", address_of(listener));
    doctor_advise(finding, "see in the daemon's log why it does not%s%s",
                  facts->service ? ": latchctl logs " : "", facts->service ? facts->service : "");
}

void doctor_judge_queues(const struct doctor_facts *facts, struct doctor_findings *findings) {
    for (size_t i = 0; i < facts->n_listeners; i++) {
        const struct doctor_listener *listener = &facts->listeners[i];

        judge_missing(facts, listener, findings);
        judge_displaced(facts, listener, findings);
        judge_waiting(facts, listener, findings);
        judge_clamped(facts, listener, findings);
        judge_full(facts, listener, findings);
        judge_replaced(facts, listener, findings);
    }
}
