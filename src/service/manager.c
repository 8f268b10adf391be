/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/manager.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/value.h"
#include "exec/birth.h"
#include "exec/rlimits.h"
#include "base/closer.h"
#include "notify/upstream.h"
#include "owned/owned.h"
#include "recovery/members.h"
#include "recovery/own-cgroup.h"
#include "runtime/runtime-dir.h"
#include "service/manager-internal.h"
#include "service/pulse.h"
#include "service/service-queues.h"
#include "service/service.h"

/* From a daemon's exec to its main() it is less than a millisecond. */
#define QUIET_USEC (2 * USEC_PER_MSEC)
#define QUIET_ACCURACY_USEC 500

#define SHORT_OF_MEMORY_USEC (100 * USEC_PER_MSEC)

struct service *manager_find(const struct manager *manager, const char *name) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (strcmp(manager->services[i]->config->name, name) == 0)
            return manager->services[i];
    return NULL;
}

static bool all_stopped(const struct manager *manager) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (!service_is_down(manager->services[i]))
            return false;
    return true;
}

static void reload_next(struct manager *manager);

static void on_config_checked(struct service *service, const struct err *err, void *userdata) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    struct manager *manager = userdata;

    manager->reloads = false;
    if (err && strcmp(err->name, "Cancelled") == 0)
        return;
    if (!err && !manager->stopping &&
        service_read_config(service, &changes, NULL) >= 0) /* else the journal says why */
        service_handle(service, SERVICE_ON_RELOAD);
    reload_next(manager);
}

/* One after the other: each is tried by a process. */
static void reload_next(struct manager *manager) {
    while (!manager->reloads && manager->reload_next < manager->n_services) {
        manager->reloads = true;
        service_check_config(manager->services[manager->reload_next++], on_config_checked, manager);
    }
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    manager_report_reload_signal(manager, info);
    manager->reload_next = 0; /* once more for those that were read for an earlier signal */
    reload_next(manager);
    return 0;
}

void manager_child_reaped(struct manager *manager, const siginfo_t *child) {
    if (manager_reexec_reaped(manager, child))
        return;
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->reload && service_reload_reaped(manager->services[i], child))
            return;
}

/* Which of several services an administrator has to hear of first. */
static int urgency(enum service_state state) {
    static const int urgencies[SERVICE_STATE_MAX] = {
        [SERVICE_RUNNING] = 0,  [SERVICE_RELOADING] = 1,  [SERVICE_STOPPED] = 2, [SERVICE_STOPPING] = 3,
        [SERVICE_STARTING] = 4, [SERVICE_RECOVERING] = 5, [SERVICE_BACKOFF] = 6, [SERVICE_FAILED] = 7,
        [SERVICE_BLOCKED] = 8,  [SERVICE_WAITING] = 4,
    };

    return urgencies[state];
}

/* One line for `systemctl status`: "running", "blocked: /run/kea/sock.lock is in the way ...". What is in it
 * may come from other processes, and a line break would begin another assignment (sd_notify(3)). */
static char *status_line(const struct manager *manager, const struct service *service) {
    bool alone = manager->n_services == 1;
    const char *why = service->blocked.message;
    char how[96], *line;

    if (!why && (service->state == SERVICE_BACKOFF || service->state == SERVICE_FAILED ||
                 (service->state == SERVICE_STOPPED && service->ended_by_itself)))
        why = service->failure.message ? service->failure.message
                                       : exit_status_describe(&service->last_exit, how, sizeof how);
    if (!why && service_state_has_main(service->state) && service->record.status_text)
        why = service->record.status_text;
    if (asprintf(&line, "%s%s%s%s%s", alone ? "" : service->config->name, alone ? "" : ": ",
                 service_state_shown(service->state), why ? ": " : "", why ? why : "") < 0)
        return NULL;
    value_make_printable(line);
    return line;
}

/* Where there is one service, its reload is ours. That it stops by itself (STOPPING=1) is not told: it will
 * be started again, and systemd would take it for our own end. */
