/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/unix-diag.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "base/macro.h"
#include "base/value.h"
#include "socket/sock-diag.h"

#define THREAD_STACK_BYTES (128 * 1024)

static void free_sockets(struct unix_table *table) {
    for (size_t i = 0; i < table->n; i++)
        free(table->sockets[i].name);
    free(table->sockets);
    table->sockets = NULL;
    table->n = 0;
}

void unix_table_done(struct unix_table *table) {
    free_sockets(table);
    free(table->by_inode);
    free(table->by_file);
    free(table->by_name);
    *table = (struct unix_table){0};
}

/* Abstract names begin with a NUL byte and may contain more (unix(7)); a path ends at its first. */
static int take_name(const char *payload, size_t size, struct unix_socket *socket) {
    bool abstract = size > 0 && payload[0] == '\0';
    char *name = calloc(1, size + 1), *raw;

    if (!name)
        return -ENOMEM;
    memcpy(name, payload, size);
    if (abstract) {
        name[0] = '@';
        for (size_t i = 1; i < size; i++)
            if (name[i] == '\0') {
                name[i] = '@';
                socket->name_altered = true;
            }
    }
    raw = strdup(name);
    if (!raw) {
        free(name);
        return -ENOMEM;
    }
    value_make_printable(name);
    socket->name_altered |= strcmp(raw, name) != 0;
    free(raw);
    free(socket->name);
    socket->name = name;
    return 0;
}

static int read_attribute(unsigned type, const void *payload, size_t size, struct unix_socket *socket) {
    switch (type) {
    case UNIX_DIAG_VFS:
        if (size >= sizeof(struct unix_diag_vfs)) {
            const struct unix_diag_vfs *vfs = payload;

            /* The kernel's own encoding of a device: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
             */
            socket->has_file = true;
            socket->file_inode = vfs->udiag_vfs_ino;
            socket->file_device = makedev(vfs->udiag_vfs_dev >> 20, vfs->udiag_vfs_dev & 0xfffff);
        }
        return 0;
    case UNIX_DIAG_NAME:
        return take_name(payload, size, socket);
    case UNIX_DIAG_RQLEN:
        /* Of other sockets than listeners it is numbers of bytes (net/unix/diag.c, sk_diag_show_rqlen()). */
        if (socket->listening && size >= sizeof(struct unix_diag_rqlen)) {
            const struct unix_diag_rqlen *rqlen = payload;

            socket->queue = rqlen->udiag_rqueue;
            socket->backlog = rqlen->udiag_wqueue;
        }
        return 0;
    }
    return 0;
}

static int add_socket(struct unix_table *table, const struct unix_socket *socket) {
    if ((table->n & (table->n - 1)) == 0) { /* grows at each power of two */
        struct unix_socket *bigger =
            reallocarray(table->sockets, table->n ? table->n * 2 : 1, sizeof *table->sockets);

        if (!bigger)
            return -ENOMEM;
        table->sockets = bigger;
    }
    table->sockets[table->n++] = *socket;
    return 0;
}

static int read_socket(const void *payload, size_t size, void *userdata) {
    const struct unix_diag_msg *message = payload;
    struct unix_table *table = userdata;
    const struct nlattr *attribute;
    struct unix_socket socket;
    const char *bytes = (const char *) payload + sizeof *message;
    int r = 0;

    if (size < sizeof *message)
        return -EBADMSG;
    size -= sizeof *message;
    socket = (struct unix_socket){.inode = message->udiag_ino,
                                  .type = message->udiag_type,
                                  .listening = message->udiag_state == TCP_LISTEN,
                                  /* Of a datagram socket that state says only that somebody has connected
                                   * to it (net/unix/af_unix.c, unix_dgram_connect()). */
                                  .connected = message->udiag_state == TCP_ESTABLISHED &&
                                               message->udiag_type != SOCK_DGRAM};
    while (r >= 0 && (attribute = sock_diag_next(&bytes, &size)))
        r = read_attribute(attribute->nla_type & NLA_TYPE_MASK, attribute + 1,
                           attribute->nla_len - sizeof *attribute, &socket);
    if (r >= 0 && (socket.listening || socket.has_file || (socket.name && socket.name[0] == '@'))) {
        r = add_socket(table, &socket);
        if (r >= 0)
            return 0;
    }
    free(socket.name);
    return r;
}

static void forget(void *userdata) {
    free_sockets(userdata);
}

int unix_table_parse(const void *buffer, size_t size, struct unix_table *table) {
    return sock_diag_parse(
        buffer, size, &(struct sock_diag_sink){.take = read_socket, .forget = forget, .userdata = table});
}

/* A listener comes before a socket that is only bound, and that before a connection. */
static int rank_of(const struct unix_socket *socket) {
    return socket->listening ? 0 : socket->connected ? 2 : 1;
}

static int compare_file(const struct unix_socket *socket, dev_t device, uint32_t inode) {
    if (socket->file_device != device)
        return socket->file_device < device ? -1 : 1;
    return socket->file_inode == inode ? 0 : socket->file_inode < inode ? -1 : 1;
}

static int order_files(const void *a, const void *b, void *sockets) {
    const struct unix_socket *x = (struct unix_socket *) sockets + *(const uint32_t *) a,
                             *y = (struct unix_socket *) sockets + *(const uint32_t *) b;
    int order = compare_file(x, y->file_device, y->file_inode);

    return order ? order : rank_of(x) - rank_of(y);
}

