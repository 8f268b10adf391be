/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/listener.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "socket/peer.h"
#include "socket/unix-diag.h"

#define SUN_PATH_MAX (sizeof((struct sockaddr_un *) NULL)->sun_path - 1)

/* A path, taken apart. */
struct place_name {
    int dir_fd;                /* owned; the directory, O_PATH */
    const char *name;          /* in it */
    char beside[NAME_MAX + 1]; /* ".NAME.latchd" */
};

static void place_name_done(struct place_name *place) {
    place->dir_fd = fd_close(place->dir_fd);
}
#define _cleanup_place_name_ _cleanup_(place_name_done)

static int take_apart(const char *path, struct place_name *ret) {
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    int n;

    *ret = (struct place_name){.dir_fd = -EBADF, .name = slash + 1};
    n = snprintf(ret->beside, sizeof ret->beside, ".%s.latchd", ret->name);
    if (n >= (int) sizeof ret->beside || (size_t) (slash - path) >= sizeof directory)
        return -ENAMETOOLONG;
    snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int) (slash - path), path);
    ret->dir_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (ret->dir_fd >= 0)
        return 0;
    ret->dir_fd = -EBADF;
    return -errno;
}

static bool is_place(const struct listener_place *place, const struct stat *st) {
    return S_ISSOCK(st->st_mode) && st->st_dev == place->device && st->st_ino == place->inode;
}

static bool stands_at(int dir_fd, const char *name, const struct listener_place *place) {
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_place(place, &st);
}

static int fail(const char *listen, int number, const char *what, struct err *err) {
    bool denied = number == EPERM || number == EACCES;

    return err_set(err, number, denied ? "NotPermitted" : "Failed", "cannot listen on %s: %s: %s", listen,
                   what, strerror(number));
}

static int held(const char *listen, const char *who, struct err *err) {
    return err_set(err, EADDRINUSE, "Held", "cannot listen on %s: %s", listen, who);
}

/* SO_SNDBUFFORCE goes beyond net.core.wmem_max, for who may (socket(7)). */
static int set_buffer(int fd, int forced, int option, uint64_t bytes) {
    int value = bytes > INT_MAX ? INT_MAX : (int) bytes;

    if (bytes == 0 || setsockopt(fd, SOL_SOCKET, forced, &value, sizeof value) == 0)
        return 0;
    return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int begin_to_listen(int fd, const struct listener_wish *wish, struct err *err) {
    int r = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, wish->send_buffer_bytes);

    if (r < 0)
        return fail(wish->listen, -r, "SendBuffer=", err);
    r = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, wish->receive_buffer_bytes);
    if (r < 0)
        return fail(wish->listen, -r, "ReceiveBuffer=", err);
    if (listen(fd, wish->backlog) < 0)
        return errno == EADDRINUSE ? held(wish->listen, "somebody else listens at this address", err)
                                   : fail(wish->listen, errno, "listen(2)", err);
    return 0;
}

/* ---- a path ---- */

/* A leftover of a latchd that was killed, beside the path. Whoever may make files there could have put it:
 * what is no socket, or has a socket bound to it, be it one that does not listen yet, is left alone. */
