/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"

int reexec_become(const char *path, int fd, char *const argv[], char *const envp[], const char *name,
                  const char *value) {
    size_t n = 0, length = strlen(name), kept = 0;
    _cleanup_free_ char **environment = NULL;
    _cleanup_free_ char *variable = NULL;

    while (envp[n])
        n++;
    environment = calloc(n + 2, sizeof *environment);
    if (!environment)
        return -ENOMEM;
    if (asprintf(&variable, "%s=%s", name, value) < 0) {
        variable = NULL;
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        if (strncmp(envp[i], name, length) != 0 || envp[i][length] != '=')
            environment[kept++] = envp[i];
    environment[kept] = variable;
    if (fd >= 0)
        (void) execveat(fd, "", argv, environment, AT_EMPTY_PATH);
    else
        (void) execve(path, argv, environment);
    return -errno;
}
