/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two hundred probers and clearers at one path, while lockers come there and go: no living locker ever loses
 * its file, not for a moment, and what the dead leave is cleared. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/procfs.h"
#include "base/value.h"
#include "clear-fixture.h"

#include "suite.h"

#define CLEARERS 140 /* in this program */
#define PROBERS 40
#define COMMANDS 20 /* run latchctl, again and again */
#define LOCKERS 4
#define CROWD (CLEARERS + PROBERS + COMMANDS + LOCKERS)
#define CROWD_USEC (6 * USEC_PER_SEC)
#define ENOUGH_CLEARED 5
#define PATIENCE_USEC (16 * USEC_PER_SEC) /* until so many were cleared, however busy the machine is */

/* A locker that lives and has the lock: what stands at the path has to be this. Odd while it does. */
struct claim {
    atomic_uint turn;
    _Atomic ino_t inode;
    _Atomic pid_t pid;
};

struct crowd {
    atomic_bool over;
    atomic_int inside; /* lockers that try for the lock, or have it */
    atomic_uint moves; /* how often one came in or went out */
    struct claim claims[LOCKERS];
    atomic_uint taken, died, lost, looks;
    atomic_uint cleared, busy, changed, probes, commands, wrong;
    atomic_uint refused_by_lockers, refused_by_others;
};

/* How a lock file is taken. 0: not now; 1: ours, *ret_fd is to be kept open. */
typedef int (*take_t)(struct crowd *crowd, int *ret_fd);

struct form {
    const char *path;
    take_t take;
    unsigned pause_usec; /* at most so long between a locker's death and the next one */
    bool clearable;      /* what a dead one leaves */
    bool never_refused;  /* probers and clearers have no reason to lock it, not even for a moment */
};

static void write_own_pid(int fd) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d\n", (int) getpid());

    (void) !ftruncate(fd, 0);
    (void) !pwrite(fd, text, (size_t) n, 0);
}

/* Takes the flock, and sees that the file is still the path's, as Open vSwitch does. */
static int take_flock(struct crowd *crowd, const char *path, int *ret_fd) {
    unsigned moves = atomic_load(&crowd->moves);
    struct stat by_fd, by_path;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        /* No other locker was there all the time: then it was somebody of the crowd. */
        bool alone = atomic_load(&crowd->inside) == 1 && atomic_load(&crowd->moves) == moves;

        atomic_fetch_add(alone ? &crowd->refused_by_others : &crowd->refused_by_lockers, 1);
        close(fd);
        return 0;
    }
    if (fstat(fd, &by_fd) < 0 || stat(path, &by_path) < 0 || !stat_same_inode(&by_fd, &by_path)) {
        close(fd);
        return 0;
    }
    *ret_fd = fd;
    return 1;
}

static int take_pidfile(struct crowd *crowd, int *ret_fd) {
    int r = take_flock(crowd, "x.pid", ret_fd);

    if (r > 0)
        write_own_pid(*ret_fd);
    return r;
}

static int take_plain(struct crowd *crowd, int *ret_fd) {
    return take_flock(crowd, "x.lock", ret_fd);
}

