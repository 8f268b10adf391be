/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a daemon's control sockets answer: Probe=connect is content with a connection, Probe=kea asks
 * {"command": "status-get"} and waits for an answer with result 0 (the Kea Administrator Reference Manual,
 * "Management API"). One object asks one socket, again and again until it is content or is freed; it never
 * blocks, and a socket that is not there yet is tried again after a short, growing pause. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "config/config.h"

struct ready_probe;

/* on_ready is called from the event loop, once, with how long the answer took (from connect to last byte);
 * the probe may be freed there. The path is that of config->listen. timeout_usec bounds one try. */
int ready_probe_new(sd_event *event, const struct socket_config *config,
                    void (*on_ready)(struct ready_probe *probe, uint64_t answer_usec, void *userdata),
                    void *userdata, struct ready_probe **ret);
void ready_probe_free(struct ready_probe *probe);

/* True for an answer of Kea that says success: {"result": 0, ...}, or a list that begins with one. */
bool ready_kea_answer_is_good(const char *text, size_t size);
