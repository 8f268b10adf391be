/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The mount that a descriptor is on. The kernel's lock list and socket diagnostics name a file by its
 * superblock's device, which is not st_dev on overlayfs and btrfs; mountinfo has it (proc(5)). */

#include <stdbool.h>
#include <sys/types.h>

struct mount_facts {
    dev_t device;  /* of the superblock */
    char type[32]; /* file system type: "ext4", "nfs4" ... */
};

/* -ENOENT: the mount is not in this mount namespace. fd may be an O_PATH descriptor. */
int mount_of_fd(int proc_fd, int fd, struct mount_facts *ret);

/* Finds the row of mount MNT_ID in the text of mountinfo. */
int mount_parse(const char *mountinfo, int mount_id, struct mount_facts *ret);

/* File systems whose locks live on another machine or in a user process: a look at them may hang, and what
 * /proc/locks says here is not the whole truth. */
bool mount_type_is_remote(const char *type);
