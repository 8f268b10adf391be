/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/exec-child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "exec/system-call.h"

#define EXEC_FIRST_PASSED 3
#define GATE_LOOKS 500       /* some 0.1 ms, where nobody else wants the processor */
#define EXEC_EXIT_STATUS 127 /* as shells have it; the supervisor goes by the report, not by this */

/* One process on its way. */
struct exec_context {
    const struct exec_plan *plan;
    int channel_fd; /* -EBADF: none, we are to become the daemon ourselves */
    int outputs[2]; /* see plan->stdout_fd */
    int detail;     /* see struct exec_status */
    int *pass_fds;  /* the plan's, as they are moved out of each other's way */
    int few_fds[EXEC_SHARED_FDS_MAX];
};

/* ---- from here on: bare system calls only, see birth.h ---- */

static int lower_of(int candidate, int from, int best) {
    return candidate >= from && (best < 0 || candidate < best) ? candidate : best;
}

/* The lowest descriptor from `from` on that the plan names, or -1. */
static int next_kept(const struct exec_context *context, int from) {
    int best = lower_of(context->channel_fd, from, -1);

    best = lower_of(context->outputs[0], from, best);
    best = lower_of(context->outputs[1], from, best);
    for (size_t i = 0; i < context->plan->n_pass_fds; i++)
        best = lower_of(context->pass_fds[i], from, best);
    return best;
}

/* The table is left to the parent, and only the lowest descriptors, those that are needed among them, come
 * along in the copy (dup_fd() in fs/file.c): nothing else of thousands has to be closed here. */
static int part(const struct exec_context *context, int *apart) {
    int last = EXEC_FIRST_PASSED - 1;
    long r;

    for (int kept; (kept = next_kept(context, last + 1)) >= 0;)
        last = kept;
    r = system_call(SYS_close_range, last + 1, ~0U, CLOSE_RANGE_UNSHARE);
    __atomic_store_n(apart, r < 0 ? (int) r : 1, __ATOMIC_RELEASE);
    (void) system_call(SYS_futex, apart, FUTEX_WAKE, 1, NULL, NULL, 0);
    return (int) r;
}

static int close_others(const struct exec_context *context) {
    int from = EXEC_FIRST_PASSED;

    for (int kept; (kept = next_kept(context, from)) >= 0; from = kept + 1)
        if (kept > from) {
            int r = (int) system_call(SYS_close_range, from, kept - 1, 0);

            if (r < 0)
                return r;
        }
    return (int) system_call(SYS_close_range, from, ~0U, 0);
}

/* 0: the supervisor has recorded us. An error of the read is taken like its death: nothing is executed. */
static int wait_at_gate(int channel_fd, const int *gate) {
    char byte;
    long n;

    for (int looks = 0; gate && looks < GATE_LOOKS && !__atomic_load_n(gate, __ATOMIC_ACQUIRE); looks++)
        (void) system_call(SYS_sched_yield);

    do
        n = system_call(SYS_read, channel_fd, &byte, 1);
    while (n == -EINTR);
    return n == 1 ? 0 : -ECANCELED;
}

static void report(int channel_fd, int stage, int error, int detail) {
    const struct exec_status status = {.stage = stage, .error = error, .detail = detail};
    const struct iovec vector = {.iov_base = (void *) (uintptr_t) &status, .iov_len = sizeof status};
    const struct msghdr message = {.msg_iov = (struct iovec *) (uintptr_t) &vector, .msg_iovlen = 1};
    long n;

    do /* one small message fits the empty buffer; where nobody reads there is nobody to tell */
        n = system_call(SYS_sendmsg, channel_fd, &message, MSG_NOSIGNAL);
    while (n == -EINTR);
}

static uint64_t bit_of(int signal) {
    return signal <= 64 ? UINT64_C(1) << (signal - 1) : 0; /* MIPS has 127 */
}

/* On the architectures that we know, the kernel's struct begins with the handler. KILL and STOP are as they are. */
uint64_t exec_default_signals(void) {
    uint64_t signals = 0;

    for (int i = 1; SYSTEM_CALL_IS_BARE && i < NSIG; i++) {
        unsigned long action[16] = {0};

        if (i == SIGKILL || i == SIGSTOP ||
            (system_call(SYS_rt_sigaction, i, NULL, action, NSIG / 8) == 0 && action[0] == 0))
            signals |= bit_of(i);
    }
    return signals;
}

