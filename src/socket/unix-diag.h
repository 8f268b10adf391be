/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's table of unix sockets (NETLINK_SOCK_DIAG, sock_diag(7)): one dump for any number of
 * questions. It covers the network namespace of the caller only, so a missing row proves nothing. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct unix_socket {
    uint32_t inode; /* the socket's own: /proc/PID/fd shows socket:[inode] */
    bool listening;
    char *name;          /* as bound, printable: a path, perhaps a relative one, or '@' and an abstract name;
                            NULL: none. A path lies after a rename. Owned by the table */
    bool has_file;       /* bound to a path: the two below are its file */
    uint32_t file_inode; /* low 32 bits are all the kernel tells */
    dev_t file_device;   /* of the superblock, not st_dev */
    uint32_t queue;      /* a listener's connections that wait for accept(2) */
    uint32_t backlog;    /* a listener's limit: the queue takes backlog + 1 */
};

struct unix_table {
    struct unix_socket *sockets; /* owned */
    size_t n;
};

#define _cleanup_unix_table_ _cleanup_(unix_table_done)
void unix_table_done(struct unix_table *table);

/* All sockets that are bound to a path or listen. -errno of the netlink exchange. */
int unix_table_read(struct unix_table *ret);

/* The socket that is bound to that abstract name ("@name"), or NULL. */
const struct unix_socket *unix_table_find_name(const struct unix_table *table, const char *name);

/* The socket that is bound to that file, or NULL. */
const struct unix_socket *unix_table_find(const struct unix_table *table, dev_t device, ino_t inode);
