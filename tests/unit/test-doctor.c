/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor makes of facts: each cause by itself, the healthy, the unknown, and what comes first. Facts
 * go to JSON and back. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/judge.h"

#include "suite.h"

#define MAIN_PID 812

static struct doctor_facts facts;
static struct doctor_findings findings;

static void set(char **text, const char *value) {
    free(*text);
    *text = value ? strdup(value) : NULL;
}

static struct doctor_process *add_process(uint64_t pid) {
    struct doctor_process *process = doctor_add(&facts, processes);

    ck_assert_ptr_nonnull(process);
    process->pid = pid;
    process->ppid = pid == MAIN_PID ? 1 : MAIN_PID;
    set(&process->comm, pid == MAIN_PID ? "daemon" : "worker");
    set(&process->state, "S");
    set(&process->state_before, "S");
    process->frozen = 0;
    process->threads = 1;
    process->cpu_usec = process->busiest_usec = 1000;
    process->open_files = 12;
    process->nofile_soft = 1024;
    process->nofile_hard = 4096;
    set(&process->waits_in, "ep_poll");
    set(&process->waits_call, "epoll_wait");
    facts.family = facts.n_processes;
    return process;
}

static struct doctor_listener *add_listener(uint64_t queue_before, uint64_t queue, uint64_t backlog) {
    struct doctor_listener *listener = doctor_add(&facts, listeners);

    set(&listener->address, "/run/d/control.sock");
    set(&listener->family, "unix");
    listener->listening = 1;
    listener->inode = 77;
    listener->pid = MAIN_PID;
    listener->queue_before = queue_before;
    listener->queue = queue;
    listener->backlog = backlog;
    return listener;
}

static struct doctor_cgroup *add_cgroup(const char *path) {
    struct doctor_cgroup *cgroup = doctor_add(&facts, cgroups);

    set(&cgroup->path, path);
    return cgroup;
}

static struct doctor_lock *add_lock(const char *kind, const char *verdict, const char *reason,
                                    uint64_t holder) {
    struct doctor_lock *lock = doctor_add(&facts, locks);

    set(&lock->path, "/run/d/d.lock");
    set(&lock->kind, kind);
    set(&lock->verdict, verdict);
    set(&lock->reason, reason);
    set(&lock->text, "what is so");
    set(&lock->advice, "what to do");
    lock->holder_pid = holder;
    if (holder == MAIN_PID)
        set(&lock->holder_role, "main");
    else if (holder != DOCTOR_UNKNOWN)
        set(&lock->holder_role, "other");
    return lock;
}

static struct doctor_connection *add_connection(void) {
    struct doctor_connection *connection = doctor_add(&facts, connections);

    set(&connection->family, "unix");
    set(&connection->local, "/run/d/control.sock");
    connection->inode = 90;
    connection->pid = MAIN_PID;
    set(&connection->comm, "daemon");
    connection->fd = 9;
    connection->nonblocking = 1;
    connection->full_before = 1;
    connection->unsent_bytes = 238336;
    connection->send_buffer_bytes = 212992;
    connection->peer_inode = 91;
    connection->peer_here = 1;
    connection->peer_pid = 4711;
    set(&connection->peer_comm, "client");
    set(&connection->peer_state, "S");
    connection->peer_fd = 3;
    connection->waiting_bytes_before = connection->waiting_bytes = 233152;
    return connection;
}

/* A service that is well. */
static void begin(void) {
    doctor_facts_init(&facts);
    set(&facts.service, "d");
    set(&facts.kind, "generic");
    set(&facts.state, "running");
    set(&facts.config_file, "/etc/latchd/d.conf");
    set(&facts.limits_command, "latchctl limits d");
    facts.supervised = 1;
    facts.supervisor_pid = 800;
    facts.pid = MAIN_PID;
    facts.ended = 0;
    facts.interval_usec = 1000000;
    facts.somaxconn = 4096;
    facts.threads_max = 192725;
    facts.pid_max = 32768;
    facts.machine_tasks = 113;
    facts.memory_stalled_percent = 0;
    add_process(MAIN_PID);
}

