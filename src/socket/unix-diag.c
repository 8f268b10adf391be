/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/unix-diag.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/macro.h"
#include "base/value.h"

/* Linux fills dumps of up to 32 KiB when the reader offers that much (netlink(7)). */
#define DUMP_BUFFER_BYTES (32 * 1024)

void unix_table_done(struct unix_table *table) {
    for (size_t i = 0; i < table->n; i++)
        free(table->sockets[i].name);
    free(table->sockets);
    *table = (struct unix_table){0};
}

/* Abstract names begin with a NUL byte and may contain more (unix(7)). */
static char *copy_name(const char *payload, size_t size) {
    char *name = calloc(1, size + 1);

    if (!name)
        return NULL;
    memcpy(name, payload, size);
    if (size > 0 && name[0] == '\0')
        for (size_t i = 0; i < size; i++)
            if (name[i] == '\0')
                name[i] = '@';
    value_make_printable(name);
    return name;
}

static int read_attribute(const struct nlattr *attribute, void *data) {
    struct unix_socket *socket = data;

    switch (mnl_attr_get_type(attribute)) {
    case UNIX_DIAG_VFS:
        if (mnl_attr_validate2(attribute, MNL_TYPE_UNSPEC, sizeof(struct unix_diag_vfs)) >= 0) {
            const struct unix_diag_vfs *vfs = mnl_attr_get_payload(attribute);

            /* The kernel's own encoding of a device: 12 bits of major, 20 of minor (include/linux/kdev_t.h).
             */
            socket->has_file = true;
            socket->file_inode = vfs->udiag_vfs_ino;
            socket->file_device = makedev(vfs->udiag_vfs_dev >> 20, vfs->udiag_vfs_dev & 0xfffff);
        }
        break;
    case UNIX_DIAG_NAME:
        free(socket->name);
        socket->name = copy_name(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute));
        if (!socket->name)
            return MNL_CB_ERROR;
        break;
    case UNIX_DIAG_RQLEN:
        if (mnl_attr_validate2(attribute, MNL_TYPE_UNSPEC, sizeof(struct unix_diag_rqlen)) >= 0) {
            const struct unix_diag_rqlen *rqlen = mnl_attr_get_payload(attribute);

            socket->queue = rqlen->udiag_rqueue;
            socket->backlog = rqlen->udiag_wqueue;
        }
        break;
    }
    return MNL_CB_OK;
}

static int read_message(const struct nlmsghdr *header, void *data) {
    const struct unix_diag_msg *message = mnl_nlmsg_get_payload(header);
    struct unix_table *table = data;
    struct unix_socket socket = {.inode = message->udiag_ino,
                                 .listening = message->udiag_state == TCP_LISTEN};

    if (mnl_attr_parse(header, sizeof *message, read_attribute, &socket) < 0) {
        free(socket.name);
        return MNL_CB_ERROR;
    }
    if (!socket.listening && !socket.has_file && !(socket.name && socket.name[0] == '@')) {
        free(socket.name);
        return MNL_CB_OK;
    }
    if ((table->n & (table->n - 1)) == 0) { /* grows at each power of two */
        struct unix_socket *bigger =
            reallocarray(table->sockets, table->n ? table->n * 2 : 1, sizeof *table->sockets);

        if (!bigger) {
            free(socket.name);
            return MNL_CB_ERROR;
        }
        table->sockets = bigger;
    }
    table->sockets[table->n++] = socket;
    return MNL_CB_OK;
}

static void mnl_socket_closep(struct mnl_socket **netlink) {
    if (*netlink)
        (void) mnl_socket_close(*netlink);
}

int unix_table_read(struct unix_table *ret) {
    _cleanup_(mnl_socket_closep) struct mnl_socket *netlink =
        mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    _cleanup_unix_table_ struct unix_table table = {0};
    _cleanup_free_ char *buffer = malloc(DUMP_BUFFER_BYTES);
    struct {
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
    int r;

    if (!buffer)
        return -ENOMEM;
    if (!netlink || mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(netlink, &query, sizeof query) < 0)
        return -errno;
    do {
        ssize_t n = mnl_socket_recvfrom(netlink, buffer, DUMP_BUFFER_BYTES);

        if (n < 0)
            return -errno;
        r = mnl_cb_run(buffer, (size_t) n, 1, mnl_socket_get_portid(netlink), read_message, &table);
    } while (r > MNL_CB_STOP);
    if (r < 0)
        return errno ? -errno : -EIO;
    *ret = table;
    table = (struct unix_table){0};
    return 0;
}

const struct unix_socket *unix_table_find(const struct unix_table *table, dev_t device, ino_t inode) {
    for (size_t i = 0; i < table->n; i++)
        if (table->sockets[i].has_file && table->sockets[i].file_inode == (uint32_t) inode &&
            table->sockets[i].file_device == device)
            return &table->sockets[i];
    return NULL;
}

/* An accepted connection has the name of its listener: that one is meant. */
const struct unix_socket *unix_table_find_name(const struct unix_table *table, const char *name) {
    const struct unix_socket *found = NULL;

    for (size_t i = 0; i < table->n; i++)
        if (table->sockets[i].name && strcmp(table->sockets[i].name, name) == 0 &&
            (!found || table->sockets[i].listening))
            found = &table->sockets[i];
    return found;
}
