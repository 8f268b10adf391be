/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where journald listens. */

#include <sys/socket.h>
#include <sys/un.h>

/* -ENAMETOOLONG. */
int journal_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_size);
