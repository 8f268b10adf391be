/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* libmnl, loaded when the kernel is first asked for its sockets: a supervisor whose services have none never
 * asks. mnl.socket_bind() is mnl_socket_bind(), and so on. */

#include <libmnl/libmnl.h>

#define MNL_FUNCTIONS(X)                                                                                     \
    X(socket_bind)                                                                                           \
    X(socket_close)                                                                                          \
    X(socket_get_fd)                                                                                         \
    X(socket_open2)                                                                                          \
    X(socket_sendto)

struct mnl {
#define X(name) __typeof__(&mnl_##name) name;
    MNL_FUNCTIONS(X)
#undef X
};
extern struct mnl mnl;

/* To be called before any other; again does no harm. -ENOPKG: it is not installed. */
int mnl_load(void);
