/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/executable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int file_is_executable(const char *path) {
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int executable_find(const char *name, const char *search_path, char **ret, struct err *err) {
    _cleanup_free_ char *refused = NULL;

    if (!search_path)
        search_path = SEARCH_PATH;
    if (!*name)
        return err_set(err, ENOENT, "ExecFailed", "cannot start a program: its name is empty");
    if (strchr(name, '/')) {
        char *path = strdup(name);

        if (!path)
            return err_set(err, ENOMEM, "OutOfMemory", "cannot start \"%s\": %m", name);
        *ret = path;
        return 0;
    }
    for (const char *p = search_path;; p++) {
        size_t length = strcspn(p, ":");
        _cleanup_free_ char *path = NULL;
        int r;

        /* An empty or relative entry would mean the working directory of the supervisor: never. */
        if (*p == '/') {
            if (asprintf(&path, "%.*s/%s", (int) length, p, name) < 0) {
                path = NULL;
                return err_set(err, ENOMEM, "OutOfMemory", "cannot start \"%s\": %m", name);
            }
            r = file_is_executable(path);
            if (r == 0) {
                *ret = TAKE_PTR(path);
                return 0;
            }
            if (r == -EACCES && !refused)
                refused = TAKE_PTR(path);
        }
        p += length;
        if (!*p)
            break;
    }
    if (refused)
        return err_set(
            err, EACCES, "ExecFailed",
            "cannot start \"%s\": \"%s\" is no executable file; correct its mode, or give the whole path",
            name, refused);
    return err_set(
        err, ENOENT, "ExecFailed",
        "cannot start \"%s\": there is no such program in PATH (%s); install it, or give the whole path",
        name, search_path);
}

char *executable_resolve(const char *path) {
    _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
    char link[32], target[PATH_MAX];
    ssize_t n;

    if (fd < 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof target - 1);
    if (n <= 0 || target[0] != '/')
        return realpath(path, NULL); /* no /proc, or a place outside our root */
    target[n] = '\0';
    return strdup(target);
}
