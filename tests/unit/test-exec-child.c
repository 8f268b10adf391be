/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/executable.h"
#include "exec/system-call.h"
#include "exec-fixture.h"

#define NEED_ROOT(why)                                                                                       \
    if (geteuid() != 0) {                                                                                    \
        printf("SKIP %s: %s needs root\n", __func__, why);                                                   \
        return;                                                                                              \
    }

static void write_file(const char *name, mode_t mode, const char *text) {
    _cleanup_close_ int fd = open(in_directory(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
}

static void assert_output(struct exec_plan *plan, const char *expected) {
    _cleanup_free_ char *text = run(plan);

    ck_assert_str_eq(text, expected);
}

static bool wants_capability(int number, const char *tried) {
    return number == EPERM || (number == EACCES && strstr(tried, "setting "));
}

/* The start fails with this errno, and the message has these words. */
static void assert_fails(const struct exec_plan *plan, int number, const char *tried, const char *advice) {
    _cleanup_spawn_ struct spawn spawn = SPAWN_INIT;
    _cleanup_err_ struct err err = {0};
    int r;

    ck_assert_int_eq(spawn_start(proc_fd, plan, &spawn, &err), 0);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    r = wait_status(&spawn, plan, &err);
    ck_assert_msg(r == (number == EAGAIN ? -EBUSY : -number), "%d: %s", r, err_text(&err));
    ck_assert_int_eq(err.number, number);
    ck_assert_str_eq(err.name, wants_capability(number, tried) ? "NotPermitted" : "ExecFailed");
    ck_assert_ptr_nonnull(strstr(err_text(&err), "cannot start \""));
    ck_assert_ptr_nonnull(strstr(err_text(&err), plan->executable));
    ck_assert_ptr_nonnull(strstr(err_text(&err), strerror(number)));
    ck_assert_msg(strstr(err_text(&err), tried), "\"%s\" not in: %s", tried, err_text(&err));
    ck_assert_msg(strstr(err_text(&err), advice), "\"%s\" not in: %s", advice, err_text(&err));
    ck_assert_int_eq(reap(&spawn), 127);
}

/* Each test is a process of its own (CK_FORK), so what is dropped is dropped for that test. */
static void drop_capability(int capability) {
    cap_value_t value = capability;
    cap_t caps = cap_get_proc();

    ck_assert_ptr_nonnull(caps);
    ck_assert_int_eq(cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_CLEAR), 0);
    ck_assert_int_eq(cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_CLEAR), 0);
    ck_assert_int_eq(cap_set_proc(caps), 0);
    cap_free(caps);
}

START_TEST(runs) {
    struct exec_plan plan = shell("echo \"$0 $1 $PATH $X\"");
    char *const envp[] = {(char *) "PATH=/usr/bin", (char *) "X=a  b", NULL};

    plan.envp = envp;
    assert_output(&plan, "sh  /usr/bin a  b\n");
}
END_TEST

START_TEST(no_leaked_descriptors) {
    struct exec_plan plan = shell("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0");
    int leak = open("/dev/null", O_RDONLY), high = fcntl(leak, F_DUPFD, 200);

    ck_assert_int_ge(leak, 3); /* neither is O_CLOEXEC */
    ck_assert_int_ge(high, 200);
    plan.stderr_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_output(&plan, "0 1 2 3 /dev/null\n"); /* 3 is what ls opened */
    close(plan.stderr_fd);
    close(leak);
    close(high);
}
END_TEST

START_TEST(passed_descriptors) {
    struct exec_plan plan =
        shell("cat <&3; cat <&4; test $$ = $LISTEN_PID && echo pid; ls /proc/self/fd | wc -l");
    char listen_pid[32] = "LISTEN_PID=";
    char *const envp[] = {environment[0], listen_pid, NULL};
    int fds[2];

    write_file("one", 0600, "one\n");
    write_file("two", 0600, "two\n");
    /* The worst order: each one's place is taken by the other. */
    close(3);
    close(4);
    ck_assert_int_eq(open(in_directory("one"), O_RDONLY | O_CLOEXEC), 3);
    ck_assert_int_eq(open(in_directory("two"), O_RDONLY | O_CLOEXEC), 4);
    proc_fd = procfs_open();
    fds[0] = 4;
    fds[1] = 3;
    plan.pass_fds = fds;
    plan.n_pass_fds = 2;
    plan.envp = envp;
    plan.listen_pid = listen_pid + strlen(listen_pid);
    assert_output(&plan, "two\none\npid\n6\n");
    ck_assert_int_eq(fds[0], 4); /* ours is untouched */
    close(3);
    close(4);
}
END_TEST