static int remove_leftover(const struct place_name *place, const char *path, struct err *err) {
    _cleanup_close_ int proc_fd = -EBADF;
    struct peer_facts peer;
    struct stat st;
    int r;

    if (fstatat(place->dir_fd, place->beside, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail(path, errno, place->beside, err);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, EADDRINUSE, "Held",
                       "cannot listen on %s: %s beside it is no socket, and in the way: remove it", path,
                       place->beside);
    proc_fd = procfs_open();
    r = proc_fd < 0 ? proc_fd : peer_look(proc_fd, place->dir_fd, place->beside, &peer);
    if (r < 0)
        return fail(path, -r, place->beside, err);
    if (peer.answer != PEER_REFUSED)
        return err_set(
            err, EADDRINUSE, "Held",
            "cannot listen on %s: somebody is bound to %s beside it, which is the name that latchd binds to",
            path, place->beside);
    if (unlinkat(place->dir_fd, place->beside, 0) < 0 && errno != ENOENT)
        return fail(path, errno, place->beside, err);
    return 0;
}

/* The directory is one in which nobody but its owner, root and the socket's own user can put another thing in
 * the socket's place. */
static int check_directory(int dir_fd, const char *path, struct err *err) {
    struct stat st;

    if (fstat(dir_fd, &st) < 0)
        return fail(path, errno, "its directory", err);
    if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        return err_set(
            err, EPERM, "NotPermitted",
            "cannot listen on %s: everybody may replace what stands in its directory (mode %04o): take that "
            "right away (chmod o-w), or set the sticky bit",
            path, (unsigned) (st.st_mode & 07777));
    return 0;
}

/* With its final mode: a file that is there can be changed only by its name, which another one may have by
 * then. Nobody is let in before it listens. */
static int bind_beside(int fd, const struct place_name *place, const struct listener_wish *wish,
                       struct err *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int directory = (int) (place->name - wish->listen), n, r;
    mode_t mask;

    n = snprintf(address.sun_path, sizeof address.sun_path, "%.*s%s", directory, wish->listen, place->beside);
    if (n > (int) SUN_PATH_MAX) /* by the directory's descriptor a path may be longer than unix(7) allows */
        n = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", place->dir_fd,
                     place->beside);
    if (n > (int) SUN_PATH_MAX)
        return fail(wish->listen, ENAMETOOLONG, "its last component", err);
    if (fchmod(fd, wish->mode) <
        0) /* the file's mode comes from there (unix_bind_bsd() in net/unix/af_unix.c) */
        return fail(wish->listen, errno, "chmod of a new socket", err);
    mask = umask(0);
    r = bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 ? errno : 0;
    (void) umask(mask);
    if (r == 0)
        return 0;
    return r == EADDRINUSE ? held(wish->listen, "somebody has made the name beside it just now", err)
                           : fail(wish->listen, r, "bind(2)", err);
}

/* Whether the socket is bound to that inode, by the kernel's own table; where that cannot be read, it may be.
 */
static bool may_be_bound_to(int fd, ino_t inode) {
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct unix_socket *socket;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return false;
    if (unix_table_read(&table) < 0)
        return true;
    socket = unix_table_find_inode(&table, (uint32_t) st.st_ino);
    return socket && socket->has_file && socket->file_inode == (uint32_t) inode;
}

/* The inode behind a name, pinned: what is done through this descriptor is done to it, whatever the name
 * leads to later. */
static int pin(int dir_fd, const char *name, struct stat *ret) {
    _cleanup_close_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, ret) < 0)
        return -errno;
    return S_ISSOCK(ret->st_mode) ? TAKE_FD(fd) : -ENOTSOCK;
}

static void describe_pinned(int fd, char ret[static 32]) {
    snprintf(ret, 32, "/proc/self/fd/%d", fd);
}

