/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/closer.h"
#include "base/value.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* include/uapi/asm-generic/socket.h, since Linux 6.5 */
#endif

static const char *const peer_answer_names[PEER_ANSWER_MAX] = {
    [PEER_NOT_TRIED] = "not-tried",   [PEER_CONNECTED] = "connected", [PEER_REFUSED] = "refused",
    [PEER_QUEUE_FULL] = "queue-full", [PEER_UNCLEAR] = "unclear",     [PEER_BOUND] = "bound",
};
STRTAB_DEFINE(peer_answer, enum peer_answer, peer_answer_names, PEER_ANSWER_INVALID)

/* Of a file, the type whose refusal says most; of abstract names, each of which has one type, the likeliest.
 */
static const int file_types[] = {SOCK_DGRAM, SOCK_STREAM, SOCK_SEQPACKET},
                 abstract_types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

struct unix_address {
    struct sockaddr_un name;
    socklen_t size;
};

static int connect_address(const struct unix_address *address, int type) {
    _cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    (void) closer_pass_rights(fd, false); /* from before there is anybody who could send */
    if (connect(fd, (const struct sockaddr *) &address->name, address->size) < 0)
        return -errno;
    return TAKE_FD(fd);
}

/* Through a descriptor of the file itself (O_PATH will do) every path fits into sun_path. */
static struct unix_address address_of_file(int file_fd) {
    struct unix_address address = {.name.sun_family = AF_UNIX, .size = sizeof address.name};

    snprintf(address.name.sun_path, sizeof address.name.sun_path, "/proc/self/fd/%d", file_fd);
    return address;
}

/* -ENOTSOCK: connect(2) would say ECONNREFUSED, as if a listener had died. */
static int open_socket_file(int dir_fd, const char *name) {
    _cleanup_close_ int file_fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (file_fd < 0 || fstat(file_fd, &st) < 0)
        return -errno;
    return S_ISSOCK(st.st_mode) ? TAKE_FD(file_fd) : -ENOTSOCK;
}

int peer_connect(int dir_fd, const char *name) {
    _cleanup_close_ int file_fd = open_socket_file(dir_fd, name);
    struct unix_address address;

    if (file_fd < 0)
        return file_fd;
    address = address_of_file(file_fd);
    return connect_address(&address, SOCK_STREAM);
}

int peer_connect_path(const char *path) {
    _cleanup_close_ int file_fd = -EBADF;
    struct unix_address address;

    if (path[0] != '/')
        return -EINVAL;
    file_fd = open(path, O_PATH | O_CLOEXEC);
    if (file_fd < 0)
        return -errno;
    address = address_of_file(file_fd);
    return connect_address(&address, SOCK_STREAM);
}

/* The pid behind a pidfd; its fdinfo says -1 once the process has been reaped (fs/pidfs.c). */
static int read_pidfd_pid(int proc_fd, int pidfd, int *ret) {
    _cleanup_free_ char *text = NULL;
    const char *row;
    char path[64];
    int r;

    snprintf(path, sizeof path, "self/fdinfo/%d", pidfd);
    r = fd_read_file_at(proc_fd, path, 4096, &text, NULL);
    if (r < 0)
        return r;
    row = strstr(text, "\nPid:");
    return row && sscanf(row, "\nPid: %d", ret) == 1 ? 0 : -EBADMSG;
}

static enum process_life life_of_listener(int proc_fd, int fd, pid_t pid) {
    _cleanup_close_ int pidfd = -EBADF;
    socklen_t size = sizeof pidfd;
    struct proc_stat stat;
    int now = 0, r;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
        /* An older kernel, or one that gives no pidfd for the dead. Then only an unused number is proof. */
        pidfd = -EBADF;
        if (pid <= 0)
            return PROCESS_UNKNOWN;
        r = procfs_read_stat(proc_fd, pid, &stat);
        if (r == -ESRCH)
            return process_absence_is_true(proc_fd, pid) ? PROCESS_GONE : PROCESS_UNKNOWN;
        if (r >= 0 && process_life_of_stat(&stat) == PROCESS_ZOMBIE)
            return PROCESS_ZOMBIE;
        return PROCESS_UNKNOWN;
    }
    r = read_pidfd_pid(proc_fd, pidfd, &now);
    if (r < 0)
        return PROCESS_UNKNOWN;
    if (now == -1)
        return PROCESS_GONE;
    if (process_pidfd_ended(pidfd))
        return PROCESS_ZOMBIE;
    if (now > 0 && procfs_read_stat(proc_fd, now, &stat) >= 0 && !process_pidfd_ended(pidfd))
        return process_life_of_stat(&stat);
    return process_pidfd_ended(pidfd) ? PROCESS_GONE : PROCESS_ALIVE;
}

