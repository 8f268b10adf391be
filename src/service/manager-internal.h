/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files manager*.c share and nobody else needs. */

#include <signal.h>

#include "service/manager.h"

/* A child was reaped that is no service's main process. */
void manager_child_reaped(struct manager *manager, const siginfo_t *child);

/* Blocks the signal and has it handled. *ret is owned by the caller. */
int manager_add_signal(struct manager *manager, int signal, sd_event_signal_handler_t handler,
                       int64_t priority, sd_event_source **ret);

/* -- manager-reexec.c -- */
bool manager_reexec_reaped(struct manager *manager, const siginfo_t *child);
void manager_end_reexec(struct manager *manager);

/* -- manager-signals.c -- */

/* SIGCHLD, the signals that stop latchd, and those that are passed on. */
int manager_begin_signals(struct manager *manager);
void manager_end_signals(struct manager *manager);

/* SIGHUP came to latchd: tells from whom. */
struct signalfd_siginfo;
void manager_report_reload_signal(struct manager *manager, const struct signalfd_siginfo *info);

/* Reaps, in the next turn of the loop, what ended before there was anybody to be told of it. */
void manager_reap_soon(struct manager *manager);
