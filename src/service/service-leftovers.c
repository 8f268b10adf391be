/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon leaves behind: where it is looked for, how it is shown, and who gets a signal on request.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/terminate.h"
#include "probe/process-facts.h"
#include "recovery/members.h"
#include "service/service-internal.h"

#define SHOWN_MAX 256
#define SIGNAL_USEC (250 * USEC_PER_MSEC) /* to look for whom a signal is for: the loop waits meanwhile */

/* ---- our children ---- */

static int compare_pids(const void *a, const void *b) {
    const pid_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The main processes that are our children, by ascending number. */
static int list_mains(const struct manager *manager, pid_t **ret, size_t *ret_n) {
    pid_t *mains = calloc(manager->n_services + 1, sizeof *mains);
    size_t n = 0;

    if (!mains)
        return -ENOMEM;
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->main_pidfd >= 0 && manager->services[i]->main_is_child)
            mains[n++] = manager->services[i]->record.main.pid;
    qsort(mains, n, sizeof *mains, compare_pids);
    *ret = mains;
    *ret_n = n;
    return 0;
}

/* Our children that are no service's main process: who was left to us, and helpers of our own. */
static int list_strays(struct manager *manager, pid_t **ret, size_t *ret_n) {
    _cleanup_free_ pid_t *children = NULL, *mains = NULL;
    size_t n, n_mains, kept = 0;
    int r = members_list_children(manager->proc_fd, &manager->children_fd, &children, &n);

    if (r >= 0)
        r = list_mains(manager, &mains, &n_mains);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (!bsearch(&children[i], mains, n_mains, sizeof *mains, compare_pids))
            children[kept++] = children[i];
    *ret = TAKE_PTR(children);
    *ret_n = kept;
    return 0;
}

/* A kernel that does not list children: all that descends from us is looked at, and told apart by proof. */
static int find_strays(void *userdata, pid_t **ret, size_t *ret_n) {
    int r = list_strays(userdata, ret, ret_n);

    if (r != -ENOENT)
        return r;
    *ret = malloc(sizeof **ret);
    if (!*ret)
        return -ENOMEM;
    **ret = getpid();
    *ret_n = 1;
    return 0;
}

/* ---- for recovery ---- */

void service_fill_leftovers(const struct service *service, struct recovery_host *host) {
    const struct manager *manager = service->manager;
    struct leftovers *leftovers = service->leftovers;
    bool left_to_us = leftovers->main_was_ours && manager->subreaper;

    host->leftovers = leftovers;
    host->own_cgroup_path = manager->cgroup_path;
    host->leftover.own_session = getsid(0);
    host->leftover.cgroup = leftovers->cgroup_path;
    if (leftovers->main_was_ours && leftovers->ended_ticks > 0) {
        host->leftover.session = service->record.main.pid;
        host->leftover.session_until_ticks = leftovers->ended_ticks;
    }
    host->places = (struct leftover_places){
        .own_cgroup = manager->cgroup,
        .marks = !left_to_us,
        .marks_read = manager->marks,
        .find_strays = left_to_us ? find_strays : NULL,
        .userdata = service->manager,
    };
    /* Of the daemons of an earlier latchd, which are looked for by their marks, there may be a thousand. */
    if (!left_to_us && !leftovers->looked && manager->beginning && !manager->marks &&
        service->record.invocation_id[0] && marks_table_read(manager->proc_fd, &service->manager->marks) >= 0)
        host->places.marks_read = manager->marks;
}

int service_make_cgroup(struct service *service) {
    int fd;

    if (!service->manager->cgroup)
        return -EBADF;
    fd = own_cgroup_open(service->manager->cgroup, service->config->name, true);
    return fd < 0 ? -EBADF : fd;
}

bool service_has_cgroup(const struct service *service) {
    _cleanup_close_ int fd = service->manager->cgroup
                                 ? own_cgroup_open(service->manager->cgroup, service->config->name, false)
                                 : -EBADF;

    return fd >= 0;
}

