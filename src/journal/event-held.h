/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For event.c alone: a message on its way, and one that is kept for a while. */

#include "journal/event.h"

struct event_kind;

struct event_entry {
    const struct event_kind *kind; /* NULL: a debug message */
    int priority;
    const struct event_scope *scope;
    const struct event_field *fields;
    size_t n_fields;
    const char *message;
};

/* An entry by itself, with all it points to in one piece. */
struct event_held {
    struct event_entry entry;
    struct event_scope scope;
    struct event_field fields[EVENT_FIELDS_MAX];
    char text[];
};

/* NULL: no memory, or more fields than that. The caller frees it. */
struct event_held *event_held_new(const struct event_entry *entry);
