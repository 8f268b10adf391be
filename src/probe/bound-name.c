/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/bound-name.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"

#define MOUNTINFO_MAX (16 * 1024 * 1024)

/* The superblock's device of the file, by the mounts that `pid` sees: a mount's number is unique on the whole
 * machine, and only the namespace that it is in lists it (proc_pid_mountinfo(5)). */
static int device_seen_by(int proc_fd, pid_t pid, int fd, dev_t *ret_device) {
    _cleanup_free_ char *fdinfo = NULL, *mountinfo = NULL;
    _cleanup_mount_table_ struct mount_table mounts = {0};
    const struct mount_row *mount;
    const char *row;
    char path[64];
    int mount_id, r;

    snprintf(path, sizeof path, "self/fdinfo/%d", fd);
    r = fd_read_file_at(proc_fd, path, 64 * 1024, &fdinfo, NULL);
    if (r < 0)
        return r;
    row = strstr(fdinfo, "\nmnt_id:");
    if (!row || sscanf(row, "\nmnt_id: %d", &mount_id) != 1)
        return -EBADMSG;
    snprintf(path, sizeof path, "%d/mountinfo", (int) pid);
    r = fd_read_file_at(proc_fd, path, MOUNTINFO_MAX, &mountinfo, NULL);
    if (r >= 0)
        r = mount_table_parse(mountinfo, &mounts);
    if (r < 0)
        return r;
    mount = mount_find_id(&mounts, mount_id);
    if (!mount)
        return -ENOENT;
    *ret_device = mount->facts.device;
    return 0;
}

/* The path as process `pid` sees it: below its root directory. */
static enum bound_name look_from(int proc_fd, pid_t pid, const struct unix_socket *socket) {
    _cleanup_close_ int fd = -EBADF;
    dev_t device;
    char path[32 + sizeof(((struct lock_record *) NULL)->socket_path)];
    struct stat st;

    if ((size_t) snprintf(path, sizeof path, "%d/root%s", (int) pid, socket->name) >= sizeof path)
        return BOUND_NAME_UNCLEAR;
    fd = openat(proc_fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        struct stat root;

        /* That the path is not there, and not that the process is not. */
        snprintf(path, sizeof path, "%d/root", (int) pid);
        return (error == ENOENT || error == ENOTDIR) && fstatat(proc_fd, path, &root, 0) == 0
                   ? BOUND_NAME_LOST
                   : BOUND_NAME_UNCLEAR;
    }
    if (fstat(fd, &st) < 0)
        return BOUND_NAME_UNCLEAR;
    if (!S_ISSOCK(st.st_mode) || (uint32_t) st.st_ino != socket->file_inode)
        return BOUND_NAME_LOST;
    if (st.st_dev == socket->file_device)
        return BOUND_NAME_HERE;
    if (device_seen_by(proc_fd, pid, fd, &device) < 0)
        return BOUND_NAME_UNCLEAR;
    return device == socket->file_device ? BOUND_NAME_HERE : BOUND_NAME_LOST;
}

enum bound_name bound_name_look(int proc_fd, const struct unix_socket *socket,
                                const struct lock_facts *facts) {
    bool lost = false;

    /* A relative path begins at a working directory that nobody remembers. */
    if (!socket->has_file || !socket->name || socket->name_altered || socket->name[0] != '/')
        return BOUND_NAME_UNCLEAR;
    if (look_from(proc_fd, getpid(), socket) == BOUND_NAME_HERE)
        return BOUND_NAME_HERE;
    for (size_t i = 0; i < facts->n_holders; i++) {
        enum bound_name there = look_from(proc_fd, facts->holders[i].process.pid, socket);

        if (there != BOUND_NAME_LOST)
            return there;
        lost = true;
    }
    return lost ? BOUND_NAME_LOST : BOUND_NAME_UNCLEAR;
}
