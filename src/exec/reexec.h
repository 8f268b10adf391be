/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* latchd becomes its successor: the same process, another program. */

/* The environment, with NAME=VALUE put over it. Returns only on failure, with -errno: nothing has changed
 * then. */
int reexec_become(const char *path, char *const argv[], char *const envp[], const char *name,
                  const char *value);
