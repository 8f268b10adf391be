/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What signals mean to latchd, be it a container's init or not. To PID 1 of a PID namespace the kernel gives
 * only what it has a handler for (SIGNAL_UNKILLABLE, pid_namespaces(7)): what is not in here cannot hurt it,
 * and does nothing. To any other process SIGUSR1 and its like are deadly without a handler. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "exec/terminate.h"
#include "notify/upstream.h"
#include "service/manager-internal.h"
#include "service/service.h"

/* Children reaped in one turn of the loop: whoever makes orphans faster than that does not keep the services
 * waiting. */
#define REAPED_AT_ONCE 256
#define SIGNALS_AT_ONCE 16

struct manager_signals {
    sd_event_source *stop[4];
    sd_event_source *child;
    sd_event_source *more_children; /* there are more than could be reaped at once */
    sd_event_source *passed_on;
    int passed_on_fd; /* a signalfd(2) */
};

/* ---- stopping ---- */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) info;
    manager->stopping = true;
    (void) notify_upstream_send(manager->upstream, "STOPPING=1", -EBADF);
    service_order_stop_all(manager);
    return 0;
}

/* ---- passed on ---- */

/* "SIGUSR1 from PID 7 of uid 0", and the fields that say so. */
static void describe(const struct signalfd_siginfo *info, struct event_fields *fields, char *ret,
                     size_t size) {
    char name[16];

    value_format_signal((int) info->ssi_signo, name, sizeof name);
    event_field_add(fields, "LATCHD_SIGNAL", "SIG%s", name);
    event_field_add(fields, "LATCHD_CLIENT_UID", "%u", info->ssi_uid);
    if (info->ssi_pid > 0) {
        event_field_add(fields, "LATCHD_CLIENT_PID", "%u", info->ssi_pid);
        snprintf(ret, size, "SIG%s from PID %u of uid %u", name, info->ssi_pid, info->ssi_uid);
    } else /* it has no number here (pid_namespaces(7)) */
        snprintf(ret, size, "SIG%s from outside", name);
}

void manager_report_reload_signal(struct manager *manager, const struct signalfd_siginfo *info) {
    struct event_fields fields = {.n = 0};
    char what[80];

    describe(info, &fields, what, sizeof what);
    event_emit(manager->log, EVENT_RELOAD_ASKED, NULL, fields.fields, fields.n, "%s: reload", what);
}

static void ignore(struct manager *manager, const struct signalfd_siginfo *info, const char *why) {
    struct event_fields fields = {.n = 0};
    char what[80];

    describe(info, &fields, what, sizeof what);
    event_emit(manager->log, EVENT_SIGNAL_IGNORED, NULL, fields.fields, fields.n, "%s goes to nobody: %s",
               what, why);
}

static void pass_on(struct manager *manager, const struct signalfd_siginfo *info) {
    struct service *service = manager->n_services == 1 ? manager->services[0] : NULL;
    struct event_fields fields = {.n = 0};
    struct event_scope scope;
    char what[80];
    int r;

    /* A window's new size is nothing to a daemon, which has no terminal, and the end to some (httpd). */
    if (info->ssi_signo == SIGWINCH && info->ssi_code > 0)
        return;
    if (!service) {
        ignore(manager, info, "latchd serves several services, and it does not say which it means");
        return;
    }
    if (service->main_pidfd < 0) {
        ignore(manager, info, "the daemon does not run");
        return;
    }
    r = terminate_signal(service->main_pidfd, (int) info->ssi_signo);
    scope = service_scope(service);
    describe(info, &fields, what, sizeof what);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_emit(manager->log, EVENT_SIGNAL_PASSED_ON, &scope, fields.fields, fields.n, "%s %s PID %d%s%s",
               what, r < 0 ? "could not be passed on to" : "passed on to", (int) service->record.main.pid,
               r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
}

static int on_passed_on(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) events;
    for (int i = 0; i < SIGNALS_AT_ONCE; i++) {
        struct signalfd_siginfo info;

        if (read(fd, &info, sizeof info) != (ssize_t) sizeof info)
            return 0;
        pass_on(userdata, &info);
    }
    return 0;
}

/* All that a daemon may take for a message, and that neither stops latchd nor comes from its own faults.
 * SIGCONT is not among them: who lets a stopped latchd go on does not mean the daemon. One descriptor for all
 * of them: thirty event sources would cost more. */
static void fill_passed_on(sigset_t *set) {
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGQUIT, SIGWINCH, SIGALRM};

    sigemptyset(set);
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        sigaddset(set, signals[i]);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        if (signal != SIGRTMIN + 3)
            sigaddset(set, signal);
}

static int begin_passing_on(struct manager *manager, struct manager_signals *signals) {
    sigset_t set;
    int r;

    fill_passed_on(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    signals->passed_on_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->passed_on_fd < 0)
        return -errno;
    r = sd_event_add_io(manager->event, &signals->passed_on, signals->passed_on_fd, EPOLLIN, on_passed_on,
                        manager);
    return r < 0 ? r : 0;
}

/* ---- reaping ---- */

