/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon tells by sd_notify(3), and what follows from it. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "base/closer.h"
#include "notify/sender.h"
#include "notify/socket.h"
#include "notify/store.h"
#include "notify/upstream.h"
#include "service/service-internal.h"

/* What is taken off the socket in one turn of the loop: whoever floods it waits for the others then. */
#define TURN_MAX 16
/* When the daemon has ended: all that it can have left there. The kernel holds net.unix.max_dgram_qlen (10,
 * systemd makes it 512) and lets senders wait for the rest. */
#define LAST_TURN_MAX 1024
/* A daemon that is told to reload says RELOADING=1 at once, or never. */
#define RELOADING_PATIENCE_USEC (500 * USEC_PER_MSEC)
#define COMPLAINT_INTERVAL_USEC (60 * USEC_PER_SEC)
#define EXTENSION_MIN_USEC (100 * USEC_PER_MSEC) /* of what systemd was told before */
#define STATUS_INTERVAL_USEC USEC_PER_SEC
#define BLOCKED_INTERVAL_USEC USEC_PER_SEC

struct service_notify {
    struct notify_socket socket;
    struct closer *closer;      /* of what is sent to this service: what hangs counts against no other one */
    sd_event_source *reopen;    /* while that is so */
    bool rights_refused;        /* nobody may send descriptors until less of it hangs */
    sd_event_source *source;
    sd_event_source *resume;    /* while descriptors that hang keep us from taking more */
    sd_event_source *tell;      /* a status that is still to be told of */
    sd_event_source *stopping;  /* by itself: when its time to end is over */
    uint64_t told_usec;         /* CLOCK_BOOTTIME */
    uint64_t extended_usec;     /* CLOCK_BOOTTIME: until then systemd was asked to wait */
    uint64_t complained_usec;   /* CLOCK_BOOTTIME; 0: never */
    unsigned uncomplained;      /* what was ignored since, without a word */
    enum notify_phase phase;    /* what it said last */
    uint64_t reload_asked_usec; /* CLOCK_MONOTONIC; 0: it reloads by itself, or does not */
    bool reload_announced;      /* this reload, by RELOADING=1 */
    bool announces_reloads;     /* it did so before */
    bool has_errno, has_exit_status;
    int error_number, exit_status;
};

static bool is_wanted(const struct service_config *config) {
    return config->type == SERVICE_TYPE_NOTIFY || config->watchdog_usec > 0;
}

/* -- what was ignored -- */

/* One event a minute at most, for as much as may be ignored in it. */
__attribute__((format(printf, 3, 4))) static void
complain(struct service *service, const struct notify_datagram *datagram, const char *fmt, ...) {
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

/* -- telling others -- */

static void write_record(struct service *service) {
    _cleanup_err_ struct err err = {0};

    if (service_write_record(service, &err) < 0)
        event_debug(service->manager->log, "%s", err_text(&err));
}

static void tell_status(struct service *service) {
    service->notify->told_usec = now_usec(CLOCK_BOOTTIME);
    service->notify->tell = sd_event_source_disable_unref(service->notify->tell);
    write_record(service);
    service->manager->changed = true; /* systemd is told with the end of this turn */
}

static int on_tell(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    tell_status(userdata);
    return 0;
}

/* At once, and then once a second however often it changes. */
static void status_changed(struct service *service) {
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    if (notify->tell)
        return;
    if (notify->told_usec == 0 || now - notify->told_usec >= STATUS_INTERVAL_USEC ||
        sd_event_add_time(service->manager->event, &notify->tell, CLOCK_BOOTTIME,
                          notify->told_usec + STATUS_INTERVAL_USEC, 0, on_tell, service) < 0)
        tell_status(service);
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
        complain(service, datagram,
                 "it had ended before it could be told whether it belongs to this service; "
                 "sd_notify_barrier(3), or systemd-notify(1), waits for that");
    else if (sender == NOTIFY_SENDER_UNKNOWN)
        complain(service, datagram,
                 "it may not be looked at, so that it cannot be told whether it belongs to "
                 "this service");
    else
        complain(service, datagram, "it is no process of this service (uid %lld)",
                 (long long) (int) datagram->uid);
    return false;
}

/* -- MAINPID= -- */

/* Returns whether there is another main process now. */
static bool change_main(struct service *service, const struct notify_datagram *datagram,
                        const struct notify_family *family, pid_t pid) {
    _cleanup_close_ int pidfd = -EBADF;
    sd_event_source *old_source = service->main_source;
    int old_pidfd = service->main_pidfd;
    uint64_t since_usec = service->main_since_usec;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    struct proc_stat stat;
    struct process_id id;
    int r;

    if (pid == service->record.main.pid || service->state == SERVICE_STOPPING)
        return false;
    pidfd = process_pin(service->manager->proc_fd, pid, &id);
    if (pidfd < 0 ||
        !notify_sender_counts(notify_sender_look_at_named(service->manager->proc_fd, pid, pidfd, family))) {
        complain(service, datagram, "MAINPID=%d names %s", (int) pid,
                 pidfd < 0 ? "no living process" : "a process that does not provably belong to this service");
        return false;
    }
    service->main_source = NULL;
    r = service_watch_main(service, pidfd, service->main_is_child);
    service->main_since_usec = since_usec;
    if (r < 0) {
        complain(service, datagram, "MAINPID=%d: it cannot be watched: %s", (int) pid, strerror(-r));
        service->main_source = old_source;
        service->main_pidfd = old_pidfd;
        return false;
    }
    TAKE_FD(pidfd); /* the service's now */
    sd_event_source_disable_unref(old_source);
    fd_close(old_pidfd);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) pid);
    event_field_add(&fields, "LATCHD_OLD_MAIN_PID", "%d", (int) service->record.main.pid);
    if (asprintf(&text, "The main process is PID %d from now on (MAINPID=), instead of PID %d", (int) pid,
                 (int) service->record.main.pid) >= 0)
        service_emit(service, EVENT_MAIN_CHANGED, &fields, text);
    service->record.main = id;
    service->record.session = 0;
    service->record.leads_session = false;
    if (procfs_read_stat(service->manager->proc_fd, pid, &stat) >= 0)
        service_record_set_session(&service->record, stat.session);
    service_note_main(service);
    manager_track_main(service);
    return true;
}

