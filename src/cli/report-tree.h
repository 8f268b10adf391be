/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is recorded in a lock, who holds it, waits for it, has it open: a tree on standard output, in columns
 * (libsmartcols). On a terminal long cells are cut to its width; elsewhere nothing is. */

#include "cli/command.h"

/* `reports`: what the whole probe found, an array; `index` the one to print. Returns 0 or -ENOMEM. */
int report_tree_print(const struct cli *cli, json_t *reports, size_t index);
