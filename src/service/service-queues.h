/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The queues of a service's listeners, as far as somebody wants to know. What is remembered of them begins
 * with the first look. */

#include <jansson.h>

#include "base/mount.h"
#include "health/queue-mark.h"

struct service;
struct manager;

/* -- service-queues.c -- */

/* The state or the configuration has changed: whether its queues are watched follows. */
void service_queues_follow(struct service *service);

/* How often the service wants its queues to be looked at; USEC_INFINITY: it does not, or does not run. Adds
 * to the two which tables that takes. */
uint64_t service_queues_interval(const struct service *service, bool *unix_wanted, bool *inet_wanted);

/* The kernel's tables are there, and the mounts (NULL: they could not be read): looks at its sockets in them,
 * and tells. all: not only at those that are watched. */
void service_queues_look(struct service *service, const struct queue_tables *tables,
                         const struct mount_table *mounts, const struct queue_clock *now, bool all);

/* A look now, as an array of a row for each socket (queue_mark_to_json()). NULL: no memory. */
json_t *service_queues_to_json(struct service *service);

/* What is remembered of the socket of that place in the configuration; NULL: it was never looked at. */
const struct queue_mark *service_queues_mark(const struct service *service, size_t i);

void service_queues_free(struct service *service);

/* -- manager-queues.c -- */

/* Somebody wants to be looked at so often: a timer runs until nobody does. */
void manager_queues_watch(struct manager *manager, uint64_t interval_usec);

/* The mounts as they are now; NULL: they could not be read. *buffer is what is returned; borrowed, until
 * somebody asks again. */
const struct mount_table *manager_queues_mounts(struct manager *manager, struct mount_table *buffer);

/* The kernel's tables as they are, or were a moment ago: whoever asks for a thousand services one by one has
 * them read a few times. Borrowed, until the loop goes on. NULL: no memory. */
const struct queue_tables *manager_queues_read(struct manager *manager, struct queue_clock *ret_when);

void manager_queues_free(struct manager *manager);
