/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners and locks survive the latchd that made them: in its successor's hands, in systemd's descriptor
 * store, or as copies that the daemon has. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "owned/owned.h"

static bool may_take(const struct owned *owned, const struct service_config *config, size_t i) {
    return config->sockets[i]->owner == SOCKET_OWNER_LATCHD && owned->sockets[i].fd < 0;
}

/* ---- in this process ---- */

int owned_hand_over(const struct owned *owned, const struct service_config *config,
                    struct handover *handover) {
    json_t *list = json_array();
    char name[600];
    int r = list ? 0 : -ENOMEM;

    for (size_t i = 0; i < owned->n && r >= 0; i++) {
        const struct owned_socket *own = &owned->sockets[i];

        if (own->fd < 0)
            continue;
        snprintf(name, sizeof name, "listener:%s:%s", config->name, config->sockets[i]->name);
        r = handover_put_fd(handover, name, own->fd);
        snprintf(name, sizeof name, "listener-lock:%s:%s", config->name, config->sockets[i]->name);
        if (r >= 0 && own->lock_fd >= 0)
            r = handover_put_fd(handover, name, own->lock_fd);
        if (r >= 0 &&
            json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:I, s:I, s:b, s:b}", "name", config->sockets[i]->name, "listen",
                          config->sockets[i]->listen, "device", (json_int_t) own->place.device, "inode",
                          (json_int_t) own->place.inode, "passed", own->passed, "stored", own->stored)) < 0)
            r = -ENOMEM;
    }
    if (r < 0) {
        json_decref(list);
        return r;
    }
    snprintf(name, sizeof name, "listeners:%s", config->name);
    return handover_put(handover, name, list);
}

static void take_one(struct owned_socket *own, const struct service_config *config, size_t place,
                     const json_t *told, struct handover *handover) {
    const struct socket_config *socket = config->sockets[place];
    _cleanup_close_ int fd = -EBADF, lock_fd = -EBADF;
    char name[600];

    snprintf(name, sizeof name, "listener:%s:%s", config->name, socket->name);
    fd = handover_take_fd(handover, name);
    snprintf(name, sizeof name, "listener-lock:%s:%s", config->name, socket->name);
    lock_fd = handover_take_fd(handover, name);
    if (fd < 0)
        return;
    own->fd = TAKE_FD(fd);
    if (lock_fd >= 0 && lock_hold_again(lock_fd, socket->lock.style) >= 0)
        own->lock_fd = TAKE_FD(lock_fd);
    own->place.device = (dev_t) json_integer_value(json_object_get(told, "device"));
    own->place.inode = (ino_t) json_integer_value(json_object_get(told, "inode"));
    own->passed = json_is_true(json_object_get(told, "passed"));
    own->stored = json_is_true(json_object_get(told, "stored"));
}

void owned_take_over(struct owned *owned, const struct service_config *config, struct handover *handover) {
    char name[300];
    json_t *list, *told;
    size_t i;

    snprintf(name, sizeof name, "listeners:%s", config->name);
    list = handover_get(handover, name);
    json_array_foreach(list, i, told) {
        const char *its = json_string_value(json_object_get(told, "name")),
                   *listen = json_string_value(json_object_get(told, "listen"));

        for (size_t j = 0; its && listen && j < owned->n; j++)
            if (may_take(owned, config, j) && strcmp(config->sockets[j]->name, its) == 0 &&
                strcmp(config->sockets[j]->listen, listen) == 0)
                take_one(&owned->sockets[j], config, j, told, handover);
    }
    owned_note(owned);
}

/* ---- from above ---- */

static ssize_t find_by_name(const struct service_config *config, const char *name) {
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->owner == SOCKET_OWNER_LATCHD && strcmp(config->sockets[i]->name, name) == 0)
            return (ssize_t) i;
    return -1;
}

