/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/leftovers.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/terminate.h"
#include "probe/process-facts.h"
#include "recovery/members.h"
#include "recovery/own-cgroup.h"
#include "recovery/recover.h"

#define HELD_MAX 64 /* pidfds a service: a thousand may have leftovers at once */
#define NEW_MAX 512 /* a look: the rest is for the next turn of the loop */
#define DESCRIBED_MAX 8
#define POLL_USEC (50 * USEC_PER_MSEC) /* while there are some without a pidfd */
#define SOON_USEC USEC_PER_MSEC
#define STOP_ROUNDS_MAX 100
#define GIVE_UP_USEC (5 * USEC_PER_SEC)

static uint64_t add_saturated(uint64_t a, uint64_t b) {
    return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

enum leftovers_move leftovers_plan(const struct service_config *config, const struct leftovers_clock *clock,
                                   bool all_held, uint64_t now, uint64_t *ret_until_usec) {
    uint64_t patience = config->orphan_kill_usec;

    *ret_until_usec = USEC_INFINITY;
    if (config->orphan_policy == ORPHAN_FAIL)
        return LEFTOVERS_BLOCK;
    if (config->orphan_policy == ORPHAN_WAIT)
        return LEFTOVERS_WAIT;
    if (!clock->terminated_usec) {
        *ret_until_usec = add_saturated(clock->seen_usec, config->orphan_grace_usec);
        return now >= *ret_until_usec ? LEFTOVERS_TERMINATE : LEFTOVERS_WAIT;
    }
    if (!clock->killed_usec) {
        *ret_until_usec = add_saturated(clock->terminated_usec, patience);
        if (patience == USEC_INFINITY || now < *ret_until_usec)
            return LEFTOVERS_WAIT;
        return all_held ? LEFTOVERS_KILL : LEFTOVERS_STOP;
    }
    *ret_until_usec = add_saturated(
        clock->killed_usec, patience > GIVE_UP_USEC && patience != USEC_INFINITY ? patience : GIVE_UP_USEC);
    return now >= *ret_until_usec ? LEFTOVERS_GIVE_UP : LEFTOVERS_WAIT;
}

struct leftovers *leftovers_new(void) {
    struct leftovers *leftovers = calloc(1, sizeof *leftovers);

    if (leftovers)
        leftovers->wait_fd = -EBADF;
    return leftovers;
}

struct leftovers *leftovers_free(struct leftovers *leftovers) {
    if (!leftovers)
        return NULL;
    for (size_t i = 0; i < leftovers->n; i++)
        fd_close(leftovers->entries[i].pidfd);
    fd_close(leftovers->wait_fd);
    free(leftovers->entries);
    free(leftovers->cgroup_path);
    free(leftovers->in_the_way);
    free(leftovers);
    return NULL;
}

static bool has_ended(const struct leftover *entry, int proc_fd) {
    enum process_life life;

    if (entry->pidfd >= 0)
        return process_pidfd_ended(entry->pidfd);
    life = process_look(proc_fd, &entry->id);
    return life == PROCESS_GONE || life == PROCESS_ZOMBIE;
}

/* The set is over: the next one has its own clock. */
static void start_anew(struct leftovers *leftovers) {
    leftovers->clock = (struct leftovers_clock){0};
    leftovers->stop_rounds = 0;
    leftovers->told = false;
}

/* Who was given up stays known, and nobody has to wait for him; who is left by the next daemon has his own
 * time. */
void leftovers_forget(struct leftovers *leftovers) {
    leftovers->looked = false;
    start_anew(leftovers);
}

size_t leftovers_prune(struct leftovers *leftovers, int proc_fd) {
    size_t kept = 0, waited_for = 0;

    for (size_t i = 0; i < leftovers->n; i++) {
        struct leftover *entry = &leftovers->entries[i];

        if (has_ended(entry, proc_fd)) {
            leftovers->n_held -= entry->pidfd >= 0;
            fd_close(entry->pidfd); /* leaves the epoll set with its last descriptor */
            continue;
        }
        waited_for += !entry->given_up;
        leftovers->entries[kept++] = *entry;
    }
    leftovers->n = kept;
    return waited_for;
}

/* Has it in the epoll set, unless there are many. */
static void hold(struct leftovers *leftovers, struct leftover *entry, int pidfd) {
    struct epoll_event event = {.events = EPOLLIN};

    entry->pidfd = -EBADF;
    if (leftovers->wait_fd < 0)
        leftovers->wait_fd = epoll_create1(EPOLL_CLOEXEC);
    if (leftovers->n_held < HELD_MAX && leftovers->wait_fd >= 0 &&
        epoll_ctl(leftovers->wait_fd, EPOLL_CTL_ADD, pidfd, &event) >= 0) {
        entry->pidfd = pidfd;
        leftovers->n_held++;
    } else
        fd_close(pidfd);
}

static bool is_known(const struct leftovers *leftovers, const struct process_id *id) {
    for (size_t i = 0; i < leftovers->n; i++)
        if (process_id_equal(&leftovers->entries[i].id, id))
            return true;
    return false;
}

/* Whether the pid is one of those that are known, and still the same process. */
static bool is_known_pid(const struct leftovers *leftovers, pid_t pid, int proc_fd) {
    for (size_t i = 0; i < leftovers->n; i++)
        if (leftovers->entries[i].id.pid == pid)
            return !has_ended(&leftovers->entries[i], proc_fd);
    return false;
}

/* systemd, or a login, has taken it elsewhere: somebody else's by now. */
static bool has_moved_away(const struct recovery_host *host, const struct process_facts *process) {
    return host->own_cgroup_path && process->cgroup &&
           !cgroup_is_within(process->cgroup, host->own_cgroup_path);
}

static bool is_ancestor(const struct process_facts *process, pid_t pid) {
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (process->ancestors[i].pid == pid)
            return true;
    return false;
}

/* What its ancestors prove holds only if those that are known lived on while they were read. */
static enum leftover_proof prove(const struct leftovers *leftovers, const struct recovery_host *host,
                                 struct leftover_context *context, const struct process_facts *process) {
    _cleanup_free_ struct process_id *family = NULL;
    enum leftover_proof proof;

    context->helpers = NULL; /* a helper's program proves nothing of who holds nothing */
    proof = leftover_prove(process, context, (uid_t) -1);
    if (proof == PROOF_NONE && leftovers->n > 0 && (family = calloc(leftovers->n, sizeof *family))) {
        context->family = family;
        for (size_t i = 0; i < leftovers->n; i++)
            if (is_ancestor(process, leftovers->entries[i].id.pid) &&
                !has_ended(&leftovers->entries[i], host->proc_fd))
                family[context->n_family++] = leftovers->entries[i].id;
        proof = leftover_prove(process, context, (uid_t) -1);
        context->family = NULL;
        context->n_family = 0;
    }
    return (proof == PROOF_SESSION || proof == PROOF_DESCENDANT) && has_moved_away(host, process) ? PROOF_NONE
                                                                                                  : proof;
}

/* Takes the pidfd over. */
static int add(struct leftovers *leftovers, const struct process_id *id, int pidfd, enum leftover_proof proof,
               const char *comm) {
    struct leftover *bigger =
        (leftovers->n & (leftovers->n - 1))
            ? leftovers->entries
            : reallocarray(leftovers->entries, leftovers->n ? 2 * leftovers->n : 1, sizeof *bigger);
    struct leftover *entry;

    if (!bigger) {
        fd_close(pidfd);
        return -ENOMEM;
    }
    leftovers->entries = bigger;
    entry = &bigger[leftovers->n++];
    *entry = (struct leftover){.id = *id, .proof = proof};
    memcpy(entry->comm, comm, sizeof entry->comm - 1);
    value_make_printable(entry->comm);
    hold(leftovers, entry, pidfd);
    return 0;
}

int leftovers_add_root(struct leftovers *leftovers, int proc_fd, const struct process_id *id) {
    struct proc_stat stat = {.comm = "?"};
    int pidfd = process_pin_id(proc_fd, id);

    if (pidfd < 0)
        return pidfd;
    (void) procfs_read_stat(proc_fd, id->pid, &stat);
    return add(leftovers, id, pidfd, PROOF_NONE, stat.comm);
}

/* 1: it is one, and was not known. */
static int consider(struct leftovers *leftovers, const struct recovery_host *host,
                    struct leftover_context *context, pid_t pid) {
    struct process_facts process = {0};
    struct process_id id;
    _cleanup_close_ int pidfd = process_pin(host->proc_fd, pid, &id);
    enum leftover_proof proof;
    int r;

    if (pidfd < 0 || process_id_equal(&id, &host->known.id) || is_known(leftovers, &id))
        return 0;
    r = process_facts_read(host->proc_fd, pid, &process);
    if (r < 0)
        return r;
    if (process.start_ticks != id.start_ticks || process.life == PROCESS_ZOMBIE ||
        process.life == PROCESS_GONE)
        proof = PROOF_NONE;
    else
        proof = prove(leftovers, host, context, &process);
    if (proof != PROOF_NONE)
        r = add(leftovers, &id, TAKE_FD(pidfd), proof, process.comm);
    process_facts_done(&process);
    return r < 0 ? r : proof != PROOF_NONE;
}

static int search(const struct leftovers *leftovers, const struct recovery_host *host, pid_t **ret,
                  size_t *ret_n) {
    const struct leftover_places *places = &host->places;
    _cleanup_close_ int cgroup_fd =
        places->own_cgroup ? own_cgroup_open(places->own_cgroup, host->config->name, false) : -EBADF;
    struct member_search search = {
        .proc_fd = host->proc_fd, .cgroup_fd = cgroup_fd, .session = host->leftover.session};
    _cleanup_free_ pid_t *roots = NULL;
    int r = 0;

    if (cgroup_fd >= 0 && own_cgroup_is_populated(cgroup_fd) == 0)
        search.cgroup_fd = -EBADF;
    if (places->find_strays && !(leftovers->placed && cgroup_fd >= 0))
        r = places->find_strays(places->userdata, &roots, &search.n_roots);
    if (r == -ENOMEM)
        return r;
    search.roots = roots;
    if (places->marks && host->leftover.invocation_id)
        search.service = host->config->name;
    if (!leftovers->looked) /* who was there when it was read and is no more cannot have begun anybody since
                               whom the next look, with its own eyes, would miss */
        search.marks = places->marks_read;
    return members_search(&search, ret, ret_n);
}

int leftovers_look(struct leftovers *leftovers, const struct recovery_host *host) {
    struct leftover_context context = host->leftover;
    _cleanup_free_ pid_t *pids = NULL;
    size_t n, found = 0;
    int r;

    (void) leftovers_prune(leftovers, host->proc_fd);
    r = search(leftovers, host, &pids, &n);
    if (r < 0)
        return r;
    context.cgroup = leftovers->cgroup_path;
    leftovers->incomplete = leftovers->full = false;
    for (size_t i = 0; i < n; i++) {
        if (is_known_pid(leftovers, pids[i], host->proc_fd))
            continue;
        leftovers->full = leftovers->n >= LEFTOVERS_MAX;
        leftovers->incomplete = !leftovers->full && found == NEW_MAX;
        if (leftovers->full || leftovers->incomplete)
            break;
        r = consider(leftovers, host, &context, pids[i]);
        if (r < 0)
            return r;
        found += (size_t) r;
    }
    leftovers->found_new = found > 0;
    leftovers->looked = true;
    if (leftovers->n == 0)
        start_anew(leftovers);
    else if (leftovers->clock.seen_usec == 0)
        leftovers->clock.seen_usec = now_usec(CLOCK_BOOTTIME);
    return 0;
}

static int send_to(struct leftover *entry, int proc_fd, int signal) {
    _cleanup_close_ int found = -EBADF;

    if (entry->pidfd < 0) {
        found = process_pin_id(proc_fd, &entry->id);
        if (found < 0)
            return found;
    }
    return terminate_signal(entry->pidfd >= 0 ? entry->pidfd : found, signal);
}

size_t leftovers_signal(struct leftovers *leftovers, int proc_fd, int signal) {
    size_t n = 0;

    for (size_t i = 0; i < leftovers->n; i++)
        n += send_to(&leftovers->entries[i], proc_fd, signal) >= 0;
    return n;
}

/* All of them, or without those that the recovery watches by itself. */
static char *describe(const struct leftovers *leftovers, const struct recovery *watched) {
    size_t size, n = 0;
    char *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (size_t i = 0; i < leftovers->n; i++) {
        const struct leftover *entry = &leftovers->entries[i];

        if (!entry->given_up && !(watched && recovery_is_watching(watched, &entry->id)) &&
            n++ < DESCRIBED_MAX)
            fprintf(out, "%sPID %d (%s)", n > 1 ? ", " : "", (int) entry->id.pid, entry->comm);
    }
    if (n > DESCRIBED_MAX)
        fprintf(out, " and %zu more", n - DESCRIBED_MAX);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

char *leftovers_describe(const struct leftovers *leftovers) {
    return describe(leftovers, NULL);
}

/* ---- one round ---- */

struct round {
    struct leftovers *leftovers;
    struct recovery *recovery;
    const struct recovery_host *host;
    uint64_t now;
};

/* Who holds what is guarded is being ended for that already. */
static bool is_elsewhere(const struct round *round, const struct leftover *entry) {
    return entry->given_up || recovery_is_watching(round->recovery, &entry->id);
}

static size_t count_ours(const struct round *round) {
    size_t n = 0;

    for (size_t i = 0; i < round->leftovers->n; i++)
        n += !is_elsewhere(round, &round->leftovers->entries[i]);
    return n;
}

_printf_(4, 5) static void tell(struct round *round, enum event_id event, const char *step,
                                const char *format, ...) {
    const struct recovery_host *host = round->host;
    _cleanup_free_ char *text = NULL, *pids = NULL;
    struct event_fields fields = {.n = 0};
    size_t size, n = 0;
    FILE *out = open_memstream(&pids, &size);
    va_list args;
    int r;

    va_start(args, format);
    r = vasprintf(&text, format, args);
    va_end(args);
    for (size_t i = 0; out && i < round->leftovers->n; i++)
        if (!is_elsewhere(round, &round->leftovers->entries[i]) && n++ < 64)
            fprintf(out, "%s%d", n > 1 ? " " : "", (int) round->leftovers->entries[i].id.pid);
    if (r < 0 || !out || fclose(out) != 0)
        return;
    event_field_add(&fields, "LATCHD_LEFTOVERS", "%zu", n);
    event_field_set(&fields, "LATCHD_LEFTOVER_PIDS", pids);
    if (n > 0)
        event_field_set(&fields, "LATCHD_PROOF",
                        leftover_proof_to_string(round->leftovers->entries[0].proof));
    if (!host->dry_run)
        event_emit(host->log, event, &host->scope, fields.fields, fields.n, "%s", text);
    if (step)
        recovery_remember(round->recovery, step, NULL, 0, text);
}

static const char *plural(size_t n) {
    return n == 1 ? "process" : "processes";
}

static void tell_found(struct round *round, size_t n) {
    const struct service_config *config = round->host->config;
    _cleanup_free_ char *who = describe(round->leftovers, round->recovery), *then = NULL;
    char grace[VALUE_FORMAT_MAX];
    int r = 0;

    if (round->leftovers->told)
        return;
    round->leftovers->told = true;
    if (config->orphan_policy == ORPHAN_WAIT)
        r = asprintf(&then, "Waiting until %s by %s (OrphanPolicy=wait)", n == 1 ? "it ends" : "they end",
                     n == 1 ? "itself" : "themselves");
    else if (config->orphan_grace_usec > 0)
        r = asprintf(&then, "%s %s to end by %s", n == 1 ? "It has" : "They have",
                     value_format_usec(config->orphan_grace_usec, grace), n == 1 ? "itself" : "themselves");
    if (r >= 0)
        tell(round, EVENT_LEFTOVERS_FOUND, "wait", "A dead '%s' left %zu %s behind: %s. %s", config->name, n,
             plural(n), who ? who : "",
             then     ? then
             : n == 1 ? "It is ended now"
                      : "They are ended now");
}

/* The signal to all that have not got it, SIGKILL by the cgroup where there is one: that misses none. */
static size_t send_all(struct round *round, int signal) {
    struct leftovers *leftovers = round->leftovers;
    size_t n = 0;

    for (size_t i = 0; i < leftovers->n; i++) {
        struct leftover *entry = &leftovers->entries[i];
        bool *sent = signal == SIGTERM   ? &entry->terminated
                     : signal == SIGSTOP ? &entry->stopped
                                         : &entry->killed;

        if (*sent || is_elsewhere(round, entry))
            continue;
        *sent = true;
        n++;
        (void) send_to(entry, round->host->proc_fd, signal);
    }
    return n;
}

static bool kill_cgroup(const struct recovery_host *host) {
    _cleanup_close_ int fd = host->places.own_cgroup
                                 ? own_cgroup_open(host->places.own_cgroup, host->config->name, false)
                                 : -EBADF;

    return fd >= 0 && own_cgroup_use_up(fd) >= 0 && terminate_cgroup(fd) >= 0;
}

static void carry_out_terminate(struct round *round) {
    _cleanup_free_ char *who = describe(round->leftovers, round->recovery);
    bool first = round->leftovers->clock.terminated_usec == 0;
    size_t n = send_all(round, SIGTERM);

    if (first) {
        round->leftovers->clock.terminated_usec = round->now;
        tell(round, EVENT_LEFTOVERS_TERMINATED, "terminate",
             "Sent SIGTERM to %zu %s that a dead '%s' left: %s", n, plural(n), round->host->config->name,
             who ? who : "");
    }
}

static void carry_out_kill(struct round *round) {
    _cleanup_free_ char *who = describe(round->leftovers, round->recovery);
    size_t n = send_all(round, SIGKILL);

    if (round->leftovers->placed)
        (void) kill_cgroup(round->host);
    round->leftovers->clock.killed_usec = round->now;
    tell(round, EVENT_LEFTOVERS_KILLED, "kill", "Sent SIGKILL to %zu %s that a dead '%s' left: %s", n,
         plural(n), round->host->config->name, who ? who : "");
}

/* Of who was sent SIGKILL and is still there, no instruction is executed any more: it waits in the kernel,
 * and a start need not wait for it. Who came since is ended like the others. */
static void give_up(struct round *round) {
    struct leftovers *leftovers = round->leftovers;
    _cleanup_free_ char *who = describe(leftovers, round->recovery);
    bool all = !leftovers->incomplete && !leftovers->full;

    for (size_t i = 0; i < leftovers->n; i++)
        all &= leftovers->entries[i].killed || is_elsewhere(round, &leftovers->entries[i]);
    if (all)
        tell(round, EVENT_LEFTOVERS_REMAIN, "wait",
             "What a dead '%s' left does not end, though it was sent SIGKILL: %s. It waits in the kernel "
             "(for a "
             "disk or a server: /proc/PID/wchan, dmesg) and runs no more; nobody waits for it",
             round->host->config->name, who ? who : "");
    else
        tell(round, EVENT_LEFTOVERS_REMAIN, "wait",
             "What a dead '%s' left begins new processes faster than they can be ended: %s. That goes on; "
             "LimitNPROC= or TasksMax= bounds them, and with Delegate=yes in latchd's unit all are ended at "
             "once",
             round->host->config->name, who ? who : "");
    for (size_t i = 0; i < leftovers->n; i++)
        leftovers->entries[i].given_up |= leftovers->entries[i].killed;
    leftovers->clock.killed_usec = all ? leftovers->clock.killed_usec : round->now;
}

static void block(struct round *round, size_t n, struct err *err) {
    const char *name = round->host->config->name;
    _cleanup_free_ char *who = describe(round->leftovers, round->recovery);

    (void) err_set(
        err, EBUSY, "Blocked",
        "%zu %s that a dead '%s' left %s in the way: %s; OrphanPolicy=fail leaves that to you: end %s by "
        "hand, or by latchctl clear %s",
        n, plural(n), name, n == 1 ? "is" : "are", who ? who : "", n == 1 ? "it" : "them", name);
    if (round->leftovers->told || round->host->stopping || round->host->dry_run)
        return;
    round->leftovers->told = true;
    tell(round, EVENT_LEFTOVERS_FOUND, NULL, "%s", err_text(err));
}

/* Nothing is due before everybody is known: who is found is held or signalled meanwhile. */
static enum recover_outcome carry_out(struct round *round, enum leftovers_move move, uint64_t *next_usec,
                                      struct err *err) {
    struct leftovers *leftovers = round->leftovers;

    switch (move) {
    case LEFTOVERS_BLOCK:
        block(round, count_ours(round), err);
        return RECOVERY_BLOCKED;
    case LEFTOVERS_TERMINATE:
        carry_out_terminate(round);
        break;
    case LEFTOVERS_STOP:
        (void) send_all(round, SIGSTOP);
        leftovers->stop_rounds++;
        *next_usec = round->now + SOON_USEC;
        return RECOVERY_WORKING;
    case LEFTOVERS_KILL:
        carry_out_kill(round);
        break;
    case LEFTOVERS_GIVE_UP:
        give_up(round);
        break;
    default:
        return RECOVERY_WORKING;
    }
    *next_usec = round->now + 10 * SOON_USEC;
    return RECOVERY_WORKING;
}

int leftovers_step(struct leftovers *leftovers, struct recovery *recovery, const struct recovery_host *host,
                   enum recover_outcome *ret_outcome, uint64_t *next_usec, struct err *err) {
    struct round round = {
        .leftovers = leftovers, .recovery = recovery, .host = host, .now = now_usec(CLOCK_BOOTTIME)};
    uint64_t until_usec = USEC_INFINITY, next = USEC_INFINITY;
    enum leftovers_move move = LEFTOVERS_WAIT;
    bool by_cgroup = leftovers->placed && leftovers->cgroup_path;
    bool all_held;
    size_t n;
    int r = 0;

    *ret_outcome = RECOVERY_CLEAR;
    n = leftovers_prune(leftovers, host->proc_fd);
    if (leftovers->looked && n == 0 && leftovers->n == 0 && leftovers->clock.seen_usec == 0)
        return 0; /* nobody was left when the daemon ended, and so nobody can be */
    if (n > 0)
        move = leftovers_plan(host->config, &leftovers->clock, by_cgroup, round.now, &until_usec);
    /* While they are waited for, there is no need to know of every child that they have. */
    if (n == 0 || !leftovers->looked || leftovers->incomplete || move != LEFTOVERS_WAIT ||
        (leftovers->full && leftovers->n < LEFTOVERS_MAX))
        r = leftovers_look(leftovers, host);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot look for what a dead '%s' left: %m", host->config->name);
    n = count_ours(&round);
    if (n == 0 && !leftovers->incomplete && !leftovers->full)
        return 0;
    all_held = by_cgroup || leftovers->stop_rounds >= STOP_ROUNDS_MAX ||
               (leftovers->stop_rounds > 0 && !leftovers->found_new && !leftovers->incomplete);
    move = leftovers_plan(host->config, &leftovers->clock, all_held, round.now, &until_usec);
    if (host->dry_run && move != LEFTOVERS_BLOCK) {
        _cleanup_free_ char *who = describe(leftovers, recovery);

        tell(&round, EVENT_LEFTOVERS_FOUND, "terminate", "Would end %zu %s that a dead '%s' left: %s", n,
             plural(n), host->config->name, who ? who : "");
        *ret_outcome = RECOVERY_WORKING;
        return 0;
    }
    if (move != LEFTOVERS_BLOCK)
        tell_found(&round, n);
    *ret_outcome = carry_out(&round, move, &next, err);
    /* Who came later gets what the others have got. */
    if (move == LEFTOVERS_WAIT && leftovers->clock.terminated_usec)
        (void) send_all(&round, SIGTERM);
    if (move == LEFTOVERS_WAIT && leftovers->clock.killed_usec)
        (void) send_all(&round, SIGKILL);
    if (count_ours(&round) == 0)
        *ret_outcome = RECOVERY_CLEAR; /* they were given up */
    if (until_usec > round.now && until_usec < next)
        next = until_usec;
    if (leftovers->n > leftovers->n_held && round.now + POLL_USEC < next)
        next = round.now + POLL_USEC;
    if (leftovers->incomplete)
        next = round.now;
    if (next < *next_usec)
        *next_usec = next;
    return 0;
}
