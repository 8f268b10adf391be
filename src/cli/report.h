/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A lock report (the JSON of `latchctl probe`) for people. */

#include <stdio.h>

#include "cli/command.h"

void report_print(const struct cli *cli, json_t *report);

/* Text of a field, or "" where there is none. Borrowed. */
const char *report_text(json_t *object, const char *key);

/* The verdict's exit code as `probe` has it. */
int report_exit_code(json_t *report);
