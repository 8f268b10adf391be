/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/value.h"
#include "clear-fixture.h"
#include "suite.h"

/* A race lasts so long, and on a busy machine until enough has happened. */
#define RACE_USEC (1500 * USEC_PER_MSEC)
#define RACE_MAX_USEC (20 * USEC_PER_SEC)
#define RACE_ROUNDS 11

struct score {
    unsigned rounds, lost, cleared, locked_out;
};

static struct score *share_score(void) {
    struct score *score =
        mmap(NULL, sizeof *score, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert(score != MAP_FAILED);
    return score;
}

static bool goes_on(const struct score *score, uint64_t begin_usec) {
    uint64_t passed = now_usec(CLOCK_MONOTONIC) - begin_usec;

    return passed < RACE_USEC ||
           (passed < RACE_MAX_USEC && (score->rounds < RACE_ROUNDS || score->cleared == 0));
}

/* How long the racer waits for the cleaner, which is slow where the processors are busy. */
static unsigned patience_msec(const struct score *score) {
    return score->cleared > 0 ? 60 : 1500;
}

static pid_t fork_child(void) {
    pid_t pid = fork();

    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void pause_random(unsigned most_usec) {
    usleep((useconds_t) ((unsigned) random() % most_usec + 1));
}

/* The ways in which daemons come to their PID file, or to their link. */
#define FIRST_LINK 5
#define HOW_MAX 7

static const char *path_of(unsigned how) {
    return how < FIRST_LINK ? "x.pid" : "SingletonLock";
}

static void leave(unsigned how, pid_t dead) {
    if (how < FIRST_LINK) {
        write_pid("x.pid", dead);
    } else {
        unlink("SingletonLock");
        write_link("SingletonLock", dead);
    }
}

static pid_t owner_of(unsigned how) {
    return how < FIRST_LINK ? read_pid("x.pid") : read_link("SingletonLock");
}

/* Returns the locked descriptor, or -1. */
static int take_over(unsigned how, pid_t own) {
    int fd;

    switch (how) {
    case FIRST_LINK: /* puts a new link in its place */
        write_link("new", own);
        rename("new", "SingletonLock");
        return -1;
    case FIRST_LINK + 1: /* removes and creates, as Chrome does */
        unlink("SingletonLock");
        write_link("SingletonLock", own);
        return -1;
    case 0: /* writes what is there, without any lock */
        write_pid("x.pid", own);
        return -1;
    case 1: /* puts a new one in its place */
        write_pid("new", own);
        rename("new", "x.pid");
        return -1;
    case 2: /* removes and creates */
        unlink("x.pid");
        write_at("x.pid", O_CREAT | O_EXCL, own);
        return -1;
    default: /* locks it and sees that it is still the path's, as the best do */
        for (;;) {
            struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
            struct stat by_fd, by_path;
            char text[16];

            fd = open("x.pid", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
            if (fd < 0 || (how == 3 ? flock(fd, LOCK_EX) : fcntl(fd, F_SETLKW, &range)) < 0)
                return fd;
            if (fstat(fd, &by_fd) == 0 && stat("x.pid", &by_path) == 0 && stat_same_inode(&by_fd, &by_path)) {
                snprintf(text, sizeof text, "%d\n", (int) own);
                (void) !ftruncate(fd, 0);
                (void) !write(fd, text, strlen(text));
                return fd;
            }
            close(fd);
        }
    }
}

/* Waits until somebody has read the file so many times, or for a while: the last reading is right before the
 * unlinking, and that is the moment to strike. */
static void wait_until_read(const char *path, unsigned times, unsigned patience) {
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    unsigned seen = 0;

    if (inotify_add_watch(fd, path, IN_ACCESS) < 0)
        return;
    while (seen < times && poll(&poll_fd, 1, (int) patience) > 0) {
        char events[1024];
        ssize_t n = read(fd, events, sizeof events);

        seen += n > 0 ? (unsigned) ((size_t) n / sizeof(struct inotify_event)) : 0;
    }
}

/* The PID of a dead daemon stands there; sooner or later one that lives takes over, and must keep what it
 * has. */
static void race_owner(struct score *score, unsigned how, pid_t dead) {
    uint64_t begin = now_usec(CLOCK_MONOTONIC);

    srandom(how);
    while (goes_on(score, begin)) {
        int fd;

        leave(how, dead);
        if (how < FIRST_LINK)
            wait_until_read("x.pid", 1 + score->rounds % 4, patience_msec(score));
        else
            pause_random(1000 * patience_msec(score)); /* reading a link is no event of inotify(7) */
        fd = take_over(how, getpid());
        pause_random(4000);
        /* What is looked at while it is aside comes back at once. */
        for (int i = 0; i < 100 && owner_of(how) != getpid(); i++)
            usleep(1000);
        if (owner_of(how) != getpid())
            score->lost++;
        score->rounds++;
        fd_close(fd);
    }
}

static void clear_in_a_loop(const char *path, struct score *score) {
    _cleanup_err_ struct err err = {0};
    int r = probe_and_clear(path, false, false, &err);

    if (r > 0)
        __atomic_fetch_add(&score->cleared, 1, __ATOMIC_RELAXED);
    else if (r == -EBUSY)
        __atomic_fetch_add(&score->locked_out, 1, __ATOMIC_RELAXED);
    else if (r < 0 && r != -ESTALE && r != -EPERM)
        ck_abort_msg("%s", err_text(&err));
}

/* On one processor, and the cleaner idle: then the racer that waits for something strikes in the cleaner's
 * midst. */
static pid_t fork_racer(void) {
    struct sched_param idle = {0};
    cpu_set_t one;
    pid_t racer;

    CPU_ZERO(&one);
    CPU_SET((unsigned) sched_getcpu(), &one);
    (void) sched_setaffinity(0, sizeof one, &one);
    racer = fork_child();
    if (racer > 0)
        (void) sched_setscheduler(0, SCHED_IDLE, &idle);
    return racer;
}

START_TEST(test_race_owner) {
    struct score *score = share_score();
    pid_t dead = dead_pid(), racer = fork_racer();

    if (racer == 0) {
        race_owner(score, (unsigned) _i, dead);
        _exit(0);
    }
    while (waitpid(racer, NULL, WNOHANG) == 0)
        clear_in_a_loop(path_of((unsigned) _i), score);
    ck_assert_msg(score->lost == 0, "%u of %u rounds lost what a living owner had", score->lost,
                  score->rounds);
    ck_assert_uint_ge(score->rounds, RACE_ROUNDS);
    if (score->cleared == 0) { /* on a busy machine the idle cleaner may always have come too late */
        leave((unsigned) _i, dead);
        clear_in_a_loop(path_of((unsigned) _i), score);
    }
    ck_assert_uint_gt(score->cleared, 0);
    munmap(score, sizeof *score);
}
END_TEST

/* ---- at the very moment ---- */

/* From here on the kernel asks whoever has the returned descriptor before it removes or renames anything for
 * us. */
static int trap_removals(void) {
    static const int numbers[] = {__NR_unlinkat, __NR_renameat2};
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) numbers[0], 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) numbers[1], 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = {ELEMENTSOF(filter), filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static pid_t fork_cleaner(const char *path, int *ret_trap) {
    _cleanup_close_ int pidfd = -EBADF;
    int pipe_fds[2], trap = -1;
    pid_t pid;

    ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid = fork_child();
    if (pid == 0) {
        trap = trap_removals();
        (void) !write(pipe_fds[1], &trap, sizeof trap);
        _exit(probe_and_clear(path, true, false, NULL) == 1 ? 0 : 1);
    }
    close(pipe_fds[1]);
    ck_assert_int_eq(read(pipe_fds[0], &trap, sizeof trap), sizeof trap);
    close(pipe_fds[0]);
    pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
    *ret_trap = trap < 0 ? -1 : (int) syscall(SYS_pidfd_getfd, pidfd, trap, 0);
    return pid;
}

/* Runs the cleaner; right before its removal number `when`, takes over in one of the ways of take_over().
 * Returns the number of removals and renames there were. */
static int strike(int when, unsigned how, pid_t *ret_owner) {
    int trap, seen = 0;
    pid_t cleaner = fork_cleaner(path_of(how), &trap);

    if (trap < 0) { /* this kernel, or a container, has no such filters */
        waitpid(cleaner, NULL, 0);
        return -1;
    }
    for (;;) {
        struct pollfd poll_fd = {.fd = trap, .events = POLLIN};
        struct seccomp_notif request = {0};
        struct seccomp_notif_resp response = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

        if (poll(&poll_fd, 1, 5000) <= 0 || !(poll_fd.revents & POLLIN) ||
            ioctl(trap, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
            break;
        if (seen++ == when) {
            *ret_owner = fork_child();
            if (*ret_owner == 0) {
                (void) take_over(how, getpid());
                for (;;)
                    pause();
            }
            usleep(30000); /* it has taken over, or waits for the lock or the lease */
        }
        response.id = request.id;
        if (ioctl(trap, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0)
            break;
    }
    close(trap);
    waitpid(cleaner, NULL, 0);
    return seen;
}

START_TEST(test_strike) {
    unsigned how = (unsigned) _i / 2;
    pid_t owner = 0;
    int seen;

    leave(how, dead_pid());
    seen = strike(_i % 2, how, &owner);
    if (seen < 0)
        return;
    ck_assert_int_gt(seen, _i % 2);
    for (int i = 0; i < 200 && owner_of(how) != owner; i++)
        usleep(5000);
    ck_assert_msg(owner_of(how) == owner, "how %u, before removal %d: %d, not %d", how, _i % 2,
                  (int) owner_of(how), (int) owner);
    ck_assert_uint_eq(count_files(), 1);
    kill(owner, SIGKILL);
}
END_TEST

/* Two cleaners on one dead file: one removes it, and neither a third one's fresh file. */
START_TEST(test_two_cleaners) {
    unsigned how = _i == 0 ? 0 : FIRST_LINK;
    struct score *score = share_score();
    pid_t dead = dead_pid();

    for (unsigned round = 0; round < 20; round++) {
        pid_t cleaners[2];

        leave(how, dead);
        score->cleared = 0;
        for (int i = 0; i < 2; i++) {
            cleaners[i] = fork_child();
            if (cleaners[i] == 0) {
                clear_in_a_loop(path_of(how), score);
                _exit(0);
            }
        }
        for (int i = 0; i < 2; i++) {
            int status;

            ck_assert_int_eq(waitpid(cleaners[i], &status, 0), cleaners[i]);
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        ck_assert_uint_le(score->cleared, 1);
        ck_assert_int_eq(exists(path_of(how)), score->cleared == 0); /* both may have kept each other off */
        ck_assert_uint_le(count_files(), 1);
    }
    munmap(score, sizeof *score);
}
END_TEST

/* A daemon that takes the guarding lock, replaces the socket, and dies, again and again. */
static void race_socket(struct score *score, bool guarded) {
    uint64_t begin = now_usec(CLOCK_MONOTONIC);
    int guard = guarded ? open("s.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;

    while (goes_on(score, begin)) {
        struct stat st;
        int fd;

        if (guarded && flock(guard, LOCK_EX | LOCK_NB) < 0) {
            usleep(100); /* latchd has it just now; a daemon would end here and be started again */
            continue;
        }
        unlink("s");
        fd = bind_socket("s", 5);
        pause_random(4000);
        for (int i = 0; i < 100 && stat("s", &st) < 0; i++)
            usleep(1000);
        if (stat("s", &st) < 0)
            score->lost++;
        score->rounds++;
        fd_close(fd);
        if (guarded)
            flock(guard, LOCK_UN);
        pause_random(1000 * patience_msec(score));
    }
}

START_TEST(test_race_socket) {
    struct score *score = share_score();
    pid_t racer = fork_racer();

    if (racer == 0) {
        race_socket(score, true);
        _exit(0);
    }
    while (waitpid(racer, NULL, WNOHANG) == 0)
        clear_in_a_loop("s", score);
    ck_assert_msg(score->lost == 0, "%u of %u rounds lost a living socket", score->lost, score->rounds);
    ck_assert_uint_ge(score->rounds, RACE_ROUNDS);
    ck_assert_uint_gt(score->cleared, 0);
    munmap(score, sizeof *score);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clear-race");
    TCase *tcase = tcase_create("clear-race");

    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_loop_test(tcase, test_race_owner, 0, HOW_MAX);
    tcase_add_loop_test(tcase, test_strike, 0, 2 * HOW_MAX);
    tcase_add_loop_test(tcase, test_two_cleaners, 0, 2);
    tcase_add_test(tcase, test_race_socket);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
