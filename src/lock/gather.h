/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What probe.c asks one path after another, and what they share: each table of the kernel is read once, when
 * first needed. All functions return 0 or want of resources (-ENOMEM, -EMFILE, -ENFILE); anything else that
 * goes wrong is a fact. */

#include "lock/holder.h"
#include "lock/probe.h"
#include "lock/snapshot.h"
#include "socket/peer.h"
#include "socket/unix-diag.h"

struct prober {
    int proc_fd;
    bool initial_pid_namespace;
    uint64_t pid_namespace;
    char host[LOCK_HOST_MAX];
    char boot_id[37];
    struct lock_snapshot snapshot;
    bool snapshot_read;
    int snapshot_error;
    struct unix_table sockets;
    bool sockets_read;
    struct holder_target *targets; /* what the sweep is to look for */
    size_t n_targets;
};

bool gather_is_scarcity(int error);

/* Records what kept us from looking on (a negative errno, and what that was about): the verdict will be
 * unknown and say so. */
int gather_give_up(struct lock_facts *facts, int error, const char *subject);

int gather_add_target(struct prober *prober, struct lock_facts *facts, enum holder_target_kind kind,
                      dev_t device, ino_t inode);

/* Everything about the path itself (gather.c), by sort of file. `dir_fd` and `name`: where it stands;
 * dir_fd -EBADF: not known. `fd` (O_PATH) is the file. */
int gather_path(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);
int gather_regular(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                   int dir_fd, const char *name, int fd);
int gather_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                  int dir_fd, const char *name, int fd);
int gather_abstract(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);

/* The socket that the lock or PID file guards: PATH beside PATH.lock, or the one that its content names. */
int gather_guarded_socket(struct prober *prober, struct lock_facts *facts, int dir_fd, const char *name);

/* Who listens on the guarded socket; asked only when the lock's own record does not name a living owner. */
int gather_guarded_peer(struct prober *prober, struct lock_facts *facts);

/* The claims of /proc/locks on the file. */
int gather_snapshot(struct prober *prober);
int gather_sockets(struct prober *prober);

/* After the sweep: the process that the record names (gather-recorded.c). */
int gather_recorded(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);

/* The shared memory that the record names. */
int gather_shm(struct prober *prober, struct lock_facts *facts);