bool service_main_is_in_cgroup(const struct service *service) {
    _cleanup_free_ char *cgroup = NULL;

    return service->leftovers->cgroup_path && service_has_cgroup(service) &&
           procfs_read_cgroup(service->manager->proc_fd, service->record.main.pid, &cgroup) >= 0 &&
           cgroup_is_within(cgroup, service->leftovers->cgroup_path);
}

int service_open_cgroup(const struct service *service) {
    if (!service->manager->cgroup || !service->leftovers->placed)
        return -ENOENT;
    return own_cgroup_open(service->manager->cgroup, service->config->name, false);
}

void service_leftovers_begun(struct service *service, bool is_child, bool in_cgroup) {
    struct leftovers *leftovers = service->leftovers;

    if (!leftovers->cgroup_path && service->manager->cgroup)
        leftovers->cgroup_path = own_cgroup_path(service->manager->cgroup, service->config->name);
    leftovers->placed = in_cgroup && leftovers->cgroup_path;
    leftovers->main_was_ours = is_child;
    leftovers->ended_ticks = 0;
    leftovers_forget(leftovers);
}

/* One read, if the daemon was in its own cgroup; the list of our children else. */
static bool nothing_can_be_left(struct service *service) {
    _cleanup_close_ int cgroup_fd = service_open_cgroup(service);
    _cleanup_free_ pid_t *strays = NULL;
    size_t n;

    if (cgroup_fd >= 0)
        return own_cgroup_is_populated(cgroup_fd) == 0;
    return service->leftovers->main_was_ours && service->manager->subreaper &&
           list_strays(service->manager, &strays, &n) >= 0 && n == 0;
}

void service_leftovers_ended(struct service *service) {
    struct leftovers *leftovers = service->leftovers;

    if (leftovers->n == 0 && nothing_can_be_left(service)) {
        leftovers->looked = true;
        return;
    }
    leftovers_forget(leftovers);
    leftovers->ended_ticks = UINT64_MAX; /* its number is its own until it is reaped */
    {
        struct recovery_host host = service_recovery_host(service);

        if (leftovers_look(leftovers, &host) < 0)
            leftovers_forget(leftovers);
    }
    leftovers->ended_ticks = now_usec(CLOCK_BOOTTIME) / (USEC_PER_SEC / (uint64_t) sysconf(_SC_CLK_TCK));
}

void service_remove_cgroup(struct service *service) {
    if (service->manager->cgroup && service->leftovers->placed)
        (void) own_cgroup_remove(service->manager->cgroup, service->config->name);
}

/* ---- for people ---- */

bool service_has_leftovers(struct service *service) {
    struct leftovers *leftovers = service->leftovers;
    size_t n = leftovers_prune(leftovers, service->manager->proc_fd);

    if (n == 0 && (!leftovers->looked || leftovers->clock.seen_usec > 0)) {
        struct recovery_host host = service_recovery_host(service);

        (void) leftovers_look(leftovers, &host);
    }
    return leftovers->n > 0;
}

static const char *explain(const struct service *service, const struct leftover *entry) {
    if (entry->given_up)
        return "it was sent SIGKILL and does not end: it waits in the kernel";
    if (entry->killed)
        return "it was sent SIGKILL";
    switch (service->config->orphan_policy) {
    case ORPHAN_FAIL:
        return "OrphanPolicy=fail leaves it to you";
    case ORPHAN_WAIT:
        return "OrphanPolicy=wait lets it end by itself";
    default:
        return entry->terminated ? "it was sent SIGTERM" : "it is ended before the next start";
    }
}

static json_t *leftover_to_json(const struct service *service, const struct leftover *entry) {
    struct process_facts process = {0};
    json_t *json = NULL;

    if (process_facts_read(service->manager->proc_fd, entry->id.pid, &process) >= 0 &&
        process.start_ticks == entry->id.start_ticks)
        json = process_facts_to_json(&process);
    process_facts_done(&process);
    if (!json)
        return NULL;
    json_object_set_new(json, "proof", json_string(leftover_proof_to_string(entry->proof)));
    json_object_set_new(json, "why", json_string(explain(service, entry)));
    return json;
}