int peer_identify(int proc_fd, int fd, struct peer_facts *ret) {
    struct ucred credentials;
    socklen_t size = sizeof credentials;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -errno;
    *ret = (struct peer_facts){
        .answer = PEER_CONNECTED,
        .pid = credentials.pid,
        .uid = credentials.uid,
        .life = life_of_listener(proc_fd, fd, credentials.pid),
    };
    return 0;
}

int peer_close(int fd) {
    struct closer *closer = NULL;
    socklen_t size = sizeof(int);
    int type = SOCK_STREAM;

    if (fd < 0)
        return -EBADF;
    (void) shutdown(fd, SHUT_RDWR); /* for the other side it ends now */
    /* Of a stream it can be told that there is nothing: descriptors come with a byte at least. */
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_STREAM)
        (void) closer_close_socket(&closer, fd);
    else if (closer_close(&closer, &fd, 1) < 0)
        fd_close(fd);
    closer_free(closer);
    return -EBADF;
}

static void peer_closep(int *fd) {
    *fd = peer_close(*fd);
}

/* `connected`: a descriptor, which is closed, or what connect(2) said. */
static int look(int proc_fd, int connected, struct peer_facts *ret) {
    struct peer_facts facts = {.life = PROCESS_UNKNOWN, .uid = (uid_t) -1};
    _cleanup_(peer_closep) int fd = connected;

    if (fd >= 0)
        return peer_identify(proc_fd, fd, ret);
    switch (-fd) {
    case ECONNREFUSED:
        facts.answer = PEER_REFUSED;
        break;
    case EAGAIN:
        facts.answer = PEER_QUEUE_FULL;
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return fd;
    default:
        facts.answer = PEER_UNCLEAR;
    }
    facts.error = -fd;
    *ret = facts;
    return 0;
}

/* Connects to a file with the type of the socket that is bound to it. With a wrong type the kernel says
 * EPROTOTYPE when there is such a socket, and ECONNREFUSED when there is none; with the right type a stream
 * says ECONNREFUSED as well when it does not listen, while a datagram socket takes whatever comes as long as
 * it is there (net/unix/af_unix.c: unix_find_bsd(), unix_stream_connect(), unix_dgram_connect()). So a
 * datagram socket's is the refusal that says that the file is dead. *ret_bound: it is not. */
static int connect_file(const struct unix_address *address, bool *ret_bound) {
    int fd = -EPROTOTYPE;
    size_t tried = 0;

    while (tried < ELEMENTSOF(file_types) && fd == -EPROTOTYPE)
        fd = connect_address(address, file_types[tried++]);
    *ret_bound = tried > 1;
    return fd == -EPROTOTYPE ? -ECONNREFUSED : fd; /* of another type by now: it was bound anew meanwhile */
}

/* Abstract names of each type are apart from the others' (net/unix/af_unix.c, unix_abstract_hash()). */
static int connect_abstract(const struct unix_address *address) {
    int first = -ECONNREFUSED;

    for (size_t i = 0; i < ELEMENTSOF(abstract_types); i++) {
        int fd = connect_address(address, abstract_types[i]);

        if (fd >= 0)
            return fd;
        if (first == -ECONNREFUSED && fd != -EPROTOTYPE)
            first = fd;
    }
    return first;
}

int peer_look_file(int proc_fd, int file_fd, struct peer_facts *ret) {
    struct unix_address address = address_of_file(file_fd);
    bool bound;
    int fd = connect_file(&address, &bound), r;

    r = look(proc_fd, fd, ret);
    if (r >= 0 && bound && ret->answer == PEER_REFUSED)
        ret->answer = PEER_BOUND;
    return r;
}