static void end(void) {
    doctor_findings_done(&findings);
    doctor_facts_done(&facts);
}

static void judge(void) {
    doctor_findings_done(&findings);
    ck_assert_int_eq(doctor_judge(&facts, &findings), 0);
}

static void expect_nothing(void) {
    judge();
    ck_assert_msg(findings.n == 0, "found: %s: %s", doctor_cause_to_string(findings.of[0].cause),
                  findings.of[0].summary);
}

/* The first finding, and what must stand in its words. */
_sentinel_ static const struct doctor_finding *expect(enum doctor_cause cause, enum doctor_severity severity,
                                                      ...) {
    const struct doctor_finding *finding;
    const char *part;
    va_list parts;

    judge();
    ck_assert_uint_ge(findings.n, 1);
    finding = &findings.of[0];
    ck_assert_str_eq(doctor_cause_to_string(finding->cause), doctor_cause_to_string(cause));
    ck_assert_str_eq(doctor_severity_to_string(finding->severity), doctor_severity_to_string(severity));
    ck_assert_ptr_nonnull(finding->summary);
    ck_assert_ptr_nonnull(finding->remedy);
    va_start(parts, severity);
    while ((part = va_arg(parts, const char *)))
        ck_assert_msg(
            strstr(finding->summary, part) || strstr(finding->remedy, part) || strstr(finding->subject, part),
            "\"%s\" is not in: %s: %s; %s", part, finding->subject, finding->summary, finding->remedy);
    va_end(parts);
    return finding;
}

static void expect_only(size_t n) {
    ck_assert_uint_eq(findings.n, n);
}

START_TEST(a_healthy_service_has_nothing) {
    char *verdict;

    add_listener(0, 0, 511);
    add_lock("lock", "held", "live", MAIN_PID);
    add_cgroup("/system.slice/d.service")->pids_max = DOCTOR_INFINITY;
    expect_nothing();
    ck_assert_int_eq(doctor_is_healthy(&facts, &findings), 1);
    verdict = doctor_verdict(&facts, &findings);
    ck_assert_str_eq(verdict, "d (PID 812): nothing found");
    free(verdict);
    verdict = doctor_describe_seen(&facts);
    ck_assert_str_eq(verdict, "locks and socket files: 1, queue of /run/d/control.sock: 0 of 512, "
                              "descriptors: 12 of 1024, processes: 1, "
                              "processor time: 0 %, cgroups: 1, full send buffers: 0");
    free(verdict);
}
END_TEST

/* Of nothing nothing follows, and it is not called healthy where rights were missing. */
START_TEST(what_is_unknown_is_no_finding_and_no_health) {
    char *verdict;

    doctor_facts_done(&facts);
    expect_nothing();
    doctor_add(&facts, processes);
    doctor_add(&facts, listeners);
    doctor_add(&facts, connections);
    set(&doctor_add(&facts, cgroups)->path, "/x");
    doctor_add(&facts, locks);
    expect_nothing();
    facts.pid = 5;
    facts.processes[0].pid = 5;
    expect_nothing();
    doctor_unseen(&facts, "memory pressure", EOPNOTSUPP);
    ck_assert_int_eq(doctor_is_healthy(&facts, &findings), 1);
    doctor_unseen(&facts, "its descriptors", EACCES);
    doctor_unseen(&facts, "its descriptors", EACCES);
    ck_assert_uint_eq(facts.n_unseen, 2);
    ck_assert_int_eq(doctor_is_healthy(&facts, &findings), -1);
    verdict = doctor_verdict(&facts, &findings);
    ck_assert_ptr_nonnull(strstr(verdict, "not all could be"));
    free(verdict);
}
END_TEST

