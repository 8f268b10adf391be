/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every lock and every listening unix socket of the machine, judged. /proc/locks says which files are locked,
 * but not where they are: whoever shows the lock has a descriptor of the file, and through that it is reached
 * whatever its name is, in another mount namespace or removed. */

#include <stdbool.h>
#include <stddef.h>

#include "lock/verdict.h"

struct survey_item {
    /* facts.path is what people call it: the file's path as its holder's descriptor has it; facts.unlinked:
     * it has no name any more. A lock that nobody was seen to hold is called by what the kernel's list has,
     * MAJOR:MINOR:INODE. A listener whose socket file is provably gone from the directory that it was bound
     * in has the listener's facts in facts.displaced. */
    struct lock_facts facts;
    const char *path_note; /* static: what is to be said of the path besides; NULL: it is what it seems */
    struct lock_judgement judgement;
};

struct lock_survey {
    struct survey_item *items; /* owned; sorted by path */
    size_t n;
    bool rows_hidden; /* the kernel's list is not whole here (another PID namespace): locks were looked for
                         among the descriptors of the processes that can be seen */
    bool sockets_unknown;  /* the kernel's table of unix sockets could not be read */
    unsigned processes;    /* looked at */
    unsigned unreadable;   /* of those: refused */
    unsigned locks_unseen; /* locks that nobody was seen to hold */
};

/* Connects to no socket but those that a lock in question guards, as lock_probe() does. Raises the soft limit
 * of open files to the hard one meanwhile. Locks that are dropped while it looks are left out. Fails for want
 * of resources, or of /proc itself. */
int lock_survey_read(struct lock_survey *ret);

#define _cleanup_lock_survey_ _cleanup_(lock_survey_done)
void lock_survey_done(struct lock_survey *survey);
