/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal/event-held.h"

#include <stdlib.h>
#include <string.h>

static const char *put(char **place, const char *text) {
    const char *here = *place;

    if (!text)
        return NULL;
    *place = stpcpy(*place, text) + 1;
    return here;
}

static size_t bytes_of(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

struct event_held *event_held_new(const struct event_entry *entry) {
    size_t n = entry->n_fields, bytes;
    struct event_held *copy;
    char *place;

    bytes =
        bytes_of(entry->message) + bytes_of(entry->scope->service) + bytes_of(entry->scope->invocation_id);
    for (size_t i = 0; i < n; i++)
        bytes += bytes_of(entry->fields[i].name) + bytes_of(entry->fields[i].value);
    copy = malloc(sizeof *copy + bytes);
    if (!copy)
        return NULL;
    place = copy->text;
    copy->entry = *entry;
    copy->entry.message = put(&place, entry->message);
    copy->scope = *entry->scope;
    copy->scope.service = put(&place, entry->scope->service);
    copy->scope.invocation_id = put(&place, entry->scope->invocation_id);
    for (size_t i = 0; i < n; i++) {
        copy->fields[i].name = put(&place, entry->fields[i].name);
        copy->fields[i].value = put(&place, entry->fields[i].value);
    }
    copy->entry.scope = &copy->scope;
    copy->entry.fields = copy->fields;
    copy->entry.n_fields = n;
    return copy;
}
