/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon is told to read its configuration again: by ReloadSignal=, or by the command ExecReload=. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/strlist.h"
#include "base/value.h"
#include "exec/terminate.h"
#include "service/service-internal.h"
#include "service/service-limits.h"

#define DYING_PATIENCE_USEC USEC_PER_SEC

/* The command of ExecReload= under way. */
struct service_reload {
    struct service_launch *launch;
    struct spawn spawn;
    sd_event_source *channel;
    uint64_t patience_usec; /* for READY=1, once it is done */
    bool executed;
    bool ready; /* the daemon said so meanwhile */
};

void service_end_reload(struct service *service) {
    struct service_reload *reload = service->reload;

    if (!reload)
        return;
    sd_event_source_disable_unref(reload->channel);
    if (reload->spawn.pidfd >= 0) /* it is nobody's business any more; SIGCHLD reaps it */
        (void) terminate_signal(reload->spawn.pidfd, SIGKILL);
    if (spawn_done(&reload->spawn))
        service_launch_free(reload->launch);
    free(reload);
    service->reload = NULL;
}

static void tell_failure(struct service *service, const char *reason) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;

    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_REASON", reason);
    if (asprintf(&text, "PID %d was not reloaded: %s", (int) service->record.main.pid, reason) >= 0)
        service_emit(service, EVENT_RELOAD_FAILED, &fields, text);
    err_done(&service->reload_failure);
    (void) err_set(&service->reload_failure, EIO, "Failed", "the daemon of service %s was not reloaded: %s",
                   service->config->name, reason);
}

/* The daemon has been told; now it has to answer again. */
static void await_ready(struct service *service, uint64_t patience_usec) {
    if (patience_usec > 0) { /* for READY=1, where RELOADING=1 came before it */
        (void) service_arm_timer(service, patience_usec);
        return;
    }
    if (service_begin_probes(service) < 0 || service->probes_pending == 0)
        service_handle(service, SERVICE_ON_READY);
    else
        (void) service_arm_timer(service, service->config->timeout_start_usec);
}

static void command_failed(struct service *service, const char *reason) {
    service_end_reload(service);
    tell_failure(service, reason);
    service_handle(service, SERVICE_ON_READY); /* it goes on as it was */
}

static int on_channel(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct service *service = userdata;
    struct service_reload *reload = service->reload;
    _cleanup_err_ struct err err = {0};
    int r;

    (void) source;
    (void) fd;
    (void) events;
    /* Off while it is read: the channel is closed in there once the outcome is known. */
    (void) sd_event_source_set_enabled(reload->channel, SD_EVENT_OFF);
    r = spawn_read_status(&reload->spawn, service_launch_plan(reload->launch), &err);
    if (r == -EAGAIN)
        return sd_event_source_set_enabled(reload->channel, SD_EVENT_ON);
    reload->channel = sd_event_source_disable_unref(reload->channel);
    reload->executed = r == 0;
    if (r < 0)
        command_failed(service, err_text(&err));
    return 0;
}

bool service_reload_reaped(struct service *service, const siginfo_t *child) {
    struct service_reload *reload = service->reload;
    struct exit_status status = {.known = true, .code = child->si_code, .status = child->si_status};
    _cleanup_free_ char *text = NULL;
    char how[96];

    if (!reload || reload->spawn.id.pid != child->si_pid)
        return false;
    reload->spawn.pidfd = fd_close(reload->spawn.pidfd); /* reaped: nobody to signal */
    if (!reload->executed && reload->channel) {          /* it is told there why */
        (void) on_channel(reload->channel, reload->spawn.channel_fd, 0, service);
        if (!service->reload || !service->reload->executed)
            return true;
    }
    if (status.code == CLD_EXITED && status.status == 0) {
        bool ready = reload->ready;
        uint64_t patience_usec = reload->patience_usec;

        service_end_reload(service);
        if (ready)
            service_handle(service, SERVICE_ON_READY);
        else
            await_ready(service, patience_usec);
        return true;
    }
    if (asprintf(&text, "ExecReload= (%s) %s",
                 service->config->exec_reload ? service->config->exec_reload[0] : "",
                 exit_status_describe(&status, how, sizeof how)) < 0)
        text = NULL;
    command_failed(service, text ? text : "ExecReload= failed");
    return true;
}

void service_reload_timed_out(struct service *service) {
    _cleanup_free_ char *text = NULL;
    char waited[VALUE_FORMAT_MAX];

    value_format_usec(service->config->timeout_start_usec, waited);
    if (!service->reload && service->probes_pending == 0)
        return; /* a daemon that announces nothing has had its moment, and that is all there is to wait for */
    if (asprintf(&text,
                 service->reload ? "ExecReload= did not end within %s (TimeoutStartSec=) and was killed"
                                 : "it did not answer again within %s (TimeoutStartSec=)",
                 waited) < 0)
        text = NULL;
    service_end_reload(service);
    tell_failure(service, text ? text : "it took too long");
}

