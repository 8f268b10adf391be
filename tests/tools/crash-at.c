/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a program and kills it (SIGKILL) right before one of its steps:
 *
 *     crash-at [--at N] [--call CALL] [--after FILE] [--behind] [--freeze-children] [--all] [--pid-file FILE]
 * --report FILE
 *              -- COMMAND [ARG...]
 *
 * A step is a system call that changes something outside the process; with --all every system call is one,
 * with
 * --call only those of that name are; with --after only those that it makes when FILE is there. The report
 * gets one line: "killed N CALL", or "ended N" when the program ended by itself after N steps, or "became N"
 * when it executed another program after N steps (that one is let go, and waited for; with --after it is
 * followed). Children are not followed. With --behind it is killed right behind step N. With
 * --freeze-children too; its children get a moment to come as far as they can by themselves, and are stopped
 * (SIGSTOP) before step N; a child that this step makes is stopped too. Exit status: 0 killed, else that of
 * the command. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

/* linux/ptrace.h and sys/ptrace.h cannot be included together: struct ptrace_syscall_info as the kernel fills
 * it. */
struct syscall_info {
    uint8_t op;
    uint8_t pad[3];
    uint32_t arch;
    uint64_t instruction_pointer, stack_pointer;
    uint64_t nr, args[6];
};
#define SYSCALL_INFO_ENTRY 1

/* What leaves no trace when its caller dies right behind it. */
static const long traceless[] = {
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_lseek,
    SYS_mmap,
    SYS_mprotect,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_getdents64,
    SYS_readlinkat,
    SYS_getrandom,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_signalfd4,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_ppoll,
    SYS_fcntl,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getpgid,
    SYS_getsid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_prctl,
    SYS_prlimit64,
    SYS_futex,
    SYS_set_tid_address,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_uname,
    SYS_sysinfo,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_socket,
    SYS_socketpair,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_getsockname,
    SYS_getpeername,
    SYS_pidfd_open,
    SYS_eventfd2,
    SYS_statfs,
    SYS_fstatfs,
    SYS_sched_getaffinity,
    SYS_capget,
    SYS_dup,
    SYS_dup3,
    SYS_close_range,
#ifdef SYS_open
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_poll,
    SYS_epoll_wait,
    SYS_dup2,
    SYS_arch_prctl,
    SYS_getrlimit,
#endif
};

static const struct {
    long number;
    const char *name;
} names[] = {
    {SYS_openat, "openat"},
    {SYS_close, "close"},
    {SYS_write, "write"},
    {SYS_flock, "flock"},
    {SYS_fchmod, "fchmod"},
    {SYS_fchmodat, "fchmodat"},
    {SYS_renameat, "renameat"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_bind, "bind"},
    {SYS_listen, "listen"},
    {SYS_connect, "connect"},
    {SYS_accept4, "accept4"},
    {SYS_sendto, "sendto"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_clone, "clone"},
    {SYS_clone3, "clone"},
    {SYS_waitid, "waitid"},
    {SYS_wait4, "wait4"},
    {SYS_execve, "execve"},
    {SYS_mkdirat, "mkdirat"},
    {SYS_setrlimit, "setrlimit"},
    {SYS_exit_group, "exit_group"},
    {SYS_pidfd_send_signal, "pidfd_send_signal"},
#ifdef SYS_open
    {SYS_open, "open"},
    {SYS_rename, "rename"},
    {SYS_unlink, "unlink"},
    {SYS_mkdir, "mkdir"},
#endif
};

static const char *name_of(long number, char buffer[static 32]) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(buffer, 32, "call-%ld", number);
    return buffer;
}

/* Closing lets go of a lock, or ends a conversation; else it is traceless. */
static bool close_tells(pid_t pid, int fd) {
    char path[64], target[512];
    ssize_t size;

    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int) pid, fd);
    size = readlink(path, target, sizeof target - 1);
    if (size < 0)
        return false;
    target[size] = '\0';
    return strncmp(target, "socket:", 7) == 0 || strstr(target, ".lock") != NULL;
}

static bool is_step(pid_t pid, const struct syscall_info *info) {
    long number = (long) info->nr;

    for (size_t i = 0; i < sizeof traceless / sizeof *traceless; i++)
        if (traceless[i] == number)
            return false;
    switch (number) {
    case SYS_openat:
        return (info->args[2] & (O_CREAT | O_TRUNC)) != 0;
    case SYS_write: /* messages are no steps */
    case SYS_writev:
        return info->args[0] > 2;
    case SYS_close:
        return close_tells(pid, (int) info->args[0]);
    default:
        return true;
    }
}

struct crash {
    pid_t pid;
    unsigned long at; /* 0: never */
    const char *call, *after;
    bool all, behind, freeze_children;
    unsigned long steps;
    unsigned executed;
    const char *report;
};

/* Whole or not at all, for whoever waits for it. */
__attribute__((format(printf, 2, 3))) static void write_file(const char *path, const char *format, ...) {
    char temporary[512];
    va_list ap;
    FILE *file;

    snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "we");
    if (!file)
        abort();
    va_start(ap, format);
    vfprintf(file, format, ap);
    va_end(ap);
    if (fclose(file) != 0 || rename(temporary, path) < 0)
        abort();
}

