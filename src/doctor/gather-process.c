/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "doctor/gather-parts.h"
#include "exec/limits-facts.h"
#include "probe/freezer.h"
#include "probe/snapshot.h"

#define TEXT_MAX 4096
#define CHILDREN_MAX (1024 * 1024)
#define SEEN_MAX (4 * 1024 * 1024)

/* System calls that a daemon waits in. about_fd: the first argument is a descriptor. */
static const struct {
    long number;
    const char *name;
    bool about_fd;
} calls[] = {
    {SYS_read, "read", true},
    {SYS_readv, "readv", true},
    {SYS_write, "write", true},
    {SYS_writev, "writev", true},
    {SYS_sendto, "sendto", true},
    {SYS_sendmsg, "sendmsg", true},
    {SYS_sendfile, "sendfile", true},
    {SYS_recvfrom, "recvfrom", true},
    {SYS_recvmsg, "recvmsg", true},
    {SYS_connect, "connect", true},
    {SYS_accept, "accept", true},
    {SYS_accept4, "accept4", true},
    {SYS_flock, "flock", true},
    {SYS_fcntl, "fcntl", true},
    {SYS_fsync, "fsync", true},
    {SYS_fdatasync, "fdatasync", true},
    {SYS_futex, "futex", false},
    {SYS_ppoll, "ppoll", false},
    {SYS_pselect6, "pselect6", false},
    {SYS_epoll_pwait, "epoll_pwait", false},
    {SYS_wait4, "wait4", false},
    {SYS_waitid, "waitid", false},
    {SYS_openat, "openat", false},
    {SYS_nanosleep, "nanosleep", false},
    {SYS_clock_nanosleep, "clock_nanosleep", false},
    {SYS_rt_sigsuspend, "rt_sigsuspend", false},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait", false},
#ifdef SYS_poll
    {SYS_poll, "poll", false},
#endif
#ifdef SYS_select
    {SYS_select, "select", false},
#endif
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait", false},
#endif
#ifdef SYS_pause
    {SYS_pause, "pause", false},
#endif
#ifdef SYS_open
    {SYS_open, "open", false},
#endif
};

static int read_entry(int proc_fd, pid_t pid, const char *name, char **ret) {
    char path[64];

    snprintf(path, sizeof path, "%d/%s", (int) pid, name);
    return fd_read_file_at(proc_fd, path, TEXT_MAX, ret, NULL);
}

static void read_file_of(int proc_fd, struct doctor_process *process) {
    char path[64], target[PATH_MAX];
    ssize_t size;

    snprintf(path, sizeof path, "%d/fd/%d", (int) process->pid, (int) process->waits_fd);
    size = readlinkat(proc_fd, path, target, sizeof target - 1);
    if (size < 0)
        return;
    target[size] = '\0';
    value_make_printable(target);
    process->waits_file = strdup(target);
}

/* "NUMBER ARGUMENT... SP PC" of the first thread (proc_pid_syscall(5)); "running", or "-1 SP PC" outside of
 * one.
 */
static void read_call(int proc_fd, struct doctor_process *process) {
    _cleanup_free_ char *text = NULL;
    unsigned long long fd;
    long number;

    if (read_entry(proc_fd, process->pid, "syscall", &text) < 0 ||
        sscanf(text, "%ld %llx", &number, &fd) != 2)
        return;
    for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
        if (calls[i].number != number)
            continue;
        process->waits_call = strdup(calls[i].name);
        if (calls[i].about_fd && fd <= INT_MAX) {
            process->waits_fd = fd;
            read_file_of(proc_fd, process);
        }
    }
}

/* "0" where it does not sleep, and where we may not know (proc_pid_wchan(5)). */
static int read_waiting(int proc_fd, struct doctor_process *process) {
    _cleanup_free_ char *text = NULL;
    int r = read_entry(proc_fd, process->pid, "wchan", &text);

    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    value_make_printable(text);
    if (*text && strcmp(text, "0") != 0)
        process->waits_in = TAKE_PTR(text);
    read_call(proc_fd, process);
    return 0;
}

static uint64_t limit_of(uint64_t value) {
    return value == UINT64_MAX ? DOCTOR_INFINITY : value;
}

