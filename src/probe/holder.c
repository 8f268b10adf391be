/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/holder.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/value.h"
#include "probe/suspects.h"

/* The process as it is now. 0: it let go, or ended, while we looked. */
static int read_process(int proc_fd, const struct holder_sighting *sighting, struct process_facts *ret) {
    struct process_facts process;
    char name[16];
    int r;

    if (sighting->kept && sighting->kept->pid == sighting->pid)
        r = process_facts_copy(sighting->kept, &process);
    else
        r = process_facts_read(proc_fd, sighting->pid, &process);
    if (r < 0)
        return r;
    if (sighting->kept && sighting->kept->pid != sighting->pid) {
        process_facts_done(sighting->kept);
        r = process_facts_copy(&process, sighting->kept);
        if (r < 0) {
            process_facts_done(&process);
            return r;
        }
    }
    snprintf(name, sizeof name, "%d", sighting->fd);
    /* dir_fd stands for the very process whose descriptor it was (fs/proc/fd.c): while that lives, the number
     * cannot be somebody else's, and the facts are about it. */
    if (process.life == PROCESS_GONE || process.life == PROCESS_ZOMBIE ||
        (sighting->dir_fd >= 0 && faccessat(sighting->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)) {
        process_facts_done(&process);
        return 0;
    }
    *ret = process;
    return 1;
}

static struct holder_facts *find(struct holder_facts *list, size_t n, pid_t pid) {
    for (size_t i = 0; i < n; i++)
        if (list[i].process.pid == pid)
            return &list[i];
    return NULL;
}

/* A mapping and a ring show the file, not its description: of what is held by such (a POSIX lock is not, it
 * ends with any close(2) of the file), one of those who have it is the holder. */
static bool may_hold(const struct lock_facts *facts, const struct holder_sighting *sighting,
                     enum lock_family family) {
    if (sighting->families[family])
        return true;
    return (sighting->via == VIA_MAPS || sighting->via == VIA_IO_URING) && family != LOCK_FAMILY_POSIX &&
           facts->families[family] == FAMILY_HELD;
}

int holder_note(int proc_fd, const struct holder_target *target, const struct holder_sighting *sighting) {
    struct lock_facts *facts = target->facts;
    struct holder_facts *holder = find(facts->holders, facts->n_holders, sighting->pid);

    if (!holder) {
        struct holder_facts *bigger = reallocarray(facts->holders, facts->n_holders + 1, sizeof *bigger);
        int r;

        if (!bigger)
            return -ENOMEM;
        facts->holders = bigger;
        holder = &bigger[facts->n_holders];
        *holder = (struct holder_facts){.via = sighting->via, .tid = sighting->tid, .fd = sighting->fd};
        r = read_process(proc_fd, sighting, &holder->process);
        if (r <= 0)
            return r;
        facts->n_holders++;
    }
    if (target->kind == HOLDER_TARGET_SOCKET) {
        holder->listener = true;
        return 0;
    }
    if (!lock_holder_has_lock(holder)) {
        holder->via = sighting->via;
        holder->tid = sighting->tid;
        holder->fd = sighting->fd;
    }
    for (enum lock_family f = 0; target->kind == HOLDER_TARGET_FILE && f < LOCK_FAMILY_MAX; f++)
        holder->families[f] |= may_hold(facts, sighting, f);
    return 0;
}

int holder_note_opener(int proc_fd, const struct holder_target *target,
                       const struct holder_sighting *sighting) {
    struct lock_facts *facts = target->facts;
    struct holder_facts *opener;
    int r;

    if (lock_facts_has_lock(facts, sighting->pid))
        return 0;
    if (facts->n_openers == LOCK_OPENERS_MAX) {
        facts->openers_total++;
        return 0;
    }
    if (!facts->openers) {
        facts->openers = calloc(LOCK_OPENERS_MAX, sizeof *facts->openers);
        if (!facts->openers)
            return -ENOMEM;
    }
    opener = &facts->openers[facts->n_openers];
    *opener = (struct holder_facts){.via = sighting->via, .tid = sighting->tid, .fd = sighting->fd};
    r = read_process(proc_fd, sighting, &opener->process);
    if (r <= 0)
        return r;
    facts->n_openers++;
    facts->openers_total++;
    return 0;
}

/* It has what the facts name it for. */
static bool is_as_named(const struct lock_facts *facts, const struct holder_facts *holder) {
    pid_t pid = holder->process.pid;

    if (facts->kind == PATH_KIND_SOCKET)
        return holder->listener && pid == facts->listener.peer.pid;
    if (!lock_facts_is_held(
            facts)) /* then a listener or shared memory was looked for, which a record names */
        return holder->via == VIA_MAPS && pid == facts->record.pid;
    if (pid == facts->record.pid && lock_holder_has_lock(holder))
        return true;
    for (size_t i = 0; i < facts->n_claims; i++)
        if (!facts->claims[i].waiting && facts->claims[i].pid == pid &&
            holder->families[facts->claims[i].family])
            return true;
    return false;
}

bool holder_is_settled(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_holders; i++) {
        enum process_life life = facts->holders[i].process.life;

        if ((life == PROCESS_ALIVE || life == PROCESS_STOPPED) && is_as_named(facts, &facts->holders[i]))
            return true;
    }
    return false;
}

