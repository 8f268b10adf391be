/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What latchd's and latchctl's command lines share: exit codes, directories, and how a failure is told. */

#include "base/err.h"
#include "config/config.h"

/* Exit codes (sysexits.h has the numbers from 64 on). */
enum {
    EXIT_LSB_NOT_RUNNING = 3, /* latchctl status */
    EXIT_LSB_NO_SERVICE = 4,
    EXIT_FOUND = 8, /* latchctl doctor */
    EXIT_BAD_USAGE = 64,
    EXIT_NOBODY_LISTENS = 69, /* latchctl call */
    EXIT_BUSY = 75,
    EXIT_CUT_SHORT = 76,
    EXIT_HELD = 75, /* a living owner holds the lock or socket: try again later */
    EXIT_NOT_PERMITTED = 77,
    EXIT_BAD_CONFIG = 78,
};

#define OPTIONS_SYSTEM_RUNTIME_DIR "/run/latchd"

/* $LATCHD_RUNTIME_DIR, else /run/latchd for root, else $XDG_RUNTIME_DIR/latchd. Owned by the caller; NULL
 * when none of them is there. */
char *options_runtime_dir(void);

/* `config_dir` is what --config-dir said, or NULL. */
struct config_paths options_config_paths(const char *config_dir);

/* "PROGRAM: message" on standard error, one line. Returns the exit code for the error's name. */
int options_fail(const char *program, const struct err *err);

/* Every mistake of a configuration on standard error, a line each. */
void options_print_problems(const struct config_problems *problems);
