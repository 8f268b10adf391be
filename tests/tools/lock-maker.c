/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* clang-format off */
/* Makes locks, PID files and sockets of any kind, and keeps them as they are until its standard input closes.
 *
 *     lock-maker STEP...
 *
 * A first process carries out the steps, one after another; some of them make another process go on. When the
 * last step is done, the pids that were named stand on stdout as one line of JSON, {"locker": 812,
 * "lockerInside": 3}: as lock-maker sees them, and as they see themselves. Whatever lives then stays; at the
 * end all of it is killed.
 *
 *   name=WORD          the process has this name in the output
 *   open=PATH          opens, and creates, a file: the file of the next steps
 *   flock posix ofd flock-shared posix-shared ofd-shared unlock
 *                      lock it, unlock it (flock)
 *   wait=HOW           a helper, called "waiter", waits for that lock (HOW as above) through a description of
 *                      its own
 *   write=TEXT         replaces its content; %p is the own pid, %t the thread's, %h that of the last helper
 *   close mmap ring    closes it; maps it; registers it with a new ring of io_uring
 *   unlink rename=PATH the file, or the socket
 *   socket=PATH        binds a socket; listen=BACKLOG; fill=N connects N clients that nobody accepts
 *   abstract=NAME      binds one to an abstract name
 *   type=TYPE          of sockets to come: stream, dgram or seqpacket
 *   accept             connects a client and accepts it; close-socket closes the socket itself
 *   chroot=DIR         has that root directory; cover=DIR (after unshare=mount) sees a new DIR.own in its place
 *   fork               a child goes on, the parent waits for it to end
 *   fork-die           a child goes on, the parent is dead
 *   child STEP... end  a child does these steps and ends, and is reaped; then the process itself goes on
 *   helper STEP... end a child does these steps and stays; then the process itself goes on
 *   zombie             a child that is dead and stays unreaped; it is the last helper
 *   recycle            a new child has the number of the last helper, which is dead (in a PID namespace of its
 *                      own)
 *   thread             a thread goes on, the main one waits; own-table gives the thread descriptors of its own
 *   thread-die         a thread goes on, and the main thread is dead: the process looks like a zombie
 *   pair pair=TYPE     a socket pair: stream, dgram or seqpacket
 *   connect            one end of the pair is connected to the socket, which has not accepted it
 *   text=N             N bytes are sent into the pair
 *   send receive       the file is sent into it; it is received from it
 *   send-pair          the receiving end of the pair is sent into a new pair, and closed
 *   join=CGROUP        joins the cgroup of that directory
 *   setuid=UID setsid setpgid stop unshare=pid|mount|net
 *   exec=PROGRAM       with the argument 1000
 */
/* clang-format on */

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock-maker-sockets.h"

static void report(const struct maker *maker, const char *name) {
    char line[64];
    int n = snprintf(line, sizeof line, "%s %d", name, (int) getpid());

    must(send(maker->report, line, (size_t) n, 0) == n, "report");
}

static void stay(void) {
    for (;;)
        pause();
}

/* From here on nothing more is done. */
static void settle(const struct maker *maker) {
    if (maker->done < 0)
        report(maker, "");
    else {
        must(write(maker->done, "", 1) == 1, "done");
        close(maker->done);
    }
}

static void lock_file(struct maker *maker, const char *how) {
    bool shared = strstr(how, "-shared") != NULL;
    struct flock range = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    if (strncmp(how, "flock", 5) == 0)
        must(flock(maker->file, shared ? LOCK_SH : LOCK_EX) == 0, how);
    else
        must(fcntl(maker->file, how[0] == 'o' ? F_OFD_SETLK : F_SETLK, &range) == 0, how);
}

static void write_file(struct maker *maker, const char *text) {
    must(ftruncate(maker->file, 0) == 0 && lseek(maker->file, 0, SEEK_SET) == 0, "truncate");
    for (; *text; text++) {
        int number = 0;

        if (*text == '%') {
            text++;
            number = *text == 't' ? gettid() : *text == 'h' ? (int) maker->helper : (int) getpid();
        }
        must((number ? dprintf(maker->file, "%d", number) : dprintf(maker->file, "%c", *text)) > 0, "write");
    }
    must(dprintf(maker->file, "\n") == 1, "write");
}

