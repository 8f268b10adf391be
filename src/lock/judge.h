/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of lock_judge(), which is pure: what each of them may assume, and what they share. */

#include "lock/verdict.h"

static inline struct lock_judgement judged(enum verdict verdict, enum verdict_reason reason) {
    return (struct lock_judgement){.verdict = verdict, .reason = reason};
}

static inline bool judge_is_dead(enum process_life life) {
    return life == PROCESS_GONE || life == PROCESS_ZOMBIE;
}

static inline bool judge_is_living(enum process_life life) {
    return life == PROCESS_ALIVE || life == PROCESS_STOPPED;
}

/* Of a process that lives. */
static inline struct lock_judgement judged_held_by(enum process_life life) {
    return judged(VERDICT_HELD, life == PROCESS_STOPPED ? REASON_STOPPED : REASON_LIVE);
}

static inline bool judge_main_lives(const struct lock_context *context) {
    return context->main.pid > 0 && judge_is_living(context->main_life);
}

/* The process that called listen(2) is dead, by the kernel's own handle on it. */
bool judge_is_listener_maker_dead(const struct lock_facts *facts);

/* Somebody holds the lock (listener: the listening socket) by what was seen. */
bool judge_anybody_holds(const struct lock_facts *facts, bool listener);

/* Every process that matters could be read. */
bool judge_is_scan_good(const struct lock_facts *facts);

/* One of the holders has a session of its own, or one whose leader is gone: it may be a daemon that forked
 * after it had taken what it holds, as daemon(3) does; its parent, who took it, is dead. */
bool judge_any_daemonized(const struct lock_facts *facts);

/* Whether the process runs that program: by itself, or as the script that an interpreter was given among its
 * first arguments. */
bool judge_runs_program(const struct process_facts *process, const char *program);

/* Held, but by nobody we could see. */
struct lock_judgement judge_unseen(const struct lock_facts *facts);

/* Some family is held (judge-held.c). */
struct lock_judgement judge_held_lock(const struct lock_facts *facts, const struct lock_context *context);

/* Holders are known; the process that the record names is not among them. */
struct lock_judgement judge_inherited(const struct lock_facts *facts, const struct lock_context *context);

/* Nobody has locked what says by its content whose it is (judge-record.c). */
struct lock_judgement judge_record(const struct lock_facts *facts, const struct lock_context *context);

/* Nobody has locked what locks by flock or fcntl (judge-socket.c). */
struct lock_judgement judge_free_lock(const struct lock_facts *facts, const struct lock_context *context);

struct lock_judgement judge_socket(const struct lock_facts *facts, const struct lock_context *context);
