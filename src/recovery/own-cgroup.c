/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/own-cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/procfs.h"

#define MARK "user.latchd.service" /* its value: the service's name */
#define USED_UP "user.latchd.killed"
#define DEPTH_MAX 16
#define TEXT_MAX (1 << 20)

static bool has_value(int fd, const char *attribute, const char *value) {
    char found[NAME_MAX + 1];
    ssize_t n = fgetxattr(fd, attribute, found, sizeof found);

    return n >= 0 && (size_t) n == strlen(value) && memcmp(found, value, (size_t) n) == 0;
}

/* systemd says so on the unit's cgroup: the one attribute for whoever may read it (since 251), the other for
 * root (systemd, src/core/cgroup.c: cgroup_xattr_apply()). */
static bool is_delegated_by_systemd(int fd) {
    return has_value(fd, "user.delegate", "1") || has_value(fd, "trusted.delegate", "1");
}

/* The root of a cgroup namespace, but not of the whole tree, is a container's: whoever made that gave it to
 * those inside. Unless systemd is in there: then it has divided it already, and there is one writer only. The
 * root of the tree has no cgroup.events. */
static bool is_delegated_container(int fd, const char *path) {
    return strcmp(path, "/") == 0 && faccessat(fd, "cgroup.events", F_OK, 0) == 0 &&
           access("/run/systemd/system", F_OK) < 0;
}

/* A process is born into a cgroup only by whoever may write to the list of the common ancestor, too
 * (cgroup_attach_permissions() in kernel/cgroup/cgroup.c). */
static bool is_writable(int fd) {
    return faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0 &&
           faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) == 0;
}

static bool lists_process(int fd, pid_t pid) {
    _cleanup_free_ char *text = NULL;

    if (fd_read_file_at(fd, "cgroup.procs", TEXT_MAX, &text, NULL) < 0)
        return false;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        if (strtol(line, NULL, 10) == pid)
            return true;
    return false;
}

static int open_unified(const char *mount) {
    _cleanup_close_ int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct statfs fs;

    if (fd < 0)
        return -errno;
    if (fstatfs(fd, &fs) < 0)
        return -errno;
    return fs.f_type == CGROUP2_SUPER_MAGIC ? TAKE_FD(fd) : -ENOENT;
}

static int keep(int dir_fd, const char *path, struct own_cgroup **ret) {
    struct own_cgroup *own = malloc(sizeof *own);

    if (!own || !(own->path = strdup(path))) {
        free(own);
        fd_close(dir_fd);
        return -ENOMEM;
    }
    own->dir_fd = dir_fd;
    *ret = own;
    return 0;
}

int own_cgroup_find(int proc_fd, const char *mount, struct own_cgroup **ret) {
    _cleanup_close_ int root_fd = open_unified(mount), fd = -EBADF, parent_fd = -EBADF;
    _cleanup_free_ char *path = NULL;
    char *slash;
    int r;

    if (root_fd < 0)
        return -ENOENT;
    r = procfs_read_cgroup(proc_fd, getpid(), &path);
    if (r < 0)
        return r == -ENOMEM ? r : -ENOENT;
    /* Where only a part of the tree is mounted (a container without a cgroup namespace), the path leads
     * nowhere, or elsewhere. Nor is one from above the namespace's root any use. */
    fd = path[0] != '/' || strstr(path, "/..")
             ? -EBADF
             : openat(root_fd, path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !lists_process(fd, getpid()))
        return -ENOENT;
    if ((is_delegated_by_systemd(fd) || is_delegated_container(fd, path)) && is_writable(fd))
        return keep(TAKE_FD(fd), path, ret);
    /* DelegateSubgroup= puts us one below the one that is delegated. */
    slash = strrchr(path, '/');
    parent_fd = path[1] ? openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    if (parent_fd < 0 || !is_delegated_by_systemd(parent_fd) || !is_writable(parent_fd))
        return -ENOENT;
    slash[slash == path] = '\0';
    return keep(TAKE_FD(parent_fd), path, ret);
}

struct own_cgroup *own_cgroup_free(struct own_cgroup *own) {
    if (!own)
        return NULL;
    fd_close(own->dir_fd);
    free(own->path);
    free(own);
    return NULL;
}

