/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mount.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/fd.h"

#define MOUNTINFO_MAX (16 * 1024 * 1024)

int mount_parse(const char *mountinfo, int mount_id, struct mount_facts *ret) {
    for (const char *end, *text = mountinfo; *text; text = *end ? end + 1 : end) {
        struct mount_facts facts = {0};
        _cleanup_free_ char *line = NULL;
        unsigned major, minor;
        const char *separator;

        end = strchrnul(text, '\n');
        if (strtol(text, NULL, 10) != mount_id)
            continue;
        line = strndup(text, (size_t) (end - text));
        if (!line)
            return -ENOMEM;
        if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
            return -EBADMSG;
        separator = strstr(line, " - "); /* blanks in paths are written \040 */
        if (!separator || sscanf(separator, " - %31s", facts.type) != 1)
            return -EBADMSG;
        facts.device = makedev(major, minor);
        *ret = facts;
        return 0;
    }
    return -ENOENT;
}

int mount_of_fd(int proc_fd, int fd, struct mount_facts *ret) {
    _cleanup_free_ char *fdinfo = NULL, *mountinfo = NULL;
    const char *row;
    char path[64];
    int mount_id, r;

    snprintf(path, sizeof path, "self/fdinfo/%d", fd);
    r = fd_read_file_at(proc_fd, path, 64 * 1024, &fdinfo, NULL);
    if (r < 0)
        return r;
    row = strstr(fdinfo, "\nmnt_id:");
    if (!row || sscanf(row, "\nmnt_id: %d", &mount_id) != 1)
        return -EBADMSG;
    r = fd_read_file_at(proc_fd, "self/mountinfo", MOUNTINFO_MAX, &mountinfo, NULL);
    if (r < 0)
        return r;
    return mount_parse(mountinfo, mount_id, ret);
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
