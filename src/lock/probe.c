/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/probe.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/value.h"
#include "lock/holder.h"
#include "lock/snapshot.h"
#include "socket/unix-diag.h"

#define CONTENT_MAX 4096
#define FLOCK_TRIES 3
#define FLOCK_PAUSE_USEC 1000
/* A file that is older than a process by less than this may still be written by it. */
#define NAMESAKE_MARGIN_USEC (2 * USEC_PER_SEC)

struct prober {
    int proc_fd;
    bool initial_pid_namespace;
    char boot_id[37];
    struct lock_snapshot snapshot; /* read when first needed */
    bool snapshot_read;
    int snapshot_error;
    struct unix_table sockets; /* likewise */
    bool sockets_read;
    struct holder_target *targets;
    size_t n_targets;
};

static void prober_done(struct prober *prober) {
    fd_close(prober->proc_fd);
    lock_snapshot_done(&prober->snapshot);
    unix_table_done(&prober->sockets);
    free(prober->targets);
}

void lock_facts_free_array(struct lock_facts *facts, size_t n) {
    for (size_t i = 0; facts && i < n; i++)
        lock_facts_done(&facts[i]);
    free(facts);
}

pid_t lock_parse_pid_content(const char *content) {
    char digits[16];
    size_t length;
    pid_t pid;

    content += strspn(content, " \t");
    length = strspn(content, "0123456789");
    if (length == 0 || length >= sizeof digits ||
        (content[length] && !isspace((unsigned char) content[length])))
        return 0;
    memcpy(digits, content, length);
    digits[length] = '\0';
    return value_parse_pid(digits, &pid) < 0 ? 0 : pid;
}

int lock_open_parent(const char *path, int *ret_dir_fd, const char **ret_name) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = NULL;
    int fd;

    if (!slash)
        dir = strdup(".");
    else
        dir = slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
    if (!dir)
        return -ENOMEM;
    fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_dir_fd = fd;
    *ret_name = slash ? slash + 1 : path;
    return 0;
}

static bool is_scarcity(int error) {
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/* Records what kept us from looking on; the caller's verdict will be "unknown" and say it. */
static int give_up(struct lock_facts *facts, int error, const char *subject) {
    if (is_scarcity(error))
        return error;
    facts->error = -error;
    free(facts->error_subject);
    facts->error_subject = strdup(subject);
    return facts->error_subject ? 0 : -ENOMEM;
}

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

/* Whether a flock could be had: both kinds are tried, for a shared one keeps only exclusive ones out. Another
 * prober may be trying at the same moment, so what is refused is asked for again. */
static enum family_state try_flock(int fd) {
    enum family_state state = FAMILY_UNKNOWN;

    for (unsigned i = 0; i < FLOCK_TRIES && state != FAMILY_FREE; i++) {
        if (i > 0)
            (void) usleep(FLOCK_PAUSE_USEC);
        if (flock(fd, LOCK_SH | LOCK_NB) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            state = FAMILY_FREE;
        else
            state = errno == EWOULDBLOCK ? FAMILY_HELD : FAMILY_UNKNOWN;
        (void) flock(fd, LOCK_UN);
    }
    return state;
}

/* Asks the kernel itself, through `fd`, about what the list may hide. */
static void try_families(struct lock_facts *facts, int fd) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (facts->families[LOCK_FAMILY_FLOCK] != FAMILY_HELD)
        facts->families[LOCK_FAMILY_FLOCK] = try_flock(fd);
    /* fcntl(2): an OFD query conflicts with POSIX locks of everybody, our own process included, and with
     * other descriptions' OFD locks; l_pid is -1 for the latter. It takes nothing. */
    if (fcntl(fd, F_OFD_GETLK, &range) < 0)
        return;
    if (range.l_type == F_UNLCK) {
        for (enum lock_family f = LOCK_FAMILY_POSIX; f <= LOCK_FAMILY_OFD; f++)
            if (facts->families[f] != FAMILY_HELD)
                facts->families[f] = FAMILY_FREE;
    } else
        facts->families[range.l_pid == -1 ? LOCK_FAMILY_OFD : LOCK_FAMILY_POSIX] = FAMILY_HELD;
}

static bool any_family(const struct lock_facts *facts, enum family_state state) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (facts->families[f] == state)
            return true;
    return false;
}

