/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/value.h"

void queue_tables_done(struct queue_tables *tables) {
    unix_table_done(&tables->of_unix);
    inet_table_done(&tables->of_inet);
    *tables = (struct queue_tables){0};
}

bool queue_is_inet(const char *listen) {
    return *listen != '/' && *listen != '@';
}

int queue_tables_read(bool unix_wanted, bool inet_wanted, struct queue_tables *ret) {
    int r, failure = 0;

    *ret = (struct queue_tables){0};
    if (unix_wanted) {
        r = unix_table_read(&ret->of_unix);
        ret->has_unix = r >= 0;
        failure = r < 0 ? r : failure;
    }
    if (inet_wanted) {
        r = inet_table_read(INET_LISTENERS, &ret->of_inet);
        ret->has_inet = r >= 0;
        failure = r < 0 ? r : failure;
    }
    return failure;
}

/* A queue takes connections until it holds more than the backlog: unix_recvq_full() (net/unix/af_unix.c),
 * sk_acceptq_is_full() (include/net/sock.h). */
static void take(struct queue_facts *facts, uint32_t inode, uint32_t depth, uint32_t backlog) {
    *facts = (struct queue_facts){.sight = QUEUE_SEEN,
                                  .inode = inode,
                                  .depth = depth,
                                  .backlog = backlog,
                                  .limit = backlog < UINT32_MAX ? backlog + 1 : backlog,
                                  .full = depth > backlog};
}

/* The table names a file by its superblock's device, which is not st_dev on overlayfs and btrfs. That is only
 * looked up where some socket's file has the number: it takes the whole text of the mounts. */
static const struct unix_socket *find_by_mount(const struct unix_table *table, int proc_fd, int fd,
                                               ino_t inode) {
    struct mount_facts mount;
    bool any = false;

    for (size_t i = 0; i < table->n && !any; i++)
        any = table->sockets[i].has_file && table->sockets[i].file_inode == (uint32_t) inode;
    if (!any || mount_of_fd(proc_fd, fd, &mount) < 0)
        return NULL;
    return unix_table_find(table, mount.device, inode);
}

/* The path leads to the file as connect(2) takes it, links and all. */
static void look_unix(const struct unix_table *table, int proc_fd, const char *listen,
                      struct queue_facts *facts) {
    const struct unix_socket *socket;
    struct stat st;

    if (*listen == '@')
        socket = unix_table_find_name(table, listen);
    else {
        _cleanup_close_ int fd = open(listen, O_PATH | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &st) < 0) {
            facts->sight = errno == ENOENT || errno == ENOTDIR ? QUEUE_ABSENT : QUEUE_UNSEEN;
            return;
        }
        socket = unix_table_find(table, st.st_dev, st.st_ino);
        if (!socket)
            socket = find_by_mount(table, proc_fd, fd, st.st_ino);
    }
    if (socket && socket->listening)
        take(facts, socket->inode, socket->queue, socket->backlog);
    else
        facts->sight = QUEUE_ABSENT;
}

/* Where a connection to an address arrives, the best first. */
enum { PLACES_MAX = 6 };
struct places {
    struct {
        int family;
        struct inet_endpoint local;
        bool both_families; /* it is a connection of IPv4: a listener of IPv6 has to take those */
    } of[PLACES_MAX];
    size_t n;
    uint16_t port;
};

static void add_place(struct places *places, int family, const struct in6_addr *address, bool both_families) {
    places->of[places->n].family = family;
    places->of[places->n].local = (struct inet_endpoint){.address = *address, .port = places->port};
    places->of[places->n++].both_families = both_families;
}

/* As the kernel looks for a listener: one of that very address, then one of any address
 * (net/ipv4/inet_hashtables.c,
 * __inet_lookup_listener()). One of IPv6 has an address of IPv4 with ::ffff: before it (ipv6(7)). */
static void add_four(struct places *places, in_addr_t address) {
    struct in6_addr four = {0}, mapped = {0};

    memcpy(&four, &address, sizeof address);
    if (address != htonl(INADDR_ANY)) {
        mapped.s6_addr[10] = mapped.s6_addr[11] = 0xff;
        memcpy(&mapped.s6_addr[12], &address, sizeof address);
        add_place(places, AF_INET, &four, false);
        add_place(places, AF_INET6, &mapped, false);
    }
    add_place(places, AF_INET, &in6addr_any, false);
    add_place(places, AF_INET6, &in6addr_any, true);
}

