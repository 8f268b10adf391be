/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/family.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"

void family_done(struct family *family) {
    free(family->of);
    *family = (struct family){0};
}

struct relation {
    struct family_member who;
    pid_t parent;
    bool counted;
};

static int read_relations(int proc_fd, struct relation **ret, size_t *ret_n) {
    _cleanup_free_ struct relation *relations = NULL;
    _cleanup_closedir_ DIR *dir = NULL;
    size_t n = 0, room = 0;
    struct dirent *entry;
    pid_t pid;
    int r = fd_open_dir_at(proc_fd, ".", &dir);

    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        struct proc_stat stat;

        if (value_parse_pid(entry->d_name, &pid) < 0 || procfs_read_stat(proc_fd, pid, &stat) < 0)
            continue;
        if (n == room) {
            struct relation *bigger = reallocarray(relations, room = 2 * room + 64, sizeof *bigger);

            if (!bigger)
                return -ENOMEM;
            relations = bigger;
        }
        relations[n++] =
            (struct relation){.who = {.pid = stat.pid, .start_ticks = stat.start_ticks}, .parent = stat.ppid};
    }
    *ret = TAKE_PTR(relations);
    *ret_n = n;
    return 0;
}

int family_read(int proc_fd, pid_t pid, struct family *ret) {
    _cleanup_free_ struct relation *relations = NULL;
    struct family family = {0};
    size_t n = 0;
    int r = read_relations(proc_fd, &relations, &n);

    if (r < 0)
        return r;
    family.of = calloc(n + 1, sizeof *family.of);
    if (!family.of)
        return -ENOMEM;
    for (size_t i = 0; i < n && family.n == 0; i++)
        if (relations[i].who.pid == pid) {
            relations[i].counted = true;
            family.of[family.n++] = relations[i].who;
        }
    for (size_t i = 0; i < family.n; i++)
        for (size_t j = 0; j < n; j++)
            if (relations[j].parent == family.of[i].pid && !relations[j].counted) {
                relations[j].counted = true;
                family.of[family.n++] = relations[j].who;
            }
    *ret = family;
    return 0;
}

#define CHILDREN_BYTES_MAX (1 << 20)

struct pid_list {
    pid_t *pids;
    size_t n;
};

static int add_pid(struct pid_list *list, pid_t pid) {
    if ((list->n & (list->n - 1)) == 0) { /* grows at each power of two */
        pid_t *bigger = reallocarray(list->pids, list->n ? 2 * list->n : 1, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        list->pids = bigger;
    }
    list->pids[list->n++] = pid;
    return 0;
}

/* A child is listed with the thread that made it. */
static int add_children(int task_fd, const char *thread, struct pid_list *list) {
    _cleanup_free_ char *text = NULL, *path = NULL;
    int r;

    if (asprintf(&path, "%s/children", thread) < 0)
        return -ENOMEM;
    r = fd_read_file_at(task_fd, path, CHILDREN_BYTES_MAX, &text, NULL);
    for (char *rest = text, *word; r >= 0 && (word = strsep(&rest, " "));) {
        pid_t pid;

        if (value_parse_pid(word, &pid) >= 0)
            r = add_pid(list, pid);
    }
    return r;
}

static int add_children_of(int proc_fd, pid_t pid, struct pid_list *list) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    char path[64];
    int r;

    snprintf(path, sizeof path, "%d/task", (int) pid);
    r = fd_open_dir_at(proc_fd, path, &dir);
    while (r >= 0 && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            r = add_children(dirfd(dir), entry->d_name, list);
    return r;
}

int family_count(int proc_fd, pid_t pid) {
    struct pid_list list = {0};
    struct family family;
    int r = add_pid(&list, pid), n;

    for (size_t i = 0; r >= 0 && i < list.n && list.n < INT_MAX; i++)
        r = add_children_of(proc_fd, list.pids[i], &list);
    n = (int) list.n;
    free(list.pids);
    if (r >= 0)
        return n;
    /* Somebody has ended meanwhile, or the kernel does not list children. */
    r = family_read(proc_fd, pid, &family);
    if (r < 0)
        return r;
    n = (int) family.n;
    family_done(&family);
    return n;
}