START_TEST(swapped_outputs) {
    struct exec_plan plan = shell("echo out; echo err >&2");
    _cleanup_free_ char *out = NULL, *err = NULL;
    int outs[2], errs[2], status, saved_out = fcntl(1, F_DUPFD_CLOEXEC, 100),
                                  saved_err = fcntl(2, F_DUPFD_CLOEXEC, 100);
    struct spawn spawn;

    ck_assert_int_eq(pipe2(outs, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(errs, O_CLOEXEC), 0);
    fflush(NULL);
    dup2(errs[1], 1);
    dup2(outs[1], 2);
    plan.stdout_fd = 2;
    plan.stderr_fd = 1;
    status = spawn_start(proc_fd, &plan, &spawn, NULL);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(outs[1]);
    close(errs[1]);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    ck_assert_int_eq(fd_read_all(outs[0], 100, &out, NULL), 0);
    ck_assert_int_eq(fd_read_all(errs[0], 100, &err, NULL), 0);
    ck_assert_int_eq(reap(&spawn), 0);
    spawn_done(&spawn);
    ck_assert_str_eq(out, "out\n");
    ck_assert_str_eq(err, "err\n");
}
END_TEST

/* As glibc's posix_spawn() leaves its own two signals to children, those of make for instance. */
static void ignore_by_system_call(int number) {
    unsigned long action[16] = {0};

    action[0] = (unsigned long) SIG_IGN; /* the handler comes first on all but a few architectures */
    ck_assert_int_eq(syscall(SYS_rt_sigaction, number, action, NULL, (size_t) NSIG / 8), 0);
}

static void on_nothing(int number) {
    (void) number;
}

START_TEST(signals_reset) {
    struct exec_plan plan = shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");
    sigset_t blocked, now;

    ignore_by_system_call(32);
    ignore_by_system_call(33);

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN + 2);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGRTMIN + 3, SIG_IGN);
    assert_output(&plan, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    ck_assert_int_eq(sigismember(&now, SIGTERM), 1); /* ours is as it was */
    ck_assert_int_eq(sigismember(&now, SIGINT), 0);
}
END_TEST

static uint64_t signals_ignored(void) {
    unsigned long long ignored = 0;
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];

    while (fgets(line, sizeof line, file) && sscanf(line, "SigIgn: %llx", &ignored) != 1)
        ;
    fclose(file);
    return ignored;
}

/* Only those that need it are reset, and all of those. */
START_TEST(known_signals_reset) {
    struct exec_plan plan = shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status");
    char expected[80];

    if (!SYSTEM_CALL_IS_BARE) {
        ck_assert_uint_eq(exec_default_signals(), 0);
        return;
    }
    ignore_by_system_call(33);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGRTMAX, SIG_IGN);
    signal(SIGUSR1, on_nothing);
    signal(SIGUSR2, SIG_DFL);
    plan.default_signals = exec_default_signals();
    ck_assert_uint_eq(plan.default_signals & signals_ignored(), 0);
    ck_assert_uint_eq(plan.default_signals >> (SIGUSR1 - 1) & 1, 0);
    ck_assert_uint_eq(plan.default_signals >> (SIGUSR2 - 1) & 1, 1);
    assert_output(&plan, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    plan.default_signals = UINT64_MAX; /* none is reset: so it shows */
    snprintf(expected, sizeof expected, "SigBlk:\t0000000000000000\nSigIgn:\t%016llx\n",
             (unsigned long long) signals_ignored());
    assert_output(&plan, expected);
}
END_TEST

START_TEST(settings) {
    struct exec_plan plan =
        shell("umask; pwd; nice; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; "
              "read -r pid comm state ppid pgrp session rest </proc/self/stat; "
              "test $session = $$ && echo session");

    char expected[256];

    plan.set_umask = plan.set_nice = plan.set_oom_score_adjust = true;
    plan.umask = 0027;
    plan.nice = 7;
    plan.oom_score_adjust = 321;
    plan.no_new_privileges = plan.new_session = true;
    plan.working_directory = directory;
    snprintf(expected, sizeof expected, "0027\n%s\n7\n321\nNoNewPrivs:\t1\nsession\n", directory);
    assert_output(&plan, expected);
}
END_TEST

