/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages, senders and the socket, without a service. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "base/closer.h"
#include "notify/message.h"
#include "notify/sender.h"
#include "notify/socket.h"

#include "../tools/send-datagram.h"
#include "lingering.h"
#include "suite.h"

#define ID "0123456789abcdef0123456789abcdef"

static struct notify_message parsed(const char *text) {
    struct notify_message message;

    ck_assert_int_eq(notify_message_parse(text, strlen(text), &message), 0);
    return message;
}

START_TEST(test_fields) {
    struct notify_message m =
        parsed("READY=1\nSTATUS=Serving 5 clients\nMAINPID=4711\nERRNO=13\nEXIT_STATUS=7\n"
               "EXTEND_TIMEOUT_USEC=5000000\nWATCHDOG=1\nWATCHDOG_USEC=20000000\nX_OWN=1\n");

    ck_assert_int_eq(m.phase, NOTIFY_PHASE_READY);
    ck_assert(m.has_status);
    ck_assert_str_eq(m.status, "Serving 5 clients");
    ck_assert_int_eq(m.main_pid, 4711);
    ck_assert(m.has_errno && m.error_number == 13);
    ck_assert(m.has_exit_status && m.exit_status == 7);
    ck_assert_uint_eq(m.extend_usec, 5000000);
    ck_assert(m.watchdog_ping && !m.watchdog_trigger);
    ck_assert(m.has_watchdog_usec && m.watchdog_usec == 20000000);
    ck_assert(!m.barrier && !m.fd_store && m.fd_poll);
    ck_assert_ptr_null(m.bad);

    m = parsed("RELOADING=1\nMONOTONIC_USEC=17");
    ck_assert_int_eq(m.phase, NOTIFY_PHASE_RELOADING);
    ck_assert(m.has_monotonic && m.monotonic_usec == 17);
    ck_assert_int_eq(parsed("STOPPING=1").phase, NOTIFY_PHASE_STOPPING);
    m = parsed("FDSTORE=1\nFDNAME=state\nFDPOLL=0");
    ck_assert(m.fd_store && !m.fd_poll && !m.fd_remove);
    ck_assert_str_eq(m.fd_name, "state");
    ck_assert(parsed("FDSTOREREMOVE=1\nFDNAME=x").fd_remove);
    ck_assert(parsed("BARRIER=1").barrier);
    ck_assert(parsed("WATCHDOG=trigger").watchdog_trigger);
    ck_assert(!parsed("NOTIFYACCESS=all").has_status);
    ck_assert_int_eq(parsed("").phase, NOTIFY_PHASE_NONE);
}
END_TEST

START_TEST(test_last_phase_counts) {
    ck_assert_int_eq(parsed("READY=1\nRELOADING=1").phase, NOTIFY_PHASE_RELOADING);
    ck_assert_int_eq(parsed("RELOADING=1\nREADY=1").phase, NOTIFY_PHASE_READY);
}
END_TEST

START_TEST(test_nonsense) {
    static const char *const bad[] = {
        "READY=0",
        "READY=",
        "MAINPID=",
        "MAINPID=-1",
        "MAINPID=1x",
        "ERRNO=abc",
        "ERRNO=-1",
        "WATCHDOG=maybe",
        "WATCHDOG_USEC=-5",
        "STOPPING=yes",
        "MONOTONIC_USEC=soon",
        "EXTEND_TIMEOUT_USEC=99999999999999999999",
        "EXIT_STATUS=256",
        "FDNAME=a:b",
        "FDNAME=",
        "FDNAME=\x01",
        "MAINPID=99999999999",
    };
    struct notify_message m;

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        char text[128];

        snprintf(text, sizeof text, "%s\nSTATUS=still", bad[i]);
        m = parsed(text);
        ck_assert_msg(m.bad && strncmp(m.bad, bad[i], strlen(m.bad)) == 0, "%s", bad[i]);
        ck_assert_int_eq(m.phase, NOTIFY_PHASE_NONE);
        ck_assert_int_eq(m.main_pid, 0);
        ck_assert(!m.watchdog_ping && !m.has_errno && !m.has_watchdog_usec && !m.has_exit_status);
        ck_assert_uint_eq(m.extend_usec, 0);
        ck_assert_str_eq(m.fd_name, "");
        ck_assert_str_eq(m.status, "still");
    }
    ck_assert_ptr_null(parsed("READY").bad);
    ck_assert_int_eq(notify_message_parse("READY=1\0X", 9, &m), -EBADMSG);
    ck_assert_int_eq(notify_message_parse("READY=1", 8, &m), 0); /* one at its end */
    ck_assert_int_eq(m.phase, NOTIFY_PHASE_READY);
}
END_TEST

