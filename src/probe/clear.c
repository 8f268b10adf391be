/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/clear.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "lock/describe.h"
#include "probe/probe-cache.h"

/* Gathers and judges again. */
static int judge_again(const struct clear_request *request, struct err *err) {
    const struct lock_facts *before = request->facts;
    struct probe_request probe = {.path = before->path,
                                  .style = request->style,
                                  .effort = request->effort,
                                  .may_try = request->may_try,
                                  .dead = request->dead};
    struct lock_facts *now;
    struct lock_judgement judgement;
    bool same;
    int r;

    r = lock_probe_cached(request->cache, &probe, 1, &now);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot look at %s again before clearing it: %m", before->path);
    judgement = lock_judge(now, request->context);
    same = lock_facts_same(before, now) && judgement.verdict == VERDICT_STALE;
    lock_facts_free_array(now, 1);
    if (!same)
        return err_set(err, ESTALE, "Changed",
                       "%s changed while it was looked at; nothing was removed: try again", before->path);
    return 0;
}

/* st_ctime is left out: a rename changes it. */
static bool is_judged_file(const struct lock_facts *facts, const struct stat *st) {
    return (st->st_mode & S_IFMT) == (facts->mode & S_IFMT) && st->st_dev == facts->device &&
           st->st_ino == facts->inode && st->st_uid == facts->uid &&
           (uint64_t) st->st_size == facts->size_bytes &&
           (uint64_t) st->st_mtim.tv_sec * USEC_PER_SEC + (uint64_t) st->st_mtim.tv_nsec / NSEC_PER_USEC ==
               facts->modified_usec;
}

/* Takes NAME's locks of every family, and sees that it is still the path's file. Returns the descriptor. */
static int claim_file(int dir_fd, const char *name, const char *path, struct err *err) {
    struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET}; /* keeps out whoever locks for writing,
                                                                       and needs no permission to write */
    _cleanup_close_ int fd = -EBADF;
    struct stat by_fd, by_path;

    fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ESTALE, "Changed", "%s was removed by somebody else just now", path);
    if (fd < 0)
        return err_set(err, errno, "Failed", "cannot open %s to clear it: %m", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        if (errno == EWOULDBLOCK || errno == EACCES)
            return err_set(err, EBUSY, "Held", "%s was locked by somebody just now; nothing was removed",
                           path);
        return err_set(err, errno, "Failed", "cannot lock %s to clear it: %m", path);
    }
    if (fstat(fd, &by_fd) < 0 || fstatat(dir_fd, name, &by_path, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(by_fd.st_mode) || !stat_same_inode(&by_fd, &by_path))
        return err_set(err, ESTALE, "Changed", "%s was replaced while it was looked at; nothing was removed",
                       path);
    return TAKE_FD(fd);
}

/* A read lease (fcntl(2), F_SETLEASE): nobody has the file open for writing, and whoever opens it so waits
 * until we have closed it. Most daemons write their PID file without any lock. Returns 1; 0 where there are
 * no leases. */
static int take_lease(int fd, const char *path, struct err *err) {
    /* The signal that tells of a waiting writer: instead of SIGIO, which kills, one that is ignored. */
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return 0;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        return 1;
    if (errno == EAGAIN)
        return err_set(err, EBUSY, "Held", "somebody has %s open for writing; nothing was removed", path);
    return 0; /* a file system without leases, or neither the file's owner nor CAP_LEASE */
}

/* A link still has the target that was judged. */
static bool is_judged_target(const struct lock_facts *facts, int dir_fd, const char *name) {
    char target[LOCK_LINK_MAX + 1];
    ssize_t n;

    if (!S_ISLNK(facts->mode))
        return true;
    n = readlinkat(dir_fd, name, target, LOCK_LINK_MAX);
    if (n < 0 || !facts->content)
        return false;
    target[n] = '\0';
    value_make_printable(target);
    return strcmp(target, facts->content) == 0;
}

static bool is_judged_name(const struct lock_facts *facts, int dir_fd, const char *name) {
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_judged_file(facts, &st) &&
           is_judged_target(facts, dir_fd, name);
}

/* Takes the file away, looks at what was taken, and only then removes it: what came in between is put back.
 * `fd` is leased, or -EBADF. */