static void freeze_children(pid_t pid, useconds_t moment_usec) {
    char path[64];
    FILE *file;
    int child;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int) pid, (int) pid);
    file = fopen(path, "re");
    if (!file)
        abort();
    while (fscanf(file, "%d", &child) == 1) {
        (void) usleep(moment_usec);
        (void) kill(child, SIGSTOP);
    }
    (void) fclose(file);
}

/* Lets it make the call whose entry it stands at, up to the stop behind it. */
static void let_call(pid_t pid) {
    int status;

    if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) < 0 ||
        !WIFSTOPPED(status))
        abort();
}

/* True: it has been killed. */
static bool on_call(struct crash *crash) {
    struct syscall_info info;
    char buffer[32];

    if (ptrace(PTRACE_GET_SYSCALL_INFO, crash->pid, sizeof info, &info) < 0 || info.op != SYSCALL_INFO_ENTRY)
        return false;
    if (!crash->all && !is_step(crash->pid, &info))
        return false;
    if (crash->call && strcmp(crash->call, name_of((long) info.nr, buffer)) != 0)
        return false;
    if (crash->after && access(crash->after, F_OK) < 0)
        return false;
    if (++crash->steps != crash->at)
        return false;
    if (crash->freeze_children)
        freeze_children(crash->pid, 50000);
    if (crash->behind)
        let_call(crash->pid);
    if (crash->freeze_children)
        freeze_children(crash->pid, 0);
    /* A fatal signal that arrives in the stop at its entry keeps the call from being made (ptrace(2)). */
    (void) kill(crash->pid, SIGKILL);
    while (waitpid(crash->pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    write_file(crash->report, "killed %lu %s\n", crash->steps, name_of((long) info.nr, buffer));
    return true;
}

static int exit_status(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int follow(struct crash *crash) {
    for (;;) {
        long request = PTRACE_SYSCALL, signal = 0;
        int status;

        if (waitpid(crash->pid, &status, __WALL) < 0) {
            if (errno == EINTR)
                continue;
            return EXIT_FAILURE;
        }
        if (!WIFSTOPPED(status)) {
            if (crash->executed < 2 || crash->after)
                write_file(crash->report, "ended %lu\n", crash->steps);
            return exit_status(status);
        }
        if (status >> 16 == PTRACE_EVENT_EXEC) {
            if (++crash->executed == 2 && !crash->after) {
                write_file(crash->report, "became %lu\n", crash->steps);
                request = PTRACE_DETACH;
            }
        } else if (status >> 16 == PTRACE_EVENT_STOP) {
            if (WSTOPSIG(status) != SIGTRAP)
                request = PTRACE_LISTEN;
        } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            if (on_call(crash))
                return EXIT_SUCCESS;
        } else
            signal = WSTOPSIG(status);
        if (ptrace((enum __ptrace_request) request, crash->pid, NULL, signal) < 0 && errno != ESRCH)
            return EXIT_FAILURE;
    }
}

static int run(struct crash *crash, char *argv[], const char *pid_file) {
    int gate[2];
    char byte;

    if (pipe2(gate, O_CLOEXEC) < 0)
        return EXIT_FAILURE;
    crash->pid = fork();
    if (crash->pid < 0)
        return EXIT_FAILURE;
    if (crash->pid == 0) {
        (void) close(gate[1]);
        if (read(gate[0], &byte, 1) == 1)
            (void) execvp(argv[0], argv);
        _exit(127);
    }
    /* No PTRACE_O_TRACEFORK: children are not ours. No PTRACE_O_EXITKILL: our end is nobody's. */
    if (ptrace(PTRACE_SEIZE, crash->pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) < 0) {
        perror("crash-at: PTRACE_SEIZE");
        return 77;
    }
    if (pid_file)
        write_file(pid_file, "%d\n", (int) crash->pid);
    if (write(gate[1], "", 1) != 1)
        return EXIT_FAILURE;
    return follow(crash);
}

int main(int argc, char *argv[]) {
    static const struct option options[] = {{"at", required_argument, NULL, 'n'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"freeze-children", no_argument, NULL, 'f'},
                                            {"behind", no_argument, NULL, 'b'},
                                            {"call", required_argument, NULL, 'c'},
                                            {"pid-file", required_argument, NULL, 'p'},
                                            {"report", required_argument, NULL, 'r'},
                                            {"after", required_argument, NULL, 'w'},
                                            {0}};
    const char *pid_file = NULL;
    struct crash crash = {0};
    int c;

    while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
        switch (c) {
        case 'n':
            crash.at = strtoul(optarg, NULL, 10);
            break;
        case 'a':
            crash.all = true;
            break;
        case 'f':
            crash.freeze_children = crash.behind = true;
            break;
        case 'b':
            crash.behind = true;
            break;
        case 'c':
            crash.call = optarg;
            break;
        case 'w':
            crash.after = optarg;
            break;
        case 'p':
            pid_file = optarg;
            break;
        case 'r':
            crash.report = optarg;
            break;
        default:
            return 64;
        }
    if (!crash.report || optind == argc) {
        fputs("usage: crash-at [--at N] [--call CALL] [--after FILE] [--behind] [--freeze-children] [--all] "
              "[--pid-file FILE] "
              "--report FILE -- COMMAND [ARG...]\n",
              stderr);
        return 64;
    }
    return run(&crash, &argv[optind], pid_file);
}
