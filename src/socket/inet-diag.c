/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/inet-diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macro.h"
#include "socket/sock-diag.h"

static void free_sockets(struct inet_table *table) {
    free(table->sockets);
    table->sockets = NULL;
    table->n = 0;
}

void inet_table_done(struct inet_table *table) {
    free_sockets(table);
    free(table->by_inode);
    free(table->by_local);
    *table = (struct inet_table){0};
}

static void read_attribute(unsigned type, const void *payload, size_t size, struct inet_socket *socket) {
    uint32_t memory[SK_MEMINFO_WMEM_QUEUED + 1];

    switch (type) {
    case INET_DIAG_SKV6ONLY:
        socket->six_only = size >= 1 && *(const uint8_t *) payload != 0;
        break;
    case INET_DIAG_SKMEMINFO: /* sk_get_meminfo(), net/core/sock.c */
        if (size < sizeof memory)
            break;
        memcpy(memory, payload, sizeof memory);
        socket->has_memory = true;
        socket->receive_bytes = memory[SK_MEMINFO_RMEM_ALLOC];
        socket->receive_buffer_bytes = memory[SK_MEMINFO_RCVBUF];
        socket->send_bytes = memory[SK_MEMINFO_WMEM_ALLOC];
        socket->send_buffer_bytes = memory[SK_MEMINFO_SNDBUF];
        socket->send_queued_bytes = memory[SK_MEMINFO_WMEM_QUEUED];
        break;
    }
}

static int add_socket(struct inet_table *table, const struct inet_socket *socket) {
    if ((table->n & (table->n - 1)) == 0) { /* grows at each power of two */
        struct inet_socket *bigger =
            reallocarray(table->sockets, table->n ? table->n * 2 : 1, sizeof *table->sockets);

        if (!bigger)
            return -ENOMEM;
        table->sockets = bigger;
    }
    table->sockets[table->n++] = *socket;
    return 0;
}

/* The kernel leaves the rest behind an address of IPv4 as it likes. */
static struct inet_endpoint read_endpoint(int family, const __be32 address[4], __be16 port) {
    struct inet_endpoint endpoint = {.port = ntohs(port)};

    memcpy(&endpoint.address, address, family == AF_INET ? 4 : 16);
    return endpoint;
}

/* Queue and limit of a listener: sk_ack_backlog and sk_max_ack_backlog (net/ipv4/tcp_diag.c,
 * tcp_diag_get_info()). */
static int read_socket(const void *payload, size_t size, void *userdata) {
    const struct inet_diag_msg *message = payload;
    const char *bytes = (const char *) payload + sizeof *message;
    const struct nlattr *attribute;
    struct inet_socket socket;
    int family;

    if (size < sizeof *message)
        return -EBADMSG;
    size -= sizeof *message;
    family = message->idiag_family;
    if (family != AF_INET && family != AF_INET6)
        return -EBADMSG;
    socket = (struct inet_socket){
        .family = family,
        .state = message->idiag_state,
        .listening = message->idiag_state == TCP_LISTEN,
        .local = read_endpoint(family, message->id.idiag_src, message->id.idiag_sport),
        .remote = read_endpoint(family, message->id.idiag_dst, message->id.idiag_dport),
        .interface = message->id.idiag_if,
        .inode = message->idiag_inode,
        .uid = message->idiag_uid,
        .queue = message->idiag_rqueue,
        .backlog = message->idiag_wqueue,
    };
    while ((attribute = sock_diag_next(&bytes, &size)))
        read_attribute(attribute->nla_type & NLA_TYPE_MASK, attribute + 1,
                       attribute->nla_len - sizeof *attribute, &socket);
    return add_socket(userdata, &socket);
}

static void forget(void *userdata) {
    free_sockets(userdata);
}

int inet_table_parse(const void *buffer, size_t size, struct inet_table *table) {
    return sock_diag_parse(buffer, size,
                           &(struct sock_diag_sink){.take = read_socket, .forget = forget, .userdata = table});
}

