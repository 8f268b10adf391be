/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random worlds: whatever lockers do, what the probe says has to be true. A world that failed is made again
 * by the seed that is printed: LATCHD_WORLD_SEED=N LATCHD_WORLD_ROUNDS=N. */
#include <check.h>
#include <stdlib.h>

#include "base/value.h"
#include "world-check.h"

#define ROUNDS 6000
#define ROUNDS_OF_A_WORLD 24
#define ENOUGH_USEC (70 * USEC_PER_SEC)

static char dir[] = "/tmp/test-worlds.XXXXXX";

/* A living process that takes orders, or NOBODY. */
static int pick(struct world_run *run) {
    const struct world *world = &run->world;
    int start = world->n_procs > 0 ? (int) draw(run, (unsigned) world->n_procs) : 0;

    for (int i = 0; i < world->n_procs; i++) {
        int p = (start + i) % world->n_procs;

        if (world->procs[p].alive && !world->procs[p].stopped)
            return p;
    }
    return NOBODY;
}

static int find_slot(struct world_run *run, int proc, bool used) {
    int start = (int) draw(run, WORKER_SLOTS);

    for (int i = 0; i < WORKER_SLOTS && proc != NOBODY; i++) {
        int slot = (start + i) % WORKER_SLOTS;

        if ((run->world.procs[proc].slots[slot] != NOBODY) == used)
            return slot;
    }
    return -1;
}

/* A process with an open file, and its slot. */
static bool pick_open(struct world_run *run, int *ret_proc, int *ret_slot) {
    for (int i = 0; i < 4; i++) {
        *ret_proc = pick(run);
        *ret_slot = find_slot(run, *ret_proc, true);
        if (*ret_slot >= 0)
            return true;
    }
    return false;
}

static bool pick_room(struct world_run *run, int *ret_proc, int *ret_slot) {
    *ret_proc = pick(run);
    *ret_slot = find_slot(run, *ret_proc, false);
    return *ret_slot >= 0;
}

static bool step_spawn(struct world_run *run) {
    return spawn(run, 0) != NOBODY;
}

/* A daemon as they are written: it opens its lock file, locks it, and has children. */
static bool step_daemon(struct world_run *run) {
    enum world_path path = (enum world_path) draw(run, 3);
    int proc = spawn(run, 0), slot = (int) draw(run, WORKER_SLOTS);

    if (proc == NOBODY || !open_path(run, proc, slot, path))
        return proc != NOBODY;
    if (flock_slot(run, proc, slot, LOCK_EX) < 0)
        return true;
    if (path == WORLD_PID && tell_simply(run, proc, WORKER_WRITE, slot, 0) == 0) {
        run->world.files[run->world.at[WORLD_PID]].writer = proc;
        world_note(&run->world, "%d writes its pid", proc);
    }
    if (path == WORLD_GUARD)
        (void) listen_at(run, proc);
    for (unsigned n = draw(run, 3); n > 0; n--)
        (void) fork_proc(run, proc);
    if (draw(run, 4) == 0) {
        world_note(&run->world, "%d is killed", proc);
        kill_proc(run, proc);
    }
    return true;
}

static bool step_open(struct world_run *run) {
    int proc, slot;

    return pick_room(run, &proc, &slot) && open_path(run, proc, slot, (enum world_path) draw(run, 3));
}

static bool step_flock(struct world_run *run) {
    static const int types[] = {LOCK_EX, LOCK_EX, LOCK_SH, LOCK_UN};
    int proc, slot;

    if (!pick_open(run, &proc, &slot))
        return false;
    (void) flock_slot(run, proc, slot, types[draw(run, ELEMENTSOF(types))]);
    return true;
}

/* By whoever shares it: then the kernel names this one. */
static bool step_relock(struct world_run *run) {
    int proc, slot;

    if (!pick_open(run, &proc, &slot) || !run->world.descs[run->world.procs[proc].slots[slot]].flock)
        return false;
    (void) flock_slot(run, proc, slot, LOCK_UN);
    (void) flock_slot(run, proc, slot, LOCK_EX);
    return true;
}

static bool step_fcntl(struct world_run *run) {
    static const int types[] = {F_WRLCK, F_WRLCK, F_RDLCK, F_UNLCK};
    int proc, slot;

    if (!pick_open(run, &proc, &slot))
        return false;
    (void) fcntl_slot(run, proc, slot, draw(run, 2) ? LOCK_FAMILY_OFD : LOCK_FAMILY_POSIX,
                      types[draw(run, ELEMENTSOF(types))]);
    return true;
}

