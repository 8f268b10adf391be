/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors. -EBADF stands for "none"; every descriptor made here is O_CLOEXEC from birth. */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/macro.h"

#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_closedir_ _cleanup_(closedirp)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Closes fd unless it is negative; keeps errno. Returns -EBADF, to be assigned back. */
int fd_close(int fd);
static inline void closep(int *fd) {
    *fd = fd_close(*fd);
}
void closedirp(DIR **dir);
void fclosep(FILE **file);

/* Reads a whole file below dir_fd (AT_FDCWD for the working directory) into a fresh, NUL-terminated
 * buffer; ret_size (may be NULL) does not count the NUL. -E2BIG when it is longer than max bytes, -EISDIR
 * and the like as open(2) and read(2) have it. Never blocks on a FIFO (O_NONBLOCK). */
int fd_read_file_at(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_size);

/* The same from an open descriptor, from its present offset on. */
int fd_read_all(int fd, size_t max, char **ret_text, size_t *ret_size);

/* Writes everything, going on after short writes and EINTR. For regular files and pipes. */
int fd_write_all(int fd, const void *data, size_t size);

/* Replaces dir_fd/name as a whole: a temporary file beside it, ".NAME.new", is written and renamed over it.
 * That name is always the same, so that writers who are killed leave one file at most: there may be one
 * writer at a time (who has a lock). A directory in its place is moved aside, to ".NAME.aside". */
int fd_replace_file_at(int dir_fd, const char *name, mode_t mode, const void *data, size_t size);

/* Makes the missing directories on the way to an absolute path, mode 0755 less the umask. */
int fd_make_parents(const char *path);

/* Opens the directory dir_fd/path for reading. Owned by the caller (_cleanup_closedir_). */
int fd_open_dir_at(int dir_fd, const char *path, DIR **ret);

int fd_set_cloexec(int fd, bool on);
int fd_set_nonblock(int fd, bool on);

/* Same file: device and inode agree. Proof only while one of the two is kept open, since file systems
 * reuse inode numbers at once (ext4 does). */
static inline bool stat_same_inode(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}