/* -- what follows -- */

/* The daemon needs longer, for as long as it says so again in time. */
static void extend_timeout(struct service *service, uint64_t usec) {
    const struct manager *manager = service->manager;
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME), until, at;
    char text[64];

    if (notify->stopping && sd_event_source_get_time(notify->stopping, &at) >= 0 &&
        usec < USEC_INFINITY - now && at < now + usec)
        (void) sd_event_source_set_time(notify->stopping, now + usec);
    if (!service->timer || (service->state != SERVICE_STARTING && service->state != SERVICE_STOPPING &&
                            service->state != SERVICE_RELOADING))
        return;
    until = usec >= USEC_INFINITY - now ? USEC_INFINITY : now + usec;
    if (sd_event_source_get_time(service->timer, &at) >= 0 && at < until) {
        (void) service_arm_timer_at(service, until);
        service_note_change(service); /* a latchd that comes next is to wait as long */
    }
    /* Where there is one service, what takes it longer takes us longer. */
    if (manager->n_services == 1 && (!manager->announced || manager->stopping || manager->told_reloading) &&
        until > notify->extended_usec && until - notify->extended_usec >= EXTENSION_MIN_USEC) {
        notify->extended_usec = until;
        snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long) usec);
        (void) notify_upstream_send(manager->upstream, text, -EBADF);
    }
}

static void begin_reloading(struct service *service, const struct notify_message *message) {
    struct service_notify *notify = service->notify;

    if (service->state == SERVICE_RUNNING) {
        notify->reload_asked_usec = 0;
        service_handle(service, SERVICE_ON_RELOADING);
    } else if (service->state != SERVICE_RELOADING ||
               (message->has_monotonic && message->monotonic_usec < notify->reload_asked_usec))
        return; /* it tells of a reload before the one that was asked for */
    notify->reload_announced = notify->announces_reloads = true;
    (void) service_arm_timer(service, service->config->timeout_start_usec);
}

/* It said that it stops, and lives on: then it hangs on its way out, and would be down for ever. */
static int on_overdue(sd_event_source *source, uint64_t usec, void *userdata) {
    struct service *service = userdata;
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *text = NULL;
    char waited[VALUE_FORMAT_MAX];

    (void) source;
    (void) usec;
    service->notify->stopping = sd_event_source_disable_unref(service->notify->stopping);
    if ((service->state != SERVICE_RUNNING && service->state != SERVICE_RELOADING) ||
        !service_notify_is_stopping(service) || service->main_pidfd < 0)
        return 0;
    value_format_usec(service->config->timeout_stop_usec, waited);
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_TIMEOUT", waited);
    if (asprintf(&text, "PID %d said that it stops (STOPPING=1), and did not end within %s (TimeoutStopSec=)",
                 (int) service->record.main.pid, waited) >= 0)
        service_emit(service, EVENT_STOPPING_OVERDUE, &fields, text);
    service_handle(service, SERVICE_ON_HUNG);
    return 0;
}

