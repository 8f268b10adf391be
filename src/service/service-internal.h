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

/* -- service-reload.c: the action reload -- */
void service_reload(struct service *service);

/* -- service-order.c: the action wait -- */
void service_order_wait(struct service *service);

/* Whether a start may go on: nobody has to be waited for, and nothing is missing. */
bool service_order_admits(const struct service *service);

/* Its state changed: those before and after it are looked at in the next turn of the loop. */
void service_order_changed(struct service *service);
void service_order_free(struct service *service);

/* -- service-exit.c: what follows from the daemon's end -- */

/* The action back-off: reckons the delay, tells of it, arms the timer. */
void service_back_off(struct service *service);
void service_exit_decided(struct service *service, enum service_event event);
