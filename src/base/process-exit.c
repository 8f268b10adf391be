/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/process-exit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"

/* From Linux' include/uapi/linux/pidfd.h, as of its first version, which later ones still take: headers of
 * distributions are older than the kernels that run below them. */
struct info_v0 {
    uint64_t mask, cgroup_id;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
_Static_assert(sizeof(struct info_v0) == 64, "the size is part of the ioctl's number");
#define GET_INFO _IOWR(0xFF, 11, struct info_v0)
#define INFO_EXIT (UINT64_C(1) << 3)

int process_exit_status(int pidfd, int *ret_status) {
    struct info_v0 info = {.mask = INFO_EXIT};

    if (ioctl(pidfd, GET_INFO, &info) < 0)
        return errno == EINTR || errno == EAGAIN ? -EAGAIN : -ENODATA;
    if (info.mask & INFO_EXIT) {
        *ret_status = info.exit_code;
        return 0;
    }
    /* Linux 6.13 and 6.14 know the call but not this field: nothing will ever come. A kernel that knows it
     * says so of a dead process only, so that it cannot be asked beforehand; the caller bounds its patience.
     */
    return -EAGAIN;
}

static int read_zombie(int proc_fd, const struct process_id *id, char **ret) {
    struct proc_stat stat;
    char path[64], *text;

    snprintf(path, sizeof path, "%d/stat", (int) id->pid);
    if (fd_read_file_at(proc_fd, path, 4096, &text, NULL) < 0)
        return -ESRCH;
    if (procfs_parse_stat(text, &stat) < 0 || stat.start_ticks != id->start_ticks || stat.state != 'Z') {
        free(text);
        return -ESRCH;
    }
    *ret = text;
    return 0;
}

/* Whether what the kernel shows of it is the truth. The link to a process's executable is guarded by the same
 * right as its exit code (PTRACE_MODE_READ_FSCREDS, in fs/proc/base.c and fs/proc/array.c): with it, there is
 * none of a zombie, else it is forbidden to ask. */
static bool may_know(int proc_fd, const struct process_id *id) {
    _cleanup_free_ char *text = NULL;
    char path[64], link[2];

    snprintf(path, sizeof path, "%d/exe", (int) id->pid);
    return readlinkat(proc_fd, path, link, sizeof link) < 0 && errno == ENOENT &&
           read_zombie(proc_fd, id, &text) >= 0; /* it is still there: that was no answer about nobody */
}

int process_zombie_status(int proc_fd, const struct process_id *id, int *ret_status) {
    _cleanup_free_ char *text = NULL;
    const char *last;
    long status;
    int r = read_zombie(proc_fd, id, &text);

    if (r < 0)
        return r;
    /* Field 52, the last one so far: counted from the state, field 3, behind the name, which may hold
     * anything. */
    last = strrchr(text, ')');
    for (int i = 2; last && i < 52; i++)
        last = strchr(last + 1, ' ');
    if (!last)
        return -ENODATA;
    status = strtol(last, NULL, 10);
    if (status < 0 || status > 0xffff || (status == 0 && !may_know(proc_fd, id)))
        return -ENODATA;
    *ret_status = (int) status;
    return 0;
}
