/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/hold.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/probe.h"

#define OPEN_TRIES 5
#define OPEN_FLAGS (O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Without O_CREAT first: in a sticky directory root is refused somebody's file with it (fs.protected_regular,
 * proc(5)). */
static int open_file(int dir_fd, const char *name) {
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        int fd = openat(dir_fd, name, OPEN_FLAGS);

        if (fd >= 0 || errno != ENOENT)
            return fd < 0 ? -errno : fd;
        fd = openat(dir_fd, name, OPEN_FLAGS | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd < 0 ? -errno : fd;
    }
    return -EAGAIN;
}

static bool is_gone(int error) {
    return error == ENOENT || error == ENOTDIR;
}

/* What cannot be looked at is taken to be as it was. */
static bool is_at(int fd, int dir_fd, const char *name) {
    struct stat by_fd, by_path;

    if (fstat(fd, &by_fd) < 0)
        return false;
    if (fstatat(dir_fd, name, &by_path, AT_SYMLINK_NOFOLLOW) < 0)
        return !is_gone(errno);
    return stat_same_inode(&by_fd, &by_path);
}

bool lock_hold_is_at(int fd, const char *path) {
    _cleanup_close_ int dir_fd = -EBADF;
    const char *name;
    int r = lock_open_parent(path, &dir_fd, &name);

    return r < 0 ? !is_gone(-r) : is_at(fd, dir_fd, name);
}

int lock_hold_again(int fd, enum lock_style style) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int r = style == LOCK_STYLE_OFD ? fcntl(fd, F_OFD_SETLK, &whole) : flock(fd, LOCK_EX | LOCK_NB);

    if (r < 0)
        return errno == EWOULDBLOCK || errno == EACCES ? -EBUSY : -errno;
    return 0;
}

int lock_release(int fd, enum lock_style style) {
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    if (fd < 0)
        return -EBADF;
    if (style == LOCK_STYLE_OFD)
        (void) fcntl(fd, F_OFD_SETLK, &whole);
    else
        (void) flock(fd, LOCK_UN);
    return fd_close(fd);
}

/* A file of somebody else in a directory of everybody's is one that he may replace at any time. */
static int check_file(int fd, int dir_fd, const char *path, struct err *err) {
    struct stat file, directory;

    if (fstat(fd, &file) < 0 || fstat(dir_fd, &directory) < 0)
        return err_set(err, errno, "Failed", "cannot look at the lock file %s: %m", path);
    if (!S_ISREG(file.st_mode))
        return err_set(err, EPERM, "NotPermitted", "cannot lock %s: it is no regular file; remove it", path);
    if ((directory.st_mode & S_IWOTH) && file.st_uid != geteuid() && file.st_uid != 0)
        return err_set(
            err, EPERM, "NotPermitted",
            "cannot lock %s: it is a file of uid %u in a directory of everybody's; remove it, or choose "
            "another by LockFile=",
            path, file.st_uid);
    return 0;
}

static int lock_once(int dir_fd, const char *name, const char *path, enum lock_style style, struct err *err) {
    _cleanup_close_ int fd = open_file(dir_fd, name);
    int r;

    if (fd < 0)
        return err_set(err, -fd, fd == -EACCES || fd == -EPERM ? "NotPermitted" : "Failed",
                       "cannot open the lock file %s: %s", path,
                       fd == -ELOOP ? "it is a symbolic link; remove it" : strerror(-fd));
    r = check_file(fd, dir_fd, path, err);
    if (r < 0)
        return r;
    r = lock_hold_again(fd, style);
    if (r == -EBUSY)
        return err_set(err, EBUSY, "Held", "cannot lock %s: somebody took it just now", path);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot lock %s: %s", path, strerror(-r));
    if (!is_at(fd, dir_fd, name))
        return err_set(err, ESTALE, "Changed", "cannot lock %s: somebody replaces it again and again", path);
    return TAKE_FD(fd);
}

int lock_hold(const char *path, enum lock_style style, struct err *err) {
    _cleanup_close_ int dir_fd = -EBADF;
    const char *name;
    int r = lock_open_parent(path, &dir_fd, &name);

    if (r < 0)
        return err_set(err, -r, "Failed", "cannot open the directory of the lock file %s: %s", path,
                       strerror(-r));
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        r = lock_once(dir_fd, name, path, style, err);
        if (r != -ESTALE)
            return r;
    }
    return r;
}
