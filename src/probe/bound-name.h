/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a socket's file still stands where it was bound: a socket keeps the name of bind(2), whatever
 * becomes of the file. */

#include "lock/facts.h"
#include "socket/unix-diag.h"

enum bound_name {
    BOUND_NAME_HERE,    /* the file at that path is the socket's, for us or for one of its holders */
    BOUND_NAME_RENAMED, /* it has another name in the same directory now */
    BOUND_NAME_LOST,    /* no name in that directory is the socket's, neither for us nor for its holders */
    BOUND_NAME_AWAY,    /* it is not there, and whether it has another name could not be seen */
    BOUND_NAME_UNCLEAR, /* it cannot be told: a name that was made printable, no holder seen, a relative path
                           from another directory than a holder's current one */
};

/* `socket` is bound to a path; `facts` has its holders. Returns an enum bound_name, or -ENOMEM; *ret_path is
 * where the file is as an absolute path, to be freed by the caller, if that is not the bound name itself,
 * else NULL. */
int bound_name_look(int proc_fd, const struct unix_socket *socket, const struct lock_facts *facts,
                    char **ret_path);
