/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* To the service manager above us (NOTIFY_SOCKET in our own environment), without ever waiting for it:
 * sd_notify(3) blocks while systemd's queue is full, and the loop would stand still with it. What does not
 * get through at once waits in a queue, in order. */

#include <stddef.h>
#include <systemd/sd-event.h>

struct notify_upstream;

/* NULL in *ret, and 0: there is nobody above us. -EINVAL: an address of a kind that is not known. */
int notify_upstream_new(sd_event *event, const char *address, struct notify_upstream **ret);
struct notify_upstream *notify_upstream_free(struct notify_upstream *upstream);

/* Sends the text, with a descriptor (borrowed; below 0: none). While something waits, it goes behind; a text
 * that begins with STATUS= takes the place of the one that waits at the end. upstream NULL: nothing happens.
 * -ENOBUFS: too much waits; -ENOMEM; the descriptor could not be duplicated: -errno. */
int notify_upstream_send(struct notify_upstream *upstream, const char *text, int fd);
