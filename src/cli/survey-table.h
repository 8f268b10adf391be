/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* `latchctl probe --all`: every lock and listening unix socket of the machine, a line each; with --json an
 * array of reports as `probe PATH` has them. Returns the exit code: 0, for it is a listing; 1 failure. */

#include "cli/command.h"

int survey_table_run(const struct cli *cli);
