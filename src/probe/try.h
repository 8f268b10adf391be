/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks the kernel for a lock, where its list may hide rows or the list would take too long. */

#include "lock/facts.h"

/* Sets facts->families, but for what is known to be held, from what flock(2) and fcntl(2) F_OFD_GETLK say of
 * the open file `fd`. A free flock is ours from one system call to the next; nothing else is taken. */
void lock_try_families(struct lock_facts *facts, int fd);
