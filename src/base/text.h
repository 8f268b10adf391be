/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text that grows. Once memory runs out nothing is added any more, and text_take() tells so: what comes in
 * between need not look. Starts as {0}. */

#include <stdbool.h>

#include "base/macro.h"

struct text {
    char *data; /* NUL-terminated; NULL while nothing was added */
    size_t length, room;
    bool failed;
};

#define _cleanup_text_ _cleanup_(text_done)
void text_done(struct text *text);

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t size);
void text_add_format(struct text *text, const char *fmt, ...) _printf_(2, 3);

/* Hands the text over ("" when nothing was added), to be freed by the caller, and leaves an empty one behind.
 * Returns 0 or -ENOMEM. */
int text_take(struct text *text, char **ret);