static size_t bucket_of(const struct manager *manager, pid_t pid) {
    return (size_t) pid & (manager->n_mains - 1);
}

/* As many buckets as services, so that a chain is mostly one long. */
static void make_room(struct manager *manager) {
    size_t n = manager->n_mains ? manager->n_mains : 1;
    struct service **old = manager->mains, **bigger;

    while (n < manager->n_services)
        n *= 2;
    if (n == manager->n_mains || !(bigger = calloc(n, sizeof(struct service *))))
        return; /* the old ones do, only slower */
    manager->mains = bigger;
    manager->n_mains = n;
    free(old);
    for (size_t i = 0; i < manager->n_services; i++) {
        struct service *service = manager->services[i];
        size_t bucket = bucket_of(manager, service->tracked_pid);

        if (service->tracked_pid == 0)
            continue;
        service->next_main = bigger[bucket];
        bigger[bucket] = service;
    }
}

void manager_forget_main(struct service *service) {
    struct manager *manager = service->manager;
    struct service **link;

    if (service->tracked_pid == 0)
        return;
    link = &manager->mains[bucket_of(manager, service->tracked_pid)];
    while (*link && *link != service)
        link = &(*link)->next_main;
    if (*link)
        *link = service->next_main;
    service->next_main = NULL;
    service->tracked_pid = 0;
}

void manager_track_main(struct service *service) {
    struct manager *manager = service->manager;
    size_t bucket;

    manager_forget_main(service);
    if (manager->n_mains < manager->n_services)
        make_room(manager);
    if (manager->n_mains == 0)
        return; /* no memory: its pidfd tells all the same */
    service->tracked_pid = service->record.main.pid;
    bucket = bucket_of(manager, service->tracked_pid);
    service->next_main = manager->mains[bucket];
    manager->mains[bucket] = service;
}

struct service *manager_find_main(struct manager *manager, pid_t pid) {
    struct service *service = manager->n_mains ? manager->mains[bucket_of(manager, pid)] : NULL;

    while (service && service->tracked_pid != pid)
        service = service->next_main;
    return service;
}

/* Reaps what has ended: daemons through their services, and whatever else became our child: leftovers, and
 * all orphans of the namespace where we are its init. */
static void reap(struct manager *manager) {
    pid_t last = 0;

    for (int i = 0; i < REAPED_AT_ONCE; i++) {
        siginfo_t child = {0};
        struct service *service;

        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) < 0 || child.si_pid == 0)
            return;
        service = manager_find_main(manager, child.si_pid);
        if (service && service->main_is_child && service->main_pidfd >= 0 && child.si_pid != last)
            service_main_exited(service);
        else if (waitid(P_PID, (id_t) child.si_pid, &child, WEXITED | WNOHANG) == 0 && child.si_pid > 0)
            manager_child_reaped(manager, &child);
        last = child.si_pid;
    }
    (void) sd_event_source_set_enabled(manager->signal_sources->more_children, SD_EVENT_ONESHOT);
}

void manager_reap_soon(struct manager *manager) {
    (void) sd_event_source_set_enabled(manager->signal_sources->more_children, SD_EVENT_ONESHOT);
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    (void) source;
    (void) info;
    reap(userdata);
    return 0;
}

static int on_more_children(sd_event_source *source, void *userdata) {
    (void) source;
    reap(userdata);
    return 0;
}

/* ---- all of them ---- */

int manager_begin_signals(struct manager *manager) {
    /* SIGPWR: the power goes (init's business); SIGRTMIN+3: what `machinectl poweroff` and images made for
     * systemd send (systemd(1)). */
    const int stop[] = {SIGTERM, SIGINT, SIGPWR, SIGRTMIN + 3};
    struct manager_signals *signals = calloc(1, sizeof *signals);
    int r = 0;

    if (!signals)
        return -ENOMEM;
    signals->passed_on_fd = -EBADF;
    manager->signal_sources = signals;
    (void) signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ELEMENTSOF(stop) && r >= 0; i++)
        r = manager_add_signal(manager, stop[i], on_stop, SD_EVENT_PRIORITY_NORMAL - 10, &signals->stop[i]);
    if (r >= 0)
        r = manager_add_signal(manager, SIGCHLD, on_child, SD_EVENT_PRIORITY_NORMAL - 5, &signals->child);
    if (r >= 0)
        r = sd_event_add_defer(manager->event, &signals->more_children, on_more_children, manager);
    if (r >= 0)
        r = sd_event_source_set_enabled(signals->more_children, SD_EVENT_OFF);
    if (r >= 0)
        r = begin_passing_on(manager, signals);
    return r;
}

void manager_end_signals(struct manager *manager) {
    struct manager_signals *signals = manager->signal_sources;

    manager->signal_sources = NULL;
    if (!signals)
        return;
    for (size_t i = 0; i < ELEMENTSOF(signals->stop); i++)
        sd_event_source_disable_unref(signals->stop[i]);
    sd_event_source_disable_unref(signals->child);
    sd_event_source_disable_unref(signals->more_children);
    sd_event_source_disable_unref(signals->passed_on);
    fd_close(signals->passed_on_fd);
    free(signals);
}
