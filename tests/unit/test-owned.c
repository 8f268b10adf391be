/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "owned/owned.h"
#include "socket/peer.h"

#include "own-dir.h"
#include "suite.h"

static char here[64];
static struct service_config *config;
static struct owned *owned;
static struct owned_host host;
static struct event_log *event_log;
static struct err err;
static unsigned events[EVENT_ID_MAX];

static void on_event(const struct event_record *record, void *userdata) {
    (void) userdata;
    events[record->id]++;
}

/* A configuration with those sockets of latchd's, paths below the test's directory; "-NAME": the daemon's. */
static struct service_config *make_config(const char *const names[]) {
    struct service_config *made = calloc(1, sizeof *made);

    ck_assert_ptr_nonnull(made);
    made->name = strdup("x");
    for (; *names; names++) {
        const char *name = **names == '-' ? *names + 1 : *names;
        struct socket_config *socket = service_config_add_socket(made, name);

        ck_assert_ptr_nonnull(socket);
        socket->owner = **names == '-' ? SOCKET_OWNER_DAEMON : SOCKET_OWNER_LATCHD;
        socket->mode = 0600;
        socket->backlog = 5;
        socket->lock.style = LOCK_STYLE_FLOCK;
        ck_assert_int_ge(asprintf(&socket->listen, "%s/%s", here, name), 0);
        ck_assert_int_ge(asprintf(&socket->lock.path, "%s/%s.lock", here, name), 0);
    }
    return made;
}
#define CONFIG(...) make_config((const char *const[]){__VA_ARGS__, NULL})

static void set_up(void) {
    struct event_log_options options = {.target = LOG_TARGET_STDERR, .max_priority = LOG_DEBUG};

    enter_dir();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    memset(events, 0, sizeof events);
    options.stderr_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(event_log_open(&options, &event_log, NULL), 0);
    event_log_set_sink(event_log, on_event, NULL);
    config = CONFIG("a", "-b", "c");
    ck_assert_int_eq(owned_new(config, &owned), 0);
    host = (struct owned_host){.config = config, .log = event_log, .proc_fd = procfs_open()};
}

static void tear_down(void) {
    owned_free(owned);
    service_config_free(config);
    event_log_close(event_log);
    fd_close(host.proc_fd);
    err_done(&err);
}

static bool answers(const char *name) {
    char path[96];
    int fd;

    snprintf(path, sizeof path, "%s/%s", here, name);
    fd = peer_connect_path(path);
    fd_close(fd);
    return fd >= 0;
}

static bool is_locked(const char *name) {
    char path[96];
    int fd;

    snprintf(path, sizeof path, "%s/%s.lock", here, name);
    fd = lock_hold(path, LOCK_STYLE_FLOCK, NULL);
    if (fd >= 0)
        (void) lock_release(fd, LOCK_STYLE_FLOCK);
    return fd == -EBUSY;
}

static void open_all(void) {
    ck_assert_msg(owned_open(owned, &host, &err) == 0, "%s", err_text(&err));
}

START_TEST(opened_and_closed) {
    const char *names[3];
    int fds[3];

    ck_assert_uint_eq(owned_count_files(config), 4);
    open_all();
    ck_assert(answers("a") && answers("c") && !answers("b"));
    ck_assert(is_locked("a") && is_locked("c"));
    ck_assert(owned->held[0].lock && owned->held[0].socket && !owned->held[1].lock && !owned->held[1].socket);
    ck_assert_uint_eq(events[EVENT_SOCKET_OPENED], 2);
    ck_assert_uint_eq(owned_list(owned, config, fds, names), 2);
    ck_assert_str_eq(names[0], "a");
    ck_assert_str_eq(names[1], "c");
    open_all(); /* nothing is left to be done */
    ck_assert_uint_eq(events[EVENT_SOCKET_OPENED], 2);
    owned_close(owned, config);
    ck_assert(!answers("a") && !answers("c"));
    ck_assert(!is_locked("a") && !is_locked("c"));
    ck_assert_int_eq(access("a", F_OK), -1);
    ck_assert(!owned->held[0].lock && !owned->held[0].socket);
}
END_TEST

/* All or nothing: with half of them the daemon is not started. */
START_TEST(one_is_in_the_way) {
    int other = -EBADF;

    if (_i == 0)
        ck_assert_int_eq(mkdir("c", 0755), 0);
    else
        other = lock_hold("c.lock", LOCK_STYLE_FLOCK, NULL);
    ck_assert_int_lt(owned_open(owned, &host, &err), 0);
    ck_assert_str_eq(err.name, "Held");
    ck_assert(!answers("a") && !is_locked("a"));
    ck_assert_int_eq(access("a", F_OK), -1);
    ck_assert_uint_eq(events[EVENT_SOCKET_OPENED], 0);
    if (_i == 0)
        ck_assert_int_eq(rmdir("c"), 0);
    else
        (void) lock_release(other, LOCK_STYLE_FLOCK);
    open_all();
    ck_assert(answers("a") && answers("c"));
    owned_close(owned, config);
}
END_TEST

