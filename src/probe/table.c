/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/table.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"

/* getdents64(2), which the C library offers only with a buffer of its own for each directory. */
struct kernel_dirent {
    uint64_t inode, offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

struct walk {
    int proc_fd;
    table_look_t *look;
    void *userdata;
    bool refused;
    unsigned seen;
    char fd_path[64];
    char info_path[64 + NAME_MAX + 2];
    size_t info_length; /* of the part before the descriptor's number */
};

/* What an error says of a process's directory: 0: it is gone; 1: it refuses; -errno: want of resources and
 * the like. */
static int unreadable(int error) {
    return error == ENOENT || error == ESRCH ? 0 : error == EACCES || error == EPERM ? 1 : -error;
}

/* Only what is needed, and without asking a file server that may be out of reach (statx(2)). */
static int look_at(struct walk *walk, struct table_entry *entry) {
    struct statx stx;

    if (statx(entry->dir_fd, entry->name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
              STATX_TYPE | STATX_INO | STATX_NLINK | STATX_MNT_ID, &stx) < 0)
        return -errno;
    entry->device = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    entry->inode = stx.stx_ino;
    entry->mode = stx.stx_mode;
    entry->links = stx.stx_nlink;
    entry->mount_id = stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id : 0;
    snprintf(walk->info_path + walk->info_length, sizeof walk->info_path - walk->info_length, "%s",
             entry->name);
    return walk->look(walk->userdata, entry);
}

static int look_at_listed(struct walk *walk, struct table_entry *entry, const char *buffer, size_t size) {
    for (size_t offset = 0; offset < size;) {
        const struct kernel_dirent *listed = (const void *) (buffer + offset);
        int r;

        offset += listed->length;
        if (!isdigit((unsigned char) listed->name[0]))
            continue;
        walk->seen++;
        entry->name = listed->name;
        r = unreadable(-look_at(walk, entry));
        if (r < 0)
            return r;
        walk->refused |= r;
    }
    return 0;
}

int table_walk(int proc_fd, pid_t pid, pid_t tid, void *buffer, table_look_t *look, void *userdata,
               int *ret_dir_fd, unsigned *ret_seen) {
    struct walk walk = {.proc_fd = proc_fd, .look = look, .userdata = userdata};
    struct table_entry entry = {.pid = pid, .tid = tid, .fdinfo_path = walk.info_path};
    _cleanup_close_ int fd = -EBADF;
    int length;

    if (tid != pid) {
        snprintf(walk.fd_path, sizeof walk.fd_path, "%d/task/%d/fd", (int) pid, (int) tid);
        length = snprintf(walk.info_path, sizeof walk.info_path, "%d/task/%d/fdinfo/", (int) pid, (int) tid);
    } else {
        snprintf(walk.fd_path, sizeof walk.fd_path, "%d/fd", (int) pid);
        length = snprintf(walk.info_path, sizeof walk.info_path, "%d/fdinfo/", (int) pid);
    }
    walk.info_length = (size_t) length;
    *ret_dir_fd = -EBADF;
    *ret_seen = 0;
    fd = openat(proc_fd, walk.fd_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return unreadable(errno);
    entry.dir_fd = fd;
    for (;;) {
        long size = syscall(SYS_getdents64, fd, buffer, TABLE_BUFFER_BYTES);
        int r;

        if (size < 0) {
            r = unreadable(errno);
            if (r < 0)
                return r;
            walk.refused |= r;
        }
        if (size <= 0)
            break;
        r = look_at_listed(&walk, &entry, buffer, (size_t) size);
        if (r < 0)
            return r;
    }
    *ret_dir_fd = TAKE_FD(fd);
    *ret_seen = walk.seen;
    return walk.refused;
}
