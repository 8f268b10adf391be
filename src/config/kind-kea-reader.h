/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of Kind=kea share while they read one configuration of Kea: kind-kea.c has the daemon and
 * its control sockets, kind-kea-files.c its PID file and kea-lfc. */

#include <stdbool.h>

#include "config/kea-json.h"
#include "config/kind.h"

struct kea_daemon {
    const char *section, *process;
    char lease_family; /* '4' or '6', as in the lease file's default name; 0: it has no leases */
    bool has_peers;    /* "control-sockets" as a map names other daemons' sockets */
};

struct kea_reader {
    struct service_config *config;
    struct config_problems *problems;
    struct kea_json *json;
    const char *executable;          /* the word of ExecStart= that is the daemon; NULL: none is */
    const struct kea_daemon *daemon; /* the executable's, then that of the section; NULL: not known */
    char *config_argument;           /* the last -c FILE; NULL: none, or it comes from a variable */
    json_t *section;
    size_t n_sockets;
};

/* A mistake in the service's own configuration. */
#define service_mistake(reader, ...)                                                                         \
    config_problems_add((reader)->problems, kind_place((reader)->config), 0, __VA_ARGS__)

/* A mistake in Kea's, at the value that stands at `path`. */
#define kea_mistake(reader, path, ...)                                                                       \
    ({                                                                                                       \
        const char *file_;                                                                                   \
        unsigned line_;                                                                                      \
        kea_json_where((reader)->json, (path), &file_, &line_);                                              \
        config_problems_add((reader)->problems, file_, line_, __VA_ARGS__);                                  \
    })

/* Makes a path of the daemon's absolute. -ENOENT: it is relative and the working directory is not known. */
int kea_reader_resolve(const struct kea_reader *reader, const char *path, char **ret);

/* A string below the map at `path`; absent or not a string is a mistake. */
int kea_reader_read_string(struct kea_reader *reader, const char *path, json_t *map, const char *key,
                           const char **ret);

/* Bytes that are no UTF-8, and NUL: see KEA_JSON_BYTE_BASE. U+EF00 to U+EFFF are ee bc 80 to ee bf bf. */
bool kea_reader_has_odd_bytes(const char *text);

int kea_reader_read_pidfile(struct kea_reader *reader);
int kea_reader_read_helper(struct kea_reader *reader);
