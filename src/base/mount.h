/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The mounts of this mount namespace, as mountinfo has them (proc(5)). Reading that text asks no file system
 * anything, so that it can be told beforehand what a look at a path may wait for. The kernel's lock list and
 * socket diagnostics name a file by its superblock's device, which is not st_dev on overlayfs and btrfs;
 * mountinfo has it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount_facts {
    dev_t device;  /* of the superblock */
    char type[32]; /* file system type: "ext4", "nfs4" ... */
};

struct mount_row {
    int id, parent_id;
    struct mount_facts facts;
    char *point;   /* where it is mounted, below this process's root */
    char *options; /* of the superblock: "rw,vers=3,local_lock=none" */
};

struct mount_table {
    struct mount_row *rows; /* owned, with their strings */
    size_t n;
    bool any_remote; /* one of them is of a remote type, or may become one when it is looked at (autofs) */
};

#define _cleanup_mount_table_ _cleanup_(mount_table_done)
void mount_table_done(struct mount_table *table);

/* -EBADMSG: the kernel's text was not understood. */
int mount_table_parse(const char *mountinfo, struct mount_table *ret);
int mount_table_read(int proc_fd, struct mount_table *ret);

/* NULL: not in this mount namespace. */
const struct mount_row *mount_find_id(const struct mount_table *table, int mount_id);
const struct mount_row *mount_find_device(const struct mount_table *table, dev_t device);

/* The mount that `path` is on by the text alone: absolute, without links, "." or "..". Where several are
 * mounted on one another, the topmost. NULL: none, which the table of a living process never says. */
const struct mount_row *mount_find_path(const struct mount_table *table, const char *path);

/* The mount that a descriptor is on. -ENOENT: the mount is not in this mount namespace. fd may be an O_PATH
 * descriptor. */
int mount_of_fd(int proc_fd, int fd, struct mount_facts *ret);
int mount_of_fd_in(const struct mount_table *table, int proc_fd, int fd, struct mount_facts *ret);

/* Its number, for which no file system is asked. -EOPNOTSUPP: not from this kernel. */
int mount_id_of_fd(int fd);

/* The same from any kernel, as /proc/self/fdinfo has it. */
int mount_id_by_fdinfo(int proc_fd, int fd);

/* File systems whose locks live on another machine or in a user process: a look at them may hang, and what
 * /proc/locks says here is not the whole truth. */
bool mount_type_is_remote(const char *type);
bool mount_magic_is_remote(uint64_t magic); /* the same by statfs(2), f_type */

/* True where a walk alone may mount something else upon it (autofs). */
bool mount_type_is_automatic(const char *type);

/* Which option of a comma-separated list has that name: "vers" of "rw,vers=3" is "3"; "" when it has no
 * value; NULL: there is none. Not NUL-terminated where others follow: *ret_length counts. */
const char *mount_option_find(const char *options, const char *name, size_t *ret_length);
