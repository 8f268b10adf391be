/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/probe.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/displaced.h"
#include "probe/gather.h"
#include "probe/probe-cache.h"
#include "probe/sweep.h"

static void prober_done(struct prober *prober) {
    if (!prober->cache)
        fd_close(prober->proc_fd);
    lock_snapshot_done(&prober->snapshot);
    unix_table_done(&prober->sockets);
    namesake_table_done(&prober->namesakes);
    gather_networks_done(prober);
    gather_remote_done(prober);
    free(prober->targets);
}

void lock_facts_free_array(struct lock_facts *facts, size_t n) {
    for (size_t i = 0; facts && i < n; i++)
        lock_facts_done(&facts[i]);
    free(facts);
}

int lock_open_parent(const char *path, int *ret_dir_fd, const char **ret_name) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = NULL;
    int fd;

    if (!slash)
        dir = strdup(".");
    else
        dir = slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
    if (!dir)
        return -ENOMEM;
    fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_dir_fd = fd;
    *ret_name = slash ? slash + 1 : path;
    return 0;
}

void probe_cache_done(struct probe_cache *cache) {
    cache->proc_fd = fd_close(cache->proc_fd);
    mount_cache_done(&cache->mounts);
}

static int find_place(struct probe_cache *cache) {
    cache->proc_fd = procfs_open();
    if (cache->proc_fd < 0)
        return cache->proc_fd;
    cache->initial_pid_namespace = procfs_in_initial_pid_namespace(cache->proc_fd);
    (void) procfs_read_pid_namespace(cache->proc_fd, 0, &cache->pid_namespace);
    (void) procfs_read_boot_id(cache->proc_fd, cache->boot_id);
    return 0;
}

static int prober_open(struct prober *prober) {
    struct probe_cache once = PROBE_CACHE_INIT, *cache = prober->cache ? prober->cache : &once;
    int r = cache->proc_fd < 0 ? find_place(cache) : 0;

    if (r < 0)
        return r;
    prober->proc_fd = cache->proc_fd;
    prober->initial_pid_namespace = cache->initial_pid_namespace;
    prober->pid_namespace = cache->pid_namespace;
    memcpy(prober->boot_id, cache->boot_id, sizeof prober->boot_id);
    if (!cache->at_once) {
        /* Every PID namespace has a process 1. */
        cache->hidden = faccessat(prober->proc_fd, "1", F_OK, AT_SYMLINK_NOFOLLOW) < 0;
        if (gethostname(cache->host, sizeof cache->host - 1) < 0)
            cache->host[0] = '\0';
    }
    prober->hidden = cache->hidden;
    memcpy(prober->host, cache->host, sizeof prober->host);
    return 0;
}

static int run_sweep(const struct prober *prober, const struct holder_target *targets, size_t n,
                     struct displaced_watch *watches, size_t n_watches, bool deep) {
    const struct sweep_request request = {.proc_fd = prober->proc_fd,
                                          .targets = targets,
                                          .n_targets = n,
                                          .watches = watches,
                                          .n_watches = n_watches,
                                          .deep = deep};

    return n == 0 && n_watches == 0 ? 0 : sweep_run(&request);
}

/* Somebody has it, and it was in no process's table: looks again, into every thread's, and where no table is.
 */
static int sweep_deeply(const struct prober *prober, const struct holder_target *targets, size_t n) {
    _cleanup_free_ struct holder_target *deep = calloc(n + 1, sizeof *deep);
    size_t n_deep = 0;

    if (!deep)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (!targets[i].facts->settled && holder_is_unattributed(targets[i].facts))
            deep[n_deep++] = targets[i];
    return run_sweep(prober, deep, n_deep, NULL, 0, true);
}

/* What was displaced is known after the first sweep only; who has it, after one more. */
static int sweep_for_displaced(struct prober *prober, struct displaced_watch *watches, size_t n) {
    size_t before = prober->n_targets;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = displaced_gather(prober, &watches[i]);
    for (size_t i = before; i < prober->n_targets; i++)
        prober->targets[i].effort = PROBE_COMPLETE;
    if (r >= 0)
        r = run_sweep(prober, prober->targets + before, prober->n_targets - before, NULL, 0, false);
    if (r >= 0)
        r = sweep_deeply(prober, prober->targets + before, prober->n_targets - before);
    return r;
}

static int sweep(struct prober *prober, const struct probe_request *requests, struct lock_facts *facts,
                 size_t n) {
    struct displaced_watch *watches = calloc(n + 1, sizeof *watches);
    size_t n_watches = 0;
    int r = watches ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = displaced_watch_path(&requests[i], &facts[i], &watches[n_watches]);
        if (r > 0)
            n_watches++;
    }
    if (r >= 0)
        r = run_sweep(prober, prober->targets, prober->n_targets, watches, n_watches, false);
    if (r >= 0)
        r = sweep_deeply(prober, prober->targets, prober->n_targets);
    if (r >= 0)
        r = sweep_for_displaced(prober, watches, n_watches);
    for (size_t i = 0; i < n_watches; i++)
        displaced_watch_done(&watches[i]);
    free(watches);
    return r;
}

/* Everything that can be told before the sweep. */
static int gather(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    size_t before = prober->n_targets;
    int r = gather_path(prober, request, facts);

    if (r >= 0)
        r = gather_shm(prober, facts);
    if (r >= 0 && request->effort == PROBE_COMPLETE && !request->by_fd && !request->socket_inode)
        r = gather_displaced_sockets(prober, facts);
    for (size_t i = before; i < prober->n_targets; i++)
        prober->targets[i].effort = request->effort;
    return r;
}

/* And after it. */
static int gather_rest(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    int r = gather_recorded(prober, request, facts);

    for (size_t i = 0; r >= 0 && i < facts->n_displaced; i++)
        r = gather_recorded(prober, request, &facts->displaced[i]);
    if (r >= 0)
        r = gather_guarded_peer(prober, request, facts);
    return r < 0 ? r : gather_displaced_places(prober, facts);
}

int lock_probe(const struct probe_request *requests, size_t n, struct lock_facts **ret) {
    return lock_probe_cached(NULL, requests, n, ret);
}

int lock_probe_cached(struct probe_cache *cache, const struct probe_request *requests, size_t n,
                      struct lock_facts **ret) {
    _cleanup_(prober_done) struct prober prober = {.proc_fd = -EBADF, .cache = cache};
    struct lock_facts *facts = calloc(n ? n : 1, sizeof *facts);
    int r;

    if (!facts)
        return -ENOMEM;
    r = prober_open(&prober);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = gather(&prober, &requests[i], &facts[i]);
    if (r >= 0)
        r = sweep(&prober, requests, facts, n);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = gather_rest(&prober, &requests[i], &facts[i]);
    if (r < 0) {
        lock_facts_free_array(facts, n);
        return r;
    }
    *ret = facts;
    return 0;
}