/* Its existence is the lock. Whoever finds one waits until somebody has cleared it. */
static int take_existence(struct crowd *crowd, int *ret_fd) {
    int fd = open("e.lock", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    (void) crowd;
    if (fd < 0)
        return 0;
    write_own_pid(fd);
    close(fd);
    *ret_fd = -EBADF;
    return 1;
}

static int take_symlink(struct crowd *crowd, int *ret_fd) {
    char host[LOCK_HOST_MAX] = "", target[LOCK_HOST_MAX + 16];

    (void) crowd;
    gethostname(host, sizeof host - 1);
    snprintf(target, sizeof target, "%s-%d", host, (int) getpid());
    *ret_fd = -EBADF;
    return symlink(target, "SingletonLock") == 0;
}

static const struct form forms[] = {
    {"x.pid", take_pidfile, 3000000, .clearable = true},
    {"x.lock", take_plain, 20000, .never_refused = true},
    {"e.lock", take_existence, 20000, .clearable = true},
    {"SingletonLock", take_symlink, 20000, .clearable = true},
};

static bool stands(const char *path, ino_t inode) {
    struct stat st;

    return lstat(path, &st) == 0 && st.st_ino == inode;
}

/* One locker's life, in a process of its own: most end without a word. */
static _Noreturn void live_as_locker(struct crowd *crowd, const struct form *form, unsigned number) {
    struct claim *claim = &crowd->claims[number];
    bool proper = random() % 4 == 0;
    struct stat st;
    int fd, r;

    atomic_fetch_add(&crowd->inside, 1);
    atomic_fetch_add(&crowd->moves, 1);
    r = form->take(crowd, &fd);
    if (r > 0) {
        if (lstat(form->path, &st) < 0)
            atomic_fetch_add(&crowd->lost, 1);
        else {
            atomic_store(&claim->inode, st.st_ino);
            atomic_store(&claim->pid, getpid());
            atomic_fetch_add(&claim->turn, 1);
            atomic_fetch_add(&crowd->taken, 1);
            for (int looks = (int) (random() % 20); looks >= 0; looks--) {
                usleep((useconds_t) (random() % 3000));
                if (!stands(form->path, st.st_ino))
                    atomic_fetch_add(&crowd->lost, 1);
            }
            atomic_fetch_add(&claim->turn, 1);
        }
        if (proper && form->clearable)
            unlink(form->path); /* while it is locked still, or nobody else's by its existence */
        else
            atomic_fetch_add(&crowd->died, 1);
    }
    /* Dead by the time that it counts as out: the kernel closes what it has open. */
    if (fd >= 0 && r > 0)
        close(fd);
    atomic_fetch_add(&crowd->moves, 1);
    atomic_fetch_sub(&crowd->inside, 1);
    _exit(0);
}

static pid_t fork_member(void) {
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        srandom((unsigned) getpid());
    }
    return pid;
}

static void begin_lockers(struct crowd *crowd, const struct form *form, unsigned number) {
    while (!atomic_load(&crowd->over)) {
        pid_t pid = fork_member();

        if (pid == 0)
            live_as_locker(crowd, form, number);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        usleep((useconds_t) ((unsigned) random() % form->pause_usec));
    }
}

static void clear_again_and_again(struct crowd *crowd, const struct form *form) {
    while (!atomic_load(&crowd->over)) {
        _cleanup_err_ struct err err = {0};
        int r = probe_and_clear(form->path, false, false, &err);

        atomic_fetch_add(r > 0                         ? &crowd->cleared
                         : r == -EBUSY                 ? &crowd->busy
                         : r == -ESTALE || r == -EPERM ? &crowd->changed
                         : r == 0                      ? &crowd->probes
                                                       : &crowd->wrong,
                         1);
        usleep((useconds_t) (random() % 20000));
    }
}

static void probe_again_and_again(struct crowd *crowd, const struct form *form, enum probe_effort effort) {
    struct probe_request request = {.path = form->path, .style = LOCK_STYLE_INVALID, .effort = effort};

    while (!atomic_load(&crowd->over)) {
        struct lock_facts *facts;

        if (lock_probe(&request, 1, &facts) < 0)
            atomic_fetch_add(&crowd->wrong, 1);
        else {
            atomic_fetch_add(&crowd->probes, 1);
            lock_facts_free_array(facts, 1);
        }
        usleep((useconds_t) (random() % 20000));
    }
}

