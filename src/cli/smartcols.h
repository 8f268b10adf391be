/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* libsmartcols, loaded when a table is made: most verbs make none. scols.new_table() is scols_new_table(),
 * and so on. */

#include <libsmartcols.h>

#include "base/err.h"

#define SMARTCOLS_FUNCTIONS(X)                                                                               \
    X(cell_get_data)                                                                                         \
    X(cell_set_color)                                                                                        \
    X(column_get_flags)                                                                                      \
    X(column_get_header)                                                                                     \
    X(column_set_flags)                                                                                      \
    X(line_get_cell)                                                                                         \
    X(line_get_parent)                                                                                       \
    X(line_has_children)                                                                                     \
    X(line_set_data)                                                                                         \
    X(new_symbols)                                                                                           \
    X(new_table)                                                                                             \
    X(print_table)                                                                                           \
    X(symbols_set_branch)                                                                                    \
    X(symbols_set_right)                                                                                     \
    X(symbols_set_vertical)                                                                                  \
    X(table_enable_colors)                                                                                   \
    X(table_get_column)                                                                                      \
    X(table_get_line)                                                                                        \
    X(table_get_nlines)                                                                                      \
    X(table_new_column)                                                                                      \
    X(table_new_line)                                                                                        \
    X(table_set_symbols)                                                                                     \
    X(table_set_termforce)                                                                                   \
    X(table_set_termwidth)                                                                                   \
    X(unref_symbols)                                                                                         \
    X(unref_table)

struct smartcols {
#define X(name) __typeof__(&scols_##name) name;
    SMARTCOLS_FUNCTIONS(X)
#undef X
};
extern struct smartcols scols;

/* To be called before any other; again does no harm. -ENOPKG, having told standard error, where the library
 * is not installed. */
int smartcols_load(void);
