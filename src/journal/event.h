/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Events for administrators: one call an event, each with a message id that has a catalog entry.
 *
 * Sent by journald's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL), written here in a few
 * lines and not by sd_journal_sendv(3), for two reasons. sd_journal_sendv sends without MSG_DONTWAIT on a
 * blocking socket: while journald is stopped, or slower than its clients, its queue fills
 * (net.unix.max_dgram_qlen datagrams) and the caller sleeps with it; a supervisor must not. And it keeps
 * its socket in a variable of the process. What is sent here never blocks: an event that nobody takes is
 * lost, counted, and the count is told with the next one that gets through (LATCHD_LOST_EVENTS=).
 *
 * An event goes to the journal; it goes to standard error, as a line `latchd[SERVICE]: message`, as the
 * target has it. Writing there does not block either: a pipe or terminal is opened anew without blocking,
 * a socket is sent to with MSG_DONTWAIT. Not for use by several threads at once. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

#include "base/err.h"
#include "base/strtab.h"

#define EVENT_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define EVENT_IDENTIFIER "latchd" /* SYSLOG_IDENTIFIER= */

enum event_id {
#define EVENT(name, message_id, priority, summary, fields) EVENT_##name,
#include "journal/event-ids.def"
#undef EVENT
    EVENT_ID_MAX,
    EVENT_ID_INVALID = -EINVAL,
};
STRTAB_DECLARE(event_id, enum event_id); /* "SERVICE_READY" */

const char *event_id_message_id(enum event_id id); /* 32 hexadecimal digits */
const char *event_id_summary(enum event_id id);
const char *event_id_fields(enum event_id id); /* the names its entries may carry, blanks between them */
int event_id_priority(enum event_id id);       /* LOG_EMERG ... LOG_DEBUG */

/* --log-target= */
enum log_target {
    LOG_TARGET_AUTO, /* the journal, and standard error when it is a terminal or the journal takes nothing */
    LOG_TARGET_JOURNAL, /* the journal only */
    LOG_TARGET_STDERR,  /* standard error only */
    LOG_TARGET_MAX,
    LOG_TARGET_INVALID = -EINVAL,
};
STRTAB_DECLARE(log_target, enum log_target);

/* "err", "warning", "debug", "3" (also "error", "warn", "panic"): a syslog(3) priority. -EINVAL. */
int event_parse_priority(const char *text, int *ret);
const char *event_priority_name(int priority); /* "err"; NULL for no priority */

/* What every event has. An empty scope (or NULL) is the supervisor itself. Nothing is owned. */
struct event_scope {
    const char *service;       /* NULL: none */
    uint64_t generation;       /* 0: none */
    const char *invocation_id; /* NULL: none */
};

/* A field beside the message; names are those of event-ids.def: A-Z, 0-9 and '_', at most 64, and one that
 * breaks this is left out, as is one whose value is NULL. Values may have several lines. Nothing is owned. */
struct event_field {
    const char *name;
    const char *value;
};

#define EVENT_FIELDS_MAX 16
#define EVENT_FIELDS_BYTES 4096

/* Collects fields on the stack: struct event_fields f = {.n = 0}. Formatted values are kept inside and all
 * share EVENT_FIELDS_BYTES: what does not fit is cut and ends in "...". Use f.fields, f.n while f lives. */
struct event_fields {
    struct event_field fields[EVENT_FIELDS_MAX];
    size_t n;
    size_t used_bytes;
    char text[EVENT_FIELDS_BYTES];
};
void event_field_add(struct event_fields *fields, const char *name, const char *fmt, ...) _printf_(3, 4);
void event_field_set(struct event_fields *fields, const char *name,
                     const char *value); /* value is borrowed */

/* An event as it is told to whoever listens (latchctl monitor). Valid during the call only. */
struct event_record {
    enum event_id id;
    uint64_t realtime_usec;
    const struct event_scope *scope; /* never NULL */
    const struct event_field *fields;
    size_t n_fields;
    const char *message; /* one line, printable */
};

struct event_log_options {
    enum log_target target;
    int max_priority;        /* less urgent ones are not written; LOG_DEBUG: everything */
    const char *socket_path; /* NULL: EVENT_JOURNAL_SOCKET */
    int stderr_fd;           /* 0: standard error; stays the caller's */
};

struct event_log;

#define _cleanup_event_log_ _cleanup_(event_log_closep)

/* The caller owns *ret. -ENOENT "NoJournal" for LOG_TARGET_JOURNAL where there is none; -ENAMETOOLONG,
 * -EMFILE and the like. JOURNAL_STREAM in the environment (systemd.exec(5)) tells whether standard error
 * is the journal's stream: lines then begin with "<PRIORITY>". */
int event_log_open(const struct event_log_options *options, struct event_log **ret, struct err *err);
struct event_log *event_log_close(struct event_log *log); /* NULL is fine; returns NULL */
static inline void event_log_closep(struct event_log **log) {
    *log = event_log_close(*log);
}

/* Calls sink for each event (not for debug messages), whatever max_priority is; NULL: nobody. The sink must
 * not emit events itself. */
void event_log_set_sink(struct event_log *log, void (*sink)(const struct event_record *, void *),
                        void *userdata);

/* How many messages were lost and have not been reported so. */
uint64_t event_log_lost(const struct event_log *log);

/* Reports an event. Never blocks, never fails, keeps errno; log NULL: nothing happens. The message becomes
 * one printable line: line breaks turn into blanks, other control characters into '?'. */
void event_emit(struct event_log *log, enum event_id id, const struct event_scope *scope,
                const struct event_field *fields, size_t n_fields, const char *fmt, ...) _printf_(6, 7);

/* From now on messages are kept until event_log_flush(), for a moment in which something else is more urgent:
 * a restart. Their order stays, and what would be more than EVENT_HELD_MAX goes out at once, as does all when
 * the log is closed. The sink hears of each event at once in any case. */
#define EVENT_HELD_MAX 8 /* a socket of datagrams may take no more than 10 at once (unix(7)) */
void event_log_hold(struct event_log *log); /* NULL is fine, for both */
void event_log_flush(struct event_log *log);
bool event_log_holds(const struct event_log *log);

/* A message for those who look for a fault: LOG_DEBUG, no message id. */
void event_debug(struct event_log *log, const char *fmt, ...) _printf_(2, 3);