START_TEST(a_stopped_main_comes_before_its_full_queue) {
    add_listener(4, 4, 3);
    set(&facts.processes[0].state, "T");
    expect(DOCTOR_STOPPED, DOCTOR_ERROR, "PID 812 (daemon)", "main process", "kill -CONT 812", NULL);
    expect_only(2);
    ck_assert_int_eq(findings.of[1].cause, DOCTOR_QUEUE_FULL);
    ck_assert_ptr_nonnull(strstr(findings.of[1].summary, "4 connections wait"));
    ck_assert_ptr_nonnull(strstr(findings.of[1].summary, "where 4 can"));
}
END_TEST

START_TEST(frozen_traced_and_some_of_the_workers) {
    facts.processes[0].frozen = 1;
    set(&facts.unit, "d.service");
    expect(DOCTOR_STOPPED, DOCTOR_ERROR, "frozen by its cgroup", "systemctl thaw d.service", NULL);
    facts.processes[0].frozen = 0;
    set(&facts.processes[0].state, "t");
    expect(DOCTOR_STOPPED, DOCTOR_ERROR, "debugger", "TracerPid", NULL);
    set(&facts.processes[0].state, "S");
    set(&add_process(813)->state, "T");
    add_process(814);
    expect(DOCTOR_STOPPED, DOCTOR_WARNING, "PID 813", NULL);
    set(&facts.processes[2].state, "T");
    expect(DOCTOR_STOPPED, DOCTOR_ERROR, "2 of 3 processes", NULL);
}
END_TEST

START_TEST(locks_of_dead_and_of_living_owners) {
    struct doctor_lock *lock = add_lock("lock", "orphaned", "leftover", 900);

    facts.pid = 0;
    facts.n_processes = 0;
    expect(DOCTOR_LOCK_ORPHANED, DOCTOR_ERROR, "/run/d/d.lock", "what is so", "what to do", NULL);
    set(&lock->verdict, "held");
    set(&lock->reason, "live");
    expect(DOCTOR_LOCK_HELD, DOCTOR_ERROR, NULL);
    lock->holder_pid = 800; /* the supervisor holds it for the daemon */
    expect_nothing();
    lock->holder_pid = DOCTOR_UNKNOWN;
    set(&lock->kind, "pidfile");
    set(&lock->verdict, "stale");
    expect(DOCTOR_LOCK_STALE, DOCTOR_WARNING, NULL);
    set(&lock->kind, "socket");
    expect(DOCTOR_SOCKET_STALE, DOCTOR_WARNING, NULL);
    set(&lock->verdict, "free");
    expect_nothing();
    facts.n_processes = 1;
    facts.pid = MAIN_PID;
}
END_TEST

START_TEST(a_daemon_that_does_not_listen) {
    struct doctor_lock *lock = add_lock("socket", "stale", "refused", DOCTOR_UNKNOWN);
    struct doctor_listener *listener;

    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "what is so", NULL);
    set(&lock->verdict, "held");
    set(&lock->reason, "not-listening");
    lock->holder_pid = MAIN_PID;
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, NULL);
    set(&lock->reason, "live");
    listener = add_listener(DOCTOR_UNKNOWN, DOCTOR_UNKNOWN, DOCTOR_UNKNOWN);
    set(&listener->address, "127.0.0.1:143");
    listener->listening = 0;
    expect(DOCTOR_NO_LISTENER, DOCTOR_ERROR, "nobody listens on 127.0.0.1:143", "latchctl logs d", NULL);
    listener->listening = DOCTOR_UNKNOWN;
    expect_nothing();
}
END_TEST

