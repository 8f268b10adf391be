/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/terminate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/fd.h"

int terminate_signal(int pidfd, int signal) {
    return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int terminate_cgroup(int cgroup_fd) {
    _cleanup_close_ int fd = openat(cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, "1", 1) < 0 ? -errno : 0;
}