static void begin_stopping(struct service *service) {
    struct service_notify *notify = service->notify;
    uint64_t now = now_usec(CLOCK_BOOTTIME), patience_usec = service->config->timeout_stop_usec;

    status_changed(service);
    if (!notify->stopping && patience_usec < USEC_INFINITY - now)
        (void) sd_event_add_time(service->manager->event, &notify->stopping, CLOCK_BOOTTIME,
                                 now + patience_usec, 0, on_overdue, service);
}

static void follow_phase(struct service *service, const struct notify_message *message) {
    struct service_notify *notify = service->notify;

    if (message->phase == NOTIFY_PHASE_NONE)
        return;
    notify->phase = message->phase;
    if (message->phase != NOTIFY_PHASE_STOPPING) /* it thought better of it */
        notify->stopping = sd_event_source_disable_unref(notify->stopping);
    if (service->config->type != SERVICE_TYPE_NOTIFY)
        return;
    if (message->phase == NOTIFY_PHASE_RELOADING)
        begin_reloading(service, message);
    else if (message->phase == NOTIFY_PHASE_READY) {
        if ((service->state == SERVICE_STARTING &&
             !service->launch) || /* else service_executed() sees to it */
            (service->state == SERVICE_RELOADING && notify->reload_announced))
            service_become_ready(service);
    } else
        begin_stopping(service);
}

static void follow_watchdog(struct service *service, const struct notify_message *message) {
    if (message->has_watchdog_usec)
        service_watchdog_set(service, message->watchdog_usec);
    if (message->watchdog_ping)
        service_watchdog_ping(service);
    if (message->watchdog_trigger)
        service_watchdog_trigger(service);
}

static void follow_store(struct service *service, struct notify_datagram *datagram,
                         const struct notify_message *message) {
    const char *objection = NULL;

    if (message->fd_remove) {
        if (message->fd_name[0])
            service_store_remove(service, message->fd_name);
        else
            objection = "FDSTOREREMOVE=1 without FDNAME=";
    } else if (message->fd_store && datagram->fds_lost)
        objection = "a descriptor cannot be taken: latchd has too many open files";
    else if (message->fd_store)
        objection = service_store_take(service, datagram->fds, datagram->n_fds,
                                       message->fd_name[0] ? message->fd_name : NOTIFY_STORE_DEFAULT_NAME,
                                       message->fd_poll);
    if (objection)
        complain(service, datagram, "%s%s", message->fd_store ? "a descriptor is not stored: " : "",
                 objection);
}

static void apply(struct service *service, struct notify_datagram *datagram,
                  const struct notify_family *family, const struct notify_message *message) {
    struct service_notify *notify = service->notify;
    bool main_changed, write = false;

    if (message->barrier || !service_state_has_main(service->state) || service->main_pidfd < 0)
        return; /* a barrier's descriptor is closed with those that nobody wants */
    main_changed = message->main_pid > 0 && change_main(service, datagram, family, message->main_pid);
    if (message->has_status)
        service_record_set_status(&service->record, message->status);
    if (message->phase == NOTIFY_PHASE_READY && !service->record.ready)
        service->record.ready = write = true;
    if (message->has_errno) {
        notify->has_errno = true;
        notify->error_number = message->error_number;
    }
    if (message->has_exit_status) {
        notify->has_exit_status = true;
        notify->exit_status = message->exit_status;
    }
    /* In one write: a successor must neither take the daemon for starting, nor its first process for it. */
    if (main_changed || write)
        tell_status(service);
    else if (message->has_status)
        status_changed(service);
    if (main_changed)
        manager_service_changed(service->manager, service);
    if (message->extend_usec > 0)
        extend_timeout(service, message->extend_usec);
    follow_store(service, datagram, message);
    follow_phase(service, message);
    follow_watchdog(service, message);
}

static void handle(struct service *service, struct notify_datagram *datagram) {
    struct notify_message message;
    struct notify_family family;

    get_family(service, &family);
    if (!is_authorized(service, datagram, &family))
        return;
    if (datagram->is_cut || datagram->size > NOTIFY_MESSAGE_MAX) {
        complain(service, datagram, "it is longer than %d bytes", NOTIFY_MESSAGE_MAX);
        return;
    }
    if (notify_message_parse(datagram->data, datagram->size, &message) < 0) {
        complain(service, datagram, "it contains a NUL byte");
        return;
    }
    if (message.bad)
        complain(service, datagram, "the value of %s= makes no sense; the rest of it counts", message.bad);
    apply(service, datagram, &family, &message);
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
    if (fd >= 0 &&
        notify_socket_adopt(fd, manager->runtime_dir_fd, service->config->name, &service->notify->socket) >= 0)
        return 0;
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
    notify_socket_close(&notify->socket);
    closer_free(notify->closer);
    free(notify);
    service->notify = NULL;
}
