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
    if (sweep.n > 0)
        qsort(sweep.of, sweep.n, sizeof *sweep.of, compare_pids);
    *ret = sweep;
    sweep = (struct family_sweep){0};
    return 0;
}

const struct family_member *family_sweep_find(const struct family_sweep *sweep, pid_t pid) {
    const struct family_member key = {.pid = pid};

    return sweep->n > 0 ? bsearch(&key, sweep->of, sweep->n, sizeof key, compare_pids) : NULL;
}

struct by_parent {
    pid_t ppid;
    size_t place;
};

static int compare_parents(const void *a, const void *b) {
    const struct by_parent *x = a, *y = b;

    return x->ppid != y->ppid ? x->ppid - y->ppid : (x->place > y->place) - (x->place < y->place);
}

static size_t first_child(const struct by_parent *sorted, size_t n, pid_t ppid) {
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sorted[middle].ppid < ppid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Breadth first: the list of those found is the queue of those whose children are still to be looked for. */
int family_sweep_descendants(const struct family_sweep *sweep, pid_t pid, size_t max,
                             const struct family_member ***ret, size_t *ret_kept, size_t *ret_n) {
    _cleanup_free_ const struct family_member **found = calloc(sweep->n + 1, sizeof(struct family_member *));
    _cleanup_free_ struct by_parent *sorted = calloc(sweep->n + 1, sizeof *sorted);
    const struct family_member *main = family_sweep_find(sweep, pid);
    size_t n = 0;

    if (!found || !sorted)
        return -ENOMEM;
    if (!main)
        return -ESRCH;
    for (size_t i = 0; i < sweep->n; i++)
        sorted[i] = (struct by_parent){.ppid = sweep->of[i].ppid, .place = i};
    qsort(sorted, sweep->n, sizeof *sorted, compare_parents);
    found[n++] = main;
    for (size_t i = 0; i < n; i++)
        for (size_t j = first_child(sorted, sweep->n, found[i]->pid);
             j < sweep->n && sorted[j].ppid == found[i]->pid && n < sweep->n; j++)
            if (sorted[j].ppid >
                0) /* who was born while we read may seem to be its own ancestor: n bounds that */
                found[n++] = &sweep->of[sorted[j].place];
    *ret_n = n;
    *ret_kept = n < max ? n : max;
    *ret = TAKE_PTR(found);
    return 0;
}
