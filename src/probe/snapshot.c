/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/snapshot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"

#define ROW_MAX 512
#define PROC_LOCKS_MAX (64 * 1024 * 1024)
#define PAGE_BYTES 4096
#define PIECE_BYTES 3072 /* of a page, some room for the longest row */
#define READINGS 3

void lock_snapshot_done(struct lock_snapshot *snapshot) {
    free(snapshot->rows);
    free(snapshot->leases);
    *snapshot = (struct lock_snapshot){0};
}

int lock_row_parse(const char *row_text, struct lock_row *ret) {
    static const struct {
        const char *name;
        enum lock_family family;
    } families[] = {{"FLOCK", LOCK_FAMILY_FLOCK}, {"POSIX", LOCK_FAMILY_POSIX}, {"OFDLCK", LOCK_FAMILY_OFD}};
    struct lock_row row = {0};
    char text[ROW_MAX], sort[16], access[16];
    const char *line = text;
    unsigned device_major, device_minor;
    uint64_t inode;
    int used = 0;
    size_t length = strcspn(row_text, "\n"), i;

    /* A copy, for sscanf(3) would go on behind the line, and measures the whole text each time. */
    if (length >= sizeof text)
        return -EBADMSG;
    memcpy(text, row_text, length);
    text[length] = '\0';
    if (sscanf(line, " %*d:%n", &used) != 0 || used == 0)
        return -EBADMSG;
    line += used;
    line += strspn(line, " ");
    if (strncmp(line, "->", 2) == 0) {
        row.claim.waiting = true;
        line += 2;
    }
    used = 0;
    if (sscanf(line, " %*15s %*15s %*15s %*d %n", &used) == 0 && used > 0 &&
        strncmp(line + used, "<none>", 6) == 0)
        return 0; /* of no file (lock_get_status()) */
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

/* Read leases, shown as READ, do not mind readers. One that is being broken shows what it will become
 * (fs/locks.c, lock_get_status()); whoever opens the file before that has to wait. */
int lock_row_parse_lease(const char *row_text, struct lease_row *ret) {
    struct lease_row row = {0};
    char text[ROW_MAX], sort[16], state[16], access[16];
    unsigned device_major, device_minor;
    uint64_t inode;
    size_t length = strcspn(row_text, "\n");

    if (length >= sizeof text)
        return -EBADMSG;
    memcpy(text, row_text, length);
    text[length] = '\0';
    if (sscanf(text, " %*d: %15s %15s %15s %d %x:%x:%" SCNu64, sort, state, access, &row.pid, &device_major,
               &device_minor, &inode) != 7 ||
        (strcmp(sort, "LEASE") != 0 && strcmp(sort, "DELEG") != 0) ||
        (strcmp(state, "ACTIVE") == 0 && strcmp(access, "READ") == 0))
        return 0;
    row.device = makedev(device_major, device_minor);
    row.inode = (ino_t) inode;
    *ret = row;
    return 1;
}

static int add_lease(struct lock_snapshot *snapshot, const struct lease_row *row) {
    struct lease_row *bigger =
        reallocarray(snapshot->leases, snapshot->n_leases + 1, sizeof *snapshot->leases);

    if (!bigger)
        return -ENOMEM;
    snapshot->leases = bigger;
    bigger[snapshot->n_leases++] = *row;
    return 0;
}

static int add_row(struct lock_snapshot *snapshot, const struct lock_row *row) {
    if ((snapshot->n & (snapshot->n - 1)) == 0) { /* grows at each power of two */
        struct lock_row *bigger =
            reallocarray(snapshot->rows, snapshot->n ? snapshot->n * 2 : 1, sizeof *snapshot->rows);

        if (!bigger)
            return -ENOMEM;
        snapshot->rows = bigger;
    }
    snapshot->rows[snapshot->n++] = *row;
    return 0;
}

static int add_rows(struct lock_snapshot *snapshot, const char *text) {
    while (*text) {
        const char *end = strchrnul(text, '\n');
        struct lock_row row;
        struct lease_row lease;
        int r = lock_row_parse(text, &row);

        if (r < 0)
            return r;
        if (r > 0)
            r = add_row(snapshot, &row);
        else if (lock_row_parse_lease(text, &lease) > 0)
            r = add_lease(snapshot, &lease);
        if (r < 0)
            return r;
        text = *end ? end + 1 : end;
    }
    return 0;
}

int lock_snapshot_parse(const char *text, struct lock_snapshot *ret) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    int r = add_rows(&snapshot, text);

    if (r < 0)
        return r;
    *ret = snapshot;
    snapshot = (struct lock_snapshot){0};
    return 0;
}

