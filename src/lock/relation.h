/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a process has to do with the one that a lock's record names. It is for people to see: alone it proves
 * nothing. Pure. */

#include <jansson.h>

#include "lock/facts.h"

enum relation {
    RELATION_ITSELF,
    RELATION_CHILD,      /* its parent is the recorded process */
    RELATION_DESCENDANT, /* an ancestor further up is */
    RELATION_ANCESTOR,   /* it is the recorded one's parent, or further up */
    RELATION_SESSION,    /* in the same session, or in the one that the dead process led */
    RELATION_GROUP,      /* the same of the process group */
    RELATION_CGROUP,     /* in the same control group, which is not the root */
    RELATION_MAX,
    RELATION_INVALID = -EINVAL,
};
STRTAB_DECLARE(relation, enum relation);

/* Bits, 1 << RELATION_...; 0: none that can be seen, or nobody is recorded. Who is dead has lost its children
 * to init (or a subreaper), but a session and a process group keep the number of who led them. */
unsigned relation_find(const struct lock_facts *facts, const struct process_facts *process);

/* The bits as an array of words. New reference; NULL when memory runs out. */
json_t *relation_to_json(unsigned relations);