int peer_look(int proc_fd, int dir_fd, const char *name, struct peer_facts *ret) {
    _cleanup_close_ int file_fd = open_socket_file(dir_fd, name);

    return file_fd < 0 ? look(proc_fd, file_fd, ret) : peer_look_file(proc_fd, file_fd, ret);
}

static int address_of_abstract(const char *name, struct unix_address *ret) {
    struct unix_address address = {.name.sun_family = AF_UNIX};
    size_t length = strlen(name);

    if (length > sizeof address.name.sun_path - 1)
        return -ENAMETOOLONG;
    memcpy(address.name.sun_path + 1, name, length);
    address.size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + length);
    *ret = address;
    return 0;
}

int peer_look_abstract(int proc_fd, const char *name, struct peer_facts *ret) {
    struct unix_address address;
    int r = address_of_abstract(name, &address);

    return look(proc_fd, r < 0 ? r : connect_abstract(&address), ret);
}

int peer_connect_abstract(const char *name) {
    struct unix_address address;
    int r = address_of_abstract(name, &address);

    return r < 0 ? r : connect_address(&address, SOCK_STREAM);
}

/* HOST, without what is around it, and the port. */
struct host_port {
    char host[INET6_ADDRSTRLEN];
    bool bracketed;
    in_port_t port; /* as in an address */
};

static int split_address(const char *text, struct host_port *ret) {
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t) (colon - text) : 0;
    int port;

    if (length == 0 || value_parse_int(colon + 1, 1, 65535, &port) < 0)
        return -EINVAL;
    ret->bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
    if (ret->bracketed) {
        text++;
        length -= 2;
    }
    if (length >= sizeof ret->host)
        return -EINVAL;
    memcpy(ret->host, text, length);
    ret->host[length] = '\0';
    ret->port = htons((uint16_t) port);
    return 0;
}

static int set_six(const struct in6_addr *address, in_port_t port, struct peer_address *ret) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = *address, .sin6_port = port};

    *ret = (struct peer_address){.size = sizeof six};
    memcpy(&ret->name, &six, sizeof six);
    return 0;
}

static int set_four(in_addr_t address, in_port_t port, struct peer_address *ret) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = address, .sin_port = port};

    *ret = (struct peer_address){.size = sizeof four};
    memcpy(&ret->name, &four, sizeof four);
    return 0;
}

/* any_four, any_six: what stands for all addresses of the machine. */
static int parse_address(const char *text, in_addr_t any_four, const struct in6_addr *any_six,
                         struct peer_address *ret) {
    struct host_port parts;
    struct in6_addr six;
    struct in_addr four;

    if (split_address(text, &parts) < 0)
        return -EINVAL;
    if (parts.bracketed) {
        if (inet_pton(AF_INET6, parts.host, &six) != 1)
            return -EINVAL;
        return set_six(IN6_IS_ADDR_UNSPECIFIED(&six) ? any_six : &six, parts.port, ret);
    }
    if (strcmp(parts.host, "*") == 0)
        return set_four(any_four, parts.port, ret);
    if (strcmp(parts.host, "localhost") == 0)
        return set_four(htonl(INADDR_LOOPBACK), parts.port, ret);
    if (inet_pton(AF_INET, parts.host, &four) != 1)
        return -EINVAL;
    return set_four(four.s_addr == htonl(INADDR_ANY) ? any_four : four.s_addr, parts.port, ret);
}

int peer_parse_address(const char *text, struct peer_address *ret) {
    static const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;

    return parse_address(text, htonl(INADDR_LOOPBACK), &loopback, ret);
}

int peer_parse_bind_address(const char *text, struct peer_address *ret) {
    static const struct in6_addr any = IN6ADDR_ANY_INIT;

    return parse_address(text, htonl(INADDR_ANY), &any, ret);
}

int peer_connect_address(const struct peer_address *address, bool *ret_connecting) {
    _cleanup_close_ int fd =
        socket(address->name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    bool connecting = false;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *) &address->name, address->size) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        connecting = true;
    }
    *ret_connecting = connecting;
    return TAKE_FD(fd);
}
