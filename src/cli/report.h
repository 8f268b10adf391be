/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A lock report (the JSON of `latchctl probe`) for people. */

#include <stdio.h>

#include "cli/command.h"

/* `reports`: all that the probe found, an array, for what a holder has of the others is told as well; `index`
 * the one to print: its verdict, what is so and why, who has it as a tree, what could not be seen, what to
 * do. A field "effort" of "quick" tells that not all was looked at. Returns 0 or -ENOMEM. */
int report_print(const struct cli *cli, json_t *reports, size_t index);

/* Text of a field, or "" where there is none. Borrowed. */
const char *report_text(json_t *object, const char *key);

/* The verdict's exit code as `probe` has it. */
int report_exit_code(json_t *report);

/* Whether the locale has the lines of a tree as characters. */
bool report_is_utf8(void);