START_TEST(limits_set) {
    struct exec_plan plan = shell("exec sleep 60");
    struct rlimits_mismatch mismatches[RLIMIT_NLIMITS];
    struct rlimits_planned planned = {0};
    struct spawn spawn;

    planned.of[RLIMIT_NOFILE].set = planned.of[RLIMIT_CPU].set = planned.of[RLIMIT_RTTIME].set = true;
    planned.of[RLIMIT_NOFILE].soft = 20;
    planned.of[RLIMIT_NOFILE].hard = 30;
    planned.of[RLIMIT_CPU].soft = planned.of[RLIMIT_CPU].hard = 77;
    planned.of[RLIMIT_RTTIME].soft = planned.of[RLIMIT_RTTIME].hard = 1000;
    plan.rlimits = &planned;
    ck_assert_int_eq(spawn_start(proc_fd, &plan, &spawn, NULL), 0);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    ck_assert_int_eq(wait_status(&spawn, &plan, NULL), 0);
    ck_assert_int_eq(rlimits_verify(proc_fd, spawn.id.pid, &planned, mismatches), 0);
    planned.of[RLIMIT_NOFILE].soft = 21;
    ck_assert_int_eq(rlimits_verify(proc_fd, spawn.id.pid, &planned, mismatches), 1);
    ck_assert_uint_eq(mismatches[0].soft, 20);
    ck_assert_int_eq(kill(spawn.id.pid, SIGKILL), 0);
    reap(&spawn);
    spawn_done(&spawn);
}
END_TEST

/* A limit of open files below what the steps themselves need hinders none of them. */
START_TEST(tiny_nofile) {
    struct exec_plan plan = shell("echo ok");
    struct rlimits_planned planned = {0};

    planned.of[RLIMIT_NOFILE].set = true;
    planned.of[RLIMIT_NOFILE].soft = planned.of[RLIMIT_NOFILE].hard = 4;
    plan.rlimits = &planned;
    plan.set_oom_score_adjust = true;
    plan.oom_score_adjust = 500;
    assert_output(&plan, "ok\n");
}
END_TEST

