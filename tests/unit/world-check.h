/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether what the probe says of a path is true in the world, by the model. */

#include <jansson.h>

#include "probe/probe.h"
#include "lock/verdict.h"
#include "world-steps.h"

/* How things stand with a path, for the statistics. */
enum world_class {
    CLASS_ABSENT,
    CLASS_FREE,   /* a file that nobody has locked, and nothing displaced, nor anybody listening */
    CLASS_OWNED,  /* its owner lives */
    CLASS_ORPHAN, /* a plain leftover */
    CLASS_DEAD,   /* a PID file whose writer is dead and whose number is nobody's; a dead socket */
    CLASS_OTHER,
    CLASS_MAX,
};

static const char *const world_class_names[CLASS_MAX] = {"absent", "free",     "owned",
                                                         "orphan", "dead PID", "other"};

struct world_score {
    unsigned rounds, worlds, probes;
    unsigned verdicts[CLASS_MAX][VERDICT_MAX];
    unsigned whole_orphans[VERDICT_MAX]; /* CLASS_ORPHAN in the session that the locker led, where the scan
                                            was good enough and not a quick one */
    unsigned exact;                      /* sets of holders that were compared one by one */
    unsigned split, split_seen;          /* a displaced file is owned; and that was said */
};

struct world_probe {
    struct world_run *run;
    enum world_path path;
    enum probe_effort effort;
    const struct lock_facts *facts;
    struct lock_judgement judgement;
    const char *seed;
};

static void world_print(const struct world_probe *probe) {
    const struct world *world = &probe->run->world;
    unsigned first = world->n_log > WORLD_LOG ? world->n_log - WORLD_LOG : 0;
    json_t *json = lock_facts_to_json(probe->facts);

    printf("%s\n", probe->seed);
    for (unsigned i = first; i < world->n_log; i++)
        printf("  %s\n", world->log[i % WORLD_LOG]);
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive)
            printf("  lives: %d, pid %d, group %d, session %d%s\n", p, (int) world->procs[p].pid,
                   (int) world->procs[p].group, (int) world->procs[p].session,
                   world->procs[p].stopped ? ", stopped" : "");
    json_dumpf(json, stdout, JSON_INDENT(1));
    json_decref(json);
    fflush(stdout);
}

#define WORLD_ASSERT(probe, condition)                                                                       \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            world_print(probe);                                                                              \
            ck_abort_msg("%s (effort %d): verdict %s, %s: not true: %s", world_names[(probe)->path],         \
                         (int) (probe)->effort, verdict_to_string((probe)->judgement.verdict),               \
                         verdict_reason_to_string((probe)->judgement.reason), #condition);                   \
        }                                                                                                    \
    } while (0)

/* The living process of the world that has this pid, or NOBODY. */
static int world_find(const struct world *world, pid_t pid) {
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive && world->procs[p].pid == pid)
            return p;
    return NOBODY;
}

static bool is_scan_good(const struct lock_facts *facts) {
    return facts->complete ||
           (facts->unreadable_total == 1 && facts->n_unreadable == 1 && facts->unreadable[0] == 1);
}

static bool has_open(const struct world *world, int proc, int file) {
    for (int s = 0; s < WORKER_SLOTS; s++) {
        int desc = world->procs[proc].slots[s];

        if (desc != NOBODY && world->descs[desc].file == file)
            return true;
    }
    return false;
}

/* Each holder named is one, and by what it is said to be; an innocent never is. */
static void check_holder(const struct world_probe *probe, const struct holder_facts *holder, int file) {
    const struct world *world = &probe->run->world;
    int proc = world_find(world, holder->process.pid);

    WORLD_ASSERT(probe, proc != NOBODY);
    if (holder->listener)
        WORLD_ASSERT(probe, world->procs[proc].listener != NOBODY);
    if (!lock_holder_has_lock(holder) && holder->listener)
        return;
    WORLD_ASSERT(probe, file != NOBODY);
    WORLD_ASSERT(probe, holder->via == VIA_FD || holder->via == VIA_IN_FLIGHT);
    if (holder->via == VIA_FD)
        WORLD_ASSERT(probe, world_holds_any(world, proc, file));
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (holder->families[f] && holder->via == VIA_FD)
            WORLD_ASSERT(probe, world_holds(world, proc, file, f));
    if (holder->via == VIA_IN_FLIGHT)
        WORLD_ASSERT(probe, world_may_receive(world, proc, file));
}

static bool names_holder(const struct lock_facts *facts, pid_t pid, enum lock_family family) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid && facts->holders[i].families[family])
            return true;
    return false;
}

