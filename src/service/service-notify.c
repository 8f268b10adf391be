/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon tells by sd_notify(3): its socket, and whose word counts. What follows from it is in
 * service-notify-follow.c. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "service/service-notify.h"

/* What is taken off the socket in one turn of the loop: whoever floods it waits for the others then. */
#define TURN_MAX 16
/* When the daemon has ended: all that it can have left there. The kernel holds net.unix.max_dgram_qlen (10,
 * systemd makes it 512) and lets senders wait for the rest. */
#define LAST_TURN_MAX 1024
/* A daemon that is told to reload says RELOADING=1 at once, or never. */
#define RELOADING_PATIENCE_USEC (500 * USEC_PER_MSEC)
#define COMPLAINT_INTERVAL_USEC (60 * USEC_PER_SEC)
#define BLOCKED_INTERVAL_USEC USEC_PER_SEC

static bool is_wanted(const struct service_config *config) {
    return config->type == SERVICE_TYPE_NOTIFY || config->watchdog_usec > 0;
}

/* -- what was ignored -- */

void service_notify_complain(struct service *service, const struct notify_datagram *datagram, const char *fmt,
                             ...) {
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME);
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *reason = NULL, *text = NULL;
    char more[64] = "";
    va_list ap;
    int r;

    if (notify->complained_usec && now - notify->complained_usec < COMPLAINT_INTERVAL_USEC) {
        notify->uncomplained++;
        return;
    }
    va_start(ap, fmt);
    r = vasprintf(&reason, fmt, ap);
    va_end(ap);
    if (r < 0)
        return;
    if (notify->uncomplained > 0)
        snprintf(more, sizeof more, "; %u more since the last such message", notify->uncomplained);
    event_field_add(&fields, "LATCHD_SENDER_PID", "%d", (int) datagram->pid);
    event_field_add(&fields, "LATCHD_SENDER_UID", "%lld", (long long) (int) datagram->uid);
    event_field_set(&fields, "LATCHD_REASON", reason);
    if (asprintf(&text, "Ignored a notification from PID %d: %s%s", (int) datagram->pid, reason, more) >= 0)
        service_emit(service, EVENT_NOTIFY_IGNORED, &fields, text);
    notify->complained_usec = now;
    notify->uncomplained = 0;
}

/* -- whose word counts -- */

/* Whether nobody else can have the main process's number: it lives, or is ours and not reaped yet. */
static bool main_keeps_number(const struct service *service) {
    siginfo_t info = {0};

    if (service->main_pidfd < 0)
        return false;
    return !process_pidfd_ended(service->main_pidfd) ||
           (waitid(P_PIDFD, (id_t) service->main_pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == service->record.main.pid);
}

static void get_family(const struct service *service, struct notify_family *ret) {
    *ret = (struct notify_family){
        .service = service->config->name,
        .invocation_id = service->record.invocation_id,
        .main = main_keeps_number(service) ? service->record.main.pid : 0,
        .main_uid = (uid_t) -1,
        .supervisor = service->manager->subreaper ? getpid() : 0,
        .only_service = service->manager->n_services == 1 && !service->manager->had_children,
    };
}

static bool is_authorized(struct service *service, const struct notify_datagram *datagram,
                          struct notify_family *family) {
    enum notify_sender sender;
    struct proc_status status;

    if (datagram->pid == family->main && family->main > 0)
        return true;
    /* The last word of one that was adopted: its own parent has reaped it since. */
    if (datagram->pid == service->record.main.pid &&
        notify_sender_is_same(datagram->pidfd, service->main_pidfd))
        return true;
    if (datagram->uid != 0 && family->main > 0 &&
        procfs_read_status(service->manager->proc_fd, family->main, &status) >= 0)
        family->main_uid = status.uid;
    sender =
        notify_sender_look(service->manager->proc_fd, datagram->pid, datagram->uid, datagram->pidfd, family);
    if (notify_sender_counts(sender))
        return true;
    if (sender == NOTIFY_SENDER_GONE)
        service_notify_complain(service, datagram,
                                "it had ended before it could be told whether it belongs to this service; "
                                "sd_notify_barrier(3), or systemd-notify(1), waits for that");
    else if (sender == NOTIFY_SENDER_UNKNOWN)
        service_notify_complain(service, datagram,
                                "it may not be looked at, so that it cannot be told whether it belongs to "
                                "this service");
    else
        service_notify_complain(service, datagram, "it is no process of this service (uid %lld)",
                                (long long) (int) datagram->uid);
    return false;
}

static void handle(struct service *service, struct notify_datagram *datagram) {
    struct notify_message message;
    struct notify_family family;

    get_family(service, &family);
    if (!is_authorized(service, datagram, &family))
        return;
    if (datagram->is_cut || datagram->size > NOTIFY_MESSAGE_MAX) {
        service_notify_complain(service, datagram, "it is longer than %d bytes", NOTIFY_MESSAGE_MAX);
        return;
    }
    if (notify_message_parse(datagram->data, datagram->size, &message) < 0) {
        service_notify_complain(service, datagram, "it contains a NUL byte");
        return;
    }
    if (message.bad)
        service_notify_complain(service, datagram, "the value of %s= makes no sense; the rest of it counts",
                                message.bad);
    service_notify_apply(service, datagram, &family, &message);
}

/* -- the socket -- */

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata) {
    struct service *service = userdata;

    (void) source;
    (void) usec;
    service->notify->resume = sd_event_source_disable_unref(service->notify->resume);
    return sd_event_source_set_enabled(service->notify->source, SD_EVENT_ON);
}

