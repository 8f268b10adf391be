/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/manager.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "lock/describe.h"
#include "lock/probe.h"
#include "service/service.h"

/* A latchd that was killed may have left a child between fork and its first instruction, which holds a copy of
 * the lock's descriptor until it has closed it: moments. */
#define LOCK_PATIENCE_USEC (500 * USEC_PER_MSEC)

int manager_open_runtime_dir(const char *path, bool create, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (create && mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed",
                       "cannot create the runtime directory %s: %m", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed",
                       "cannot open the runtime directory %s: %m", path);
    if (fstat(fd, &st) < 0)
        return err_set(err, errno, "Failed", "cannot look at the runtime directory %s: %m", path);
    if (create && (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))))
        return err_set(err, EPERM, "NotPermitted",
                       "the runtime directory %s is owned by uid %u with mode %04o: it must be ours and writable by "
                       "nobody else (chown, chmod 0755, or choose another by --runtime-dir)",
                       path, st.st_uid, (unsigned) (st.st_mode & 07777));
    return TAKE_FD(fd);
}

/* Names who serves it. */
static int locked_by_other(const char *runtime_dir, const char *name, const char *service, struct err *err) {
    _cleanup_free_ char *path = NULL, *who = NULL;
    struct probe_request request = {.style = LOCK_STYLE_FLOCK};
    struct lock_facts *facts = NULL;

    if (asprintf(&path, "%s/%s", runtime_dir, name) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    request.path = path;
    if (lock_probe(&request, 1, &facts) >= 0 && facts->n_holders > 0)
        who = process_describe(&facts->holders[0].process);
    lock_facts_free_array(facts, facts ? 1 : 0);
    return err_set(err, EBUSY, "Held",
                   "service %s is served by another latchd already: %s holds %s; see latchctl status %s", service,
                   who ? who : "somebody", path, service);
}

int manager_lock_service(int runtime_dir_fd, const char *runtime_dir, const char *service, struct err *err) {
    uint64_t until = now_usec(CLOCK_BOOTTIME) + LOCK_PATIENCE_USEC;
    _cleanup_close_ int fd = -EBADF;
    char name[NAME_MAX + 1];
    struct stat st;

    if (snprintf(name, sizeof name, "%s.lock", service) >= (int) sizeof name)
        return err_set(err, ENAMETOOLONG, "Failed", "the service's name is too long: %s", service);
    fd = openat(runtime_dir_fd, name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed", "cannot open %s/%s: %m", runtime_dir,
                       name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0))
        return err_set(err, EPERM, "NotPermitted", "%s/%s is not a regular file of ours: remove it", runtime_dir, name);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set(err, errno, "Failed", "cannot lock %s/%s: %m", runtime_dir, name);
        if (now_usec(CLOCK_BOOTTIME) > until)
            return locked_by_other(runtime_dir, name, service, err);
        (void) usleep(5000);
    }
    return TAKE_FD(fd);
}

struct service *manager_find(struct manager *manager, const char *name) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (strcmp(manager->services[i]->config->name, name) == 0)
            return manager->services[i];
    return NULL;
}

static bool all_stopped(const struct manager *manager) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->state != SERVICE_STOPPED && manager->services[i]->state != SERVICE_FAILED)
            return false;
    return true;
}

/* In the order of stopping: the last one first. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) info;
    manager->stopping = true;
    (void) sd_notify(0, "STOPPING=1");
    for (size_t i = manager->n_services; i-- > 0;)
        service_handle(manager->services[i], SERVICE_ON_STOP);
    return 0;
}

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) info;
    for (size_t i = 0; i < manager->n_services; i++)
        service_handle(manager->services[i], SERVICE_ON_RELOAD);
    return 0;
}

static struct service *find_main(struct manager *manager, pid_t pid) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->main_pidfd >= 0 && manager->services[i]->main_is_child &&
            manager->services[i]->record.main.pid == pid)
            return manager->services[i];
    return NULL;
}

/* Reaps everything that ended: daemons through their services, and the leftovers that came to us. */
static int on_child_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) info;
    for (;;) {
        siginfo_t child = {0};
        struct service *service;

        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) < 0 || child.si_pid == 0)
            return 0;
        service = find_main(manager, child.si_pid);
        if (service)
            service_main_exited(service);
        else
            (void) waitid(P_PID, (id_t) child.si_pid, &child, WEXITED | WNOHANG);
    }
}