static int read_details(int proc_fd, struct doctor_process *process) {
    struct proc_limit limits[16];
    uint64_t open_files;
    int r;

    if (procfs_read_limits(proc_fd, process->pid, limits) >= 0) {
        process->nofile_soft = limit_of(limits[RLIMIT_NOFILE].soft);
        process->nofile_hard = limit_of(limits[RLIMIT_NOFILE].hard);
    }
    r = read_waiting(proc_fd, process);
    open_files = limits_count_descriptors(proc_fd, process->pid);
    if (open_files > 0)
        process->open_files = open_files;
    else if (r >= 0) {
        _cleanup_closedir_ DIR *dir = NULL;
        char path[32];

        snprintf(path, sizeof path, "%d/fd", (int) process->pid);
        r = fd_open_dir_at(proc_fd, path, &dir);
        if (r >= 0)
            process->open_files = 0;
    }
    return r;
}

static bool waits_for_lock(const struct doctor_process *process) {
    return process->waits_call &&
           (strcmp(process->waits_call, "flock") == 0 || strcmp(process->waits_call, "fcntl") == 0);
}

/* Each reading of /proc/locks costs everybody who locks (probe/snapshot.h): only where somebody waits. */
static int find_lock_holders(int proc_fd, const struct doctor_look *look, struct doctor_facts *facts) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    bool any = false;
    int r;

    for (size_t i = 0; i < facts->n_processes; i++)
        any |= waits_for_lock(&facts->processes[i]);
    if (!any)
        return 0;
    r = lock_snapshot_read(proc_fd, &snapshot);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    for (size_t i = 0; i < snapshot.n; i++) {
        const struct lock_row *waiter = &snapshot.rows[i];

        for (size_t j = 0; waiter->claim.waiting && j < facts->n_processes; j++) {
            struct doctor_process *process = &facts->processes[j];

            if (!waits_for_lock(process) || (pid_t) process->pid != waiter->claim.pid)
                continue;
            for (size_t k = 0; k < snapshot.n; k++) {
                const struct lock_row *row = &snapshot.rows[k];
                const struct family_member *holder;

                if (row->claim.waiting || row->inode != waiter->inode || row->device != waiter->device ||
                    row->claim.pid <= 0)
                    continue;
                holder = family_sweep_find(&look->processes, row->claim.pid);
                process->lock_holder = (uint64_t) row->claim.pid;
                free(process->lock_holder_comm);
                process->lock_holder_comm = holder ? strdup(holder->comm) : NULL;
            }
        }
    }
    return 0;
}

static int add_process(int proc_fd, const struct family_member *member, struct doctor_facts *facts) {
    struct doctor_process *process = doctor_add(facts, processes);
    int r;

    if (!process)
        return -ENOMEM;
    process->pid = (uint64_t) member->pid;
    process->ppid = (uint64_t) member->ppid;
    process->comm = strdup(member->comm);
    process->state = strndup(&member->state, 1);
    process->start_ticks = member->start_ticks;
    process->threads = member->threads;
    process->cpu_usec = member->cpu_usec;
    process->children_cpu_usec = member->children_cpu_usec;
    process->frozen = freezer_has(proc_fd, member->pid);
    r = read_details(proc_fd, process);
    if ((r == -EACCES || r == -EPERM) && facts->n_processes == 1) /* one is enough to tell */
        doctor_unseen(facts, "the descriptors of the main process, and where it waits", -r);
    return process->comm && process->state ? 0 : -ENOMEM;
}

int doctor_gather_processes(int proc_fd, const struct doctor_look *look, pid_t pid,
                            struct doctor_facts *facts) {
    _cleanup_free_ const struct family_member **family = NULL;
    size_t kept, n;
    int r = family_sweep_descendants(&look->processes, pid, DOCTOR_PROCESSES_MAX, &family, &kept, &n);

    if (r == -ESRCH)
        return 0; /* the caller sees that there is none */
    for (size_t i = 0; i < kept && r >= 0; i++)
        r = add_process(proc_fd, family[i], facts);
    if (r < 0)
        return r;
    facts->family = n;
    if (kept < n)
        doctor_unseen_because(facts, "each of its processes", "there are too many, and the first 1,024 were");
    return find_lock_holders(proc_fd, look, facts);
}

static uint64_t since(uint64_t now, uint64_t before) {
    return doctor_known(now) && doctor_known(before) && now >= before ? now - before : DOCTOR_UNKNOWN;
}

static const struct doctor_process *find_process(const struct doctor_facts *facts,
                                                 const struct doctor_process *process) {
    for (size_t i = 0; i < facts->n_processes; i++)
        if (facts->processes[i].pid == process->pid &&
            facts->processes[i].start_ticks == process->start_ticks)
            return &facts->processes[i];
    return NULL;
}