START_TEST(another_configuration) {
    struct service_config *next = CONFIG("d", "a", "-c");
    struct stat before, after;

    open_all();
    ck_assert_int_eq(stat("a", &before), 0);
    next->sockets[1]->mode = 0640;
    ck_assert_int_eq(owned_switch(&owned, config, next), 0);
    ck_assert_uint_eq(owned->n, 3);
    ck_assert(owned->held[1].socket && owned->held[1].lock && !owned->held[0].socket);
    ck_assert(answers("a") && !answers("c") && !is_locked("c"));
    ck_assert_int_eq(stat("a", &after), 0);
    ck_assert(stat_same_inode(&before, &after));
    ck_assert_uint_eq(after.st_mode & 07777, 0640);
    service_config_free(config);
    host.config = config = next;
    open_all();
    ck_assert(answers("d"));
    next = CONFIG("-a");
    ck_assert_int_eq(owned_switch(&owned, config, next), 0);
    ck_assert_ptr_null(owned);
    ck_assert(!answers("a") && !answers("d") && !is_locked("a"));
    service_config_free(next);
}
END_TEST

/* The lock is not free for a moment, and the listener is the same. */
START_TEST(handed_over) {
    struct handover *handover = NULL;
    struct owned *next = NULL;
    struct stat before, after;
    int memfd;

    open_all();
    ck_assert_int_eq(fstat(owned->sockets[0].fd, &before), 0);
    ck_assert_int_eq(handover_new(&handover), 0);
    ck_assert_int_eq(owned_hand_over(owned, config, handover), 0);
    memfd = handover_pack(handover);
    ck_assert_int_ge(memfd, 0);
    handover_free(handover);
    ck_assert_int_eq(handover_receive(memfd, &handover, &err), 0);
    ck_assert_int_eq(owned_new(config, &next), 0);
    owned_take_over(next, config, handover);
    handover_free(handover);
    for (size_t i = 0; i < owned->n; i++) /* of the process before, which is no more */
        owned->sockets[i].fd = owned->sockets[i].lock_fd = -EBADF;
    owned_free(owned);
    owned = next;
    ck_assert(owned->held[0].lock && owned->held[0].socket && owned->held[2].lock && owned->held[2].socket);
    ck_assert_int_eq(fstat(owned->sockets[0].fd, &after), 0);
    ck_assert(stat_same_inode(&before, &after));
    ck_assert(is_locked("a") && answers("a"));
    owned_close(owned, config);
    ck_assert_int_eq(access("a", F_OK), -1);
}
END_TEST

/* What the daemon has comes back, as from ourselves here; what it has not is counted. */
START_TEST(regained) {
    _cleanup_close_ int pidfd = pidfd_open(getpid(), 0);
    struct owned *before = owned;

    open_all();
    ck_assert_int_eq(owned_new(config, &owned), 0);
    before->sockets[2].lock_fd = lock_release(before->sockets[2].lock_fd, LOCK_STYLE_FLOCK);
    before->sockets[2].fd = fd_close(before->sockets[2].fd);
    ck_assert_uint_eq(owned_regain(owned, &host, getpid(), pidfd), 1);
    ck_assert(owned->held[0].socket && !owned->held[2].socket);
    ck_assert_int_eq(owned_lock(owned, &host, &err), -EBUSY); /* the one before has the lock of "a" still */
    ck_assert(owned->held[2].lock && !owned->held[0].lock);
    owned_drop_partial(owned, config);
    ck_assert(!owned->held[2].lock && !is_locked("c"));
    ck_assert_uint_eq(owned->sockets[0].place.inode, before->sockets[0].place.inode);
    owned_free(before);
}
END_TEST

START_TEST(given_the_wrong_one) {
    _cleanup_close_ int plain = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct owned *other = NULL;

    open_all();
    ck_assert_int_eq(owned_new(config, &other), 0);
    ck_assert_int_eq(owned_take_listener(other, &host, "a", plain, true, &err), -EINVAL);
    ck_assert_int_eq(owned_take_listener(other, &host, "a", owned->sockets[2].fd, true, &err), -EINVAL);
    ck_assert_int_eq(owned_take_listener(other, &host, "b", owned->sockets[0].fd, true, &err), -EINVAL);
    ck_assert_int_eq(owned_take_listener(other, &host, "nobody", owned->sockets[0].fd, true, &err), -EINVAL);
    ck_assert_int_eq(owned_take_lock(other, &host, "a", owned->sockets[2].lock_fd, &err), -EINVAL);
    ck_assert_int_eq(owned_take_listener(other, &host, "a", dup(owned->sockets[0].fd), true, &err), 0);
    ck_assert_int_eq(owned_take_lock(other, &host, "a", dup(owned->sockets[0].lock_fd), &err), 0);
    owned_close(other, config); /* passed: it stays */
    ck_assert(answers("a") && is_locked("a"));
    owned_free(other);
    ck_assert(answers("a"));
    owned_close(owned, config);
}
END_TEST