START_TEST(descriptors_near_and_at_the_limit) {
    facts.processes[0].open_files = 819;
    expect_nothing();
    facts.processes[0].open_files = 820;
    expect(DOCTOR_NOFILE, DOCTOR_WARNING, "820 of 1024 descriptors", "latchctl limits d NOFILE=2048:4096",
           "LimitNOFILE=2048 in /etc/latchd/d.conf", NULL);
    facts.processes[0].open_files = 1024;
    expect(DOCTOR_NOFILE, DOCTOR_ERROR, "1024 of 1024 descriptors are open", "EMFILE", NULL);
    facts.processes[0].nofile_soft = DOCTOR_INFINITY;
    expect_nothing();
    add_process(813)->open_files = 1024;
    expect(DOCTOR_NOFILE, DOCTOR_ERROR, "PID 813", "latchctl limits d --all NOFILE=2048", NULL);
    set(&facts.limits_command, NULL);
    set(&facts.service, NULL);
    set(&facts.unit, "d.service");
    expect(DOCTOR_NOFILE, DOCTOR_ERROR, "prlimit --pid 813 --nofile=2048:4096",
           "LimitNOFILE=2048 of d.service", NULL);
}
END_TEST

START_TEST(processes_of_the_user_the_machine_and_the_cgroup) {
    struct doctor_cgroup *cgroup;

    facts.uid = 1000;
    set(&facts.user, "mail");
    facts.nproc_counts = 1;
    facts.nproc_soft = facts.nproc_hard = 100;
    facts.user_tasks = 79;
    expect_nothing();
    facts.user_tasks = 100;
    expect(DOCTOR_PROCESS_LIMIT, DOCTOR_ERROR, "user mail has 100 processes and threads, of 100", "EAGAIN",
           "LimitNPROC=256", NULL);
    facts.nproc_counts = 0; /* root is not held to it */
    expect_nothing();
    facts.machine_tasks = 32000;
    expect(DOCTOR_PROCESS_LIMIT, DOCTOR_WARNING, "kernel.pid_max", "32000", "32768", NULL);
    facts.machine_tasks = 100;
    cgroup = add_cgroup("/system.slice/d.service");
    cgroup->pids_max = 20;
    cgroup->pids = 20;
    cgroup->pids_refused = 7;
    cgroup->pids_refused_in_all = 9;
    set(&facts.unit, "d.service");
    expect(DOCTOR_CGROUP_PIDS, DOCTOR_ERROR, "20 of 20", "7 forks were refused", "TasksMax=64 of d.service",
           NULL);
    cgroup->pids = 17;
    cgroup->pids_refused = 0;
    expect(DOCTOR_CGROUP_PIDS, DOCTOR_WARNING, "17 of 20", NULL);
    cgroup->pids = 3;
    expect(DOCTOR_CGROUP_PIDS, DOCTOR_HINT, "9 forks were refused since", NULL);
    cgroup->pids_refused_in_all = 0;
    expect_nothing();
    cgroup = add_cgroup("/system.slice"); /* above it there was always something */
    cgroup->oom_kills_in_all = 3;
    cgroup->pids_refused_in_all = 3;
    expect_nothing();
}
END_TEST

START_TEST(memory_and_processor_of_the_cgroup) {
    struct doctor_cgroup *cgroup = add_cgroup("/d");

    cgroup->throttled = 3;
    cgroup->throttled_usec = 20000;
    expect(DOCTOR_CPU_THROTTLED, DOCTOR_WARNING, "in 3 periods", "20 ms", "CPUQuota=", NULL);
    cgroup->throttled_usec = 500000;
    expect(DOCTOR_CPU_THROTTLED, DOCTOR_ERROR, NULL);
    cgroup->throttled = 0;
    cgroup->memory_bytes = cgroup->memory_max_bytes = 1048576;
    cgroup->memory_max_hits = 12;
    expect(DOCTOR_CGROUP_MEMORY, DOCTOR_WARNING, "1048576 bytes", "12 times", "MemoryMax=", NULL);
    cgroup->oom_kills = cgroup->oom_kills_in_all = 1;
    expect(DOCTOR_CGROUP_MEMORY, DOCTOR_ERROR, "1 of its processes were killed", NULL);
    cgroup->oom_kills = cgroup->memory_max_hits = 0;
    expect(DOCTOR_CGROUP_MEMORY, DOCTOR_HINT, "since it was made", NULL);
    cgroup->oom_kills_in_all = 0;
    cgroup->memory_stalled_percent = 12;
    expect(DOCTOR_MEMORY_PRESSURE, DOCTOR_WARNING, "12 %", NULL);
    facts.memory_stalled_percent = 60;
    expect(DOCTOR_MEMORY_PRESSURE, DOCTOR_ERROR, "the machine", NULL);
}
END_TEST

