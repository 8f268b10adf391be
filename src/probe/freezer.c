/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/freezer.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define CGROUP_TEXT_MAX (256 * 1024)
#define MOUNTINFO_MAX (16 * 1024 * 1024)
#define MEMBERS_MAX (16 * 1024 * 1024)

/* The two hierarchies: what the process's row in /proc/PID/cgroup has for controllers, and which file of its
 * cgroup tells. Both show the effective state: that of a cgroup within a frozen one is frozen. */
static const struct hierarchy {
    const char *controllers, *type, *option, *file, *frozen;
} hierarchies[] = {
    {"", "cgroup2", NULL, "cgroup.events", "frozen 1"},
    {"freezer", "cgroup", "freezer", "freezer.state", "FR"}, /* FREEZING, FROZEN */
};

static bool has_word(const char *words, const char *word, char separator) {
    size_t length = strlen(word);

    for (; words; words = strchr(words, separator), words = words ? words + 1 : NULL)
        if (strncmp(words, word, length) == 0 && (words[length] == separator || !words[length]))
            return true;
    return false;
}

/* The path in the row "ID:CONTROLLERS:PATH" of that hierarchy, within `text`; or NULL. */
static char *find_cgroup(char *text, const struct hierarchy *hierarchy) {
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        if (*hierarchy->controllers ? has_word(controllers, hierarchy->controllers, ',') : !*controllers)
            return path;
    }
    return NULL;
}

/* Opens where the hierarchy is mounted: the mount whose root is the one that /proc/PID/cgroup counts from. */
static int open_mount(int proc_fd, const struct hierarchy *hierarchy) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    int r = fd_read_file_at(proc_fd, "self/mountinfo", MOUNTINFO_MAX, &text, NULL);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *rest = strstr(line, " - "), type[16], options[256], root[8], point[256];

        if (!rest || sscanf(rest, " - %15s %*s %255s", type, options) != 2 ||
            strcmp(type, hierarchy->type) != 0 ||
            (hierarchy->option && !has_word(options, hierarchy->option, ',')))
            continue;
        if (sscanf(line, "%*d %*d %*s %7s %255s", root, point) == 2 && strcmp(root, "/") == 0) {
            r = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
            return r < 0 ? -errno : r;
        }
    }
    return -ENOENT;
}

/* Whether the process is listed in that cgroup: the mount may be another namespace's. */
static bool is_member(int cgroup_fd, pid_t pid) {
    _cleanup_free_ char *text = NULL;
    char number[16];

    snprintf(number, sizeof number, "%d", (int) pid);
    return fd_read_file_at(cgroup_fd, "cgroup.procs", MEMBERS_MAX, &text, NULL) >= 0 &&
           has_word(text, number, '\n');
}

static bool is_frozen_by(int proc_fd, const struct hierarchy *hierarchy, pid_t pid, char *cgroups) {
    _cleanup_close_ int mount_fd = -EBADF, cgroup_fd = -EBADF;
    _cleanup_free_ char *state = NULL;
    const char *path = find_cgroup(cgroups, hierarchy), *row;

    if (!path || strcmp(path, "/") == 0) /* the root cannot be frozen */
        return false;
    mount_fd = open_mount(proc_fd, hierarchy);
    if (mount_fd < 0)
        return false;
    cgroup_fd = openat(mount_fd, path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (cgroup_fd < 0 || fd_read_file_at(cgroup_fd, hierarchy->file, CGROUP_TEXT_MAX, &state, NULL) < 0)
        return false;
    row = strstr(state, hierarchy->frozen);
    return row && (row == state || row[-1] == '\n') && is_member(cgroup_fd, pid);
}

bool freezer_has(int proc_fd, pid_t pid) {
    _cleanup_free_ char *text = NULL;
    char path[32];

    snprintf(path, sizeof path, "%d/cgroup", (int) pid);
    if (fd_read_file_at(proc_fd, path, CGROUP_TEXT_MAX, &text, NULL) < 0)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(hierarchies); i++) {
        _cleanup_free_ char *cgroups = strdup(text);

        if (cgroups && is_frozen_by(proc_fd, &hierarchies[i], pid, cgroups))
            return true;
    }
    return false;
}