json_t *service_leftovers_to_json(struct service *service) {
    json_t *array = json_array();

    if (service_state_has_main(service->state))
        (void) leftovers_prune(service->leftovers, service->manager->proc_fd);
    else
        (void) service_has_leftovers(service);
    for (size_t i = 0; i < service->leftovers->n && i < SHOWN_MAX; i++) {
        json_t *json = leftover_to_json(service, &service->leftovers->entries[i]);

        if (json)
            json_array_append_new(array, json);
    }
    return array;
}

json_t *service_remaining_to_json(struct service *service) {
    json_t *array = service_leftovers_to_json(service);

    if (service->leftovers->in_the_way)
        json_array_append_new(array, json_pack("{s:s}", "why", service->leftovers->in_the_way));
    return array;
}

void service_report_remaining(struct service *service, const char *blocked) {
    struct leftovers *leftovers = service->leftovers;
    _cleanup_free_ char *who = NULL, *text = NULL;
    struct event_fields fields = {.n = 0};
    size_t n = leftovers_prune(leftovers, service->manager->proc_fd);

    free(leftovers->in_the_way);
    leftovers->in_the_way = blocked && n == 0 ? strdup(blocked) : NULL;
    if (n == 0 && !blocked)
        return;
    who = n > 0 ? leftovers_describe(leftovers) : NULL;
    event_field_add(&fields, "LATCHD_LEFTOVERS", "%zu", n);
    event_field_set(&fields, "LATCHD_REASON", n > 0 ? explain(service, &leftovers->entries[0]) : blocked);
    if (asprintf(&text, "Stopped, but not everything ended: %s%s%s", who ? who : "", who ? ": " : "",
                 n > 0 ? explain(service, &leftovers->entries[0]) : blocked) >= 0)
        service_emit(service, EVENT_LEFTOVERS_REMAIN, &fields, text);
}

/* Whether a child of ours is known to be some service's, or is our own helper, or was there before us. */
static bool is_attributed(const struct manager *manager, const struct process_facts *process,
                          uint64_t own_start) {
    if (process->session == getsid(0) || process->start_ticks < own_start)
        return true;
    if (manager->n_services == 1 && !manager->had_children && !process->service && getpid() != 1)
        return true;
    if (process->service && manager_find(manager, process->service))
        return true;
    for (size_t i = 0; i < manager->n_services; i++) {
        const struct service *service = manager->services[i];

        if (service->record.main.pid > 0 && process->session == service->record.main.pid)
            return true;
        if (service->leftovers->cgroup_path &&
            cgroup_is_within(process->cgroup, service->leftovers->cgroup_path))
            return true;
        for (size_t j = 0; j < service->leftovers->n; j++)
            if (service->leftovers->entries[j].id.pid == process->pid)
                return true;
    }
    return false;
}

json_t *service_unattributed_to_json(struct manager *manager) {
    struct proc_stat own = {0};
    _cleanup_free_ pid_t *strays = NULL;
    json_t *array = json_array();
    size_t n = 0;

    if (!manager->subreaper || list_strays(manager, &strays, &n) < 0 || n == 0)
        return array;
    (void) procfs_read_stat(manager->proc_fd, getpid(), &own);
    for (size_t i = 0; i < n && json_array_size(array) < SHOWN_MAX; i++) {
        struct process_facts process = {0};

        if (process_facts_read(manager->proc_fd, strays[i], &process) >= 0 && process.life != PROCESS_GONE &&
            process.life != PROCESS_ZOMBIE && !is_attributed(manager, &process, own.start_ticks))
            json_array_append_new(array, process_facts_to_json(&process));
        process_facts_done(&process);
    }
    return array;
}

