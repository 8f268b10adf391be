/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files service-*.c share and nobody else needs: the actions of the state table, and the steps
 * behind them. */

#include "service/service.h"

/* Reports an event about this service; the text is taken as it is. */
void service_emit(struct service *service, enum event_id id, const struct event_fields *fields,
                  const char *text);

/* -- service-record.c: NAME.state -- */

/* Now, as a whole: before something that a successor must not miss. */
int service_write_record(struct service *service, struct err *err);

/* The main process is another one: NAME.lock says so, before NAME.state does. -errno: it does not. */
int service_note_main(struct service *service);

/* When the loop has nothing else to do. */
void service_note_change(struct service *service);

/* What a file that was just read into service->record says of the past. */
void service_restore(struct service *service);

/* When the recorded state's timer runs out (CLOCK_BOOTTIME): most_usec from now at the latest, also if it had
 * none. USEC_INFINITY: never. */
uint64_t service_end_of_timer(const struct service *service, uint64_t most_usec);

/* -- service-exit.c -- */

/* The event that the daemon's end is, by what is known of it (last_exit) and what was asked for. */
enum service_event service_judge_exit(const struct service *service);

/* -- service-recovery.c: the actions recover and sweep -- */
void service_recover(struct service *service);
void service_begin_sweep(struct service *service);
void service_sweep(struct service *service);

/* Forgets the recovery under way, and whom it watched. */
void service_stop_recovery(struct service *service);

/* -- service-stop.c: the actions terminate, kill and abort -- */
void service_terminate(struct service *service, bool force);

/* The action abort: SIGABRT, for a core of what hung; SIGKILL follows after TimeoutStopSec=. */
void service_abort(struct service *service);
void service_send_abort(struct service *service);

/* With which signal its end began; `by_force`: SIGKILL follows. */
int service_end_signal(struct service *service, bool by_force);

/* -- service-leftovers.c: what the daemon leaves behind -- */

/* What recovery needs to know of it. */
void service_fill_leftovers(const struct service *service, struct recovery_host *host);

/* Whether an earlier latchd has made a cgroup for it; whether the main process is in that. */
bool service_has_cgroup(const struct service *service);
bool service_main_is_in_cgroup(const struct service *service);

/* Makes the cgroup that the next daemon is born into: its descriptor, for the caller to close; -EBADF: none.
 */
int service_make_cgroup(struct service *service);

/* A daemon runs: as spawn or adoption found it. */
void service_leftovers_begun(struct service *service, bool is_child, bool in_cgroup);

/* It has ended, and is not reaped yet, so that its number is still its own. */
void service_leftovers_ended(struct service *service);

/* The service is down: an empty cgroup is of no more use. */
void service_remove_cgroup(struct service *service);

/* A stop is over: tells of what it left. blocked: who was in the way and was not ended; may be NULL. */
void service_report_remaining(struct service *service, const char *blocked);

/* -- service-reload.c: the action reload -- */
void service_reload(struct service *service);

/* The daemon has ended of ReloadSignal=, which it was sent and did not care for. */
bool service_reload_ended_it(const struct service *service);

/* It has ended: remembers for who waits for the reload, if that is why. */
void service_reload_note_end(struct service *service);

/* The reload's time is over: tells so, if there was anything to wait for. */
void service_reload_timed_out(struct service *service);

/* Nothing is awaited any more of a command of ExecReload=: it is killed. */
void service_end_reload(struct service *service);

/* The daemon is ready again, and the command of ExecReload= has not ended: that is waited for. */
bool service_reload_holds_ready(struct service *service);

/* -- service-health.c -- */

/* Values that count at once have changed: who is probed, and how often, follows. */
void service_health_config_changed(struct service *service);

/* The next daemon is started with another configuration. */
void service_health_switch_config(struct service *service);

/* -- service-config.c -- */

/* What was to count from the next start counts now. */
void service_switch_config(struct service *service);

/* The daemon that NAME.state names was started with another configuration: that becomes the present one, and
 * what the files say counts from the next start. */
void service_restore_config(struct service *service);

/* -- service-order.c: the action wait -- */
void service_order_wait(struct service *service);

/* Whether a start may go on: nobody has to be waited for, and nothing is missing. */
bool service_order_admits(const struct service *service);

/* Its state changed: those before and after it are looked at in the next turn of the loop. */
void service_order_changed(struct service *service);
void service_order_free(struct service *service);

/* -- service-notify-tell.c -- */

/* Whether the journal may be told of one more change that the daemon alone is the reason for: ten a minute. The others
 * are counted, and told of in one line when the minute is over. */
bool service_notify_may_tell(struct service *service);
void service_notify_tell_free(struct service *service);

/* The reload that is under way is the daemon's own doing: nobody asked for it. */
bool service_notify_reloads_by_itself(const struct service *service);

/* -- service-backoff.c -- */

/* The daemon has ended and is to be started again: reckons when. False: never, by itself. */
bool service_plan_back_off(struct service *service);

/* When that is, or why it is not, in words; owned by the caller. */
char *service_back_off_text(const struct service *service);

/* The action back-off: tells of it, arms the timer. */
void service_back_off(struct service *service);

/* -- service-config.c -- */

/* The new configuration is not taken; the journal is told why. */
int service_reject_config(struct service *service, char *const *lines, const char *otherwise, struct err *err);

/* -- service-exit.c: what follows from the daemon's end -- */

void service_exit_decided(struct service *service, enum service_event event);

/* It is to stay down, though nobody asked for that: service->failure says of what it ended (what is there
 * already stays the cause), what leaves it down, and what to do. event: SERVICE_ON_EXIT_CLEAN or _FAILED;
 * given_up: by Restart= it would be started again, but never is. */
void service_leave_down(struct service *service, enum service_event event, bool given_up);

/* -- service-sockets.c: sockets of Owner=latchd -- */

/* Before each start, when the way is clear: takes what is not taken yet. "Held": somebody came in between. */
int service_sockets_open(struct service *service, struct err *err);

/* After a failure: how long until it is tried again. */
uint64_t service_sockets_retry_usec(const struct service *service);

/* Whether that is another reason for a failure of it than the last one; it is the last one from here on. */
bool service_sockets_is_news(struct service *service, const char *reason);

/* Before the way is looked at. */
void service_sockets_prepare(struct service *service);

/* Before service->config becomes `next`. */
void service_sockets_switch(struct service *service, const struct service_config *next);
void service_sockets_free(struct service *service);

/* What is ours at the moment, one a configured socket; NULL: nothing. */
const struct lock_held *service_sockets_held(const struct service *service);

/* The queue of the listener that latchd has of that configured socket. False: it has none. */
struct queue_tables;
struct queue_facts;
bool service_sockets_look(const struct service *service, size_t i, const struct queue_tables *tables,
                          struct queue_facts *ret);

/* What keeps clients from coming to that configured socket, for people: its path leads elsewhere, the service
 * is down. NULL: nothing that is known. */
const char *service_sockets_remark(const struct service *service, size_t i);

/* latchd listens at that configured socket. */
bool service_sockets_is_kept(const struct service *service, size_t i);

/* For LISTEN_FDS; arrays of config->n_sockets. */
size_t service_sockets_list(const struct service *service, int fds[], const char *names[]);

int service_sockets_hand_over(const struct service *service, struct handover *handover);

/* Takes what a latchd before us in this process, systemd's store or a .socket unit has for us. */
void service_sockets_inherit(struct service *service);

/* The daemon is taken over: what is missing still, it has. */
void service_sockets_regain(struct service *service, int pidfd);
