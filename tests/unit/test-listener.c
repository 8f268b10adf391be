/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "socket/listener.h"
#include "socket/peer.h"

#include "own-dir.h"
#include "suite.h"

static char path[128], beside[128];
static struct listener_place place;
static struct err err;

static void set_up(void) {
    char here[64];

    (void) umask(022);
    enter_dir();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(path, sizeof path, "%s/s", here);
    snprintf(beside, sizeof beside, "%s/.s.latchd", here);
}

static void tear_down(void) {
    err_done(&err);
}

static struct listener_wish wish_of(const char *listen) {
    return (struct listener_wish){
        .listen = listen, .mode = 0640, .uid = (uid_t) -1, .gid = (gid_t) -1, .backlog = 3};
}

static int open_at(const char *listen) {
    struct listener_wish wish = wish_of(listen);

    return listener_open(&wish, &place, &err);
}

static bool answers(const char *where) {
    _cleanup_close_ int fd = peer_connect_path(where);

    return fd >= 0;
}

static struct stat stat_of(const char *where) {
    struct stat st;

    ck_assert_msg(lstat(where, &st) == 0, "%s: %s", where, strerror(errno));
    return st;
}

static bool is_absent(const char *where) {
    struct stat st;

    return lstat(where, &st) < 0 && errno == ENOENT;
}

static int bind_to(const char *where, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, where);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

START_TEST(a_path) {
    int fd = open_at(path);
    struct stat one = {0}, other = {0};

    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    one = stat_of(path);
    other = stat_of(beside);
    ck_assert(stat_same_inode(&one, &other));
    ck_assert_uint_eq(one.st_mode & 07777, 0640);
    ck_assert_uint_eq(one.st_ino, place.inode);
    ck_assert(answers(path));
    ck_assert(listener_is_at(fd, path));
    ck_assert(!listener_is_at(fd, "@s"));
    ck_assert(!listener_is_at(fd, "/s"));
    ck_assert_int_eq(listener_look(path, &place), LISTENER_OURS);
    ck_assert_uint_eq(listener_find_place(fd, path).inode, place.inode);
    ck_assert_int_eq(unlink(beside), 0);
    ck_assert_uint_eq(listener_find_place(fd, path).inode, place.inode);
    ck_assert_uint_eq(listener_find_place(fd, path).device, place.device);
    ck_assert_int_eq(rename(path, "elsewhere"), 0);
    ck_assert_uint_eq(listener_find_place(fd, path).inode, place.inode); /* it had one */
    ck_assert_uint_eq(listener_find_place(fd, path).device, 0);
    ck_assert_int_eq(rename("elsewhere", path), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    listener_end(fd, path, &place);
    ck_assert(is_absent(path));
    ck_assert(is_absent(beside));
}
END_TEST

/* Whatever stands there stays, and nothing of ours beside it. */
START_TEST(something_stands_there) {
    _cleanup_close_ int other = -EBADF;
    struct stat before = {0}, after = {0};

    if (_i == 0)
        other = bind_to(path, 5);
    else if (_i == 1)
        ck_assert_int_eq(mkdir(path, 0755), 0);
    else if (_i == 2)
        ck_assert_int_eq(symlink("elsewhere", path), 0);
    else
        ck_assert_int_eq(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
    before = stat_of(path);
    ck_assert_int_eq(open_at(path), -EADDRINUSE);
    ck_assert_str_eq(err.name, "Held");
    after = stat_of(path);
    ck_assert(stat_same_inode(&before, &after));
    ck_assert(is_absent(beside));
    ck_assert(is_absent("elsewhere"));
}
END_TEST

/* Of a latchd that was killed: the name beside the path is left. */
START_TEST(a_leftover_beside) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = bind_to(beside, 5);

    ck_assert_int_eq(open_at(path), -EADDRINUSE); /* somebody listens */
    ck_assert(answers(beside));
    close(fd);
    ck_assert_int_eq(unlink(beside), 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, beside);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof address), 0);
    ck_assert_int_eq(open_at(path), -EADDRINUSE); /* somebody is about to */
    (void) stat_of(beside);
    close(fd);
    fd = open_at(path);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    listener_end(fd, path, &place);
    ck_assert_int_eq(mkdir(beside, 0755), 0); /* and this is none of ours */
    ck_assert_int_eq(open_at(path), -EADDRINUSE);
    ck_assert_int_eq(rmdir(beside), 0);
}
END_TEST

