/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/gather.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/value.h"
#include "probe/try.h"

#define CONTENT_MAX 4096
#define CONTENT_MARGIN 64

static bool same_claim(const struct claim_facts *a, const struct claim_facts *b) {
    return a->family == b->family && a->pid == b->pid && a->waiting == b->waiting && a->shared == b->shared;
}

/* Byte ranges do not matter: each claimant counts once. */
static int add_claim(struct lock_facts *facts, const struct claim_facts *claim) {
    struct claim_facts *bigger;

    for (size_t i = 0; i < facts->n_claims; i++)
        if (same_claim(&facts->claims[i], claim))
            return 0;
    bigger = reallocarray(facts->claims, facts->n_claims + 1, sizeof *bigger);

    if (!bigger)
        return -ENOMEM;
    facts->claims = bigger;
    bigger[facts->n_claims++] = *claim;
    return 0;
}

/* Another process's lease, which opening the file would break. It is known once the list was read. */
static const struct lease_row *find_lease(const struct prober *prober, const struct lock_facts *facts,
                                          const struct mount_facts *mount) {
    for (size_t i = 0; i < prober->snapshot.n_leases; i++) {
        const struct lease_row *lease = &prober->snapshot.leases[i];

        if (lease->inode == facts->inode &&
            (lease->device == mount->device || lease->device == facts->device))
            return lease;
    }
    return NULL;
}

static void set_families(struct lock_facts *facts, enum family_state state) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts->families[f] = state;
}

/* What /proc/locks says of the file. *ret_whole: it says all there is to say, so that a missing row means
 * that there is no lock. It does so in the initial PID namespace, and where the file's device is known. A
 * list that came in pieces may lack any row, and on overlayfs a row may name another inode than stat(2); that
 * no row at all is there has to be found out otherwise then, while of a lock that is known the sweep finds
 * every holder. */
static int gather_claims(struct prober *prober, struct lock_facts *facts, const struct mount_facts *mount,
                         bool *ret_whole) {
    const struct lock_row *rows;
    bool known = false;
    size_t n;
    int r = gather_snapshot(prober);

    if (r < 0)
        return r;
    set_families(facts, FAMILY_FREE);
    rows = lock_snapshot_find(&prober->snapshot, facts->inode, &n);
    for (size_t i = 0; i < n; i++) {
        const struct lock_row *row = &rows[i];

        if (row->device != mount->device && row->device != facts->device)
            continue;
        known |= !row->claim.waiting;
        if (!row->claim.waiting)
            facts->families[row->claim.family] = FAMILY_HELD;
        r = add_claim(facts, &row->claim);
        if (r < 0)
            return r;
    }
    *ret_whole = prober->initial_pid_namespace && prober->snapshot_error == 0 && mount->type[0] &&
                 (known || (!prober->snapshot.in_pieces && strcmp(mount->type, "overlay") != 0));
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX && !*ret_whole; f++)
        if (facts->families[f] != FAMILY_HELD)
            facts->families[f] = FAMILY_UNKNOWN;
    return 0;
}

/* fcntl(2): a process loses its POSIX locks on a file when it closes any descriptor of it. */
static bool is_posix_locked_by_us(const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_claims; i++)
        if (facts->claims[i].family == LOCK_FAMILY_POSIX && facts->claims[i].pid == getpid() &&
            !facts->claims[i].waiting)
            return true;
    return false;
}

/* Opens the file anew through the pinned descriptor: no race with a rename, no O_CREAT
 * (fs.protected_regular). */
