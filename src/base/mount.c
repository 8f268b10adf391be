/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"

#define MOUNTINFO_MAX (64 * 1024 * 1024)

/* Blanks, line endings and backslashes are written as three octal digits (fs/proc_namespace.c, mangle()). */
static void unescape(char *text) {
    char *to = text;

    for (const char *from = text; *from; to++)
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
            from[3] >= '0' && from[3] <= '7') {
            *to = (char) ((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else
            *to = *from++;
    *to = '\0';
}

static char *copy_word(const char *word) {
    char *copy = strndup(word, strcspn(word, " "));

    if (copy)
        unescape(copy);
    return copy;
}

/* `line` is one row: id, parent, major:minor, root, mount point, options, optional fields, " - ", type,
 * source, superblock options. */
static int parse_row(const char *line, struct mount_row *ret) {
    struct mount_row row = {0};
    unsigned major, minor;
    const char *separator, *options = "";
    int point = 0, source = 0;

    if (sscanf(line, "%d %d %u:%u %*s %n", &row.id, &row.parent_id, &major, &minor, &point) != 4 ||
        point == 0)
        return -EBADMSG;
    separator = strstr(line, " - "); /* blanks in paths are escaped */
    if (!separator || sscanf(separator, " - %31s", row.facts.type) != 1)
        return -EBADMSG;
    if (sscanf(separator, " - %*s %*s %n", &source) == 0 && source > 0)
        options = separator + source;
    row.facts.device = makedev(major, minor);
    row.point = copy_word(line + point);
    row.options = copy_word(options);
    if (!row.point || !row.options) {
        free(row.point);
        free(row.options);
        return -ENOMEM;
    }
    *ret = row;
    return 0;
}

void mount_table_done(struct mount_table *table) {
    for (size_t i = 0; i < table->n; i++) {
        free(table->rows[i].point);
        free(table->rows[i].options);
    }
    free(table->rows);
    *table = (struct mount_table){0};
}

static int add_row(struct mount_table *table, const char *line) {
    int r;

    if ((table->n & (table->n - 1)) == 0) { /* grows at each power of two */
        struct mount_row *bigger =
            reallocarray(table->rows, table->n ? table->n * 2 : 1, sizeof *table->rows);

        if (!bigger)
            return -ENOMEM;
        table->rows = bigger;
    }
    r = parse_row(line, &table->rows[table->n]);
    if (r < 0)
        return r;
    table->any_remote |= mount_type_is_remote(table->rows[table->n].facts.type) ||
                         mount_type_is_automatic(table->rows[table->n].facts.type);
    table->n++;
    return 0;
}

int mount_table_parse(const char *mountinfo, struct mount_table *ret) {
    _cleanup_mount_table_ struct mount_table table = {0};

    for (const char *end, *text = mountinfo; *text; text = *end ? end + 1 : end) {
        _cleanup_free_ char *line = NULL;
        int r;

        end = strchrnul(text, '\n');
        line = strndup(text, (size_t) (end - text));
        if (!line)
            return -ENOMEM;
        r = add_row(&table, line);
        if (r < 0)
            return r;
    }
    *ret = table;
    table = (struct mount_table){0};
    return 0;
}

int mount_table_read(int proc_fd, struct mount_table *ret) {
    _cleanup_free_ char *mountinfo = NULL;
    int r = fd_read_file_at(proc_fd, "self/mountinfo", MOUNTINFO_MAX, &mountinfo, NULL);

    return r < 0 ? r : mount_table_parse(mountinfo, ret);
}

const struct mount_row *mount_find_id(const struct mount_table *table, int mount_id) {
    for (size_t i = 0; i < table->n; i++)
        if (table->rows[i].id == mount_id)
            return &table->rows[i];
    return NULL;
}

const struct mount_row *mount_find_device(const struct mount_table *table, dev_t device) {
    for (size_t i = 0; i < table->n; i++)
        if (table->rows[i].facts.device == device)
            return &table->rows[i];
    return NULL;
}

/* "/" is above everything; "/a" above "/a" and "/a/b", not above "/ab". */
static bool is_above(const char *point, size_t length, const char *path) {
    return length == 1 ||
           (strncmp(point, path, length) == 0 && (path[length] == '\0' || path[length] == '/'));
}

const struct mount_row *mount_find_path(const struct mount_table *table, const char *path) {
    const struct mount_row *best = NULL;
    size_t best_length = 0;

    for (size_t i = 0; i < table->n; i++) {
        const struct mount_row *row = &table->rows[i];
        size_t length = strlen(row->point);

        if (length < best_length || !is_above(row->point, length, path))
            continue;
        if (length == best_length && best && best->parent_id == row->id)
            continue; /* the one found is mounted on this one */
        best = row;
        best_length = length;
    }
    return best;
}

/* statx(2) sets stx_mnt_id whatever was asked for, and asks no server when nothing is (fs/stat.c,
 * vfs_statx_path()). */
int mount_id_of_fd(int fd) {
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) < 0)
        return -errno;
    return stx.stx_mask & STATX_MNT_ID ? (int) stx.stx_mnt_id : -EOPNOTSUPP; /* before Linux 5.8 */
}

