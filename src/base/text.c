/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_done(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}

void text_add_bytes(struct text *text, const char *bytes, size_t size) {
    if (text->failed)
        return;
    if (text->room - text->length <= size) {
        size_t room = 2 * (text->length + size) + 32;
        char *bigger = realloc(text->data, room);

        if (!bigger) {
            text->failed = true;
            return;
        }
        text->data = bigger;
        text->room = room;
    }
    memcpy(text->data + text->length, bytes, size);
    text->length += size;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string) {
    text_add_bytes(text, string, strlen(string));
}

void text_add_format(struct text *text, const char *fmt, ...) {
    char *formatted;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&formatted, fmt, ap);
    va_end(ap);
    if (n < 0) {
        text->failed = true;
        return;
    }
    text_add_bytes(text, formatted, (size_t) n);
    free(formatted);
}

int text_take(struct text *text, char **ret) {
    text_add(text, "");
    if (text->failed)
        return -ENOMEM;
    /* Much of what is taken stays for as long as a service does: without the room to grow. */
    *ret = realloc(text->data, text->length + 1);
    if (!*ret)
        *ret = text->data;
    *text = (struct text){0};
    return 0;
}
