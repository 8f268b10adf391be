/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's table of unix sockets (NETLINK_SOCK_DIAG, sock_diag(7)): one dump for any number of
 * questions. It covers one network namespace only, and a row can be missed while sockets come and go, so a
 * missing row proves nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct unix_socket {
    uint32_t inode; /* the socket's own: /proc/PID/fd shows socket:[inode] */
    int type;       /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET */
    bool listening;
    bool connected;      /* of a stream: an accepted connection has its listener's name and file, too */
    char *name;          /* as bound, printable: a path, perhaps a relative one, or '@' and an abstract name;
                            NULL: none. A path lies after a rename. Owned by the table */
    bool name_altered;   /* characters of it were replaced to make it printable: it can be no match */
    bool has_file;       /* bound to a path: the two below are its file */
    uint32_t file_inode; /* low 32 bits are all the kernel tells */
    dev_t file_device;   /* of the superblock, not st_dev */
    uint32_t queue;      /* a listener's connections that wait for accept(2) */
    uint32_t backlog;    /* a listener's limit: the queue takes backlog + 1 */
};

struct unix_table {
    struct unix_socket *sockets; /* owned */
    size_t n;
    uint32_t *by_inode, *by_file, *by_name; /* positions in `sockets`, sorted; owned */
    size_t n_files, n_names;
};

#define _cleanup_unix_table_ _cleanup_(unix_table_done)
void unix_table_done(struct unix_table *table);

/* All sockets that are bound to a path or an abstract name, or listen. -errno of the netlink exchange. */
int unix_table_read(struct unix_table *ret);

/* The same of another network namespace (a descriptor of /proc/PID/ns/net). -EPERM: it may not be entered
 * (setns(2)). */
int unix_table_read_in(int netns_fd, struct unix_table *ret);

/* Adds what one buffer full of netlink messages (aligned as malloc(3) does) says. 1: more is to come; 0: that
 * was the end of the dump; -errno: what the kernel said; -EINTR, -ENOBUFS: the dump is not whole; -EBADMSG:
 * not understood. */
int unix_table_parse(const void *buffer, size_t size, struct unix_table *table);

/* Sorts what was parsed: the functions below find nothing before. */
int unix_table_index(struct unix_table *table);

/* The socket whose own inode that is, or NULL. */
const struct unix_socket *unix_table_find_inode(const struct unix_table *table, uint32_t inode);

/* The socket that is bound to that file, or NULL: a listener rather than its connections. */
const struct unix_socket *unix_table_find(const struct unix_table *table, dev_t device, ino_t inode);

/* The socket that is bound to that abstract name ("@name"), or NULL: a listener rather than its connections.
 */
const struct unix_socket *unix_table_find_name(const struct unix_table *table, const char *name);

/* One after another all that are bound to a path whose last component is `component`: *position begins with
 * 0. NULL: no more. */
const struct unix_socket *unix_table_next(const struct unix_table *table, const char *component,
                                          size_t *position);