/* The list from a byte on, which the kernel goes through anew to find (seq_file.rst): the pieces that follow
 * have their seams elsewhere than those of a reading from the start. *ret is owned by the caller. */
static int read_list(int fd, off_t from, char **ret, size_t *ret_size) {
    _cleanup_free_ char *text = NULL;
    size_t size = 0, room = 0;

    for (;;) {
        ssize_t n;

        if (room - size < PAGE_BYTES + 1) {
            char *bigger = realloc(text, room = 2 * room + 2 * PAGE_BYTES);

            if (!bigger)
                return -ENOMEM;
            text = bigger;
        }
        n = pread(fd, text + size, room - size - 1, from + (off_t) size);
        if (n < 0)
            return -errno;
        size += (size_t) n;
        text[size] = '\0';
        if (n == 0)
            break;
        if (size > PROC_LOCKS_MAX)
            return -E2BIG;
    }
    *ret = TAKE_PTR(text);
    *ret_size = size;
    return 0;
}

#define COMPARE(a, b)                                                                                        \
    if ((a) != (b))                                                                                          \
    return (a) < (b) ? -1 : 1

static int compare_rows(const void *a, const void *b) {
    const struct lock_row *x = a, *y = b;

    COMPARE(x->inode, y->inode);
    COMPARE(x->device, y->device);
    COMPARE(x->claim.family, y->claim.family);
    COMPARE(x->claim.waiting, y->claim.waiting);
    COMPARE(x->claim.pid, y->claim.pid);
    COMPARE(x->claim.shared, y->claim.shared);
    return 0;
}

/* By inode, each once. */
static void sort_rows(struct lock_snapshot *snapshot) {
    size_t n = 0;

    if (snapshot->n > 1)
        qsort(snapshot->rows, snapshot->n, sizeof *snapshot->rows, compare_rows);
    for (size_t i = 0; i < snapshot->n; i++)
        if (n == 0 || compare_rows(&snapshot->rows[n - 1], &snapshot->rows[i]) != 0)
            snapshot->rows[n++] = snapshot->rows[i];
    snapshot->n = n;
}

/* The kernel hands the list out in pieces of a page and counts rows in between: when a lock is dropped
 * meanwhile, the row at the seam is passed over. So a list that is longer is read several times, with the
 * seams elsewhere: what any reading shows is there. A row may still be missing from all of them, where locks
 * come and go all the time: that there is none has to be found out otherwise. */
int lock_snapshot_read(int proc_fd, struct lock_snapshot *ret) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    _cleanup_close_ int fd = openat(proc_fd, "locks", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    for (unsigned i = 0; i < READINGS; i++) {
        _cleanup_free_ char *text = NULL;
        const char *rows;
        size_t size = 0;
        int r = read_list(fd, (off_t) (i * PAGE_BYTES / READINGS), &text, &size);

        if (r < 0)
            return r;
        rows = i == 0 ? text : strchrnul(text, '\n'); /* it begins within a row */
        r = add_rows(&snapshot, *rows == '\n' ? rows + 1 : rows);
        if (r < 0)
            return r;
        if (i == 0 && size <= PIECE_BYTES)
            break;
        snapshot.in_pieces = true;
    }
    sort_rows(&snapshot);
    *ret = snapshot;
    snapshot = (struct lock_snapshot){0};
    return 0;
}

const struct lock_row *lock_snapshot_find(const struct lock_snapshot *snapshot, ino_t inode, size_t *ret_n) {
    size_t low = 0, high = snapshot->n, end;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (snapshot->rows[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < snapshot->n && snapshot->rows[end].inode == inode; end++)
        ;
    *ret_n = end - low;
    return &snapshot->rows[low];
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