int mount_id_by_fdinfo(int proc_fd, int fd) {
    _cleanup_free_ char *fdinfo = NULL;
    const char *row;
    char path[64];
    int mount_id, r;

    snprintf(path, sizeof path, "self/fdinfo/%d", fd);
    r = fd_read_file_at(proc_fd, path, 64 * 1024, &fdinfo, NULL);
    if (r < 0)
        return r;
    row = strstr(fdinfo, "\nmnt_id:");
    return row && sscanf(row, "\nmnt_id: %d", &mount_id) == 1 ? mount_id : -EBADMSG;
}

int mount_of_fd_in(const struct mount_table *table, int proc_fd, int fd, struct mount_facts *ret) {
    const struct mount_row *mount;
    int mount_id = mount_id_of_fd(fd);

    if (mount_id < 0)
        mount_id = mount_id_by_fdinfo(proc_fd, fd);
    if (mount_id < 0)
        return mount_id;
    mount = mount_find_id(table, mount_id);
    if (!mount)
        return -ENOENT;
    *ret = mount->facts;
    return 0;
}

int mount_of_fd(int proc_fd, int fd, struct mount_facts *ret) {
    _cleanup_mount_table_ struct mount_table table = {0};
    int r = mount_table_read(proc_fd, &table);

    return r < 0 ? r : mount_of_fd_in(&table, proc_fd, fd, ret);
}

bool mount_type_is_remote(const char *type) {
    static const char *const remote[] = {"nfs",      "nfs4",   "cifs",     "smb3",  "smbfs", "9p",
                                         "virtiofs", "ceph",   "afs",      "ocfs2", "gfs2",  "gpfs",
                                         "coda",     "lustre", "orangefs", "pvfs2", "fuse",  "vboxsf"};

    for (size_t i = 0; i < ELEMENTSOF(remote); i++)
        if (strcmp(type, remote[i]) == 0)
            return true;
    return strncmp(type, "fuse.", 5) == 0;
}

/* statfs(2), and linux/magic.h where it has them. */
bool mount_magic_is_remote(uint64_t magic) {
    static const uint64_t remote[] = {
        NFS_SUPER_MAGIC,   SMB_SUPER_MAGIC,  CIFS_SUPER_MAGIC,
        SMB2_SUPER_MAGIC,  V9FS_MAGIC,       FUSE_SUPER_MAGIC, /* virtiofs has it, too */
        CEPH_SUPER_MAGIC,  AFS_SUPER_MAGIC,  AFS_FS_MAGIC,
        OCFS2_SUPER_MAGIC, CODA_SUPER_MAGIC, 0x01161970, /* GFS2 */
        0x47504653,                                      /* GPFS */
        0x0BD00BD0,                                      /* Lustre */
        0x20030528,                                      /* OrangeFS */
        0x786f4256,                                      /* VirtualBox's shared folders */
    };

    for (size_t i = 0; i < ELEMENTSOF(remote); i++)
        if (remote[i] == (magic & UINT32_MAX)) /* f_type is signed, and some are above INT32_MAX */
            return true;
    return false;
}

bool mount_type_is_automatic(const char *type) {
    return strcmp(type, "autofs") == 0;
}

const char *mount_option_find(const char *options, const char *name, size_t *ret_length) {
    size_t length = strlen(name);

    for (const char *option = options; *option; option += strspn(option, ",")) {
        size_t whole = strcspn(option, ",");

        if (whole >= length && strncmp(option, name, length) == 0 &&
            (whole == length || option[length] == '=')) {
            *ret_length = whole > length ? whole - length - 1 : 0;
            return option + length + (whole > length);
        }
        option += whole;
    }
    return NULL;
}
