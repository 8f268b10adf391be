/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The syntax of unit files (systemd.syntax(7)), without any meaning: sections, assignments, and the
 * splitting of a value into words. Nothing here prints or stops at a mistake. */

#include <stddef.h>

/* What the parser finds. Every function may return a negative number, which ends the parsing and is
 * returned by it. The strings are the parser's and are gone after the call. Lines count from 1. */
struct unit_file_handler {
    /* [SECTION] or [SECTION ARGUMENT]; argument is NULL without one. */
    int (*section)(void *userdata, unsigned line, const char *section, const char *argument);
    /* KEY=VALUE below the section announced last: no white space around either, continued lines joined by
     * a blank; `line` is where it begins. Below a malformed section header nothing is announced. */
    int (*assign)(void *userdata, unsigned line, const char *key, const char *value);
    /* A mistake in the syntax; the line is left out and the parsing goes on. */
    int (*problem)(void *userdata, unsigned line, const char *message);
};

/* Parses `size` bytes of text, which may contain anything. Lines end in LF or CRLF and are as long as they
 * like; a trailing backslash continues a line, and comment lines ('#', ';') in between are left out. A NUL
 * byte anywhere, or bytes that are no UTF-8 outside a comment, are mistakes. Returns 0, -ENOMEM, or what a
 * handler returned. */
int unit_file_parse(const char *text, size_t size, const struct unit_file_handler *handler, void *userdata);

/* Splits a value at white space into words. '…' and "…" hold words together and are removed, anywhere in a
 * word; the escapes of C are replaced (\a \b \f \n \r \t \v \\ \" \' \s (a blank) \xNN \NNN \uNNNN
 * \UNNNNNNNN), inside quotes too; there is no shell. Returns 0 with a list for strlist_free() (NULL for no
 * words), -ENOMEM, or -EINVAL with a text of static storage in *ret_why. */
int unit_file_split(const char *value, char ***ret, const char **ret_why);

/* The same for text that is not the administrator's unit file (a variable's value): a quote that is not
 * closed ends with the text, a backslash takes the character behind it as it is. */
int unit_file_split_relaxed(const char *value, char ***ret);

/* Writes a word so that unit_file_split() reads it back: as it is where it can be, else in double quotes.
 * Returns 0 with a string for free(), or -ENOMEM. */
int unit_file_quote(const char *word, char **ret);