static int remove_judged(const struct lock_facts *facts, int dir_fd, const char *name, int fd,
                         struct err *err) {
    unsigned long long random;
    char aside[32];
    int error = 0;

    if (!is_judged_name(facts, dir_fd, name))
        return err_set(err, ESTALE, "Changed", "%s was replaced while it was looked at; nothing was removed",
                       facts->path);
    if (getrandom(&random, sizeof random, 0) != (ssize_t) sizeof random)
        return err_set(err, EIO, "Failed", "cannot draw a random number");
    snprintf(aside, sizeof aside, ".latchd-%016llx", random);
    if (renameat2(dir_fd, name, dir_fd, aside, RENAME_NOREPLACE) < 0 &&
        ((errno != EINVAL && errno != ENOSYS) || renameat(dir_fd, name, dir_fd, aside) < 0)) {
        if (errno == ENOENT)
            return err_set(err, ESTALE, "Changed", "%s was removed by somebody else just now", facts->path);
        return err_set(err, errno, "Failed", "cannot remove %s, whose owner is dead: %m", facts->path);
    }
    if (is_judged_name(facts, dir_fd, aside) && (fd < 0 || fcntl(fd, F_GETLEASE) == F_RDLCK)) {
        if (unlinkat(dir_fd, aside, 0) == 0)
            return 1;
        error = errno;
    }
    if (renameat2(dir_fd, aside, dir_fd, name, RENAME_NOREPLACE) < 0 &&
        ((errno != EINVAL && errno != ENOSYS) || linkat(dir_fd, aside, dir_fd, name, 0) < 0 ||
         unlinkat(dir_fd, aside, 0) < 0))
        return err_set(
            err, ESTALE, "Changed",
            "%s was replaced twice while it was looked at; one of the files is now %s beside it: see which "
            "daemon lives",
            facts->path, aside);
    if (error > 0)
        return err_set(err, error, error == EACCES || error == EPERM ? "NotPermitted" : "Failed",
                       "cannot remove %s, whose owner is dead: %m", facts->path);
    return err_set(err, ESTALE, "Changed",
                   "%s was replaced or written while it was looked at; nothing was removed", facts->path);
}

static int clear_pidfile(const struct clear_request *request, int dir_fd, const char *name, struct err *err) {
    const struct lock_facts *facts = request->facts;
    _cleanup_free_ char *content = NULL;
    _cleanup_close_ int fd = -EBADF;
    struct lock_record record = {0};
    struct stat st;
    int leased, r;

    /* Any file may begin with a number; the other forms are nothing else by chance. */
    if (request->style == LOCK_STYLE_INVALID && facts->record.form == RECORD_PLAIN &&
        !lock_name_tells(facts->path))
        return err_set(err, EPERM, "NotClearable",
                       "%s names a dead PID, but its name says neither PID file nor lock: if it is one, "
                       "remove it by hand",
                       facts->path);
    if (request->dry_run)
        return 1;
    fd = claim_file(dir_fd, name, facts->path, err);
    if (fd < 0)
        return fd;
    leased = take_lease(fd, facts->path, err);
    if (leased < 0)
        return leased;
    /* The same bytes as judged, while we have it. */
    r = fd_read_all(fd, facts->size_bytes, &content, NULL);
    if (r >= 0)
        lock_record_parse(facts->path, content, &record);
    if (r < 0 || fstat(fd, &st) < 0 || !is_judged_file(facts, &st) || record.pid != facts->recorded.pid)
        return err_set(err, ESTALE, "Changed",
                       "%s was written anew while it was looked at; nothing was removed", facts->path);
    return remove_judged(facts, dir_fd, name, leased ? fd : -EBADF, err);
}

/* Takes the lock that guards the socket. It has to be in nobody's way by itself, for not every lock is an
 * flock. 0: there is none; 1: taken (not on a dry run), for as long as *ret_fd is open. */
static int claim_guard(const struct clear_request *request, int *ret_fd, struct err *err) {
    _cleanup_free_ char *path = lock_guard_path(request->facts->path);
    struct probe_request probe = {.path = path, .style = LOCK_STYLE_INVALID};
    _cleanup_close_ int dir_fd = -EBADF;
    struct lock_judgement judgement;
    struct lock_facts *guard;
    const char *name;
    int r;

    if (!path)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    r = lock_probe_cached(request->cache, &probe, 1, &guard);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot look at %s: %m", path);
    judgement = lock_judge(guard, request->context);
    lock_facts_free_array(guard, 1);
    if (judgement.verdict == VERDICT_ABSENT)
        return 0;
    if (judgement.verdict != VERDICT_FREE && judgement.verdict != VERDICT_STALE)
        return err_set(err, EBUSY, "Held", "%s is guarded by %s, which is %s (%s); nothing was removed",
                       request->facts->path, path, verdict_to_string(judgement.verdict),
                       verdict_reason_to_string(judgement.reason));
    if (request->dry_run)
        return 1;
    r = lock_open_parent(path, &dir_fd, &name);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot open the directory of %s: %m", path);
    r = claim_file(dir_fd, name, path, err);
    if (r < 0)
        return r;
    *ret_fd = r;
    return 1;
}

