/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The journal's entries as `latchctl logs` shows them, and the times that -S and -U take. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/strtab.h"
#include "journal/reader.h"

enum log_format {
    LOG_FORMAT_SHORT,     /* "May  1 13:04:05 host kea-dhcp4[812]: message" */
    LOG_FORMAT_SHORT_ISO, /* "2024-05-01T13:04:05+0200 host kea-dhcp4[812]: message" */
    LOG_FORMAT_JSON,      /* an object a line with all fields, as `journalctl --all -o json` has it */
    LOG_FORMAT_CAT,       /* the message alone */
    LOG_FORMAT_MAX,
    LOG_FORMAT_INVALID = -EINVAL,
};
STRTAB_DECLARE(log_format, enum log_format);

/* Writes one entry. The short formats and cat leave out entries without a message, and let nothing through
 * to a terminal but text: escape sequences are dropped, other control characters and what is no UTF-8
 * become '?'. Further lines of a message are indented. JSON has text as strings, anything else as an array
 * of its bytes, and a field that came more than once as an array of those. Returns 1 when something was
 * written, 0 when not; errors of `out` are left to ferror(3). -ENOMEM. */
int log_format_entry(FILE *out, const struct journal_entry *entry, enum log_format format, bool color);

/* "2024-05-01 13:04:05", "2024-05-01 13:04", "2024-05-01", "13:04", "now", "today", "yesterday", "tomorrow",
 * "-1h", "+5min", "1h 30min ago", "@1714561445": local time, unless "UTC" or "Z" follows. Microseconds of
 * CLOCK_REALTIME; never 0. -EINVAL "BadTime". */
int log_parse_time(const char *text, uint64_t now_realtime_usec, uint64_t *ret_usec, struct err *err);

/* Shows what the query finds; with query->follow goes on until `out` has lost its reader or a signal was
 * handled (and, as journalctl does, begins with the last 10 lines unless told otherwise). Says on standard
 * error when entries may be missing because this user may not read them. Returns how many were shown. */
int journal_show(const struct journal_query *query, enum log_format format, FILE *out, bool color,
                 struct err *err);
