/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"

#define PROC_LOCKS_MAX (64 * 1024 * 1024)

void lock_snapshot_done(struct lock_snapshot *snapshot) {
    free(snapshot->rows);
    *snapshot = (struct lock_snapshot){0};
}

int lock_row_parse(const char *line, struct lock_row *ret) {
    static const struct {
        const char *name;
        enum lock_family family;
    } families[] = {{"FLOCK", LOCK_FAMILY_FLOCK}, {"POSIX", LOCK_FAMILY_POSIX}, {"OFDLCK", LOCK_FAMILY_OFD}};
    struct lock_row row = {0};
    char sort[16], access[16];
    unsigned device_major, device_minor;
    uint64_t inode;
    int used = 0;
    size_t i;

    if (sscanf(line, " %*d:%n", &used) != 0 || used == 0)
        return -EBADMSG;
    line += used;
    line += strspn(line, " ");
    if (strncmp(line, "->", 2) == 0) {
        row.claim.waiting = true;
        line += 2;
    }
    if (sscanf(line, " %15s %*15s %15s %d %x:%x:%" SCNu64, sort, access, &row.claim.pid, &device_major,
               &device_minor, &inode) != 6)
        return -EBADMSG;
    for (i = 0; i < ELEMENTSOF(families); i++)
        if (strcmp(sort, families[i].name) == 0)
            break;
    if (i == ELEMENTSOF(families))
        return 0;
    row.claim.family = families[i].family;
    row.claim.shared = strcmp(access, "READ") == 0;
    row.device = makedev(device_major, device_minor);
    row.inode = (ino_t) inode;
    *ret = row;
    return 1;
}

int lock_snapshot_parse(const char *text, struct lock_snapshot *ret) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};

    while (*text) {
        const char *end = strchrnul(text, '\n');
        struct lock_row row;
        int r = lock_row_parse(text, &row);

        if (r < 0)
            return r;
        if (r > 0) {
            if ((snapshot.n & (snapshot.n - 1)) == 0) { /* grows at each power of two */
                struct lock_row *bigger =
                    reallocarray(snapshot.rows, snapshot.n ? snapshot.n * 2 : 1, sizeof *snapshot.rows);

                if (!bigger)
                    return -ENOMEM;
                snapshot.rows = bigger;
            }
            snapshot.rows[snapshot.n++] = row;
        }
        text = *end ? end + 1 : end;
    }
    *ret = snapshot;
    snapshot = (struct lock_snapshot){0};
    return 0;
}

int lock_snapshot_read(int proc_fd, struct lock_snapshot *ret) {
    _cleanup_free_ char *text = NULL;
    int r = fd_read_file_at(proc_fd, "locks", PROC_LOCKS_MAX, &text, NULL);

    return r < 0 ? r : lock_snapshot_parse(text, ret);
}

void lock_fdinfo_families(const char *fdinfo, bool ret_families[static LOCK_FAMILY_MAX]) {
    for (const char *line = strstr(fdinfo, "lock:"); line; line = strstr(line + 1, "lock:")) {
        struct lock_row row;

        if (line != fdinfo && line[-1] != '\n')
            continue;
        if (lock_row_parse(line + strlen("lock:"), &row) > 0 && !row.claim.waiting)
            ret_families[row.claim.family] = true;
    }
}
