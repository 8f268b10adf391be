/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/namesake.h"

#include <dirent.h>

#include "base/fd.h"
#include "base/value.h"

void namesake_table_done(struct namesake_table *table) {
    free(table->rows);
    *table = (struct namesake_table){0};
}

static int add_row(struct namesake_table *table, pid_t pid, pid_t number) {
    if ((table->n & (table->n - 1)) == 0) { /* grows at each power of two */
        struct namesake *bigger = reallocarray(table->rows, table->n ? table->n * 2 : 1, sizeof *table->rows);

        if (!bigger)
            return -ENOMEM;
        table->rows = bigger;
    }
    table->rows[table->n++] = (struct namesake){.pid = pid, .number = number};
    return 0;
}

int namesake_table_read(int proc_fd, struct namesake_table *ret) {
    _cleanup_namesake_table_ struct namesake_table table = {0};
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int r;

    r = fd_open_dir_at(proc_fd, ".", &dir);
    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        struct proc_status status;
        pid_t pid;

        if (value_parse_pid(entry->d_name, &pid) < 0 || procfs_read_status(proc_fd, pid, &status) < 0)
            continue;
        for (unsigned i = 1; i < status.ns_depth && i < PROC_NS_DEPTH_MAX; i++) {
            r = add_row(&table, pid, status.ns_pids[i]);
            if (r < 0)
                return r;
        }
    }
    *ret = table;
    table = (struct namesake_table){0};
    return 0;
}

int namesake_find(const struct namesake_table *table, int proc_fd, pid_t number, uint64_t until_usec,
                  struct process_facts *ret) {
    for (size_t i = 0; i < table->n; i++) {
        struct process_facts process;
        int r;

        if (table->rows[i].number != number)
            continue;
        r = process_facts_read(proc_fd, table->rows[i].pid, &process);
        if (r < 0)
            return r;
        if (process.start_usec <= until_usec && process.life != PROCESS_GONE &&
            process.life != PROCESS_ZOMBIE) {
            *ret = process;
            return 0;
        }
        process_facts_done(&process);
    }
    return 0;
}
