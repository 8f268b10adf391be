/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The truth about a world of lockers, kept in step with what they are told to do and by nothing else: which
 * open file descriptions there are and who refers to them (fork(2), dup(2), unix(7)), which locks they carry
 * (flock(2), fcntl(2)), which process is the owner of each and whether it lives. */

#include <check.h>
#include <stdarg.h>
#include <stdbool.h>

#include "lock/facts.h"
#include "world-worker.h"

#define WORLD_PROCS 96
#define WORLD_FILES 48
#define WORLD_DESCS 192
#define WORLD_LISTENERS 32
#define WORLD_BOX 3
#define WORLD_LOG 256
#define NOBODY (-1)

enum world_path {
    WORLD_LOCK,  /* a plain lock file */
    WORLD_PID,   /* a PID file, maybe locked */
    WORLD_GUARD, /* the lock beside a socket */
    WORLD_SOCKET,
    WORLD_PATHS,
};

static const char *const world_names[WORLD_PATHS] = {"a.lock", "d.pid", "s.lock", "s"};

struct world_proc {
    pid_t pid;
    int pidfd;
    bool alive, reaped, stopped;
    bool ours; /* our child: begun by us, or its parent died */
    int parent, channel, family;
    pid_t group, session;
    int slots[WORKER_SLOTS];
    int posix[WORLD_FILES]; /* F_RDLCK + 1, F_WRLCK + 1, 0: none */
    int posix_step[WORLD_FILES];
    int listener;
};

struct world_file {
    enum world_path path;
    dev_t device;
    ino_t inode;
    int displaced_step; /* 0: it stands at its path */
    bool renamed;       /* so it was displaced; else unlinked */
    int writer;         /* the process whose PID stands in it */
};

/* An open file description. */
struct world_desc {
    int file;
    int flock, ofd; /* LOCK_SH, LOCK_EX; F_RDLCK + 1, F_WRLCK + 1; 0: none */
    int owner;      /* the daemon whose lock it is */
    int taker;      /* who got the lock from the kernel, as it stands now */
    int step;       /* since when */
};

struct world_listener {
    int maker, owner;
    bool at_path;
    ino_t inode; /* of the file it was bound to */
};

struct world {
    char dir[64];
    struct world_proc procs[WORLD_PROCS];
    int n_procs;
    struct world_file files[WORLD_FILES];
    int n_files, at[WORLD_PATHS]; /* the file that stands there */
    struct world_desc descs[WORLD_DESCS];
    int n_descs;
    struct world_listener listeners[WORLD_LISTENERS];
    int n_listeners;
    bool socket_stands;
    int boxes[WORLD_PROCS][WORLD_BOX], n_boxed[WORLD_PROCS]; /* by family: the number of its first process */
    int step;
    char log[WORLD_LOG][96];
    unsigned n_log;
};

static __attribute__((format(printf, 2, 3))) void world_note(struct world *world, const char *format, ...) {
    va_list list;
    char *line = world->log[world->n_log++ % WORLD_LOG];

    va_start(list, format);
    vsnprintf(line, sizeof world->log[0], format, list);
    va_end(list);
}

static bool world_is_alive(const struct world *world, int proc) {
    return proc != NOBODY && world->procs[proc].alive;
}

static bool world_family_lives(const struct world *world, int family) {
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive && world->procs[p].family == family)
            return true;
    return false;
}

static bool world_has_desc(const struct world *world, int proc, int desc) {
    for (int s = 0; s < WORKER_SLOTS; s++)
        if (world->procs[proc].alive && world->procs[proc].slots[s] == desc)
            return true;
    return false;
}

static bool world_is_in_table(const struct world *world, int desc) {
    for (int p = 0; p < world->n_procs; p++)
        if (world_has_desc(world, p, desc))
            return true;
    return false;
}

/* It waits in the letter box of a family with somebody left to read it. `family` NOBODY: of any. */
static bool world_is_in_flight(const struct world *world, int desc, int family) {
    for (int f = 0; f < world->n_procs; f++)
        for (int i = 0; (family == NOBODY || f == family) && i < world->n_boxed[f]; i++)
            if (world->boxes[f][i] == desc && world_family_lives(world, f))
                return true;
    return false;
}

