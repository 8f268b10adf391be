/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "exec/system-call.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if SYSTEM_CALL_IS_BARE && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ &&                  \
    !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer) &&                                 \
    !__has_feature(memory_sanitizer)
#define CAN_SHARE 1
#else
#define CAN_SHARE 0
#endif

/* exec_child() and its steps need some hundred bytes; signals are blocked or have no handlers. */
#define STACK_BYTES 16384
#define FIRST_FD 3          /* those below are everybody's */
#define MANY_DESCRIPTORS 64 /* from here on a copy of what is needed is cheaper than one of all */
#define PATIENCE_MSEC 200   /* a child takes some microseconds */
#define LOOKS 20
#define GUARD_BYTES 65536 /* a page, whatever its size is here */

bool birth_may_share(const struct exec_plan *plan) {
    const struct credentials *credentials = plan->credentials;

    return CAN_SHARE && !plan->set_oom_score_adjust && plan->n_pass_fds <= EXEC_SHARED_FDS_MAX &&
           (!credentials || (!credentials->set_groups && !credentials->set_gid && !credentials->set_uid &&
                             !credentials->set_capabilities));
}

#if CAN_SHARE

/* One is kept for the next birth: a page that the kernel has to find anew costs more than all the child's
 * steps. */
static char *spare_stack;

static char *take_stack(void) {
    char *stack = spare_stack;

    spare_stack = NULL;
    if (stack)
        return stack;
    stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return NULL;
    if (mprotect(stack + GUARD_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE) < 0) {
        int saved = errno;

        (void) munmap(stack, GUARD_BYTES + STACK_BYTES);
        errno = saved;
        return NULL;
    }
    return stack;
}

struct child {
    const struct exec_plan *plan;
    struct exec_handles handles;
    int apart, gate;
};

static struct child *child_on(void *stack) {
    return (struct child *) (void *) ((char *) stack + GUARD_BYTES + STACK_BYTES - sizeof(struct child));
}

static _Noreturn __attribute__((used)) void child_main(struct child *child) {
    exec_child(child->plan, &child->handles);
}

/* Low numbers for what a child needs, so that its copy of our table is short. They are kept, parked on
 * /dev/null, from one birth to the next. One child at a time: `user` is the stack of the one that may look at
 * them, NULL once it is known to be apart. */
static struct {
    bool made;
    int parked_fd, fds[3];
    void *user;
} low = {.parked_fd = -EBADF, .fds = {-EBADF, -EBADF, -EBADF}};

static int make_low(void) {
    if (low.made)
        return 0;
    low.parked_fd = open("/dev/null", O_PATH | O_CLOEXEC);
    if (low.parked_fd < 0)
        return -errno;
    for (size_t i = 0; i < ELEMENTSOF(low.fds); i++) {
        low.fds[i] = fcntl(low.parked_fd, F_DUPFD_CLOEXEC, FIRST_FD);
        if (low.fds[i] < 0)
            return -errno;
    }
    low.made = true;
    return 0;
}

void birth_reserve(void) {
    (void) make_low(); /* else the first birth tries again */
}

static void park(void) {
    for (size_t i = 0; i < ELEMENTSOF(low.fds); i++)
        (void) dup3(low.parked_fd, low.fds[i], O_CLOEXEC);
    low.user = NULL;
}

void birth_free_stack(void *stack) {
    if (stack && low.user == stack) /* it has gone without a word that it was apart */
        park();
    if (stack && !spare_stack)
        spare_stack = stack;
    else if (stack)
        (void) munmap(stack, GUARD_BYTES + STACK_BYTES);
}

/* Puts them there for the child; without success it gets a copy of the whole table. */
static bool lay_low(const struct exec_plan *plan, int channel_fd, void *stack, struct exec_handles *ret) {
    const int wanted[] = {channel_fd, plan->stdout_fd, plan->stderr_fd};
    int *const placed[] = {&ret->channel_fd, &ret->stdout_fd, &ret->stderr_fd};

    if (channel_fd < MANY_DESCRIPTORS || plan->n_pass_fds > 0 || low.user || make_low() < 0)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
        if (wanted[i] >= FIRST_FD) {
            if (dup3(wanted[i], low.fds[i], O_CLOEXEC) < 0) {
                park();
                return false;
            }
            *placed[i] = low.fds[i];
        }
    low.user = stack;
    return true;
}

static bool has_ended(pid_t pid) {
    siginfo_t info = {0};

    return waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == pid;
}

void birth_open_gate(void *stack) {
    struct child *child = child_on(stack);

    __atomic_store_n(&child->gate, 1, __ATOMIC_RELEASE);
    if (child->handles.gate) /* it may be waiting for this very processor, and what we do next can wait */
        (void) sched_yield();
}

int birth_part(void *stack, pid_t pid) {
    static const struct timespec a_look = {.tv_nsec = PATIENCE_MSEC / LOOKS * 1000000L};
    struct child *child = child_on(stack);

    if (low.user != stack)
        return 0;
    for (int looks = 0; __atomic_load_n(&child->apart, __ATOMIC_ACQUIRE) == 0; looks++) {
        if (looks == LOOKS)
            return -ETIMEDOUT;
        if (looks > 0 && has_ended(pid)) {
            park();
            return -ESRCH;
        }
        (void) syscall(SYS_futex, &child->apart, FUTEX_WAIT, 0, &a_look, NULL, 0);
    }
    park();
    return 0;
}

