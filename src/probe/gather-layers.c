/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Overlayfs shows files of other file systems, its layers, as files of its own: a lock on one is no lock on
 * the other, and a socket that is bound through the one refuses connections through the other
 * (Documentation/filesystems/overlayfs.rst, "Non-standard behavior"). Where both can be reached, neither view
 * says everything. */
#include "probe/gather.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* A layer can be reached from here: something else than the overlay itself stands at its path, which the list
 * of mounts has as it was when the overlay was mounted. */
static bool is_reachable(const char *layer, const struct mount_row *overlay) {
    _cleanup_close_ int fd = open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC),
                        top = open(overlay->point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st, own;

    return fd >= 0 && top >= 0 && fstat(fd, &st) == 0 && fstat(top, &own) == 0 && st.st_dev != own.st_dev;
}

/* Whether the file is seen through the overlay, or through one of these layers: "/lower1:/lower2". */
static bool is_seen_through(const char *layers, size_t length, const struct mount_row *overlay,
                            const char *path, bool on_overlay) {
    for (const char *end = layers + length; layers < end; layers += strspn(layers, ":")) {
        size_t size = strcspn(layers, ":,");
        char layer[PATH_MAX];

        if (layers + size > end)
            size = (size_t) (end - layers);
        if (size > 1 && size < sizeof layer && layers[0] == '/') {
            memcpy(layer, layers, size);
            layer[size] = '\0';
            if ((on_overlay || (strncmp(path, layer, size) == 0 && path[size] == '/')) &&
                is_reachable(layer, overlay))
                return true;
        }
        layers += size;
    }
    return false;
}

static bool has_overlay(const struct mount_table *mounts) {
    for (size_t i = 0; i < mounts->n; i++)
        if (strcmp(mounts->rows[i].facts.type, "overlay") == 0)
            return true;
    return false;
}

int gather_layers(struct prober *prober, struct lock_facts *facts, int fd) {
    static const char *const options[] = {"lowerdir", "upperdir"};
    char self[64], path[PATH_MAX];
    ssize_t n;
    int r = gather_mounts(prober), mount_id;

    if (r < 0 || !has_overlay(&prober->mounts))
        return r;
    mount_id = mount_id_of_fd(fd);
    snprintf(self, sizeof self, "self/fd/%d", fd);
    n = readlinkat(prober->proc_fd, self, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    for (size_t i = 0; i < prober->mounts.n && !facts->layered; i++) {
        const struct mount_row *row = &prober->mounts.rows[i];

        for (size_t j = 0; j < ELEMENTSOF(options) && strcmp(row->facts.type, "overlay") == 0; j++) {
            size_t length;
            const char *layers = mount_option_find(row->options, options[j], &length);

            if (layers && is_seen_through(layers, length, row, path, row->id == mount_id))
                facts->layered = true;
        }
    }
    return 0;
}

/* The file system is an overlay's, or none that is mounted where we are: one in another mount namespace. */
static bool may_be_overlay(const struct mount_table *mounts, dev_t device) {
    for (size_t i = 0; i < mounts->n; i++)
        if (mounts->rows[i].facts.device == device)
            return strcmp(mounts->rows[i].facts.type, "overlay") == 0;
    return true;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int gather_layered_listener(struct prober *prober, struct lock_facts *facts, dev_t device, ino_t inode) {
    int r = gather_mounts(prober);

    if (r >= 0)
        r = gather_sockets(prober);
    for (size_t i = 0; r >= 0 && i < prober->sockets.n && !facts->layered; i++) {
        const struct unix_socket *socket = &prober->sockets.sockets[i];

        facts->layered = socket->has_file && !socket->connected && socket->file_inode == (uint32_t) inode &&
                         socket->file_device != device &&
                         (socket->name_altered ||
                          (socket->name && strcmp(last_part(socket->name), last_part(facts->path)) == 0)) &&
                         may_be_overlay(&prober->mounts, socket->file_device);
    }
    return r;
}
