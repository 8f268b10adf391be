/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/locked-files.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <search.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "probe/snapshot.h"

#define FDINFO_MAX (64 * 1024 * 1024)
#define MAPS_MAX (64 * 1024 * 1024)

struct look {
    int proc_fd;
    struct locked_files *files;
    size_t room;   /* that many may be opened still */
    bool thorough; /* each thread's own table; who has a file open without its lock; numbers that stat(2) has
                      otherwise than the kernel's list (overlayfs) */
};

/* ---- the files by number ---- */

static int compare_inodes(const void *a, const void *b) {
    const struct locked_file *x = a, *y = b;

    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int compare_files(const void *a, const void *b) {
    const struct locked_file *x = a, *y = b;
    int order = compare_inodes(a, b);

    return order ? order : x->device < y->device ? -1 : x->device > y->device;
}

static struct locked_file *find_file(const struct locked_files *files, dev_t device, ino_t inode) {
    const struct locked_file key = {.device = device, .inode = inode};
    struct locked_file **found = tfind(&key, &files->index, compare_files);

    return found ? *found : NULL;
}

bool locked_files_has(const struct locked_files *files, dev_t device, ino_t inode) {
    return find_file(files, device, inode) != NULL;
}

/* Whether any of the files has that number, on whatever device: the tree is ordered by it first. */
static bool is_wanted(const struct locked_files *files, ino_t inode) {
    const struct locked_file key = {.inode = inode};

    return tfind(&key, &files->index, compare_inodes) != NULL;
}

static int get_file(struct locked_files *files, dev_t device, ino_t inode, struct locked_file **ret) {
    struct locked_file *file = find_file(files, device, inode);

    if (!file) {
        if ((files->n & (files->n - 1)) == 0) { /* grows at each power of two */
            struct locked_file **bigger =
                reallocarray(files->files, files->n ? files->n * 2 : 1, sizeof(struct locked_file *));

            if (!bigger)
                return -ENOMEM;
            files->files = bigger;
        }
        file = malloc(sizeof *file);
        if (!file)
            return -ENOMEM;
        *file = (struct locked_file){.device = device, .inode = inode, .fd = -EBADF};
        if (!tsearch(file, &files->index, compare_files)) {
            free(file);
            return -ENOMEM;
        }
        files->files[files->n++] = file;
    }
    *ret = file;
    return 0;
}

static int add_claim(struct locked_file *file, const struct claim_facts *claim) {
    struct claim_facts *bigger;

    for (size_t i = 0; i < file->n_claims; i++) {
        const struct claim_facts *known = &file->claims[i];

        if (known->family == claim->family && known->pid == claim->pid && known->waiting == claim->waiting &&
            known->shared == claim->shared)
            return 0;
    }
    bigger = reallocarray(file->claims, file->n_claims + 1, sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    file->claims = bigger;
    bigger[file->n_claims++] = *claim;
    return 0;
}

void locked_file_close(struct locked_file *file) {
    file->fd = fd_close(file->fd);
    free(file->path);
    file->path = NULL;
}

static void keep_node(void *node) {
    (void) node; /* the array owns the files */
}

void locked_files_done(struct locked_files *files) {
    tdestroy(files->index, keep_node);
    for (size_t i = 0; i < files->n; i++) {
        locked_file_close(files->files[i]);
        free(files->files[i]->claims);
        free(files->files[i]);
    }
    free(files->files);
    *files = (struct locked_files){0};
}

int locked_files_read(int proc_fd, struct locked_files *ret) {
    _cleanup_locked_files_ struct locked_files files = {.rows_hidden =
                                                            !procfs_in_initial_pid_namespace(proc_fd)};
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    int r = lock_snapshot_read(proc_fd, &snapshot);

    if (r == -ENOENT || r == -EACCES) /* a proc that does not show it: the descriptors will */
        files.rows_hidden = true;
    else if (r < 0)
        return r;
    for (size_t i = 0; i < snapshot.n; i++) {
        struct locked_file *file;

        r = get_file(&files, snapshot.rows[i].device, snapshot.rows[i].inode, &file);
        if (r >= 0)
            r = add_claim(file, &snapshot.rows[i].claim);
        if (r < 0)
            return r;
    }
    *ret = files;
    files = (struct locked_files){0};
    return 0;
}

/* ---- a way to a file ---- */

/* Opens what `name` in `dir_fd` (a link of /proc/PID/fd or map_files) leads to. `inode`: what was seen of it;
 * another file may have that descriptor by now. */
static int open_way(struct look *look, struct locked_file *file, int dir_fd, const char *name, ino_t inode) {
    static const char suffix[] = " (deleted)"; /* d_path() in fs/d_path.c */
    _cleanup_close_ int fd = -EBADF;
    char path[PATH_MAX + sizeof suffix];
    struct statx stx;
    ssize_t n;

    if (look->room == 0) {
        look->files->more = true;
        return 0;
    }
    fd = openat(dir_fd, name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
    n = readlinkat(dir_fd, name, path, sizeof path - 1);
    if (n < 0 ||
        statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_NLINK, &stx) < 0 ||
        stx.stx_ino != inode)
        return 0;
    path[n] = '\0';
    file->unlinked = stx.stx_nlink == 0;
    if (file->unlinked && (size_t) n > strlen(suffix) && strcmp(path + n - strlen(suffix), suffix) == 0)
        path[(size_t) n - strlen(suffix)] = '\0';
    file->path = strdup(path);
    if (!file->path)
        return -ENOMEM;
    file->fd = TAKE_FD(fd);
    look->room--;
    return 0;
}

/* The locks that a descriptor shows. */
static int take_lock_lines(struct look *look, const char *fdinfo, int fd_dir, const char *name, ino_t inode,
                           pid_t pid, pid_t tid) {
    for (const char *line = strstr(fdinfo, "lock:"); line; line = strstr(line + 1, "lock:")) {
        struct locked_file *file;
        struct lock_row row;
        int r;

        if ((line != fdinfo && line[-1] != '\n') || lock_row_parse(line + strlen("lock:"), &row) <= 0 ||
            row.claim.waiting)
            continue;
        file = find_file(look->files, row.device, row.inode);
        if (!file && !look->files->rows_hidden)
            continue; /* taken after the list was read */
        r = get_file(look->files, row.device, row.inode, &file);
        if (r >= 0 && look->files->rows_hidden)
            r = add_claim(file, &row.claim);
        if (r < 0)
            return r;
        if (file->done)
            continue;
        if (file->fd < 0) {
            r = open_way(look, file, fd_dir, name, inode);
            if (r < 0)
                return r;
            if (file->fd < 0)
                continue;
        } else if (file->pid != 0 && (file->pid != pid || file->tid != tid || file->number != atoi(name)))
            continue;
        file->pid = pid;
        file->tid = tid;
        file->number = atoi(name);
        file->families[row.claim.family] = true;
    }
    return 0;
}

static int look_at_descriptor(struct look *look, int fd_dir, const char *info_path, const char *name,
                              pid_t pid, pid_t tid) {
    _cleanup_free_ char *text = NULL;
    struct locked_file *file;
    struct statx stx;
    char path[64 + NAME_MAX + 2];
    int r;

    /* Without asking a file server that may be out of reach (statx(2)). */
    if (statx(fd_dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &stx) < 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -errno;
    if (!S_ISREG(stx.stx_mode) || (!look->thorough && !is_wanted(look->files, stx.stx_ino)))
        return 0;
    snprintf(path, sizeof path, "%s/%s", info_path, name);
    r = fd_read_file_at(look->proc_fd, path, FDINFO_MAX, &text, NULL);
    if (r < 0)
        return r == -ENOENT || r == -ESRCH || r == -E2BIG ? 0 : r;
    r = take_lock_lines(look, text, fd_dir, name, stx.stx_ino, pid, tid);
    if (r < 0 || !look->thorough)
        return r;
    /* It has the file open at least, and so shows where it is. */
    file = find_file(look->files, makedev(stx.stx_dev_major, stx.stx_dev_minor), stx.stx_ino);
    return file && file->fd < 0 && !file->done ? open_way(look, file, fd_dir, name, stx.stx_ino) : 0;
}

/* ---- the processes ---- */

static bool is_refusal(int r) {
    return r == -EACCES || r == -EPERM;
}

static bool is_gone(int r) {
    return r == -ENOENT || r == -ESRCH;
}

/* One descriptor table. 1: something of it could not be read. */
static int look_at_table(struct look *look, const char *where, pid_t pid, pid_t tid) {
    _cleanup_closedir_ DIR *dir = NULL;
    char fd_path[64], info_path[64];
    struct dirent *entry;
    bool refused = false;
    int r;

    snprintf(fd_path, sizeof fd_path, "%s/fd", where);
    snprintf(info_path, sizeof info_path, "%s/fdinfo", where);
    r = fd_open_dir_at(look->proc_fd, fd_path, &dir);
    if (r < 0)
        return is_gone(r) ? 0 : is_refusal(r) ? 1 : r;
    while ((entry = readdir(dir))) {
        if (!isdigit((unsigned char) entry->d_name[0]))
            continue;
        r = look_at_descriptor(look, dirfd(dir), info_path, entry->d_name, pid, tid);
        if (r < 0 && !is_refusal(r))
            return r;
        refused |= r < 0;
    }
    return refused;
}

static int look_at_threads(struct look *look, pid_t pid) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    char path[64];
    int refused = 0, r;

    snprintf(path, sizeof path, "%d/task", (int) pid);
    r = fd_open_dir_at(look->proc_fd, path, &dir);
    if (r < 0)
        return is_gone(r) ? 0 : is_refusal(r) ? 1 : r;
    while ((entry = readdir(dir))) {
        pid_t tid;

        /* kcmp(2): 0, it has the same table as the main thread. Where it cannot be told, look. */
        if (value_parse_pid(entry->d_name, &tid) < 0 || tid == pid ||
            syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) == 0)
            continue;
        snprintf(path, sizeof path, "%d/task/%d", (int) pid, (int) tid);
        r = look_at_table(look, path, pid, tid);
        if (r < 0)
            return r;
        refused |= r;
    }
    return refused;
}

static int look_at_process(struct look *look, pid_t pid) {
    struct locked_files *files = look->files;
    char path[16];
    int r;

    snprintf(path, sizeof path, "%d", (int) pid);
    r = look_at_table(look, path, pid, pid);
    if (r >= 0 && look->thorough) {
        int t = look_at_threads(look, pid);

        r = t < 0 ? t : r | t;
    }
    if (r < 0)
        return r;
    files->processes++;
    if (r > 0) {
        if (files->n_unreadable < LOCK_UNREADABLE_MAX)
            files->unreadable[files->n_unreadable++] = pid;
        files->unreadable_total++;
    }
    return 0;
}

/* The maps name device and inode as the kernel's list does (fs/proc/task_mmu.c, show_map_vma()); the file is
 * behind the link of the same range in map_files. */
static int look_at_maps(struct look *look, struct locked_file *file, pid_t pid) {
    _cleanup_close_ int dir_fd = -EBADF;
    _cleanup_free_ char *maps = NULL;
    char path[64];
    int r;

    snprintf(path, sizeof path, "%d/maps", (int) pid);
    r = fd_read_file_at(look->proc_fd, path, MAPS_MAX, &maps, NULL);
    if (r < 0)
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? r : 0;
    snprintf(path, sizeof path, "%d/map_files", (int) pid);
    dir_fd = openat(look->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return 0;
    for (const char *end, *line = maps; *line && file->fd < 0; line = *end ? end + 1 : end) {
        unsigned major, minor;
        uint64_t inode;
        char range[48];

        end = strchrnul(line, '\n');
        if (sscanf(line, "%47s %*s %*s %x:%x %" SCNu64, range, &major, &minor, &inode) != 4 ||
            makedev(major, minor) != file->device || inode != file->inode)
            continue;
        r = open_way(look, file, dir_fd, range, file->inode);
        if (r < 0)
            return r;
    }
    return 0;
}

static int look_at_processes(struct look *look) {
    struct locked_files *files = look->files;
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int r = fd_open_dir_at(look->proc_fd, ".", &dir);

    if (r < 0)
        return r;
    files->saw_init = false;
    files->processes = files->unreadable_total = 0;
    files->n_unreadable = 0;
    while ((entry = readdir(dir))) {
        pid_t pid;

        if (value_parse_pid(entry->d_name, &pid) < 0)
            continue;
        files->saw_init |= pid == 1;
        r = look_at_process(look, pid);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool any_missing(const struct locked_files *files) {
    for (size_t i = 0; i < files->n; i++)
        if (files->files[i]->fd < 0 && !files->files[i]->done)
            return true;
    return false;
}

int locked_files_open(int proc_fd, struct locked_files *files, size_t room) {
    /* Where the list is not whole, nothing tells what the first look would leave. */
    struct look look = {.proc_fd = proc_fd, .files = files, .room = room, .thorough = files->rows_hidden};
    int r;

    files->more = false;
    r = look_at_processes(&look);
    if (r < 0 || look.thorough || files->more || !any_missing(files))
        return r;
    look.thorough = true;
    r = look_at_processes(&look);
    for (size_t i = 0; r >= 0 && i < files->n; i++) {
        struct locked_file *file = files->files[i];

        for (size_t k = 0; r >= 0 && k < file->n_claims && file->fd < 0 && !file->done; k++)
            if (file->claims[k].pid > 0)
                r = look_at_maps(&look, file, file->claims[k].pid);
    }
    return r;
}