static void tell_reloading(struct manager *manager) {
    bool reloading = manager->n_services == 1 && manager->services[0]->state == SERVICE_RELOADING;
    char text[96];

    if (!manager->announced || reloading == manager->told_reloading)
        return;
    manager->told_reloading = reloading;
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long) now_usec(CLOCK_MONOTONIC));
    (void) notify_upstream_send(manager->upstream, reloading ? text : "READY=1", -EBADF);
}

/* Tells systemd how things stand, and that it may go on once every service has got as far as it can get for
 * now. */
static void announce(struct manager *manager) {
    const struct service *worst = NULL;
    _cleanup_free_ char *line = NULL, *text = NULL;
    bool settled = true;

    if (!manager->upstream) /* nobody listens; a thousand services are not looked at for nothing */
        return;
    for (size_t i = 0; i < manager->n_services; i++) {
        const struct service *service = manager->services[i];

        if (service->state == SERVICE_STARTING || service->state == SERVICE_RECOVERING)
            settled = false;
        if (!worst || urgency(service->state) > urgency(worst->state))
            worst = service;
    }
    if (!worst)
        return;
    line = status_line(manager, worst);
    tell_reloading(manager);
    if (asprintf(&text, "%sSTATUS=%s", settled && !manager->announced ? "READY=1\n" : "", line ? line : "") <
        0)
        return;
    (void) notify_upstream_send(manager->upstream, text, -EBADF);
    manager->announced |= settled;
}

/* A container's init that serves one service is nothing without it: it ends when its daemon has ended for
 * good by itself. A service that somebody stopped may be started again. */
static bool ends_with_service(const struct manager *manager) {
    return manager->is_init && manager->n_services == 1 && manager->services[0]->ended_by_itself &&
           service_is_down(manager->services[0]);
}

static int exit_code(const struct manager *manager) {
    const struct service *service = manager->n_services == 1 ? manager->services[0] : NULL;
    int code;

    if (!manager->is_init || !service || service->last_exit_usec == 0)
        return 0;
    code = exit_status_to_code(&service->last_exit, !service->ended_by_itself);
    /* One that was never ready, and was stopped for it, may have obeyed well. */
    return code == 0 && service->state == SERVICE_FAILED ? 1 : code;
}

static int on_post(sd_event_source *source, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    if (manager->n_due > 0)
        return 0; /* a daemon that is to be started again at once comes before the telling of it */
    if (!manager->quiet)
        event_log_flush(manager->log);
    if (!manager->quiet && manager->changed && !manager->order_queue) {
        manager->changed = false;
        announce(manager);
    }
    if (manager->stopping ? all_stopped(manager) : ends_with_service(manager))
        return sd_event_exit(manager->event, exit_code(manager));
    return 0;
}

static void flush_records(struct manager *manager) {
    for (size_t i = 0; i < manager->n_services; i++)
        service_flush_record(manager->services[i]);
}

static int on_record(sd_event_source *source, void *userdata) {
    (void) source;
    flush_records(userdata);
    return 0;
}

static int on_quiet_over(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) usec;
    manager->quiet = false;
    for (size_t i = 0; i < manager->n_services; i++)
        service_launch_watch(manager->services[i]);
    manager_record_later(manager);
    return 0; /* on_post() flushes */
}

/* One that has begun already is not drawn out. */
void manager_keep_quiet(struct manager *manager) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + QUIET_USEC;
    int r;

    if (manager->quiet)
        return;
    if (!manager->quiet_source)
        r = sd_event_add_time(manager->event, &manager->quiet_source, CLOCK_MONOTONIC, until,
                              QUIET_ACCURACY_USEC, on_quiet_over, manager);
    else {
        r = sd_event_source_set_time(manager->quiet_source, until);
        if (r >= 0)
            r = sd_event_source_set_enabled(manager->quiet_source, SD_EVENT_ONESHOT);
    }
    manager->quiet = r >= 0;
    if (manager->quiet) /* what changed before has waited for it as well */
        (void) sd_event_source_set_enabled(manager->record_source, SD_EVENT_OFF);
}