/* What nobody refers to is closed, and its locks are gone. */
static void world_settle(struct world *world) {
    for (int f = 0; f < world->n_procs; f++)
        if (!world_family_lives(world, f))
            world->n_boxed[f] = 0;
    for (int d = 0; d < world->n_descs; d++)
        if (!world_is_in_table(world, d) && !world_is_in_flight(world, d, NOBODY))
            world->descs[d].flock = world->descs[d].ofd = 0;
}

/* fcntl(2): whoever closes any descriptor of the file loses its POSIX locks on it. */
static void world_closed(struct world *world, int proc, int slot) {
    int desc = world->procs[proc].slots[slot];

    world->procs[proc].slots[slot] = NOBODY;
    if (desc != NOBODY)
        world->procs[proc].posix[world->descs[desc].file] = 0;
    world_settle(world);
}

static void world_died(struct world *world, int proc) {
    struct world_proc *dead = &world->procs[proc];

    dead->alive = dead->stopped = false;
    for (int s = 0; s < WORKER_SLOTS; s++)
        dead->slots[s] = NOBODY;
    memset(dead->posix, 0, sizeof dead->posix);
    dead->listener = NOBODY;
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].parent == proc) {
            world->procs[p].parent = NOBODY;
            world->procs[p].ours = true;
        }
    world_settle(world);
}

/* The process, or a description it has in its table, has a lock of that family on the file. */
static bool world_holds(const struct world *world, int proc, int file, enum lock_family family) {
    const struct world_proc *it = &world->procs[proc];

    if (!it->alive)
        return false;
    if (family == LOCK_FAMILY_POSIX)
        return it->posix[file] != 0;
    for (int s = 0; s < WORKER_SLOTS; s++) {
        const struct world_desc *desc = it->slots[s] == NOBODY ? NULL : &world->descs[it->slots[s]];

        if (desc && desc->file == file && (family == LOCK_FAMILY_FLOCK ? desc->flock : desc->ofd) != 0)
            return true;
    }
    return false;
}

static bool world_holds_any(const struct world *world, int proc, int file) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (world_holds(world, proc, file, f))
            return true;
    return false;
}

static bool world_is_desc_locked(const struct world_desc *desc, int file) {
    return desc->file == file && (desc->flock != 0 || desc->ofd != 0);
}

static bool world_is_family_held(const struct world *world, int file, enum lock_family family) {
    for (int p = 0; p < world->n_procs; p++)
        if (world_holds(world, p, file, family))
            return true;
    for (int d = 0; family != LOCK_FAMILY_POSIX && d < world->n_descs; d++)
        if (world->descs[d].file == file &&
            (family == LOCK_FAMILY_FLOCK ? world->descs[d].flock : world->descs[d].ofd) != 0)
            return true;
    return false;
}

static bool world_is_held(const struct world *world, int file) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (world_is_family_held(world, file, f))
            return true;
    return false;
}

/* The process has the letter box in which a lock on the file waits. */
static bool world_may_receive(const struct world *world, int proc, int file) {
    for (int d = 0; d < world->n_descs; d++)
        if (world_is_desc_locked(&world->descs[d], file) && world->procs[proc].alive &&
            world_is_in_flight(world, d, world->procs[proc].family))
            return true;
    return false;
}

/* The declared owner lives, and has it still: one that has closed it gave it up. What waits for the owner in
 * a letter box counts only while nobody else has it: in flight it is looked for only then (probe/trace.h). */
static bool world_owner_has(const struct world *world, int desc) {
    int owner = world->descs[desc].owner;

    if (!world_is_alive(world, owner))
        return false;
    return world_has_desc(world, owner, desc) ||
           (!world_is_in_table(world, desc) && world_is_in_flight(world, desc, world->procs[owner].family));
}

/* Somebody whose lock it is lives: the one who is declared its owner, who took it, or wrote the file.
 * `who_took` false: owners only. */
static bool world_owner_lives(const struct world *world, int file, bool who_took) {
    for (int d = 0; d < world->n_descs; d++)
        if (world_is_desc_locked(&world->descs[d], file) &&
            (world_owner_has(world, d) || (who_took && world_is_alive(world, world->descs[d].taker))))
            return true;
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive && world->procs[p].posix[file] != 0)
            return true;
    return who_took && world_is_alive(world, world->files[file].writer);
}

