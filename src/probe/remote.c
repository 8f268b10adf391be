/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/remote.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define LINKS_MAX 40 /* as the kernel follows (path_resolution(7)) */
#define REAP_TRIES 8

static bool may_wait(const struct mount_row *mount) {
    return mount_type_is_remote(mount->facts.type) || mount_type_is_automatic(mount->facts.type);
}

/* A path on its way: `done` has no link in it and no slash at its end ("" is the root), `rest` is still to be
 * gone. */
struct walk {
    char done[PATH_MAX];
    char rest[2 * PATH_MAX];
};

/* Not getcwd(3), which walks upwards when the directory is out of the root's reach. */
static int walk_begin(struct walk *walk, const char *path) {
    char cwd[PATH_MAX];

    walk->done[0] = '\0';
    if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
    if (path[0] == '/')
        snprintf(walk->rest, sizeof walk->rest, "%s", path);
    else if (syscall(SYS_getcwd, cwd, sizeof cwd) > 0 && cwd[0] == '/')
        snprintf(walk->rest, sizeof walk->rest, "%s/%s", cwd, path);
    else
        return -ENOENT;
    return 0;
}

static void walk_up(struct walk *walk) {
    char *slash = strrchr(walk->done, '/');

    if (slash)
        *slash = '\0';
}

/* Takes the next name from `rest` to `done`. 0: there is none. *ret_last: nothing stands behind it, not even
 * a slash. */
static int walk_step(struct walk *walk, bool *ret_last) {
    char *name = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(name, "/"), done = strlen(walk->done);

    if (length == 0)
        return 0;
    *ret_last = name[length] == '\0';
    if (length == 2 && strncmp(name, "..", 2) == 0)
        walk_up(walk);
    else if (length > 1 || *name != '.') {
        if (done + 1 + length >= sizeof walk->done)
            return -ENAMETOOLONG;
        walk->done[done] = '/';
        memcpy(walk->done + done + 1, name, length);
        walk->done[done + 1 + length] = '\0';
    }
    memmove(walk->rest, name + length, strlen(name + length) + 1);
    return 1;
}

/* `done` is a link to `target`. */
static int walk_follow(struct walk *walk, const char *target) {
    char rest[sizeof walk->rest];

    if ((size_t) snprintf(rest, sizeof rest, "%s%s", target, walk->rest) >= sizeof rest)
        return -ENAMETOOLONG;
    memcpy(walk->rest, rest, sizeof rest);
    if (target[0] == '/')
        walk->done[0] = '\0';
    else
        walk_up(walk);
    return 0;
}

/* A link of proc(5) that stands for an object, not for a path: what readlink(2) says of it is only a name. */
static bool is_magic(const struct mount_row *mount, const char *target) {
    return strcmp(mount->facts.type, "proc") == 0 && (target[0] == '/' || strchr(target, ':'));
}

/* What the kernel will refuse by itself (too long, too many links, nothing there) waits for nobody. */
enum remote_way remote_find_way(const struct mount_table *mounts, const char *path,
                                const struct mount_row **ret_mount) {
    struct walk walk;
    unsigned links = 0;
    bool last = false;

    *ret_mount = NULL;
    if (!mounts->any_remote && strncmp(path, "/proc/", 6) != 0)
        return REMOTE_WAY_LOCAL;
    if (walk_begin(&walk, path) < 0)
        return REMOTE_WAY_UNSEEN;
    while (walk_step(&walk, &last) > 0) {
        const struct mount_row *mount = mount_find_path(mounts, walk.done[0] ? walk.done : "/");
        char target[PATH_MAX];
        ssize_t n;

        if (!mount)
            return REMOTE_WAY_UNSEEN;
        *ret_mount = mount;
        if (may_wait(mount) && (last || strcmp(mount->point, "/") != 0))
            return REMOTE_WAY_FAR;
        if (last)
            return REMOTE_WAY_LOCAL;
        n = readlink(walk.done[0] ? walk.done : "/", target, sizeof target - 1);
        if (n < 0 && errno != EINVAL)
            return REMOTE_WAY_LOCAL;
        if (n < 0)
            continue;
        target[n] = '\0';
        if (is_magic(mount, target))
            return REMOTE_WAY_UNSEEN;
        if (++links > LINKS_MAX || walk_follow(&walk, target) < 0)
            return REMOTE_WAY_LOCAL;
    }
    return REMOTE_WAY_LOCAL;
}

enum remote_way remote_find_way_of_fd(const struct mount_table *mounts, int fd,
                                      const struct mount_row **ret_mount) {
    int mount_id = mount_id_of_fd(fd);

    *ret_mount = mount_id < 0 ? NULL : mount_find_id(mounts, mount_id);
    if (!*ret_mount)
        return REMOTE_WAY_UNSEEN;
    return may_wait(*ret_mount) ? REMOTE_WAY_FAR : REMOTE_WAY_LOCAL;
}

/* ---- the child: only functions that are safe after fork(2) (signal-safety(7)) ---- */

static int look_failed(struct remote_answer *answer, enum remote_step step) {
    answer->step = step;
    answer->error = -errno;
    return -errno;
}

/* Opens it anew through the descriptor. F_GETLK takes nothing (fcntl(2)), and this process has no lock that
 * it would pass over; F_OFD_GETLK has PID -1 in every answer of a server (fs/locks.c, locks_translate_pid()).
 * flock(2) would have to take the lock to learn of it, on NFS on the server, so it is not tried. */
