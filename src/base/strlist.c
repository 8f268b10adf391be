/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strlist.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char **strlist_free(char **list) {
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
    return NULL;
}

size_t strlist_length(char *const *list) {
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

int strlist_append(char ***list, size_t *n, char *word) {
    size_t length = n ? *n : strlist_length(*list);

    if (!word)
        return -ENOMEM;
    /* With its NULL a list takes length + 1 places; whenever that is a power of two, all are taken. */
    if ((length & (length + 1)) == 0) {
        char **bigger = reallocarray(*list, 2 * (length + 1), sizeof *bigger);

        if (!bigger) {
            free(word);
            return -ENOMEM;
        }
        *list = bigger;
    }
    (*list)[length] = word;
    (*list)[length + 1] = NULL;
    if (n)
        *n = length + 1;
    return 0;
}

int strlist_append_format(char ***list, const char *fmt, ...) {
    char *word;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&word, fmt, ap);
    va_end(ap);
    return r < 0 ? -ENOMEM : strlist_append(list, NULL, word);
}

bool strlist_contains(char *const *list, const char *word) {
    for (; list && *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

int strlist_extend(char ***list, char *const *words) {
    size_t n = strlist_length(*list);

    for (; words && *words; words++) {
        int r = strlist_append(list, &n, strdup(*words));

        if (r < 0)
            return r;
    }
    return 0;
}
