/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/sweep.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "probe/snapshot.h"
#include "probe/suspects.h"
#include "probe/trace.h"

#define FDINFO_MAX (64 * 1024 * 1024) /* a row for each lock */
#define NAMED_MAX 16
#define WORKERS_MAX 16
#define WORKER_STACK_BYTES (512 * 1024)
#define CROWD_MIN 200 /* so many processes are worth a thread */

struct sweep {
    const struct sweep_request *request;
    const struct holder_target **by_inode; /* sorted; owned */
    struct holder_target *shm;             /* shared memory, which only mappings show; owned */
    size_t n_shm;
    struct suspects suspects;
    pid_t self; /* 0: not in this /proc */
    atomic_size_t next;
    size_t end;       /* how far the workers are to go */
    atomic_bool over; /* enough is known, or resources are wanting */

    pthread_mutex_t mutex; /* guards what follows, and all facts and watches */
    size_t settled;        /* so many targets, from the first on, are settled */
    bool suspects_done;
    int error;
    unsigned processes, unreadable_total;
    pid_t unreadable[LOCK_UNREADABLE_MAX]; /* the smallest, in order */
    size_t n_unreadable;
};

struct opening {
    size_t target;
    int fd;
};

struct worker {
    struct sweep *sweep;
    pthread_t thread;
    bool begun;
    void *buffer;             /* for tables; owned */
    struct opening *openings; /* of the table that is being walked; owned */
    size_t n_openings, capacity;
    struct process_facts process; /* whose table it is, once somebody had to know; owned */
};

static bool wants_openers(const struct sweep *sweep, const struct holder_target *target, pid_t pid) {
    return target->effort == PROBE_COMPLETE && !sweep->request->deep && pid != sweep->self;
}

/* Under the mutex. */
static bool is_enough(struct sweep *sweep) {
    if (sweep->request->deep || sweep->request->n_watches > 0)
        return false;
    for (size_t i = sweep->settled; i < sweep->request->n_targets; i++) {
        const struct holder_target *target = &sweep->request->targets[i];

        if (target->effort == PROBE_COMPLETE)
            return false;
        if (holder_is_settled(target->facts)) {
            sweep->settled += sweep->settled == i;
            continue;
        }
        if (target->effort == PROBE_SETTLE || (!sweep->suspects_done && !holder_is_found(target)))
            return false;
    }
    return true;
}

static void fail(struct sweep *sweep, int error) {
    if (sweep->error == 0)
        sweep->error = error;
    atomic_store(&sweep->over, true);
}

static int note(struct sweep *sweep, const struct holder_target *target,
                const struct holder_sighting *sighting) {
    int r;

    pthread_mutex_lock(&sweep->mutex);
    r = holder_note(sweep->request->proc_fd, target, sighting);
    if (r >= 0 && is_enough(sweep))
        atomic_store(&sweep->over, true);
    pthread_mutex_unlock(&sweep->mutex);
    return r;
}

static int take_displaced(struct sweep *sweep, struct displaced_watch *watch,
                          const struct table_entry *entry) {
    int r;

    pthread_mutex_lock(&sweep->mutex);
    r = displaced_take(watch, entry);
    pthread_mutex_unlock(&sweep->mutex);
    return r;
}

/* 1: its description holds a lock, or the process does through it. */
static int read_families(const struct sweep *sweep, const struct table_entry *entry,
                         bool families[static LOCK_FAMILY_MAX]) {
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(sweep->request->proc_fd, entry->fdinfo_path, FDINFO_MAX, &text, NULL);

    if (r < 0)
        return r == -E2BIG ? -EACCES
                           : r; /* millions of locks: anybody may take them, and be unreadable by it */
    lock_fdinfo_families(text, families);
    return families[LOCK_FAMILY_FLOCK] || families[LOCK_FAMILY_POSIX] || families[LOCK_FAMILY_OFD];
}