/* No file of the kernel's has such a name: theirs begin with that of a controller, and none ends so. */
static int directory_name(const char *service, char ret[static NAME_MAX + 1]) {
    int n = snprintf(ret, NAME_MAX + 1, "%s.daemon", service);

    return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

int own_cgroup_open(const struct own_cgroup *own, const char *service, bool create) {
    _cleanup_close_ int fd = -EBADF;
    char name[NAME_MAX + 1];
    bool made = false;
    int r = directory_name(service, name);

    if (r < 0)
        return r;
    fd = openat(own->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && create && has_value(fd, MARK, service) && has_value(fd, USED_UP, "1")) {
        if (unlinkat(own->dir_fd, name, AT_REMOVEDIR) < 0)
            return -errno;
        fd = fd_close(fd);
        errno = ENOENT;
    }
    if (fd < 0 && errno == ENOENT && create) {
        if (mkdirat(own->dir_fd, name, 0755) < 0)
            return -errno;
        made = true;
        fd = openat(own->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return -errno;
    if (made && fsetxattr(fd, MARK, service, strlen(service), 0) < 0) {
        r = -errno;
        (void) unlinkat(own->dir_fd, name, AT_REMOVEDIR);
        return r;
    }
    return has_value(fd, MARK, service) ? TAKE_FD(fd) : -EEXIST;
}

char *own_cgroup_path(const struct own_cgroup *own, const char *service) {
    char name[NAME_MAX + 1], *path;

    if (directory_name(service, name) < 0 ||
        asprintf(&path, "%s/%s", own->path[1] ? own->path : "", name) < 0)
        return NULL;
    return path;
}

bool cgroup_is_within(const char *cgroup, const char *path) {
    size_t length = strlen(path);

    if (!cgroup || cgroup[0] != '/')
        return false;
    if (length == 1)
        return true;
    return strncmp(cgroup, path, length) == 0 && (cgroup[length] == '\0' || cgroup[length] == '/');
}

int own_cgroup_remove(const struct own_cgroup *own, const char *service) {
    _cleanup_close_ int fd = own_cgroup_open(own, service, false);
    char name[NAME_MAX + 1];

    if (fd < 0)
        return fd;
    (void) directory_name(service, name);
    return unlinkat(own->dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int own_cgroup_is_populated(int fd) {
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(fd, "cgroup.events", TEXT_MAX, &text, NULL);

    if (r < 0)
        return r;
    return strstr(text, "populated 0") ? 0 : 1;
}

int own_cgroup_use_up(int fd) {
    return fsetxattr(fd, USED_UP, "1", 1, 0) < 0 ? -errno : 0;
}

struct list {
    pid_t *pids;
    size_t n, max;
    bool more;
};

static int list_one(int fd, struct list *list) {
    _cleanup_free_ char *text = NULL;

    /* EOPNOTSUPP of a threaded one: its processes are listed above it. */
    if (fd_read_file_at(fd, "cgroup.procs", TEXT_MAX, &text, NULL) < 0)
        return 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        pid_t pid = (pid_t) strtol(line, NULL, 10);
        pid_t *bigger;

        if (pid <= 0) /* 0: of a PID namespace that is not below ours */
            continue;
        if (list->n == list->max) {
            list->more = true;
            return 0;
        }
        bigger = (list->n & (list->n - 1))
                     ? list->pids
                     : reallocarray(list->pids, list->n ? 2 * list->n : 1, sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        list->pids = bigger;
        list->pids[list->n++] = pid;
    }
    return 0;
}

static int list_below(int fd, unsigned depth, struct list *list) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int again, r = list_one(fd, list);

    if (r < 0 || depth == DEPTH_MAX)
        return r;
    again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        fd_close(again);
        return 0;
    }
    while (r >= 0 && !list->more && (entry = readdir(dir))) {
        _cleanup_close_ int child = -EBADF;

        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            r = list_below(child, depth + 1, list);
    }
    return r;
}

int own_cgroup_list(int fd, size_t max, pid_t **ret, size_t *ret_n) {
    struct list list = {.max = max};
    int r = list_below(fd, 0, &list);

    if (r < 0) {
        free(list.pids);
        return r;
    }
    *ret = list.pids;
    *ret_n = list.n;
    return list.more;
}

void own_cgroup_usage(int fd, uint64_t *ret_cpu_usec, uint64_t *ret_memory_bytes) {
    _cleanup_free_ char *cpu = NULL, *memory = NULL;
    unsigned long long value;

    *ret_cpu_usec = *ret_memory_bytes = UINT64_MAX;
    if (fd_read_file_at(fd, "cpu.stat", 65536, &cpu, NULL) >= 0 &&
        sscanf(cpu, "usage_usec %llu", &value) == 1)
        *ret_cpu_usec = value;
    if (fd_read_file_at(fd, "memory.current", 4096, &memory, NULL) >= 0 &&
        sscanf(memory, "%llu", &value) == 1)
        *ret_memory_bytes = value;
}