/* Somebody handed us descriptors that cannot be closed, more and more of them. */
static void pause_reading(struct service *service) {
    uint64_t at = now_usec(CLOCK_BOOTTIME) + BLOCKED_INTERVAL_USEC;

    if (sd_event_add_time(service->manager->event, &service->notify->resume, CLOCK_BOOTTIME, at, 0, on_resume,
                          service) >= 0)
        (void) sd_event_source_set_enabled(service->notify->source, SD_EVENT_OFF);
}

static void judge_crowd(struct service *service);

static int on_reopen(sd_event_source *source, uint64_t usec, void *userdata) {
    struct service *service = userdata;

    (void) source;
    (void) usec;
    service->notify->reopen = sd_event_source_disable_unref(service->notify->reopen);
    judge_crowd(service);
    return 0;
}

/* Much of what came hangs: who sends more of it gets EPERM (SO_PASSRIGHTS), and those who send none are heard
 * on. What others had sent before is still to be taken. */
static void judge_crowd(struct service *service) {
    struct service_notify *notify = service->notify;
    bool crowded = closer_is_crowded(notify->closer);

    if (crowded != notify->rights_refused && closer_pass_rights(notify->socket.fd, !crowded) >= 0)
        notify->rights_refused = crowded;
    if (notify->rights_refused && !notify->reopen)
        (void) sd_event_add_time(service->manager->event, &notify->reopen, CLOCK_BOOTTIME,
                                 now_usec(CLOCK_BOOTTIME) + BLOCKED_INTERVAL_USEC, 0, on_reopen, service);
}

/* Descriptors that nobody wanted are closed beside the loop. */
static void let_go(struct service *service, struct notify_datagram *datagram) {
    size_t n = 0;

    for (size_t i = 0; i < datagram->n_fds; i++)
        if (datagram->fds[i] >= 0)
            datagram->fds[n++] = datagram->fds[i];
    (void) closer_close(&service->notify->closer, datagram->fds, n);
    fd_close(datagram->pidfd);
}

static void drain(struct service *service, const struct notify_socket *socket, unsigned max) {
    for (unsigned i = 0; i < max && !service->notify->resume; i++) {
        struct notify_datagram datagram;

        judge_crowd(service);
        if (closer_room(service->notify->closer) < NOTIFY_FDS_MAX) {
            pause_reading(service);
            service_watchdog_ping(service); /* what it says is not heard: that is not its fault */
            return;
        }
        if (notify_socket_receive(socket, &datagram) < 0)
            return;
        handle(service, &datagram);
        let_go(service, &datagram);
    }
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    (void) source;
    (void) fd;
    (void) events;
    drain(userdata, &((struct service *) userdata)->notify->socket, TURN_MAX);
    return 0;
}

void service_notify_drain(struct service *service) {
    if (service->notify)
        drain(service, &service->notify->socket, LAST_TURN_MAX);
}

static void name_in_handover(const struct service *service, char *buffer, size_t size) {
    snprintf(buffer, size, "notify:%s", service->config->name);
}

int service_notify_hand_over(struct service *service, struct handover *handover) {
    char name[300];

    if (!service->notify)
        return 0;
    name_in_handover(service, name, sizeof name);
    return handover_put_fd(handover, name, service->notify->socket.fd);
}

/* That of a latchd before us in this process, or a new one. */
static int open_socket(struct service *service, struct err *err) {
    struct manager *manager = service->manager;
    char name[300];
    int fd;

    name_in_handover(service, name, sizeof name);
    fd = handover_take_fd(manager->handover, name);
    if (fd >= 0 && notify_socket_adopt(fd, manager->runtime_dir_fd, service->config->name,
                                       &service->notify->socket) >= 0)
        return 0;
    if (fd >= 0) /* with what may be left in it */
        (void) closer_close(&manager->closer, &fd, 1);
    return notify_socket_open(manager->runtime_dir_fd, service->config->name, &service->notify->socket, err);
}

