/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a lock file locks: the words of LockStyle=. */

#include <errno.h>

#include "base/strtab.h"

enum lock_style {
    LOCK_STYLE_FLOCK,   /* flock(2) */
    LOCK_STYLE_POSIX,   /* fcntl(2) F_SETLK */
    LOCK_STYLE_OFD,     /* fcntl(2) F_OFD_SETLK */
    LOCK_STYLE_PIDFILE, /* its existence, and the PID in it */
    LOCK_STYLE_SYMLINK, /* a symbolic link whose target names the owner */
    LOCK_STYLE_NONE,
    LOCK_STYLE_MAX,
    LOCK_STYLE_INVALID = -EINVAL,
};
STRTAB_DECLARE(lock_style, enum lock_style);
