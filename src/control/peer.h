/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is at the other end of a unix socket, as the kernel noted it at connect(2) (SO_PEERCRED, SO_PEERGROUPS;
 * unix(7), socket(7)), and whether that one may change anything. */

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/macro.h"

int peer_read(int fd, struct ucred *ret);

/* Root and our own user need no look at any group. */
bool peer_is_owner(const struct ucred *peer);

/* The above, or a member of the group of that name (NULL: there is none), be it as the peer's own group or as
 * a supplementary one. What cannot be found out is a no. */
bool peer_is_privileged(int fd, const struct ucred *peer, const char *admin_group);
