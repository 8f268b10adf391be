/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/members.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "recovery/own-cgroup.h"

#define CHILDREN_MAX (4 << 20)
#define CGROUP_MAX 65536

/* Grows by doubling: room is a power of two, and full when n is one. */
static int add_pid(pid_t **pids, size_t *n, pid_t pid) {
    if ((*n & (*n - 1)) == 0) {
        pid_t *bigger = reallocarray(*pids, *n ? 2 * *n : 1, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        *pids = bigger;
    }
    (*pids)[(*n)++] = pid;
    return 0;
}

static int compare_pids(const void *a, const void *b) {
    const pid_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int compare_rows(const void *a, const void *b) {
    const struct process_row *x = a, *y = b;

    return compare_pids(&x->pid, &y->pid);
}

static const struct process_row *find_row(const struct process_row *rows, size_t n, pid_t pid) {
    const struct process_row key = {.pid = pid};

    return n > 0 ? bsearch(&key, rows, n, sizeof key, compare_rows) : NULL;
}

int process_table_read(int proc_fd, struct process_row **ret, size_t *ret_n) {
    _cleanup_free_ struct process_row *rows = NULL;
    _cleanup_closedir_ DIR *dir = NULL;
    size_t n = 0, room = 0;
    struct dirent *entry;
    int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int error = errno;

        fd_close(fd);
        return -error;
    }
    while ((entry = readdir(dir))) {
        struct proc_stat stat;
        pid_t pid = (pid_t) strtol(entry->d_name, NULL, 10);

        if (pid <= 0 || procfs_read_stat(proc_fd, pid, &stat) < 0 || stat.kernel_thread ||
            process_life_of_stat(&stat) == PROCESS_ZOMBIE)
            continue;
        if (n == room) {
            struct process_row *bigger = reallocarray(rows, room = 2 * room + 64, sizeof *bigger);

            if (!bigger)
                return -ENOMEM;
            rows = bigger;
        }
        rows[n++] = (struct process_row){.pid = stat.pid, .parent = stat.ppid, .session = stat.session};
    }
    if (n > 0)
        qsort(rows, n, sizeof *rows, compare_rows);
    *ret = TAKE_PTR(rows);
    *ret_n = n;
    return 0;
}

enum kinship { KIN_UNKNOWN, KIN_NO, KIN_YES };

/* Upwards until somebody is known, then down again: each row is told once. A table that was not read at one
 * moment may go in a circle, where a number was given out again: no further up than there are rows. */
static enum kinship tell_kinship(const struct process_row *rows, size_t n, size_t row, enum kinship *kin) {
    enum kinship found = KIN_NO;
    size_t at = row;

    for (size_t steps = 0; steps < n; steps++) {
        const struct process_row *parent;

        if (kin[at] != KIN_UNKNOWN) {
            found = kin[at];
            break;
        }
        parent = find_row(rows, n, rows[at].parent);
        if (!parent)
            break;
        at = (size_t) (parent - rows);
    }
    at = row;
    for (size_t steps = 0; steps < n && kin[at] == KIN_UNKNOWN; steps++) {
        const struct process_row *parent = find_row(rows, n, rows[at].parent);

        kin[at] = found;
        if (!parent)
            break;
        at = (size_t) (parent - rows);
    }
    return found;
}

int process_table_add_family(const struct process_row *rows, size_t n_rows, const pid_t *roots,
                             size_t n_roots, pid_t **pids, size_t *n_pids) {
    _cleanup_free_ enum kinship *kin = calloc(n_rows + 1, sizeof *kin);

    if (!kin)
        return -ENOMEM;
    for (size_t i = 0; i < n_roots; i++) {
        const struct process_row *row = find_row(rows, n_rows, roots[i]);

        if (row)
            kin[row - rows] = KIN_YES;
    }
    for (size_t i = 0; i < n_rows; i++)
        if (tell_kinship(rows, n_rows, i, kin) == KIN_YES && add_pid(pids, n_pids, rows[i].pid) < 0)
            return -ENOMEM;
    return 0;
}

struct mark {
    pid_t pid;
    char *service;
};

struct marks_table {
    struct mark *marks;
    size_t n;
};

struct marks_table *marks_table_free(struct marks_table *table) {
    if (!table)
        return NULL;
    for (size_t i = 0; i < table->n; i++)
        free(table->marks[i].service);
    free(table->marks);
    free(table);
    return NULL;
}

int marks_table_read(int proc_fd, struct marks_table **ret) {
    _cleanup_free_ struct process_row *rows = NULL;
    struct marks_table *table;
    size_t n_rows;
    int r = process_table_read(proc_fd, &rows, &n_rows);

    if (r < 0)
        return r;
    table = calloc(1, sizeof *table);
    if (!table || !(table->marks = calloc(n_rows + 1, sizeof *table->marks))) {
        free(table);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n_rows; i++)
        if (procfs_read_environ(proc_fd, rows[i].pid, "LATCHD_SERVICE", &table->marks[table->n].service) >= 0)
            table->marks[table->n++].pid = rows[i].pid;
    *ret = table;
    return 0;
}

static int search_marks(const struct member_search *search, pid_t **pids, size_t *n) {
    struct marks_table *own = NULL;
    const struct marks_table *table = search->marks;
    int r = table ? 0 : marks_table_read(search->proc_fd, &own);

    if (!table)
        table = own;
    for (size_t i = 0; r >= 0 && i < table->n; i++)
        if (strcmp(table->marks[i].service, search->service) == 0)
            r = add_pid(pids, n, table->marks[i].pid);
    marks_table_free(own);
    return r;
}

static int search_families(const struct member_search *search, pid_t **pids, size_t *n) {
    _cleanup_free_ struct process_row *rows = NULL;
    size_t n_rows;
    int r = process_table_read(search->proc_fd, &rows, &n_rows);

    if (r >= 0)
        r = process_table_add_family(rows, n_rows, search->roots, search->n_roots, pids, n);
    for (size_t i = 0; r >= 0 && i < n_rows; i++)
        if (search->session > 1 && rows[i].session == search->session)
            r = add_pid(pids, n, rows[i].pid);
    return r;
}

int members_search(const struct member_search *search, pid_t **ret, size_t *ret_n) {
    _cleanup_free_ pid_t *pids = NULL, *listed = NULL;
    size_t n = 0, n_listed = 0, kept = 0;
    int r = 0;

    if (search->cgroup_fd >= 0)
        r = own_cgroup_list(search->cgroup_fd, CGROUP_MAX, &listed, &n_listed);
    for (size_t i = 0; r >= 0 && i < n_listed; i++)
        r = add_pid(&pids, &n, listed[i]);
    if (r >= 0 && search->n_roots > 0)
        r = search_families(search, &pids, &n);
    if (r >= 0 && search->service)
        r = search_marks(search, &pids, &n);
    if (r < 0)
        return r;
    if (n > 0)
        qsort(pids, n, sizeof *pids, compare_pids);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || pids[i] != pids[i - 1])
            pids[kept++] = pids[i];
    *ret = TAKE_PTR(pids);
    *ret_n = kept;
    return 0;
}

int members_list_children(int proc_fd, int *children_fd, pid_t **ret, size_t *ret_n) {
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ pid_t *pids = NULL;
    char path[64];
    size_t n = 0;
    int r;

    if (*children_fd < 0) {
        snprintf(path, sizeof path, "%d/task/%d/children", (int) getpid(), (int) getpid());
        *children_fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    } else
        (void) lseek(*children_fd, 0, SEEK_SET);
    if (*children_fd < 0)
        return -errno;
    r = fd_read_all(*children_fd, CHILDREN_MAX, &text, NULL);
    for (char *rest = text, *word; r >= 0 && (word = strsep(&rest, " "));)
        if (*word)
            r = add_pid(&pids, &n, (pid_t) strtol(word, NULL, 10));
    if (r < 0)
        return r;
    if (n > 0)
        qsort(pids, n, sizeof *pids, compare_pids);
    *ret = TAKE_PTR(pids);
    *ret_n = n;
    return 0;
}
