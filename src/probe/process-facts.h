/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "lock/facts.h"

/* Everything worth knowing of one process, pinned while it is read. A process that is gone gives
 * life PROCESS_GONE, not an error. The wall clock's offset makes start_usec. */
int process_facts_read(int proc_fd, pid_t pid, struct process_facts *ret);