int service_count_cgroup(const struct service *service) {
    _cleanup_close_ int fd = service_open_cgroup(service);
    _cleanup_free_ pid_t *pids = NULL;
    size_t n;
    int r;

    if (fd < 0)
        return fd;
    r = own_cgroup_list(fd, 1 << 20, &pids, &n);
    return r < 0 ? r : (int) n;
}

/* ---- signals on request ---- */

/* The main process's family too: what descends from it, and who is in its session. */
static int find_family(void *userdata, pid_t **ret, size_t *ret_n) {
    const struct service *service = userdata;
    pid_t *bigger;
    int r = find_strays(service->manager, ret, ret_n);

    if (r < 0 || service->main_pidfd < 0)
        return r;
    bigger = reallocarray(*ret, *ret_n + 1, sizeof *bigger);
    if (!bigger) {
        free(*ret);
        return -ENOMEM;
    }
    bigger[(*ret_n)++] = service->record.main.pid;
    *ret = bigger;
    return 0;
}

/* SIGKILL to the service's own cgroup, in which none can begin another meanwhile: how many were in it. */
static size_t kill_cgroup(const struct service *service) {
    _cleanup_close_ int fd = service_open_cgroup(service);
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;

    if (fd < 0 || own_cgroup_list(fd, 1 << 20, &pids, &n) < 0 || own_cgroup_use_up(fd) < 0 ||
        terminate_cgroup(fd) < 0)
        return 0;
    return n;
}

/* Looks until all are known, or this has taken too long, or there is no room for more. */
static int look_for_all(struct leftovers *all, const struct recovery_host *host) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + SIGNAL_USEC;
    int r;

    do
        r = leftovers_look(all, host);
    while (r >= 0 && all->incomplete && now_usec(CLOCK_MONOTONIC) < until);
    return r;
}

static int signal_all(struct service *service, int signal, struct service_signalled *ret, struct err *err) {
    size_t n_killed = signal == SIGKILL ? kill_cgroup(service) : 0;
    struct recovery_host host = service_recovery_host(service);
    struct leftovers *all = leftovers_new();
    int r;

    if (!all)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    all->placed = service->leftovers->placed;
    all->cgroup_path = service->leftovers->cgroup_path; /* borrowed, for the look */
    host.places.find_strays = find_family;
    host.places.userdata = service;
    host.places.marks = !service->leftovers->main_was_ours;
    if (service->main_pidfd >= 0) {
        host.leftover.session = service->main_is_child ? service->record.main.pid : 0;
        host.leftover.session_until_ticks = UINT64_MAX;
        (void) leftovers_add_root(all, service->manager->proc_fd, &service->record.main);
    }
    r = look_for_all(all, &host);
    if (r >= 0) {
        ret->n = leftovers_signal(all, service->manager->proc_fd, signal);
        ret->more = n_killed == 0 && (all->incomplete || all->full);
        ret->n = ret->n > n_killed ? ret->n : n_killed; /* who is being killed may be seen still */
    }
    all->cgroup_path = NULL;
    leftovers_free(all);
    return r < 0 ? err_set(err, -r, "Failed", "cannot look for the service's processes: %m") : 0;
}

int service_signal(struct service *service, int signal, bool all, struct service_signalled *ret,
                   struct err *err) {
    int r;

    *ret = (struct service_signalled){0};
    if (all) {
        r = signal_all(service, signal, ret, err);
        if (r < 0)
            return r;
        if (ret->n > 0)
            return 0;
    } else if (service->main_pidfd >= 0) {
        r = terminate_signal(service->main_pidfd, signal);
        ret->n = r >= 0;
        if (r < 0 && r != -ESRCH)
            return err_set(err, -r, r == -EPERM ? "NotPermitted" : "Failed",
                           "cannot send a signal to PID %d: %m", (int) service->record.main.pid);
        if (r >= 0)
            return 0;
    }
    return err_set(err, ESRCH, "NotRunning", "the service does not run: there is no %s to send a signal to",
                   all ? "process" : "main process");
}
