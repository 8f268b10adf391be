/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <libsmartcols.h>
#include <string.h>

struct table {
    struct libscols_table *table;
    size_t n;
};

struct table *table_new(const struct cli *cli, const char *const *columns, size_t n) {
    struct table *table = calloc(1, sizeof *table);

    if (!table || !(table->table = scols_new_table())) {
        free(table);
        return NULL;
    }
    table->n = n;
    scols_table_enable_colors(table->table, cli->color);
    for (size_t i = 0; i < n; i++)
        if (!scols_table_new_column(table->table, columns[i], 0, i + 1 == n ? SCOLS_FL_TRUNC : 0)) {
            scols_unref_table(table->table);
            free(table);
            return NULL;
        }
    return table;
}

int table_add(struct table *table, const char *const *cells) {
    struct libscols_line *line = scols_table_new_line(table->table, NULL);

    if (!line)
        return -ENOMEM;
    for (size_t i = 0; i < table->n; i++)
        if (scols_line_set_data(line, i, cells[i] ? cells[i] : "-") < 0)
            return -ENOMEM;
    return 0;
}

int table_print(struct table *table) {
    int r = scols_print_table(table->table);

    scols_unref_table(table->table);
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