START_TEST(a_directory_of_everybody) {
    ck_assert_int_eq(mkdir("open", 0755), 0);
    ck_assert_int_eq(chmod("open", 0777), 0);
    strcpy(strrchr(path, '/'), "/open/s");
    ck_assert_int_eq(open_at(path), -EPERM);
    ck_assert_str_eq(err.name, "NotPermitted");
    ck_assert(is_absent("open/.s.latchd"));
    ck_assert_int_eq(chmod("open", 01777), 0);
    listener_end(open_at(path), path, &place);
    ck_assert(is_absent(path));
}
END_TEST

START_TEST(missing_directories) {
    int fd;

    strcpy(strrchr(path, '/'), "/a/b/s");
    fd = open_at(path);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert(answers(path));
    listener_end(fd, path, &place);
}
END_TEST

/* sun_path has 108 bytes. */
START_TEST(a_long_path) {
    char deep[256];
    int fd;

    memset(strrchr(path, '/') + 1, 'x', 50);
    path[strlen(path)] = '\0';
    snprintf(deep, sizeof deep, "%.*s/%050d/%050d/s", (int) (strrchr(path, '/') - path), path, 1, 2);
    fd = open_at(deep);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert_int_eq(listener_look(deep, &place), LISTENER_OURS);
    ck_assert(listener_is_at(fd, deep));
    ck_assert(!listener_is_at(fd, path));
    listener_end(fd, deep, &place);
    ck_assert(is_absent(deep));
}
END_TEST

/* A connection that waits is there still when the path is back. */
START_TEST(restored) {
    _cleanup_close_ int client = -EBADF, accepted = -EBADF;
    int fd = open_at(path);
    char byte = 'x';

    client = peer_connect_path(path);
    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(listener_look(path, &place), LISTENER_REMOVED);
    ck_assert_int_eq(listener_restore(path, &place), 0);
    ck_assert_int_eq(listener_look(path, &place), LISTENER_OURS);
    ck_assert_int_eq(send(client, &byte, 1, 0), 1);
    accepted = accept(fd, NULL, NULL);
    ck_assert_int_eq(recv(accepted, &byte, 1, 0), 1);
    ck_assert_int_eq(unlink(beside), 0);
    ck_assert_int_eq(listener_keep_beside(path, &place), 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(listener_restore(path, &place), 0);
    ck_assert(answers(path));
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(unlink(beside), 0);
    ck_assert_int_eq(listener_restore(path, &place), -ESTALE);
    listener_end(fd, path, &place);
}
END_TEST

/* Another one's socket is neither overwritten nor removed with ours. */
START_TEST(replaced) {
    _cleanup_close_ int other = -EBADF;
    int fd = open_at(path);

    ck_assert_int_eq(unlink(path), 0);
    other = bind_to(path, 5);
    ck_assert_int_eq(listener_look(path, &place), LISTENER_OTHER);
    ck_assert_int_eq(listener_restore(path, &place), -EEXIST);
    listener_end(fd, path, &place);
    ck_assert(answers(path));
    ck_assert(is_absent(beside));
}
END_TEST

START_TEST(an_abstract_name) {
    char name[64], longer[80];
    int fd;

    snprintf(name, sizeof name, "@test-listener-%d", (int) getpid());
    snprintf(longer, sizeof longer, "%s+", name);
    fd = open_at(name);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert(listener_is_at(fd, name));
    ck_assert(!listener_is_at(fd, longer));
    ck_assert_int_eq(open_at(name), -EADDRINUSE);
    ck_assert_str_eq(err.name, "Held");
    listener_end(fd, name, &place);
    fd = open_at(name);
    ck_assert_int_ge(fd, 0);
    listener_end(fd, name, &place);
}
END_TEST

/* A copy that somebody has does not keep the port. */
START_TEST(a_port) {
    static const char *const hosts[] = {"127.0.0.1", "localhost", "*", "[::1]", "0.0.0.0"};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), copy;
    char address[64], other[64];

    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &any, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &any, &size), 0);
    close(fd);
    snprintf(address, sizeof address, "%s:%d", hosts[_i], ntohs(any.sin_port));
    snprintf(other, sizeof other, "127.0.0.2:%d", ntohs(any.sin_port));
    fd = open_at(address);
    if (_i == 3 && err.number == EADDRNOTAVAIL)
        return; /* no IPv6 here */
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert(listener_is_at(fd, address));
    ck_assert(!listener_is_at(fd, other));
    ck_assert_int_eq(open_at(address), -EADDRINUSE);
    copy = dup(fd);
    listener_end(fd, address, &place);
    fd = open_at(address);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    listener_end(fd, address, &place);
    close(copy);
}
END_TEST