static int clear_socket(const struct clear_request *request, int dir_fd, const char *name, struct err *err) {
    const struct lock_facts *facts = request->facts;
    _cleanup_close_ int own_proc_fd = request->cache ? -EBADF : procfs_open(), guard = -EBADF;
    int proc_fd = request->cache ? request->cache->proc_fd : own_proc_fd, r;
    struct peer_facts peer;

    if (proc_fd < 0)
        return err_set(err, -proc_fd, "Failed", "cannot open /proc: %m");
    r = claim_guard(request, &guard, err);
    if (r < 0)
        return r;
    if (r == 0 && !request->service_locked)
        return err_set(
            err, EPERM, "NotClearable",
            "%s is stale, but no lock file guards it and no service of latchd owns it: a daemon that "
            "starts just now could lose its new socket. See that none does, then remove it by hand",
            facts->path);
    if (request->dry_run)
        return 1;
    r = peer_look(proc_fd, dir_fd, name, &peer);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot connect to %s before clearing it: %m", facts->path);
    if (peer.answer != PEER_REFUSED)
        return err_set(err, ESTALE, "Changed", "%s came to life while it was looked at; nothing was removed",
                       facts->path);
    return remove_judged(facts, dir_fd, name, -EBADF, err);
}

/* A link cannot be locked, nor leased. What can be is its directory: that keeps other cleaners off, who would
 * take away what has come since they judged. Nobody else is kept off; whoever creates the link anew meanwhile
 * is seen by remove_judged(), and gets it back. */
static int claim_directory(int dir_fd, const char *path, struct err *err) {
    _cleanup_close_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, errno, "Failed", "cannot open the directory of %s to lock it: %m", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(err, EBUSY, "Held",
                           "somebody has locked the directory of %s, maybe to clear it; nothing was removed: "
                           "try again",
                           path);
        return err_set(err, errno, "Failed", "cannot lock the directory of %s: %m", path);
    }
    return TAKE_FD(fd);
}

int lock_clear(const struct clear_request *request, struct err *err) {
    const struct lock_facts *facts = request->facts;
    struct lock_judgement judgement = lock_judge(facts, request->context);
    _cleanup_free_ char *summary = NULL;
    _cleanup_close_ int dir_fd = -EBADF, guard_fd = -EBADF;
    const char *name;
    int r;

    switch (judgement.verdict) {
    case VERDICT_ABSENT:
    case VERDICT_FREE:
        return 0;
    case VERDICT_STALE:
        break;
    case VERDICT_ORPHANED:
        summary = lock_describe(facts, request->context, &judgement);
        return err_set(
            err, EBUSY, "Held",
            "%s is kept by a dead owner's leftovers, and a leftover is ended only for a service whose "
            "configuration proves it to be one: %s",
            facts->path, summary ? summary : "");
    case VERDICT_HELD:
        summary = lock_describe(facts, request->context, &judgement);
        return err_set(err, EBUSY, "Held", "%s is held and is not touched: %s", facts->path,
                       summary ? summary : "");
    default:
        summary = lock_describe(facts, request->context, &judgement);
        return err_set(err, EPERM, "NotClearable", "%s is not touched: %s", facts->path,
                       summary ? summary : "");
    }
    r = lock_open_parent(facts->path, &dir_fd, &name);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot open the directory of %s: %m", facts->path);
    if (S_ISLNK(facts->mode) && !request->dry_run) {
        guard_fd = claim_directory(dir_fd, facts->path, err);
        if (guard_fd < 0)
            return guard_fd;
    }
    r = judge_again(request, err);
    if (r < 0)
        return r;
    if (facts->kind == PATH_KIND_SOCKET)
        return clear_socket(request, dir_fd, name, err);
    if (!S_ISLNK(facts->mode))
        return clear_pidfile(request, dir_fd, name, err);
    return request->dry_run ? 1 : remove_judged(facts, dir_fd, name, -EBADF, err);
}