int service_notify_open(struct service *service, struct err *err) {
    struct service_notify *notify = service->notify;
    int r;

    if (notify || !is_wanted(service->config))
        return 0;
    notify = calloc(1, sizeof *notify);
    if (!notify)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    notify->socket = NOTIFY_SOCKET_INIT;
    service->notify = notify;
    r = open_socket(service, err);
    if (r < 0) {
        service_notify_free(service);
        return r;
    }
    r = sd_event_add_io(service->manager->event, &notify->source, notify->socket.fd, EPOLLIN, on_readable,
                        service);
    if (r < 0) {
        service_notify_free(service);
        return err_set(err, -r, "Failed", "cannot watch the notification socket: %s", strerror(-r));
    }
    (void) closer_pass_rights(notify->socket.fd, true); /* a latchd before us may have refused them */
    service_store_keep_socket(service, notify->socket.fd);
    return 0;
}

void service_notify_inherit(struct service *service, int fd) {
    struct notify_socket old = NOTIFY_SOCKET_INIT;

    old.fd = fd;
    if (service->notify && service->main_pidfd >= 0)
        drain(service, &old, LAST_TURN_MAX);
    (void) closer_close(&service->manager->closer, &fd, 1); /* with what may be left in it */
}

void service_notify_grant(struct service *service, uid_t uid) {
    int r;

    if (!service->notify || geteuid() != 0)
        return; /* its mode lets our own user in, who is the daemon's as well */
    r = notify_socket_grant(&service->notify->socket, service->config->user ? uid : (uid_t) -1);
    if (r < 0 &&
        service->config->user) /* not ours to give away, without CAP_CHOWN: who sends is looked at anyway */
        r = notify_socket_grant(&service->notify->socket, (uid_t) -1);
    if (r < 0)
        event_debug(service->manager->log, "cannot let the daemon write to %s: %s",
                    service->notify->socket.address, strerror(-r));
}

const char *service_notify_address(const struct service *service) {
    return service->notify ? service->notify->socket.address : NULL;
}

void service_notify_begin(struct service *service) {
    struct service_notify *notify = service->notify;

    service->record.ready = false;
    service_record_set_status(&service->record, NULL);
    if (!notify)
        return;
    notify->phase = NOTIFY_PHASE_NONE;
    notify->reload_asked_usec = 0;
    notify->reload_announced = notify->announces_reloads = false;
    notify->has_errno = notify->has_exit_status = false;
    notify->tell = sd_event_source_disable_unref(notify->tell);
    notify->stopping = sd_event_source_disable_unref(notify->stopping);
}

bool service_notify_awaits_ready(const struct service *service) {
    return service->config->type == SERVICE_TYPE_NOTIFY && !service->record.ready;
}

uint64_t service_notify_begin_reload(struct service *service) {
    struct service_notify *notify = service->notify;

    if (!notify || service->config->type != SERVICE_TYPE_NOTIFY)
        return 0;
    notify->reload_asked_usec = now_usec(CLOCK_MONOTONIC);
    notify->reload_announced = false;
    return notify->announces_reloads ? service->config->timeout_start_usec : RELOADING_PATIENCE_USEC;
}

bool service_notify_reloads_by_itself(const struct service *service) {
    return service->notify && service->notify->reload_announced && service->notify->reload_asked_usec == 0;
}

bool service_notify_is_stopping(const struct service *service) {
    return service->notify && service->notify->phase == NOTIFY_PHASE_STOPPING;
}

json_t *service_notify_to_json(const struct service *service) {
    static const char *const phases[] = {
        [NOTIFY_PHASE_READY] = "ready",
        [NOTIFY_PHASE_RELOADING] = "reloading",
        [NOTIFY_PHASE_STOPPING] = "stopping",
    };
    const struct service_notify *notify = service->notify;

    if (!notify)
        return json_null();
    return json_pack("{s:s, s:s?, s:o, s:o, s:o}", "socket", notify->socket.address, "phase",
                     phases[notify->phase], "errno",
                     notify->has_errno ? json_integer(notify->error_number) : json_null(), "exitStatus",
                     notify->has_exit_status ? json_integer(notify->exit_status) : json_null(), "stored",
                     service_store_to_json(service));
}

void service_notify_free(struct service *service) {
    struct service_notify *notify = service->notify;

    if (!notify)
        return;
    sd_event_source_disable_unref(notify->source);
    sd_event_source_disable_unref(notify->resume);
    sd_event_source_disable_unref(notify->reopen);
    sd_event_source_disable_unref(notify->tell);
    sd_event_source_disable_unref(notify->stopping);
    notify_socket_close(&notify->socket, &notify->closer);
    closer_free(notify->closer);
    free(notify);
    service->notify = NULL;
}
