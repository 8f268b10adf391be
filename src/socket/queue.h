/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many connections wait at a daemon's listener, and how many may: from the kernel's tables of sockets,
 * without connecting to it. */

#include "socket/inet-diag.h"
#include "socket/unix-diag.h"

enum queue_sight {
    QUEUE_UNSEEN, /* it cannot be told: the table was not read, or the address is a host's name */
    QUEUE_ABSENT, /* nobody listens there in this network namespace, as far as the table has it */
    QUEUE_SEEN,
};

struct queue_facts {
    enum queue_sight sight;
    uint32_t inode; /* of the listener: another one is another listener */
    uint32_t depth; /* connections that wait for accept(2) */
    uint32_t backlog;
    uint32_t limit; /* as many may wait: one more than the backlog */
    bool full;
};

struct queue_tables {
    bool has_unix, has_inet; /* were read */
    struct unix_table of_unix;
    struct inet_table of_inet;
};

#define _cleanup_queue_tables_ _cleanup_(queue_tables_done)
void queue_tables_done(struct queue_tables *tables);

/* Whether ListenStream='s address is one of the network: else it is a path or @abstract. */
bool queue_is_inet(const char *listen);

/* One dump of each kind that is wanted. One that fails is not there: the other serves all the same. Returns
 * -errno of the last that failed. */
int queue_tables_read(bool unix_wanted, bool inet_wanted, struct queue_tables *ret);

/* The listener at an address as in ListenStream=. Of several (SO_REUSEPORT) the one that has the least room
 * left: by its chance a client is turned away. Asks no name server. proc_fd: /proc, for file systems whose
 * devices have two numbers. */
void queue_look(const struct queue_tables *tables, int proc_fd, const char *listen, struct queue_facts *ret);

/* The same of a listener that we hold ourselves, by its own inode (fstat(2) of the descriptor). */
void queue_look_own(const struct queue_tables *tables, const char *listen, uint32_t inode,
                    struct queue_facts *ret);

/* net.core.somaxconn of our network namespace, to which listen(2) cuts a backlog. -errno. */
int queue_read_somaxconn(int proc_fd, uint32_t *ret);