/* clone3(2) into child_main() on the stack of the arguments. There is no wrapper in glibc for it, and the
 * child cannot return into a frame of ours. Returns the PID or -errno. */
static long clone_onto_stack(struct clone_args *arguments, struct child *child) {
#ifdef __x86_64__
    long result;

    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movq %[child], %%rdi\n\t"
                     "movq %[main], %%rax\n\t"
                     "xorl %%ebp, %%ebp\n\t" /* the outermost frame (the x86-64 psABI, 3.4.1) */
                     "call *%%rax\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long) SYS_clone3), "D"(arguments),
                       "S"(sizeof *arguments), [child] "r"(child), [main] "r"(child_main)
                     : "rcx", "r11", "cc", "memory");
    return result;
#else
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long) arguments;
    register long x1 __asm__("x1") = (long) sizeof *arguments;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, %[child]\n\t"
                     "blr %[main]\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), [child] "r"(child), [main] "r"(child_main)
                     : "x30", "cc", "memory");
    return x0;
#endif
}

static int share(const struct exec_plan *plan, int channel_fd, uint64_t into, struct birth *ret) {
    char *stack = take_stack();
    struct clone_args arguments = {.flags = CLONE_VM | CLONE_PIDFD | into,
                                   .exit_signal = SIGCHLD,
                                   .stack = (uint64_t) (uintptr_t) (stack + GUARD_BYTES),
                                   .cgroup = into ? (uint64_t) plan->cgroup_fd : 0};
    int pidfd = -EBADF;
    struct child *child;
    long pid;

    if (!stack)
        return -errno;
    /* At the stack's end: our own frame is gone before the child has read it. */
    child = child_on(stack);
    *child = (struct child){
        .plan = plan,
        .handles = {.channel_fd = channel_fd, .stdout_fd = plan->stdout_fd, .stderr_fd = plan->stderr_fd}};
    if (lay_low(plan, channel_fd, stack, &child->handles)) {
        child->handles.apart = &child->apart;
        arguments.flags |= CLONE_FILES;
    } else
        child->handles.gate = &child->gate; /* one of many has no processor for itself */
    arguments.stack_size = (STACK_BYTES - sizeof *child) & ~(uint64_t) 15; /* aligned as calls want it */
    arguments.pidfd = (uint64_t) (uintptr_t) &pidfd;
    pid = clone_onto_stack(&arguments, child);
    if (pid < 0) {
        if (low.user == stack)
            park();
        birth_free_stack(stack);
        return (int) pid;
    }
    *ret = (struct birth){.pid = (pid_t) pid, .pidfd = pidfd, .stack = stack};
    return 0;
}

#else

void birth_free_stack(void *stack) {
    (void) stack;
}

void birth_reserve(void) {
}

void birth_open_gate(void *stack) {
    (void) stack;
}

int birth_part(void *stack, pid_t pid) {
    (void) stack;
    (void) pid;
    return 0;
}

static int share(const struct exec_plan *plan, int channel_fd, uint64_t into, struct birth *ret) {
    (void) plan;
    (void) channel_fd;
    (void) into;
    (void) ret;
    return -ENOSYS;
}

#endif

static int copy(const struct exec_plan *plan, int channel_fd, uint64_t into, struct birth *ret) {
    struct clone_args arguments = {
        .flags = into, .exit_signal = SIGCHLD, .cgroup = into ? (uint64_t) plan->cgroup_fd : 0};
    pid_t pid = into ? (pid_t) syscall(SYS_clone3, &arguments, sizeof arguments) : fork();

    if (pid == 0)
        exec_child(plan, &(struct exec_handles){.channel_fd = channel_fd,
                                                .stdout_fd = plan->stdout_fd,
                                                .stderr_fd = plan->stderr_fd});
    if (pid < 0)
        return -errno;
    *ret = (struct birth){.pid = pid, .pidfd = -EBADF};
    return 0;
}

/* No more than the kernel has: another try, with less, would say the same. */
static bool is_scarcity(int error) {
    return error == -EAGAIN || error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/* To be born into another cgroup costs nothing, while a move (a write to cgroup.procs) waits for a grace
 * period of the kernel's, some 10 ms (cgroup_attach_lock() in kernel/cgroup/cgroup.c). Where the kernel does
 * not take it (clone3(2): ENOSYS before 5.3 and from seccomp filters, E2BIG before 5.7, EBUSY and EOPNOTSUPP
 * of a cgroup that takes no processes, ENODEV of one that is gone) the child is born into ours: it starts all
 * the same, and what it leaves is told by other proofs. */
static int begin(const struct exec_plan *plan, int channel_fd, struct birth *ret) {
    int r = -ENOSYS;

    for (int attempt = plan->cgroup_fd >= 0 ? 0 : 1; attempt < 2; attempt++) {
        uint64_t into = attempt == 0 ? CLONE_INTO_CGROUP : 0;

        if (birth_may_share(plan))
            r = share(plan, channel_fd, into, ret);
        if (r < 0 && !is_scarcity(r))
            r = copy(plan, channel_fd, into, ret);
        if (r >= 0)
            ret->in_cgroup = into != 0;
        if (r >= 0 || is_scarcity(r))
            break;
    }
    return r;
}

int birth_begin(const struct exec_plan *plan, int channel_fd, struct birth *ret) {
    sigset_t all, before;
    int r;

    /* No handler of ours runs in the child; it unblocks its own. */
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &before) < 0)
        return -errno;
    r = begin(plan, channel_fd, ret);
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}