START_TEST(no_listener) {
    _cleanup_close_ int client = -EBADF;
    int fd = open_at(path), datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    client = peer_connect_path(path);
    ck_assert(!listener_is_at(client, path));
    ck_assert(!listener_is_at(datagrams, path));
    ck_assert(!listener_is_at(STDIN_FILENO, path));
    ck_assert(!listener_is_at(-1, path));
    close(datagrams);
    listener_end(fd, path, &place);
}
END_TEST

/* What a daemon did to what it shares with the next one. */
START_TEST(refreshed) {
    char address[64];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;
    struct peer_address peer;
    bool connecting;
    int fd = open_at(path), client;

    ck_assert_int_eq(fd_set_nonblock(fd, true), 0);
    ck_assert_int_eq(listen(fd, 0), 0);
    ck_assert_int_eq(listener_refresh(fd, 3), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert(answers(path) && answers(path) && answers(path));
    ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
    ck_assert(!answers(path));
    ck_assert_int_eq(listener_refresh(fd, 3), -ESHUTDOWN);
    listener_end(fd, path, &place);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &any, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &any, &size), 0);
    close(fd);
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(any.sin_port));
    fd = open_at(address);
    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert_int_eq(shutdown(fd, SHUT_RDWR), 0);
    ck_assert_int_eq(listener_refresh(fd, 3), 0);
    ck_assert_int_eq(peer_parse_address(address, &peer), 0);
    client = peer_connect_address(&peer, &connecting);
    ck_assert_int_ge(client, 0);
    close(client);
    client = accept(fd, NULL, NULL);
    ck_assert_int_ge(client, 0);
    close(client);
    listener_end(fd, address, &place);
}
END_TEST

START_TEST(adjusted) {
    struct listener_wish wish = wish_of(path);
    int fd = open_at(path);

    wish.mode = 0600;
    wish.gid = getgid();
    ck_assert_int_eq(listener_adjust(fd, &wish, &place, &err), 0);
    ck_assert_uint_eq(stat_of(path).st_mode & 07777, 0600);
    wish.backlog = 0;
    ck_assert_int_eq(listener_adjust(fd, &wish, &place, &err), 0);
    ck_assert(answers(path)); /* one more than the backlog, and it was closed; still in the queue */
    ck_assert_int_eq(peer_connect_path(path), -EAGAIN);
    listener_end(fd, path, &place);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");

    tcase_add_unchecked_fixture(tcase, make_dir, remove_dir);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_path);
    tcase_add_loop_test(tcase, something_stands_there, 0, 4);
    tcase_add_test(tcase, a_leftover_beside);
    tcase_add_test(tcase, a_directory_of_everybody);
    tcase_add_test(tcase, missing_directories);
    tcase_add_test(tcase, a_long_path);
    tcase_add_test(tcase, restored);
    tcase_add_test(tcase, replaced);
    tcase_add_test(tcase, an_abstract_name);
    tcase_add_loop_test(tcase, a_port, 0, 5);
    tcase_add_test(tcase, no_listener);
    tcase_add_test(tcase, refreshed);
    tcase_add_test(tcase, adjusted);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
