/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's table of connected unix stream sockets (NETLINK_SOCK_DIAG, sock_diag(7)): who is connected
 * with whom, and what waits between them. It covers one network namespace only, and a row can be missed while
 * connections come and go, so a missing row proves nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unix_stream {
    uint32_t inode; /* the socket's own: /proc/PID/fd shows socket:[inode] */
    uint32_t peer;  /* the inode of the socket at the other end; 0: nobody has accepted it yet */
    char *
        name; /* of one that was accepted: its listener's, printable; NULL: it has none. Owned by the table */
    uint32_t unread_bytes; /* that wait to be read from it */
    bool has_memory;       /* the two below were told (UNIX_DIAG_MEMINFO) */
    uint32_t send_bytes;   /* sent and not read by the peer, with the kernel's overhead */
    uint32_t send_buffer_bytes;
};

struct unix_streams {
    struct unix_stream *of; /* owned, by inode */
    size_t n;
};

#define _cleanup_unix_streams_ _cleanup_(unix_streams_done)
void unix_streams_done(struct unix_streams *streams);

/* -errno of the netlink exchange. */
int unix_streams_read(struct unix_streams *ret);

/* Adds what one buffer full of netlink messages says; as unix_table_parse(). */
int unix_streams_parse(const void *buffer, size_t size, struct unix_streams *streams);

/* Sorts what was parsed: nothing is found before. */
void unix_streams_sort(struct unix_streams *streams);

/* NULL: none of that inode. */
const struct unix_stream *unix_streams_find(const struct unix_streams *streams, uint32_t inode);

/* poll(2) does not say of it that it can be written to (unix_writable() in net/unix/af_unix.c). */
bool unix_stream_is_full(const struct unix_stream *stream);