static char **behind_end(char **steps) {
    int depth = 1;

    for (; *steps; steps++) {
        if (strcmp(*steps, "child") == 0 || strcmp(*steps, "helper") == 0)
            depth++;
        if (strcmp(*steps, "end") == 0 && --depth == 0)
            return steps + 1;
    }
    errno = EINVAL;
    die("a step `end` is missing");
    return NULL;
}

/* A child goes on with the steps up to `end`; we wait for its end, or until it stays. */
static void run_aside(struct maker *maker, bool stays) {
    int done[2];
    char byte;

    must(pipe2(done, O_CLOEXEC) == 0, "pipe");
    maker->helper = fork();
    must(maker->helper >= 0, "fork");
    if (maker->helper == 0) {
        close(done[0]);
        maker->ends = !stays;
        maker->done = done[1];
        return;
    }
    close(done[1]);
    must(read(done[0], &byte, 1) == stays, "the child's end");
    close(done[0]);
    if (!stays)
        must(waitpid(maker->helper, NULL, 0) == maker->helper, "wait");
    maker->steps = behind_end(maker->steps);
}

static void fork_and_die(void) {
    pid_t parent = getpid(), child = fork();

    must(child >= 0, "fork");
    if (child > 0)
        _exit(EXIT_SUCCESS);
    while (getppid() == parent)
        usleep(1000);
}

/* The number of the last helper must be free: it is dead, and we reap it. */
static void recycle(struct maker *maker) {
    int fd, n;
    char text[16];
    pid_t pid;

    must(waitpid(maker->helper, NULL, 0) == maker->helper, "wait for the helper's end");
    fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    n = snprintf(text, sizeof text, "%d", (int) maker->helper - 1);
    must(fd >= 0 && write(fd, text, (size_t) n) == n, "ns_last_pid");
    close(fd);
    pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        report(maker, "innocent");
        close_range(3, ~0U, 0); /* it has nothing of ours */
        execl("/bin/sleep", "innocent", "1000", NULL);
        _exit(EXIT_FAILURE);
    }
    errno = EAGAIN;
    must(pid == maker->helper, "another process got the number");
    usleep(50000); /* until it is /bin/sleep */
}

static void register_with_ring(const struct maker *maker) {
    struct io_uring_params params = {0};
    int files[] = {-1, maker->file};
    int ring = (int) syscall(SYS_io_uring_setup, 4, &params);

    must(ring >= 0 && syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, files, 2) == 0, "ring");
}

static void join_cgroup(const char *directory) {
    int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int procs = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);

    must(procs >= 0 && write(procs, "0", 1) == 1 && close(procs) == 0 && close(dir) == 0, directory);
}

/* Sleeps in the kernel until it gets the lock. That it sleeps there shows in /proc/locks; it is given time to
 * get there. */
static void wait_for_lock(struct maker *maker, const char *how) {
    bool shared = strstr(how, "-shared") != NULL;
    struct flock range = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    int ready[2], fd;
    char byte;

    must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
    maker->helper = fork();
    must(maker->helper >= 0, "fork");
    if (maker->helper > 0) {
        close(ready[1]);
        must(read(ready[0], &byte, 1) == 1, "the waiter");
        close(ready[0]);
        usleep(50000);
        return;
    }
    report(maker, "waiter");
    close(maker->file); /* it is to have nothing of the holder's description */
    fd = open(maker->path, O_RDWR | O_CLOEXEC);
    must(fd >= 0 && write(ready[1], "", 1) == 1, "waiter");
    if (how[0] == 'f')
        (void) flock(fd, shared ? LOCK_SH : LOCK_EX);
    else
        (void) fcntl(fd, how[0] == 'o' ? F_OFD_SETLKW : F_SETLKW, &range);
    stay();
}

static void run(struct maker *maker);

