/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a daemon's control socket answers (health/ask.h): asked until it is content or is freed. A socket
 * that is not there yet is not looked for again and again: inotify tells when it appears
 * (health/path-watch.h). One that is there and refuses, has a full queue or answers badly is asked again
 * after a short, growing pause, as is one of which inotify cannot tell. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "config/config.h"
#include "health/path-watch.h"

struct ready_probe;

/* on_ready is called from the event loop, once, with how long the answer took (from connect to last byte);
 * the probe may be freed there. What is asked, and how long a try may take, is in config, which is borrowed.
 * watcher: NULL where there is none; then a socket that is not there is looked for by the clock. */
int ready_probe_new(sd_event *event, struct path_watcher *watcher, const struct socket_config *config,
                    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata),
                    void *userdata, struct ready_probe **ret);
/* Why it is not content yet, as in "it refuses connections"; static storage. */
const char *ready_probe_describe(const struct ready_probe *probe);
void ready_probe_free(struct ready_probe *probe);