static int look_into_regular(int path_fd, struct remote_answer *answer) {
    char self[64];
    ssize_t n;
    int fd;

    snprintf(self, sizeof self, "/proc/self/fd/%d", path_fd); /* allocates nothing for a number */
    fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return look_failed(answer, REMOTE_STEP_READ);
    answer->range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_GETLK, &answer->range) < 0)
        answer->range_error = -errno;
    n = pread(fd, answer->content, sizeof answer->content, 0);
    if (n < 0)
        return look_failed(answer, REMOTE_STEP_READ);
    answer->content_length = (uint32_t) n;
    return 0; /* the descriptor goes with the process: closing it may wait for the server, too */
}

static int look_into_link(int path_fd, struct remote_answer *answer) {
    ssize_t n = readlinkat(path_fd, "", answer->content, sizeof answer->content);

    if (n < 0)
        return look_failed(answer, REMOTE_STEP_READ);
    answer->content_length = (uint32_t) n;
    return 0;
}

static bool is_local(const struct mount_table *mounts, const struct remote_answer *answer) {
    const struct mount_row *mount = answer->mount_id < 0 ? NULL : mount_find_id(mounts, answer->mount_id);

    /* What has been mounted since, or stands in another mount namespace, is told by its magic number. */
    return mount ? !may_wait(mount) : answer->magic != 0 && !mount_magic_is_remote(answer->magic);
}

static int look(const struct mount_table *mounts, const char *path, int fd, struct remote_answer *answer) {
    struct statfs fs;

    if (path)
        fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return look_failed(answer, REMOTE_STEP_OPEN);
    answer->mount_id = mount_id_of_fd(fd);
    if (fstatfs(fd, &fs) == 0)
        answer->magic = (uint64_t) fs.f_type;
    answer->local = is_local(mounts, answer);
    if (answer->local)
        return 0;
    if (fstat(fd, &answer->st) < 0)
        return look_failed(answer, REMOTE_STEP_STAT);
    if (S_ISREG(answer->st.st_mode))
        return look_into_regular(fd, answer);
    return S_ISLNK(answer->st.st_mode) ? look_into_link(fd, answer) : 0;
}

/* Whoever waits for the end of our output must not wait for this process: it keeps nothing but its question
 * and the pipe. */
static void leave_all_but(int a, int b) {
    int low = a < b ? a : b, high = a < b ? b : a;

    if (low > 0)
        (void) close_range(0, (unsigned) low - 1, 0);
    if (high - low > 1)
        (void) close_range((unsigned) low + 1, (unsigned) high - 1, 0);
    (void) close_range((unsigned) high + 1, ~0U, 0);
}

_Noreturn static void be_child(const struct mount_table *mounts, const char *path, int fd, int out_fd) {
    struct remote_answer answer = {.step = REMOTE_STEP_DONE, .mount_id = -1};

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    leave_all_but(out_fd, path ? out_fd : fd);
    (void) look(mounts, path, fd, &answer);
    (void) fd_write_all(out_fd, &answer, sizeof answer);
    _exit(0);
}

/* ---- the parent ---- */

/* The process is our own child and not waited for yet: its number cannot be another's. */
static void end_child(pid_t pid) {
    useconds_t pause_usec = 100;

    (void) kill(pid, SIGKILL);
    for (unsigned i = 0; i < REAP_TRIES && waitpid(pid, NULL, WNOHANG) == 0; i++, pause_usec *= 2)
        (void) usleep(pause_usec);
}

static int read_answer(int fd, uint64_t timeout_usec, struct remote_answer *ret) {
    const uint64_t until_usec = now_usec(CLOCK_MONOTONIC) + timeout_usec;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    struct remote_answer answer;
    size_t have = 0;

    while (have < sizeof answer) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        uint64_t left_msec = now < until_usec ? (until_usec - now) / USEC_PER_MSEC + 1 : 0;
        ssize_t n;
        int r = left_msec == 0 ? 0 : poll(&pollfd, 1, left_msec < INT_MAX ? (int) left_msec : INT_MAX);

        if (r == 0)
            return -ETIMEDOUT;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r < 0)
            continue;
        n = read(fd, (char *) &answer + have, sizeof answer - have);
        if (n == 0)
            return -EIO;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            have += (size_t) n;
    }
    *ret = answer;
    return 0;
}

int remote_ask(const struct mount_table *mounts, const char *path, int fd, uint64_t timeout_usec,
               struct remote_answer *ret) {
    _cleanup_close_ int in_fd = -EBADF, out_fd = -EBADF;
    int ends[2], r;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    in_fd = ends[0];
    out_fd = ends[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        be_child(mounts, path, fd, out_fd);
    out_fd = fd_close(out_fd);
    r = read_answer(in_fd, timeout_usec, ret);
    end_child(pid);
    return r;
}

/* NFS version 3 asks the server's lock manager (NLM) for flock and fcntl locks alike, unless mounted with
 * nolock or local_lock= (nfs(5)). Version 4 answers F_GETLK by itself while it has a delegation
 * (fs/nfs/file.c, do_getlk()): another machine's shared lock would be missed. Of the others it is not known.
 */
bool remote_is_arbitrated(const struct mount_row *mount) {
    const char *version, *local;
    size_t version_length, local_length, length;

    if (strcmp(mount->facts.type, "nfs") != 0)
        return false;
    version = mount_option_find(mount->options, "vers", &version_length);
    local = mount_option_find(mount->options, "local_lock", &local_length);
    return version && version_length == 1 && *version == '3' && local && local_length == 4 &&
           strncmp(local, "none", 4) == 0 && !mount_option_find(mount->options, "nolock", &length);
}