static bool step_close(struct world_run *run) {
    int proc, slot;

    if (!pick_open(run, &proc, &slot))
        return false;
    close_slot(run, proc, slot);
    return true;
}

static bool step_dup(struct world_run *run) {
    int proc, slot, other;

    if (!pick_open(run, &proc, &slot))
        return false;
    other = find_slot(run, proc, false);
    if (other < 0 || tell_simply(run, proc, WORKER_DUP, slot, other) < 0)
        return false;
    run->world.procs[proc].slots[other] = run->world.procs[proc].slots[slot];
    world_note(&run->world, "%d duplicates slot %d as %d", proc, slot, other);
    return true;
}

static bool step_write(struct world_run *run) {
    struct world *world = &run->world;
    int proc, slot, file;

    if (!pick_open(run, &proc, &slot))
        return false;
    file = world->descs[world->procs[proc].slots[slot]].file;
    if (world->files[file].path != WORLD_PID)
        return false;
    ck_assert_int_eq(tell_simply(run, proc, WORKER_WRITE, slot, 0), 0);
    world->files[file].writer = proc;
    world_note(world, "%d writes its pid into file %d", proc, file);
    return true;
}

static bool step_fork(struct world_run *run) {
    int proc = pick(run);

    return proc != NOBODY && fork_proc(run, proc) != NOBODY;
}

static bool step_daemonize(struct world_run *run) {
    int proc, slot;

    return pick_open(run, &proc, &slot) && daemonize(run, proc, draw(run, 2));
}

static bool step_setsid(struct world_run *run) {
    int proc = pick(run);

    if (proc != NOBODY)
        (draw(run, 2) ? lead_session : lead_group)(run, proc);
    return proc != NOBODY;
}

static bool step_kill(struct world_run *run) {
    struct world *world = &run->world;
    int proc = world->n_procs > 0 ? (int) draw(run, (unsigned) world->n_procs) : NOBODY;

    if (!world_is_alive(world, proc))
        return false;
    world_note(world, "%d is killed", proc);
    kill_proc(run, proc);
    return true;
}

static bool step_exit(struct world_run *run) {
    int proc = pick(run);

    if (proc == NOBODY)
        return false;
    world_note(&run->world, "%d exits", proc);
    exit_proc(run, proc);
    return true;
}

static bool step_reap(struct world_run *run) {
    for (int p = 0; p < run->world.n_procs; p++)
        if (!run->world.procs[p].alive && !run->world.procs[p].reaped) {
            reap(run, p);
            world_note(&run->world, "%d is reaped", p);
            return true;
        }
    return false;
}

/* An innocent gets the number of somebody dead. What that one wrote may be old by then. */
static bool step_recycle(struct world_run *run) {
    struct world *world = &run->world;
    int proc = world->n_procs > 0 ? (int) draw(run, (unsigned) world->n_procs) : NOBODY;
    int file = world->at[WORLD_PID];

    if (proc == NOBODY || world->procs[proc].alive || !world->procs[proc].reaped)
        return false;
    if (file != NOBODY && world->files[file].writer == proc && draw(run, 2)) {
        struct timespec old[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 3600}};
        char path[128];

        snprintf(path, sizeof path, "%s/%s", world->dir, world_names[WORLD_PID]);
        ck_assert_int_eq(utimensat(AT_FDCWD, path, old, 0), 0);
        world_note(world, "an hour passes for %s", world_names[WORLD_PID]);
    }
    return spawn(run, world->procs[proc].pid) != NOBODY;
}

static bool step_displace(struct world_run *run) {
    enum world_path path = (enum world_path) draw(run, WORLD_PATHS);

    if (path == WORLD_SOCKET ? !run->world.socket_stands : run->world.at[path] == NOBODY)
        return false;
    displace(run, path, draw(run, 2));
    return true;
}

static bool step_give(struct world_run *run) {
    int from, slot, to, room;

    if (!pick_open(run, &from, &slot) || !pick_room(run, &to, &room) || from == to)
        return false;
    give(run, from, slot, to, room);
    return true;
}

/* Often it is the last descriptor that anybody has. */
static bool step_post(struct world_run *run) {
    int proc, slot;

    if (!pick_open(run, &proc, &slot) || run->world.n_boxed[run->world.procs[proc].family] == WORLD_BOX)
        return false;
    post(run, proc, slot);
    if (draw(run, 4) > 0)
        close_slot(run, proc, slot);
    return true;
}

