/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/facts.h"

#include <string.h>

static const char *const lock_style_names[LOCK_STYLE_MAX] = {
    [LOCK_STYLE_FLOCK] = "flock",     [LOCK_STYLE_POSIX] = "posix",     [LOCK_STYLE_OFD] = "ofd",
    [LOCK_STYLE_PIDFILE] = "pidfile", [LOCK_STYLE_SYMLINK] = "symlink", [LOCK_STYLE_NONE] = "none",
};
STRTAB_DEFINE(lock_style, enum lock_style, lock_style_names, LOCK_STYLE_INVALID)

static const char *const path_kind_names[PATH_KIND_MAX] = {
    [PATH_KIND_ABSENT] = "absent", [PATH_KIND_LOCK] = "lock",   [PATH_KIND_PIDFILE] = "pidfile",
    [PATH_KIND_SOCKET] = "socket", [PATH_KIND_OTHER] = "other",
};
STRTAB_DEFINE(path_kind, enum path_kind, path_kind_names, PATH_KIND_INVALID)

static const char *const lock_family_names[LOCK_FAMILY_MAX] = {
    [LOCK_FAMILY_FLOCK] = "flock",
    [LOCK_FAMILY_POSIX] = "posix",
    [LOCK_FAMILY_OFD] = "ofd",
};
STRTAB_DEFINE(lock_family, enum lock_family, lock_family_names, LOCK_FAMILY_INVALID)

static const char *const family_state_names[FAMILY_STATE_MAX] = {
    [FAMILY_FREE] = "free",
    [FAMILY_HELD] = "held",
    [FAMILY_UNKNOWN] = "unknown",
};
STRTAB_DEFINE(family_state, enum family_state, family_state_names, FAMILY_STATE_INVALID)

static const char *const process_life_names[PROCESS_LIFE_MAX] = {
    [PROCESS_GONE] = "gone",       [PROCESS_ZOMBIE] = "zombie",   [PROCESS_ALIVE] = "alive",
    [PROCESS_STOPPED] = "stopped", [PROCESS_UNKNOWN] = "unknown",
};
STRTAB_DEFINE(process_life, enum process_life, process_life_names, PROCESS_UNKNOWN)

void process_facts_done(struct process_facts *process) {
    free(process->exe);
    free(process->cmdline);
    free(process->cgroup);
    free(process->service);
    free(process->invocation_id);
    for (size_t i = 0; i < process->n_ancestors; i++)
        free(process->ancestors[i].exe);
    free(process->ancestors);
    *process = (struct process_facts){0};
}

void lock_facts_done(struct lock_facts *facts) {
    free(facts->path);
    free(facts->error_subject);
    free(facts->content);
    free(facts->claims);
    process_facts_done(&facts->recorded.process);
    process_facts_done(&facts->recorded.namesake);
    for (size_t i = 0; i < facts->n_holders; i++)
        process_facts_done(&facts->holders[i].process);
    free(facts->holders);
    free(facts->unreadable);
    *facts = (struct lock_facts){0};
}

static bool same_process(const struct process_facts *a, const struct process_facts *b) {
    return a->pid == b->pid && a->start_ticks == b->start_ticks && a->life == b->life;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_file(const struct lock_facts *a, const struct lock_facts *b) {
    return a->kind == b->kind && a->error == b->error && a->device == b->device && a->inode == b->inode &&
           a->uid == b->uid && a->size_bytes == b->size_bytes && a->modified_usec == b->modified_usec &&
           a->changed_usec == b->changed_usec && same_text(a->content, b->content);
}

static bool same_recorded(const struct recorded_facts *a, const struct recorded_facts *b) {
    return a->pid == b->pid && a->is_thread == b->is_thread && a->is_self == b->is_self &&
           same_process(&a->process, &b->process) && same_process(&a->namesake, &b->namesake);
}

static bool same_listener(const struct listener_facts *a, const struct listener_facts *b) {
    return a->found == b->found && a->listening == b->listening && a->inode == b->inode &&
           a->peer.answer == b->peer.answer && a->peer.error == b->peer.error && a->peer.pid == b->peer.pid &&
           a->peer.life == b->peer.life;
}

static bool same_holder(const struct holder_facts *a, const struct holder_facts *b) {
    return same_process(&a->process, &b->process) && a->fd == b->fd && a->listener == b->listener &&
           memcmp(a->families, b->families, sizeof a->families) == 0;
}

/* What waits for a lock, and what could not be read, does not matter. */
bool lock_facts_same(const struct lock_facts *a, const struct lock_facts *b) {
    if (!same_file(a, b) || !same_recorded(&a->recorded, &b->recorded) ||
        !same_listener(&a->listener, &b->listener) ||
        memcmp(a->families, b->families, sizeof a->families) != 0 || a->n_holders != b->n_holders)
        return false;
    for (size_t i = 0; i < a->n_holders; i++) {
        size_t j;

        for (j = 0; j < b->n_holders; j++)
            if (same_holder(&a->holders[i], &b->holders[j]))
                break;
        if (j == b->n_holders)
            return false;
    }
    return true;
}
