/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "doctor/gather-parts.h"

void descriptors_done(struct descriptors *descriptors) {
    free(descriptors->of);
    *descriptors = (struct descriptors){0};
}

static int compare_inodes(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}

static int add(struct descriptors *descriptors, const struct descriptor *descriptor) {
    if (descriptors->n == descriptors->room) {
        size_t room = descriptors->room * 2 + 16;
        struct descriptor *bigger = reallocarray(descriptors->of, room, sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        descriptors->of = bigger;
        descriptors->room = room;
    }
    descriptors->of[descriptors->n++] = *descriptor;
    return 0;
}

/* The link's text alone is read: to follow it would ask a file system. */
int descriptors_read(int proc_fd, pid_t pid, const uint32_t *wanted, size_t n_wanted,
                     struct descriptors *descriptors) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    char path[32];
    int r;

    snprintf(path, sizeof path, "%d/fd", (int) pid);
    r = fd_open_dir_at(proc_fd, path, &dir);
    if (r < 0)
        return r == -ENOENT ? -ESRCH : r;
    while ((entry = readdir(dir))) {
        struct descriptor found = {.pid = pid};
        char target[64], *end;
        ssize_t size =
            entry->d_name[0] == '.' ? -1 : readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);

        if (size < 0 || value_parse_int(entry->d_name, 0, INT_MAX, &found.fd) < 0)
            continue;
        target[size] = '\0';
        if (strncmp(target, "socket:[", 8) != 0)
            continue;
        found.inode = (uint32_t) strtoul(target + 8, &end, 10);
        if (*end != ']' ||
            (wanted && !bsearch(&found.inode, wanted, n_wanted, sizeof *wanted, compare_inodes)))
            continue;
        r = add(descriptors, &found);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Of several who have the same socket the oldest number comes first: the main process, mostly. */
static int compare(const void *a, const void *b) {
    const struct descriptor *x = a, *y = b;

    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return x->pid != y->pid ? (x->pid < y->pid ? -1 : 1) : x->fd - y->fd;
}

void descriptors_sort(struct descriptors *descriptors) {
    if (descriptors->n > 0)
        qsort(descriptors->of, descriptors->n, sizeof *descriptors->of, compare);
}

const struct descriptor *descriptors_find(const struct descriptors *descriptors, uint32_t inode) {
    size_t low = 0, high = descriptors->n;

    while (low < high) { /* the first that is not smaller */
        size_t middle = low + (high - low) / 2;

        if (descriptors->of[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low < descriptors->n && descriptors->of[low].inode == inode ? &descriptors->of[low] : NULL;
}

uint64_t descriptor_is_nonblocking(int proc_fd, pid_t pid, int fd) {
    _cleanup_free_ char *text = NULL;
    unsigned flags;
    const char *row;
    char path[64];

    snprintf(path, sizeof path, "%d/fdinfo/%d", (int) pid, fd);
    if (fd_read_file_at(proc_fd, path, 4096, &text, NULL) < 0 || !(row = strstr(text, "flags:")) ||
        sscanf(row + 6, "%o", &flags) != 1)
        return DOCTOR_UNKNOWN;
    return (flags & O_NONBLOCK) != 0;
}
