/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reads a service's entries back: the supervisor's and the daemon's own, in one sequence.
 *
 * libsystemd is loaded by dlopen(3) when a reader is opened, not linked: it is large, and no other verb of
 * latchctl needs it, `status` least of all.
 *
 * An entry belongs to service NAME when
 *   - it is latchd's: LATCHD_SERVICE=NAME;
 *   - or it came from one of the units given, or systemd wrote it about such a unit;
 *   - or it was written to the stream that latchd opened as the daemon's standard output: its
 *     SYSLOG_IDENTIFIER, and _TRANSPORT=stdout. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define JOURNAL_DIRECTORY_ENVIRONMENT "LATCHD_JOURNAL_DIRECTORY"

/* Nothing is owned; must outlive the open call only. An all-zero query (but for the service) wants all. */
struct journal_query {
    const char *directory;    /* NULL: $LATCHD_JOURNAL_DIRECTORY, else this machine's journals */
    const char *service;      /* LATCHD_SERVICE= */
    const char *const *units; /* with their suffix: "kea.service" */
    size_t n_units;
    const char *identifier; /* of the daemon's stream (SyslogIdentifier=); NULL: the service's name */

    uint64_t since_usec, until_usec; /* CLOCK_REALTIME, inclusive; 0: unbounded */
    bool max_priority_set;
    int max_priority; /* this urgent or more; leaves out entries without a priority */
    bool this_boot;
    bool lines_set;
    uint64_t lines; /* only the last that many of what is there already */
    bool follow;    /* journal_reader_wait() will be called */
    bool all_data;  /* fields of any size (for JSON); else of at most 64 KiB */
};

struct journal_field {
    const char *name;
    const char *data; /* followed by a NUL, but may have others inside */
    size_t size;
};

/* Belongs to the reader and lives until its next call. Strings are as they were logged: not printable. */
struct journal_entry {
    uint64_t realtime_usec;  /* when journald received it: what since and until compare, and the order */
    uint64_t logged_usec;    /* when it was sent, where that is known, else realtime_usec */
    uint64_t monotonic_usec; /* within the boot: */
    char boot_id[33];
    const char *cursor;
    int priority;           /* -1: none */
    const char *identifier; /* SYSLOG_IDENTIFIER, else _COMM; may be NULL */
    const char *pid;        /* _PID, else SYSLOG_PID; may be NULL */
    const char *hostname;   /* may be NULL */
    const char *service;    /* LATCHD_SERVICE; may be NULL */
    uint64_t generation;    /* LATCHD_GENERATION; 0: none */
    const char *message;    /* followed by a NUL; NULL: none */
    size_t message_size;
    const struct journal_field *fields; /* all of them; a name may come more than once */
    size_t n_fields;
};

struct journal_reader;

#define _cleanup_journal_reader_ _cleanup_(journal_reader_closep)

/* The caller owns *ret. Errors: "NoLibrary" -ENOPKG libsystemd is not installed; "NoJournal" -ENOENT no
 * journal is kept here: latchd logs to standard error; "NotPermitted" -EACCES there is one that this user
 * may not read; "BadQuery" -EINVAL; "System". */
int journal_reader_open(const struct journal_query *query, struct journal_reader **ret, struct err *err);
struct journal_reader *journal_reader_close(struct journal_reader *reader); /* NULL is fine; returns NULL */
static inline void journal_reader_closep(struct journal_reader **reader) {
    *reader = journal_reader_close(*reader);
}

/* 1: *ret is the next entry; 0: no more for now. -EBADMSG and others: a damaged journal file. */
int journal_reader_next(struct journal_reader *reader, struct journal_entry *ret, struct err *err);

/* Sleeps until the journal changed (1), and not a moment less: nothing is polled. -EPIPE: output_fd (-1:
 * none), a pipe or socket, has lost its reader. -EINTR: a signal was handled. */
int journal_reader_wait(struct journal_reader *reader, int output_fd, struct err *err);

/* True when there are journal files that this user may not read, so that entries may be missing. */
bool journal_reader_restricted(const struct journal_reader *reader);