/* Tells systemd once every service has got as far as it can get for now. */
static void announce(struct manager *manager) {
    const struct service *worst = NULL;

    for (size_t i = 0; i < manager->n_services; i++) {
        const struct service *service = manager->services[i];

        if (service->state == SERVICE_STARTING || service->state == SERVICE_RECOVERING)
            return;
        if (!worst || service->state == SERVICE_BLOCKED)
            worst = service;
    }
    if (!worst)
        return;
    (void) sd_notifyf(0, "%sSTATUS=%s: %s%s%s", manager->announced ? "" : "READY=1\n", worst->config->name,
                      service_state_to_string(worst->state), worst->blocked.message ? ": " : "",
                      worst->blocked.message ? worst->blocked.message : "");
    manager->announced = true;
}

static int on_post(sd_event_source *source, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    if (manager->changed) {
        manager->changed = false;
        announce(manager);
    }
    if (manager->stopping && all_stopped(manager))
        return sd_event_exit(manager->event, 0);
    return 0;
}

void manager_service_changed(struct manager *manager, struct service *service) {
    manager->changed = true;
    if (manager->on_change)
        manager->on_change(service, manager->on_change_userdata);
}

static int add_signal(struct manager *manager, size_t slot, int signal, sd_event_signal_handler_t handler,
                      int64_t priority) {
    sigset_t set;
    int r;

    sigemptyset(&set);
    sigaddset(&set, signal);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    r = sd_event_add_signal(manager->event, &manager->signals[slot], signal, handler, manager);
    return r < 0 ? r : sd_event_source_set_priority(manager->signals[slot], priority);
}

int manager_new(struct event_log *log, int runtime_dir_fd, struct manager **ret, struct err *err) {
    struct manager *manager = calloc(1, sizeof *manager);
    int r;

    if (!manager)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    manager->log = log;
    manager->runtime_dir_fd = -EBADF;
    manager->proc_fd = procfs_open();
    if (manager->proc_fd < 0) {
        r = manager->proc_fd;
        manager_free(manager);
        return err_set(err, -r, "Failed", "cannot open /proc: %m");
    }
    /* Leftovers of our daemons become our children and stay attributable (prctl(2)). */
    manager->subreaper = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
    (void) signal(SIGPIPE, SIG_IGN);
    r = sd_event_new(&manager->event);
    if (r >= 0)
        r = add_signal(manager, 0, SIGTERM, on_stop_signal, SD_EVENT_PRIORITY_NORMAL - 10);
    if (r >= 0)
        r = add_signal(manager, 1, SIGINT, on_stop_signal, SD_EVENT_PRIORITY_NORMAL - 10);
    if (r >= 0)
        r = add_signal(manager, 2, SIGHUP, on_reload_signal, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = add_signal(manager, 3, SIGCHLD, on_child_signal, SD_EVENT_PRIORITY_NORMAL - 5);
    if (r >= 0)
        r = sd_event_add_post(manager->event, &manager->signals[4], on_post, manager);
    if (r < 0) {
        manager_free(manager);
        return err_set(err, -r, "Failed", "cannot set up the event loop: %m");
    }
    manager->runtime_dir_fd = runtime_dir_fd;
    *ret = manager;
    return 0;
}

struct manager *manager_free(struct manager *manager) {
    if (!manager)
        return NULL;
    for (size_t i = 0; i < manager->n_services; i++)
        service_free(manager->services[i]);
    free(manager->services);
    for (size_t i = 0; i < ELEMENTSOF(manager->signals); i++)
        sd_event_source_disable_unref(manager->signals[i]);
    sd_event_unref(manager->event);
    fd_close(manager->proc_fd);
    fd_close(manager->runtime_dir_fd);
    free(manager);
    return NULL;
}

int manager_add(struct manager *manager, const char *runtime_dir, struct service_config *config, struct service **ret,
                struct err *err) {
    _cleanup_close_ int lock_fd = manager_lock_service(manager->runtime_dir_fd, runtime_dir, config->name, err);
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
    *ret = bigger[manager->n_services++];
    return 0;
}

int manager_run(struct manager *manager, struct err *err) {
    int r;

    for (size_t i = 0; i < manager->n_services; i++) {
        r = service_adopt(manager->services[i]);
        if (r < 0)
            return err_set(err, -r, "Failed", "cannot take over the daemon of service %s: %m",
                           manager->services[i]->config->name);
        if (r == 0)
            service_handle(manager->services[i], SERVICE_ON_START);
    }
    r = sd_event_loop(manager->event);
    if (r < 0)
        return err_set(err, -r, "Failed", "the event loop broke: %m");
    return 0;
}