static void *run_in_thread(void *data) {
    struct maker *maker = data;

    if (*maker->steps && strcmp(*maker->steps, "own-table") == 0) {
        must(unshare(CLONE_FILES) == 0, "unshare");
        maker->steps++;
    }
    run(maker);
    return NULL;
}

static void go_on_in_thread(struct maker *maker, bool dies) {
    pthread_t thread;

    must(pthread_create(&thread, NULL, run_in_thread, maker) == 0, "thread");
    if (dies)
        pthread_exit(NULL);
    stay();
}

static void unshare_one(const char *what) {
    int flag = what[0] == 'p' ? CLONE_NEWPID : what[0] == 'm' ? CLONE_NEWNS : CLONE_NEWNET;

    must(unshare(flag) == 0, what);
    if (flag == CLONE_NEWNS)
        must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private");
}

/* DIR.own is seen in the place of DIR. */
static void cover(const char *dir) {
    char own[4096];

    must(snprintf(own, sizeof own, "%s.own", dir) < (int) sizeof own && mkdir(own, 0755) == 0 &&
             mount(own, dir, NULL, MS_BIND, NULL) == 0,
         dir);
}

static void do_file_step(struct maker *maker, const char *step, char *value) {
    if (strcmp(step, "open") == 0) {
        maker->file = open(value, O_RDWR | O_CREAT, 0644);
        maker->path = value;
        must(maker->file >= 0, value);
    } else if (strncmp(step, "flock", 5) == 0 || strncmp(step, "posix", 5) == 0 ||
               strncmp(step, "ofd", 3) == 0)
        lock_file(maker, step);
    else if (strcmp(step, "unlock") == 0)
        must(flock(maker->file, LOCK_UN) == 0, step);
    else if (strcmp(step, "write") == 0)
        write_file(maker, value);
    else if (strcmp(step, "close") == 0)
        must(close(maker->file) == 0, step);
    else if (strcmp(step, "unlink") == 0)
        must(unlink(maker->path) == 0, step);
    else if (strcmp(step, "rename") == 0)
        must(rename(maker->path, value) == 0, step);
    else if (strcmp(step, "mmap") == 0)
        must(ftruncate(maker->file, 4096) == 0 &&
                 mmap(NULL, 4096, PROT_READ, MAP_SHARED, maker->file, 0) != MAP_FAILED,
             step);
    else if (strcmp(step, "ring") == 0)
        register_with_ring(maker);
    else if (strcmp(step, "wait") == 0)
        wait_for_lock(maker, value);
    else {
        errno = EINVAL;
        die(step);
    }
}

static bool do_process_step(struct maker *maker, const char *step, const char *value) {
    if (strcmp(step, "fork") == 0) {
        pid_t child = fork();

        must(child >= 0, step);
        if (child > 0) {
            waitpid(child, NULL, 0);
            _exit(EXIT_SUCCESS);
        }
    } else if (strcmp(step, "fork-die") == 0)
        fork_and_die();
    else if (strcmp(step, "child") == 0)
        run_aside(maker, false);
    else if (strcmp(step, "helper") == 0)
        run_aside(maker, true);
    else if (strcmp(step, "end") == 0) {
        if (maker->ends)
            _exit(EXIT_SUCCESS);
        settle(maker);
        stay();
    } else if (strcmp(step, "zombie") == 0) {
        maker->helper = fork();
        if (maker->helper == 0)
            _exit(EXIT_SUCCESS);
        must(waitid(P_PID, (id_t) maker->helper, NULL, WEXITED | WNOWAIT) == 0, step);
    } else if (strcmp(step, "recycle") == 0)
        recycle(maker);
    else if (strcmp(step, "thread") == 0 || strcmp(step, "thread-die") == 0)
        go_on_in_thread(maker, step[6]);
    else if (strcmp(step, "setuid") == 0)
        must(setresgid((gid_t) atoi(value), (gid_t) atoi(value), (gid_t) atoi(value)) == 0 &&
                 setresuid((uid_t) atoi(value), (uid_t) atoi(value), (uid_t) atoi(value)) == 0,
             step);
    else if (strcmp(step, "setsid") == 0)
        must(setsid() >= 0, step);
    else if (strcmp(step, "setpgid") == 0)
        must(setpgid(0, 0) == 0, step);
    else if (strcmp(step, "unshare") == 0)
        unshare_one(value);
    else if (strcmp(step, "cover") == 0)
        cover(value);
    else if (strcmp(step, "chroot") == 0)
        must(chroot(value) == 0 && chdir("/") == 0, step);
    else if (strcmp(step, "join") == 0)
        join_cgroup(value);
    else
        return false;
    return true;
}

