/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/suspects.h"

#include <limits.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"

void suspects_done(struct suspects *suspects) {
    free(suspects->list);
    *suspects = (struct suspects){0};
}

bool suspects_is_named(const struct lock_facts *facts, pid_t pid) {
    if (pid <= 0)
        return false;
    for (size_t i = 0; i < facts->n_claims; i++)
        if (!facts->claims[i].waiting && facts->claims[i].pid == pid)
            return true;
    return facts->record.pid == pid || facts->listener.peer.pid == pid;
}

static size_t add_named(pid_t *pids, size_t n, size_t max, pid_t pid) {
    if (pid <= 0 || n == max)
        return n;
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return n;
    pids[n] = pid;
    return n + 1;
}

size_t suspects_name(const struct lock_facts *facts, pid_t *pids, size_t n, size_t max) {
    for (size_t i = 0; i < facts->n_claims; i++)
        if (!facts->claims[i].waiting)
            n = add_named(pids, n, max, facts->claims[i].pid);
    n = add_named(pids, n, max, facts->record.pid);
    return add_named(pids, n, max, facts->listener.peer.pid);
}

static int add_process(struct suspects *suspects, size_t *capacity, pid_t pid) {
    if (suspects->n == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 1024;
        struct suspect *bigger = reallocarray(suspects->list, more, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        suspects->list = bigger;
        *capacity = more;
    }
    suspects->list[suspects->n++] = (struct suspect){.pid = pid};
    return 0;
}

/* Children are begun after their parents, so that their numbers lie just above. */
static unsigned long distance_between(pid_t named, pid_t pid) {
    return pid > named ? (unsigned long) (pid - named) : 4 * (unsigned long) (named - pid);
}

/* getsid(2) and getpgid(2) answer for every process, and for a thousandth of what its stat file costs. A
 * group keeps the number of a leader that is dead. */
static bool is_related(pid_t named, pid_t group, pid_t session, pid_t named_session) {
    return group == named || session == named || (named_session > 0 && session == named_session);
}

static void rate(struct suspects *suspects, const pid_t *named, size_t n_named, bool own_namespace) {
    pid_t sessions[n_named], own_session = getsid(0);

    for (size_t i = 0; i < n_named; i++) {
        sessions[i] = own_namespace ? getsid(named[i]) : -1;
        if (sessions[i] == own_session)
            sessions[i] = -1; /* says nothing: all that was begun from one terminal would be suspect */
    }
    for (size_t i = 0; i < suspects->n; i++) {
        struct suspect *suspect = &suspects->list[i];
        pid_t group = own_namespace ? getpgid(suspect->pid) : -1,
              session = own_namespace ? getsid(suspect->pid) : -1;

        suspect->distance = ULONG_MAX;
        for (size_t j = 0; j < n_named; j++) {
            unsigned long distance = is_related(named[j], group, session, sessions[j])
                                         ? 0
                                         : distance_between(named[j], suspect->pid);

            if (distance < suspect->distance)
                suspect->distance = distance;
        }
    }
}

static int compare(const void *a, const void *b) {
    const struct suspect *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int suspects_list(int proc_fd, const pid_t *named, size_t n_named, struct suspects *ret) {
    struct suspects suspects = {0};
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    size_t capacity = 0;
    int r;

    r = fd_open_dir_at(proc_fd, ".", &dir);
    if (r < 0)
        return r;
    for (;;) {
        pid_t pid;

        errno = 0;
        entry = readdir(dir);
        if (!entry && errno != 0) {
            r = -errno;
            break;
        }
        if (!entry)
            break;
        if (value_parse_pid(entry->d_name, &pid) < 0)
            continue;
        suspects.saw_init |= pid == 1;
        r = add_process(&suspects, &capacity, pid);
        if (r < 0)
            break;
    }
    if (r < 0) {
        suspects_done(&suspects);
        return r;
    }
    suspects.n_likely = suspects.n;
    if (n_named > 0) {
        rate(&suspects, named, n_named, procfs_is_own_namespace(proc_fd));
        qsort(suspects.list, suspects.n, sizeof *suspects.list, compare);
        suspects.n_likely = 0;
        while (suspects.n_likely < suspects.n && suspects.list[suspects.n_likely].distance == 0)
            suspects.n_likely++;
        suspects.n_likely += SUSPECTS_NEAREST;
        if (suspects.n_likely > suspects.n)
            suspects.n_likely = suspects.n;
    }
    *ret = suspects;
    return 0;
}