void manager_record_later(struct manager *manager) {
    if (manager->quiet)
        return; /* then */
    (void) sd_event_source_set_enabled(manager->record_source, SD_EVENT_ONESHOT);
}

void manager_service_changed(struct manager *manager, struct service *service) {
    manager->changed = true;
    service_queues_follow(service);
    if (manager->on_change)
        manager->on_change(service, manager->on_change_userdata);
}

int manager_add_signal(struct manager *manager, int signal, sd_event_signal_handler_t handler,
                       int64_t priority, sd_event_source **ret) {
    sigset_t set;
    int r;

    sigemptyset(&set);
    sigaddset(&set, signal);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    r = sd_event_add_signal(manager->event, ret, signal, handler, manager);
    return r < 0 ? r : sd_event_source_set_priority(*ret, priority);
}

/* What systemd stored for a latchd before us, or opened for us: sd_listen_fds_with_names(3). */
static int inherit(struct manager *manager) {
    _cleanup_strlist_ char **names = NULL;
    int n = sd_listen_fds_with_names(true, &names);

    if (n <= 0)
        return n == -ENOMEM ? n : 0;
    manager->inherited = calloc((size_t) n, sizeof *manager->inherited);
    if (!manager->inherited)
        return -ENOMEM;
    for (int i = 0; i < n; i++)
        manager->inherited[i] = (struct inherited){.fd = SD_LISTEN_FDS_START + i, .name = TAKE_PTR(names[i])};
    free(names);
    names = NULL;
    manager->n_inherited = (size_t) n;
    return 0;
}

/* What nobody took is closed, beside the loop; for good: systemd need not keep what is of no service any
 * more. */
static void drop_inherited(struct manager *manager, bool for_good) {
    for (size_t i = 0; i < manager->n_inherited; i++) {
        struct inherited *inherited = &manager->inherited[i];
        _cleanup_free_ char *text = NULL;

        if (for_good && inherited->fd >= 0 && strchr(inherited->name, '/') &&
            asprintf(&text, "FDSTOREREMOVE=1\nFDNAME=%s", inherited->name) >= 0)
            (void) notify_upstream_send(manager->upstream, text, -EBADF);
        (void) closer_close(&manager->closer, &inherited->fd, inherited->fd >= 0 ? 1 : 0);
        free(inherited->name);
    }
    free(manager->inherited);
    manager->inherited = NULL;
    manager->n_inherited = 0;
}

/* Told once: from now on sockets that are not there yet are looked for by the clock. */
static void on_watch_limit(int error, void *userdata) {
    struct manager *manager = userdata;
    struct event_fields fields = {.n = 0};
    struct event_scope scope = {.service = NULL};

    event_field_add(&fields, "ERRNO", "%d", -error);
    event_field_set(&fields, "LATCHD_LIMIT",
                    error == -EMFILE ? "fs.inotify.max_user_instances" : "fs.inotify.max_user_watches");
    event_emit(
        manager->log, EVENT_WATCHES_EXHAUSTED, &scope, fields.fields, fields.n,
        "No more inotify watches (%s): control sockets that are to appear are looked for by the clock; "
        "raise %s with sysctl",
        strerror(-error), fields.fields[1].value);
}