static void do_step(struct maker *maker, char *step, char *value) {
    if (strcmp(step, "name") == 0)
        report(maker, value);
    else if (strcmp(step, "stop") == 0) {
        settle(maker); /* afterwards nobody could */
        raise(SIGSTOP);
        stay();
    } else if (strcmp(step, "exec") == 0) {
        settle(maker);
        execl(value, value, "1000", NULL);
        die(value);
    } else if (!do_socket_step(maker, step, value) && !do_pair_step(maker, step, value) &&
               !do_process_step(maker, step, value))
        do_file_step(maker, step, value);
}

static void run(struct maker *maker) {
    while (*maker->steps) {
        char *step = *maker->steps++, *value = strchr(step, '=');

        if (value)
            *value++ = '\0';
        do_step(maker, step, value ? value : step + strlen(step));
    }
    settle(maker);
    stay();
}

/* Everything below us is killed: as a subreaper we get whatever loses its parent. */
static void kill_all(void) {
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int) getpid());
    for (;;) {
        FILE *file = fopen(path, "re");
        bool any = false;
        int pid;

        while (file && fscanf(file, "%d", &pid) == 1) {
            kill(pid, SIGKILL);
            any = true;
        }
        if (file)
            fclose(file);
        if (!any)
            return;
        usleep(1000);
    }
}

/* Reads names until the steps are done. The kernel says who sent each, by the number that we know it by. */
static int collect(int from) {
    bool first = true;

    printf("{");
    for (;;) {
        char line[64];
        struct iovec iov = {line, sizeof line - 1};
        union {
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
            struct cmsghdr align;
        } control;
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        struct ucred sender;
        ssize_t n = recvmsg(from, &message, 0);
        char *blank;

        if (n <= 0 || !CMSG_FIRSTHDR(&message)) {
            fprintf(stderr, "lock-maker: a step failed\n");
            return EXIT_FAILURE;
        }
        line[n] = '\0';
        blank = strchr(line, ' ');
        *blank++ = '\0';
        if (!*line)
            break;
        memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
        printf("%s\"%s\": %d, \"%sInside\": %s", first ? "" : ", ", line, (int) sender.pid, line, blank);
        first = false;
    }
    printf("}\n");
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void start(char **steps, int report_to) {
    struct maker maker = {
        .steps = steps, .file = -1, .socket = -1, .type = SOCK_STREAM, .report = report_to, .done = -1};

    must(signal(SIGCHLD, SIG_DFL) != SIG_ERR, "SIGCHLD");
    close(STDIN_FILENO);
    must(open("/dev/null", O_RDWR) == STDIN_FILENO && dup2(STDIN_FILENO, STDOUT_FILENO) == STDOUT_FILENO,
         "/dev/null");
    run(&maker);
}

int main(int argc, char *argv[]) {
    int report_to[2], yes = 1, code;
    pid_t first;
    char byte;

    must(argc > 1, "usage: lock-maker STEP...");
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "subreaper");
    must(signal(SIGCHLD, SIG_IGN) != SIG_ERR, "SIGCHLD"); /* the dead are reaped at once */
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report_to) == 0, "socketpair");
    must(setsockopt(report_to[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0, "SO_PASSCRED");
    first = fork();
    must(first >= 0, "fork");
    if (first == 0) {
        close(report_to[0]);
        start(argv + 1, report_to[1]);
    }
    close(report_to[1]);
    code = collect(report_to[0]);
    if (code == EXIT_SUCCESS)
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
    kill_all();
    return code;
}