/* A daemon ended the listener for all: the next one gets another. */
START_TEST(shut_down) {
    open_all();
    ck_assert_int_eq(shutdown(owned->sockets[0].fd, SHUT_RDWR), 0);
    ck_assert(!answers("a"));
    open_all();
    ck_assert(answers("a") && is_locked("a"));
    ck_assert_uint_eq(events[EVENT_SOCKET_LOST], 1);
    owned_close(owned, config);
}
END_TEST

/* A stranger has the lock file that stands there now. */
START_TEST(goes_on_without_the_lock_file) {
    int other;

    open_all();
    ck_assert_int_eq(unlink("a.lock"), 0);
    other = lock_hold("a.lock", LOCK_STYLE_FLOCK, NULL);
    ck_assert_int_ge(other, 0);
    owned_check(owned, &host);
    ck_assert(owned->sockets[0].lock_displaced);
    ck_assert_int_eq(unlink("a"), 0);
    open_all(); /* the daemon is started again, and its path restored */
    ck_assert(answers("a"));
    (void) lock_release(other, LOCK_STYLE_FLOCK);
    owned_check(owned, &host);
    ck_assert(!owned->sockets[0].lock_displaced);
    ck_assert(is_locked("a"));
    owned_close(owned, config);
}
END_TEST

/* Taken over from a daemon, with its names removed meanwhile. */
START_TEST(regained_without_names) {
    _cleanup_close_ int pidfd = pidfd_open(getpid(), 0);
    struct owned *before = owned;

    open_all();
    ck_assert_int_eq(unlink(".a.latchd"), 0);
    ck_assert_int_eq(unlink(".c.latchd"), 0);
    ck_assert_int_eq(unlink("c"), 0);
    ck_assert_int_eq(owned_new(config, &owned), 0);
    ck_assert_uint_eq(owned_regain(owned, &host, getpid(), pidfd), 0);
    owned_free(before);
    owned_check(owned, &host);
    ck_assert_int_eq(unlink("a"), 0);
    owned_check(owned, &host);
    ck_assert(answers("a")); /* by the name that was made anew beside it */
    ck_assert_uint_eq(events[EVENT_SOCKET_DISPLACED], 1);
    ck_assert(!answers("c"));
    open_all();
    ck_assert(answers("c"));
    owned_close(owned, config);
}
END_TEST

/* Somebody tampers with the files while it is looked after. */
START_TEST(mended) {
    struct stat before, after;

    open_all();
    ck_assert_int_eq(stat("a", &before), 0);
    ck_assert_int_eq(unlink("a"), 0);
    ck_assert_int_eq(unlink("c.lock"), 0);
    owned_check(owned, &host);
    ck_assert_int_eq(stat("a", &after), 0);
    ck_assert(stat_same_inode(&before, &after));
    ck_assert(is_locked("c"));
    ck_assert_uint_eq(events[EVENT_SOCKET_RESTORED], 2);
    ck_assert_int_eq(unlink("a"), 0);
    ck_assert_int_eq(mkdir("a", 0755), 0);
    owned_check(owned, &host);
    owned_check(owned, &host);
    ck_assert_uint_eq(events[EVENT_SOCKET_DISPLACED], 1);
    ck_assert_int_eq(rmdir("a"), 0);
    owned_check(owned, &host);
    ck_assert(answers("a"));
    ck_assert_int_eq(unlink("a"), 0);
    ck_assert_int_eq(unlink(".a.latchd"), 0);
    owned_check(owned, &host);
    ck_assert_uint_eq(events[EVENT_SOCKET_DISPLACED], 2);
    ck_assert(!answers("a"));
    open_all(); /* before the next start */
    ck_assert(answers("a"));
    owned_close(owned, config);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("owned");
    TCase *tcase = tcase_create("owned");

    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, opened_and_closed);
    tcase_add_loop_test(tcase, one_is_in_the_way, 0, 2);
    tcase_add_test(tcase, another_configuration);
    tcase_add_test(tcase, handed_over);
    tcase_add_test(tcase, regained);
    tcase_add_test(tcase, given_the_wrong_one);
    tcase_add_test(tcase, shut_down);
    tcase_add_test(tcase, goes_on_without_the_lock_file);
    tcase_add_test(tcase, regained_without_names);
    tcase_add_test(tcase, mended);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
