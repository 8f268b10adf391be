/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void err_done(struct err *err) {
    free(err->message);
    *err = (struct err){0};
}

int err_set(struct err *err, int number, const char *name, const char *fmt, ...) {
    if (err) {
        char *message = NULL;
        va_list ap;

        va_start(ap, fmt);
        errno = number;
        if (vasprintf(&message, fmt, ap) < 0)
            message = NULL;
        va_end(ap);
        err_done(err);
        *err = (struct err){.name = name, .message = message, .number = number};
    }
    return -number;
}

void err_prefix(struct err *err, const char *fmt, ...) {
    _cleanup_free_ char *prefix = NULL;
    char *message;
    va_list ap;

    if (!err)
        return;
    va_start(ap, fmt);
    if (vasprintf(&prefix, fmt, ap) < 0)
        prefix = NULL;
    va_end(ap);
    if (!prefix || asprintf(&message, "%s: %s", prefix, err_text(err)) < 0)
        return;
    free(err->message);
    err->message = message;
}

const char *err_text(const struct err *err) {
    if (err->message)
        return err->message;
    return err->number ? strerror(err->number) : "no error";
}
