/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/relation.h"

#include <string.h>

static const char *const relation_names[RELATION_MAX] = {
    [RELATION_ITSELF] = "itself",     [RELATION_CHILD] = "child",     [RELATION_DESCENDANT] = "descendant",
    [RELATION_ANCESTOR] = "ancestor", [RELATION_SESSION] = "session", [RELATION_GROUP] = "group",
    [RELATION_CGROUP] = "cgroup",
};
STRTAB_DEFINE(relation, enum relation, relation_names, RELATION_INVALID)

static bool has_ancestor(const struct process_facts *process, pid_t pid) {
    for (size_t i = 0; i < process->n_ancestors; i++)
        if (process->ancestors[i].pid == pid)
            return true;
    return false;
}

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* Of a living process its session is known; of a dead one only that it led the one with its number, which is
 * not given out again while the session has members (kernel/pid.c, free_pid()). */
static bool is_in_its(pid_t group, pid_t recorded_group, pid_t recorded, bool lives) {
    return group > 0 && (lives ? group == recorded_group : group == recorded);
}

unsigned relation_find(const struct lock_facts *facts, const struct process_facts *process) {
    const struct process_facts *recorded = &facts->recorded.process;
    pid_t pid = facts->recorded.pid;
    bool lives = recorded->life == PROCESS_ALIVE || recorded->life == PROCESS_STOPPED;
    unsigned relations = 0;

    if (pid <= 0)
        return 0;
    if (process->pid == pid)
        return 1U << RELATION_ITSELF;
    if (lives && process->ppid == pid)
        relations |= 1U << RELATION_CHILD;
    else if (lives && has_ancestor(process, pid))
        relations |= 1U << RELATION_DESCENDANT;
    else if (lives && process->pid != 1 && has_ancestor(recorded, process->pid))
        relations |= 1U << RELATION_ANCESTOR;
    if (is_in_its(process->session, recorded->session, pid, lives))
        relations |= 1U << RELATION_SESSION;
    if (is_in_its(process->pgrp, recorded->pgrp, pid, lives))
        relations |= 1U << RELATION_GROUP;
    if (lives && same_text(process->cgroup, recorded->cgroup) && strcmp(process->cgroup, "/") != 0)
        relations |= 1U << RELATION_CGROUP;
    return relations;
}

json_t *relation_to_json(unsigned relations) {
    json_t *words = json_array();

    for (enum relation i = 0; i < RELATION_MAX; i++)
        if (relations & 1U << i)
            json_array_append_new(words, json_string(relation_to_string(i)));
    return words;
}