/* Never over anything that stands there. */
static int link_pinned(int fd, int dir_fd, const char *name) {
    char path[32];

    describe_pinned(fd, path);
    return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int give_owner(int fd, const struct listener_wish *wish, struct err *err) {
    if ((wish->uid != (uid_t) -1 || wish->gid != (gid_t) -1) &&
        fchownat(fd, "", wish->uid, wish->gid, AT_EMPTY_PATH) < 0)
        return fail(wish->listen, errno, "SocketUser=, SocketGroup=", err);
    return 0;
}

static int put_in_place(int fd, const struct place_name *place, const struct listener_wish *wish,
                        struct listener_place *ret, struct err *err) {
    _cleanup_close_ int file_fd = -EBADF;
    struct stat st;
    int r;

    file_fd = pin(place->dir_fd, place->beside, &st);
    if (file_fd < 0 || st.st_uid != geteuid() || !may_be_bound_to(fd, st.st_ino))
        return fail(wish->listen, ESTALE, "somebody replaces what latchd makes in its directory", err);
    *ret = (struct listener_place){.device = st.st_dev, .inode = st.st_ino};
    r = give_owner(file_fd, wish, err);
    if (r >= 0)
        r = begin_to_listen(fd, wish, err);
    if (r < 0)
        return r;
    r = link_pinned(file_fd, place->dir_fd, place->name);
    if (r == -EEXIST)
        return held(wish->listen, "something stands there already", err);
    return r < 0 ? fail(wish->listen, -r, "link(2) from the name beside it", err) : 0;
}

static int open_path(const struct listener_wish *wish, struct listener_place *ret_place, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    _cleanup_place_name_ struct place_name place = {.dir_fd = -EBADF};
    struct listener_place at = {0};
    int r = fd_make_parents(wish->listen);

    if (r >= 0)
        r = take_apart(wish->listen, &place);
    if (r < 0)
        return fail(wish->listen, -r, "its directory", err);
    r = check_directory(place.dir_fd, wish->listen, err);
    if (r >= 0)
        r = remove_leftover(&place, wish->listen, err);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(wish->listen, errno, "socket(2)", err);
    r = bind_beside(fd, &place, wish, err);
    if (r < 0)
        return r;
    r = put_in_place(fd, &place, wish, &at, err);
    if (r >= 0) {
        *ret_place = at;
        return TAKE_FD(fd);
    }
    if (stands_at(place.dir_fd, place.beside, &at))
        (void) unlinkat(place.dir_fd, place.beside, 0);
    return r;
}

/* ---- without a path ---- */

static int open_abstract(const struct listener_wish *wish, struct err *err) {
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(wish->listen);
    int r;

    if (fd < 0)
        return fail(wish->listen, errno, "socket(2)", err);
    if (length > SUN_PATH_MAX + 1)
        return fail(wish->listen, ENAMETOOLONG, "the name", err);
    memcpy(address.sun_path + 1, wish->listen + 1, length - 1);
    if (bind(fd, (const struct sockaddr *) &address,
             (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length)) < 0)
        return errno == EADDRINUSE
                   ? held(wish->listen, "somebody has bound this name (ss -xlp shows who)", err)
                   : fail(wish->listen, errno, "bind(2)", err);
    r = begin_to_listen(fd, wish, err);
    return r < 0 ? r : TAKE_FD(fd);
}

static int open_inet(const struct listener_wish *wish, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    struct peer_address address;
    int r = peer_parse_bind_address(wish->listen, &address), on = 1;

    if (r < 0)
        return fail(wish->listen, -r, "it is no ADDRESS:PORT", err);
    fd = socket(address.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return fail(wish->listen, errno, "socket(2)", err);
    /* Connections of a daemon before this one may linger in TIME_WAIT (tcp(7)). */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return fail(wish->listen, errno, "SO_REUSEADDR", err);
    /* One family each: that both can be had by two sockets, and a daemon finds those that it would make. */
    if (address.name.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return fail(wish->listen, errno, "IPV6_V6ONLY", err);
    if (bind(fd, (const struct sockaddr *) &address.name, address.size) < 0)
        return errno == EADDRINUSE ? held(wish->listen, "somebody uses this port (ss -tlnp shows who)", err)
               : errno == EACCES
                   ? fail(wish->listen, errno,
                          "ports below net.ipv4.ip_unprivileged_port_start are for CAP_NET_BIND_SERVICE", err)
                   : fail(wish->listen, errno, "bind(2)", err);
    r = begin_to_listen(fd, wish, err);
    return r < 0 ? r : TAKE_FD(fd);
}

int listener_open(const struct listener_wish *wish, struct listener_place *ret_place, struct err *err) {
    int fd;

    if (*wish->listen == '/')
        return open_path(wish, ret_place, err);
    fd = *wish->listen == '@' ? open_abstract(wish, err) : open_inet(wish, err);
    if (fd >= 0)
        *ret_place = (struct listener_place){0};
    return fd;
}

/* By whichever of its names is there. */
static int pin_place(const char *listen, const struct listener_place *place) {
    _cleanup_place_name_ struct place_name name = {.dir_fd = -EBADF};
    int r = take_apart(listen, &name);

    if (r < 0)
        return r;
    for (int i = 0; i < 2; i++) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = pin(name.dir_fd, i == 0 ? name.beside : name.name, &st);
        if (fd >= 0 && is_place(place, &st))
            return TAKE_FD(fd);
    }
    return -ENOENT;
}

int listener_adjust(int fd, const struct listener_wish *wish, const struct listener_place *place,
                    struct err *err) {
    _cleanup_close_ int file_fd = place->inode != 0 ? pin_place(wish->listen, place) : -ENOENT;
    char path[32];
    int r;

    if (file_fd >= 0) {
        describe_pinned(file_fd, path);
        if (chmod(path, wish->mode) < 0)
            return fail(wish->listen, errno, "SocketMode=", err);
        r = give_owner(file_fd, wish, err);
        if (r < 0)
            return r;
    }
    return begin_to_listen(fd, wish, err); /* listen(2) again changes the backlog alone */
}

int listener_refresh(int fd, int backlog) {
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    int r = fd_set_nonblock(fd, false);

    if (r >= 0 && listen(fd, backlog) < 0)
        r = -errno;
    /* unix_poll() in net/unix/af_unix.c; unix_stream_connect() refuses everybody then. */
    if (poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLRDHUP)))
        return -ESHUTDOWN;
    return r;
}

