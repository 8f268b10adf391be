/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "lock/clear.h"
#include "lock/probe.h"

#define RACE_USEC (1500 * USEC_PER_MSEC)

static char dir[] = "/tmp/test-clear.XXXXXX";

static void make_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

/* Each test has a directory of its own below. */
static void enter_dir(void) {
    char own[64];

    snprintf(own, sizeof own, "%s/XXXXXX", dir);
    ck_assert_ptr_nonnull(mkdtemp(own));
    ck_assert_int_eq(chdir(own), 0);
}

static void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void) !system(command);
}

/* A number that was a process's and is nobody's. */
static pid_t dead_pid(void) {
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return pid;
}

static void write_at(const char *path, int flags, pid_t pid) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    char text[16];

    if (fd < 0)
        return;
    snprintf(text, sizeof text, "%d\n", (int) pid);
    (void) !write(fd, text, strlen(text));
    close(fd);
}

static void write_pid(const char *path, pid_t pid) {
    write_at(path, O_CREAT | O_TRUNC, pid);
}

static pid_t read_pid(const char *path) {
    _cleanup_free_ char *text = NULL;

    return fd_read_file_at(AT_FDCWD, path, 64, &text, NULL) < 0 ? -1 : lock_parse_pid_content(text);
}

static bool exists(const char *path) {
    struct stat st;

    return lstat(path, &st) == 0;
}

static unsigned count_files(void) {
    DIR *stream = opendir(".");
    unsigned n = 0;

    while (readdir(stream))
        n++;
    closedir(stream);
    return n - 2;
}