START_TEST(a_busy_main) {
    struct doctor_process *main = &facts.processes[0];

    main->cpu_usec = main->busiest_usec = 890000;
    expect_nothing();
    main->cpu_usec = main->busiest_usec = 1000000;
    expect(DOCTOR_MAIN_BUSY, DOCTOR_WARNING, "100 % of 1000 ms", "perf top -p 812", NULL);
    main->cpu_usec = main->busiest_usec = 300000; /* others have the processors */
    main->delayed_usec = 590000;
    expect_nothing();
    main->delayed_usec = 650000;
    expect(DOCTOR_MAIN_BUSY, DOCTOR_WARNING, "for 30 % of", "for 65 % it could have run", "who else uses",
           NULL);
    main->delayed_usec = 0;
    main->cpu_usec = main->busiest_usec = 1000000;
    add_listener(3, 3, 511);
    expect(DOCTOR_MAIN_BUSY, DOCTOR_ERROR, NULL);
    expect_only(1); /* that it does not accept is no finding of its own while it works */
    main->threads = 8;
    main->cpu_usec = 2000000; /* many threads that are not busy each */
    main->busiest_usec = 300000;
    expect_nothing();
    main->busiest_usec = 600000;
    main->new_children = 120;
    expect(DOCTOR_MAIN_BUSY, DOCTOR_WARNING, "forked at least 120 times a second", "fork less", NULL);
}
END_TEST

START_TEST(blocked_workers) {
    struct doctor_process *main = &facts.processes[0], *worker = add_process(813);

    main = &facts.processes[0];
    set(&worker->waits_in, "locks_lock_inode_wait");
    set(&worker->waits_call, "flock");
    set(&worker->waits_file, "/var/lib/d/index");
    worker->waits_fd = 5;
    worker->lock_holder = 900;
    set(&worker->lock_holder_comm, "backup");
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "PID 813", "/var/lib/d/index", "PID 900 (backup) took it",
           "latchctl doctor --pid 900", NULL);
    add_process(814);
    main = &facts.processes[0];
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_WARNING, NULL); /* another one works */
    facts.n_processes = 2;
    worker = &facts.processes[1];
    set(&worker->waits_call, "epoll_wait");
    set(&main->state, "D");
    expect_nothing(); /* at one of the two looks only */
    set(&main->state_before, "D");
    set(&main->waits_in, "folio_wait_bit_common");
    set(&main->waits_call, "read");
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "uninterruptible sleep", "folio_wait_bit_common",
           "/proc/812/stack", NULL);
    set(&main->state, "S");
    set(&main->waits_in, "request_wait_answer");
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "waits for a file system", NULL);
    set(&main->waits_in, "io_cqring_wait");
    expect_nothing();
    set(&main->waits_in, "sock_alloc_send_pskb");
    set(&main->waits_call, "sendto");
    main->waits_fd = 9;
    set(&main->waits_file, "socket:[90]");
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "sendto on fd 9", "O_NONBLOCK", NULL);
    add_connection();
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "that is PID 4711 (client)", NULL);
    expect_only(2);
    set(&main->waits_call, "connect");
    expect(DOCTOR_WORKERS_BLOCKED, DOCTOR_ERROR, "waits in connect", NULL);
    facts.n_processes = 3;
}
END_TEST

