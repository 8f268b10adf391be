/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/family.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

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