int manager_new(struct event_log *log, int runtime_dir_fd, struct manager **ret, struct err *err) {
    struct manager *manager = calloc(1, sizeof *manager);
    siginfo_t child;
    int r;

    if (!manager)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    manager->log = log;
    manager->runtime_dir_fd = manager->children_fd = -EBADF;
    manager->is_init = getpid() == 1;
    manager->probe_cache = PROBE_CACHE_INIT;
    manager->proc_fd = procfs_open();
    if (manager->proc_fd < 0) {
        r = manager->proc_fd;
        manager_free(manager);
        return err_set(
            err, -r, "Failed",
            "there is no /proc, without which nothing can be told of any process: mount it (mount -t "
            "proc proc /proc): %m");
    }
    r = recovery_check_proc(manager->proc_fd, err);
    if (r < 0) {
        manager_free(manager);
        return r;
    }
    /* A shell may have begun something and then executed us: that is nobody's leftover (wait(2): ECHILD). */
    manager->had_children = waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0;
    /* Leftovers of our daemons become our children and stay attributable (prctl(2)). */
    manager->subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
    /* Neither is anything without which services could not run. */
    (void) procfs_read_cgroup(manager->proc_fd, getpid(), &manager->cgroup_path);
    (void) own_cgroup_find(manager->proc_fd, OWN_CGROUP_MOUNT, &manager->cgroup);
    r = sd_event_new(&manager->event);
    if (r >= 0)
        r = manager_begin_signals(manager);
    if (r >= 0)
        r = manager_add_signal(manager, SIGHUP, on_reload_signal, SD_EVENT_PRIORITY_NORMAL,
                               &manager->reload_source);
    if (r >= 0)
        r = sd_event_add_post(manager->event, &manager->post_source, on_post, manager);
    /* A restart that has no delay is over before: its two states cost one write. */
    if (r >= 0)
        r = sd_event_add_defer(manager->event, &manager->record_source, on_record, manager);
    if (r >= 0)
        r = sd_event_source_set_priority(manager->record_source, SD_EVENT_PRIORITY_IDLE);
    if (r >= 0)
        r = sd_event_source_set_enabled(manager->record_source, SD_EVENT_OFF);
    if (r >= 0)
        r = procfs_read_boot_id(manager->proc_fd, manager->boot_id);
    manager->default_signals = exec_default_signals();
    if (r >= 0 && notify_upstream_new(manager->event, getenv("NOTIFY_SOCKET"), &manager->upstream) == -ENOMEM)
        r = -ENOMEM;
    if (r >= 0)
        r = inherit(manager);
    if (r >= 0)
        r = path_watcher_new(manager->event, on_watch_limit, manager, &manager->watcher);
    if (r >= 0)
        r = pulse_start(manager);
    if (r < 0) {
        manager_free(manager);
        return err_set(err, -r, "Failed", "cannot set up the event loop: %m");
    }
    manager->runtime_dir_fd = runtime_dir_fd;
    *ret = manager;
    return 0;
}

/* Descriptors of one service. At rest: its lock, its control socket and the directory of that, what its
 * recovery waits for, its daemon, its notification socket. On its way also the channel to the child, probes,
 * files of its cgroup. */
#define FILES_AT_REST 6
#define FILES_AT_MOST 10
/* Of latchd itself: loop, signals, journal, a look over all processes; and CONTROL_LIMITS_DEFAULT clients. */
#define OWN_FILES 48
#define OWN_FILES_AND_CLIENTS 384

int manager_reserve_files(struct manager *manager, struct service_config *const configs[], size_t n_services,
                          struct err *err) {
    uint64_t n = n_services, sockets = 0, least;
    char more[80] = "";
    int r;

    for (size_t i = 0; i < n_services; i++)
        sockets += owned_count_files(configs[i]);
    least = n * FILES_AT_REST + OWN_FILES + sockets;
    r = rlimits_raise_own_files(n * FILES_AT_MOST + OWN_FILES_AND_CLIENTS + sockets, least,
                                &manager->files_before);

    manager->files_raised = r > 0;
    birth_reserve();
    if (r >= 0 || n == 1) /* one does with what there is for as long as it can */
        return 0;
    if (sockets > 0)
        snprintf(more, sizeof more, " + %llu (listeners and locks of Owner=latchd)",
                 (unsigned long long) sockets);
    return err_set(
        err, -r, "Failed",
        "cannot serve %zu services: that takes %zu x %d + %d%s = %llu open files at least, and latchd may "
        "have %llu and not more: raise LimitNOFILE= of the unit that starts it (in a shell: ulimit -Hn), or "
        "serve fewer services by each latchd",
        n_services, n_services, FILES_AT_REST, OWN_FILES, more, (unsigned long long) least,
        (unsigned long long) manager->files_before.rlim_max);
}

const struct rlimit *manager_own_files(const struct manager *manager) {
    return manager->files_raised ? &manager->files_before : NULL;
}