/* Ignored signals and the mask survive execve(2), and a daemon that finds SIGPIPE ignored or SIGTERM blocked
 * behaves unlike itself. glibc's sigaction() would refuse the two signals it keeps to itself
 * (32 and 33), and its own posix_spawn() hands exactly these down ignored. Zeros are SIG_DFL, no flags and an
 * empty mask in every architecture's struct. KILL and STOP give EINVAL and stay as they are. */
static int reset_signals(struct exec_context *context) {
    const unsigned long action[16] = {0}, none[16] = {0};

    for (int i = 1; i < NSIG; i++)
        if (!(context->plan->default_signals & bit_of(i)))
            (void) system_call(SYS_rt_sigaction, i, action, NULL, NSIG / 8);
    return (int) system_call(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, NSIG / 8);
}

/* Whoever dies before that leaves the gate shut. */
static int new_session(struct exec_context *context) {
    long r = context->plan->new_session ? system_call(SYS_setsid) : 0;

    if (r >= 0 && context->plan->ends_with_us)
        r = system_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    return r < 0 ? (int) r : 0;
}

static size_t format_int(int value, char *buffer) {
    unsigned rest = value < 0 ? -(unsigned) value : (unsigned) value;
    char digits[16];
    size_t n = 0, used = 0;

    do
        digits[n++] = (char) ('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        buffer[used++] = '-';
    while (n > 0)
        buffer[used++] = digits[--n];
    buffer[used] = '\0';
    return used;
}

static int set_oom(struct exec_context *context) {
    char text[EXEC_PID_SIZE];
    size_t length;
    long fd, r;

    if (!context->plan->set_oom_score_adjust)
        return 0;
    length = format_int(context->plan->oom_score_adjust, text);
    fd = system_call(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return (int) fd;
    r = system_call(SYS_write, fd, text, length);
    (void) system_call(SYS_close, fd);
    return r < 0 ? (int) r : 0;
}

static int set_nice(struct exec_context *context) {
    return context->plan->set_nice ? (int) system_call(SYS_setpriority, PRIO_PROCESS, 0, context->plan->nice)
                                   : 0;
}

/* Moves a descriptor out of the way of the numbers that are about to be given out. */
static int lift(const struct exec_plan *plan, int fd) {
    return (int) system_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, EXEC_FIRST_PASSED + (int) plan->n_pass_fds);
}

/* fd -EBADF: what `target` is already. A daemon must not find 0, 1 or 2 closed: the next file it opens would
 * get its messages. */
static int place(int fd, int target, int null_flags) {
    long flags, r = 0;

    if (fd < 0) {
        flags = system_call(SYS_fcntl, target, F_GETFD);
        if (flags >= 0)
            return (int) system_call(SYS_fcntl, target, F_SETFD, flags & ~FD_CLOEXEC);
        /* the lowest number that is free; not O_CLOEXEC: it may be the target */
        fd = (int) system_call(SYS_openat, AT_FDCWD, "/dev/null", null_flags);
        if (fd < 0 || fd == target)
            return fd < 0 ? fd : 0;
        r = system_call(SYS_dup3, fd, target, 0);
        (void) system_call(SYS_close, fd);
    } else
        r = system_call(SYS_dup3, fd, target, 0);
    return r < 0 ? (int) r : 0;
}

static int set_stdio(struct exec_context *context) {
    const struct exec_plan *plan = context->plan;
    int *outputs = context->outputs, r;

    if (context->channel_fd >= 0) {
        r = lift(plan, context->channel_fd);
        if (r < 0)
            return r;
        context->channel_fd = r;
    }
    for (size_t i = 0; i < plan->n_pass_fds; i++) {
        context->detail = EXEC_FIRST_PASSED + (int) i;
        r = lift(plan, context->pass_fds[i]);
        if (r < 0)
            return r;
        context->pass_fds[i] = r;
    }
    for (int i = 0; i < 2; i++) {
        context->detail = STDOUT_FILENO + i;
        if (outputs[i] < 0)
            continue;
        r = lift(plan, outputs[i]);
        if (r < 0)
            return r;
        outputs[i] = r;
    }
    context->detail = STDIN_FILENO;
    if (plan->stdin_null)
        (void) system_call(SYS_close, STDIN_FILENO);
    r = place(-EBADF, STDIN_FILENO, O_RDONLY);
    for (int i = 0; r >= 0 && i < 2; i++) {
        context->detail = STDOUT_FILENO + i;
        r = place(outputs[i], STDOUT_FILENO + i, O_WRONLY);
    }
    return r;
}

static int set_descriptors(struct exec_context *context) {
    const struct exec_plan *plan = context->plan;
    long r;

    for (size_t i = 0; i < plan->n_pass_fds; i++) {
        context->detail = EXEC_FIRST_PASSED + (int) i;
        r = system_call(SYS_dup3, context->pass_fds[i], context->detail, 0); /* it was lifted above */
        if (r < 0)
            return (int) r;
    }
    context->detail = -1;
    r = system_call(SYS_close_range, EXEC_FIRST_PASSED + (unsigned) plan->n_pass_fds, ~0U,
                    CLOSE_RANGE_CLOEXEC);
    if (r < 0)
        return (int) r;
    if (plan->listen_pid)
        format_int((int) system_call(SYS_getpid), plan->listen_pid);
    if (plan->watchdog_pid)
        format_int((int) system_call(SYS_getpid), plan->watchdog_pid);
    return 0;
}

/* RLIMIT_NPROC is counted against the user we are about to become. setresuid(2) succeeds above it, and
 * execve(2) then fails with EAGAIN (set_user() and PF_NPROC_EXCEEDED in the kernel); the last stage's words
 * know that. */
static int set_rlimits(struct exec_context *context) {
    const struct rlimits_planned *planned = context->plan->rlimits;
    const struct rlimit *files = context->plan->own_files;

    if (files) {
        const uint64_t limit[2] = {files->rlim_cur, files->rlim_max};
        long r;

        context->detail = RLIMIT_NOFILE;
        /* Not below what is planned: a hard limit that was lowered may not come back. */
        if (!planned || !planned->of[RLIMIT_NOFILE].set) {
            r = system_call(SYS_prlimit64, 0, RLIMIT_NOFILE, limit, NULL);
            if (r < 0)
                return (int) r;
        }
    }
    for (int i = 0; planned && i < RLIMIT_NLIMITS; i++) {
        const uint64_t limit[2] = {planned->of[i].soft, planned->of[i].hard}; /* struct rlimit64 */
        long r;

        context->detail = i;
        if (!planned->of[i].set)
            continue;
        r = system_call(SYS_prlimit64, 0, i, limit, NULL);
        if (r < 0)
            return (int) r;
    }
    return 0;
}

static int drop_bounding(struct exec_context *context) {
    const struct credentials *credentials = context->plan->credentials;

    for (int i = 0; credentials && i < 64; i++) {
        long r;

        context->detail = i;
        if (!(credentials->bounding_drop & (UINT64_C(1) << i)))
            continue;
        r = system_call(SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0);
        if (r < 0)
            return (int) r;
    }
    return 0;
}

static int set_groups(struct exec_context *context) {
    const struct credentials *credentials = context->plan->credentials;

    long r = 0;

    if (!credentials)
        return 0;
    if (credentials->set_groups)
        r = system_call(SYSTEM_CALL_SETGROUPS, credentials->n_groups, credentials->groups);
    if (r >= 0 && credentials->set_gid)
        r = system_call(SYSTEM_CALL_SETRESGID, credentials->gid, credentials->gid, credentials->gid);
    return (int) r;
}

/* Leaving uid 0 behind empties the permitted set unless PR_SET_KEEPCAPS is on; execve(2) turns that off. */
static int set_user(struct exec_context *context) {
    const struct credentials *credentials = context->plan->credentials;

    long r = 0;

    if (!credentials || !credentials->set_uid)
        return 0;
    if (credentials->keep_capabilities)
        r = system_call(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
    if (r >= 0)
        r = system_call(SYSTEM_CALL_SETRESUID, credentials->uid, credentials->uid, credentials->uid);
    return (int) r;
}

/* What it sets was reckoned by the parent, and a cap_t would be memory with an owner. */
static int set_capabilities(struct exec_context *context) {
    const struct credentials *credentials = context->plan->credentials;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (!credentials || !credentials->set_capabilities)
        return 0;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        data[i] = (struct __user_cap_data_struct){
            .permitted = (uint32_t) (credentials->sets.permitted >> 32 * i),
            .effective = (uint32_t) (credentials->sets.effective >> 32 * i),
            .inheritable = (uint32_t) (credentials->sets.inheritable >> 32 * i),
        };
    return (int) system_call(SYS_capset, &header, data);
}

static int set_ambient(struct exec_context *context) {
    const struct credentials *credentials = context->plan->credentials;
    long r;

    if (!credentials || !credentials->set_capabilities)
        return 0;
    r = system_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; r >= 0 && i < 64; i++) {
        context->detail = i;
        if (credentials->ambient & (UINT64_C(1) << i))
            r = system_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
    }
    return (int) r;
}

static int set_no_new_privileges(struct exec_context *context) {
    return context->plan->no_new_privileges ? (int) system_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                                            : 0;
}

static int set_working_directory(struct exec_context *context) {
    const char *path = context->plan->working_directory;

    return path ? (int) system_call(SYS_chdir, path) : 0;
}

static int set_umask(struct exec_context *context) {
    if (context->plan->set_umask)
        (void) system_call(SYS_umask, context->plan->umask);
    return 0;
}

static int (*const steps[EXEC_STAGE_EXEC])(struct exec_context *context) = {
    [EXEC_STAGE_SIGNALS] = reset_signals,
    [EXEC_STAGE_SESSION] = new_session,
    [EXEC_STAGE_OOM] = set_oom,
    [EXEC_STAGE_NICE] = set_nice,
    [EXEC_STAGE_STDIO] = set_stdio,
    [EXEC_STAGE_DESCRIPTORS] = set_descriptors,
    [EXEC_STAGE_RLIMITS] = set_rlimits,
    [EXEC_STAGE_BOUNDING] = drop_bounding,
    [EXEC_STAGE_GROUPS] = set_groups,
    [EXEC_STAGE_USER] = set_user,
    [EXEC_STAGE_CAPABILITIES] = set_capabilities,
    [EXEC_STAGE_AMBIENT] = set_ambient,
    [EXEC_STAGE_NO_NEW_PRIVILEGES] = set_no_new_privileges,
    [EXEC_STAGE_WORKING_DIRECTORY] = set_working_directory,
    [EXEC_STAGE_UMASK] = set_umask,
};

/* The numbers change: not in the parent's memory, which we may be sharing. There are more only where we do
 * not. */
static void copy_descriptors(struct exec_context *context) {
    const struct exec_plan *plan = context->plan;

    context->pass_fds = plan->n_pass_fds <= EXEC_SHARED_FDS_MAX ? context->few_fds : plan->pass_fds;
    for (size_t i = 0; i < plan->n_pass_fds; i++)
        context->pass_fds[i] = plan->pass_fds[i];
}

/* All but the execution itself. */
static struct exec_status take_steps(struct exec_context *context) {
    struct exec_status status = {.stage = EXEC_STAGE_SIGNALS};

    for (; status.stage < EXEC_STAGE_EXEC; status.stage++) {
        int r;

        context->detail = 0;
        r = steps[status.stage](context);
        if (r < 0) {
            status.error = -r;
            status.detail = context->detail;
            break;
        }
    }
    return status;
}

/* Returns only on failure. */
static struct exec_status execute(const struct exec_context *context) {
    const struct exec_plan *plan = context->plan;
    struct exec_status status = {.stage = EXEC_STAGE_EXEC};

    if (context->channel_fd >= 0)
        report(context->channel_fd, EXEC_STAGE_EXEC, 0, 0);
    status.error = (int32_t) -system_call(SYS_execve, plan->executable, plan->argv, plan->envp);
    return status;
}

static _Noreturn void leave(void) {
    for (;;)
        (void) system_call(SYS_exit_group, EXEC_EXIT_STATUS);
}

_Noreturn void exec_child(const struct exec_plan *plan, const struct exec_handles *handles) {
    struct exec_context context = {
        .plan = plan, .channel_fd = handles->channel_fd, .outputs = {handles->stdout_fd, handles->stderr_fd}};
    struct exec_status status = {.stage = EXEC_STAGE_GATE};
    int r = 0;

    copy_descriptors(&context);
    if (handles->apart)
        r = part(&context, handles->apart);
    if (r >= 0)
        r = close_others(&context);
    status.error = r < 0 ? -r : 0;
    /* Before the gate, while the parent is busy with writing us down. And a signal can end the one who waits
     * there: they are unblocked. What went wrong is told behind it, to a parent that knows who we are. */
    if (status.error == 0)
        status = take_steps(&context);
    if (wait_at_gate(context.channel_fd, handles->gate) < 0)
        leave();
    if (status.error == 0)
        status = execute(&context);
    report(context.channel_fd, status.stage, status.error, status.detail);
    leave();
}

int exec_become(const struct exec_plan *plan, struct err *err) {
    struct exec_context context = {
        .plan = plan, .channel_fd = -EBADF, .outputs = {plan->stdout_fd, plan->stderr_fd}};
    struct exec_status status;

    copy_descriptors(&context);
    status = take_steps(&context);
    if (status.error == 0)
        status = execute(&context);
    return exec_stage_explain(plan, &status, err);
}