/* `latchctl probe` and `latchctl clear` as people and scripts run them. */
static void command_again_and_again(struct crowd *crowd, const struct form *form, const char *latchctl,
                                    bool clears) {
    char path[128];

    snprintf(path, sizeof path, "./%s", form->path);
    while (!atomic_load(&crowd->over)) {
        pid_t pid = fork_member();
        int status;

        if (pid == 0) {
            int null = open("/dev/null", O_RDWR);

            dup2(null, STDOUT_FILENO);
            dup2(null, STDERR_FILENO);
            execl(latchctl, "latchctl", clears ? "clear" : "probe", path, NULL);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
            atomic_fetch_add(&crowd->wrong, 1);
        else
            atomic_fetch_add(&crowd->commands, 1);
        usleep((useconds_t) (random() % 50000));
    }
}

static void act(struct crowd *crowd, const struct form *form, unsigned member, const char *latchctl) {
    if (member < LOCKERS) {
        begin_lockers(crowd, form, member);
        return;
    }
    (void) !nice(5); /* the lockers shall come to something */
    if ((member -= LOCKERS) < COMMANDS && latchctl)
        command_again_and_again(crowd, form, latchctl, member % 2);
    else if (member < COMMANDS + PROBERS)
        probe_again_and_again(crowd, form, (enum probe_effort)(member % PROBE_EFFORT_MAX));
    else
        clear_again_and_again(crowd, form);
}

/* Whoever lives and has the lock has it at the path: looked at from outside, all the time. */
static void watch(struct crowd *crowd, const struct form *form) {
    for (unsigned i = 0; i < LOCKERS; i++) {
        struct claim *claim = &crowd->claims[i];
        unsigned turn = atomic_load(&claim->turn);
        ino_t inode = atomic_load(&claim->inode);
        bool there;

        if (turn % 2 == 0)
            continue;
        there = stands(form->path, inode);
        if (atomic_load(&claim->turn) != turn)
            continue;
        atomic_fetch_add(&crowd->looks, 1);
        if (!there)
            atomic_fetch_add(&crowd->lost, 1);
    }
}

static bool is_initial_namespace(void) {
    _cleanup_close_ int proc_fd = procfs_open();

    return proc_fd >= 0 && procfs_in_initial_pid_namespace(proc_fd);
}

/* The binary stands where `make check` runs; without it, its part is done in this program. */
static char build_dir[PATH_MAX];

static const char *find_latchctl(char path[static PATH_MAX + 16]) {
    snprintf(path, PATH_MAX + 16, "%s/latchctl", build_dir);
    return access(path, X_OK) == 0 ? path : NULL;
}

/* When everybody has gone, one more locker dies there: however busy the machine was, this is cleared. */
static void clear_alone(struct crowd *crowd, const struct form *form) {
    _cleanup_err_ struct err err = {0};
    struct stat st;
    pid_t pid;
    int fd, r;

    if (lstat(form->path, &st) == 0 && st.st_size == 0)
        unlink(form->path); /* it was killed before it had written its PID */
    pid = fork_member();
    if (pid == 0)
        _exit(form->take(crowd, &fd) < 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    r = probe_and_clear(form->path, false, false, &err);
    ck_assert_msg(r == 1, "%s: %d: %s", form->path, r, err_text(&err));
    ck_assert(!exists(form->path));
    atomic_fetch_add(&crowd->cleared, 1);
}

START_TEST(test_crowd) {
    const struct form *form = &forms[_i];
    struct crowd *crowd =
        mmap(NULL, sizeof *crowd, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t begin = now_usec(CLOCK_MONOTONIC), past = 0;
    char latchctl[PATH_MAX + 16];
    pid_t members[CROWD];

    ck_assert(crowd != MAP_FAILED);
    for (unsigned m = 0; m < CROWD; m++) {
        members[m] = fork_member();
        ck_assert_int_ge(members[m], 0);
        if (members[m] == 0) {
            act(crowd, form, m, find_latchctl(latchctl));
            _exit(0);
        }
    }
    while (past < CROWD_USEC ||
           (form->clearable && crowd->cleared < ENOUGH_CLEARED && past < PATIENCE_USEC)) {
        watch(crowd, form);
        usleep(200);
        past = now_usec(CLOCK_MONOTONIC) - begin;
    }
    atomic_store(&crowd->over, true);
    for (unsigned m = 0; m < CROWD; m++) /* on a busy machine their last look may take long */
        kill(members[m], SIGKILL);
    for (unsigned m = 0; m < CROWD; m++)
        ck_assert_int_eq(waitpid(members[m], NULL, 0), members[m]);
    printf("%s: %u taken, %u left behind, %u cleared; %u looks, %u lost; %u probes, %u commands, %u clears "
           "refused, %u came too late; locks refused: %u by lockers, %u by the crowd\n",
           form->path, crowd->taken, crowd->died, crowd->cleared, crowd->looks, crowd->lost, crowd->probes,
           crowd->commands, crowd->busy, crowd->changed, crowd->refused_by_lockers, crowd->refused_by_others);
    fflush(stdout);
    if (form->clearable)
        clear_alone(crowd, form);
    ck_assert_uint_eq(crowd->lost, 0);
    ck_assert_uint_eq(crowd->wrong, 0);
    ck_assert_uint_gt(crowd->taken, 0);
    if (form->clearable)
        ck_assert_uint_gt(crowd->cleared, 0);
    else
        ck_assert_uint_eq(crowd->cleared, 0);
    if (form->never_refused && is_initial_namespace())
        ck_assert_uint_eq(crowd->refused_by_others, 0);
    munmap(crowd, sizeof *crowd);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("crowd");
    TCase *tcase = tcase_create("crowd");

    if (!getcwd(build_dir, sizeof build_dir))
        return EXIT_FAILURE;
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_loop_test(tcase, test_crowd, 0, (int) ELEMENTSOF(forms));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