static int open_for_reading(int path_fd) {
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    char self[64];
    int fd;

    snprintf(self, sizeof self, "/proc/self/fd/%d", path_fd);
    fd = open(self, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* O_NOATIME is for the file's owner and root */
        fd = open(self, flags);
    return fd < 0 ? -errno : fd;
}

/* Lines stay lines; every other character is printable. */
static void make_lines_printable(char *text) {
    for (char *p = text; *p; p++)
        if (isspace((unsigned char) *p) && *p != '\n')
            *p = ' ';
    for (char *line = text, *end; *line; line = end) {
        end = strchrnul(line, '\n');
        if (!*end) {
            value_make_printable(line);
            break;
        }
        *end = '\0';
        value_make_printable(line);
        *end++ = '\n';
    }
}

void gather_content_text(struct lock_facts *facts, char *content) {
    make_lines_printable(content);
    facts->content_read = true;
    free(facts->content);
    facts->content = content;
    lock_record_parse(facts->path, facts->content, &facts->record);
}

static int gather_content(struct lock_facts *facts, int fd) {
    /* It may have grown since its size was read; most PID files are read at the first try. */
    size_t room = facts->size_bytes < CONTENT_MAX ? (size_t) facts->size_bytes + CONTENT_MARGIN : CONTENT_MAX;
    _cleanup_free_ char *content = NULL;
    ssize_t n;

    for (;; room = CONTENT_MAX) {
        free(content);
        content = calloc(1, room + 1);
        if (!content)
            return -ENOMEM;
        n = pread(fd, content, room, 0);
        if (n < 0)
            return gather_give_up(facts, -errno, "reading it");
        if ((size_t) n < room || room >= CONTENT_MAX)
            break;
    }
    gather_content_text(facts, TAKE_PTR(content));
    return 0;
}

/* Any text file may begin with a number. It is a PID file when somebody says so, when its name ends like
 * one's, when nothing but a PID stands in it, when its name speaks of a lock or a PID and a PID stands first,
 * or when it is exactly what some daemon writes. What is else a link may be a file (see record.h). */
enum path_kind gather_regular_kind(const struct lock_facts *facts, enum lock_style style, const char *name) {
    size_t length = strlen(name);

    if (style == LOCK_STYLE_PIDFILE || style == LOCK_STYLE_SYMLINK)
        return PATH_KIND_PIDFILE;
    if (style != LOCK_STYLE_INVALID)
        return PATH_KIND_LOCK;
    if (length > 4 && strcmp(name + length - 4, ".pid") == 0)
        return PATH_KIND_PIDFILE;
    if (!facts->content || facts->record.form == RECORD_NONE)
        return PATH_KIND_LOCK;
    return facts->record.form != RECORD_PLAIN || lock_name_tells(name) || lock_record_is_bare(facts->content)
               ? PATH_KIND_PIDFILE
               : PATH_KIND_LOCK;
}

/* The device that the kernel's list has for the file. Where its mount is in another namespace, st_dev will
 * do, but for the two file systems that have several. */
static void find_mount(struct prober *prober, struct lock_facts *facts, int path_fd,
                       struct mount_facts *ret_mount) {
    struct statfs fs;

    *ret_mount = (struct mount_facts){.device = facts->device};
    if (gather_mount_of_fd(prober, path_fd, ret_mount) < 0 && fstatfs(path_fd, &fs) == 0 &&
        fs.f_type != OVERLAYFS_SUPER_MAGIC && fs.f_type != BTRFS_SUPER_MAGIC)
        snprintf(ret_mount->type, sizeof ret_mount->type, "%#lx", (unsigned long) fs.f_type);
    memcpy(facts->filesystem, ret_mount->type, sizeof facts->filesystem);
}

/* A missing row says nothing here, for others may hold the lock on another machine. F_GETLK gives the PID
 * -1 for a lock of an open file description of this machine; else it does not tell whose it is, or of which
 * family: on NFS flock is a byte-range lock too (flock(2)). */
int gather_remote_families(struct prober *prober, struct lock_facts *facts, const struct mount_facts *mount,
                           int range_error, const struct flock *range) {
    bool whole;
    int r = gather_claims(prober, facts, mount, &whole);

    if (r < 0)
        return r;
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (facts->families[f] != FAMILY_HELD)
            facts->families[f] = FAMILY_UNKNOWN;
    if (range_error != 0)
        return 0;
    if (range->l_type != F_UNLCK) {
        facts->families[range->l_pid == -1 ? LOCK_FAMILY_OFD : LOCK_FAMILY_POSIX] = FAMILY_HELD;
        return 0;
    }
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (facts->families[f] != FAMILY_HELD &&
            (f != LOCK_FAMILY_FLOCK || (facts->server_arbitrates && whole)))
            facts->families[f] = FAMILY_FREE;
    return 0;
}

/* *fd is opened where that is to be, and may stay -EBADF or an error. */
static int gather_locks(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                        const struct mount_facts *mount, int path_fd, int *fd) {
    bool whole = false;
    int r;

    set_families(facts, FAMILY_UNKNOWN);
    if (request->may_try) {
        *fd = open_for_reading(path_fd);
        if (gather_is_scarcity(*fd))
            return *fd;
        if (*fd >= 0)
            lock_try_families(facts, *fd);
    }
    if (lock_facts_is_held(facts) || lock_facts_any_family(facts, FAMILY_UNKNOWN)) {
        r = gather_claims(prober, facts, mount, &whole);
        if (r < 0)
            return r;
    }
    /* An empty file about which the list says all is not opened at all. */
    if (*fd < 0 && !is_posix_locked_by_us(facts) && !find_lease(prober, facts, mount) &&
        (facts->size_bytes > 0 || facts->kind == PATH_KIND_PIDFILE ||
         lock_facts_any_family(facts, FAMILY_UNKNOWN))) {
        *fd = open_for_reading(path_fd);
        if (gather_is_scarcity(*fd))
            return *fd;
    }
    if (*fd >= 0 && lock_facts_any_family(facts, FAMILY_UNKNOWN))
        lock_try_families(facts, *fd);
    return 0;
}

/* The file was not opened, or could not be: is it in the way of a verdict? Whose lease it is would be told by
 * a signal that we had looked (fcntl(2)), so its content stays unread; it may name an owner. */
static int without_content(struct prober *prober, struct lock_facts *facts, const struct mount_facts *mount,
                           int error) {
    const struct lease_row *lease = find_lease(prober, facts, mount);
    char subject[128];

    if (lease) {
        if (lock_facts_is_held(facts) || (facts->size_bytes == 0 && facts->kind != PATH_KIND_PIDFILE &&
                                          !lock_facts_any_family(facts, FAMILY_UNKNOWN)))
            return 0;
        snprintf(subject, sizeof subject, "opening it would break the lease of process %d", (int) lease->pid);
        return gather_give_up(facts, -EWOULDBLOCK, subject);
    }
    if (facts->kind == PATH_KIND_PIDFILE || lock_facts_any_family(facts, FAMILY_UNKNOWN))
        return gather_give_up(facts, error == -EBADF ? -EACCES : error, "opening it for reading");
    return 0;
}

int gather_regular(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                   int dir_fd, const char *name, int path_fd) {
    _cleanup_close_ int fd = -EBADF;
    struct mount_facts mount;
    int r;

    facts->kind = gather_regular_kind(facts, request->style, name);
    find_mount(prober, facts, path_fd, &mount);
    r = gather_locks(prober, request, facts, &mount, path_fd, &fd);
    if (r < 0)
        return r;
    if (fd < 0 && !is_posix_locked_by_us(facts)) {
        r = without_content(prober, facts, &mount, fd);
        if (r < 0 || facts->error != 0)
            return r;
    } else if (fd >= 0 && (facts->size_bytes > 0 || facts->kind == PATH_KIND_PIDFILE)) {
        r = gather_content(facts, fd);
        if (r < 0)
            return r;
        facts->kind = gather_regular_kind(facts, request->style, name);
    }
    if (lock_facts_is_held(facts) || request->effort == PROBE_COMPLETE) {
        r = gather_add_target(prober, facts, HOLDER_TARGET_FILE, facts->device, facts->inode);
        if (r < 0)
            return r;
    }
    return gather_guarded_socket(prober, facts, dir_fd, name);
}
