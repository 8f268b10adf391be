/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What probe.c asks one path after another, and what they share: each table of the kernel is read once, when
 * first needed. All functions return 0 or want of resources (-ENOMEM, -EMFILE, -ENFILE); anything else that
 * goes wrong is a fact. */

#include <fcntl.h>

#include "probe/holder.h"
#include "probe/namesake.h"
#include "probe/probe-cache.h"
#include "probe/probe.h"
#include "probe/snapshot.h"
#include "socket/peer.h"
#include "socket/unix-diag.h"

/* Another network namespace's sockets. */
struct network_table {
    uint64_t inode; /* of /proc/PID/ns/net */
    struct unix_table sockets;
};

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
    int sockets_error;              /* -errno: the table is not to be had; it is empty then */
    struct network_table *networks; /* those that were entered so far */
    size_t n_networks;
    bool networks_walked; /* there is no other one */
    struct probe_cache *cache;     /* borrowed, and then so is proc_fd; NULL: none */
    struct mount_table mounts;       /* the cache's, where there is one */
    bool mounts_read;
    int mounts_error;    /* -errno: the table is not to be had; it is empty then */
    bool *mounts_silent; /* those that did not answer in time, by their place in the table */
    struct namesake_table namesakes;
    bool namesakes_read;
    bool hidden;                   /* other users' processes are not shown (hidepid=, proc(5)) */
    struct holder_target *targets; /* what the sweep is to look for */
    size_t n_targets;
};

bool gather_is_scarcity(int error);

/* Records what kept us from looking on (a negative errno, and what that was about): the verdict will be
 * unknown and say so. */
int gather_give_up(struct lock_facts *facts, int error, const char *subject);

int gather_add_target(struct prober *prober, struct lock_facts *facts, enum holder_target_kind kind,
                      dev_t device, ino_t inode);

/* One more for facts->displaced, with what all facts of this observer share already set. 1: *ret is it; 0:
 * there are LOCK_DISPLACED_MAX already. The array never moves, for targets point into it. */
int gather_add_displaced(struct lock_facts *facts, struct lock_facts **ret);

/* Everything about the path itself (gather.c), by sort of file. `dir_fd` and `name`: where it stands;
 * dir_fd -EBADF: not known. `fd` (O_PATH) is the file. */
int gather_path(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);
int gather_regular(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                   int dir_fd, const char *name, int fd);
int gather_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                  int fd);
int gather_link_target(struct lock_facts *facts, enum lock_style style, char *target);
void gather_stat(struct lock_facts *facts, const struct stat *st);
int gather_abstract(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);
int gather_unix_socket(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);

/* The socket that is bound to a file, in another network namespace than ours: first in that of the process
 * `maker` (0: not known), then in all others that processes are in. *ret stays NULL: none was found, or the
 * namespace may not be entered. */
int gather_foreign_socket(struct prober *prober, pid_t maker, dev_t device, ino_t inode,
                          const struct unix_socket **ret);
void gather_networks_done(struct prober *prober);

/* Listeners whose socket stood at the path, or at the one that the lock guards, and was removed or renamed:
 * into facts->displaced, and what is to be looked for. After the sweep gather_displaced_places() sees by
 * their holders whether that was the very path, and not one of the same name in another root. */
int gather_displaced_sockets(struct prober *prober, struct lock_facts *facts);
int gather_displaced_places(struct prober *prober, struct lock_facts *facts);

/* What the kernel's table says of a socket, and who has it is to be looked for. */
int gather_listener(struct prober *prober, struct lock_facts *facts, const struct unix_socket *socket);

/* The socket that the lock or PID file guards: PATH beside PATH.lock, or the one that its content names. */
int gather_guarded_socket(struct prober *prober, struct lock_facts *facts, int dir_fd, const char *name);

/* Who listens on the guarded socket; asked only when the lock's own record does not name a living owner. */
int gather_guarded_peer(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);

/* What a regular file is by its name and content; its content itself, which becomes the facts'. */
enum path_kind gather_regular_kind(const struct lock_facts *facts, enum lock_style style, const char *name);
void gather_content_text(struct lock_facts *facts, char *content);

/* What may let whoever looks at it wait (gather-remote.c). 1: all there is to say of it is said; 0: it stands
 * on a local file system, no look at it waits. */
int gather_remote(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);
void gather_remote_done(struct prober *prober);

/* The locks on a file there: F_GETLK's error or answer, and what /proc/locks knows. */
int gather_remote_families(struct prober *prober, struct lock_facts *facts, const struct mount_facts *mount,
                           int range_error, const struct flock *range);

/* 1: the path leads over local file systems only, so that opening it does not wait. */
int gather_is_near(struct prober *prober, const char *path);

int gather_mounts(struct prober *prober);

/* Whether an overlay shows the file, and a layer of it as well (gather-layers.c). */
int gather_layers(struct prober *prober, struct lock_facts *facts, int fd);

/* Nothing answers at the socket file, and the list of mounts may not tell of every overlay above it (a
 * relative or linked upperdir=, a bind mount, another mount namespace): a socket that was bound under the
 * same name to a file of the same number on such a file system is taken for one that the file is a layer's
 * of. An overlay gives a file the number that it has in its layer (Documentation/filesystems/overlayfs.rst,
 * "Inode properties"). Its daemon may live. */
int gather_layered_listener(struct prober *prober, struct lock_facts *facts, dev_t device, ino_t inode);
int gather_mount_of_fd(struct prober *prober, int fd, struct mount_facts *ret);

/* The claims of /proc/locks on the file. */
int gather_snapshot(struct prober *prober);
int gather_sockets(struct prober *prober);

/* After the sweep: the process that the record names (gather-recorded.c). */
int gather_recorded(struct prober *prober, const struct probe_request *request, struct lock_facts *facts);

/* The shared memory that the record names. */
int gather_shm(struct prober *prober, struct lock_facts *facts);
