/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/peer.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

int peer_read(int fd, struct ucred *ret) {
    socklen_t size = sizeof(*ret);
    struct ucred peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    *ret = peer;
    return 0;
}

bool peer_is_owner(const struct ucred *peer) {
    return peer->uid == 0 || peer->uid == geteuid();
}

/* Reads the local file and nothing else: getgrnam(3) may ask a directory server, and a supervisor must not
 * wait for one. A line of any length: the buffer grows as fgetgrent_r(3) asks for it. */
static int find_group(const char *name, gid_t *ret) {
    _cleanup_fclose_ FILE *file = fopen("/etc/group", "re");
    _cleanup_free_ char *buffer = NULL;
    size_t size = 4096;
    long line = 0;

    if (!file)
        return -errno;
    buffer = malloc(size);
    if (!buffer)
        return -ENOMEM;
    for (;;) {
        struct group group, *found;
        int r;

        r = fgetgrent_r(file, &group, buffer, size, &found);
        if (r == ERANGE && size < ((size_t) 16 << 20)) {
            char *fresh = realloc(buffer, size *= 2);

            if (!fresh)
                return -ENOMEM;
            buffer = fresh;
            if (fseek(file, line, SEEK_SET) < 0)
                return -errno;
            continue;
        }
        if (r != 0)
            return -r;
        line = ftell(file);
        if (strcmp(group.gr_name, name) == 0) {
            *ret = group.gr_gid;
            return 0;
        }
    }
}

static bool peer_in_groups(int fd, gid_t wanted) {
    _cleanup_free_ gid_t *groups = NULL;
    socklen_t size = 0;

    /* Asked with too little room the kernel says ERANGE and how much it takes. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
        return false;
    groups = malloc(size);
    if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof(*groups); i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

bool peer_is_privileged(int fd, const struct ucred *peer, const char *admin_group) {
    gid_t gid = (gid_t) -1;

    if (peer_is_owner(peer))
        return true;
    if (!admin_group || find_group(admin_group, &gid) < 0)
        return false;
    return peer->gid == gid || peer_in_groups(fd, gid);
}