START_TEST(test_status_is_bounded_and_printable) {
    char text[1024] = "STATUS=";
    struct notify_message m;

    m = parsed("STATUS=a\tb\x1b[31mc\xff");
    ck_assert_str_eq(m.status, "a?b?[31mc?");
    for (int i = 0; i < 300; i++)
        strcat(text, "\xc3\xa4"); /* an a with two dots, two bytes: 255 bytes would end within one */
    m = parsed(text);
    ck_assert_uint_eq(strlen(m.status), 254);
    ck_assert_ptr_null(strchr(m.status, '?'));
}
END_TEST

static const struct notify_family family = {
    .service = "d", .invocation_id = ID, .main = 100, .main_uid = 7, .supervisor = 50, .only_service = false};

#define judge(...) notify_sender_judge(&(struct notify_sender_facts){__VA_ARGS__}, &family)

START_TEST(test_judge) {
    struct notify_family only = family, first = family;

    ck_assert_int_eq(judge(.pid = 100), NOTIFY_SENDER_MAIN);
    ck_assert_int_eq(judge(.pid = 101, .ancestors = {100, 50, 1}, .n_ancestors = 3), NOTIFY_SENDER_FAMILY);
    ck_assert_int_eq(judge(.pid = 101, .ancestors = {99, 100}, .n_ancestors = 2), NOTIFY_SENDER_FAMILY);
    /* Ours, but of which service? */
    ck_assert_int_eq(judge(.pid = 101, .ancestors = {50, 1}, .n_ancestors = 2), NOTIFY_SENDER_STRANGER);
    ck_assert_int_eq(judge(.pid = 101, .ancestors = {50, 1}, .n_ancestors = 2, .service = (char *) "d"),
                     NOTIFY_SENDER_FAMILY);
    ck_assert_int_eq(judge(.pid = 101, .ancestors = {50, 1}, .n_ancestors = 2, .service = (char *) "e"),
                     NOTIFY_SENDER_STRANGER);
    /* The environment alone needs both, and this generation's. */
    ck_assert_int_eq(judge(.pid = 101, .service = (char *) "d", .invocation_id = (char *) ID),
                     NOTIFY_SENDER_INVOCATION);
    ck_assert_int_eq(judge(.pid = 101, .service = (char *) "d"), NOTIFY_SENDER_STRANGER);
    ck_assert_int_eq(judge(.pid = 101, .service = (char *) "e", .invocation_id = (char *) ID),
                     NOTIFY_SENDER_STRANGER);
    ck_assert_int_eq(judge(.pid = 101, .service = (char *) "d", .invocation_id = (char *) "other"),
                     NOTIFY_SENDER_STRANGER);
    ck_assert_int_eq(judge(.pid = 101, .gone = true), NOTIFY_SENDER_GONE);
    ck_assert_int_eq(judge(.pid = 101, .unreadable = true), NOTIFY_SENDER_UNKNOWN);
    ck_assert_int_eq(judge(.pid = 50), NOTIFY_SENDER_STRANGER); /* ourselves */
    ck_assert_int_eq(judge(.pid = 1, .service = (char *) "d", .invocation_id = (char *) ID),
                     NOTIFY_SENDER_STRANGER);
    ck_assert_int_eq(judge(.pid = 0), NOTIFY_SENDER_STRANGER);

    only.only_service = true;
    ck_assert_int_eq(
        notify_sender_judge(&(struct notify_sender_facts){.pid = 101, .ancestors = {50}, .n_ancestors = 1},
                            &only),
        NOTIFY_SENDER_FAMILY);
    ck_assert_int_eq(notify_sender_judge(
                         &(struct notify_sender_facts){
                             .pid = 101, .ancestors = {50}, .n_ancestors = 1, .service = (char *) "e"},
                         &only),
                     NOTIFY_SENDER_STRANGER);
    first.only_service = true;
    first.supervisor = 1; /* everybody's ancestor */
    ck_assert_int_eq(
        notify_sender_judge(&(struct notify_sender_facts){.pid = 101, .ancestors = {1}, .n_ancestors = 1},
                            &first),
        NOTIFY_SENDER_STRANGER);
    first.main = 0; /* none: nobody descends from it */
    ck_assert_int_eq(
        notify_sender_judge(&(struct notify_sender_facts){.pid = 101, .ancestors = {0}, .n_ancestors = 1},
                            &first),
        NOTIFY_SENDER_STRANGER);
}
END_TEST

