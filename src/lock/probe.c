/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/probe.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "lock/gather.h"

static void prober_done(struct prober *prober) {
    fd_close(prober->proc_fd);
    lock_snapshot_done(&prober->snapshot);
    unix_table_done(&prober->sockets);
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

static int prober_open(struct prober *prober) {
    prober->proc_fd = procfs_open();
    if (prober->proc_fd < 0)
        return prober->proc_fd;
    prober->initial_pid_namespace = procfs_in_initial_pid_namespace(prober->proc_fd);
    (void) procfs_read_pid_namespace(prober->proc_fd, 0, &prober->pid_namespace);
    (void) procfs_read_boot_id(prober->proc_fd, prober->boot_id);
    if (gethostname(prober->host, sizeof prober->host - 1) < 0)
        prober->host[0] = '\0';
    return 0;
}

/* A lock is known to be held, but nobody was seen to have it. */
static bool is_unattributed(const struct lock_facts *facts) {
    if (!lock_facts_is_held(facts))
        return false;
    for (size_t i = 0; i < facts->n_holders; i++)
        if (lock_holder_has_lock(&facts->holders[i]))
            return false;
    return true;
}

static int sweep(struct prober *prober, struct lock_facts *facts, size_t n) {
    struct holder_target *deep;
    size_t n_deep = 0;
    int r;

    if (prober->n_targets == 0)
        return 0;
    r = holder_sweep(prober->proc_fd, prober->targets, prober->n_targets, false);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        n_deep += is_unattributed(&facts[i]);
    if (n_deep == 0)
        return 0;
    /* Somebody has it, and it was in no process's table: look again, into every thread's. */
    deep = calloc(prober->n_targets, sizeof *deep);
    if (!deep)
        return -ENOMEM;
    n_deep = 0;
    for (size_t i = 0; i < prober->n_targets; i++)
        if (is_unattributed(prober->targets[i].facts))
            deep[n_deep++] = prober->targets[i];
    r = holder_sweep(prober->proc_fd, deep, n_deep, true);
    free(deep);
    return r;
}

int lock_probe(const struct probe_request *requests, size_t n, struct lock_facts **ret) {
    _cleanup_(prober_done) struct prober prober = {.proc_fd = -EBADF};
    struct lock_facts *facts = calloc(n ? n : 1, sizeof *facts);
    int r;

    if (!facts)
        return -ENOMEM;
    r = prober_open(&prober);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = gather_path(&prober, &requests[i], &facts[i]);
        if (r >= 0)
            r = gather_shm(&prober, &facts[i]);
    }
    if (r >= 0)
        r = sweep(&prober, facts, n);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = gather_recorded(&prober, &requests[i], &facts[i]);
        if (r >= 0)
            r = gather_guarded_peer(&prober, &facts[i]);
    }
    if (r < 0) {
        lock_facts_free_array(facts, n);
        return r;
    }
    *ret = facts;
    return 0;
}
