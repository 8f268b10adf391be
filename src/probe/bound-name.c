/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/bound-name.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
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
    _cleanup_free_ char *mountinfo = NULL;
    _cleanup_mount_table_ struct mount_table mounts = {0};
    const struct mount_row *mount;
    char path[64];
    int mount_id = mount_id_by_fdinfo(proc_fd, fd), r;

    if (mount_id < 0)
        return mount_id;
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

/* `fd` is of the socket's own file, as process `pid` sees it. 1: yes; 0: no; -errno: it cannot be told. */
static int is_its_file(int proc_fd, pid_t pid, int fd, const struct unix_socket *socket) {
    dev_t device;
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode) || (uint32_t) st.st_ino != socket->file_inode)
        return 0;
    if (st.st_dev == socket->file_device)
        return 1;
    r = device_seen_by(proc_fd, pid, fd, &device);
    return r < 0 ? r : device == socket->file_device;
}

/* An absolute path as process `pid` sees it: below its root directory. Returns a descriptor (O_PATH). */
static int open_below_root(int proc_fd, pid_t pid, const char *path, int flags) {
    char below[32 + PATH_MAX];
    int fd;

    if ((size_t) snprintf(below, sizeof below, "%d/root%s", (int) pid, path) >= sizeof below)
        return -ENAMETOOLONG;
    fd = openat(proc_fd, below, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static bool can_see_root(int proc_fd, pid_t pid) {
    char path[32];
    struct stat st;

    snprintf(path, sizeof path, "%d/root", (int) pid);
    return fstatat(proc_fd, path, &st, 0) == 0;
}

/* Another name of the socket's file in the directory of `path`. 1: there is one; 0: there is none; -errno:
 * the directory is not there, or could not be read. */
static int find_other_name(int proc_fd, pid_t pid, const char *path, const struct unix_socket *socket,
                           char **ret_path) {
    _cleanup_free_ char *directory = strdup(path);
    _cleanup_closedir_ DIR *dir = NULL;
    const struct dirent *entry;
    int fd, r;

    if (!directory)
        return -ENOMEM;
    strrchr(directory, '/')[1] = '\0';
    fd = open_below_root(proc_fd, pid, directory, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    if (fd < 0)
        return fd;
    dir = fdopendir(fd);
    if (!dir) {
        r = -errno;
        fd_close(fd);
        return r;
    }
    while ((errno = 0, entry = readdir(dir))) {
        _cleanup_close_ int entry_fd = -EBADF;

        if (entry->d_type != DT_SOCK && entry->d_type != DT_UNKNOWN)
            continue;
        entry_fd = openat(dirfd(dir), entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (entry_fd < 0 && errno == ENOENT)
            continue;
        r = entry_fd < 0 ? -errno : is_its_file(proc_fd, pid, entry_fd, socket);
        if (r < 0)
            return r;
        if (r > 0)
            return asprintf(ret_path, "%s%s", directory, entry->d_name) < 0 ? -ENOMEM : 1;
    }
    return -errno;
}

/* For process `pid`. Returns an enum bound_name or -ENOMEM. */
static int look_from(int proc_fd, pid_t pid, const char *path, const struct unix_socket *socket,
                     char **ret_path) {
    _cleanup_close_ int fd = open_below_root(proc_fd, pid, path, O_PATH | O_NOFOLLOW);
    int r;

    /* That the path is not there, and not that the process is not. */
    if (fd < 0 && ((fd != -ENOENT && fd != -ENOTDIR) || !can_see_root(proc_fd, pid)))
        return BOUND_NAME_UNCLEAR;
    if (fd >= 0) {
        r = is_its_file(proc_fd, pid, fd, socket);
        if (r != 0)
            return r < 0 ? BOUND_NAME_UNCLEAR : BOUND_NAME_HERE;
    }
    r = find_other_name(proc_fd, pid, path, socket, ret_path);
    if (r == -ENOMEM)
        return r;
    return r > 0 ? BOUND_NAME_RENAMED : r == 0 ? BOUND_NAME_LOST : BOUND_NAME_AWAY;
}

/* A name that means something only to who bound it: a relative one, or one below a descriptor of its own
 * ("/proc/self/fd/5/a.sock", for a directory whose path is too long for sun_path). *ret_link is where the
 * directory stands in its /proc/PID, the result the rest of the name; NULL: a name like others. */
static const char *find_own_directory(const char *name, char ret_link[static 32]) {
    unsigned fd;
    int rest = 0;

    if (name[0] != '/') {
        snprintf(ret_link, 32, "cwd");
        return name;
    }
    if (sscanf(name, "/proc/self/fd/%u/%n", &fd, &rest) != 1 || rest == 0)
        return NULL;
    snprintf(ret_link, 32, "fd/%u", fd);
    return name + rest;
}

/* The directory was open, or current, at bind(2): that the holder's present one leads to the very file is
 * proof, that it does not is none. */
static int look_in_own_directory(int proc_fd, const struct unix_socket *socket,
                                 const struct lock_facts *facts, const char *link, const char *rest,
                                 char **ret_path) {
    for (size_t i = 0; i < facts->n_holders; i++) {
        pid_t pid = facts->holders[i].process.pid;
        _cleanup_free_ char *path = NULL, *other = NULL;
        char where[64], directory[PATH_MAX];
        ssize_t n;
        int r;

        snprintf(where, sizeof where, "%d/%s", (int) pid, link);
        n = readlinkat(proc_fd, where, directory, sizeof directory - 1);
        if (n <= 0 || directory[0] != '/')
            continue;
        directory[n] = '\0';
        if (asprintf(&path, "%s/%s", n > 1 ? directory : "", rest) < 0)
            return -ENOMEM;
        r = look_from(proc_fd, pid, path, socket, &other);
        if (r == BOUND_NAME_HERE || r == BOUND_NAME_RENAMED)
            *ret_path = other ? TAKE_PTR(other) : TAKE_PTR(path);
        if (r == BOUND_NAME_HERE || r == BOUND_NAME_RENAMED || r < 0)
            return r;
    }
    return socket->name[0] == '/' ? BOUND_NAME_AWAY : BOUND_NAME_UNCLEAR;
}

int bound_name_look(int proc_fd, const struct unix_socket *socket, const struct lock_facts *facts,
                    char **ret_path) {
    bool lost = false, away = false;
    const char *rest;
    char link[32];
    int r;

    *ret_path = NULL;
    if (!socket->has_file || !socket->name || socket->name_altered)
        return BOUND_NAME_UNCLEAR;
    rest = find_own_directory(socket->name, link);
    if (rest)
        return look_in_own_directory(proc_fd, socket, facts, link, rest, ret_path);
    r = look_from(proc_fd, getpid(), socket->name, socket, ret_path);
    if (r == BOUND_NAME_HERE || r == BOUND_NAME_RENAMED || r < 0)
        return r;
    for (size_t i = 0; i < facts->n_holders; i++) {
        r = look_from(proc_fd, facts->holders[i].process.pid, socket->name, socket, ret_path);
        if (r != BOUND_NAME_LOST && r != BOUND_NAME_AWAY)
            return r;
        lost = true;
        away |= r == BOUND_NAME_AWAY;
    }
    return !lost ? BOUND_NAME_UNCLEAR : away ? BOUND_NAME_AWAY : BOUND_NAME_LOST;
}