static int order_inodes(const void *a, const void *b, void *sockets) {
    uint32_t x = ((struct inet_socket *) sockets)[*(const uint32_t *) a].inode,
             y = ((struct inet_socket *) sockets)[*(const uint32_t *) b].inode;

    return (x > y) - (x < y);
}

static int compare_local(const struct inet_socket *socket, int family, const struct inet_endpoint *local) {
    if (socket->local.port != local->port)
        return socket->local.port < local->port ? -1 : 1;
    if (socket->family != family)
        return socket->family < family ? -1 : 1;
    return memcmp(&socket->local.address, &local->address, sizeof local->address);
}

static int order_locals(const void *a, const void *b, void *sockets) {
    const struct inet_socket *x = (struct inet_socket *) sockets + *(const uint32_t *) a,
                             *y = (struct inet_socket *) sockets + *(const uint32_t *) b;
    int order = compare_local(x, y->family, &y->local);

    return order ? order : y->listening - x->listening;
}

int inet_table_index(struct inet_table *table) {
    _cleanup_free_ uint32_t *by_inode = calloc(table->n + 1, sizeof *by_inode);
    _cleanup_free_ uint32_t *by_local = calloc(table->n + 1, sizeof *by_local);

    if (!by_inode || !by_local)
        return -ENOMEM;
    for (size_t i = 0; i < table->n; i++)
        by_inode[i] = by_local[i] = (uint32_t) i;
    if (table->n > 0) {
        qsort_r(by_inode, table->n, sizeof *by_inode, order_inodes, table->sockets);
        qsort_r(by_local, table->n, sizeof *by_local, order_locals, table->sockets);
    }
    free(table->by_inode);
    free(table->by_local);
    table->by_inode = TAKE_PTR(by_inode);
    table->by_local = TAKE_PTR(by_local);
    return 0;
}

/* Many connections have none: 0 is no number of a socket. */
const struct inet_socket *inet_table_find_inode(const struct inet_table *table, uint32_t inode) {
    size_t low = 0, high = table->by_inode && inode != 0 ? table->n : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct inet_socket *socket = &table->sockets[table->by_inode[middle]];

        if (socket->inode == inode)
            return socket;
        if (socket->inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct inet_socket *inet_table_next(const struct inet_table *table, int family,
                                          const struct inet_endpoint *local, size_t *position) {
    size_t low = 0, high = table->by_local ? table->n : 0;
    const struct inet_socket *socket;

    while (low < high) { /* the first that is not smaller */
        size_t middle = low + (high - low) / 2;

        if (compare_local(&table->sockets[table->by_local[middle]], family, local) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    low += *position;
    if (!table->by_local || low >= table->n)
        return NULL;
    socket = &table->sockets[table->by_local[low]];
    if (compare_local(socket, family, local) != 0)
        return NULL;
    ++*position;
    return socket;
}

int inet_table_read(enum inet_wanted wanted, struct inet_table *ret) {
    static const int families[] = {AF_INET, AF_INET6};
    _cleanup_inet_table_ struct inet_table table = {0};
    struct query {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } queries[ELEMENTSOF(families)];
    const struct nlmsghdr *headers[ELEMENTSOF(families)];
    const struct sock_diag_sink sink = {.take = read_socket, .forget = forget, .userdata = &table};
    int r;

    for (size_t i = 0; i < ELEMENTSOF(families); i++) {
        queries[i] = (struct query){
            .header = {.nlmsg_len = sizeof queries[i],
                       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                       .nlmsg_seq = (uint32_t) i + 1},
            .request = {.sdiag_family = (uint8_t) families[i],
                        .sdiag_protocol = IPPROTO_TCP,
                        .idiag_ext = wanted == INET_ALL ? 1U << (INET_DIAG_SKMEMINFO - 1) : 0,
                        .idiag_states = wanted == INET_ALL ? UINT32_MAX : 1U << TCP_LISTEN},
        };
        headers[i] = &queries[i].header;
    }
    r = sock_diag_dump(headers, ELEMENTSOF(headers), &sink);
    if (r >= 0)
        r = inet_table_index(&table);
    if (r < 0)
        return r;
    *ret = table;
    table = (struct inet_table){0};
    return 0;
}