/* -- the socket -- */

static char directory[64];
static int dir_fd;

static void set_up(void) {
    strcpy(directory, "/tmp/test-notify.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chmod(directory, 0755), 0);
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void tear_down(void) {
    char command[96];

    fd_close(dir_fd);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
}

static void open_socket(struct notify_socket *ret) {
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(notify_socket_open(dir_fd, "d", ret, &err) == 0, "%s", err_text(&err));
}

START_TEST(test_socket) {
    struct closer *closer = NULL;
    uint64_t before;
    int fd, peer;
    static struct notify_datagram datagram;
    static char large[NOTIFY_MESSAGE_MAX + 100];
    struct notify_socket socket, successor;
    struct stat st;
    int ends[2];

    open_socket(&socket);
    ck_assert_int_eq(notify_socket_receive(&socket, &datagram), -EAGAIN);
    ck_assert_int_eq(send_datagram(socket.address, "READY=1", 7, NULL, 0), 0);
    ck_assert_int_eq(notify_socket_receive(&socket, &datagram), 0);
    ck_assert_uint_eq(datagram.size, 7);
    ck_assert(!datagram.is_cut && !datagram.fds_lost);
    ck_assert_int_eq(datagram.pid, getpid());
    ck_assert_uint_eq(datagram.uid, getuid());
    ck_assert_uint_eq(datagram.n_fds, 0);
    fd_close(datagram.pidfd);

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(send_datagram(socket.address, "BARRIER=1", 9, ends, 2), 0);
    ck_assert_int_eq(notify_socket_receive(&socket, &datagram), 0);
    ck_assert_uint_eq(datagram.n_fds, 2);
    ck_assert_int_eq(fcntl(datagram.fds[0], F_GETFD), FD_CLOEXEC);
    fd_close(datagram.fds[0]);
    fd_close(datagram.fds[1]);
    fd_close(datagram.pidfd);
    fd_close(ends[0]);
    fd_close(ends[1]);

    ck_assert_int_eq(send_datagram(socket.address, large, sizeof large, NULL, 0), 0);
    ck_assert_int_eq(notify_socket_receive(&socket, &datagram), 0);
    ck_assert(datagram.is_cut);
    fd_close(datagram.pidfd);

    /* A successor has the same address, and the one before it, when it goes, leaves that alone. */
    open_socket(&successor);
    ck_assert_str_eq(successor.address, socket.address);
    notify_socket_close(&socket, &closer);
    ck_assert_int_eq(send_datagram(successor.address, "X=1", 3, NULL, 0), 0);
    ck_assert_int_eq(notify_socket_receive(&successor, &datagram), 0);
    fd_close(datagram.pidfd);
    ck_assert_int_eq(stat(successor.address, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(notify_socket_grant(&successor, (uid_t) -1), 0);
    ck_assert_int_eq(stat(successor.address, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0666);
    ck_assert_int_eq(notify_socket_grant(&successor, 65534), 0);
    ck_assert_int_eq(stat(successor.address, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(st.st_uid, 65534);
    fd = make_lingering(&peer); /* what is left in it does not keep us */
    ck_assert_int_eq(send_datagram(successor.address, "X=1", 3, &fd, 1), 0);
    close(fd);
    before = now_usec(CLOCK_MONOTONIC);
    notify_socket_close(&successor, &closer);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 2 * USEC_PER_SEC);
    close(peer);
    closer_free(closer);
    ck_assert_int_eq(send_datagram(socket.address ? socket.address : directory, "X", 1, NULL, 0) < 0, 1);
}
END_TEST

START_TEST(test_long_directory) {
    struct notify_socket socket;
    _cleanup_err_ struct err err = {0};
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/%0100d", directory, 0);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(notify_socket_open(fd, "d", &socket, &err), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(err_text(&err), "shorter --runtime-dir"));
    fd_close(fd);
}
END_TEST

/* Living processes: our child is one of the family, and of nobody else's. */
START_TEST(test_look) {
    struct notify_family here = {.service = "d", .invocation_id = ID, .main_uid = (uid_t) -1};
    _cleanup_close_ int proc_fd = procfs_open();
    int ends[2];
    pid_t pid;

    ck_assert_int_eq(pipe2(ends, 0), 0);
    pid = fork();
    if (pid == 0) {
        char *argv[] = {(char *) "cat", NULL},
             *envp[] = {(char *) "LATCHD_SERVICE=d", (char *) "INVOCATION_ID=" ID, NULL};

        dup2(ends[0], 0);
        close(ends[1]);
        execve("/bin/cat", argv, envp);
        _exit(1);
    }
    close(ends[0]);
    for (int i = 0; i < 1000; i++) { /* until it is executed */
        _cleanup_free_ char *value = NULL;

        if (procfs_read_environ(proc_fd, pid, "INVOCATION_ID", &value) >= 0)
            break;
        usleep(1000);
    }
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 0, -EBADF, &here), NOTIFY_SENDER_INVOCATION);
    here.invocation_id = "00000000000000000000000000000000";
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 0, -EBADF, &here), NOTIFY_SENDER_STRANGER);
    here.main = getpid();
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 0, -EBADF, &here), NOTIFY_SENDER_FAMILY);
    /* Of another user than root and the daemon's: not even looked at. */
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 65534, -EBADF, &here), NOTIFY_SENDER_STRANGER);
    here.main_uid = 65534;
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 65534, -EBADF, &here), NOTIFY_SENDER_FAMILY);
    close(ends[1]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(notify_sender_look(proc_fd, pid, 0, -EBADF, &here), NOTIFY_SENDER_GONE);
}
END_TEST

