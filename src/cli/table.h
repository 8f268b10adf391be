/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables on standard output (libsmartcols): columns fit a terminal, and are plain elsewhere. */

#include <stdbool.h>
#include <stddef.h>

#include "cli/command.h"

struct table;

/* Columns in order. Owned by the caller. NULL: no memory. */
struct table *table_new(const struct cli *cli, const char *const *columns, size_t n);

/* One row; cells are copied, NULL is "-". */
int table_add(struct table *table, const char *const *cells);

/* Colours a cell of the row that was added last: "" or one of the colours below. */
void table_set_color(struct table *table, size_t column, const char *color);

/* Where a terminal is too narrow for the table these columns are left out, one after another, and the last
 * column is never cut: a path that is too long even so runs over the edge. The list is borrowed. */
void table_set_missable(struct table *table, const size_t *columns, size_t n);

/* Prints and frees. Returns an exit code. */
int table_print(struct table *table);

/* "\033[1;32m" for what is well, red for what is wrong, yellow between; "" without colours. Pair with
 * color_reset() in what is printed; a table's cell is given its colour by table_set_color(). */
const char *color_for_state(const struct cli *cli, const char *state);
const char *color_for_verdict(const struct cli *cli, const char *verdict);
const char *color_reset(const struct cli *cli);
