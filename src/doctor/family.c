/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/family.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"

#define STAT_MAX 4096

void family_sweep_done(struct family_sweep *sweep) {
    free(sweep->of);
    free(sweep->by_parent);
    *sweep = (struct family_sweep){0};
}

static int read_member(int proc_fd, pid_t pid, struct family_member *ret) {
    uint64_t user, system, children_user, children_system;
    _cleanup_free_ char *text = NULL;
    struct proc_stat stat;
    const char *close;
    char path[32];
    int r;

    snprintf(path, sizeof path, "%d/stat", (int) pid);
    r = fd_read_file_at(proc_fd, path, STAT_MAX, &text, NULL);
    if (r >= 0)
        r = procfs_parse_stat(text, &stat);
    if (r < 0)
        return r;
    close = strrchr(text, ')');
    if (!close ||
        sscanf(close + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
               &user, &system, &children_user, &children_system) != 4)
        return -EBADMSG;
    *ret = (struct family_member){
        .pid = pid,
        .ppid = stat.ppid,
        .state = stat.state,
        .threads = stat.threads,
        .start_ticks = stat.start_ticks,
        .cpu_usec = procfs_ticks_to_boottime_usec(user + system),
        .children_cpu_usec = procfs_ticks_to_boottime_usec(children_user + children_system),
    };
    memcpy(ret->comm, stat.comm, sizeof ret->comm);
    return 0;
}

static int compare_pids(const void *a, const void *b) {
    return ((const struct family_member *) a)->pid - ((const struct family_member *) b)->pid;
}

static int compare_parents(const void *a, const void *b, void *members) {
    size_t x = *(const size_t *) a, y = *(const size_t *) b;
    const struct family_member *of = members;

    return of[x].ppid != of[y].ppid ? of[x].ppid - of[y].ppid : (x > y) - (x < y);
}

static int sort(struct family_sweep *sweep) {
    sweep->by_parent = calloc(sweep->n + 1, sizeof *sweep->by_parent);
    if (!sweep->by_parent)
        return -ENOMEM;
    if (sweep->n > 0)
        qsort(sweep->of, sweep->n, sizeof *sweep->of, compare_pids);
    for (size_t i = 0; i < sweep->n; i++)
        sweep->by_parent[i] = i;
    qsort_r(sweep->by_parent, sweep->n, sizeof *sweep->by_parent, compare_parents, sweep->of);
    return 0;
}

int family_sweep_read(int proc_fd, struct family_sweep *ret) {
    _cleanup_family_sweep_ struct family_sweep sweep = {0};
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    size_t room = 0;
    int r = fd_open_dir_at(proc_fd, ".", &dir);

    if (r < 0)
        return r;
    while ((entry = readdir(dir))) {
        struct family_member member;
        pid_t pid;

        if (value_parse_pid(entry->d_name, &pid) < 0 || read_member(proc_fd, pid, &member) < 0)
            continue;
        if (sweep.n == room) {
            struct family_member *bigger = reallocarray(sweep.of, room * 2 + 64, sizeof *bigger);

            if (!bigger)
                return -ENOMEM;
            sweep.of = bigger;
            room = room * 2 + 64;
        }
        sweep.of[sweep.n++] = member;
    }
    r = sort(&sweep);
    if (r < 0)
        return r;
    *ret = sweep;
    sweep = (struct family_sweep){0};
    return 0;
}

const struct family_member *family_sweep_find(const struct family_sweep *sweep, pid_t pid) {
    const struct family_member key = {.pid = pid};

    return sweep->n > 0 ? bsearch(&key, sweep->of, sweep->n, sizeof key, compare_pids) : NULL;
}

/* The place in by_parent. */
static size_t first_child(const struct family_sweep *sweep, pid_t ppid) {
    size_t low = 0, high = sweep->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sweep->of[sweep->by_parent[middle]].ppid < ppid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Breadth first: the list of those found is the queue of those whose children are still to be looked for. Who
 * was born while we read may seem to be its own ancestor: there are no more than all. */
int family_sweep_descendants(const struct family_sweep *sweep, pid_t pid, size_t max,
                             const struct family_member ***ret, size_t *ret_kept, size_t *ret_n) {
    const struct family_member *main = family_sweep_find(sweep, pid), **found;
    size_t n = 0;

    if (!main)
        return -ESRCH;
    found = calloc(sweep->n + 1, sizeof *found);
    if (!found)
        return -ENOMEM;
    found[n++] = main;
    for (size_t i = 0; i < n; i++)
        for (size_t j = first_child(sweep, found[i]->pid); j < sweep->n && n < sweep->n; j++) {
            const struct family_member *member = &sweep->of[sweep->by_parent[j]];

            if (member->ppid != found[i]->pid)
                break;
            found[n++] = member;
        }
    *ret_n = n;
    *ret_kept = n < max ? n : max;
    *ret = found;
    return 0;
}
