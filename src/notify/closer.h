/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Closes descriptors that came from others, beside the loop: the last close of a file asks whoever is behind
 * it, and may wait for as long as he likes (a TCP socket with SO_LINGER, socket(7); a mount namespace whose
 * file systems are unmounted with it; a file of FUSE, whose FLUSH a user process answers). */

#include <stddef.h>

struct notify_closer;

/* Takes the descriptors over and closes them, in a thread that is made when there is something to close and
 * ends with it. Never waits. -EBUSY: too many are being closed already, each of them hanging: they stay the
 * caller's, who had better not take any more. *closer begins as NULL. */
int notify_closer_close(struct notify_closer **closer, const int fds[], size_t n);

/* How many more may be taken over now. */
size_t notify_closer_room(struct notify_closer *closer);

/* Leaves what hangs to the thread. Returns NULL. */
struct notify_closer *notify_closer_free(struct notify_closer *closer);
