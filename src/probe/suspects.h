/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* In which order processes are looked at: those first that the facts name, then those near to them. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lock/facts.h"

/* So many of the nearest are suspects, besides those in a group or session that a named process leads or is
 * in. */
#define SUSPECTS_NEAREST 64

struct suspect {
    pid_t pid;
    unsigned long distance; /* from the nearest named number; 0: named, or of its group or session */
};

struct suspects {
    struct suspect *list; /* owned; every process that /proc shows */
    size_t n;
    size_t n_likely; /* the first so many; all, where nothing names anybody */
    bool saw_init; /* every PID namespace has a process 1: where none is shown, hidepid= hides more (proc(5))
                    */
};

void suspects_done(struct suspects *suspects);

/* Whether the facts name that process: as who took the lock, as the record's owner, as who called listen(2).
 */
bool suspects_is_named(const struct lock_facts *facts, pid_t pid);

/* The numbers that the facts name, at most max, without repetition; returns how many. */
size_t suspects_name(const struct lock_facts *facts, pid_t *pids, size_t n, size_t max);

/* Lists every process, in order of likelihood when there are `named` numbers, else as /proc has it. */
int suspects_list(int proc_fd, const pid_t *named, size_t n_named, struct suspects *ret);