/* After a complete scan the set of those who have it in a table is exact, family by family. */
static void check_holders(const struct world_probe *probe, int file, struct world_score *score) {
    const struct world *world = &probe->run->world;
    const struct lock_facts *facts = probe->facts;

    for (size_t i = 0; i < facts->n_holders; i++)
        check_holder(probe, &facts->holders[i], file);
    for (size_t i = 0; i < facts->n_openers; i++) {
        int proc = world_find(world, facts->openers[i].process.pid);

        if (proc == NOBODY)
            continue; /* of another world: somebody who probes just now, and opens what is locked */
        WORLD_ASSERT(probe, file != NOBODY);
        WORLD_ASSERT(probe, has_open(world, proc, file) && !world_holds_any(world, proc, file));
    }
    WORLD_ASSERT(probe, facts->n_waiters == 0);
    if (file == NOBODY || probe->effort != PROBE_COMPLETE || !is_scan_good(facts))
        return;
    WORLD_ASSERT(probe, !facts->settled);
    for (int p = 0; p < world->n_procs; p++)
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            if (world_holds(world, p, file, f))
                WORLD_ASSERT(probe, names_holder(facts, world->procs[p].pid, f));
    if (world_is_held(world, file))
        score->exact++;
}

/* A file that was taken away: it did stand at the path, and its holders are its holders. */
static void check_displaced(const struct world_probe *probe) {
    const struct world *world = &probe->run->world;

    for (size_t i = 0; i < probe->facts->n_displaced; i++) {
        const struct lock_facts *displaced = &probe->facts->displaced[i];
        int file = NOBODY;

        for (int f = 0; f < world->n_files; f++)
            if (world->files[f].displaced_step > 0 && world->files[f].path == probe->path &&
                world->files[f].inode == displaced->inode && world_is_held(world, f))
                file = f;
        WORLD_ASSERT(probe, displaced->kind == PATH_KIND_SOCKET || file != NOBODY);
        for (size_t j = 0; j < displaced->n_holders; j++)
            check_holder(probe, &displaced->holders[j], file);
    }
}

/* Who is said to be the living owner is who the kernel names and who has it, not one that has the number.
 * OFD locks have no record, and a POSIX lock is its process's own. */
static bool is_taker_holding(const struct world *world, int file) {
    if (world_is_family_held(world, file, LOCK_FAMILY_OFD) ||
        world_is_family_held(world, file, LOCK_FAMILY_POSIX))
        return true;
    for (int d = 0; d < world->n_descs; d++)
        for (int p = 0; world_is_desc_locked(&world->descs[d], file) && p < world->n_procs; p++)
            if (world->procs[p].alive && world->procs[p].pid == world->procs[world->descs[d].taker].pid &&
                (world_holds(world, p, file, LOCK_FAMILY_FLOCK) || world_may_receive(world, p, file)))
                return true;
    return false;
}

/* Is it held by anything that the word allows: a lock, a living owner or writer, somebody who listens? A
 * process that has a PID file's number and began no later than a moment after it is as good as its writer. */
static bool may_be_held(const struct world *world, enum world_path path, int file) {
    if (path == WORLD_SOCKET)
        return world_is_listened(world, false, false) || world_is_listened(world, true, false);
    if (world_is_displaced_held(world, path) || (file != NOBODY && world_is_held(world, file)))
        return true;
    if (path == WORLD_GUARD &&
        (world_is_listened(world, false, false) || world_is_listened(world, true, false)))
        return true;
    return file != NOBODY && world->files[file].writer != NOBODY &&
           world_find(world, world->procs[world->files[file].writer].pid) != NOBODY;
}

static void check_lock_verdict(const struct world_probe *probe, int file) {
    const struct world *world = &probe->run->world;
    enum verdict verdict = probe->judgement.verdict;
    bool whole = probe->effort == PROBE_COMPLETE;

    for (enum lock_family f = 0; file != NOBODY && f < LOCK_FAMILY_MAX; f++)
        if (probe->facts->families[f] != FAMILY_UNKNOWN)
            WORLD_ASSERT(probe,
                         world_is_family_held(world, file, f) == (probe->facts->families[f] == FAMILY_HELD));
    switch (verdict) {
    case VERDICT_ABSENT:
        WORLD_ASSERT(probe, file == NOBODY);
        WORLD_ASSERT(probe, !whole || !world_is_displaced_owned(world, probe->path, false));
        break;
    case VERDICT_FREE:
    case VERDICT_STALE:
        WORLD_ASSERT(probe, file != NOBODY && !world_is_held(world, file));
        WORLD_ASSERT(probe, !whole || !world_is_displaced_owned(world, probe->path, false));
        if (verdict == VERDICT_FREE)
            WORLD_ASSERT(probe, probe->path != WORLD_GUARD || !world_is_listened(world, false, true));
        else {
            WORLD_ASSERT(probe, probe->path == WORLD_PID && world->files[file].writer != NOBODY);
            WORLD_ASSERT(probe, !world_is_alive(world, world->files[file].writer));
        }
        break;
    case VERDICT_ORPHANED:
        WORLD_ASSERT(probe, file != NOBODY && world_is_held(world, file));
        WORLD_ASSERT(probe, !world_owner_lives(world, file, true));
        break;
    case VERDICT_HELD:
        WORLD_ASSERT(probe, may_be_held(world, probe->path, file));
        if (file != NOBODY && world_is_held(world, file) && probe->path == WORLD_LOCK &&
            (probe->judgement.reason == REASON_LIVE || probe->judgement.reason == REASON_STOPPED))
            WORLD_ASSERT(probe, is_taker_holding(world, file));
        break;
    default:
        break;
    }
}

