/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe/trace-parts.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDINFO_MAX (16 * 1024 * 1024)
#define TRIES 5
#define PAUSE_USEC 1000
#define SHORT_NAME 31 /* what older kernels keep of a name at least (DNAME_INLINE_LEN) */

/* Undoes what seq_file_path() does to blanks, in place. */
static void unescape(char *text) {
    char *to = text;

    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
            from[3] >= '0' && from[3] <= '7') {
            *to = (char) ((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else
            *to = *from++;
    }
    *to = '\0';
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The path without symbolic links, as the kernel prints it; the file itself is never one that is followed. */
static int canonical_path(const char *path, char **ret) {
    const char *base = base_name(path);
    _cleanup_free_ char *dir = NULL, *real = NULL;

    dir = base == path ? strdup(".") : strndup(path, (size_t) (base - path));
    if (!dir)
        return -ENOMEM;
    real = realpath(dir, NULL);
    if (!real)
        return -errno;
    return asprintf(ret, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base) < 0 ? -ENOMEM : 0;
}

/* 1: the ring has the file; 0: that is something else; -EAGAIN: it cannot be told. A path is a name: it is
 * the file's only if it leads to it, in our own mount namespace. One with the same last part that does not
 * may be seen through another mount, or be a deleted namesake. */
static int is_target(const struct trace *trace, const struct holder_target *target, const char *name) {
    const struct lock_facts *facts = target->facts;
    _cleanup_free_ char *path = NULL;
    size_t length;
    char socket[64];
    struct stat st;
    int r;

    if (target->kind == HOLDER_TARGET_SOCKET) {
        snprintf(socket, sizeof socket, "socket:[%llu]", (unsigned long long) target->inode);
        return strcmp(name, socket) == 0;
    }
    if (target->kind != HOLDER_TARGET_FILE)
        return 0;
    if (!facts->path)
        return -EAGAIN;
    if (name[0] != '/') /* older kernels print the last part alone, and not more of it than fits in */
        return strcmp(name, base_name(facts->path)) == 0 ||
                       (strlen(name) >= SHORT_NAME &&
                        strncmp(name, base_name(facts->path), strlen(name)) == 0)
                   ? -EAGAIN
                   : 0;
    r = facts->remote ? -EREMOTE : canonical_path(facts->path, &path); /* a look may wait for ever */
    if (r == -ENOMEM)
        return r;
    if (r >= 0 && strcmp(path, name) == 0 && trace_same_namespace(trace, "mnt") > 0 &&
        trace_stat_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &st) >= 0 && st.st_dev == target->device &&
        st.st_ino == target->inode)
        return 1;
    if (facts->links > 1)
        return -EAGAIN;
    length = strlen(base_name(facts->path));
    name = base_name(name);
    return strncmp(name, base_name(facts->path), length) == 0 &&
                   (!name[length] || strcmp(name + length, " (deleted)") == 0)
               ? -EAGAIN
               : 0;
}

static int look_at_file(const struct trace *trace, int fd, const char *name) {
    static const bool not_told[LOCK_FAMILY_MAX] = {false};
    int result = 0;

    for (size_t i = 0; i < trace->n; i++) {
        int r = is_target(trace, &trace->targets[i], name);

        if (r == -EAGAIN)
            result |= TRACE_UNREADABLE;
        else if (r < 0)
            return r;
        else if (r > 0) {
            r = trace->found(trace->userdata, i, trace->pid, VIA_IO_URING, fd, not_told);
            if (r < 0)
                return r;
        }
    }
    return result;
}

/* The rows below "UserFiles:", each a slot's number and what is in it (io_uring/fdinfo.c). -EAGAIN: none were
 * printed, though there are slots. */
static int look_at_files(const struct trace *trace, int fd, char *rows) {
    unsigned slots = (unsigned) strtoul(rows, NULL, 10), filled = 0;
    char *save = NULL;
    int result = 0;

    (void) strtok_r(rows, "\n", &save);
    for (char *line = strtok_r(NULL, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *end;
        int r;

        line += strspn(line, " ");
        if (!isdigit((unsigned char) *line))
            break;
        (void) strtoul(line, &end, 10);
        if (strncmp(end, ": ", 2) != 0)
            break;
        unescape(end + 2);
        filled++;
        r = look_at_file(trace, fd, end + 2);
        if (r < 0)
            return r;
        result |= r;
    }
    return slots > 0 && filled == 0 ? -EAGAIN : result;
}

/* The kernel prints the files only when it gets the ring's lock at once; else it leaves the rows out, or all
 * of it. So nothing printed means nothing. */
int trace_ring(const struct trace *trace, const char *info_path, int fd) {
    for (unsigned i = 0; i < TRIES; i++) {
        _cleanup_free_ char *text = NULL;
        char *files;
        int r;

        if (i > 0)
            (void) usleep(PAUSE_USEC);
        r = fd_read_file_at(trace->proc_fd, info_path, FDINFO_MAX, &text, NULL);
        if (r < 0)
            return trace_error(r);
        files = strstr(text, "\nUserFiles:");
        if (!files)
            continue;
        r = look_at_files(trace, fd, files + strlen("\nUserFiles:"));
        if (r != -EAGAIN)
            return r;
    }
    return TRACE_UNREADABLE;
}
