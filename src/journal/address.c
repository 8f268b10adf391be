/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal/address.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int journal_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    *ret = address;
    *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    return 0;
}
