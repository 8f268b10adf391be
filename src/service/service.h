/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One service at run time: carries out what the table in state.c says. */

#include <signal.h>

#include "config/config-compare.h"
#include "service/manager.h"
#include "health/ready.h"
#include "recovery/recover.h"
#include "service/restart.h"
#include "exec/spawn.h"
#include "service/state.h"
#include "runtime/state-file.h"

/* What a child needs until the outcome of its exec is known. */
struct service_launch;

/* What the daemon tells by sd_notify(3) (service-notify.c). */
struct service_notify;

/* What is known of the daemon's limits beside what NAME.state says of them (service-limits.c). */
struct service_limits;

/* A command that reloads the daemon (service-reload.c). */
struct service_reload;

/* What is known of the daemon's health (service-health.c). */
struct service_health;

/* What is remembered of a listener's queue (service-queues.h). */
struct queue_mark;

/* Its place among services that wait for each other (service-order.c). */
struct service_order;

struct service {
    struct manager *manager;       /* borrowed */
    size_t place;                  /* in manager->services */
    struct service_config *config; /* owned; what the daemon was started with, and what counts at once of
                                    * what was read since */
    struct config_check *checks;        /* owned; trials of the new configuration under way */
    struct service_config *next_config; /* owned; for the next start; NULL: the same */
    char *config_word;                  /* owned: as named on the command line; NULL: described by options */
    int lock_fd;                   /* NAME.lock, held for as long as this lives */

    enum service_state state;
    uint64_t state_since_usec;    /* CLOCK_REALTIME */
    bool start_again;             /* when it has stopped */
    bool resumed;                 /* when this latchd began it went on from where another one had left it */
    bool ended_by_itself;         /* its last end was not asked for, and it stays down */
    bool stop_wanted;             /* its end will be our doing */
    bool down_wanted;             /* somebody asked for it to be down, and for no start since */
    bool record_dirty;            /* NAME.state says less than is so by now */
    bool record_foreign;          /* NAME.state is a later version's: left alone until a start */
    bool end_is_failure; /* it is being stopped since it was never ready, or hung: a failure whatever its exit
                          status */
    struct service_record record; /* as in NAME.state; record.main.pid 0: no daemon */
    uint64_t main_since_usec;     /* CLOCK_BOOTTIME */
    int main_pidfd;               /* -EBADF: no daemon */
    bool main_is_child;           /* else it was adopted */
    bool main_reaped; /* record.main has ended and was our child: its number may be free again, it is gone */
    pid_t tracked_pid;            /* as manager_find_main() knows the daemon; 0: it does not */
    struct service *next_main;    /* with the same hash */
    sd_event_source *main_source;
    struct service_launch *launch;
    sd_event_source *launch_source;
    bool launch_failed; /* this generation was not executed; its end follows */

    struct recovery recovery;
    struct unrecorded *unrecorded; /* owned; NULL: when this latchd began there was no such daemon */
    struct leftovers *leftovers;      /* owned: what is left of the daemon's processes */
    sd_event_source *recovery_source; /* recovery.wait_fd */
    uint64_t sweep_until_usec;        /* CLOCK_BOOTTIME; while SERVICE_SWEEPING */
    struct err blocked;               /* who is in the way, while SERVICE_BLOCKED */
    json_t *last_recovery;            /* {atUSec, actions}, NULL: never anything was in the way */

    struct ready_probe **probes; /* one a socket with a probe, while starting */
    size_t n_probes;
    unsigned probes_pending;
    uint64_t *answer_usec; /* one a configured socket; 0: not asked yet */

    struct service_reload *reload; /* NULL: no command of ExecReload= is under way */
    struct err reload_failure;     /* of the last reload; no name: it went well */
    struct service_order *order;   /* NULL: it comes neither before nor after any */
    struct queue_mark *queues; /* owned; one a configured socket (service-queues.h); NULL: never looked at */
    struct service_health *health; /* NULL: nothing to remember */
    struct service_notify_tell *notify_tell; /* NULL: it has made us say nothing so far */
    struct service_notify *notify; /* NULL: the daemon is given no NOTIFY_SOCKET */
    struct notify_store *store;    /* descriptors that it handed over; NULL: none */
    struct owned *owned;           /* sockets that latchd owns, and their locks; NULL: none so far */

