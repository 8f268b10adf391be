/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a socket's file still stands where it was bound: a socket keeps the name of bind(2), whatever
 * becomes of the file. */

#include "lock/facts.h"
#include "socket/unix-diag.h"

enum bound_name {
    BOUND_NAME_HERE,    /* the file at that path is the socket's, for us or for one of its holders */
    BOUND_NAME_LOST,    /* it is not: neither we nor any of its holders finds it there */
    BOUND_NAME_UNCLEAR, /* it cannot be told: a relative path, one that was made printable, no holder seen */
};

/* `socket` is bound to a path; `facts` has its holders. */
enum bound_name bound_name_look(int proc_fd, const struct unix_socket *socket,
                                const struct lock_facts *facts);