int owned_take_listener(struct owned *owned, const struct owned_host *host, const char *name, int fd,
                        bool passed, struct err *err) {
    ssize_t i = find_by_name(host->config, name);
    const char *listen = i >= 0 ? host->config->sockets[i]->listen : NULL;

    if (!listen || owned->sockets[i].fd >= 0)
        return err_set(err, EINVAL, "Failed", "no socket of latchd's own is called %s, or it is open already",
                       name);
    if (!listener_is_at(fd, listen))
        return err_set(
            err, EINVAL, "Failed",
            "the descriptor that is called %s is no listener at %s, which ListenStream= of [Socket %s] "
            "wants: correct either",
            name, listen, name);
    owned->sockets[i].fd = fd;
    owned->sockets[i].passed = passed;
    if (!passed) {
        owned->sockets[i].place = listener_find_place(fd, listen);
        owned->sockets[i].stored = true;
    }
    owned_note(owned);
    return 0;
}

int owned_take_lock(struct owned *owned, const struct owned_host *host, const char *name, int fd,
                    struct err *err) {
    ssize_t i = find_by_name(host->config, name);
    const struct socket_config *socket = i >= 0 ? host->config->sockets[i] : NULL;
    int r;

    if (!socket || !socket->lock.path || owned->sockets[i].lock_fd >= 0 ||
        !lock_hold_is_at(fd, socket->lock.path))
        return err_set(err, EINVAL, "Failed", "the descriptor that was kept as the lock of %s is none", name);
    r = lock_hold_again(fd, socket->lock.style);
    if (r < 0)
        return err_set(err, -r, "Held", "somebody else has locked %s meanwhile", socket->lock.path);
    owned->sockets[i].lock_fd = fd;
    owned_note(owned);
    return 0;
}

int owned_lock(struct owned *owned, const struct owned_host *host, struct err *err) {
    int r = 0;

    for (size_t i = 0; i < owned->n; i++) {
        const struct socket_config *socket = host->config->sockets[i];
        int fd;

        if (socket->owner != SOCKET_OWNER_LATCHD || owned->sockets[i].lock_fd >= 0 || !socket->lock.path ||
            socket->lock.style == LOCK_STYLE_NONE)
            continue;
        fd = lock_hold(socket->lock.path, socket->lock.style, err);
        if (fd >= 0)
            owned->sockets[i].lock_fd = fd;
        else
            r = fd;
    }
    owned_note(owned);
    return r;
}

/* ---- from the daemon ---- */

static bool is_socket(int dir_fd, const char *name) {
    char target[32];
    ssize_t n = readlinkat(dir_fd, name, target, sizeof target);

    return n > 8 && memcmp(target, "socket:[", 8) == 0;
}

/* Whose listener it is; below zero: nobody's that is missing. */
static ssize_t recognize(const struct owned *owned, const struct service_config *config, int fd) {
    for (size_t i = 0; i < owned->n; i++)
        if (may_take(owned, config, i) && listener_is_at(fd, config->sockets[i]->listen))
            return (ssize_t) i;
    return -1;
}

static size_t count_missing(const struct owned *owned, const struct service_config *config) {
    size_t missing = 0;

    for (size_t i = 0; i < owned->n; i++)
        missing += may_take(owned, config, i);
    return missing;
}

size_t owned_regain(struct owned *owned, const struct owned_host *host, pid_t pid, int pidfd) {
    size_t missing = count_missing(owned, host->config);
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    char path[32];

    snprintf(path, sizeof path, "%d/fd", (int) pid);
    if (missing == 0 || fd_open_dir_at(host->proc_fd, path, &dir) < 0)
        return missing;
    while (missing > 0 && (entry = readdir(dir))) {
        _cleanup_close_ int fd = -EBADF;
        ssize_t i;

        if (!is_socket(dirfd(dir), entry->d_name))
            continue;
        fd = (int) syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name),
                           0); /* O_CLOEXEC, as pidfd_getfd(2) says */
        i = fd >= 0 ? recognize(owned, host->config, fd) : -1;
        if (i < 0)
            continue;
        owned->sockets[i].place = listener_find_place(fd, host->config->sockets[i]->listen);
        owned->sockets[i].fd = TAKE_FD(fd);
        missing--;
    }
    owned_note(owned);
    return missing;
}
