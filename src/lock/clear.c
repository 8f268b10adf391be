/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/clear.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "lock/describe.h"
#include "lock/probe.h"

/* Gathers and judges again. */
static int judge_again(const struct clear_request *request, struct err *err) {
    const struct lock_facts *before = request->facts;
    struct probe_request probe = {.path = before->path, .style = request->style};
    struct lock_facts *now;
    struct lock_judgement judgement;
    bool same;
    int r;

    r = lock_probe(&probe, 1, &now);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot look at %s again before clearing it: %m", before->path);
    judgement = lock_judge(now, request->context);
    same = lock_facts_same(before, now) && judgement.verdict == VERDICT_STALE;
    lock_facts_free_array(now, 1);
    if (!same)
        return err_set(err, ESTALE, "Changed", "%s changed while it was looked at; nothing was removed: try again",
                       before->path);
    return 0;
}

static bool is_judged_file(const struct lock_facts *facts, const struct stat *st) {
    return st->st_dev == facts->device && st->st_ino == facts->inode && st->st_uid == facts->uid &&
           (uint64_t) st->st_size == facts->size_bytes &&
           (uint64_t) st->st_mtim.tv_sec * USEC_PER_SEC + (uint64_t) st->st_mtim.tv_nsec / NSEC_PER_USEC ==
               facts->modified_usec;
}

/* Takes an exclusive flock on NAME, and sees that it is still the path's file. Returns the descriptor. */
static int claim_file(int dir_fd, const char *name, const char *path, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    struct stat by_fd, by_path;

    fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno, "Failed", "cannot open %s to clear it: %m", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, errno == EWOULDBLOCK ? EBUSY : errno, "Held",
                       "%s was locked by somebody just now; nothing was removed", path);
    if (fstat(fd, &by_fd) < 0 || fstatat(dir_fd, name, &by_path, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(by_fd.st_mode) || !stat_same_inode(&by_fd, &by_path))
        return err_set(err, ESTALE, "Changed", "%s was replaced while it was looked at; nothing was removed", path);
    return TAKE_FD(fd);
}

static int clear_pidfile(const struct clear_request *request, struct err *err) {
    const struct lock_facts *facts = request->facts;
    _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
    _cleanup_free_ char *content = NULL;
    const char *name;
    struct stat st;
    int r;

    r = lock_open_parent(facts->path, &dir_fd, &name);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot open the directory of %s: %m", facts->path);
    fd = claim_file(dir_fd, name, facts->path, err);
    if (fd < 0)
        return fd;
    /* The same bytes as judged, while we have it. */
    r = fd_read_all(fd, facts->size_bytes, &content, NULL);
    if (r < 0 || fstat(fd, &st) < 0 || !is_judged_file(facts, &st) ||
        lock_parse_pid_content(content) != facts->recorded.pid)
        return err_set(err, ESTALE, "Changed", "%s was written anew while it was looked at; nothing was removed",
                       facts->path);
    if (!request->dry_run && unlinkat(dir_fd, name, 0) < 0)
        return err_set(err, errno, "Failed", "cannot remove %s, which names dead PID %d: %m", facts->path,
                       (int) facts->recorded.pid);
    return 1;
}

static int clear_socket(const struct clear_request *request, struct err *err) {
    const struct lock_facts *facts = request->facts;
    _cleanup_close_ int dir_fd = -EBADF, proc_fd = procfs_open(), guard = -EBADF;
    _cleanup_free_ char *guard_name = NULL, *guard_path = NULL;
    struct peer_facts peer;
    const char *name;
    struct stat st;
    int r;

    if (proc_fd < 0)
        return err_set(err, -proc_fd, "Failed", "cannot open /proc: %m");
    r = lock_open_parent(facts->path, &dir_fd, &name);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot open the directory of %s: %m", facts->path);
    if (asprintf(&guard_name, "%s.lock", name) < 0 || asprintf(&guard_path, "%s.lock", facts->path) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    if (fstatat(dir_fd, guard_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        guard = claim_file(dir_fd, guard_name, guard_path, err);
        if (guard < 0)
            return guard;
    } else if (!request->service_locked)
        return err_set(err, EPERM, "NotClearable",
                       "%s is stale, but no lock file guards it and no service of latchd owns it: a daemon that "
                       "starts just now could lose its new socket. See that none does, then remove it by hand",
                       facts->path);
    r = peer_look(proc_fd, dir_fd, name, &peer);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot connect to %s before clearing it: %m", facts->path);
    if (peer.answer != PEER_REFUSED || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISSOCK(st.st_mode) || !is_judged_file(facts, &st))
        return err_set(err, ESTALE, "Changed", "%s came to life while it was looked at; nothing was removed",
                       facts->path);
    if (!request->dry_run && unlinkat(dir_fd, name, 0) < 0)
        return err_set(err, errno, "Failed", "cannot remove %s, on which nobody listens: %m", facts->path);
    return 1;
}

int lock_clear(const struct clear_request *request, struct err *err) {
    const struct lock_facts *facts = request->facts;
    struct lock_judgement judgement = lock_judge(facts, request->context);
    _cleanup_free_ char *summary = NULL;
    int r;

    switch (judgement.verdict) {
    case VERDICT_ABSENT:
    case VERDICT_FREE:
        return 0;
    case VERDICT_STALE:
        break;
    case VERDICT_HELD:
    case VERDICT_ORPHANED:
        summary = lock_describe(facts, request->context, &judgement);
        return err_set(err, EBUSY, "Held", "%s is held and is not touched: %s", facts->path, summary ? summary : "");
    default:
        summary = lock_describe(facts, request->context, &judgement);
        return err_set(err, EPERM, "NotClearable", "%s is not touched: %s", facts->path, summary ? summary : "");
    }
    r = judge_again(request, err);
    if (r < 0)
        return r;
    return facts->kind == PATH_KIND_SOCKET ? clear_socket(request, err) : clear_pidfile(request, err);
}