static int bind_socket(const char *path, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 ||
        (backlog >= 0 && listen(fd, backlog) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void make_stale_socket(const char *path) {
    close(bind_socket(path, 5));
}

static struct lock_facts *probe(const char *path) {
    struct probe_request request = {.path = path, .style = LOCK_STYLE_INVALID};
    struct lock_facts *facts;

    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    return facts;
}

static int clear_judged(const struct lock_facts *facts, bool service_locked, bool dry_run, struct err *err) {
    struct clear_request request = {
        .facts = facts, .style = LOCK_STYLE_INVALID, .service_locked = service_locked, .dry_run = dry_run};

    return lock_clear(&request, err);
}

static int probe_and_clear(const char *path, bool service_locked, bool dry_run, struct err *err) {
    struct lock_facts *facts = probe(path);
    int r = clear_judged(facts, service_locked, dry_run, err);

    lock_facts_free_array(facts, 1);
    return r;
}

static void assert_refused(int r, int number, const char *name, const struct err *err) {
    ck_assert_msg(r == -number, "%d: %s", r, err_text(err));
    ck_assert_str_eq(err->name, name);
    ck_assert_ptr_null(strchr(err_text(err), '\n'));
}

/* ---- one at a time ---- */

START_TEST(test_stale) {
    _cleanup_err_ struct err err = {0};

    write_pid("x.pid", dead_pid());
    ck_assert_msg(probe_and_clear("x.pid", false, false, &err) == 1, "%s", err_text(&err));
    ck_assert_uint_eq(count_files(), 0);
    ck_assert_int_eq(probe_and_clear("x.pid", false, false, &err), 0); /* absent */
}
END_TEST

START_TEST(test_free) {
    _cleanup_err_ struct err err = {0};

    close(open("x.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ck_assert_int_eq(probe_and_clear("x.lock", false, false, &err), 0);
    ck_assert(exists("x.lock"));
}
END_TEST

START_TEST(test_dry_run) {
    _cleanup_err_ struct err err = {0};
    struct stat file, parent, file_after, parent_after;

    write_pid("x.pid", dead_pid());
    make_stale_socket("s");
    close(open("s.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    ck_assert(lstat("x.pid", &file) == 0 && lstat(".", &parent) == 0);
    ck_assert_int_eq(probe_and_clear("x.pid", false, true, &err), 1);
    ck_assert_int_eq(probe_and_clear("s", false, true, &err), 1);
    ck_assert(lstat("x.pid", &file_after) == 0 && lstat(".", &parent_after) == 0);
    ck_assert_int_eq(memcmp(&file.st_ctim, &file_after.st_ctim, sizeof file.st_ctim), 0);
    ck_assert_int_eq(memcmp(&parent.st_mtim, &parent_after.st_mtim, sizeof parent.st_mtim), 0);
    ck_assert_int_eq(memcmp(&parent.st_ctim, &parent_after.st_ctim, sizeof parent.st_ctim), 0);
    ck_assert(exists("s") && exists("s.lock"));
}
END_TEST

START_TEST(test_held) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int fd = -EBADF;

    write_pid("x.pid", getppid());
    assert_refused(probe_and_clear("x.pid", true, false, &err), EBUSY, "Held", &err);
    fd = open("x.lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    assert_refused(probe_and_clear("x.lock", true, false, &err), EBUSY, "Held", &err);
    close(open("empty.pid", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    assert_refused(probe_and_clear("empty.pid", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_int_eq(mkdir("x", 0755), 0);
    assert_refused(probe_and_clear("x", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_uint_eq(count_files(), 4);
}
END_TEST

/* Any file may begin with a number: only what is called a PID file or a lock goes. */
START_TEST(test_no_lock_by_name) {
    _cleanup_err_ struct err err = {0};

    write_pid("serial", dead_pid());
    assert_refused(probe_and_clear("serial", true, false, &err), EPERM, "NotClearable", &err);
    ck_assert_int_eq(rename("serial", "notes.txt"), 0);
    ck_assert_int_eq(truncate("notes.txt", 2), 0);
    write_at("notes.txt", O_APPEND, 5); /* "12" and "5" as two numbers would be a text */
    ck_assert(exists("notes.txt"));
    int fd = open("notes.txt", O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert_int_eq(fd_write_all(fd, "999999 bottles of beer\n", 23), 0);
    close(fd);
    ck_assert_int_eq(probe_and_clear("notes.txt", true, false, &err), 0); /* a file that nobody locks */
    ck_assert(exists("notes.txt"));
}
END_TEST

/* Between the judging and the acting: nothing that has changed goes. */
START_TEST(test_changed) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int fd = -EBADF;
    pid_t dead = dead_pid();
    struct lock_facts *facts;
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    write_pid("x.pid", dead);
    facts = probe("x.pid");
    switch (_i) {
    case 0: /* written anew */
        write_pid("x.pid", getpid());
        break;
    case 1: /* the same content, at another time */
        usleep(20000);
        write_pid("x.pid", dead);
        break;
    case 2: /* replaced by the same */
        write_pid("y.pid", dead);
        ck_assert_int_eq(rename("y.pid", "x.pid"), 0);
        break;
    case 3: /* emptied: somebody is about to write */
        ck_assert_int_eq(truncate("x.pid", 0), 0);
        break;
    case 4:
    case 5: /* locked */
        fd = open("x.pid", O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(_i == 4 ? flock(fd, LOCK_EX) : fcntl(fd, F_OFD_SETLK, &range), 0);
        break;
    case 6: /* open for writing, and not written yet */
        fd = open("x.pid", O_RDWR | O_CLOEXEC);
        break;
    default: /* something else */
        ck_assert_int_eq(unlink("x.pid"), 0);
        ck_assert_int_eq(mkdir("x.pid", 0755), 0);
    }
    if (_i == 6)
        assert_refused(clear_judged(facts, true, false, &err), EBUSY, "Held", &err);
    else
        assert_refused(clear_judged(facts, true, false, &err), ESTALE, "Changed", &err);
    lock_facts_free_array(facts, 1);
    ck_assert(exists("x.pid"));
    ck_assert_uint_eq(count_files(), 1);
}
END_TEST

START_TEST(test_socket) {
    _cleanup_err_ struct err err = {0};
    _cleanup_close_ int guard = -EBADF, fd = -EBADF;
    struct lock_facts *facts;

    make_stale_socket("s");
    assert_refused(probe_and_clear("s", false, false, &err), EPERM, "NotClearable", &err);
    ck_assert(exists("s"));
    ck_assert_int_eq(probe_and_clear("s", true, false, &err), 1); /* its service is ours */
    ck_assert_uint_eq(count_files(), 0);

    make_stale_socket("s");
    guard = open("s.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_eq(flock(guard, LOCK_EX), 0);
    assert_refused(probe_and_clear("s", true, false, &err), EBUSY, "Held", &err);
    ck_assert_int_eq(flock(guard, LOCK_UN), 0);
    ck_assert_int_eq(probe_and_clear("s", false, false, &err), 1);
    ck_assert(!exists("s") && exists("s.lock"));

    /* a lock by existence, whose owner lives */
    make_stale_socket("s");
    write_pid("s.lock", getppid());
    assert_refused(probe_and_clear("s", true, false, &err), EBUSY, "Held", &err);
    ck_assert(exists("s"));

    /* came to life */
    ck_assert_int_eq(unlink("s.lock"), 0);
    facts = probe("s");
    ck_assert_int_eq(unlink("s"), 0);
    fd = bind_socket("s", 5);
    assert_refused(clear_judged(facts, true, false, &err), ESTALE, "Changed", &err);
    lock_facts_free_array(facts, 1);
    ck_assert(exists("s"));
}
END_TEST

/* ---- races ---- */

struct score {
    unsigned rounds, lost, cleared, locked_out;
};

static struct score *share_score(void) {
    struct score *score =
        mmap(NULL, sizeof *score, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert(score != MAP_FAILED);
    return score;
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

/* The ways in which daemons come to their PID file. Returns the locked descriptor, or -1. */
static int take_over(unsigned how, pid_t own) {
    int fd;

    switch (how) {
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
static void wait_until_read(const char *path, unsigned times) {
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    unsigned seen = 0;

    if (inotify_add_watch(fd, path, IN_ACCESS) < 0)
        return;
    while (seen < times && poll(&poll_fd, 1, 100) > 0) {
        char events[1024];
        ssize_t n = read(fd, events, sizeof events);

        seen += n > 0 ? (unsigned) ((size_t) n / sizeof(struct inotify_event)) : 0;
    }
}

/* The PID of a dead daemon stands there; sooner or later one that lives takes over, and must keep what it
 * has. */
static void race_pidfile(struct score *score, unsigned how, pid_t dead) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + RACE_USEC;

    srandom(how);
    while (now_usec(CLOCK_MONOTONIC) < end) {
        int fd;

        write_pid("x.pid", dead);
        wait_until_read("x.pid", 1 + score->rounds % 4);
        fd = take_over(how, getpid());
        pause_random(4000);
        /* What is looked at while it is aside comes back at once. */
        for (int i = 0; i < 100 && read_pid("x.pid") != getpid(); i++)
            usleep(1000);
        if (read_pid("x.pid") != getpid())
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

START_TEST(test_race_pidfile) {
    struct score *score = share_score();
    pid_t dead = dead_pid(), racer = fork_racer();

    if (racer == 0) {
        race_pidfile(score, (unsigned) _i, dead);
        _exit(0);
    }
    while (waitpid(racer, NULL, WNOHANG) == 0)
        clear_in_a_loop("x.pid", score);
    ck_assert_msg(score->lost == 0, "%u of %u rounds lost a living PID file", score->lost, score->rounds);
    ck_assert_uint_gt(score->rounds, 10);
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
    pid_t cleaner = fork_cleaner("x.pid", &trap);

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

    write_pid("x.pid", dead_pid());
    seen = strike(_i % 2, how, &owner);
    if (seen < 0)
        return;
    ck_assert_int_gt(seen, _i % 2);
    for (int i = 0; i < 200 && read_pid("x.pid") != owner; i++)
        usleep(5000);
    ck_assert_msg(read_pid("x.pid") == owner, "how %u, before removal %d: %d, not %d", how, _i % 2,
                  (int) read_pid("x.pid"), (int) owner);
    ck_assert_uint_eq(count_files(), 1);
    kill(owner, SIGKILL);
}
END_TEST

/* Two cleaners on one dead file: one removes it, and neither a third one's fresh file. */
START_TEST(test_two_cleaners) {
    struct score *score = share_score();
    pid_t dead = dead_pid();

    for (unsigned round = 0; round < 20; round++) {
        pid_t cleaners[2];

        write_pid("x.pid", dead);
        score->cleared = 0;
        for (int i = 0; i < 2; i++) {
            cleaners[i] = fork_child();
            if (cleaners[i] == 0) {
                clear_in_a_loop("x.pid", score);
                _exit(0);
            }
        }
        for (int i = 0; i < 2; i++) {
            int status;

            ck_assert_int_eq(waitpid(cleaners[i], &status, 0), cleaners[i]);
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        ck_assert_uint_le(score->cleared, 1);
        ck_assert_int_eq(exists("x.pid"), score->cleared == 0); /* both may have kept each other off */
        ck_assert_uint_le(count_files(), 1);
    }
    munmap(score, sizeof *score);
}
END_TEST

/* A daemon that takes the guarding lock, replaces the socket, and dies, again and again. */
static void race_socket(struct score *score, bool guarded) {
    uint64_t end = now_usec(CLOCK_MONOTONIC) + RACE_USEC;
    int guard = guarded ? open("s.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;

    while (now_usec(CLOCK_MONOTONIC) < end) {
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
        pause_random(40000);
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
    ck_assert_uint_gt(score->rounds, 10);
    ck_assert_uint_gt(score->cleared, 0);
    munmap(score, sizeof *score);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clear");
    TCase *tcase = tcase_create("clear");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 30);
    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, enter_dir, NULL);
    tcase_add_test(tcase, test_stale);
    tcase_add_test(tcase, test_free);
    tcase_add_test(tcase, test_dry_run);
    tcase_add_test(tcase, test_held);
    tcase_add_test(tcase, test_no_lock_by_name);
    tcase_add_loop_test(tcase, test_changed, 0, 8);
    tcase_add_test(tcase, test_socket);
    tcase_add_loop_test(tcase, test_race_pidfile, 0, 5);
    tcase_add_loop_test(tcase, test_strike, 0, 10);
    tcase_add_test(tcase, test_two_cleaners);
    tcase_add_test(tcase, test_race_socket);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
