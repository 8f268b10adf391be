/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process's descriptor table, as /proc/PID/fd shows it, with the fewest system calls that tell which file
 * each descriptor is of. */

#include <linux/stat.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TABLE_BUFFER_BYTES (32 * 1024)

struct table_entry {
    int dir_fd; /* .../fd: stands for this very process, or thread, though its number be given out again */
    const char *name; /* the descriptor's number */
    pid_t pid, tid;
    dev_t device; /* as stat(2) has them, for all that follows */
    ino_t inode;
    mode_t mode;
    unsigned links;
    uint64_t mount_id;       /* where the kernel tells it (Linux 5.8), 0 else */
    const char *fdinfo_path; /* below the proc directory */
};

typedef int table_look_t(void *userdata, const struct table_entry *entry);

/* Calls `look` for each descriptor of the process `pid` (tid: the same number), or of one thread of it.
 *`buffer` has TABLE_BUFFER_BYTES, is aligned for any type, and is the caller's, so that one will do for many
 *tables. ret_dir_fd (owned by the caller) is .../fd, -EBADF where it could not be opened; *ret_seen counts
 *the descriptors that were listed. Returns 0; 1: something of it could not be read; -errno: want of
 *resources, or what `look` returned. -ESRCH and -ENOENT of `look` mean that the descriptor is gone, -EACCES
 *and -EPERM that it could not be read. */
int table_walk(int proc_fd, pid_t pid, pid_t tid, void *buffer, table_look_t *look, void *userdata,
               int *ret_dir_fd, unsigned *ret_seen);
