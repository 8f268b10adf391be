/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/trace-parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/value.h"

#define MAPS_MAX (256 * 1024 * 1024)

/* One line of /proc/PID/maps (fs/proc/task_mmu.c, show_map_vma()). */
struct mapping {
    pid_t tid; /* of a living thread: each has map_files, below /proc/TID alone */
    uint64_t start, end;
    dev_t device; /* of the superblock */
    ino_t inode;
    const char *name;
};

static bool parse_mapping(const char *line, struct mapping *ret) {
    char *end;

    ret->start = strtoull(line, &end, 16);
    if (*end != '-')
        return false;
    ret->end = strtoull(end + 1, &end, 16);
    for (unsigned fields = 0; fields < 3; fields++) { /* access, offset, device */
        end = strchr(end, ' ');
        if (!end)
            return false;
        end++;
    }
    unsigned long device_major = strtoul(end, &end, 16);
    if (*end != ':')
        return false;
    ret->device = makedev((unsigned) device_major, (unsigned) strtoul(end + 1, &end, 16));
    if (*end != ' ')
        return false;
    ret->inode = strtoull(end, &end, 10);
    ret->name = end + strspn(end, " ");
    return true;
}

/* 1: it is mapped there; 0: another file; else as trace_error(). The device in maps is the superblock's,
 * which is not st_dev on overlayfs and btrfs; the link in map_files leads to the very file, for who may use
 * it (CAP_CHECKPOINT_RESTORE, proc(5)). */
static int is_file_mapped(const struct trace *trace, const struct mapping *mapping,
                          const struct holder_target *target, int *result) {
    struct stat st;
    char path[80];
    int r;

    snprintf(path, sizeof path, "%d/map_files/%" PRIx64 "-%" PRIx64, (int) mapping->tid, mapping->start,
             mapping->end);
    r = trace_stat_at(trace->proc_fd, path, 0, &st);
    if (r >= 0)
        return st.st_dev == target->device && st.st_ino == target->inode;
    if (r == -EPERM || r == -EACCES) {
        if (mapping->device == target->device)
            return 1;
        *result |= TRACE_UNREADABLE;
        return 0;
    }
    /* It was unmapped, or cut, since we read of it: what is there now we did not read. */
    *result |= TRACE_UNREADABLE;
    return 0;
}

/* System V shared memory is mapped from a file "/SYSVkey" whose inode number is the segment's id, on the
 * kernel's own instance of tmpfs, where memfd_create(2) makes its files too, or on one of hugetlbfs
 * (SHM_HUGETLB; ipc/shm.c, newseg()). A user's file may have that name, but not there. */
static int is_memory_attached(const struct trace *trace, const struct mapping *mapping,
                              const struct lock_facts *facts, int *result) {
    _cleanup_close_ int memory = -EBADF, file = -EBADF;
    struct statfs fs;
    struct stat st;
    char path[80];
    int r;

    if (strncmp(mapping->name, "/SYSV", 5) != 0)
        return 0;
    /* Ids are each namespace's own (ipc_namespaces(7)). What our list does not have is another one's; there
     * the key, which stands in the name, tells it from most that have the same id. */
    if (facts && facts->record.shm_key != 0 && !facts->shm.found) {
        snprintf(path, sizeof path, "/SYSV%08" PRIx32, (uint32_t) facts->record.shm_key);
        r = strncmp(mapping->name, path, strlen(path)) == 0;
    } else
        r = trace_same_namespace(trace, "ipc");
    if (r <= 0) {
        if (r < 0)
            *result |= TRACE_UNREADABLE;
        return 0;
    }
    memory = memfd_create("latchd", MFD_CLOEXEC);
    if (memory >= 0 && fstat(memory, &st) >= 0 && st.st_dev == mapping->device)
        return 1;
    snprintf(path, sizeof path, "%d/map_files/%" PRIx64 "-%" PRIx64, (int) mapping->tid, mapping->start,
             mapping->end);
    file = openat(trace->proc_fd, path, O_PATH | O_CLOEXEC);
    if (file >= 0 && fstatfs(file, &fs) >= 0)
        return fs.f_type == HUGETLBFS_MAGIC;
    *result |= TRACE_UNREADABLE;
    return 0;
}

static int look_at_mapping(const struct trace *trace, const struct mapping *mapping) {
    static const bool not_told[LOCK_FAMILY_MAX] = {false};
    int result = 0;

    for (size_t i = 0; i < trace->n; i++) {
        const struct holder_target *target = &trace->targets[i];
        int r = 0;

        if (target->inode != mapping->inode)
            continue;
        if (target->kind == HOLDER_TARGET_FILE && mapping->inode != 0)
            r = is_file_mapped(trace, mapping, target, &result);
        else if (target->kind == HOLDER_TARGET_SHM) /* the first segment's id is 0 */
            r = is_memory_attached(trace, mapping, target->facts, &result);
        if (r > 0)
            r = trace->found(trace->userdata, i, trace->pid, VIA_MAPS, -1, not_told);
        if (r < 0)
            return r;
    }
    return result;
}

/* All threads share the memory, but a main thread that has ended shows none. */
static int read_maps(const struct trace *trace, char **ret_text, pid_t *ret_tid) {
    _cleanup_closedir_ DIR *dir = NULL;
    _cleanup_free_ char *text = NULL;
    struct dirent *entry;
    pid_t reader = trace->pid;
    char path[300];
    int r;

    snprintf(path, sizeof path, "%d/maps", (int) trace->pid);
    r = fd_read_file_at(trace->proc_fd, path, MAPS_MAX, &text, NULL);
    if (r < 0 && r != -ESRCH)
        return r;
    snprintf(path, sizeof path, "%d/task", (int) trace->pid);
    if ((r < 0 || !*text) && (r = fd_open_dir_at(trace->proc_fd, path, &dir)) < 0)
        return r;
    while ((!text || !*text) && dir && (entry = readdir(dir))) {
        pid_t tid;

        if (value_parse_pid(entry->d_name, &tid) < 0 || tid == trace->pid)
            continue;
        freep(&text);
        text = NULL;
        reader = tid;
        snprintf(path, sizeof path, "%d/task/%d/maps", (int) trace->pid, (int) tid);
        r = fd_read_file_at(trace->proc_fd, path, MAPS_MAX, &text, NULL);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
            return r;
    }
    if (!text)
        return -ESRCH;
    *ret_text = TAKE_PTR(text);
    *ret_tid = reader;
    return 0;
}

int trace_maps(int proc_fd, pid_t pid, const struct holder_target *targets, size_t n, trace_found_t *found,
               void *userdata) {
    const struct trace trace = {proc_fd, pid, targets, n, found, userdata};
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    int result = 0, r;
    pid_t tid;

    r = read_maps(&trace, &text, &tid);
    if (r < 0)
        return trace_error(r);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct mapping mapping = {.tid = tid};

        if (!parse_mapping(line, &mapping)) {
            result |= TRACE_UNREADABLE;
            continue;
        }
        r = look_at_mapping(&trace, &mapping);
        if (r < 0)
            return r;
        result |= r;
    }
    return result;
}
