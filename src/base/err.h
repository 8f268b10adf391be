/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The error contract: every function that can fail returns 0 (or a useful positive number) on success
 * and -errno on failure. A function at a boundary (configuration, clearing, spawning, control) also
 * fills a struct err that its caller owns: `name` is stable and meant for programs (it is the Varlink
 * error's last word), `message` is one line for people that says what was tried, on what, who is in
 * the way and what to do. Nothing below the command line prints or exits. */

#include "base/macro.h"

struct err {
    const char *name; /* static storage, CamelCase, e.g. "Held"; NULL while there is no error */
    char *message;    /* owned by this struct; may be NULL when memory ran out */
    int number;       /* positive errno */
};

#define _cleanup_err_ _cleanup_(err_done)

void err_done(struct err *err);

/* Fills *err (which may be NULL: then nothing is recorded) and returns -number. An earlier error in *err
 * is replaced. A message that ends in ": %m" gets the text of `number`, not of errno. */
int err_set(struct err *err, int number, const char *name, const char *fmt, ...) _printf_(4, 5);

/* Puts "PREFIX: " before the message. */
void err_prefix(struct err *err, const char *fmt, ...) _printf_(2, 3);

/* The message, or the errno's text where there is none; never NULL. */
const char *err_text(const struct err *err);