static bool step_take(struct world_run *run) {
    int proc, slot;

    if (!pick_room(run, &proc, &slot) || run->world.n_boxed[run->world.procs[proc].family] == 0)
        return false;
    take_posted(run, proc, slot);
    return true;
}

static bool step_listen(struct world_run *run) {
    int proc = pick(run);

    return proc != NOBODY && listen_at(run, proc);
}

static bool step_unlisten(struct world_run *run) {
    int proc = pick(run);

    if (proc == NOBODY || run->world.procs[proc].listener == NOBODY)
        return false;
    ck_assert_int_eq(tell_simply(run, proc, WORKER_UNLISTEN, 0, 0), 0);
    run->world.procs[proc].listener = NOBODY;
    world_note(&run->world, "%d listens no longer", proc);
    return true;
}

static bool step_stop(struct world_run *run) {
    struct world *world = &run->world;
    int proc = world->n_procs > 0 ? (int) draw(run, (unsigned) world->n_procs) : NOBODY;

    if (!world_is_alive(world, proc) || !world->procs[proc].ours)
        return false;
    stop(run, proc, world->procs[proc].stopped);
    return true;
}

static const struct {
    bool (*run)(struct world_run *run);
    unsigned weight;
} steps[] = {
    {step_spawn, 3},  {step_daemon, 10},   {step_open, 6},    {step_flock, 8}, {step_relock, 3},
    {step_fcntl, 4},  {step_close, 5},     {step_dup, 2},     {step_write, 3}, {step_fork, 5},
    {step_setsid, 2}, {step_daemonize, 5}, {step_kill, 9},    {step_exit, 4},  {step_reap, 3},
    {step_give, 3},   {step_displace, 4},  {step_recycle, 6}, {step_post, 3},  {step_take, 2},
    {step_listen, 3}, {step_unlisten, 1},  {step_stop, 3},
};

static void take_step(struct world_run *run) {
    unsigned sum = 0;

    for (size_t i = 0; i < ELEMENTSOF(steps); i++)
        sum += steps[i].weight;
    run->world.step++;
    for (int tries = 0; tries < 20; tries++) {
        unsigned at = draw(run, sum);
        size_t i = 0;

        while (at >= steps[i].weight)
            at -= steps[i++].weight;
        if (steps[i].run(run))
            return;
    }
}

/* Each look at a socket leaves a connection behind. */
static void accept_knocks(struct world_run *run) {
    struct world *world = &run->world;

    for (int p = 0; p < world->n_procs; p++)
        if (world->procs[p].alive && !world->procs[p].stopped && world->procs[p].listener != NOBODY)
            ck_assert_int_eq(tell_simply(run, p, WORKER_ACCEPT, 0, 0), 0);
}

/* A lock whose last descriptor was in flight between sockets that died is let go of by a worker of the
 * kernel's, a moment later (unix_schedule_gc() in net/unix/garbage.c). Nobody is there who could have it. */
static bool is_being_collected(const struct world_run *run, const struct lock_facts *facts) {
    for (unsigned p = 0; p < WORLD_PATHS; p++) {
        int file = p == WORLD_SOCKET ? NOBODY : run->world.at[p];

        for (enum lock_family f = 0; file != NOBODY && f < LOCK_FAMILY_MAX; f++)
            if (facts[p].families[f] == FAMILY_HELD && facts[p].n_holders == 0 &&
                !world_is_family_held(&run->world, file, f))
                return true;
    }
    return false;
}

static void look(struct world_run *run, const char *seed, struct world_score *score) {
    struct probe_request requests[WORLD_PATHS] = {0};
    char paths[WORLD_PATHS][128];
    struct lock_facts *facts;

    for (unsigned p = 0; p < WORLD_PATHS; p++) {
        static const enum probe_effort efforts[] = {PROBE_COMPLETE, PROBE_COMPLETE, PROBE_SETTLE,
                                                    PROBE_SETTLE, PROBE_QUICK};

        snprintf(paths[p], sizeof paths[p], "%s/%s", run->world.dir, world_names[p]);
        requests[p].path = paths[p];
        requests[p].style = LOCK_STYLE_INVALID;
        requests[p].effort = efforts[draw(run, ELEMENTSOF(efforts))];
    }
    ck_assert_int_eq(lock_probe(requests, WORLD_PATHS, &facts), 0);
    for (int tries = 0; tries < 100 && is_being_collected(run, facts); tries++) {
        lock_facts_free_array(facts, WORLD_PATHS);
        (void) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        ck_assert_int_eq(lock_probe(requests, WORLD_PATHS, &facts), 0);
    }
    for (unsigned p = 0; p < WORLD_PATHS; p++) {
        struct world_probe probe = {.run = run,
                                    .path = (enum world_path) p,
                                    .effort = requests[p].effort,
                                    .facts = &facts[p],
                                    .judgement = lock_judge(&facts[p], NULL),
                                    .seed = seed};

        world_check(&probe, score);
    }
    lock_facts_free_array(facts, WORLD_PATHS);
    accept_knocks(run);
}