static void set_families(struct lock_facts *facts, enum family_state state) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts->families[f] = state;
}

/* What /proc/locks says of the file. *ret_whole: it says all there is to say, so that a missing row means
 * that there is no lock. It does so in the initial PID namespace, and where the file's device is known. */
static int gather_claims(struct prober *prober, struct lock_facts *facts, const struct mount_facts *mount,
                         bool *ret_whole) {
    if (!prober->snapshot_read) {
        prober->snapshot_error = lock_snapshot_read(prober->proc_fd, &prober->snapshot);
        if (is_scarcity(prober->snapshot_error))
            return prober->snapshot_error;
        prober->snapshot_read = true;
    }
    *ret_whole = prober->initial_pid_namespace && prober->snapshot_error == 0 && mount->type[0];
    set_families(facts, *ret_whole ? FAMILY_FREE : FAMILY_UNKNOWN);
    for (size_t i = 0; i < prober->snapshot.n; i++) {
        const struct lock_row *row = &prober->snapshot.rows[i];
        int r;

        if (row->inode != facts->inode || (row->device != mount->device && row->device != facts->device))
            continue;
        if (!row->claim.waiting)
            facts->families[row->claim.family] = FAMILY_HELD;
        r = add_claim(facts, &row->claim);
        if (r < 0)
            return r;
    }
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

static int add_target(struct prober *prober, struct lock_facts *facts, bool socket, dev_t device,
                      ino_t inode) {
    struct holder_target *bigger = reallocarray(prober->targets, prober->n_targets + 1, sizeof *bigger);

    if (!bigger)
        return -ENOMEM;
    prober->targets = bigger;
    bigger[prober->n_targets++] =
        (struct holder_target){.facts = facts, .socket = socket, .device = device, .inode = inode};
    return 0;
}

/* The listener bound to the socket file `fd` (O_PATH) stands for. */
static int gather_listener(struct prober *prober, struct lock_facts *facts, int fd, const struct stat *st) {
    const struct unix_socket *socket;
    struct mount_facts mount = {.device = st->st_dev};

    facts->has_socket = true;
    if (!prober->sockets_read) {
        int r = unix_table_read(&prober->sockets);

        if (is_scarcity(r))
            return r;
        prober->sockets_read = true; /* without it, connect(2) still tells */
    }
    (void) mount_of_fd(prober->proc_fd, fd, &mount);
    socket = unix_table_find(&prober->sockets, mount.device, st->st_ino);
    if (!socket)
        return 0;
    facts->listener.found = true;
    facts->listener.listening = socket->listening;
    facts->listener.inode = socket->inode;
    facts->listener.queue = socket->queue;
    facts->listener.backlog = socket->backlog;
    return add_target(prober, facts, true, 0, socket->inode);
}

/* A lock file PATH.lock guards the socket PATH, where there is one. */
static int gather_guarded_socket(struct prober *prober, struct lock_facts *facts, int dir_fd,
                                 const char *name) {
    static const char suffix[] = ".lock";
    _cleanup_close_ int fd = -EBADF;
    char socket_name[NAME_MAX + 1];
    size_t length = strlen(name);
    struct stat st;

    if (length < sizeof suffix || length > NAME_MAX ||
        strcmp(name + length - (sizeof suffix - 1), suffix) != 0)
        return 0;
    memcpy(socket_name, name, length - (sizeof suffix - 1));
    socket_name[length - (sizeof suffix - 1)] = '\0';
    fd = openat(dir_fd, socket_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return 0;
    return gather_listener(prober, facts, fd, &st);
}

static int gather_content(struct lock_facts *facts, int fd) {
    _cleanup_free_ char *content = calloc(1, CONTENT_MAX + 1);
    ssize_t n;

    if (!content)
        return -ENOMEM;
    n = pread(fd, content, CONTENT_MAX, 0);
    if (n < 0)
        return give_up(facts, -errno, "reading it");
    for (char *p = content; *p; p++)
        if (isspace((unsigned char) *p))
            *p = ' ';
    value_make_printable(content);
    facts->content_read = true;
    facts->content = TAKE_PTR(content);
    return 0;
}

bool lock_name_tells(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return strcasestr(name, "pid") || strcasestr(name, "lock");
}

/* Any text file may begin with a number. It is a PID file when somebody says so, when its name ends like
 * one's, when nothing but a PID stands in it, or when its name speaks of a lock or a PID and a PID stands
 * first. */
static enum path_kind kind_of_regular(const struct lock_facts *facts, enum lock_style style,
                                      const char *name) {
    size_t length = strlen(name);

    if (style == LOCK_STYLE_PIDFILE)
        return PATH_KIND_PIDFILE;
    if (style != LOCK_STYLE_INVALID)
        return PATH_KIND_LOCK;
    if (length > 4 && strcmp(name + length - 4, ".pid") == 0)
        return PATH_KIND_PIDFILE;
    if (!facts->content || lock_parse_pid_content(facts->content) == 0)
        return PATH_KIND_LOCK;
    return lock_name_tells(name) || !facts->content[strspn(facts->content, " 0123456789")] ? PATH_KIND_PIDFILE
                                                                                           : PATH_KIND_LOCK;
}

static int gather_regular(struct prober *prober, struct lock_facts *facts,
                          const struct probe_request *request, int dir_fd, const char *name, int path_fd) {
    struct mount_facts mount = {.device = facts->device};
    _cleanup_close_ int fd = -EBADF;
    bool whole = false;
    int r;

    facts->kind = kind_of_regular(facts, request->style, name);
    if (mount_of_fd(prober->proc_fd, path_fd, &mount) >= 0)
        memcpy(facts->filesystem, mount.type, sizeof facts->filesystem);
    if (mount_type_is_remote(facts->filesystem))
        return 0; /* a look may hang, and its answer would not be the whole truth */

    set_families(facts, FAMILY_UNKNOWN);
    if (request->may_try) {
        fd = open_for_reading(path_fd);
        if (is_scarcity(fd))
            return fd;
        if (fd >= 0)
            try_families(facts, fd);
    }
    if (any_family(facts, FAMILY_HELD) || any_family(facts, FAMILY_UNKNOWN)) {
        r = gather_claims(prober, facts, &mount, &whole);
        if (r < 0)
            return r;
    }
    if (fd < 0 && !is_posix_locked_by_us(facts)) {
        fd = open_for_reading(path_fd);
        if (is_scarcity(fd))
            return fd;
    }
    if (fd >= 0 && any_family(facts, FAMILY_UNKNOWN))
        try_families(facts, fd);

    if (fd < 0 && !is_posix_locked_by_us(facts)) {
        if (facts->kind == PATH_KIND_PIDFILE || any_family(facts, FAMILY_UNKNOWN))
            return give_up(facts, -EACCES, "opening it for reading");
    } else if (fd >= 0 && (facts->size_bytes > 0 || facts->kind == PATH_KIND_PIDFILE)) {
        r = gather_content(facts, fd);
        if (r < 0)
            return r;
        facts->kind = kind_of_regular(facts, request->style, name);
    }
    if (any_family(facts, FAMILY_HELD)) {
        r = add_target(prober, facts, false, facts->device, facts->inode);
        if (r < 0)
            return r;
    }
    return gather_guarded_socket(prober, facts, dir_fd, name);
}

static int gather_path(struct prober *prober, const struct probe_request *request, struct lock_facts *facts) {
    _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
    const char *name;
    struct stat st;
    int r;

    facts->path = strdup(request->path);
    if (!facts->path)
        return -ENOMEM;
    facts->kind = PATH_KIND_ABSENT;
    facts->complete = true;
    facts->initial_pid_namespace = prober->initial_pid_namespace;
    facts->boot_usec = procfs_ticks_to_realtime_usec(0);
    memcpy(facts->boot_id, prober->boot_id, sizeof facts->boot_id);

    r = lock_open_parent(request->path, &dir_fd, &name);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return give_up(facts, r, "opening its directory");
    if (!*name)
        return give_up(facts, -EISDIR, "the path ends in a slash");
    fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : give_up(facts, -errno, "opening it");
    if (fstat(fd, &st) < 0)
        return give_up(facts, -errno, "looking at it");
    facts->kind = PATH_KIND_OTHER;
    facts->device = st.st_dev;
    facts->inode = st.st_ino;
    facts->mode = st.st_mode;
    facts->uid = st.st_uid;
    facts->size_bytes = (uint64_t) st.st_size;
    facts->modified_usec =
        (uint64_t) st.st_mtim.tv_sec * USEC_PER_SEC + (uint64_t) st.st_mtim.tv_nsec / NSEC_PER_USEC;
    facts->changed_usec =
        (uint64_t) st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t) st.st_ctim.tv_nsec / NSEC_PER_USEC;
    if (S_ISSOCK(st.st_mode)) {
        facts->kind = PATH_KIND_SOCKET;
        r = gather_listener(prober, facts, fd, &st);
        if (r < 0)
            return r;
        return peer_look(prober->proc_fd, dir_fd, name, &facts->listener.peer);
    }
    if (S_ISREG(st.st_mode))
        return gather_regular(prober, facts, request, dir_fd, name, fd);
    return 0;
}

static bool is_held(const struct lock_facts *facts) {
    return any_family(facts, FAMILY_HELD);
}

/* A lock is known to be held, but no descriptor table showed it. */
static bool is_unattributed(const struct lock_facts *facts) {
    if (!is_held(facts))
        return false;
    for (size_t i = 0; i < facts->n_holders; i++)
        for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
            if (facts->holders[i].families[f])
                return false;
    return true;
}

static bool holds_lock(const struct lock_facts *facts, pid_t pid) {
    for (size_t i = 0; i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid)
            for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
                if (facts->holders[i].families[f])
                    return true;
    return false;
}

/* The one that the kernel names; where it names several, one that has a lock still. */
static pid_t find_claimant(const struct lock_facts *facts) {
    pid_t first = 0;

    for (size_t i = 0; i < facts->n_claims; i++) {
        const struct claim_facts *claim = &facts->claims[i];

        if (claim->waiting || claim->pid <= 0)
            continue;
        if (holds_lock(facts, claim->pid))
            return claim->pid;
        if (first == 0)
            first = claim->pid;
    }
    return first;
}

/* A PID file's process that could have written it: it lives, and began before. */
static bool is_recorded_alive(const struct lock_facts *facts) {
    const struct recorded_facts *recorded = &facts->recorded;

    return !recorded->is_thread && !recorded->is_self && !recorded->process.kernel_thread &&
           (recorded->process.life == PROCESS_ALIVE || recorded->process.life == PROCESS_STOPPED) &&
           recorded->process.start_usec <= facts->modified_usec;
}

static int gather_recorded(struct prober *prober, struct lock_facts *facts) {
    struct recorded_facts *recorded = &facts->recorded;
    struct proc_status status;
    int r;

    if (facts->kind == PATH_KIND_SOCKET)
        recorded->pid = facts->listener.peer.pid;
    else if (facts->kind == PATH_KIND_PIDFILE && facts->content)
        recorded->pid = lock_parse_pid_content(facts->content);
    if (recorded->pid == 0)
        recorded->pid = find_claimant(facts);
    if (recorded->pid <= 0) {
        recorded->pid = 0;
        return 0;
    }
    recorded->is_self = recorded->pid == getpid() && procfs_is_own_namespace(prober->proc_fd);
    r = process_facts_read(prober->proc_fd, recorded->pid, &recorded->process);
    if (r < 0)
        return r;
    if (recorded->process.life != PROCESS_GONE &&
        procfs_read_status(prober->proc_fd, recorded->pid, &status) >= 0)
        recorded->is_thread = status.tgid != recorded->pid;
    if (facts->kind != PATH_KIND_PIDFILE || is_held(facts) || is_recorded_alive(facts))
        return 0;
    return holder_find_namesake(prober->proc_fd, recorded->pid, facts->modified_usec + NAMESAKE_MARGIN_USEC,
                                &recorded->namesake);
}

/* Who listens on the guarded socket is asked only when the lock's own record does not name a living owner. */
static int gather_guarded_peer(struct prober *prober, struct lock_facts *facts) {
    _cleanup_close_ int dir_fd = -EBADF;
    char socket_name[NAME_MAX + 1];
    const char *name;
    int r;

    if (facts->kind == PATH_KIND_SOCKET || !facts->has_socket || facts->error != 0)
        return 0;
    if (is_held(facts) ? holds_lock(facts, facts->recorded.pid)
                       : facts->kind == PATH_KIND_PIDFILE && is_recorded_alive(facts))
        return 0;
    r = lock_open_parent(facts->path, &dir_fd, &name);
    if (r < 0)
        return is_scarcity(r) ? r : 0;
    snprintf(socket_name, sizeof socket_name, "%.*s", (int) (strlen(name) - strlen(".lock")), name);
    return peer_look(prober->proc_fd, dir_fd, socket_name, &facts->listener.peer);
}

static int prober_open(struct prober *prober) {
    prober->proc_fd = procfs_open();
    if (prober->proc_fd < 0)
        return prober->proc_fd;
    prober->initial_pid_namespace = procfs_in_initial_pid_namespace(prober->proc_fd);
    (void) procfs_read_boot_id(prober->proc_fd, prober->boot_id);
    return 0;
}

static int sweep(struct prober *prober, struct lock_facts *facts, size_t n) {
    struct holder_target *deep;
    size_t n_deep = 0;
    int r;

    if (prober->n_targets == 0)
        return 0;
    r = holder_sweep(prober->proc_fd, prober->targets, prober->n_targets, false);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        n_deep += is_unattributed(&facts[i]);
    if (n_deep == 0)
        return 0;
    /* Somebody has it, and it was in no process's table: look again, into every thread's. */
    deep = calloc(prober->n_targets, sizeof *deep);
    if (!deep)
        return -ENOMEM;
    n_deep = 0;
    for (size_t i = 0; i < prober->n_targets; i++)
        if (is_unattributed(prober->targets[i].facts))
            deep[n_deep++] = prober->targets[i];
    r = holder_sweep(prober->proc_fd, deep, n_deep, true);
    free(deep);
    return r;
}

int lock_probe(const struct probe_request *requests, size_t n, struct lock_facts **ret) {
    _cleanup_(prober_done) struct prober prober = {.proc_fd = -EBADF};
    struct lock_facts *facts = calloc(n ? n : 1, sizeof *facts);
    int r;

    if (!facts)
        return -ENOMEM;
    r = prober_open(&prober);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = gather_path(&prober, &requests[i], &facts[i]);
    if (r >= 0)
        r = sweep(&prober, facts, n);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = gather_recorded(&prober, &facts[i]);
        if (r >= 0)
            r = gather_guarded_peer(&prober, &facts[i]);
    }
    if (r < 0) {
        lock_facts_free_array(facts, n);
        return r;
    }
    *ret = facts;
    return 0;
}
