/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

#define CGROUP_TEXT_MAX (256 * 1024)
#define MOUNTINFO_MAX (16 * 1024 * 1024)

const char *cgroup_unit(const char *cgroup, char *buffer, size_t size) {
    static const char *const suffixes[] = {".service", ".scope", ".slice"};
    const char *end = cgroup ? cgroup + strlen(cgroup) : NULL;

    buffer[0] = '\0';
    while (end && end > cgroup) {
        const char *start = memrchr(cgroup, '/', (size_t) (end - cgroup));
        size_t length;

        start = start ? start + 1 : cgroup;
        length = (size_t) (end - start);
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
            size_t suffix = strlen(suffixes[i]);

            if (length > suffix && length < size && memcmp(end - suffix, suffixes[i], suffix) == 0) {
                memcpy(buffer, start, length);
                buffer[length] = '\0';
                return buffer;
            }
        }
        end = start > cgroup ? start - 1 : cgroup;
    }
    return buffer;
}

static bool has_word(const char *words, const char *word) {
    size_t length = strlen(word);

    for (; words; words = strchr(words, ','), words = words ? words + 1 : NULL)
        if (strncmp(words, word, length) == 0 && (words[length] == ',' || !words[length]))
            return true;
    return false;
}

/* The path in the row "ID:CONTROLLERS:PATH" of that hierarchy, within `text`; or NULL. */
static const char *find_row(char *text, const char *controller) {
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        if (controller ? has_word(controllers, controller) : !*controllers)
            return path;
    }
    return NULL;
}

int cgroup_open_mount(int proc_fd, const char *controller) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    int r = fd_read_file_at(proc_fd, "self/mountinfo", MOUNTINFO_MAX, &text, NULL);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *rest = strstr(line, " - "), type[16], options[256], root[8], point[256];

        if (!rest || sscanf(rest, " - %15s %*s %255s", type, options) != 2 ||
            strcmp(type, controller ? "cgroup" : "cgroup2") != 0 ||
            (controller && !has_word(options, controller)))
            continue;
        if (sscanf(line, "%*d %*d %*s %7s %255s", root, point) == 2 && strcmp(root, "/") == 0) {
            r = open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
            return r < 0 ? -errno : r;
        }
    }
    return -ENOENT;
}

int cgroup_read_path(int proc_fd, pid_t pid, const char *controller, char **ret) {
    _cleanup_free_ char *text = NULL;
    const char *path;
    char name[32];
    int r;

    snprintf(name, sizeof name, "%d/cgroup", (int) pid);
    r = fd_read_file_at(proc_fd, name, CGROUP_TEXT_MAX, &text, NULL);
    if (r < 0)
        return r;
    path = find_row(text, controller);
    if (!path || *path != '/')
        return -ENOENT;
    *ret = strdup(path + 1);
    return *ret ? 0 : -ENOMEM;
}

int cgroup_find(int proc_fd, pid_t pid, const char *controller, int *ret_mount_fd, char **ret_path) {
    char *path;
    int r = cgroup_read_path(proc_fd, pid, controller, &path);

    if (r < 0)
        return r;
    r = cgroup_open_mount(proc_fd, controller);
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_mount_fd = r;
    *ret_path = path;
    return 0;
}