static void live(struct world_run *run, uint64_t seed, unsigned rounds, uint64_t end_usec,
                 struct world_score *score) {
    char text[96];

    snprintf(text, sizeof text, "LATCHD_WORLD_SEED=%llu LATCHD_WORLD_ROUNDS=%u", (unsigned long long) seed,
             rounds);
    run->random = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    world_begin(run);
    for (unsigned r = 0; r < rounds && now_usec(CLOCK_MONOTONIC) < end_usec; r++) {
        for (unsigned n = 1 + draw(run, 3); n > 0; n--)
            take_step(run);
        look(run, text, score);
        world_note(&run->world, "-- looked, round %u", r);
        score->rounds++;
    }
    world_end(run);
    score->worlds++;
}

static void make_channels(struct world_run *run) {
    for (int c = 0; c < WORKER_CHANNELS; c++) {
        int pair[2];

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        ck_assert_int_lt(pair[0], WORKER_BOX_FD);
        ck_assert_int_ge(worker_move(pair[1], WORKER_CHANNEL_FD + c), 0);
        run->channels[c] = pair[0];
    }
}

static void close_channels(struct world_run *run) {
    for (int c = 0; c < WORKER_CHANNELS; c++) {
        close(run->channels[c]);
        close(WORKER_CHANNEL_FD + c);
    }
}

static void print_score(const struct world_score *score) {
    printf("%u worlds, %u rounds, %u probes, %u exact sets of holders; split: %u of %u\n", score->worlds,
           score->rounds, score->probes, score->exact, score->split_seen, score->split);
    for (int c = 0; c < CLASS_MAX; c++) {
        printf("  %-8s", world_class_names[c]);
        for (enum verdict v = 0; v < VERDICT_MAX; v++)
            printf("  %s %u", verdict_to_string(v), score->verdicts[c][v]);
        printf("\n");
    }
}

static unsigned percent(const unsigned verdicts[VERDICT_MAX], enum verdict verdict) {
    unsigned sum = 0;

    for (enum verdict v = 0; v < VERDICT_MAX; v++)
        sum += verdicts[v];
    return sum > 0 ? verdicts[verdict] * 100 / sum : 100;
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    uint64_t number;

    return text && value_parse_u64(text, &number) == 0 ? number : otherwise;
}

/* Nothing untrue is ever said; and what is plain is not passed over as unknown. */
START_TEST(test_worlds) {
    static struct world_run run;
    uint64_t seed = from_environment("LATCHD_WORLD_SEED", 1), end = now_usec(CLOCK_MONOTONIC) + ENOUGH_USEC;
    unsigned rounds = (unsigned) from_environment("LATCHD_WORLD_ROUNDS", ROUNDS);
    struct world_score score = {0};
    _cleanup_free_ char *path = NULL;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    path = realpath(dir, NULL);
    ck_assert(path && strlen(path) < sizeof run.world.dir);
    strcpy(run.world.dir, path);
    make_channels(&run);
    while (score.rounds < rounds && now_usec(CLOCK_MONOTONIC) < end) {
        unsigned left = rounds - score.rounds;

        live(&run, seed++, left < ROUNDS_OF_A_WORLD ? left : ROUNDS_OF_A_WORLD, end, &score);
    }
    close_channels(&run);
    print_score(&score);
    if (score.rounds < 500)
        return;
    ck_assert_uint_ge(percent(score.verdicts[CLASS_ABSENT], VERDICT_ABSENT), 95);
    ck_assert_uint_ge(percent(score.verdicts[CLASS_FREE], VERDICT_FREE), 95);
    ck_assert_uint_ge(percent(score.verdicts[CLASS_OWNED], VERDICT_HELD), 60);
    ck_assert_uint_ge(percent(score.verdicts[CLASS_DEAD], VERDICT_STALE), 80);
    ck_assert_uint_ge(percent(score.whole_orphans, VERDICT_ORPHANED), 80);
}
END_TEST

static void make_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void) !system(command);
}

int main(void) {
    Suite *suite = suite_create("worlds");
    TCase *tcase = tcase_create("worlds");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 110);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_test(tcase, test_worlds);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
