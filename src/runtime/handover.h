/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a latchd hands to the program that takes its place in the same process (latchctl reexec): descriptors
 * and values by name. Each room puts in what it has, under names of its own ("lock:NAME", "control:NAME"),
 * and the same room of the successor takes it out again. It travels in a sealed memfd, whose number the
 * successor finds in its environment.
 *
 * A successor may be older or newer: a name that nobody takes is closed, one that is missing is made anew. */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* What this version can read; a successor of another number is not executed (latchd's verb handover-check).
 */
#define HANDOVER_SCHEMA 1
#define HANDOVER_VARIABLE "LATCHD_HANDOVER"

struct handover;

#define _cleanup_handover_ _cleanup_(handover_freep)

int handover_new(struct handover **ret);

/* Closes what was not taken out of one that was received, and none of one that was packed. NULL is fine. */
struct handover *handover_free(struct handover *handover);
/* The same, beside the loop: among what was not taken may be strangers' descriptors. */
struct closer;
struct handover *handover_drop(struct handover *handover, struct closer **closer);

static inline void handover_freep(struct handover **handover) {
    *handover = handover_free(*handover);
}

/* -- the one who hands over -- */

/* The descriptor is borrowed, and stays O_CLOEXEC until handover_release(). 0, -EEXIST, -ENOMEM. */
int handover_put_fd(struct handover *handover, const char *name, int fd);

/* The value is taken over in any case; NULL is -ENOMEM. 0, -EEXIST, -ENOMEM. */
int handover_put(struct handover *handover, const char *name, json_t *value);

/* Writes it down. Returns a sealed memfd that the caller owns, O_CLOEXEC like the rest. -EFBIG: it is more than
 * handover_receive() would take. */
int handover_pack(struct handover *handover);

/* Right before execve(2): all that was put in, and the memfd, survive it (keep), or, when it failed, no
 * longer do. -errno: none of them does. */
int handover_release(struct handover *handover, int memfd, bool keep);

/* -- the one who takes over -- */

/* From a memfd, which is closed in any case. Everything in it is O_CLOEXEC from here on. -EBADMSG
 * "BadHandover": it is none, not sealed, or not for this process. */
int handover_receive(int memfd, struct handover **ret, struct err *err);

/* The caller's from here on. -ENOENT: there is none of that name. handover may be NULL: then there is none.
 */
int handover_take_fd(struct handover *handover, const char *name);

/* Borrowed; NULL: there is none. */
json_t *handover_get(const struct handover *handover, const char *name);