/* ---- what there is ---- */

char *listener_beside(const char *listen) {
    const char *slash = *listen == '/' ? strrchr(listen, '/') : NULL;
    char *beside;

    if (!slash || asprintf(&beside, "%.*s.%s.latchd", (int) (slash + 1 - listen), listen, slash + 1) < 0)
        return NULL;
    return beside;
}

/* As bound: by us beside the path, or by whoever passed it on, to the path itself. */
static bool is_bound_to_path(const struct sockaddr_un *address, socklen_t size, const char *listen) {
    _cleanup_free_ char *beside = NULL;
    size_t length =
        size > offsetof(struct sockaddr_un, sun_path) ? size - offsetof(struct sockaddr_un, sun_path) : 0;

    if (length == 0 || address->sun_path[0] != '/')
        return false;
    length = strnlen(address->sun_path, length);
    if (length == strlen(listen) && memcmp(address->sun_path, listen, length) == 0)
        return true;
    beside = listener_beside(listen);
    return beside && length == strlen(beside) && memcmp(address->sun_path, beside, length) == 0;
}

/* A long path of ours: see bind_beside(). */
static bool is_bound_by_descriptor(const struct sockaddr_un *address) {
    static const char start[] = "/proc/self/fd/";

    return strncmp(address->sun_path, start, sizeof start - 1) == 0;
}

static bool is_bound_to_abstract(const struct sockaddr_un *address, socklen_t size, const char *listen) {
    size_t length = size - offsetof(struct sockaddr_un, sun_path);

    return size > offsetof(struct sockaddr_un, sun_path) && address->sun_path[0] == '\0' &&
           length == strlen(listen) && memcmp(address->sun_path + 1, listen + 1, length - 1) == 0;
}

static bool same_inet_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    const struct sockaddr_in *a4 = (const void *) a, *b4 = (const void *) b;
    const struct sockaddr_in6 *a6 = (const void *) a, *b6 = (const void *) b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->ss_family == AF_INET6 && a6->sin6_port == b6->sin6_port &&
           IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr);
}

static bool get_option(int fd, int option, int *ret) {
    socklen_t size = sizeof *ret;

    return getsockopt(fd, SOL_SOCKET, option, ret, &size) == 0;
}

bool listener_is_at(int fd, const char *listen) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    struct peer_address wanted;
    int type, listens;

    if (!get_option(fd, SO_TYPE, &type) || type != SOCK_STREAM || !get_option(fd, SO_ACCEPTCONN, &listens) ||
        !listens || getsockname(fd, (struct sockaddr *) &address, &size) < 0)
        return false;
    if (*listen == '/')
        return address.ss_family == AF_UNIX && (is_bound_to_path((const void *) &address, size, listen) ||
                                                (is_bound_by_descriptor((const void *) &address) &&
                                                 listener_find_place(fd, listen).device != 0));
    if (*listen == '@')
        return address.ss_family == AF_UNIX && is_bound_to_abstract((const void *) &address, size, listen);
    return peer_parse_bind_address(listen, &wanted) >= 0 && same_inet_address(&address, &wanted.name);
}

