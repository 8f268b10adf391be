/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/runtime-dir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "lock/describe.h"
#include "probe/probe.h"

/* A latchd that was killed may have left a child between fork and its first instruction, which holds a copy
 * of the lock's descriptor until it has closed it: moments. */
#define LOCK_PATIENCE_USEC (500 * USEC_PER_MSEC)

int runtime_dir_open(const char *path, bool create, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (create && mkdir(path, 0755) < 0 && errno != EEXIST)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed",
                       "cannot create the runtime directory %s: %m", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed",
                       "cannot open the runtime directory %s: %m", path);
    if (fstat(fd, &st) < 0)
        return err_set(err, errno, "Failed", "cannot look at the runtime directory %s: %m", path);
    if (create && (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))))
        return err_set(
            err, EPERM, "NotPermitted",
            "the runtime directory %s is owned by uid %u with mode %04o: it must be ours and writable by "
            "nobody else (chown, chmod 0755, or choose another by --runtime-dir)",
            path, st.st_uid, (unsigned) (st.st_mode & 07777));
    return TAKE_FD(fd);
}

/* Names who serves it. */
static int locked_by_other(const char *runtime_dir, const char *name, const char *service, struct err *err) {
    _cleanup_free_ char *path = NULL, *who = NULL;
    struct probe_request request = {.style = LOCK_STYLE_FLOCK};
    struct lock_facts *facts = NULL;

    if (asprintf(&path, "%s/%s", runtime_dir, name) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    request.path = path;
    if (lock_probe(&request, 1, &facts) >= 0 && facts->n_holders > 0)
        who = process_describe(&facts->holders[0].process);
    lock_facts_free_array(facts, facts ? 1 : 0);
    return err_set(err, EBUSY, "Held",
                   "service %s is served by another latchd already: %s holds %s; see latchctl status %s",
                   service, who ? who : "somebody", path, service);
}

int runtime_dir_lock_service(int runtime_dir_fd, const char *runtime_dir, const char *service,
                             struct err *err) {
    uint64_t until = now_usec(CLOCK_BOOTTIME) + LOCK_PATIENCE_USEC;
    _cleanup_close_ int fd = -EBADF;
    char name[NAME_MAX + 1];
    struct stat st;

    if (snprintf(name, sizeof name, "%s.lock", service) >= (int) sizeof name)
        return err_set(err, ENAMETOOLONG, "Failed", "the service's name is too long: %s", service);
    /* Whoever may open it may lock it, and would keep us out: it is for us alone. */
    fd = openat(runtime_dir_fd, name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                0600);
    if (fd < 0)
        return err_set(err, errno, errno == EACCES ? "NotPermitted" : "Failed", "cannot open %s/%s: %m",
                       runtime_dir, name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0))
        return err_set(err, EPERM, "NotPermitted", "%s/%s is not a regular file of ours: remove it",
                       runtime_dir, name);
    if ((st.st_mode & 0077) && st.st_uid == geteuid() && fchmod(fd, 0600) < 0)
        return err_set(err, errno, "Failed", "cannot take the rights of others on %s/%s away: %m",
                       runtime_dir, name);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set(err, errno, "Failed", "cannot lock %s/%s: %m", runtime_dir, name);
        if (now_usec(CLOCK_BOOTTIME) > until)
            return locked_by_other(runtime_dir, name, service, err);
        (void) usleep(5000);
    }
    return TAKE_FD(fd);
}

char *runtime_dir_path(int runtime_dir_fd) {
    char link[64], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", runtime_dir_fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = '\0';
    return strdup(path);
}