static void add_six(struct places *places, const struct in6_addr *address) {
    if (!IN6_IS_ADDR_UNSPECIFIED(address))
        add_place(places, AF_INET6, address, false);
    add_place(places, AF_INET6, &in6addr_any, false);
}

/* False: it is a host's name, or no address at all. */
static bool find_places(const char *listen, struct places *places) {
    const char *colon = strrchr(listen, ':');
    size_t length = colon ? (size_t) (colon - listen) : 0;
    char host[INET6_ADDRSTRLEN + 2];
    struct in6_addr six;
    struct in_addr four;
    int port;

    if (length == 0 || length >= sizeof host || value_parse_int(colon + 1, 1, UINT16_MAX, &port) < 0)
        return false;
    memcpy(host, listen, length);
    host[length] = '\0';
    *places = (struct places){.port = (uint16_t) port};
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &six) != 1)
            return false;
        add_six(places, &six);
    } else if (strcmp(host, "*") == 0) {
        add_four(places, htonl(INADDR_ANY));
        add_six(places, &in6addr_any);
    } else if (strcmp(host, "localhost") == 0) {
        add_four(places, htonl(INADDR_LOOPBACK));
        add_place(places, AF_INET6, &in6addr_loopback, false);
        add_place(places, AF_INET6, &in6addr_any, false);
    } else {
        if (inet_pton(AF_INET, host, &four) != 1)
            return false;
        add_four(places, four.s_addr);
    }
    return true;
}

static uint32_t room_of(const struct queue_facts *facts) {
    return facts->full ? 0 : facts->limit - facts->depth;
}

static void look_inet(const struct inet_table *table, const char *listen, struct queue_facts *facts) {
    struct places places;

    if (!find_places(listen, &places))
        return;
    facts->sight = QUEUE_ABSENT;
    for (size_t i = 0; i < places.n && facts->sight == QUEUE_ABSENT; i++) {
        const struct inet_socket *socket;
        size_t position = 0;

        while ((socket = inet_table_next(table, places.of[i].family, &places.of[i].local, &position))) {
            struct queue_facts one;

            if (!socket->listening || (places.of[i].both_families && socket->six_only))
                continue;
            take(&one, socket->inode, socket->queue, socket->backlog);
            if (facts->sight == QUEUE_ABSENT || room_of(&one) < room_of(facts) ||
                (room_of(&one) == room_of(facts) && one.inode < facts->inode)) /* the same one each time */
                *facts = one;
        }
    }
}

void queue_look(const struct queue_tables *tables, int proc_fd, const char *listen, struct queue_facts *ret) {
    struct queue_facts facts = {.sight = QUEUE_UNSEEN};

    if (queue_is_inet(listen)) {
        if (tables->has_inet)
            look_inet(&tables->of_inet, listen, &facts);
    } else if (tables->has_unix)
        look_unix(&tables->of_unix, proc_fd, listen, &facts);
    *ret = facts;
}

void queue_look_own(const struct queue_tables *tables, const char *listen, uint32_t inode,
                    struct queue_facts *ret) {
    const struct unix_socket *local = NULL;
    const struct inet_socket *inet = NULL;

    *ret = (struct queue_facts){.sight = QUEUE_UNSEEN};
    if (queue_is_inet(listen) && tables->has_inet)
        inet = inet_table_find_inode(&tables->of_inet, inode);
    else if (!queue_is_inet(listen) && tables->has_unix)
        local = unix_table_find_inode(&tables->of_unix, inode);
    if (inet && inet->listening)
        take(ret, inet->inode, inet->queue, inet->backlog);
    else if (local && local->listening)
        take(ret, local->inode, local->queue, local->backlog);
}

int queue_read_somaxconn(int proc_fd, uint32_t *ret) {
    _cleanup_free_ char *text = NULL;
    unsigned value;
    int r = fd_read_file_at(proc_fd, "sys/net/core/somaxconn", 64, &text, NULL);

    if (r < 0)
        return r;
    if (sscanf(text, "%u", &value) != 1)
        return -EBADMSG;
    *ret = value;
    return 0;
}