START_TEST(a_peer_that_does_not_read) {
    struct doctor_connection *connection = add_connection();

    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "PID 812 (daemon) cannot write", "238336", "212992",
           "non-blocking", "EAGAIN", "PID 4711 (client) does not read", "233152 bytes wait", "fd 3",
           "latchctl doctor --pid 4711", NULL);
    expect_only(1);
    set(&connection->peer_state, "T");
    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "which is stopped", "kill -CONT 4711", NULL);
    connection->waiting_bytes = 100; /* it reads */
    expect_nothing();
    connection->waiting_bytes = 233152;
    connection->full_before = 0;
    expect_nothing();
    connection->full_before = 1;
    connection->nonblocking = 0;
    connection->peer_pid = DOCTOR_UNKNOWN;
    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "a write hangs", "could not be found", "as root", NULL);
    connection->peer_inode = 0;
    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "nobody has accepted", NULL);
    set(&connection->family, "tcp");
    set(&connection->remote, "192.0.2.7:4711");
    connection->peer_here = 0;
    connection->waiting_bytes = connection->waiting_bytes_before = DOCTOR_UNKNOWN;
    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "192.0.2.7:4711", "another machine", NULL);
    for (int i = 0; i < 20; i++)
        add_connection();
    judge();
    expect_only(9);
    ck_assert_ptr_nonnull(strstr(findings.of[8].summary, "21 connections"));
}
END_TEST

/* The service itself is the one that does not read. */
START_TEST(the_service_does_not_read) {
    struct doctor_connection *connection = add_connection();

    connection->pid = 4711;
    set(&connection->comm, "client");
    connection->peer_pid = MAIN_PID;
    set(&connection->peer_comm, "daemon");
    expect(DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, "PID 4711 (client) cannot write",
           "PID 812 (daemon) does not read", "strace -f -p 812", NULL);
}
END_TEST

START_TEST(queues) {
    struct doctor_listener *listener = add_listener(0, 411, 511);

    facts.processes[0].cpu_usec = 300000; /* it works */
    expect(DOCTOR_QUEUE_FULL, DOCTOR_WARNING, "411 connections", "512 can", NULL);
    listener->queue = 408;
    expect_nothing();
    listener->queue = 511; /* one more has room */
    expect(DOCTOR_QUEUE_FULL, DOCTOR_WARNING, NULL);
    listener->queue = 512;
    expect(DOCTOR_QUEUE_FULL, DOCTOR_ERROR, "512 connections wait on /run/d/control.sock, where 512 can",
           "EAGAIN", "listen(2)", "1024", NULL);
    listener->asked = 511;
    set(&listener->name, "control");
    expect(DOCTOR_QUEUE_FULL, DOCTOR_ERROR, "Backlog=1024 in [Socket control] of /etc/latchd/d.conf", NULL);
    listener->queue_before = 512;
    listener->queue = 0;
    expect(DOCTOR_QUEUE_FULL, DOCTOR_WARNING, "full at the first look", NULL);
    set(&listener->family, "tcp");
    listener->queue = 512;
    expect(DOCTOR_QUEUE_FULL, DOCTOR_ERROR, "dropped", NULL);
}
END_TEST

START_TEST(nobody_accepts) {
    struct doctor_listener *listener = add_listener(2, 2, 511);

    expect(DOCTOR_NOT_ACCEPTING, DOCTOR_WARNING, "2 connections wait", "epoll_wait", "strace -f -p 812",
           NULL);
    expect_only(1);
    for (uint64_t pid = 813; pid < 816; pid++) { /* they wait for somebody else's answer */
        struct doctor_process *worker = add_process(pid);

        set(&worker->waits_in, pid == 815 ? "do_wait" : "unix_stream_read_generic");
        set(&worker->waits_call, pid == 815 ? "wait4" : "recvfrom");
        set(&worker->waits_file, "socket:[5]");
    }
    expect(DOCTOR_NOT_ACCEPTING, DOCTOR_WARNING, "2 of 3 other processes wait in recvfrom", "on socket:[5]",
           NULL);
    facts.n_processes = 1;
    listener->queue = 1; /* one a second, or none, as chance has it: the same verdict */
    expect(DOCTOR_NOT_ACCEPTING, DOCTOR_WARNING, "1 connections wait", "hardly one a second", NULL);
    listener->queue_before = 512;
    listener->queue = 511;
    expect(DOCTOR_NOT_ACCEPTING, DOCTOR_ERROR, NULL);
    listener->queue = 509; /* three were taken */
    judge();
    expect_only(1);
    ck_assert_int_eq(findings.of[0].cause, DOCTOR_QUEUE_FULL);
    listener->queue = listener->queue_before = 2;
    listener->worker_pid = 815;
    listener->workers = 3;
    expect(DOCTOR_NOT_ACCEPTING, DOCTOR_WARNING, "3 workers of it may accept", "strace -f -p 815", NULL);
    ck_assert_ptr_null(strstr(findings.of[0].remedy, "812"));
    facts.processes[0].cpu_usec = DOCTOR_UNKNOWN;
    expect_nothing();
    facts.n_processes = 4;
}
END_TEST

