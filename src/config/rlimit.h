/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Resource limits as people write them (setrlimit(2)): names, units, values. Pure.
 *
 * Values are in the resource's own unit (see enum rlimit_unit), RLIM_INFINITY stands for infinity. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"

enum rlimit_unit {
    RLIMIT_UNIT_COUNT,   /* NOFILE NPROC LOCKS SIGPENDING RTPRIO */
    RLIMIT_UNIT_BYTES,   /* FSIZE DATA STACK CORE RSS AS MEMLOCK MSGQUEUE */
    RLIMIT_UNIT_SECONDS, /* CPU */
    RLIMIT_UNIT_USEC,    /* RTTIME */
    RLIMIT_UNIT_NICE,    /* NICE: 20 minus the lowest nice value, 1 (nice 19) to 40 (nice -20) */
    RLIMIT_UNIT_MAX,
};

/* "NOFILE" for RLIMIT_NOFILE; NULL for a number that is no resource. */
const char *rlimit_to_name(int resource);
/* RLIMIT_NOFILE for "NOFILE" (capitals, no prefix); -EINVAL for a name that is none. */
int rlimit_from_name(const char *name);

#define RLIMIT_NAMES                                                                                         \
    "CPU, FSIZE, DATA, STACK, CORE, RSS, NOFILE, AS, NPROC, MEMLOCK, LOCKS, SIGPENDING, MSGQUEUE, NICE, "     \
    "RTPRIO and RTTIME"

/* The name that was perhaps meant, with or without "Limit" before it; NULL: none is near. */
const char *rlimit_nearest(const char *name);

/* RLIMIT_UNIT_MAX for a number that is no resource. */
enum rlimit_unit rlimit_unit(int resource);

/* Reads what stands behind Limit...=: SOFT[:HARD], where SOFT alone sets both. Each is "infinity" or
 *   BYTES    a number with K, M, G or T (powers of 1024)
 *   SECONDS  a time such as "30", "1min 30s", rounded up to seconds
 *   USEC     a time such as "200ms"; a bare number is microseconds
 *   NICE     a raw value 0..40, or a nice value with its sign, +19..-20
 *   COUNT    a number
 * and NOFILE alone may be "auto". -EINVAL or -ERANGE with the mistake in *err ("BadLimit"). */
int rlimit_parse_value(int resource, const char *text, struct limit_config *ret, struct err *err);

/* "NAME=SOFT[:HARD]", as on the command line. */
int rlimit_parse_assignment(const char *text, int *ret_resource, struct limit_config *ret, struct err *err);

#define RLIMIT_FORMAT_MAX 48
/* "SOFT:HARD", or one value when they are the same; rlimit_parse_value() reads it back. */
const char *rlimit_format(rlim_t soft, rlim_t hard, char buffer[static RLIMIT_FORMAT_MAX]);
