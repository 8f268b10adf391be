/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The runtime directory (/run/latchd for root): per service NAME.lock, the supervisor's own lock, which is
 * never unlinked; NAME.sock, its control socket; NAME.state. */

#include <stdbool.h>

#include "base/err.h"

/* Opens the runtime directory, making it (mode 0755) where it is missing. -EPERM "NotPermitted" when it
 * belongs to somebody else or others may write to it. Returns a descriptor. */
int runtime_dir_open(const char *path, bool create, struct err *err);

/* The path of an open runtime directory, without links, owned by the caller: what tells one latchd's daemons from
 * another's. NULL: it cannot be told. */
char *runtime_dir_path(int runtime_dir_fd);

/* Takes NAME.lock in the runtime directory; for a short while retries against a holder that is about to end.
 * Returns the descriptor that holds it. -EBUSY "Held" with the holder named. */
int runtime_dir_lock_service(int runtime_dir_fd, const char *runtime_dir, const char *service,
                             struct err *err);
