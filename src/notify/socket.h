/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The datagram socket that a daemon's NOTIFY_SOCKET names. It has a path, which daemons in other network
 * namespaces reach too, and which a latchd that comes after us binds anew for a daemon that goes on living.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "notify/message.h"

#define NOTIFY_FDS_MAX 253 /* SCM_MAX_FD (include/net/scm.h) */

struct closer;

struct notify_socket {
    int fd;        /* owned; does not block */
    int dir_fd;    /* borrowed: the runtime directory */
    char *name;    /* owned: its name in there */
    char *address; /* owned: its path */
    dev_t device;  /* of the name */
    ino_t inode;
};

#define NOTIFY_SOCKET_INIT ((struct notify_socket){.fd = -EBADF, .dir_fd = -EBADF})

/* Binds SERVICE.notify in the directory, in place of one that an earlier latchd left: there is no moment
 * without it. For root alone, until notify_socket_grant(). -ENAMETOOLONG: the directory's path is too long
 * for a socket's address. */
int notify_socket_open(int dir_fd, const char *service, struct notify_socket *ret, struct err *err);

/* The same with one that was bound so before, by a program that was this process. The descriptor is taken over
 * if that succeeds; else it may have messages in it, see notify_socket_close(). */
int notify_socket_adopt(int fd, int dir_fd, const char *service, struct notify_socket *ret);

/* Who may send: that user; (uid_t) -1: everybody, since a daemon that begins as root may become who it
 * likes. Whose messages count is another matter (sender.h). */
int notify_socket_grant(const struct notify_socket *socket, uid_t uid);

/* Removes the name, if it still is this socket's, and closes: with what was sent and not received, which may take long
 * and is done beside the loop, by the closer. */
void notify_socket_close(struct notify_socket *socket, struct closer **closer);

struct notify_datagram {
    char data[NOTIFY_MESSAGE_MAX + 2]; /* one more than may be, and NUL's place */
    size_t size;
    bool is_cut;             /* it was longer than that */
    bool fds_lost;           /* not all of its descriptors could be taken: we have too many open */
    pid_t pid;               /* of the sender, as the kernel says; 0: not known */
    uid_t uid;               /* its real user id */
    int pidfd;               /* owned; of the sender when it sent; -EBADF: this kernel does not tell */
    int fds[NOTIFY_FDS_MAX]; /* owned, O_CLOEXEC; closing one may take long (closer.h) */
    size_t n_fds;
};

/* -EAGAIN: there is none. Else -errno. */
int notify_socket_receive(const struct notify_socket *socket, struct notify_datagram *ret);