bool holder_is_found(const struct holder_target *target) {
    const struct lock_facts *facts = target->facts;

    for (size_t i = 0; i < facts->n_holders; i++) {
        const struct holder_facts *holder = &facts->holders[i];

        if (target->kind == HOLDER_TARGET_SOCKET ? holder->listener
            : target->kind == HOLDER_TARGET_FILE ? lock_holder_has_lock(holder)
                                                 : holder->via == VIA_MAPS)
            return true;
    }
    return false;
}

bool holder_is_unattributed(const struct lock_facts *facts) {
    if (!lock_facts_is_held(facts))
        return false;
    for (size_t i = 0; i < facts->n_holders; i++)
        if (lock_holder_has_lock(&facts->holders[i]))
            return false;
    return true;
}

static int compare(const void *a, const void *b) {
    const struct holder_facts *x = a, *y = b;

    return x->process.pid < y->process.pid ? -1 : x->process.pid > y->process.pid;
}

/* Who maps a file, or has it in a ring, may be its lock's holder only while nobody is seen to be it. */
static void drop_candidates(struct lock_facts *facts) {
    bool proven = false;
    size_t kept = 0;

    for (size_t i = 0; i < facts->n_holders; i++)
        proven |= (facts->holders[i].via == VIA_FD || facts->holders[i].via == VIA_IN_FLIGHT) &&
                  lock_holder_has_lock(&facts->holders[i]);
    if (!proven)
        return;
    for (size_t i = 0; i < facts->n_holders; i++)
        if ((facts->holders[i].via == VIA_MAPS || facts->holders[i].via == VIA_IO_URING) &&
            lock_holder_has_lock(&facts->holders[i]))
            process_facts_done(&facts->holders[i].process);
        else
            facts->holders[kept++] = facts->holders[i];
    facts->n_holders = kept;
}

/* By PID, and no opener that is a holder. What a descriptor shows to be locked is locked, whatever the
 * kernel's list said: on overlayfs it may name another inode than stat(2). */
void holder_tidy(struct lock_facts *facts) {
    size_t kept = 0;

    drop_candidates(facts);
    for (size_t i = 0; i < facts->n_holders; i++)
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            if (facts->holders[i].families[f] && facts->holders[i].via == VIA_FD)
                facts->families[f] = FAMILY_HELD;

    for (size_t i = 0; i < facts->n_openers; i++)
        if (lock_facts_has_lock(facts, facts->openers[i].process.pid)) {
            process_facts_done(&facts->openers[i].process);
            facts->openers_total--;
        } else
            facts->openers[kept++] = facts->openers[i];
    facts->n_openers = kept;
    if (facts->n_holders > 1)
        qsort(facts->holders, facts->n_holders, sizeof *facts->holders, compare);
    if (facts->n_openers > 1)
        qsort(facts->openers, facts->n_openers, sizeof *facts->openers, compare);
}
