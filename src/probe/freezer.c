/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/freezer.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/fd.h"

#define CGROUP_TEXT_MAX (256 * 1024)
#define MEMBERS_MAX (16 * 1024 * 1024)

/* The two hierarchies, and which file of a cgroup tells. Both show the effective state: that of a cgroup
 * within a frozen one is frozen. */
static const struct hierarchy {
    const char *controller, *file, *frozen;
} hierarchies[] = {
    {NULL, "cgroup.events", "frozen 1"}, {"freezer", "freezer.state", "FR"}, /* FREEZING, FROZEN */
};

/* Whether the process is listed in that cgroup: the mount may be another namespace's. */
static bool is_member(int cgroup_fd, pid_t pid) {
    _cleanup_free_ char *text = NULL;
    char number[16];
    size_t length;

    if (fd_read_file_at(cgroup_fd, "cgroup.procs", MEMBERS_MAX, &text, NULL) < 0)
        return false;
    length = (size_t) snprintf(number, sizeof number, "%d\n", (int) pid);
    for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, number, length) == 0)
            return true;
    return false;
}

static bool is_frozen_by(int proc_fd, const struct hierarchy *hierarchy, pid_t pid) {
    _cleanup_close_ int mount_fd = -EBADF, cgroup_fd = -EBADF;
    _cleanup_free_ char *path = NULL, *state = NULL;
    const char *row;

    if (cgroup_read_path(proc_fd, pid, hierarchy->controller, &path) < 0 || !*path)
        return false; /* the root cannot be frozen */
    mount_fd = cgroup_open_mount(proc_fd, hierarchy->controller);
    if (mount_fd < 0)
        return false;
    cgroup_fd = openat(mount_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (cgroup_fd < 0 || fd_read_file_at(cgroup_fd, hierarchy->file, CGROUP_TEXT_MAX, &state, NULL) < 0)
        return false;
    row = strstr(state, hierarchy->frozen);
    return row && (row == state || row[-1] == '\n') && is_member(cgroup_fd, pid);
}

bool freezer_has(int proc_fd, pid_t pid) {
    for (size_t i = 0; i < ELEMENTSOF(hierarchies); i++)
        if (is_frozen_by(proc_fd, &hierarchies[i], pid))
            return true;
    return false;
}
