/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's table of TCP sockets, of IPv4 and of IPv6 (NETLINK_SOCK_DIAG, sock_diag(7)): one dump for any
 * number of questions. It covers one network namespace only, and a row can be missed while sockets come and go,
 * so a missing row proves nothing. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inet_endpoint {
    struct in6_addr address; /* of IPv4 the first four bytes; all zero: any address */
    uint16_t port;           /* as people write it */
};

struct inet_socket {
    int family; /* AF_INET, AF_INET6 */
    int state;  /* TCP_ESTABLISHED and so on (netinet/tcp.h) */
    bool listening;
    bool six_only; /* of a listener of AF_INET6: connections of IPv4 do not come to it (IPV6_V6ONLY, ipv6(7)) */
    struct inet_endpoint local, remote;
    uint32_t interface; /* that it is bound to (SO_BINDTODEVICE); 0: any */
    uint32_t inode;     /* the socket's own: /proc/PID/fd shows socket:[inode]; 0: of no process (any more) */
    uid_t uid;          /* who made it */
    uint32_t queue;     /* a listener's connections that wait for accept(2); of others bytes to be read */
    uint32_t backlog;   /* a listener's limit: the queue takes backlog + 1; of others bytes not acknowledged */

    bool has_memory; /* the five below were asked for, and told: bytes (INET_DIAG_SKMEMINFO) */
    uint32_t receive_bytes, receive_buffer_bytes, send_bytes, send_buffer_bytes;
    uint32_t send_queued_bytes; /* written and not acknowledged, with the kernel's overhead: what is held
                                   against the send buffer (sk_stream_wspace(), include/net/sock.h) */
};

struct inet_table {
    struct inet_socket *sockets; /* owned */
    size_t n;
    uint32_t *by_inode, *by_local; /* positions in `sockets`, sorted; owned */
};

enum inet_wanted {
    INET_LISTENERS,
    INET_ALL, /* connections in whatever state as well, with the memory that they use */
};

#define _cleanup_inet_table_ _cleanup_(inet_table_done)
void inet_table_done(struct inet_table *table);

/* Reads both families. -errno of the netlink exchange: -ENOENT: this kernel does not tell (no tcp_diag). */
int inet_table_read(enum inet_wanted wanted, struct inet_table *ret);

/* Adds what one buffer full of netlink messages says; as unix_table_parse(). */
int inet_table_parse(const void *buffer, size_t size, struct inet_table *table);

/* Sorts what was parsed: the functions below find nothing before. */
int inet_table_index(struct inet_table *table);

/* The socket whose own inode that is, or NULL. */
const struct inet_socket *inet_table_find_inode(const struct inet_table *table, uint32_t inode);

/* One after another all that are bound to that very address and port, listeners first (with SO_REUSEPORT there are
 * several): *position begins with 0. NULL: no more. */
const struct inet_socket *inet_table_next(const struct inet_table *table, int family,
                                          const struct inet_endpoint *local, size_t *position);
