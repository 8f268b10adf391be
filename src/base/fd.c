/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

int fd_close(int fd) {
    if (fd >= 0) {
        int saved = errno;

        (void) close(fd);
        errno = saved;
    }
    return -EBADF;
}

void closedirp(DIR **dir) {
    if (*dir)
        (void) closedir(*dir);
    *dir = NULL;
}

void fclosep(FILE **file) {
    if (*file)
        (void) fclose(*file);
    *file = NULL;
}

int fd_read_all(int fd, size_t max, char **ret_text, size_t *ret_size) {
    _cleanup_free_ char *text = NULL;
    size_t size = 0, room = 0;

    for (;;) {
        if (room - size < 2) {
            size_t more = room ? room * 4 : 1024; /* most of /proc is shorter */
            char *bigger = realloc(text, more);

            if (!bigger)
                return -ENOMEM;
            text = bigger;
            room = more;
        }
        ssize_t n = read(fd, text + size, room - size - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t) n;
        if (size > max)
            return -E2BIG;
    }
    text[size] = '\0';
    *ret_text = TAKE_PTR(text);
    if (ret_size)
        *ret_size = size;
    return 0;
}

int fd_read_file_at(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_size) {
    _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    return fd_read_all(fd, max, ret_text, ret_size);
}

int fd_write_all(int fd, const void *data, size_t size) {
    const char *p = data;

    while (size > 0) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t) n;
    }
    return 0;
}

/* A directory that somebody made in the file's place goes to ".NAME.aside": it may have something in it. */
static int move_aside(int dir_fd, const char *name) {
    _cleanup_free_ char *aside = NULL;

    if (asprintf(&aside, ".%s.aside", name) < 0)
        return -ENOMEM;
    return renameat2(dir_fd, name, dir_fd, aside, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int fd_replace_file_at(int dir_fd, const char *name, mode_t mode, const void *data, size_t size) {
    _cleanup_free_ char *temporary = NULL;
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (asprintf(&temporary, ".%s.new", name) < 0)
        return -ENOMEM;
    for (int attempt = 0; fd < 0 && attempt < 2; attempt++) {
        fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST || unlinkat(dir_fd, temporary, 0) < 0) /* of a writer that was killed */
            break;
    }
    if (fd < 0)
        return -errno;
    r = fd_write_all(fd, data, size);
    if (r >= 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r >= 0 && renameat(dir_fd, temporary, dir_fd, name) < 0 &&
        (errno != EISDIR || move_aside(dir_fd, name) < 0 ||
         renameat(dir_fd, temporary, dir_fd, name) < 0))
        r = -errno;
    if (r < 0)
        (void) unlinkat(dir_fd, temporary, 0);
    return r;
}

int fd_make_parents(const char *path) {
    char part[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t) (slash - path);

        if (length >= sizeof part)
            return -ENAMETOOLONG;
        memcpy(part, path, length);
        part[length] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

int fd_open_dir_at(int dir_fd, const char *path, DIR **ret) {
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir;

    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (!dir) {
        int r = -errno; /* also ENOENT: since Linux 6.2 of a process that has ended meanwhile */

        fd_close(fd);
        return r;
    }
    *ret = dir;
    return 0;
}

static int fd_change_flag(int fd, int get, int set, int flag, bool on) {
    int flags = fcntl(fd, get);

    if (flags < 0)
        return -errno;
    flags = on ? flags | flag : flags & ~flag;
    return fcntl(fd, set, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on) {
    return fd_change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_set_nonblock(int fd, bool on) {
    return fd_change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}
