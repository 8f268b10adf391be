/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kind.h"

#include <assert.h>

static const struct kind_ops kinds[] = {
    [SERVICE_KIND_GENERIC] = {.summary = "what [Socket] and [Lock] sections say, nothing else"},
    [SERVICE_KIND_KEA] = {.summary = "control sockets, PID file and kea-lfc, from Kea's own configuration",
                          .read = kind_kea_read},
    [SERVICE_KIND_DOVECOT] = {0},
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

int kind_read(struct service_config *config, struct config_problems *problems) {
    const struct kind_ops *ops = kind_find(config->kind);

    if (!ops)
        return -EINVAL;
    if (!ops->summary)
        return config_problems_add(
            problems, kind_place(config), 0,
            "Kind=%s is not supported by this version of latchd; use Kind=generic with "
            "[Socket] and [Lock] sections",
            service_kind_to_string(config->kind));
    return ops->read ? ops->read(config, problems) : 0;
}
