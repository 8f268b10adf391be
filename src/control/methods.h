/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* io.latchd.Supervisor: one row a method (methods.c). Each service has a socket of its own, NAME.sock in the
 * runtime directory, so a call says what to do and never to whom. */

#include "control/server.h"
#include "service/manager.h"

struct control;

/* Serves every service of the manager. The runtime directory's descriptor is borrowed for the call. */
int control_new(struct manager *manager, struct control **ret, struct err *err);
struct control *control_free(struct control *control);
static inline void control_freep(struct control **control) {
    *control = control_free(*control);
}
