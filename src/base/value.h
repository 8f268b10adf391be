/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Values as people write them in unit files, and as they like to read them. Parsers take the whole
 * string (no white space around it), return 0 or -EINVAL, -ERANGE, and write only on success. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_INFINITY UINT64_MAX
#define NSEC_PER_USEC UINT64_C(1000)

int value_parse_bool(const char *text, bool *ret);
int value_parse_int(const char *text, int min, int max, int *ret);
int value_parse_u64(const char *text, uint64_t *ret); /* decimal digits only: no sign, no blanks */
int value_parse_pid(const char *text, pid_t *ret);
int value_parse_mode(const char *text, mode_t *ret); /* octal, at most 07777 */

/* "5", "5s", "1min 30s", "200ms", "infinity", "0": a bare number is seconds. */
int value_parse_usec(const char *text, uint64_t *ret);

/* "4096", "64K", "1G", "infinity" (UINT64_MAX): powers of 1024. */
int value_parse_size(const char *text, uint64_t *ret);

/* "SIGTERM", "TERM", "15", "RTMIN+3". */
int value_parse_signal(const char *text, int *ret);

/* "TERM", "RTMIN+3"; for an unknown number, the number. Writes at most size bytes. */
const char *value_format_signal(int signal, char *buffer, size_t size);

#define VALUE_FORMAT_MAX 32
/* "1min 30s", "204ms", "35us": the two largest parts. */
const char *value_format_usec(uint64_t usec, char buffer[static VALUE_FORMAT_MAX]);
/* "2024-05-01 13:04:05" in local time. */
const char *value_format_time(uint64_t realtime_usec, char buffer[static VALUE_FORMAT_MAX]);
/* "1.5M" */
const char *value_format_bytes(uint64_t bytes, char buffer[static VALUE_FORMAT_MAX]);

/* Makes text of unknown origin fit for a terminal and for one line of a log: control characters, DEL and
 * bytes that are no UTF-8 become '?'. In place. */
void value_make_printable(char *text);

/* clock_gettime(2) in microseconds: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME. */
uint64_t now_usec(clockid_t clock);
