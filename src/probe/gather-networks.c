/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sockets of other network namespaces: connect(2) finds a listener by its file wherever it is, the
 * kernel's table shows those of one namespace. */
#include "probe/gather.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define NETWORKS_MAX 256

void gather_networks_done(struct prober *prober) {
    for (size_t i = 0; i < prober->n_networks; i++)
        unix_table_done(&prober->networks[i].sockets);
    free(prober->networks);
}

/* The number of the network namespace that a process is in; it is the inode of the link's target. */
static int read_network_inode(int proc_fd, const char *process, uint64_t *ret) {
    char path[64], target[64];
    unsigned long long inode;
    ssize_t n;

    snprintf(path, sizeof path, "%s/ns/net", process);
    n = readlinkat(proc_fd, path, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (sscanf(target, "net:[%llu]", &inode) != 1)
        return -EBADMSG;
    *ret = inode;
    return 0;
}

static bool is_known(const struct prober *prober, uint64_t inode) {
    for (size_t i = 0; i < prober->n_networks; i++)
        if (prober->networks[i].inode == inode)
            return true;
    return false;
}

/* Enters the namespace of one process and reads its table, unless that was done before. What may not be
 * entered has an empty one. 1: it is new. */
static int enter_network(struct prober *prober, const char *process, uint64_t own) {
    struct network_table network = {0}, *bigger;
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    char path[64];
    int r;

    if (read_network_inode(prober->proc_fd, process, &network.inode) < 0 || network.inode == own ||
        is_known(prober, network.inode))
        return 0;
    snprintf(path, sizeof path, "%s/ns/net", process);
    fd = openat(prober->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gather_is_scarcity(-errno) ? -errno : 0;
    if (fstat(fd, &st) < 0 || st.st_ino != network.inode)
        return 0; /* it went elsewhere in between */
    bigger = reallocarray(prober->networks, prober->n_networks + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    prober->networks = bigger;
    r = unix_table_read_in(fd, &network.sockets);
    if (gather_is_scarcity(r))
        return r;
    bigger[prober->n_networks++] = network;
    return 1;
}

static const struct unix_socket *find_in(const struct network_table *network, dev_t device, ino_t inode) {
    const struct unix_socket *socket = unix_table_find(&network->sockets, device, inode);

    return socket && !socket->connected ? socket : NULL;
}

static int walk_networks(struct prober *prober, uint64_t own, dev_t device, ino_t inode,
                         const struct unix_socket **ret) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    pid_t pid;
    int r;

    r = fd_open_dir_at(prober->proc_fd, ".", &dir);
    if (r < 0)
        return r;
    while (prober->n_networks < NETWORKS_MAX && (entry = readdir(dir))) {
        if (value_parse_pid(entry->d_name, &pid) < 0)
            continue;
        r = enter_network(prober, entry->d_name, own);
        if (r < 0)
            return r;
        if (r > 0 && (*ret = find_in(&prober->networks[prober->n_networks - 1], device, inode)))
            return 0; /* the walk is to be ended by whoever looks for another one */
    }
    prober->networks_walked = true;
    return 0;
}

int gather_foreign_socket(struct prober *prober, pid_t maker, dev_t device, ino_t inode,
                          const struct unix_socket **ret) {
    char process[16];
    uint64_t own;
    int r;

    *ret = NULL;
    if (read_network_inode(prober->proc_fd, "self", &own) < 0)
        return 0;
    if (maker > 0) {
        snprintf(process, sizeof process, "%d", (int) maker);
        r = enter_network(prober, process, own);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < prober->n_networks && !*ret; i++)
        *ret = find_in(&prober->networks[i], device, inode);
    if (*ret || prober->networks_walked)
        return 0;
    return walk_networks(prober, own, device, inode, ret);
}
