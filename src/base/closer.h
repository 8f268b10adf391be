/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Closes descriptors that came from others, beside the loop: the last close of a file asks whoever is behind
 * it, and may wait for as long as he likes (a TCP socket with SO_LINGER, socket(7); a mount namespace whose
 * file systems are unmounted with it; a file of FUSE, whose FLUSH a user process answers). Each party that
 * others can reach has a closer of its own, so that what is sent to one hangs for that one alone. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CLOSER_FDS_MAX 253 /* of one message: SCM_MAX_FD (include/net/scm.h) */

struct closer;

/* Takes the descriptors over and closes them, in threads that are made when there is something to close and
 * end with it. Never waits. -EBUSY: too many are being closed already, each of them hanging: they stay the
 * caller's, who had better not take any more. *closer begins as NULL. */
int closer_close(struct closer **closer, const int fds[], size_t n);

/* How many more may be taken over from messages now: never so many that latchd runs out of descriptors. */
size_t closer_room(struct closer *closer);

/* Much of what it was given hangs: better let nobody send any more. Over as soon as little of it is left. */
bool closer_is_crowded(struct closer *closer);

/* Leaves what hangs to the threads. Returns NULL. */
struct closer *closer_free(struct closer *closer);

/* ---- the unix sockets on which descriptors come that nobody asked for ---- */

/* Whoever sends descriptors there (or to a client of this listener, accepted or not) gets EPERM from now on
 * (SO_PASSRIGHTS, Linux 6.16); what is on its way already comes. -ENOPROTOOPT: an older kernel. */
int closer_pass_rights(int fd, bool pass);

/* recv(2) without waiting, on a stream. Descriptors that come with it are closed here; recv(2) itself drops
 * them, in the task that calls it. -1 with EBUSY: some come, and too many hang already. */
ssize_t closer_receive(struct closer **closer, int fd, void *to, size_t size);

/* Closes a connected stream socket. The kernel drops what nobody has received from it together with the
 * socket, descriptors too: where there is anything, not in this thread. Returns -EBADF. */
int closer_close_socket(struct closer **closer, int fd);
