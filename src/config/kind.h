/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Kinds of daemons: each reads the daemon's own configuration and adds to the service's what follows from it:
 * control sockets, locks, PID files, helpers that may be left over. What the administrator wrote wins. */

#include "config/config.h"

struct kind_ops {
    const char *summary; /* what the kind supplies, for people; NULL: the kind is not supported */
    /* 0, or -EINVAL with every mistake added to *problems, or -ENOMEM. NULL: there is nothing to read. */
    int (*read)(struct service_config *config, struct config_problems *problems);
};

/* The row of a kind; NULL for a number that is none. */
const struct kind_ops *kind_find(enum service_kind kind);

/* Lets config->kind read the daemon's configuration. Called once, after everything the administrator wrote
 * has been read. Returns as read() above; a kind that is not supported is a mistake. */
int kind_read(struct service_config *config, struct config_problems *problems);

/* The place that a message about a service itself names: its main file, or its name where there is none. */
const char *kind_place(const struct service_config *config);

int kind_kea_read(struct service_config *config, struct config_problems *problems); /* kind-kea.c */
