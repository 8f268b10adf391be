/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes are what a netlink socket says: nothing crashes, and what was understood is found again. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "socket/inet-diag.h"
#include "socket/unix-diag.h"
#include "socket/unix-stream.h"

static void need(bool true_always) {
    if (!true_always)
        abort();
}

static void find_again(const struct unix_table *table, const struct unix_socket *socket) {
    const struct unix_socket *found = unix_table_find_inode(table, socket->inode);

    need(found && found->inode == socket->inode);
    need(socket->listening || socket->has_file || (socket->name && socket->name[0] == '@'));
    if (socket->has_file) {
        found = unix_table_find(table, socket->file_device, socket->file_inode);
        need(found && found->file_device == socket->file_device && found->file_inode == socket->file_inode);
        need(found->listening || !socket->listening);
    }
    if (!socket->name || socket->name_altered)
        return;
    for (const char *p = socket->name; *p; p++)
        need((unsigned char) *p >= ' ' && *p != 0x7f);
    if (socket->has_file && socket->name[0] != '@') {
        const char *slash = strrchr(socket->name, '/');
        size_t position = 0;

        do
            found = unix_table_next(table, slash ? slash + 1 : socket->name, &position);
        while (found && found != socket);
        need(found);
    } else if (!socket->has_file && socket->name[0] == '@') {
        found = unix_table_find_name(table, socket->name);
        need(found && strcmp(found->name, socket->name) == 0);
    }
}

static void find_inet_again(const struct inet_table *table, const struct inet_socket *socket) {
    const struct inet_socket *found = inet_table_find_inode(table, socket->inode);
    size_t position = 0;

    need(socket->inode == 0 ? !found : found && found->inode == socket->inode);
    found = inet_table_next(table, socket->family, &socket->local, &position);
    need(found && (found->listening || !socket->listening));
    while (found && found != socket)
        found = inet_table_next(table, socket->family, &socket->local, &position);
    need(found);
}

static void find_stream_again(const struct unix_streams *streams, const struct unix_stream *stream) {
    const struct unix_stream *found = unix_streams_find(streams, stream->inode);

    need(stream->inode == 0 ? !found : found && found->inode == stream->inode);
    for (const char *p = stream->name ? stream->name : ""; *p; p++)
        need((unsigned char) *p >= ' ' && *p != 0x7f);
    need(!unix_stream_is_full(stream) || stream->has_memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_unix_table_ struct unix_table table = {0};
    _cleanup_inet_table_ struct inet_table inet = {0};
    _cleanup_unix_streams_ struct unix_streams streams = {0};
    _cleanup_free_ char *buffer = malloc(size ? size : 1); /* aligned, and no byte longer */

    if (!buffer)
        abort();
    if (size > 0)
        memcpy(buffer, data, size);
    (void) unix_table_parse(buffer, size, &table);
    need(unix_table_index(&table) >= 0);
    for (size_t i = 0; i < table.n && i < 64; i++)
        find_again(&table, &table.sockets[i]);
    (void) inet_table_parse(buffer, size, &inet);
    need(inet_table_index(&inet) >= 0);
    for (size_t i = 0; i < inet.n && i < 64; i++)
        find_inet_again(&inet, &inet.sockets[i]);
    (void) unix_streams_parse(buffer, size, &streams);
    unix_streams_sort(&streams);
    for (size_t i = 0; i < streams.n && i < 64; i++)
        find_stream_again(&streams, &streams.of[i]);
    return 0;
}