/* Of one that began between all that it has used it used between. */
void doctor_processes_since(struct doctor_facts *facts, const struct doctor_facts *before) {
    for (size_t i = 0; i < facts->n_processes; i++) {
        struct doctor_process *process = &facts->processes[i];
        const struct doctor_process *then = find_process(before, process);

        if (!then) {
            free(process->waits_in);
            process->waits_in = NULL;
            continue;
        }
        process->cpu_usec = since(process->cpu_usec, then->cpu_usec);
        process->children_cpu_usec = since(process->children_cpu_usec, then->children_cpu_usec);
        process->state_before = then->state ? strdup(then->state) : NULL;
        if (process->waits_in && (!then->waits_in || strcmp(process->waits_in, then->waits_in) != 0)) {
            free(process->waits_in);
            process->waits_in = NULL;
        }
    }
}

/* ---- threads ---- */

/* "RAN DELAYED TIMES", in nanoseconds (Documentation/scheduler/sched-stats.rst). */
static uint64_t read_delay(int task_fd, pid_t tid) {
    _cleanup_free_ char *text = NULL;
    uint64_t delayed;

    return read_entry(task_fd, tid, "schedstat", &text) >= 0 && sscanf(text, "%*u %" SCNu64, &delayed) == 1
               ? delayed / NSEC_PER_USEC
               : DOCTOR_UNKNOWN;
}

/* A thread's directory reads as a process's does. */
void doctor_threads_begin(int proc_fd, pid_t pid, struct family_sweep *ret) {
    _cleanup_close_ int task_fd = -EBADF;
    char path[32];

    snprintf(path, sizeof path, "%d/task", (int) pid);
    task_fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (task_fd < 0 || family_sweep_read(task_fd, ret) < 0)
        return;
    for (size_t i = 0; i < ret->n; i++)
        ret->of[i].delayed_usec = read_delay(task_fd, ret->of[i].pid);
}

void doctor_threads_end(int proc_fd, struct family_sweep *before, struct doctor_process *process) {
    _cleanup_family_sweep_ struct family_sweep after = {0};

    doctor_threads_begin(proc_fd, (pid_t) process->pid, &after);
    for (size_t i = 0; i < after.n; i++) {
        const struct family_member *now = &after.of[i], *then = family_sweep_find(before, now->pid);
        bool same = then && then->start_ticks == now->start_ticks;
        uint64_t used = now->cpu_usec - (same ? then->cpu_usec : 0);

        if (doctor_known(process->busiest_usec) && used <= process->busiest_usec)
            continue;
        process->busiest_usec = used;
        process->delayed_usec = same ? since(now->delayed_usec, then->delayed_usec) : now->delayed_usec;
    }
    family_sweep_done(before);
}

/* ---- children ---- */

static bool see(struct doctor_births *births, pid_t pid) {
    if (births->n == births->room) {
        pid_t *bigger;

        if (births->room >= SEEN_MAX)
            return false;
        bigger = reallocarray(births->seen, births->room * 2 + 64, sizeof *bigger);
        if (!bigger)
            return false;
        births->seen = bigger;
        births->room = births->room * 2 + 64;
    }
    births->seen[births->n++] = pid;
    return true;
}

static int compare_pids(const void *a, const void *b) {
    return *(const pid_t *) a - *(const pid_t *) b;
}

/* Each once. */
static size_t sort_unique(pid_t *pids, size_t n) {
    size_t kept = 0;

    if (n > 0)
        qsort(pids, n, sizeof *pids, compare_pids);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || pids[kept - 1] != pids[i])
            pids[kept++] = pids[i];
    return kept;
}

/* What the main thread has forked: other threads' children are not listed there (proc_tid_children(5)). */
void doctor_births_look(int proc_fd, pid_t pid, struct doctor_births *births) {
    _cleanup_free_ char *text = NULL;
    bool first = !births->known;
    char path[64];

    snprintf(path, sizeof path, "%d/task/%d/children", (int) pid, (int) pid);
    if (fd_read_file_at(proc_fd, path, CHILDREN_MAX, &text, NULL) < 0)
        return;
    births->known = true;
    for (char *at = text, *end; *at; at = end) {
        long number = strtol(at, &end, 10);

        if (end == at || number <= 0 || !see(births, (pid_t) number))
            break;
        while (*end == ' ' || *end == '\n')
            end++;
    }
    births->n = sort_unique(births->seen, births->n);
    if (first)
        births->first = births->n;
}

uint64_t doctor_births_end(struct doctor_births *births) {
    uint64_t n = births->known ? births->n - births->first : DOCTOR_UNKNOWN;

    free(births->seen);
    *births = (struct doctor_births){0};
    return n;
}
