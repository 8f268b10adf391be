/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's lists of sockets (NETLINK_SOCK_DIAG, sock_diag(7)): the exchange that unix-diag.c and inet-diag.c
 * have in common. */

#include <linux/netlink.h>
#include <stddef.h>

/* What becomes of the sockets that a dump names. */
struct sock_diag_sink {
    /* One socket's message: what follows its header, `size` bytes, aligned as netlink aligns. 0 or -errno,
     * which ends the dump. */
    int (*take)(const void *payload, size_t size, void *userdata);
    /* The dump was not whole and is begun anew: what it has brought so far is forgotten. */
    void (*forget)(void *userdata);
    void *userdata;
};

/* Hands on what one buffer full of netlink messages (aligned as malloc(3) does) says. 1: more is to come; 0: that
 * was the end of the dump; -errno: what the kernel said, or the sink; -EINTR, -ENOBUFS: the dump is not whole;
 * -EBADMSG: not understood. */
int sock_diag_parse(const void *buffer, size_t size, const struct sock_diag_sink *sink);

/* Sends the queries (whole messages that begin with their header), one after the other, and reads what each one's
 * dump says. One that lost something makes all of them begin anew. -errno of the exchange. */
int sock_diag_dump(const struct nlmsghdr *const queries[], size_t n, const struct sock_diag_sink *sink);

/* The attribute at `bytes`, of `left` bytes in all: steps over it. NULL: there is no more, or it is cut off. */
const struct nlattr *sock_diag_next(const char **bytes, size_t *left);
