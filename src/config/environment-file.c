/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/environment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define BLANKS " \t\r"
#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"

/* A quoted part, from behind its opening quote; returns behind the closing one, or the text's end. */
static const char *take_single_quoted(const char *p, char **out) {
    while (*p && *p != '\'')
        *(*out)++ = *p++;
    return *p ? p + 1 : p;
}

static const char *take_double_quoted(const char *p, char **out) {
    while (*p && *p != '"') {
        if (*p == '\\' && p[1] == '\n') {
            p += 2;
            continue;
        }
        if (*p == '\\' && p[1] && strchr("\"\\`$", p[1]))
            p++;
        *(*out)++ = *p++;
    }
    return *p ? p + 1 : p;
}

/* The value up to the end of its line, which may be further down than it seems. Quotes count where the value
 * begins and behind other quotes; what is not quoted loses the blanks at its end. */
static const char *take_value(const char *p, char *out) {
    char *kept = out; /* what lies behind this is blanks that may be the last */
    bool quotes_count = true;

    p += strspn(p, BLANKS);
    while (*p && *p != '\n') {
        if (quotes_count && (*p == '\'' || *p == '"')) {
            p = *p == '"' ? take_double_quoted(p + 1, &out) : take_single_quoted(p + 1, &out);
            p += strspn(p, BLANKS);
            kept = out;
            continue;
        }
        quotes_count = false;
        if (*p == '\\') {
            p++;
            if (!*p)
                break;
            if (*p == '\n') {
                p++;
                continue;
            }
        } else if (strchr(BLANKS, *p)) {
            *out++ = *p++;
            continue;
        }
        *out++ = *p++;
        kept = out;
    }
    *kept = '\0';
    return p;
}

static const char *skip_line(const char *p) {
    p += strcspn(p, "\n");
    return *p ? p + 1 : p;
}

int environment_parse_file(const char *text, char ***list) {
    _cleanup_free_ char *assignment = malloc(strlen(text) + 1); /* none is longer */

    if (!assignment)
        return -ENOMEM;
    for (const char *p = text; *p; p = skip_line(p)) {
        size_t length;
        int r;

        p += strspn(p, BLANKS);
        length = strspn(p, NAME_LETTERS);
        if (length == 0 || (*p >= '0' && *p <= '9') || p[length + strspn(p + length, BLANKS)] != '=')
            continue;
        memcpy(assignment, p, length);
        assignment[length] = '=';
        p += length;
        p += strspn(p, BLANKS) + 1;
        p = take_value(p, assignment + length + 1);
        r = environment_put(list, strdup(assignment));
        if (r < 0)
            return r;
    }
    return 0;
}