/* A living owner still holds, by its own table, a file that it had locked before it was taken away from the
 * path. An unlinked one shows the path for as long as it is open; of a renamed one nothing but times and
 * names tell where it stood (probe/displaced.c), so that it may be missed. `renamed_too`: count these as
 * well.
 */
static bool world_is_displaced_owned(const struct world *world, enum world_path path, bool renamed_too) {
    for (int f = 0; f < world->n_files; f++) {
        if (world->files[f].path != path || world->files[f].displaced_step == 0 ||
            (world->files[f].renamed && !renamed_too))
            continue;
        for (int d = 0; d < world->n_descs; d++)
            if (world_is_desc_locked(&world->descs[d], f) && world_is_alive(world, world->descs[d].owner) &&
                world_has_desc(world, world->descs[d].owner, d) &&
                world->descs[d].step < world->files[f].displaced_step)
                return true;
        for (int p = 0; p < world->n_procs; p++)
            if (world_holds(world, p, f, LOCK_FAMILY_POSIX) &&
                world->procs[p].posix_step[f] < world->files[f].displaced_step)
                return true;
    }
    return false;
}

static bool world_is_displaced_held(const struct world *world, enum world_path path) {
    for (int f = 0; f < world->n_files; f++)
        if (world->files[f].path == path && world->files[f].displaced_step != 0 && world_is_held(world, f))
            return true;
    return false;
}

static bool world_is_listening(const struct world *world, int listener) {
    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive && world->procs[p].listener == listener)
            return true;
    return false;
}

/* Somebody listens on the socket that stands at the path (displaced: on one that stood there). `owned`: and
 * its owner lives, and has it. */
static bool world_is_listened(const struct world *world, bool displaced, bool owned) {
    for (int l = 0; l < world->n_listeners; l++)
        if (world->listeners[l].at_path != displaced && world_is_listening(world, l) &&
            (!owned || (world_is_alive(world, world->listeners[l].owner) &&
                        world->procs[world->listeners[l].owner].listener == l)))
            return true;
    return false;
}

/* A leftover such as a helper that outlived its daemon: one flock, whose taker and owner is dead and in whose
 * session or process group everybody who has it is. */
static bool world_is_plain_orphan(const struct world *world, int file) {
    const struct world_desc *the = NULL;
    int desc = NOBODY;

    for (int d = 0; d < world->n_descs; d++)
        if (world_is_desc_locked(&world->descs[d], file)) {
            if (the || world->descs[d].ofd)
                return false;
            the = &world->descs[d];
            desc = d;
        }
    if (!the || world_owner_lives(world, file, true) || the->owner != the->taker ||
        !world_is_in_table(world, desc) || world_is_in_flight(world, desc, NOBODY))
        return false;
    for (int p = 0; p < world->n_procs; p++) {
        const struct world_proc *proc = &world->procs[p];
        pid_t taker = world->procs[the->taker].pid;

        if (proc->alive && (proc->pid == taker || proc->posix[file] != 0))
            return false; /* the number is in use again */
        if (world_has_desc(world, p, desc) && proc->session != taker &&
            (proc->group != taker || proc->session == proc->pid))
            return false;
    }
    return true;
}

static int world_add_desc(struct world *world, int file) {
    ck_assert_int_lt(world->n_descs, WORLD_DESCS);
    world->descs[world->n_descs] = (struct world_desc){.file = file, .owner = NOBODY, .taker = NOBODY};
    return world->n_descs++;
}

/* Whether a lock of that kind (exclusive or not) meets another's. */
static bool world_conflicts(const struct world *world, int file, enum lock_family family, bool exclusive,
                            int but_desc, int but_proc) {
    for (int d = 0; d < world->n_descs; d++) {
        const struct world_desc *desc = &world->descs[d];
        int flock_wanted = exclusive ? desc->flock : desc->flock == LOCK_EX;
        int fcntl_wanted = exclusive ? desc->ofd : desc->ofd == F_WRLCK + 1;

        if (desc->file == file && d != but_desc &&
            (family == LOCK_FAMILY_FLOCK ? flock_wanted : fcntl_wanted))
            return true;
    }
    for (int p = 0; family != LOCK_FAMILY_FLOCK && p < world->n_procs; p++)
        if (p != but_proc && world->procs[p].alive && world->procs[p].posix[file] != 0 &&
            (exclusive || world->procs[p].posix[file] == F_WRLCK + 1))
            return true;
    return false;
}
