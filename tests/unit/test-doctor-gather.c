/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor gathers, of ourselves and of children, and the table of unix connections. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/procfs.h"
#include "doctor/gather-parts.h"
#include "doctor/judge.h"

#include "suite.h"

static int proc_fd = -1;

static void begin(void) {
    proc_fd = procfs_open();
    ck_assert_int_ge(proc_fd, 0);
}

static void end(void) {
    (void) close(proc_fd);
}

static uint32_t inode_of(int fd) {
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint32_t) st.st_ino;
}

START_TEST(descendants_of_a_process) {
    _cleanup_family_sweep_ struct family_sweep sweep = {0};
    const struct family_member **family = NULL;
    size_t kept, n;
    pid_t child = fork(), grandchild;
    int pipe_fds[2];

    if (child == 0) {
        (void) !fork();
        for (;;)
            (void) pause();
    }
    ck_assert_int_eq(pipe(pipe_fds), 0);
    do {
        family_sweep_done(&sweep);
        free(family);
        deadline_sleep(10000);
        ck_assert_int_eq(family_sweep_read(proc_fd, &sweep), 0);
        ck_assert_int_eq(family_sweep_descendants(&sweep, getpid(), 100, &family, &kept, &n), 0);
    } while (n < 3);
    ck_assert_uint_eq(kept, 3);
    ck_assert_int_eq(family[0]->pid, getpid());
    ck_assert_int_eq(family[1]->pid, child);
    ck_assert_int_eq(family[2]->ppid, child);
    grandchild = family[2]->pid;
    free(family);
    ck_assert_int_eq(family_sweep_descendants(&sweep, getpid(), 2, &family, &kept, &n), 0);
    ck_assert_uint_eq(kept, 2);
    ck_assert_uint_eq(n, 3);
    free(family);
    (void) kill(grandchild, SIGKILL);
    (void) kill(child, SIGKILL);
    (void) waitpid(child, NULL, 0);
    (void) close(pipe_fds[0]);
    (void) close(pipe_fds[1]);
}
END_TEST

START_TEST(a_full_connection_and_its_peer) {
    _cleanup_unix_streams_ struct unix_streams streams = {0};
    const struct unix_stream *writer, *reader;
    static char bytes[65536];
    size_t sent = 0;
    ssize_t size;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(unix_streams_read(&streams), 0);
    writer = unix_streams_find(&streams, inode_of(fds[0]));
    ck_assert_ptr_nonnull(writer);
    ck_assert_uint_eq(writer->peer, inode_of(fds[1]));
    ck_assert(writer->has_memory);
    ck_assert(!unix_stream_is_full(writer));
    unix_streams_done(&streams);
    while ((size = send(fds[0], bytes, sizeof bytes, MSG_NOSIGNAL)) > 0)
        sent += (size_t) size;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(unix_streams_read(&streams), 0);
    writer = unix_streams_find(&streams, inode_of(fds[0]));
    reader = unix_streams_find(&streams, inode_of(fds[1]));
    ck_assert_ptr_nonnull(writer);
    ck_assert_ptr_nonnull(reader);
    ck_assert(unix_stream_is_full(writer));
    ck_assert(!unix_stream_is_full(reader));
    ck_assert_uint_eq(reader->unread_bytes, sent);
    ck_assert_ptr_null(unix_streams_find(&streams, 0));
    (void) close(fds[0]);
    (void) close(fds[1]);
}
END_TEST