static int look_for_displaced(struct sweep *sweep, const struct table_entry *entry) {
    for (size_t i = 0; i < sweep->request->n_watches; i++) {
        struct displaced_watch *watch = &sweep->request->watches[i];
        bool families[LOCK_FAMILY_MAX] = {false};
        int r;

        if (displaced_is_watched(sweep->request->proc_fd, watch, entry) == 0)
            continue;
        r = read_families(sweep, entry, families);
        if (r > 0)
            r = take_displaced(sweep, watch, entry);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_opening(struct worker *worker, size_t target, int fd) {
    if (worker->n_openings == worker->capacity) {
        size_t more = worker->capacity ? worker->capacity * 2 : 16;
        struct opening *bigger = reallocarray(worker->openings, more, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        worker->openings = bigger;
        worker->capacity = more;
    }
    worker->openings[worker->n_openings++] = (struct opening){.target = target, .fd = fd};
    return 0;
}

static bool is_of(const struct holder_target *target, const struct table_entry *entry) {
    return target->kind == HOLDER_TARGET_SOCKET ? S_ISSOCK(entry->mode)
                                                : target->kind == HOLDER_TARGET_FILE &&
                                                      target->device == entry->device && S_ISREG(entry->mode);
}

static int look_for_target(struct worker *worker, const struct holder_target *target,
                           const struct table_entry *entry) {
    struct sweep *sweep = worker->sweep;
    struct holder_sighting sighting = {.pid = entry->pid,
                                       .tid = entry->tid,
                                       .via = VIA_FD,
                                       .fd = atoi(entry->name),
                                       .dir_fd = entry->dir_fd,
                                       .kept = &worker->process};

    if (target->kind == HOLDER_TARGET_FILE) {
        int r = read_families(sweep, entry, sighting.families);

        if (r < 0)
            return r;
        if (r == 0) /* it has the file open, but not the lock */
            return wants_openers(sweep, target, entry->pid)
                       ? add_opening(worker, (size_t) (target - sweep->request->targets), sighting.fd)
                       : 0;
    }
    return note(sweep, target, &sighting);
}

/* The first target that has this inode number, or a larger one. */
static size_t find_first(const struct sweep *sweep, ino_t inode) {
    size_t low = 0, high = sweep->request->n_targets;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sweep->by_inode[middle]->inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int look_at_descriptor(void *userdata, const struct table_entry *entry) {
    struct worker *worker = userdata;
    struct sweep *sweep = worker->sweep;

    for (size_t i = find_first(sweep, entry->inode);
         i < sweep->request->n_targets && sweep->by_inode[i]->inode == entry->inode; i++) {
        int r = is_of(sweep->by_inode[i], entry) ? look_for_target(worker, sweep->by_inode[i], entry) : 0;

        if (r < 0)
            return r;
    }
    return sweep->request->n_watches > 0 ? look_for_displaced(sweep, entry) : 0;
}

/* Who has a target open, and by no descriptor holds its lock. The first descriptor counts. */
static int note_openings(struct worker *worker, pid_t pid, int dir_fd) {
    struct sweep *sweep = worker->sweep;
    int r = 0;

    pthread_mutex_lock(&sweep->mutex);
    for (size_t i = 0; r >= 0 && i < worker->n_openings; i++) {
        const struct opening *opening = &worker->openings[i];
        struct holder_sighting sighting = {.pid = pid,
                                           .tid = pid,
                                           .via = VIA_FD,
                                           .fd = opening->fd,
                                           .dir_fd = dir_fd,
                                           .kept = &worker->process};
        bool again = false;

        for (size_t j = 0; j < i; j++)
            again |= worker->openings[j].target == opening->target;
        if (!again)
            r = holder_note_opener(sweep->request->proc_fd, &sweep->request->targets[opening->target],
                                   &sighting);
    }
    pthread_mutex_unlock(&sweep->mutex);
    return r;
}

/* Sweeps one descriptor table. 1: something of it could not be read. */
static int sweep_table(struct worker *worker, pid_t pid, pid_t tid, unsigned *ret_seen) {
    struct sweep *sweep = worker->sweep;
    _cleanup_close_ int dir_fd = -EBADF;
    int r;

    worker->n_openings = 0;
    process_facts_done(&worker->process);
    r = table_walk(sweep->request->proc_fd, pid, tid, worker->buffer, look_at_descriptor, worker, &dir_fd,
                   ret_seen);
    if (r >= 0 && worker->n_openings > 0) {
        int noted = note_openings(worker, pid, dir_fd);

        if (noted < 0)
            return noted;
    }
    return r;
}

static int sweep_threads(struct worker *worker, pid_t pid) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int refused = 0, r;
    char path[64];

    snprintf(path, sizeof path, "%d/task", (int) pid);
    r = fd_open_dir_at(worker->sweep->request->proc_fd, path, &dir);
    if (r < 0)
        return r == -ENOENT || r == -ESRCH ? 0 : r == -EACCES || r == -EPERM ? 1 : r;
    while ((entry = readdir(dir))) {
        unsigned seen;
        pid_t tid;

        if (value_parse_pid(entry->d_name, &tid) < 0 || tid == pid)
            continue;
        r = sweep_table(worker, pid, tid, &seen);
        if (r < 0)
            return r;
        refused |= r;
    }
    return refused;
}

struct tracing {
    struct sweep *sweep;
    const struct holder_target *targets;
};

static int take_trace(void *userdata, size_t target, pid_t pid, enum holder_via via, int fd,
                      const bool families[static LOCK_FAMILY_MAX]) {
    const struct tracing *tracing = userdata;
    struct holder_sighting sighting = {.pid = pid, .tid = pid, .via = via, .fd = fd, .dir_fd = -EBADF};

    memcpy(sighting.families, families, sizeof sighting.families);
    return note(tracing->sweep, &tracing->targets[target], &sighting);
}

/* What no descriptor table shows. 1: something could not be seen. */
static int trace(struct sweep *sweep, pid_t pid) {
    const struct sweep_request *request = sweep->request;
    struct tracing tracing = {.sweep = sweep, .targets = request->targets};
    int r;

    if (request->deep)
        r = trace_process(request->proc_fd, pid, request->targets, request->n_targets, take_trace, &tracing);
    else if (sweep->n_shm > 0) {
        tracing.targets = sweep->shm;
        r = trace_maps(request->proc_fd, pid, sweep->shm, sweep->n_shm, take_trace, &tracing);
    } else
        return 0;
    return r > 0 ? 1 : r;
}

static int is_zombie_leader(const struct sweep *sweep, pid_t pid) {
    struct proc_stat stat;

    return procfs_read_stat(sweep->request->proc_fd, pid, &stat) >= 0 && stat.state == 'Z' &&
           stat.threads > 1;
}

/* 1: something of it could not be read. */
static int sweep_process(struct worker *worker, pid_t pid) {
    struct sweep *sweep = worker->sweep;
    unsigned seen = 0;
    int refused, r;

    refused = sweep_table(worker, pid, pid, &seen);
    if (refused < 0)
        return refused;
    /* A leader that has ended shows an empty table; its threads still have theirs. */
    if (sweep->request->deep || (refused == 0 && seen == 0 && is_zombie_leader(sweep, pid))) {
        r = sweep_threads(worker, pid);
        if (r < 0)
            return r;
        refused |= r;
    }
    r = trace(sweep, pid);
    return r < 0 ? r : refused | r;
}

/* Under the mutex. */
static void add_unreadable(struct sweep *sweep, pid_t pid) {
    size_t at = sweep->n_unreadable;

    sweep->unreadable_total++;
    while (at > 0 && sweep->unreadable[at - 1] > pid)
        at--;
    if (at == LOCK_UNREADABLE_MAX)
        return;
    if (sweep->n_unreadable < LOCK_UNREADABLE_MAX)
        sweep->n_unreadable++;
    memmove(&sweep->unreadable[at + 1], &sweep->unreadable[at],
            (sweep->n_unreadable - at - 1) * sizeof *sweep->unreadable);
    sweep->unreadable[at] = pid;
}

/* Takes one process after another from the list until it ends, or enough is known. */
static void *work(void *userdata) {
    struct worker *worker = userdata;
    struct sweep *sweep = worker->sweep;
    unsigned processes = 0;

    while (!atomic_load(&sweep->over)) {
        size_t i = atomic_fetch_add(&sweep->next, 1);
        int r;

        if (i >= sweep->end)
            break;
        r = sweep_process(worker, sweep->suspects.list[i].pid);
        processes++;
        if (r == 0)
            continue;
        pthread_mutex_lock(&sweep->mutex);
        if (r < 0)
            fail(sweep, r);
        else
            add_unreadable(sweep, sweep->suspects.list[i].pid);
        pthread_mutex_unlock(&sweep->mutex);
    }
    pthread_mutex_lock(&sweep->mutex);
    sweep->processes += processes;
    pthread_mutex_unlock(&sweep->mutex);
    return NULL;
}

static int worker_init(struct worker *worker, struct sweep *sweep) {
    *worker = (struct worker){.sweep = sweep, .buffer = malloc(TABLE_BUFFER_BYTES)};
    return worker->buffer ? 0 : -ENOMEM;
}

static void worker_done(struct worker *worker) {
    process_facts_done(&worker->process);
    free(worker->buffer);
    free(worker->openings);
}

static size_t count_processors(void) {
    cpu_set_t set;
    int n;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1; /* more than cpu_set_t has room for, or not told */
    n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (size_t) n;
}

/* A thread that cannot be had is one that is not needed: the others do its work. */
static void begin_threads(struct worker *workers, size_t n) {
    pthread_attr_t attributes;
    sigset_t all, before;

    if (pthread_attr_init(&attributes) != 0)
        return;
    (void) pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited: signals are for the thread that called us */
    for (size_t i = 0; i < n; i++)
        workers[i].begun = pthread_create(&workers[i].thread, &attributes, work, &workers[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* From where the list was left up to `end`. */
static int work_together(struct sweep *sweep, size_t end) {
    size_t left = end - atomic_load(&sweep->next), n = left < CROWD_MIN ? 1 : count_processors();
    struct worker workers[WORKERS_MAX] = {0};
    int r = 0;

    sweep->end = end;
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = worker_init(&workers[i], sweep);
    if (r >= 0) {
        begin_threads(workers + 1, n - 1);
        work(&workers[0]);
    }
    for (size_t i = 0; i < n; i++) {
        if (workers[i].begun)
            pthread_join(workers[i].thread, NULL);
        worker_done(&workers[i]);
    }
    return r < 0 ? r : sweep->error;
}

/* Copies what the sweep as a whole found out into the facts of one path. */
static int publish(const struct sweep *sweep, struct lock_facts *facts) {
    bool over = atomic_load(&sweep->over);

    free(facts->unreadable);
    facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
    if (!facts->unreadable)
        return -ENOMEM;
    memcpy(facts->unreadable, sweep->unreadable, sizeof sweep->unreadable);
    facts->n_unreadable = sweep->n_unreadable;
    facts->unreadable_total = sweep->unreadable_total;
    facts->processes = sweep->processes;
    facts->scanned = true;
    facts->settled = over;
    facts->complete = !over && sweep->unreadable_total == 0 && sweep->suspects.saw_init;
    holder_tidy(facts);
    return 0;
}

static int compare_inodes(const void *a, const void *b) {
    const struct holder_target *x = *(const struct holder_target *const *) a,
                               *y = *(const struct holder_target *const *) b;

    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int prepare_targets(struct sweep *sweep) {
    const struct sweep_request *request = sweep->request;
    sweep->by_inode = calloc(request->n_targets + 1, sizeof(struct holder_target *));
    sweep->shm = calloc(request->n_targets + 1, sizeof *sweep->shm);
    if (!sweep->by_inode || !sweep->shm)
        return -ENOMEM;
    for (size_t i = 0; i < request->n_targets; i++) {
        sweep->by_inode[i] = &request->targets[i];
        if (request->targets[i].kind == HOLDER_TARGET_SHM)
            sweep->shm[sweep->n_shm++] = request->targets[i];
    }
    qsort(sweep->by_inode, request->n_targets, sizeof(struct holder_target *), compare_inodes);
    return 0;
}

/* Where everything is looked at, the order does not matter. */
static size_t find_named(const struct sweep *sweep, pid_t named[static NAMED_MAX]) {
    const struct sweep_request *request = sweep->request;
    size_t n = 0;

    if (request->deep || request->n_watches > 0)
        return 0;
    for (size_t i = 0; i < request->n_targets; i++) {
        if (request->targets[i].effort == PROBE_COMPLETE)
            return 0;
        n = suspects_name(request->targets[i].facts, named, n, NAMED_MAX);
    }
    return n;
}

/* Those that the facts name, without so much as a list of the others. Where that is not enough they are
 * looked at again in their turn, for their numbers may be somebody else's by then. */
static int sweep_named(struct sweep *sweep, const pid_t *named, size_t n_named) {
    struct suspects *suspects = &sweep->suspects;
    int r;

    suspects->list = calloc(n_named + 1, sizeof *suspects->list);
    if (!suspects->list)
        return -ENOMEM;
    for (size_t i = 0; i < n_named; i++) {
        struct proc_status status;

        /* A thread's number has a directory as well, though none that is listed (proc(5)). */
        if (procfs_read_status(sweep->request->proc_fd, named[i], &status) >= 0 && status.tgid == named[i])
            suspects->list[suspects->n++].pid = named[i];
    }
    r = work_together(sweep, suspects->n);
    if (r < 0 || atomic_load(&sweep->over))
        return r;
    suspects_done(suspects);
    atomic_store(&sweep->next, 0);
    sweep->processes = sweep->unreadable_total = 0;
    sweep->n_unreadable = 0;
    return 0;
}

static int sweep_all(struct sweep *sweep, const pid_t *named, size_t n_named) {
    int r = suspects_list(sweep->request->proc_fd, named, n_named, &sweep->suspects);

    if (r >= 0 && sweep->suspects.n_likely < sweep->suspects.n) {
        r = work_together(sweep, sweep->suspects.n_likely);
        atomic_store(&sweep->next, sweep->suspects.n_likely); /* each worker went one further */
        sweep->suspects_done = true;
        if (r >= 0 && is_enough(sweep))
            atomic_store(&sweep->over, true);
    }
    if (r >= 0 && !atomic_load(&sweep->over))
        r = work_together(sweep, sweep->suspects.n);
    return r;
}

static int run(struct sweep *sweep) {
    const struct sweep_request *request = sweep->request;
    pid_t named[NAMED_MAX];
    size_t n_named = find_named(sweep, named);
    int r = prepare_targets(sweep);

    if (r >= 0 && n_named > 0)
        r = sweep_named(sweep, named, n_named);
    if (r >= 0 && !atomic_load(&sweep->over))
        r = sweep_all(sweep, named, n_named);
    for (size_t i = 0; r >= 0 && i < request->n_targets; i++)
        r = publish(sweep, request->targets[i].facts);
    for (size_t i = 0; r >= 0 && i < request->n_watches; i++)
        r = publish(sweep, request->watches[i].facts);
    return r;
}

int sweep_run(const struct sweep_request *request) {
    struct sweep sweep = {.request = request, .mutex = PTHREAD_MUTEX_INITIALIZER};
    int r;

    if (procfs_is_own_namespace(request->proc_fd))
        sweep.self = getpid();
    r = run(&sweep);
    suspects_done(&sweep.suspects);
    free(sweep.by_inode);
    free(sweep.shm);
    pthread_mutex_destroy(&sweep.mutex);
    return r;
}