struct manager *manager_free(struct manager *manager) {
    if (!manager)
        return NULL;
    for (size_t i = 0; i < manager->n_services; i++)
        service_free(manager->services[i]);
    free(manager->services);
    sd_event_source_disable_unref(manager->order_source);
    order_done(&manager->order);
    manager_end_signals(manager);
    sd_event_source_disable_unref(manager->reload_source);
    sd_event_source_disable_unref(manager->post_source);
    free(manager->mains);
    drop_inherited(manager, false);
    notify_upstream_free(manager->upstream);
    sd_event_source_disable_unref(manager->record_source);
    sd_event_source_disable_unref(manager->quiet_source);
    sd_event_source_disable_unref(manager->limits_source);
    manager_end_reexec(manager);
    handover_drop(manager->handover, &manager->closer);
    closer_free(manager->closer);
    path_watcher_free(manager->watcher);
    manager_queues_free(manager);
    sd_event_source_disable_unref(manager->pulse);
    sd_event_unref(manager->event);
    own_cgroup_free(manager->cgroup);
    marks_table_free(manager->marks);
    free(manager->cgroup_path);
    fd_close(manager->proc_fd);
    fd_close(manager->children_fd);
    probe_cache_done(&manager->probe_cache);
    fd_close(manager->runtime_dir_fd);
    free(manager);
    return NULL;
}

/* A latchd before us in this process had it, and it was not free for a moment. */
static int take_lock(struct manager *manager, const char *runtime_dir, const char *service, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    char name[NAME_MAX + 8];

    snprintf(name, sizeof name, "lock:%s", service);
    fd = handover_take_fd(manager->handover, name);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return TAKE_FD(fd);
    return runtime_dir_lock_service(manager->runtime_dir_fd, runtime_dir, service, err);
}

int manager_add(struct manager *manager, const char *runtime_dir, struct service_config *config,
                struct service **ret, struct err *err) {
    _cleanup_close_ int lock_fd = take_lock(manager, runtime_dir, config->name, err);
    struct service **bigger;
    int r;

    if (lock_fd < 0)
        return lock_fd;
    bigger = reallocarray(manager->services, manager->n_services + 1, sizeof(struct service *));
    if (!bigger)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    manager->services = bigger;
    r = service_new(manager, config, lock_fd, &bigger[manager->n_services]);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot set up service %s: %m", config->name);
    TAKE_FD(lock_fd);
    bigger[manager->n_services]->place = manager->n_services;
    *ret = bigger[manager->n_services++];
    return 0;
}

int manager_run(struct manager *manager, struct err *err) {
    int r;

    manager->beginning = true;
    for (size_t i = 0; i < manager->n_services; i++) {
        r = service_adopt(manager->services[i]);
        if (r < 0)
            return err_set(err, -r, "Failed", "cannot take over the daemon of service %s: %m",
                           manager->services[i]->config->name);
        manager->services[i]->resumed = r > 0;
        service_store_inherit(manager->services[i]);
    }
    drop_inherited(manager, true);
    manager->handover = handover_drop(manager->handover, &manager->closer);
    service_order_start_all(manager);
    for (size_t i = 0; i < manager->n_services; i++) /* what was kept for a service that stays down */
        if (service_is_down(manager->services[i]))
            service_sockets_close(manager->services[i]);
    manager->beginning = false;
    manager_reap_soon(manager); /* what ended before SIGCHLD was ours to hear, or in between two programs */
    manager->marks = marks_table_free(manager->marks);
    /* What a want of memory keeps the loop from doing is to be done still: its sources stay as they are. */
    while ((r = sd_event_loop(manager->event)) == -ENOMEM)
        (void) usleep(SHORT_OF_MEMORY_USEC);
    if (r < 0)
        return err_set(err, -r, "Failed", "the event loop broke: %m");
    /* An end in good order leaves nothing to go on with: the next latchd starts what it is told to serve. */
    manager->stopping = true;
    for (size_t i = 0; i < manager->n_services; i++)
        manager->services[i]->record_dirty = true;
    flush_records(manager);
    return r;
}
