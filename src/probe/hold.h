/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A lock file that latchd itself takes and keeps, as a daemon would that guards its socket. */

#include <stdbool.h>

#include "base/err.h"
#include "lock/style.h"

/* What latchd itself has of a socket and its lock. */
struct lock_held {
    bool lock, socket;
};

/* Opens the file, makes it if it is missing (mode 0600), and locks it: LOCK_STYLE_FLOCK or _OFD, both of
 * which belong to the open file description, and so survive execve(2) and systemd's descriptor store. Returns
 * the descriptor, which is the lock, for the caller to own. -EBUSY "Held": somebody has it; else -errno
 * "Failed" or "NotPermitted". Never waits. */
int lock_hold(const char *path, enum lock_style style, struct err *err);

/* Takes the lock again through a descriptor that had it, or is a copy of one. -EBUSY: somebody else has it.
 */
int lock_hold_again(int fd, enum lock_style style);

/* Lets go of it, whoever else has a copy of the descriptor, and closes it. Below zero: nothing. Returns
 * -EBADF. */
int lock_release(int fd, enum lock_style style);

/* Whether the path still leads to the file that this descriptor has locked, or cannot be looked at. */
bool lock_hold_is_at(int fd, const char *path);
