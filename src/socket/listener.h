/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listeners that latchd makes and keeps: unix sockets by path or abstract name, and TCP.
 *
 * A socket with a path is bound to a name of its own beside it (".NAME.latchd"), gets owner and mode there,
 * listens, and is then linked to its path, which fails if anything stands there: the path never leads to a
 * socket that does not answer, and nothing is replaced. Both names stay, links to one inode: if somebody
 * removes the path, it is linked anew, and no connection is lost. bind(2) could not do that, for a new socket
 * is another queue. What getsockname(2) and ss(8) show is the name beside the path. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

struct listener_wish {
    const char *listen; /* an absolute path, @abstract or ADDRESS:PORT, see peer_parse_bind_address() */
    mode_t mode;        /* of a path */
    uid_t uid;          /* likewise; (uid_t) -1: ours */
    gid_t gid;          /* (gid_t) -1: ours */
    int backlog;        /* listen(2); more than net.core.somaxconn counts as that */
    uint64_t send_buffer_bytes, receive_buffer_bytes; /* socket(7); 0: the kernel's default. An accepted TCP
                                                         connection has its listener's, a unix one never has
                                                         (unix_stream_connect() in net/unix/af_unix.c) */
};

/* The inode that a path socket stands on; device and inode 0: none. Proof while the socket is open. */
struct listener_place {
    dev_t device;
    ino_t inode;
};

/* Returns a blocking listener that the caller owns. Missing directories of a path are made, mode 0755.
 * -EADDRINUSE "Held": something stands there, or somebody has that address; nothing was touched. -EPERM,
 * -EACCES "NotPermitted", among it a directory in which everybody may replace what stands there; else -errno
 * "Failed". A leftover of ours beside the path, on which nobody listens, is removed: the caller has the
 * socket's lock. */
int listener_open(const struct listener_wish *wish, struct listener_place *ret_place, struct err *err);

/* Gives one that is open already owner, mode, backlog and buffers. *err names the first that failed. */
int listener_adjust(int fd, const struct listener_wish *wish, const struct listener_place *place,
                    struct err *err);

/* The name beside a path, for the caller to free; NULL: there is none, or no memory. */
char *listener_beside(const char *listen);

/* Whether this descriptor is a listening stream socket with just this address. */
bool listener_is_at(int fd, const char *listen);

/* The inode that this listener of that path stands on, by the kernel's table of sockets: {0}: it has none, or
 * that cannot be told; device 0 and an inode: it had one, and neither name leads to it. */
struct listener_place listener_find_place(int fd, const char *listen);

/* Before it goes to the next daemon: undoes what one before it may have done to what they all share,
 * O_NONBLOCK, another backlog, and, of TCP, shutdown(2). -ESHUTDOWN: a unix socket that was shut down, which
 * nothing undoes. */
int listener_refresh(int fd, int backlog);

enum listener_sight {
    LISTENER_OURS,    /* the path leads to it; or it has none */
    LISTENER_REMOVED, /* nothing stands there */
    LISTENER_OTHER,   /* something else does */
    LISTENER_UNSEEN,  /* it cannot be looked at */
};
enum listener_sight listener_look(const char *listen, const struct listener_place *place);

/* Links the path anew. -EEXIST: something stands there; -ESTALE: the name beside it is gone as well, and with
 * it every way back; else -errno. */
int listener_restore(const char *listen, const struct listener_place *place);

/* The path is there: sees to it that the name beside it is, too. */
int listener_keep_beside(const char *listen, const struct listener_place *place);

/* The end of a listener: removes the path and the name beside it, each only if it is the very socket; nobody
 * is let in any more, whoever else has a copy of the descriptor; closes it. */
void listener_end(int fd, const char *listen, const struct listener_place *place);