    sd_event_source *reap_timer; /* an adopted daemon has ended, and its parent is to reap it */
    char *config_text;           /* what record.config points to; NULL: not needed yet */

    sd_event_source *timer;    /* the state's: start, stop, back-off, next recovery step */
    bool due; /* that timer is one of no delay, and manager->n_due counts it */
    sd_event_source *timer_source; /* owned, from the first to the last: to arm it takes no memory, so that
                                    * want of memory stops no service's clock; `timer` while it is armed */
    sd_event_source *turn_source;  /* owned: instead of it, where there is no delay */
    uint64_t timer_until_usec; /* CLOCK_BOOTTIME, as armed */
    struct restart_history history;
    uint64_t backoff_usec; /* the delay before the next start, as planned at the daemon's end */
    bool backoff_limited;  /* by StartLimitBurst= */
    struct exit_status last_exit;
    uint64_t last_exit_usec;       /* CLOCK_REALTIME; 0: none so far */
    struct service_limits *limits; /* NULL: nothing yet */
    struct err failure;            /* why it could not be started, the last time */
};

int service_new(struct manager *manager, struct service_config *config, int lock_fd, struct service **ret);
struct service *service_free(struct service *service);

/* Takes the daemon over that NAME.state names, if it is provably that one. 1: adopted; 0: nothing to adopt.
 */
int service_adopt(struct service *service);

/* Something happens: looks it up in the table and carries out the action. */
void service_handle(struct service *service, enum service_event event);

/* -- service-config.c -- */

/* Reads the configuration again, if it came from a file. What counts at once does; the rest counts from the next
 * start of the daemon, which is not told of anything here. *ret is the caller's, empty where nothing changed.
 * -EINVAL "BadConfiguration": the old one is kept; the message has a line for each mistake. */

/* Reads the configuration on trial in a child process, with a deadline: files that it names may lie on a file
 * system that does not answer. `done` is called once, maybe from within: err is NULL if it can be read, good
 * or bad; its name is "Cancelled" if nothing more is to be begun. */
typedef void (*service_config_checked_t)(struct service *service, const struct err *err, void *userdata);
void service_check_config(struct service *service, service_config_checked_t done, void *userdata);
void service_end_config_checks(struct service *service);

int service_read_config(struct service *service, struct config_changes *ret, struct err *err);

/* -- service-reload.c -- */

/* A child was reaped. True: it was this service's command of ExecReload=. */
bool service_reload_reaped(struct service *service, const siginfo_t *child);

/* -- service-order.c -- */

/* Somebody asks for SERVICE_ON_START, _STOP or _RESTART: service_handle() for the service, for those that it
 * requires and those that require it, each when its turn comes. The restart delays begin anew. */
void service_ask(struct service *service, enum service_event event);

/* What was asked for has not even begun: services that come after it have to end first. */
bool service_order_is_pending(const struct service *service);

/* It is down since what it requires was lost, and comes up together with that. */
bool service_order_is_unmet(const struct service *service);

/* An earlier latchd left it down for want of what it requires. False: it requires nothing any more. */
bool service_order_resume_unmet(struct service *service);

/* For whom a start waits; NULL: it does not. */
const struct service *service_order_waits_for(const struct service *service);

/* "waits for db (After=), which is starting"; NULL: nothing of that kind. Owned by the caller. */
char *service_order_text(const struct service *service);

/* All of them, for the manager: those that come before first; those that come after first. */
void service_order_start_all(struct manager *manager);
void service_order_stop_all(struct manager *manager);

/* -- service-backoff.c -- */

/* When it is started again, on CLOCK_REALTIME as that stands now; USEC_INFINITY: it is not, by itself. */
uint64_t service_next_try_usec(const struct service *service);