START_TEST(as_another_user) {
    struct exec_plan plan = shell("exec grep -E '^(Uid|Gid|Groups|Cap)' /proc/self/status");
    const struct service_config config = {
        .user = (char *) "nobody",
        .supplementary_groups = (char *[]){(char *) "4242", NULL},
        .ambient_capabilities = UINT64_C(1) << CAP_NET_RAW,
        .capability_bounding_set = UINT64_C(1) << CAP_NET_RAW | UINT64_C(1) << CAP_CHOWN,
        .capability_bounding_set_set = true,
    };
    _cleanup_credentials_ struct credentials credentials = {0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;

    NEED_ROOT("changing the user");
    ck_assert_msg(credentials_resolve(&config, &credentials, &err) == 0, "%s", err_text(&err));
    plan.credentials = &credentials;
    text = run(&plan);
    ck_assert_ptr_nonnull(strstr(text, "Uid:\t65534\t65534\t65534\t65534\n"));
    ck_assert_ptr_nonnull(strstr(text, "Gid:\t65534\t65534\t65534\t65534\n"));
    ck_assert_ptr_nonnull(strstr(text, "Groups:\t4242 65534 \n"));
    ck_assert_ptr_nonnull(strstr(text, "CapInh:\t0000000000002000\n"));
    ck_assert_ptr_nonnull(strstr(text, "CapPrm:\t0000000000002000\n"));
    ck_assert_ptr_nonnull(strstr(text, "CapEff:\t0000000000002000\n"));
    ck_assert_ptr_nonnull(strstr(text, "CapBnd:\t0000000000002001\n"));
    ck_assert_ptr_nonnull(strstr(text, "CapAmb:\t0000000000002000\n"));
}
END_TEST

START_TEST(as_another_user_plainly) {
    struct exec_plan plan = shell("exec grep -E '^(CapInh|CapPrm|CapEff|CapAmb)' /proc/self/status");
    const struct service_config config = {.user = (char *) "nobody"};
    _cleanup_credentials_ struct credentials credentials = {0};

    NEED_ROOT("changing the user");
    ck_assert_int_eq(credentials_resolve(&config, &credentials, NULL), 0);
    plan.credentials = &credentials;
    assert_output(&plan, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
                         "CapAmb:\t0000000000000000\n");
}
END_TEST

START_TEST(bounded_root) {
    struct exec_plan plan = shell("exec grep -E '^Cap(Eff|Bnd)' /proc/self/status");
    const struct service_config config = {
        .capability_bounding_set = UINT64_C(1) << CAP_KILL,
        .capability_bounding_set_set = true,
    };
    _cleanup_credentials_ struct credentials credentials = {0};

    NEED_ROOT("the bounding set");
    ck_assert_int_eq(credentials_resolve(&config, &credentials, NULL), 0);
    plan.credentials = &credentials;
    assert_output(&plan, "CapEff:\t0000000000000020\nCapBnd:\t0000000000000020\n");
}
END_TEST

START_TEST(fails_at_exec) {
    struct exec_plan plan = shell("exit 0");
    char path[128];

    plan.executable = "/no/such/program";
    assert_fails(&plan, ENOENT, "executing it", "there is no such file");
    plan.executable = "/usr";
    assert_fails(&plan, EACCES, "executing it", "not a regular file");
    plan.executable = path;
    write_file("plain", 0644, "#!/bin/sh\n");
    strcpy(path, in_directory("plain"));
    assert_fails(&plan, EACCES, "executing it", "chmod +x");
    write_file("bad", 0755, "#! /no/such/interpreter -x\n");
    strcpy(path, in_directory("bad"));
    assert_fails(&plan, ENOENT, "executing it", "interpreter \"/no/such/interpreter\"");
    write_file("dos", 0755, "#!/bin/sh\r\nexit 0\r\n");
    strcpy(path, in_directory("dos"));
    assert_fails(&plan, ENOENT, "executing it", "Windows");
    write_file("text", 0755, "exit 0\n");
    strcpy(path, in_directory("text"));
    assert_fails(&plan, ENOEXEC, "executing it", "#!/bin/sh");
}
END_TEST

START_TEST(fails_at_exec_as_user) {
    struct exec_plan plan = shell("exit 0"), other;
    struct spawn spawn;
    const struct service_config config = {.user = (char *) "nobody"};
    _cleanup_credentials_ struct credentials credentials = {0};
    struct rlimits_planned planned = {0};
    char path[128];

    NEED_ROOT("changing the user");
    ck_assert_int_eq(credentials_resolve(&config, &credentials, NULL), 0);
    plan.credentials = &credentials;
    other = shell("exec sleep 60"); /* the kernel counts the others at setresuid(2) */
    other.credentials = &credentials;
    ck_assert_int_eq(spawn_start(proc_fd, &other, &spawn, NULL), 0);
    ck_assert_int_eq(spawn_release(&spawn), 0);
    ck_assert_int_eq(wait_status(&spawn, &other, NULL), 0);
    planned.of[RLIMIT_NPROC].set = true;
    plan.rlimits = &planned;
    assert_fails(&plan, EAGAIN, "executing it", "user nobody already has more processes than LimitNPROC=");
    ck_assert_int_eq(kill(spawn.id.pid, SIGKILL), 0);
    reap(&spawn);
    spawn_done(&spawn);
    plan.rlimits = NULL;
    write_file("roots", 0700, "#!/bin/sh\n");
    strcpy(path, in_directory("roots"));
    plan.executable = path;
    assert_fails(&plan, EACCES, "executing it", "User=nobody may not execute it");
    plan.executable = "/bin/sh";
    ck_assert_int_eq(chmod(directory, 0700), 0);
    plan.working_directory = directory;
    assert_fails(&plan, EACCES, "WorkingDirectory=", "user nobody may not enter it");
}
END_TEST

START_TEST(fails_at_working_directory) {
    struct exec_plan plan = shell("exit 0");

    plan.working_directory = "/no/such/directory";
    assert_fails(&plan, ENOENT, "changing to WorkingDirectory=/no/such/directory", "create the directory");
    plan.working_directory = "/bin/sh";
    assert_fails(&plan, ENOTDIR, "changing to WorkingDirectory=/bin/sh", "not a directory");
}
END_TEST

START_TEST(fails_at_descriptors) {
    struct exec_plan plan = shell("exit 0");
    int bad[] = {987};

    plan.stdout_fd = 987;
    assert_fails(&plan, EBADF, "descriptor 1 (StandardOutput=)", "");
    plan.stdout_fd = -EBADF;
    plan.stderr_fd = 987;
    assert_fails(&plan, EBADF, "descriptor 2 (StandardError=)", "");
    plan.stderr_fd = -EBADF;
    plan.pass_fds = bad;
    plan.n_pass_fds = 1;
    assert_fails(&plan, EBADF, "descriptor 3 (a passed socket)", "");
}
END_TEST

START_TEST(fails_at_rlimits) {
    struct exec_plan plan = shell("exit 0");
    struct rlimits_planned planned = {0};
    struct rlimit limit = {100, 100};

    drop_capability(CAP_SYS_RESOURCE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    planned.of[RLIMIT_CORE].set = planned.of[RLIMIT_NOFILE].set = true; /* the first of them succeeds */
    planned.of[RLIMIT_NOFILE].soft = 50;
    planned.of[RLIMIT_NOFILE].hard = 101;
    plan.rlimits = &planned;
    assert_fails(&plan, EPERM, "setting LimitNOFILE=50:101", "CAP_SYS_RESOURCE");
    planned.of[RLIMIT_NOFILE].hard = 49;
    assert_fails(&plan, EINVAL, "setting LimitNOFILE=50:49", "LimitNOFILE=");
}
END_TEST

START_TEST(fails_at_nice_and_oom) {
    struct exec_plan plan = shell("exit 0");

    drop_capability(CAP_SYS_NICE);
    drop_capability(CAP_SYS_RESOURCE);
    ck_assert_int_eq(setrlimit(RLIMIT_NICE, &(struct rlimit){0, 0}), 0);
    plan.set_nice = true;
    plan.nice = -5;
    assert_fails(&plan, EACCES, "setting Nice=-5", "CAP_SYS_NICE");
    plan.set_oom_score_adjust = true;
    plan.oom_score_adjust = -999;
    assert_fails(&plan, EACCES, "setting OOMScoreAdjust=-999", "CAP_SYS_RESOURCE");
}
END_TEST

START_TEST(fails_at_credentials) {
    struct exec_plan plan = shell("exit 0");
    struct credentials credentials = {.uid = 65534, .gid = 65534, .user = (char *) "nobody"};

    NEED_ROOT("dropping capabilities");
    plan.credentials = &credentials;
    credentials.set_capabilities = true; /* handed on without being in the inheritable set */
    ck_assert_int_eq(credentials_read_capabilities(&credentials.sets), 0);
    credentials.sets.inheritable = 0;
    credentials.ambient = UINT64_C(1) << CAP_KILL;
    assert_fails(&plan, EPERM, "handing on cap_kill", "AmbientCapabilities=");
    credentials.ambient = 0;
    drop_capability(CAP_NET_RAW);
    assert_fails(&plan, EPERM, "setting its capabilities", "CapabilityBoundingSet=");
    credentials.set_capabilities = false;
    credentials.set_uid = credentials.set_gid = true;
    drop_capability(CAP_SETUID);
    assert_fails(&plan, EPERM, "becoming User=nobody (uid 65534)", "CAP_SETUID");
    drop_capability(CAP_SETGID);
    assert_fails(&plan, EPERM, "taking on the groups of nobody (gid 65534", "CAP_SETGID");
    credentials.bounding_drop = UINT64_C(1) << CAP_CHOWN;
    drop_capability(CAP_SETPCAP);
    assert_fails(&plan, EPERM, "dropping cap_chown from the bounding set", "CAP_SETPCAP");
}
END_TEST

START_TEST(becomes) {
    struct exec_plan plan =
        shell("readlink /proc/self/fd/0; grep SigIgn /proc/self/status; pwd; ls /proc/self/fd | wc -l");
    _cleanup_free_ char *text = NULL;
    int ends[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        plan.stdout_fd = ends[1];
        plan.stdin_null = false;
        plan.working_directory = "/";
        close(0); /* closed standard input is filled up */
        signal(SIGPIPE, SIG_IGN);
        (void) open("/dev/zero", O_RDONLY); /* becomes 0 */
        close(0);
        _exit(exec_become(&plan, NULL) < 0 ? 99 : 98);
    }
    close(ends[1]);
    ck_assert_int_eq(fd_read_all(ends[0], 1000, &text, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(text, "/dev/null\nSigIgn:\t0000000000000000\n/\n4\n");
    close(ends[0]);
}
END_TEST

START_TEST(fails_to_become) {
    struct exec_plan plan = shell("exit 0");
    _cleanup_err_ struct err err = {0};

    ck_assert_int_eq(setpgid(0, 0) < 0 && getpid() != getpgrp(), 0);
    plan.stdin_null = false;
    plan.new_session = true;
    ck_assert_int_eq(exec_become(&plan, &err), -EPERM);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "setsid"));
    plan.new_session = false;
    plan.executable = "/no/such/program";
    ck_assert_int_eq(exec_become(&plan, &err), -ENOENT);
    ck_assert_str_eq(err_text(&err),
                     "cannot start \"/no/such/program\": executing it failed: No such file or "
                     "directory; there is no such file; install the program");
    plan.key = "ExecReload=";
    ck_assert_int_eq(exec_become(&plan, &err), -ENOENT);
    ck_assert_str_eq(err_text(&err),
                     "cannot start \"/no/such/program\": executing it failed: No such file or "
                     "directory; there is no such file; install the program, or correct ExecReload=");
}
END_TEST

START_TEST(finds_executables) {
    _cleanup_free_ char *path = NULL, *same = NULL;
    _cleanup_err_ struct err err = {0};
    char search[256];

    write_file("notforall", 0644, "");
    write_file("tool", 0755, "");
    ck_assert_int_eq(mkdir(in_directory("sh"), 0755), 0); /* a directory is no program */
    snprintf(search, sizeof search, ":relative:/no/such:%s:/bin:/usr/bin", directory);
    ck_assert_int_eq(executable_find("sh", search, &path, &err), 0);
    ck_assert_str_eq(path, "/bin/sh");
    ck_assert_int_eq(executable_find("/x/y", search, &same, &err), 0);
    ck_assert_str_eq(same, "/x/y");
    free(TAKE_PTR(same));
    ck_assert_int_eq(executable_find("tool", search, &same, &err), 0);
    ck_assert_str_eq(same, in_directory("tool"));
    free(TAKE_PTR(path));
    ck_assert_int_eq(executable_find("sh", NULL, &path, &err), 0);
    ck_assert_int_eq(executable_find("nosuchtool", search, &path, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "no such program in PATH"));
    ck_assert_int_eq(executable_find("notforall", search, &path, &err), -EACCES);
    ck_assert_ptr_nonnull(strstr(err_text(&err), in_directory("notforall")));
    ck_assert_int_eq(executable_find("", search, &path, &err), -ENOENT);
}
END_TEST

START_TEST(resolves) {
    char link[PATH_MAX], *path;

    write_file("tool", 0755, "");
    ck_assert_int_eq(symlink("tool", in_directory("link")), 0);
    ck_assert_int_eq(symlink(".", in_directory("here")), 0);
    snprintf(link, sizeof link, "%s/nosuchlink", directory);
    ck_assert_ptr_null(executable_resolve(link));
    ck_assert_int_eq(errno, ENOENT);
    snprintf(link, sizeof link, "%s/./here//here/link", directory);
    path = executable_resolve(link);
    ck_assert_str_eq(path, in_directory("tool"));
    free(path);
}
END_TEST

START_TEST(stage_names) {
    for (int i = 0; i < EXEC_STAGE_MAX; i++) {
        ck_assert_ptr_nonnull(exec_stage_to_string((enum exec_stage) i));
        ck_assert_int_eq(exec_stage_from_string(exec_stage_to_string((enum exec_stage) i)), i);
    }
    ck_assert_int_eq(exec_stage_from_string("lunch"), EXEC_STAGE_INVALID);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        runs,
        no_leaked_descriptors,
        passed_descriptors,
        swapped_outputs,
        signals_reset,
        known_signals_reset,
        settings,
        limits_set,
        tiny_nofile,
        as_another_user,
        as_another_user_plainly,
        bounded_root,
        fails_at_exec,
        fails_at_exec_as_user,
        fails_at_working_directory,
        fails_at_descriptors,
        fails_at_rlimits,
        fails_at_nice_and_oom,
        fails_at_credentials,
        becomes,
        fails_to_become,
        finds_executables,
        resolves,
        stage_names,
    };

    return run_tests("exec-child", tests, ELEMENTSOF(tests));
}