static void check_socket_verdict(const struct world_probe *probe) {
    const struct world *world = &probe->run->world;
    bool whole = probe->effort == PROBE_COMPLETE;

    switch (probe->judgement.verdict) {
    case VERDICT_ABSENT:
        WORLD_ASSERT(probe, !world->socket_stands);
        WORLD_ASSERT(probe, !whole || !world_is_listened(world, true, true));
        break;
    case VERDICT_STALE:
        WORLD_ASSERT(probe, world->socket_stands && !world_is_listened(world, false, false));
        WORLD_ASSERT(probe, !whole || !world_is_listened(world, true, true));
        break;
    case VERDICT_ORPHANED:
        WORLD_ASSERT(probe, world_is_listened(world, false, false));
        WORLD_ASSERT(probe, !world_is_listened(world, false, true));
        break;
    case VERDICT_HELD:
        WORLD_ASSERT(probe, may_be_held(world, WORLD_SOCKET, NOBODY));
        break;
    default:
        WORLD_ASSERT(probe, probe->judgement.verdict != VERDICT_FREE);
    }
}

static enum world_class world_classify(const struct world *world, enum world_path path, int file) {
    if (path == WORLD_SOCKET) {
        if (world_is_listened(world, true, false))
            return CLASS_OTHER;
        return !world->socket_stands                    ? CLASS_ABSENT
               : world_is_listened(world, false, true)  ? CLASS_OWNED
               : world_is_listened(world, false, false) ? CLASS_OTHER
                                                        : CLASS_DEAD;
    }
    if (world_is_displaced_held(world, path))
        return CLASS_OTHER;
    if (path == WORLD_GUARD &&
        (world_is_listened(world, false, false) || world_is_listened(world, true, false)))
        return file != NOBODY && world_is_held(world, file) && world_owner_lives(world, file, false)
                   ? CLASS_OWNED
                   : CLASS_OTHER;
    if (file == NOBODY)
        return CLASS_ABSENT;
    if (world_is_held(world, file))
        return world_owner_lives(world, file, false)                     ? CLASS_OWNED
               : path != WORLD_PID && world_is_plain_orphan(world, file) ? CLASS_ORPHAN
                                                                         : CLASS_OTHER;
    if (path != WORLD_PID)
        return CLASS_FREE;
    if (world->files[file].writer == NOBODY)
        return CLASS_OTHER;
    if (world_is_alive(world, world->files[file].writer))
        return CLASS_OWNED;
    return world_find(world, world->procs[world->files[file].writer].pid) == NOBODY ? CLASS_DEAD
                                                                                    : CLASS_OTHER;
}

/* Else it may be a daemon that a shell with job control began, and that forked once. */
static bool is_in_lockers_session(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.session != facts->recorded.pid)
            return false;
    return true;
}

static void world_check(const struct world_probe *probe, struct world_score *score) {
    const struct world *world = &probe->run->world;
    int file = probe->path == WORLD_SOCKET ? NOBODY : world->at[probe->path];
    enum world_class class = world_classify(world, probe->path, file);

    check_holders(probe, file, score);
    check_displaced(probe);
    if (probe->path == WORLD_SOCKET)
        check_socket_verdict(probe);
    else
        check_lock_verdict(probe, file);
    score->probes++;
    score->verdicts[class][probe->judgement.verdict]++;
    if (class == CLASS_ORPHAN && probe->effort != PROBE_QUICK && is_scan_good(probe->facts) &&
        is_in_lockers_session(probe->facts))
        score->whole_orphans[probe->judgement.verdict]++;
    if (probe->effort == PROBE_COMPLETE && probe->path != WORLD_SOCKET &&
        world_is_displaced_owned(world, probe->path, true) &&
        (file == NOBODY || !world_is_held(world, file))) {
        score->split++;
        score->split_seen += probe->judgement.verdict == VERDICT_HELD;
    }
}
