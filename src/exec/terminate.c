/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/terminate.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>

int terminate_signal(int pidfd, int signal) {
    return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}
