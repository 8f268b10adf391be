/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/smartcols.h"

#define LAST_LEAST 48 /* characters of the last column for which others make room */

struct table {
    const struct cli *cli;
    struct libscols_table *table;
    struct libscols_line *line; /* added last; NULL: none yet */
    size_t n;
    const size_t *missable; /* borrowed; NULL: the last column is cut instead */
    size_t n_missable;
};

struct table *table_new(const struct cli *cli, const char *const *columns, size_t n) {
    struct table *table = smartcols_load() < 0 ? NULL : calloc(1, sizeof *table);

    if (!table || !(table->table = scols.new_table())) {
        free(table);
        return NULL;
    }
    table->n = n;
    table->cli = cli;
    scols.table_enable_colors(table->table, cli->color);
    for (size_t i = 0; i < n; i++)
        if (!scols.table_new_column(table->table, columns[i], 0, i + 1 == n ? SCOLS_FL_TRUNC : 0)) {
            scols.unref_table(table->table);
            free(table);
            return NULL;
        }
    return table;
}

int table_add(struct table *table, const char *const *cells) {
    struct libscols_line *line = scols.table_new_line(table->table, NULL);

    if (!line)
        return -ENOMEM;
    for (size_t i = 0; i < table->n; i++)
        if (scols.line_set_data(line, i, cells[i] ? cells[i] : "-") < 0)
            return -ENOMEM;
    table->line = line;
    return 0;
}

/* The library counts no width for it, and shows whatever stands in the cell itself as it is: an escape
 * sequence there would be printed in letters. */
void table_set_color(struct table *table, size_t column, const char *color) {
    if (table->line && color[0])
        (void) scols.cell_set_color(scols.line_get_cell(table->line, column), color);
}

void table_set_missable(struct table *table, const size_t *columns, size_t n) {
    table->missable = columns;
    table->n_missable = n;
}

static size_t count_characters(const char *text) {
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char) *text & 0xc0) != 0x80; /* what goes on a UTF-8 character is none */
    return n;
}

static size_t column_width(struct table *table, size_t column) {
    struct libscols_column *data = scols.table_get_column(table->table, column);
    size_t width = count_characters(scols.cell_get_data(scols.column_get_header(data)));

    for (size_t i = 0; i < scols.table_get_nlines(table->table); i++) {
        struct libscols_line *line = scols.table_get_line(table->table, i);
        size_t cell = count_characters(scols.cell_get_data(scols.line_get_cell(line, column)));

        if (cell > width)
            width = cell;
    }
    return width;
}

/* Makes room for the last column, and has the library take the terminal for as wide as the table is then. */
static int fit(struct table *table) {
    struct libscols_column *last = scols.table_get_column(table->table, table->n - 1);
    size_t last_width = column_width(table, table->n - 1), wanted, width = 0;
    struct winsize window;

    if (!table->cli->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_col == 0)
        return 0;
    for (size_t i = 0; i + 1 < table->n; i++)
        width += column_width(table, i) + 1;
    wanted = last_width < LAST_LEAST ? last_width : LAST_LEAST;
    for (size_t i = 0; i < table->n_missable && width + wanted > window.ws_col; i++) {
        struct libscols_column *column = scols.table_get_column(table->table, table->missable[i]);

        width -= column_width(table, table->missable[i]) + 1;
        if (scols.column_set_flags(column, SCOLS_FL_HIDDEN) < 0)
            return -ENOMEM;
    }
    if (scols.column_set_flags(last, 0) < 0)
        return -ENOMEM;
    if (width + last_width <= window.ws_col)
        return 0;
    return scols.table_set_termforce(table->table, SCOLS_TERMFORCE_ALWAYS) < 0 ||
                   scols.table_set_termwidth(table->table, width + last_width + 1) < 0
               ? -ENOMEM
               : 0;
}

int table_print(struct table *table) {
    int r = table->missable ? fit(table) : 0;

    if (r >= 0)
        r = scols.print_table(table->table);
    scols.unref_table(table->table);
    free(table);
    return r == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool is_one_of(const char *word, const char *const *words) {
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

const char *color_for_state(const struct cli *cli, const char *state) {
    static const char *const good[] = {"running", "reloading", NULL},
                             *const bad[] = {"failed", "blocked", NULL}, *const quiet[] = {"stopped", NULL};

    if (!cli->color || is_one_of(state, quiet))
        return "";
    return is_one_of(state, good) ? "\033[1;32m" : is_one_of(state, bad) ? "\033[1;31m" : "\033[1;33m";
}

const char *color_for_verdict(const struct cli *cli, const char *verdict) {
    static const char *const good[] = {"free", "absent", NULL}, *const bad[] = {"orphaned", "stale", NULL};

    if (!cli->color)
        return "";
    return is_one_of(verdict, good) ? "\033[1;32m" : is_one_of(verdict, bad) ? "\033[1;31m" : "\033[1;33m";
}

const char *color_reset(const struct cli *cli) {
    return cli->color ? "\033[0m" : "";
}
