/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Finding programs, as execvp(3) does but never in a relative directory. */

#include "base/err.h"

/* What execvp(3) would find for a name without a slash, in the directories of search_path (NULL: the usual
 * ones); a name with a slash is taken as it is. Owned by the caller. -ENOENT, -EACCES: found, but not
 * executable. */
int executable_find(const char *name, const char *search_path, char **ret, struct err *err);

/* The path without symbolic links, as realpath(3), in three system calls whatever its depth: as /proc/PID/exe
 * of who runs it shows it. Owned by the caller; NULL: errno tells. */
char *executable_resolve(const char *path);
