/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Kinds of daemons: each reads the daemon's own configuration and adds to the service's what follows from it:
 * control sockets, locks, PID files, helpers that may be left over. What the administrator wrote wins. */

#include "config/config.h"

struct kind_ops {
    const char *summary; /* what the kind supplies, for people; NULL: the kind is not supported */
    /* 0, or -EINVAL with every mistake added to *problems, or -ENOMEM. NULL: there is nothing to read. */
    int (*read)(struct service_config *config, config_run_t run, struct config_problems *problems);
};

/* The row of a kind; NULL for a number that is none. */
const struct kind_ops *kind_find(enum service_kind kind);

/* Lets config->kind read the daemon's configuration. Called once, after everything the administrator wrote
 * has been read. run: what executes a program for a kind that has to; NULL: nothing does, which is a mistake
 * then. Returns as read() above; a kind that is not supported is a mistake. */
int kind_read(struct service_config *config, config_run_t run, struct config_problems *problems);

/* The place that a message about a service itself names: its main file, or its name where there is none. */
const char *kind_place(const struct service_config *config);

/* ---- for the kinds ---- */

/* The last name of a path. */
const char *kind_base_name(const char *path);

/* DIRECTORY/NAME, without two slashes between. 0 or -ENOMEM. */
int kind_join(const char *directory, const char *name, char **ret);

/* Two names of one place: the same text, or the same last name in the same directory (/run and /var/run). */
bool kind_same_place(const char *a, const char *b);

/* STEM, or STEM2, STEM3, ...: what no socket or lock is called yet. */
void kind_choose_name(const struct service_config *config, const char *stem, size_t size,
                      char ret[static size]);

int kind_kea_read(struct service_config *config, config_run_t run,
                  struct config_problems *problems); /* kind-kea.c */
int kind_dovecot_read(struct service_config *config, config_run_t run,
                      struct config_problems *problems); /* kind-dovecot.c */
