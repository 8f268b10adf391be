/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What can happen in a world: each step is done for real by a worker, and in the model. */

#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "world-model.h"

#define WORLD_PATIENCE_MSEC 30000

/* What the world is run with. */
struct world_run {
    struct world world;
    uint64_t random;
    int channels[WORKER_CHANNELS]; /* our ends */
    bool busy[WORKER_CHANNELS];
};

static unsigned draw(struct world_run *run, unsigned below) {
    run->random ^= run->random >> 12;
    run->random ^= run->random << 25;
    run->random ^= run->random >> 27;
    return (unsigned) ((run->random * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % below;
}

/* Sends an order and waits until it is done. */
static struct worker_answer tell(struct world_run *run, int proc, const struct worker_order *order,
                                 int passed, int *ret_given) {
    const struct world_proc *it = &run->world.procs[proc];
    struct pollfd poll_fd = {.fd = run->channels[it->channel], .events = POLLIN};
    struct worker_answer answer = {0};
    int given;

    ck_assert_int_eq(worker_send(poll_fd.fd, order, sizeof *order, passed), 0);
    ck_assert_msg(poll(&poll_fd, 1, WORLD_PATIENCE_MSEC) == 1, "worker %d does not answer", (int) it->pid);
    ck_assert_int_eq(worker_receive(poll_fd.fd, &answer, sizeof answer, 0, &given), sizeof answer);
    if (ret_given)
        *ret_given = given;
    return answer;
}

static int tell_simply(struct world_run *run, int proc, enum worker_verb verb, int slot, int argument) {
    struct worker_order order = {.verb = verb, .slot = slot, .argument = argument};

    return tell(run, proc, &order, -1, NULL).result;
}

static void reap(struct world_run *run, int proc) {
    ck_assert_int_eq(waitpid(run->world.procs[proc].pid, NULL, 0), run->world.procs[proc].pid);
    run->world.procs[proc].reaped = true;
}

/* The process was told to die, or was killed: its descriptors are closed by the time that its pidfd is
 * readable (kernel/exit.c: exit_files() comes before exit_notify()). */
static void bury(struct world_run *run, int proc) {
    struct world_proc *dead = &run->world.procs[proc];
    struct pollfd poll_fd = {.fd = dead->pidfd, .events = POLLIN};

    ck_assert_msg(poll(&poll_fd, 1, WORLD_PATIENCE_MSEC) == 1, "%d does not die", (int) dead->pid);
    close(dead->pidfd);
    run->busy[dead->channel] = false;
    world_died(&run->world, proc);
    if (!dead->ours)
        dead->reaped = true; /* by its parent, which ignores SIGCHLD */
    else if (draw(run, 3) > 0)
        reap(run, proc);
}

static void kill_proc(struct world_run *run, int proc) {
    ck_assert_int_eq(syscall(SYS_pidfd_send_signal, run->world.procs[proc].pidfd, SIGKILL, NULL, 0), 0);
    bury(run, proc);
}

static void exit_proc(struct world_run *run, int proc) {
    struct worker_order order = {.verb = WORKER_EXIT};

    ck_assert_int_eq(worker_send(run->channels[run->world.procs[proc].channel], &order, sizeof order, -1), 0);
    bury(run, proc);
}

static int find_channel(const struct world_run *run, int but) {
    for (int c = 0; c < WORKER_CHANNELS; c++)
        if (!run->busy[c] && c != but)
            return c;
    return -1;
}

static int add_proc(struct world_run *run, pid_t pid, int channel) {
    struct world *world = &run->world;
    struct world_proc *proc = &world->procs[world->n_procs];

    *proc = (struct world_proc){.pid = pid,
                                .alive = true,
                                .ours = true,
                                .parent = NOBODY,
                                .channel = channel,
                                .family = world->n_procs,
                                .group = getpgrp(),
                                .session = getsid(0),
                                .listener = NOBODY};
    for (int s = 0; s < WORKER_SLOTS; s++)
        proc->slots[s] = NOBODY;
    proc->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    ck_assert_int_ge(proc->pidfd, 0);
    run->busy[channel] = true;
    return world->n_procs++;
}

static void lead_session(struct world_run *run, int proc) {
    struct world_proc *it = &run->world.procs[proc];
    bool leads = it->group == it->pid;
    int r = tell_simply(run, proc, WORKER_SETSID, 0, 0);

    ck_assert_int_eq(r, leads ? -EPERM : 0);
    if (r == 0)
        it->session = it->group = it->pid;
    world_note(&run->world, "%d setsid: %d", proc, r);
}

static void lead_group(struct world_run *run, int proc) {
    struct world_proc *it = &run->world.procs[proc];
    int r = tell_simply(run, proc, WORKER_SETPGID, 0, 0);

    ck_assert_int_eq(r, it->session == it->pid ? -EPERM : 0);
    if (r == 0)
        it->group = it->pid;
    world_note(&run->world, "%d setpgid: %d", proc, r);
}

/* NOBODY: no room. */
static int spawn(struct world_run *run, pid_t wish) {
    int channel = find_channel(run, -1), proc;
    pid_t pid;

    if (channel < 0 || run->world.n_procs == WORLD_PROCS)
        return NOBODY;
    pid = worker_spawn(channel, wish);
    if (wish > 0 && pid < 0)
        return NOBODY;
    ck_assert_int_gt(pid, 0);
    proc = add_proc(run, pid, channel);
    world_note(&run->world, "%d begins, pid %d%s", proc, (int) pid, wish > 0 ? ", recycled" : "");
    ck_assert_int_eq(tell_simply(run, proc, WORKER_ARM, 0, 0), 0); /* it is ready */
    switch (draw(run, 3)) {
    case 0:
        lead_session(run, proc);
        break;
    case 1:
        lead_group(run, proc);
        break;
    default:
        break;
    }
    return proc;
}

static int fork_proc(struct world_run *run, int parent) {
    struct world *world = &run->world;
    int channel = find_channel(run, -1), child, pid;

    if (channel < 0 || world->n_procs == WORLD_PROCS)
        return NOBODY;
    pid = tell_simply(run, parent, WORKER_FORK, 0, channel);
    ck_assert_int_gt(pid, 0);
    child = add_proc(run, pid, channel);
    world->procs[child].ours = false;
    world->procs[child].parent = parent;
    world->procs[child].family = world->procs[parent].family;
    world->procs[child].group = world->procs[parent].group;
    world->procs[child].session = world->procs[parent].session;
    world->procs[child].listener = world->procs[parent].listener;
    memcpy(world->procs[child].slots, world->procs[parent].slots, sizeof world->procs[child].slots);
    world_note(world, "%d forks %d, pid %d", parent, child, pid);
    return child;
}

/* A file that somebody has open: what it was opened as. */
static bool open_path(struct world_run *run, int proc, int slot, enum world_path path) {
    struct world *world = &run->world;
    struct worker_order order = {.verb = WORKER_OPEN, .slot = slot};
    struct worker_answer answer;

    if (world->n_files == WORLD_FILES || world->n_descs == WORLD_DESCS)
        return false;
    snprintf(order.path, sizeof order.path, "%s/%s", world->dir, world_names[path]);
    answer = tell(run, proc, &order, -1, NULL);
    ck_assert_int_eq(answer.result, 0);
    if (world->at[path] == NOBODY) {
        world->files[world->n_files] = (struct world_file){
            .path = path, .device = answer.device, .inode = answer.inode, .writer = NOBODY};
        world->at[path] = world->n_files++;
    }
    ck_assert(world->files[world->at[path]].inode == answer.inode);
    world->procs[proc].slots[slot] = world_add_desc(world, world->at[path]);
    world_note(world, "%d opens %s as slot %d, file %d", proc, world_names[path], slot, world->at[path]);
    return true;
}

/* What flock(2) does: a change of the kind gives the old lock up first. */
static int flock_slot(struct world_run *run, int proc, int slot, int type) {
    struct world *world = &run->world;
    int number = world->procs[proc].slots[slot], expected = 0, r;
    struct world_desc *desc = &world->descs[number];
    bool changes = type != LOCK_UN && desc->flock != type;

    if (changes && world_conflicts(world, desc->file, LOCK_FAMILY_FLOCK, type == LOCK_EX, number, NOBODY))
        expected = -EWOULDBLOCK;
    r = tell_simply(run, proc, WORKER_FLOCK, slot, type);
    world_note(world, "%d flock slot %d %s: %d", proc, slot,
               type == LOCK_EX   ? "exclusive"
               : type == LOCK_SH ? "shared"
                                 : "unlock",
               r);
    ck_assert_int_eq(r, expected);
    if (type == LOCK_UN || r < 0)
        desc->flock = 0;
    else if (changes) {
        desc->flock = type;
        desc->taker = proc;
        desc->step = world->step;
        if (!world_is_alive(world, desc->owner) || !world_has_desc(world, desc->owner, number))
            desc->owner = proc;
    }
    return r;
}

static int fcntl_slot(struct world_run *run, int proc, int slot, enum lock_family family, int type) {
    struct world *world = &run->world;
    int number = world->procs[proc].slots[slot], expected = 0, r, *held;
    struct world_desc *desc = &world->descs[number];
    bool ofd = family == LOCK_FAMILY_OFD;

    if (type != F_UNLCK && world_conflicts(world, desc->file, family, type == F_WRLCK, ofd ? number : NOBODY,
                                           ofd ? NOBODY : proc))
        expected = -EAGAIN;
    r = tell_simply(run, proc, ofd ? WORKER_OFD : WORKER_POSIX, slot, type);
    world_note(world, "%d %s slot %d type %d: %d", proc, ofd ? "ofd" : "posix", slot, type, r);
    ck_assert_int_eq(r, expected);
    if (r < 0)
        return r;
    held = ofd ? &desc->ofd : &world->procs[proc].posix[desc->file];
    if (type != F_UNLCK && *held == 0) {
        if (ofd) {
            desc->taker = proc;
            desc->step = world->step;
            if (!world_is_alive(world, desc->owner) || !world_has_desc(world, desc->owner, number))
                desc->owner = proc;
        } else
            world->procs[proc].posix_step[desc->file] = world->step;
    }
    *held = type == F_UNLCK ? 0 : type + 1;
    return 0;
}

static void close_slot(struct world_run *run, int proc, int slot) {
    ck_assert_int_eq(tell_simply(run, proc, WORKER_CLOSE, slot, 0), 0);
    world_closed(&run->world, proc, slot);
    world_note(&run->world, "%d closes slot %d", proc, slot);
}

/* Takes the file or socket away from its path. */
static void displace(struct world_run *run, enum world_path path, bool by_rename) {
    struct world *world = &run->world;
    char from[128], to[160];

    snprintf(from, sizeof from, "%s/%s", world->dir, world_names[path]);
    snprintf(to, sizeof to, "%s.old-%d", from, world->step);
    ck_assert_int_eq(by_rename ? rename(from, to) : unlink(from), 0);
    world_note(world, "%s is %s", world_names[path], by_rename ? "renamed" : "unlinked");
    if (path == WORLD_SOCKET) {
        world->socket_stands = false;
        for (int l = 0; l < world->n_listeners; l++)
            world->listeners[l].at_path = false;
        return;
    }
    world->files[world->at[path]].displaced_step = world->step;
    world->files[world->at[path]].renamed = by_rename;
    world->at[path] = NOBODY;
}

static bool listen_at(struct world_run *run, int proc) {
    struct world *world = &run->world;
    struct worker_order order = {.verb = WORKER_LISTEN};
    struct worker_answer answer;

    if (world->n_listeners == WORLD_LISTENERS || world->procs[proc].listener != NOBODY)
        return false;
    if (world->socket_stands)
        displace(run, WORLD_SOCKET, false);
    snprintf(order.path, sizeof order.path, "%s/%s", world->dir, world_names[WORLD_SOCKET]);
    answer = tell(run, proc, &order, -1, NULL);
    ck_assert_int_eq(answer.result, 0);
    world->listeners[world->n_listeners] =
        (struct world_listener){.maker = proc, .owner = proc, .at_path = true, .inode = answer.inode};
    world->procs[proc].listener = world->n_listeners++;
    world->socket_stands = true;
    world_note(world, "%d listens", proc);
    return true;
}

/* daemon(3), or twice: the child in a session of its own is from then on the owner of what it has inherited.
 */
static bool daemonize(struct world_run *run, int proc, bool twice) {
    struct world *world = &run->world;
    int child = fork_proc(run, proc), grandchild;

    if (child == NOBODY)
        return false;
    lead_session(run, child);
    grandchild = twice ? fork_proc(run, child) : NOBODY;
    if (grandchild != NOBODY) {
        exit_proc(run, child);
        child = grandchild;
    }
    for (int d = 0; d < world->n_descs; d++)
        if (world->descs[d].owner == proc && world_has_desc(world, child, d))
            world->descs[d].owner = child;
    for (int l = 0; l < world->n_listeners; l++)
        if (world->listeners[l].owner == proc && world->procs[child].listener == l)
            world->listeners[l].owner = child;
    exit_proc(run, proc);
    world_note(world, "%d has become the daemon %d", proc, child);
    return true;
}

/* From the one to the other, who is maybe no relative: whoever has a descriptor may hand it to anybody. */
static void give(struct world_run *run, int from, int slot, int to, int to_slot) {
    struct worker_order order = {.verb = WORKER_GIVE, .slot = slot};
    int passed;

    ck_assert_int_eq(tell(run, from, &order, -1, &passed).result, 0);
    ck_assert_int_ge(passed, 0);
    order = (struct worker_order){.verb = WORKER_GET, .slot = to_slot};
    ck_assert_int_eq(tell(run, to, &order, passed, NULL).result, 0);
    close(passed);
    run->world.procs[to].slots[to_slot] = run->world.procs[from].slots[slot];
    world_note(&run->world, "%d gives slot %d to %d's slot %d", from, slot, to, to_slot);
}

static void post(struct world_run *run, int proc, int slot) {
    struct world *world = &run->world;
    int family = world->procs[proc].family;

    ck_assert_int_eq(tell_simply(run, proc, WORKER_POST, slot, 0), 0);
    world->boxes[family][world->n_boxed[family]++] = world->procs[proc].slots[slot];
    world_note(world, "%d posts slot %d", proc, slot);
}

static void take_posted(struct world_run *run, int proc, int slot) {
    struct world *world = &run->world;
    int family = world->procs[proc].family;

    ck_assert_int_eq(tell_simply(run, proc, WORKER_TAKE, slot, 0), 0);
    world->procs[proc].slots[slot] = world->boxes[family][0];
    world->n_boxed[family]--;
    memmove(&world->boxes[family][0], &world->boxes[family][1],
            sizeof world->boxes[family][0] * (size_t) world->n_boxed[family]);
    world_note(world, "%d takes the oldest letter into slot %d", proc, slot);
}

/* Only our own children: should we die, the kernel kills a stopped one for us. */
static void stop(struct world_run *run, int proc, bool go_on) {
    struct world_proc *it = &run->world.procs[proc];
    siginfo_t info;

    if (!go_on)
        ck_assert_int_eq(tell_simply(run, proc, WORKER_ARM, 0, 0), 0);
    ck_assert_int_eq(syscall(SYS_pidfd_send_signal, it->pidfd, go_on ? SIGCONT : SIGSTOP, NULL, 0), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t) it->pid, &info, go_on ? WCONTINUED : WSTOPPED), 0);
    it->stopped = !go_on;
    world_note(&run->world, "%d %s", proc, go_on ? "goes on" : "is stopped");
}

static void world_begin(struct world_run *run) {
    struct world *world = &run->world;
    char dir[sizeof world->dir];

    memcpy(dir, world->dir, sizeof dir);
    memset(world, 0, sizeof *world);
    memcpy(world->dir, dir, sizeof dir);
    for (int p = 0; p < WORLD_PATHS; p++)
        world->at[p] = NOBODY;
}

static void world_end(struct world_run *run) {
    struct world *world = &run->world;
    char command[96];

    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive)
            kill_proc(run, p);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    snprintf(command, sizeof command, "rm -rf %s/*", world->dir);
    (void) !system(command);
}