/* An abstract name as a whole, of a path the last component. */
static const char *key_of(const struct unix_socket *socket) {
    const char *slash = socket->name[0] == '@' ? NULL : strrchr(socket->name, '/');

    return slash ? slash + 1 : socket->name;
}

static int order_names(const void *a, const void *b, void *sockets) {
    const struct unix_socket *x = (struct unix_socket *) sockets + *(const uint32_t *) a,
                             *y = (struct unix_socket *) sockets + *(const uint32_t *) b;
    int order = strcmp(key_of(x), key_of(y));

    return order ? order : rank_of(x) - rank_of(y);
}

static int order_inodes(const void *a, const void *b, void *sockets) {
    uint32_t x = ((struct unix_socket *) sockets)[*(const uint32_t *) a].inode,
             y = ((struct unix_socket *) sockets)[*(const uint32_t *) b].inode;

    return (x > y) - (x < y);
}

int unix_table_index(struct unix_table *table) {
    _cleanup_free_ uint32_t *by_inode = calloc(table->n + 1, sizeof *by_inode);
    _cleanup_free_ uint32_t *by_file = calloc(table->n + 1, sizeof *by_file);
    _cleanup_free_ uint32_t *by_name = calloc(table->n + 1, sizeof *by_name);
    size_t n_files = 0, n_names = 0;

    if (!by_inode || !by_file || !by_name)
        return -ENOMEM;
    for (size_t i = 0; i < table->n; i++) {
        by_inode[i] = (uint32_t) i;
        if (table->sockets[i].has_file)
            by_file[n_files++] = (uint32_t) i;
        if (table->sockets[i].name && !table->sockets[i].name_altered)
            by_name[n_names++] = (uint32_t) i;
    }
    qsort_r(by_inode, table->n, sizeof *by_inode, order_inodes, table->sockets);
    qsort_r(by_file, n_files, sizeof *by_file, order_files, table->sockets);
    qsort_r(by_name, n_names, sizeof *by_name, order_names, table->sockets);
    free(table->by_inode);
    free(table->by_file);
    free(table->by_name);
    table->by_inode = TAKE_PTR(by_inode);
    table->by_file = TAKE_PTR(by_file);
    table->by_name = TAKE_PTR(by_name);
    table->n_files = n_files;
    table->n_names = n_names;
    return 0;
}

const struct unix_socket *unix_table_find_inode(const struct unix_table *table, uint32_t inode) {
    size_t low = 0, high = table->by_inode ? table->n : 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct unix_socket *socket = &table->sockets[table->by_inode[middle]];

        if (socket->inode == inode)
            return socket;
        if (socket->inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct unix_socket *unix_table_find(const struct unix_table *table, dev_t device, ino_t inode) {
    size_t low = 0, high = table->n_files;

    while (low < high) { /* the first that is not smaller */
        size_t middle = low + (high - low) / 2;

        if (compare_file(&table->sockets[table->by_file[middle]], device, (uint32_t) inode) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->n_files ||
        compare_file(&table->sockets[table->by_file[low]], device, (uint32_t) inode) != 0)
        return NULL;
    return &table->sockets[table->by_file[low]];
}

static size_t find_key(const struct unix_table *table, const char *key) {
    size_t low = 0, high = table->n_names;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(key_of(&table->sockets[table->by_name[middle]]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct unix_socket *unix_table_find_name(const struct unix_table *table, const char *name) {
    for (size_t i = find_key(table, name); i < table->n_names; i++) {
        const struct unix_socket *socket = &table->sockets[table->by_name[i]];

        if (strcmp(key_of(socket), name) != 0)
            break;
        if (!socket->has_file && strcmp(socket->name, name) == 0) /* a path may begin with '@', too */
            return socket;
    }
    return NULL;
}

const struct unix_socket *unix_table_next(const struct unix_table *table, const char *component,
                                          size_t *position) {
    for (size_t i = find_key(table, component) + *position; i < table->n_names; i++) {
        const struct unix_socket *socket = &table->sockets[table->by_name[i]];

        if (strcmp(key_of(socket), component) != 0)
            break;
        ++*position;
        if (socket->has_file)
            return socket;
    }
    return NULL;
}

int unix_table_read(struct unix_table *ret) {
    _cleanup_unix_table_ struct unix_table table = {0};
    const struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } query = {
        .header = {.nlmsg_len = sizeof query,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = 1},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = UINT32_MAX,
                    .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN},
    };
    const struct sock_diag_sink sink = {.take = read_socket, .forget = forget, .userdata = &table};
    int r = sock_diag_dump((const struct nlmsghdr *const[]){&query.header}, 1, &sink);

    if (r >= 0)
        r = unix_table_index(&table);
    if (r < 0)
        return r;
    *ret = table;
    table = (struct unix_table){0};
    return 0;
}

struct visit {
    int netns_fd, error;
    struct unix_table *table;
};

/* setns(2) moves the calling thread alone; a new netlink socket belongs to the namespace it is made in. */
static void *visit_namespace(void *data) {
    struct visit *visit = data;

    visit->error = setns(visit->netns_fd, CLONE_NEWNET) < 0 ? -errno : unix_table_read(visit->table);
    return NULL;
}

int unix_table_read_in(int netns_fd, struct unix_table *ret) {
    struct visit visit = {.netns_fd = netns_fd, .table = ret};
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int r;

    r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    (void) pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    sigfillset(&all); /* no signal is handled there */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attributes, visit_namespace, &visit);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (r != 0)
        return -r;
    r = pthread_join(thread, NULL);
    return r != 0 ? -r : visit.error;
}
