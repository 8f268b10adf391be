/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* latchd becomes its successor: the same process, another program. */

/* The environment, with NAME=VALUE put over it. fd: the program, opened; -EBADF: it is the one at `path`. By its
 * descriptor no script can be executed that is O_CLOEXEC (execveat(2)). Returns only on failure, with -errno: nothing
 * has changed then. */
int reexec_become(const char *path, int fd, char *const argv[], char *const envp[], const char *name,
                  const char *value);