START_TEST(a_backlog_that_is_cut) {
    struct doctor_listener *listener = add_listener(0, 0, 128);

    facts.somaxconn = 128;
    expect_nothing(); /* whether the daemon asked for more cannot be told */
    listener->asked = 4096;
    expect(DOCTOR_BACKLOG_CLAMPED, DOCTOR_HINT, "Backlog=4096", "net.core.somaxconn=128",
           "129 connections can wait, not "
           "4097",
           "sysctl net.core.somaxconn=4096", NULL);
    facts.somaxconn = 4096;
    listener->backlog = 4096; /* as it was asked for */
    listener->queue = 4097;
    expect(DOCTOR_QUEUE_FULL, DOCTOR_ERROR, NULL);
    expect_only(1);
    facts.somaxconn = listener->backlog = 128;
    listener->asked = DOCTOR_UNKNOWN;
    listener->queue = 129;
    expect(DOCTOR_QUEUE_FULL, DOCTOR_ERROR, "sysctl net.core.somaxconn=256", NULL);
    expect_only(2);
    ck_assert_int_eq(findings.of[1].cause, DOCTOR_BACKLOG_CLAMPED);
}
END_TEST

START_TEST(a_supervisor_that_does_not_answer) {
    set(&facts.supervisor_silence, "no answer within 5s");
    expect(DOCTOR_SUPERVISOR_SILENT, DOCTOR_WARNING, "no answer within 5s", NULL);
}
END_TEST

START_TEST(a_main_that_ended_meanwhile) {
    char *verdict;

    facts.ended = 1;
    set(&facts.processes[0].state, "T");
    facts.processes[0].open_files = 12;
    expect_nothing();
    verdict = doctor_verdict(&facts, &findings);
    ck_assert_ptr_nonnull(strstr(verdict, "ended while it was looked at"));
    free(verdict);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("doctor");
    TCase *tcase = tcase_create("judge");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, a_healthy_service_has_nothing);
    tcase_add_test(tcase, what_is_unknown_is_no_finding_and_no_health);
    tcase_add_test(tcase, a_stopped_main_comes_before_its_full_queue);
    tcase_add_test(tcase, frozen_traced_and_some_of_the_workers);
    tcase_add_test(tcase, locks_of_dead_and_of_living_owners);
    tcase_add_test(tcase, a_daemon_that_does_not_listen);
    tcase_add_test(tcase, descriptors_near_and_at_the_limit);
    tcase_add_test(tcase, processes_of_the_user_the_machine_and_the_cgroup);
    tcase_add_test(tcase, memory_and_processor_of_the_cgroup);
    tcase_add_test(tcase, a_busy_main);
    tcase_add_test(tcase, blocked_workers);
    tcase_add_test(tcase, a_peer_that_does_not_read);
    tcase_add_test(tcase, the_service_does_not_read);
    tcase_add_test(tcase, queues);
    tcase_add_test(tcase, nobody_accepts);
    tcase_add_test(tcase, a_backlog_that_is_cut);
    tcase_add_test(tcase, a_supervisor_that_does_not_answer);
    tcase_add_test(tcase, a_main_that_ended_meanwhile);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