/* Of the two names the one that leads to it. Where none does, it is known to have had a file, and that is
 * gone: no inode has device 0 and the number that the table tells. */
struct listener_place listener_find_place(int fd, const char *listen) {
    _cleanup_place_name_ struct place_name name = {.dir_fd = -EBADF};
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct unix_socket *socket;
    struct stat st;

    if (*listen != '/' || fstat(fd, &st) < 0 || unix_table_read(&table) < 0 ||
        !(socket = unix_table_find_inode(&table, (uint32_t) st.st_ino)) || !socket->has_file)
        return (struct listener_place){0};
    for (int i = 0; take_apart(listen, &name) >= 0 && i < 2; i++) {
        if (fstatat(name.dir_fd, i == 0 ? name.beside : name.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISSOCK(st.st_mode) && (uint32_t) st.st_ino == socket->file_inode)
            return (struct listener_place){.device = st.st_dev, .inode = st.st_ino};
        place_name_done(&name);
    }
    return (struct listener_place){.inode = socket->file_inode};
}

enum listener_sight listener_look(const char *listen, const struct listener_place *place) {
    _cleanup_place_name_ struct place_name name = {.dir_fd = -EBADF};
    struct stat st;
    int r;

    if (*listen != '/' || place->inode == 0)
        return LISTENER_OURS;
    r = take_apart(listen, &name);
    if (r == -ENOENT)
        return LISTENER_REMOVED;
    if (r < 0)
        return LISTENER_UNSEEN;
    if (fstatat(name.dir_fd, name.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return is_place(place, &st) ? LISTENER_OURS : LISTENER_OTHER;
    return errno == ENOENT ? LISTENER_REMOVED : LISTENER_UNSEEN;
}

/* From one of its names to the other. */
static int link_from(const char *listen, const struct listener_place *place, bool to_path) {
    _cleanup_place_name_ struct place_name name = {.dir_fd = -EBADF};
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    int r;

    if (*listen != '/' || place->inode == 0)
        return 0;
    r = take_apart(listen, &name);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    fd = pin(name.dir_fd, to_path ? name.beside : name.name, &st);
    if (fd < 0 || !is_place(place, &st))
        return fd == -ENOENT || fd == -ENOTSOCK || fd == -ELOOP || fd >= 0 ? -ESTALE : fd;
    return link_pinned(fd, name.dir_fd, to_path ? name.name : name.beside);
}

int listener_restore(const char *listen, const struct listener_place *place) {
    return link_from(listen, place, true);
}

int listener_keep_beside(const char *listen, const struct listener_place *place) {
    int r = link_from(listen, place, false);

    return r == -EEXIST ? 0 : r;
}

/* Moved aside first, to a name that nobody knows: what somebody else has put there in between is put back. */
static void remove_if_ours(int dir_fd, const char *name, const struct listener_place *place) {
    unsigned long long random;
    char aside[32];

    if (!stands_at(dir_fd, name, place) || getrandom(&random, sizeof random, 0) != (ssize_t) sizeof random)
        return;
    snprintf(aside, sizeof aside, ".latchd-%016llx", random);
    if (renameat2(dir_fd, name, dir_fd, aside, RENAME_NOREPLACE) < 0)
        return;
    if (stands_at(dir_fd, aside, place))
        (void) unlinkat(dir_fd, aside, 0);
    else
        (void) renameat2(dir_fd, aside, dir_fd, name, RENAME_NOREPLACE);
}

static void remove_names(const char *listen, const struct listener_place *place) {
    _cleanup_place_name_ struct place_name name = {.dir_fd = -EBADF};

    if (*listen != '/' || place->inode == 0 || take_apart(listen, &name) < 0)
        return;
    remove_if_ours(name.dir_fd, name.name, place);
    remove_if_ours(name.dir_fd, name.beside, place);
}

/* systemd's store and what is left of the daemon may have it for a while yet: then a port could not be bound
 * anew. */
void listener_end(int fd, const char *listen, const struct listener_place *place) {
    remove_names(listen, place);
    (void) shutdown(fd, SHUT_RDWR);
    fd_close(fd);
}