START_TEST(test_closer) {
    struct closer *closer = NULL;
    struct pollfd poll_fd;

    for (int i = 0; i < 200; i++) {
        int ends[2];

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        ck_assert_int_eq(closer_close(&closer, &ends[1], 1), 0);
        poll_fd = (struct pollfd){.fd = ends[0]};
        ck_assert_int_eq(poll(&poll_fd, 1, 20000), 1); /* closed, by somebody, and soon */
        ck_assert(poll_fd.revents & POLLHUP);
        close(ends[0]);
    }
    closer = closer_free(closer);
}
END_TEST

START_TEST(test_closer_beside_what_hangs) {
    uint64_t begun = now_usec(CLOCK_MONOTONIC);
    struct closer *closer = NULL;
    struct pollfd poll_fd;
    int peers[2], fds[2], ends[2];

    for (int i = 0; i < 2; i++) {
        fds[i] = make_lingering(&peers[i]);
        ck_assert_int_eq(closer_close(&closer, &fds[i], 1), 0);
    }
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(closer_close(&closer, &ends[1], 1), 0);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - begun, 4 * USEC_PER_SEC); /* nobody waited for them */
    poll_fd = (struct pollfd){.fd = ends[0]};
    ck_assert_int_eq(poll(&poll_fd, 1, 4000), 1); /* and it is closed beside them */
    close(ends[0]);
    close(peers[0]);
    close(peers[1]);
    closer = closer_free(closer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("notify");
    TCase *pure = tcase_create("pure"), *real = tcase_create("real");

    tcase_add_test(pure, test_fields);
    tcase_add_test(pure, test_last_phase_counts);
    tcase_add_test(pure, test_nonsense);
    tcase_add_test(pure, test_status_is_bounded_and_printable);
    tcase_add_test(pure, test_judge);
    suite_add_tcase(suite, pure);
    tcase_add_checked_fixture(real, set_up, tear_down);
    tcase_set_timeout(real, 60);
    tcase_add_test(real, test_socket);
    tcase_add_test(real, test_long_directory);
    tcase_add_test(real, test_look);
    tcase_add_test(real, test_closer);
    tcase_add_test(real, test_closer_beside_what_hangs);
    suite_add_tcase(suite, real);
    return suite_run(suite);
}