START_TEST(who_has_a_socket_and_how) {
    _cleanup_descriptors_ struct descriptors descriptors = {0};
    const struct descriptor *found;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(descriptors_read(proc_fd, getpid(), NULL, 0, &descriptors), 0);
    descriptors_sort(&descriptors);
    found = descriptors_find(&descriptors, inode_of(fds[1]));
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(found->pid, getpid());
    ck_assert_int_eq(found->fd, fds[1]);
    ck_assert_ptr_null(descriptors_find(&descriptors, UINT32_MAX));
    descriptors_done(&descriptors);
    ck_assert_int_eq(descriptors_read(proc_fd, getpid(), (uint32_t[]){inode_of(fds[0])}, 1, &descriptors), 0);
    ck_assert_uint_eq(descriptors.n, 1);
    ck_assert_uint_eq(descriptor_is_nonblocking(proc_fd, getpid(), fds[0]), 0);
    (void) close(fds[0]);
    (void) close(fds[1]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_uint_eq(descriptor_is_nonblocking(proc_fd, getpid(), fds[0]), 1);
    ck_assert_uint_eq(descriptor_is_nonblocking(proc_fd, getpid(), 100000), DOCTOR_UNKNOWN);
    (void) close(fds[0]);
    (void) close(fds[1]);
}
END_TEST

/* Two looks at a process that is stopped, and that has a full queue. */
START_TEST(facts_of_a_stopped_child) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct doctor_request request = {0};
    _cleanup_doctor_findings_ struct doctor_findings findings = {0};
    struct doctor_facts *facts = NULL;
    int clients[2], listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t child, missing = 0;

    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "test-doctor-%d", (int) getpid());
    ck_assert_int_eq(bind(listener, (struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    child = fork();
    if (child == 0)
        for (;;)
            (void) pause();
    (void) close(listener);
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_eq(connect(clients[i], (struct sockaddr *) &address, sizeof address), i == 0 ? 0 : -1);
    }
    (void) kill(child, SIGSTOP);
    request.pid = child;
    ck_assert_int_eq(doctor_gather(&request, 1, DOCTOR_INTERVAL_MIN_USEC, &facts, &missing), 0);
    ck_assert_uint_eq(facts->n_processes, 1);
    ck_assert_str_eq(facts->processes[0].state, "T");
    ck_assert_uint_eq(facts->n_listeners, 1);
    ck_assert_uint_eq(facts->listeners[0].queue, 1);
    ck_assert_uint_eq(facts->listeners[0].queue_before, 1);
    ck_assert_uint_eq(facts->listeners[0].backlog, 0);
    ck_assert_uint_eq(facts->listeners[0].nonblocking, 0);
    ck_assert_int_eq(doctor_judge(facts, &findings), 0);
    ck_assert_uint_eq(findings.n, 2);
    ck_assert_int_eq(findings.of[0].cause, DOCTOR_STOPPED);
    ck_assert_int_eq(findings.of[1].cause, DOCTOR_QUEUE_FULL);
    doctor_facts_free_array(facts, 1);
    (void) kill(child, SIGKILL);
    (void) waitpid(child, NULL, 0);
    ck_assert_int_eq(doctor_gather(&request, 1, DOCTOR_INTERVAL_MIN_USEC, &facts, &missing), -ESRCH);
    ck_assert_int_eq(missing, child);
    (void) close(clients[0]);
    (void) close(clients[1]);
}
END_TEST

static json_t *holder(pid_t pid, const char *role) {
    return json_pack("{s:i, s:s, s:s}", "pid", (int) pid, "comm", "daemon", "role", role);
}

/* A lock that a helper has inherited is the main process's all the same. */
START_TEST(locks_from_reports) {
    json_t *reports = json_pack("[{s:s, s:s, s:s, s:b, s:[o, o]}, {s:s, s:s, s:s, s:s, s:[]}]", "path", "/l",
                                "verdict", "held", "reason", "live", "complete", 1, "holders",
                                holder(7, "other"), holder(5, "main"), "path", "/m", "verdict", "unknown",
                                "reason", "incomplete-scan", "summary", "somebody holds it", "holders");
    struct doctor_facts facts;

    ck_assert_ptr_nonnull(reports);
    doctor_facts_init(&facts);
    ck_assert_int_eq(doctor_gather_locks(reports, &facts), 0);
    ck_assert_uint_eq(facts.n_locks, 2);
    ck_assert_uint_eq(facts.locks[0].holder_pid, 5);
    ck_assert_str_eq(facts.locks[0].holder_role, "main");
    ck_assert_uint_eq(facts.locks[0].recorded_pid, DOCTOR_UNKNOWN);
    ck_assert_uint_eq(facts.locks[1].holder_pid, DOCTOR_UNKNOWN);
    ck_assert_uint_eq(facts.n_unseen, 1);
    ck_assert_str_eq(facts.unseen[0].what, "who holds /m: somebody holds it");
    ck_assert_uint_eq(facts.unseen[0].permission, 1);
    doctor_facts_done(&facts);
    ck_assert_int_eq(doctor_gather_locks(NULL, &facts), 0);
    json_decref(reports);
}
END_TEST

START_TEST(pressure) {
    ck_assert_uint_eq(doctor_parse_pressure("some avg10=12.40 avg60=0.00 avg300=0.00 total=5\n"), 12);
    ck_assert_uint_eq(doctor_parse_pressure("full avg10=1"), DOCTOR_UNKNOWN);
    ck_assert_uint_eq(doctor_parse_pressure(""), DOCTOR_UNKNOWN);
}
END_TEST

START_TEST(what_netlink_may_say) {
    _cleanup_unix_streams_ struct unix_streams streams = {0};
    static const char cut[8] = {0};

    ck_assert_int_eq(unix_streams_parse(cut, sizeof cut, &streams), -EBADMSG);
    ck_assert_uint_eq(streams.n, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("doctor-gather");
    TCase *tcase = tcase_create("gather");

    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, descendants_of_a_process);
    tcase_add_test(tcase, a_full_connection_and_its_peer);
    tcase_add_test(tcase, who_has_a_socket_and_how);
    tcase_add_test(tcase, facts_of_a_stopped_child);
    tcase_add_test(tcase, locks_from_reports);
    tcase_add_test(tcase, pressure);
    tcase_add_test(tcase, what_netlink_may_say);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
