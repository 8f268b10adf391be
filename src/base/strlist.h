/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NULL-terminated lists of strings, each string owned by the list. NULL is the empty list. A list that is
 * appended to must have been built by this file: the room behind its end follows from its length. */

#include <stdbool.h>

#include "base/macro.h"

#define _cleanup_strlist_ _cleanup_(strlist_freep)

char **strlist_free(char **list); /* returns NULL */
static inline void strlist_freep(char ***list) {
    *list = strlist_free(*list);
}

size_t strlist_length(char *const *list);

/* Appends `word`, which belongs to the list from then on and is freed when that fails; a NULL word, the
 * result of a failed strdup(), fails too. `n`, which may be NULL, is the list's length and is kept up to
 * date: without it the list is counted. Returns 0 or -ENOMEM. */
int strlist_append(char ***list, size_t *n, char *word);

/* The same with a word made as by printf(3). */
int strlist_append_format(char ***list, const char *fmt, ...) _printf_(2, 3);

bool strlist_contains(char *const *list, const char *word);

/* Appends a copy of every word. Returns 0 or -ENOMEM. */
int strlist_extend(char ***list, char *const *words);