/* "next try at 03:12:45, in 25s"; NULL: not in that state. Owned by the caller. */
char *service_next_try_text(const struct service *service);

/* Down, with nothing of the daemon left that is being waited for. */
bool service_is_down(const struct service *service);

/* The main process has ended (its pidfd says so): reaps it, decides, goes on. */
void service_main_exited(struct service *service);

/* What events about this service carry. */
struct event_scope service_scope(const struct service *service);

/* The main process as of now, for inspections. */
struct known_main service_known_main(const struct service *service);

/* For recovery and for a look from outside (Probe, Clear). */
struct recovery_host service_recovery_host(const struct service *service);

/* Watches a process as the daemon; the pidfd is taken over in any case. */
int service_watch_main(struct service *service, int pidfd, bool is_child);

/* It could not even be forked or prepared: what follows is decided as after an exit. */
void service_could_not_launch(struct service *service);

/* Writes NAME.state if it is not up to date. */
void service_flush_record(struct service *service);

/* Puts in what a successor in this process gets beside NAME.state: descriptors. 0 or -errno. */
int service_hand_over(struct service *service, struct handover *handover);

/* -- service-leftovers.c: what the daemon leaves behind -- */

/* Whether something is left of a daemon that is down; looks, if that is not known. */
bool service_has_leftovers(struct service *service);

/* [{pid, startUSec, comm, ..., proof, why}], the last being why it was not ended; of a running daemon, what
 * is still there of earlier ones. */
json_t *service_leftovers_to_json(struct service *service);

/* What a stop has left running: as above; who is not proven to be the service's has "why" alone. */
json_t *service_remaining_to_json(struct service *service);

/* Children of this latchd that nothing tells the service of: they are left alone. */
json_t *service_unattributed_to_json(struct manager *manager);

/* The service's own cgroup, for the caller to close; -ENOENT: it has none. */
int service_open_cgroup(const struct service *service);

/* How many processes are in it; -ENOENT. */
int service_count_cgroup(const struct service *service);

struct service_signalled {
    size_t n;  /* how many got it */
    bool more; /* there were too many to be looked for at once, and some did not */
};

/* Sends the signal to the main process, or to all that are proven to be the service's. -ESRCH "NotRunning".
 */
int service_signal(struct service *service, int signal, bool all, struct service_signalled *ret,
                   struct err *err);

/* -- service-launch.c: from the way being free to exec -- */
void service_spawn(struct service *service);

/* Reads what the child reported, tells the journal of a failure (then -errno), and lets go of the launch. */
int service_launch_finish(struct service *service);

/* Lets go of it without a look. */
void service_launch_abandon(struct service *service);

/* The quiet is over (manager_keep_quiet()): the child's way is watched again. */
void service_launch_watch(struct service *service);

/* Environment, limits, rights and output for one generation. For `latchd exec` too, which has no service:
 * `become` makes the plan one for exec_become(), and leaves output that would go to the journal where ours
 * goes. notify_socket: for NOTIFY_SOCKET; NULL: none.
 * open_files: what LimitNOFILE=auto counts with. own_files: manager_own_files(), NULL without one. The launch owns what the plan points to. */
int service_launch_prepare(const struct service_config *config, int proc_fd, int runtime_dir_fd,
                           const char *invocation_id, bool become, const char *notify_socket, uint64_t open_files,
                           const struct rlimit *own_files, struct service_launch **ret, struct err *err);

/* Moves it all into a mapping of its own, which goes back to the kernel as a whole. On the heap the launches
 * of many services that start at once, in pieces of every size, would lie between what stays: as much again
 * would be lost in the gaps for good. -ENOMEM: it is as it was. */
int service_launch_pack(struct service_launch **inout);

const struct exec_plan *service_launch_plan(const struct service_launch *launch);
void service_launch_free(struct service_launch *launch);

/* Descriptors that become 3, 4, ... of the daemon (borrowed until it is executed), with their names, colons between
 * them: sd_listen_fds_with_names(3). Once a launch. -ENOMEM. */
int service_launch_pass(struct service_launch *launch, const int fds[], size_t n, const char *names);

