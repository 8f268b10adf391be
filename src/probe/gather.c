/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

bool gather_is_scarcity(int error) {
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

int gather_give_up(struct lock_facts *facts, int error, const char *subject) {
    if (gather_is_scarcity(error))
        return error;
    facts->error = -error;
    free(facts->error_subject);
    facts->error_subject = strdup(subject);
    return facts->error_subject ? 0 : -ENOMEM;
}

int gather_add_target(struct prober *prober, struct lock_facts *facts, enum holder_target_kind kind,
                      dev_t device, ino_t inode) {
    struct holder_target *bigger = reallocarray(prober->targets, prober->n_targets + 1, sizeof *bigger);

    if (!bigger)
        return -ENOMEM;
    prober->targets = bigger;
    bigger[prober->n_targets++] =
        (struct holder_target){.facts = facts, .kind = kind, .device = device, .inode = inode};
    return 0;
}

int gather_add_displaced(struct lock_facts *facts, struct lock_facts **ret) {
    struct lock_facts *displaced;

    if (!facts->displaced) {
        facts->displaced = calloc(LOCK_DISPLACED_MAX, sizeof *facts->displaced);
        if (!facts->displaced)
            return -ENOMEM;
    }
    if (facts->n_displaced == LOCK_DISPLACED_MAX)
        return 0;
    displaced = &facts->displaced[facts->n_displaced++];
    displaced->complete = true;
    displaced->initial_pid_namespace = facts->initial_pid_namespace;
    displaced->pid_namespace = facts->pid_namespace;
    displaced->boot_usec = facts->boot_usec;
    memcpy(displaced->boot_id, facts->boot_id, sizeof displaced->boot_id);
    memcpy(displaced->host, facts->host, sizeof displaced->host);
    *ret = displaced;
    return 1;
}

int gather_snapshot(struct prober *prober) {
    if (prober->snapshot_read)
        return 0;
    prober->snapshot_error = lock_snapshot_read(prober->proc_fd, &prober->snapshot);
    if (gather_is_scarcity(prober->snapshot_error))
        return prober->snapshot_error;
    prober->snapshot_read = true;
    return 0;
}

int gather_sockets(struct prober *prober) {
    int r;

    if (prober->sockets_read)
        return 0;
    r = unix_table_read(&prober->sockets);
    if (gather_is_scarcity(r))
        return r;
    prober->sockets_error = r;
    prober->sockets_read = true; /* without it, connect(2) still tells */
    return 0;
}

static uint64_t usec_of(const struct timespec *time) {
    return (uint64_t) time->tv_sec * USEC_PER_SEC + (uint64_t) time->tv_nsec / NSEC_PER_USEC;
}

/* A link is never followed: what it says may be a lock by itself. */
int gather_link_target(struct lock_facts *facts, enum lock_style style, char *target) {
    facts->kind = PATH_KIND_OTHER;
    value_make_printable(target);
    facts->content = strdup(target);
    if (!facts->content)
        return -ENOMEM;
    facts->content_read = true;
    if (style != LOCK_STYLE_INVALID && style != LOCK_STYLE_SYMLINK)
        return 0;
    if (style == LOCK_STYLE_SYMLINK)
        lock_record_parse_lock_link(target, &facts->record);
    else
        lock_record_parse_link(facts->path, target, &facts->record);
    if (facts->record.form != RECORD_NONE)
        facts->kind = PATH_KIND_LOCK;
    return 0;
}

static int gather_link(struct lock_facts *facts, enum lock_style style, int fd) {
    char target[LOCK_LINK_MAX + 1];
    ssize_t n = readlinkat(fd, "", target, LOCK_LINK_MAX);

    facts->kind = PATH_KIND_OTHER;
    if (n < 0)
        return gather_give_up(facts, -errno, "reading the link");
    target[n] = '\0';
    return gather_link_target(facts, style, target);
}

void gather_stat(struct lock_facts *facts, const struct stat *st) {
    facts->kind = PATH_KIND_OTHER;
    facts->device = st->st_dev;
    facts->inode = st->st_ino;
    facts->mode = st->st_mode;
    facts->uid = st->st_uid;
    facts->links = (unsigned) st->st_nlink;
    facts->size_bytes = (uint64_t) st->st_size;
    facts->modified_usec = usec_of(&st->st_mtim);
    facts->changed_usec = usec_of(&st->st_ctim);
}

static int gather_file(struct prober *prober, const struct probe_request *request, struct lock_facts *facts,
                       int dir_fd, const char *name, int fd) {
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return gather_give_up(facts, -errno, "looking at it");
    gather_stat(facts, &st);
    r = gather_layers(prober, facts, fd);
    if (r < 0)
        return r;
    switch (st.st_mode & S_IFMT) {
    case S_IFSOCK:
        return gather_socket(prober, request, facts, fd);
    case S_IFREG:
        return gather_regular(prober, request, facts, dir_fd, name, fd);
    case S_IFLNK:
        return gather_link(facts, request->style, fd);
    default:
        return 0;
    }
}

int gather_path(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
    const char *name;
    int r;

    facts->path = strdup(request->path);
    if (!facts->path)
        return -ENOMEM;
    facts->kind = PATH_KIND_ABSENT;
    facts->complete = true;
    facts->initial_pid_namespace = prober->initial_pid_namespace;
    facts->pid_namespace = prober->pid_namespace;
    facts->hidden = prober->hidden;
    facts->boot_usec = procfs_ticks_to_realtime_usec(0);
    memcpy(facts->boot_id, prober->boot_id, sizeof facts->boot_id);
    memcpy(facts->host, prober->host, sizeof facts->host);

    if (!request->by_fd && request->socket_inode != 0)
        return gather_unix_socket(prober, request, facts);
    if (!request->by_fd && request->path[0] == '@')
        return gather_abstract(prober, request, facts);
    r = gather_remote(prober, request, facts);
    if (r != 0)
        return r < 0 ? r : 0;
    if (request->by_fd)
        return gather_file(prober, request, facts, -EBADF, request->path, request->fd);
    r = lock_open_parent(request->path, &dir_fd, &name);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return gather_give_up(facts, r, "opening its directory");
    if (!*name)
        return gather_give_up(facts, -EISDIR, "the path ends in a slash");
    fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : gather_give_up(facts, -errno, "opening it");
    return gather_file(prober, request, facts, dir_fd, name, fd);
}