bool service_reload_holds_ready(struct service *service) {
    if (!service->reload)
        return false;
    service->reload->ready = true;
    return true;
}

/* Prepared like the daemon, with another command line, and MAINPID. Nothing in the copy is its own. */
static int prepare(struct service *service, struct service_launch **ret, struct err *err) {
    _cleanup_strlist_ char **environment = NULL;
    struct service_config copy = *service->config;
    char *main_pid;

    if (asprintf(&main_pid, "MAINPID=%d", (int) service->record.main.pid) < 0)
        main_pid = NULL;
    if (strlist_extend(&environment, service->config->environment) < 0) {
        free(main_pid);
        return err_set(err, ENOMEM, "Failed", "out of memory");
    }
    if (strlist_append(&environment, NULL, main_pid) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    copy.exec_start = service->config->exec_reload;
    copy.environment = environment;
    return service_launch_prepare(&copy, service->manager->proc_fd, service->manager->runtime_dir_fd,
                                  service->record.invocation_id, false,
                                  service_notify_address(service), service_limits_open_files(service),
                                  manager_own_files(service->manager), ret, err);
}

static int begin_command(struct service *service, struct err *err) {
    struct service_reload *reload = service->reload;
    int r = prepare(service, &reload->launch, err);

    if (r >= 0)
        r = spawn_start(service->manager->proc_fd, service_launch_plan(reload->launch), &reload->spawn, err);
    if (r < 0)
        return r;
    r = sd_event_add_io(service->manager->event, &reload->channel, reload->spawn.channel_fd, EPOLLIN,
                        on_channel, service);
    if (r >= 0)
        r = spawn_release(&reload->spawn);
    return r < 0 ? err_set(err, -r, "Failed", "it cannot be watched: %s", strerror(-r)) : 0;
}

static void run_command(struct service *service, uint64_t patience_usec) {
    _cleanup_err_ struct err err = {0};

    service->reload = calloc(1, sizeof *service->reload);
    if (!service->reload) {
        command_failed(service, "out of memory");
        return;
    }
    service->reload->spawn = SPAWN_INIT;
    service->reload->patience_usec = patience_usec;
    if (begin_command(service, &err) < 0)
        command_failed(service, err_text(&err));
    else
        (void) service_arm_timer(service, service->config->timeout_start_usec);
}

/* Whether nothing in the daemon's main thread keeps the signal from its default action, which is mostly to end it.
 * False also where that cannot be told. */
static bool is_defenceless(const struct service *service, int signal) {
    uint64_t held;

    return procfs_read_held_signals(service->manager->proc_fd, service->record.main.pid, &held) >= 0 &&
           !(held & UINT64_C(1) << (signal - 1));
}

static void send_signal(struct service *service, uint64_t patience_usec) {
    int signal = service->config->reload_signal;
    bool defenceless = is_defenceless(service, signal);
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char name[16];

    value_format_signal(signal, name, sizeof name);
    event_field_add(&fields, "LATCHD_SIGNAL", "SIG%s", name);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_KEY", "ReloadSignal=");
    if (asprintf(&text, "Sent SIG%s to PID %d (ReloadSignal=)", name, (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_RELOAD_SIGNAL_SENT, &fields, text);
    (void) terminate_signal(service->main_pidfd, signal);
    /* Its end comes in a moment. That is not to be told as a success; nor is its socket to be asked, where one that
     * is about to die may have its connections still. */
    if (defenceless && patience_usec == 0)
        patience_usec = DYING_PATIENCE_USEC;
    await_ready(service, patience_usec);
}

void service_reload(struct service *service) {
    uint64_t patience_usec;

    service_end_reload(service); /* of one that is still under way nothing is known: the new one counts */
    err_done(&service->reload_failure);
    patience_usec = service_notify_begin_reload(service);
    if (service->config->exec_reload) {
        run_command(service, patience_usec);
        return;
    }
    send_signal(service, patience_usec);
}

bool service_reload_ended_it(const struct service *service) {
    const struct exit_status *last = &service->last_exit;

    return service->state == SERVICE_RELOADING && !service->config->exec_reload && last->known &&
           (last->code == CLD_KILLED || last->code == CLD_DUMPED) &&
           last->status == service->config->reload_signal;
}

void service_reload_note_end(struct service *service) {
    char name[16];

    if (service->stop_wanted || !service_reload_ended_it(service))
        return;
    err_done(&service->failure);
    (void) err_set(&service->failure, EIO, "Failed",
                   "the daemon ended by SIG%s (ReloadSignal=) instead of reloading: set ExecReload= or another "
                   "ReloadSignal=",
                   value_format_signal(service->config->reload_signal, name, sizeof name));
}