/* A fresh invocation id: 32 hexadecimal digits. */
int service_new_invocation_id(char ret[static 33]);

/* -- service-sockets.c: the service is down: the sockets of Owner=latchd that were made for it go -- */
void service_sockets_close(struct service *service);

/* -- service-start.c: from exec to being ready -- */
void service_executed(struct service *service); /* exec succeeded (or an adopted daemon was found running) */
void service_become_ready(struct service *service);
int service_begin_probes(struct service *service);
void service_end_probes(struct service *service);

/* -- service-health.c, service-watch.c: probes and watchdog of a daemon that runs -- */

void service_begin_health(struct service *service); /* it runs; again for one that is looked after: nothing */
void service_end_health(struct service *service);   /* it ends, or is being ended */

/* It hung, was sent SIGKILL for that long ago, and is still there: what latchd can do has been done. */
bool service_is_beyond_help(const struct service *service);

/* The daemon said WATCHDOG=1. */
void service_watchdog_ping(struct service *service);

/* The daemon said WATCHDOG_USEC=: from now on that counts, not WatchdogSec=. USEC_INFINITY, 0: no watchdog.
 */
void service_watchdog_set(struct service *service, uint64_t usec);

/* The daemon said WATCHDOG=trigger: it takes itself for hung. */
void service_watchdog_trigger(struct service *service);

void service_health_free(struct service *service);

/* -- service-notify.c: what the daemon tells by sd_notify(3) -- */

/* Binds its socket, where the daemon is to have one (Type=notify, WatchdogSec=) and it is not bound yet. */
int service_notify_open(struct service *service, struct err *err);

/* Lets the daemon write to it; uid: that of User=. */
void service_notify_grant(struct service *service, uid_t uid);

/* The socket's path; NULL: there is none. */
const char *service_notify_address(const struct service *service);

/* Forgets what the generation before this one told. */
void service_notify_begin(struct service *service);

/* Handles what has been sent so far: before the end of a process is looked at, which may have sent it. */
void service_notify_drain(struct service *service);

/* Type=notify, and READY=1 is still to come. */
bool service_notify_awaits_ready(const struct service *service);

/* To be called before the daemon is told to reload. How long to wait for READY=1, which ends the reload; 0: it will
 * tell nothing. */
uint64_t service_notify_begin_reload(struct service *service);

/* The daemon said STOPPING=1. */
bool service_notify_is_stopping(const struct service *service);

/* A socket of a latchd before us, for what was sent to it since; taken over. */
void service_notify_inherit(struct service *service, int fd);
/* The socket goes to a successor in this process, with what was sent and not read. */
int service_notify_hand_over(struct service *service, struct handover *handover);

json_t *service_notify_to_json(const struct service *service);
void service_notify_free(struct service *service);

/* -- service-store.c: descriptors that the daemon has handed over -- */

/* Those that are taken become -EBADF in the array. Returns why the last one that was not, was not; NULL: all were, or it
 * had them already. */
const char *service_store_take(struct service *service, int fds[], size_t n, const char *name, bool poll);
void service_store_remove(struct service *service, const char *name);

/* The service is down, and gets none of them back. */
void service_store_clear(struct service *service);

/* To the daemon that is about to start: LISTEN_FDS and the rest. -ENOMEM. */
int service_store_pass(const struct service *service, struct service_launch *launch);

/* It goes to a successor in this process. */
int service_store_hand_over(struct service *service, struct handover *handover);

/* Takes over what systemd kept of it (manager.inherited), or a latchd before us in this process. */
void service_store_inherit(struct service *service);

/* Has systemd keep the notification socket as well. */
void service_store_keep_socket(struct service *service, int fd);

json_t *service_store_to_json(const struct service *service);
void service_store_free(struct service *service);

/* Arms the state's one timer; USEC_INFINITY: none. */
int service_arm_timer(struct service *service, uint64_t delay_usec);
int service_arm_timer_at(struct service *service, uint64_t until_usec); /* CLOCK_BOOTTIME */
