/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kind.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

static const struct kind_ops kinds[] = {
    [SERVICE_KIND_GENERIC] = {.summary = "what [Socket] and [Lock] sections say, nothing else"},
    [SERVICE_KIND_KEA] = {.summary = "control sockets, PID file and kea-lfc, from Kea's own configuration",
                          .read = kind_kea_read},
    [SERVICE_KIND_DOVECOT] = {.summary =
                                  "sockets, PID file and helpers, as Dovecot itself tells its configuration",
                              .read = kind_dovecot_read},
    [SERVICE_KIND_POSTGRESQL] = {0},
    [SERVICE_KIND_MYSQL] = {0},
    [SERVICE_KIND_X11] = {0},
};
static_assert(ELEMENTSOF(kinds) == SERVICE_KIND_MAX, "every kind has a row");

const struct kind_ops *kind_find(enum service_kind kind) {
    return (int) kind >= 0 && kind < SERVICE_KIND_MAX ? &kinds[kind] : NULL;
}

const char *kind_place(const struct service_config *config) {
    return config->file ? config->file : config->name;
}

int kind_read(struct service_config *config, config_run_t run, struct config_problems *problems) {
    const struct kind_ops *ops = kind_find(config->kind);

    if (!ops)
        return -EINVAL;
    if (!ops->summary)
        return config_problems_add(
            problems, kind_place(config), 0,
            "Kind=%s is not supported by this version of latchd; use Kind=generic with "
            "[Socket] and [Lock] sections",
            service_kind_to_string(config->kind));
    return ops->read ? ops->read(config, run, problems) : 0;
}

const char *kind_base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int kind_join(const char *directory, const char *name, char **ret) {
    size_t length = strlen(directory);

    while (length > 0 && directory[length - 1] == '/')
        length--;
    return asprintf(ret, "%.*s/%s", (int) length, directory, name) < 0 ? -ENOMEM : 0;
}

bool kind_same_place(const char *a, const char *b) {
    struct stat in[2];
    const char *paths[2] = {a, b};

    if (strcmp(a, b) == 0)
        return true;
    if (a[0] != '/' || b[0] != '/' || strcmp(kind_base_name(a), kind_base_name(b)) != 0)
        return false;
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *directory = strndup(paths[i], (size_t) (kind_base_name(paths[i]) - paths[i]));
        if (!directory || stat(directory, &in[i]) < 0)
            return false;
    }
    return stat_same_inode(&in[0], &in[1]);
}

static bool name_is_taken(const struct service_config *config, const char *name) {
    return service_config_find_socket(config, name) || service_config_find_lock(config, name);
}

void kind_choose_name(const struct service_config *config, const char *stem, size_t size,
                      char ret[static size]) {
    snprintf(ret, size, "%s", stem);
    for (unsigned i = 2; name_is_taken(config, ret); i++)
        snprintf(ret, size, "%s%u", stem, i);
}
