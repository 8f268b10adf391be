/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/facts.h"

#include <string.h>
#include <sys/stat.h>

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

static const char *const holder_via_names[VIA_MAX] = {
    [VIA_FD] = "fd",
    [VIA_MAPS] = "maps",
    [VIA_IO_URING] = "io_uring",
    [VIA_IN_FLIGHT] = "in-flight",
};
STRTAB_DEFINE(holder_via, enum holder_via, holder_via_names, VIA_INVALID)

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

static bool copy_text(const char *text, char **ret) {
    *ret = text ? strdup(text) : NULL;
    return !text || *ret;
}

int process_facts_copy(const struct process_facts *process, struct process_facts *ret) {
    struct process_facts copy = *process;
    bool whole;

    copy.n_ancestors = 0;
    copy.ancestors = calloc(process->n_ancestors + 1, sizeof *copy.ancestors);
    whole = copy.ancestors != NULL;
    whole &= copy_text(process->exe, &copy.exe);
    whole &= copy_text(process->cmdline, &copy.cmdline);
    whole &= copy_text(process->cgroup, &copy.cgroup);
    whole &= copy_text(process->service, &copy.service);
    whole &= copy_text(process->invocation_id, &copy.invocation_id);
    for (size_t i = 0; copy.ancestors && i < process->n_ancestors; i++) {
        copy.ancestors[i].pid = process->ancestors[i].pid;
        whole &= copy_text(process->ancestors[i].exe, &copy.ancestors[i].exe);
        copy.n_ancestors++;
    }
    if (!whole) {
        process_facts_done(&copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
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
    for (size_t i = 0; i < facts->n_openers; i++)
        process_facts_done(&facts->openers[i].process);
    free(facts->openers);
    for (size_t i = 0; i < facts->n_waiters; i++)
        process_facts_done(&facts->waiters[i]);
    free(facts->waiters);
    for (size_t i = 0; i < facts->n_displaced; i++)
        lock_facts_done(&facts->displaced[i]);
    free(facts->displaced);
    free(facts->unreadable);
    *facts = (struct lock_facts){0};
}

bool lock_facts_any_family(const struct lock_facts *facts, enum family_state state) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (facts->families[f] == state)
            return true;
    return false;
}

bool lock_facts_is_held(const struct lock_facts *facts) {
    return lock_facts_any_family(facts, FAMILY_HELD);
}

bool lock_holder_has_lock(const struct holder_facts *holder) {
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (holder->families[f])
            return true;
    return false;
}

const struct holder_facts *lock_facts_find_holder(const struct lock_facts *facts, pid_t pid) {
    for (size_t i = 0; pid > 0 && i < facts->n_holders; i++)
        if (facts->holders[i].process.pid == pid)
            return &facts->holders[i];
    return NULL;
}

bool lock_facts_has_lock(const struct lock_facts *facts, pid_t pid) {
    const struct holder_facts *holder = lock_facts_find_holder(facts, pid);

    return holder && lock_holder_has_lock(holder);
}

bool lock_facts_names_owner(const struct lock_facts *facts) {
    return facts->kind == PATH_KIND_PIDFILE || (facts->kind == PATH_KIND_LOCK && S_ISLNK(facts->mode));
}

/* Firefox and its kin write an address instead of a name. */
bool lock_facts_names_other_host(const struct lock_facts *facts) {
    const struct lock_record *record = &facts->record;

    if (!record->host[0])
        return false;
    if (record->form == RECORD_MOZILLA)
        return strncmp(record->host, "127.", 4) != 0;
    return strcmp(record->host, facts->host) != 0;
}

bool lock_facts_names_other_pid_namespace(const struct lock_facts *facts) {
    return facts->record.pid_namespace > 0 && facts->record.pid_namespace != facts->pid_namespace;
}

bool lock_facts_is_recorded_alive(const struct lock_facts *facts) {
    const struct recorded_facts *recorded = &facts->recorded;

    return lock_facts_names_owner(facts) && !recorded->is_thread && !recorded->is_self &&
           !recorded->process.kernel_thread &&
           (recorded->process.life == PROCESS_ALIVE || recorded->process.life == PROCESS_STOPPED) &&
           recorded->process.start_usec <= facts->modified_usec;
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
    return same_process(&a->process, &b->process) && a->via == b->via && a->fd == b->fd &&
           a->listener == b->listener && memcmp(a->families, b->families, sizeof a->families) == 0;
}

static bool same_displaced(const struct lock_facts *a, const struct lock_facts *b) {
    if (a->n_displaced != b->n_displaced)
        return false;
    for (size_t i = 0; i < a->n_displaced; i++)
        if (!lock_facts_same(&a->displaced[i], &b->displaced[i]))
            return false;
    return true;
}

/* What waits for a lock, who has it open, and what could not be read, does not matter. */
bool lock_facts_same(const struct lock_facts *a, const struct lock_facts *b) {
    if (!same_file(a, b) || !same_recorded(&a->recorded, &b->recorded) ||
        !same_listener(&a->listener, &b->listener) || !same_displaced(a, b) ||
        a->shm.attached != b->shm.attached || memcmp(a->families, b->families, sizeof a->families) != 0 ||
        a->n_holders != b->n_holders)
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
