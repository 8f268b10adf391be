/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/gather.h"

#include <stdio.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

/* A file that is older than a process by less than this may still be written by it. */
#define TICK_USEC (10 * USEC_PER_MSEC)
#define NAMESAKE_MARGIN_USEC (2 * USEC_PER_SEC)
#define SYSVIPC_MAX (16 * 1024 * 1024)

/* The one that the kernel names; where it names several, one that has a lock still. */
static pid_t find_claimant(const struct lock_facts *facts) {
    pid_t first = 0;

    for (size_t i = 0; i < facts->n_claims; i++) {
        const struct claim_facts *claim = &facts->claims[i];

        if (claim->waiting || claim->pid <= 0)
            continue;
        if (lock_facts_has_lock(facts, claim->pid))
            return claim->pid;
        if (first == 0)
            first = claim->pid;
    }
    return first;
}

/* Who waits for the lock: the kernel wakes one after another. */
static int gather_waiters(struct prober *prober, struct lock_facts *facts) {
    facts->waiters = calloc(LOCK_WAITERS_MAX, sizeof *facts->waiters);
    if (!facts->waiters)
        return -ENOMEM;
    for (size_t i = 0; i < facts->n_claims && facts->n_waiters < LOCK_WAITERS_MAX; i++) {
        const struct claim_facts *claim = &facts->claims[i];
        struct process_facts *waiter = &facts->waiters[facts->n_waiters];
        int r;

        if (!claim->waiting || claim->pid <= 0)
            continue;
        r = process_facts_read(prober->proc_fd, claim->pid, waiter);
        if (r < 0)
            return r;
        if (waiter->life == PROCESS_GONE)
            process_facts_done(waiter); /* it waits no longer */
        else
            facts->n_waiters++;
    }
    return 0;
}

/* The clock that files are dated with is behind by a tick of the kernel's. */
static bool is_of_known_dead(const struct probe_request *request, const struct lock_facts *facts) {
    const struct probe_dead *dead = &request->dead;

    return dead->pid > 0 && dead->pid == facts->recorded.pid && dead->pid == facts->record.pid &&
           facts->recorded.process.life == PROCESS_GONE &&
           facts->modified_usec + TICK_USEC >= dead->since_usec && facts->modified_usec <= dead->until_usec;
}

int gather_recorded(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    struct recorded_facts *recorded = &facts->recorded;
    struct proc_status status;
    int r;

    if (request->effort == PROBE_COMPLETE) {
        r = gather_waiters(prober, facts);
        if (r < 0)
            return r;
    }
    if (facts->kind == PATH_KIND_SOCKET)
        recorded->pid = facts->listener.peer.pid;
    else if (facts->kind == PATH_KIND_PIDFILE || S_ISLNK(facts->mode))
        recorded->pid = facts->record.pid;
    if (recorded->pid == 0)
        recorded->pid = find_claimant(facts);
    if (recorded->pid <= 0) {
        recorded->pid = 0;
        return 0;
    }
    if (recorded->pid == facts->record.pid &&
        (lock_facts_names_other_host(facts) || lock_facts_names_other_pid_namespace(facts))) {
        recorded->process =
            (struct process_facts){.pid = recorded->pid, .life = PROCESS_UNKNOWN, .uid = (uid_t) -1};
        return 0;
    }
    recorded->is_self = recorded->pid == getpid() && procfs_is_own_namespace(prober->proc_fd);
    r = process_facts_read(prober->proc_fd, recorded->pid, &recorded->process);
    if (r < 0)
        return r;
    if (recorded->process.life != PROCESS_GONE &&
        procfs_read_status(prober->proc_fd, recorded->pid, &status) >= 0)
        recorded->is_thread = status.tgid != recorded->pid;
    if (!lock_facts_names_owner(facts) || lock_facts_is_held(facts) || lock_facts_is_recorded_alive(facts) ||
        is_of_known_dead(request, facts))
        return 0;
    if (!prober->namesakes_read) {
        r = namesake_table_read(prober->proc_fd, &prober->namesakes);
        if (r < 0)
            return r;
        prober->namesakes_read = true;
    }
    return namesake_find(&prober->namesakes, prober->proc_fd, recorded->pid,
                         facts->modified_usec + NAMESAKE_MARGIN_USEC, &recorded->namesake);
}

/* A segment that was removed while somebody has it attached loses its key (ipc/shm.c, do_shm_rmid()). */
static bool is_named_segment(const struct lock_record *record, int key, int id, unsigned mode) {
    if ((uint64_t) id != record->shm_id)
        return false;
    return (uint32_t) key == (uint32_t) record->shm_key || (key == IPC_PRIVATE && (mode & SHM_DEST));
}

int gather_shm(struct prober *prober, struct lock_facts *facts) {
    const struct lock_record *record = &facts->record;
    _cleanup_free_ char *text = NULL;
    int r;

    if (record->shm_key == 0 && record->shm_id == 0)
        return 0;
    r = fd_read_file_at(prober->proc_fd, "sysvipc/shm", SYSVIPC_MAX, &text, NULL);
    if (gather_is_scarcity(r))
        return r;
    /* key shmid perms size cpid lpid nattch ... (ipc/shm.c, sysvipc_shm_proc_show()) */
    for (const char *line = r < 0 ? NULL : strchr(text, '\n'); line && line[1];
         line = strchr(line + 1, '\n')) {
        unsigned mode, attached;
        int key, id, creator;

        if (sscanf(line + 1, "%d %d %o %*u %d %*d %u", &key, &id, &mode, &creator, &attached) == 5 &&
            is_named_segment(record, key, id, mode)) {
            facts->shm = (struct shm_facts){.found = true, .attached = attached, .creator = creator};
            break;
        }
    }
    /* Not found: it may be in another IPC namespace than ours (PrivateIPC=), and attached there. */
    if (facts->shm.found && facts->shm.attached == 0)
        return 0;
    return gather_add_target(prober, facts, HOLDER_TARGET_SHM, 0, (ino_t) record->shm_id);
}
