/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/advise.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/value.h"
#include "base/cgroup.h"

#define PLAIN_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define PLAIN_CHARACTERS PLAIN_LETTERS "_-./:@%+=,"

static bool is_printable(const char *path) {
    _cleanup_free_ char *copy = strdup(path);

    if (!copy)
        return false;
    value_make_printable(copy);
    return strcmp(copy, path) == 0;
}

static void add_in_quotes(struct text *text, const char *path) {
    text_add(text, "'");
    for (; *path; path++)
        if (*path == '\'')
            text_add(text, "'\\''");
        else
            text_add_bytes(text, path, 1);
    text_add(text, "'");
}

static void add_escaped(struct text *text, const char *path) {
    text_add(text, "$'");
    for (; *path; path++)
        if (strchr(PLAIN_CHARACTERS, *path))
            text_add_bytes(text, path, 1);
        else
            text_add_format(text, "\\%03o", (unsigned) (unsigned char) *path);
    text_add(text, "'");
}

/* One word of a shell's command line. */
static void add_word(struct text *text, const char *word) {
    if (*word && !word[strspn(word, PLAIN_CHARACTERS)])
        text_add(text, word);
    else if (is_printable(word))
        add_in_quotes(text, word);
    else
        add_escaped(text, word);
}

char *advise_quote_path(const char *path) {
    _cleanup_text_ struct text whole = {0}, word = {0};
    _cleanup_free_ char *full = NULL;
    char *line;

    if ((!strchr(path, '/') && path[0] != '@') || path[0] == '-')
        text_add(&whole, "./");
    text_add(&whole, path);
    if (text_take(&whole, &full) < 0)
        return NULL;
    add_word(&word, full);
    return text_take(&word, &line) < 0 ? NULL : line;
}

/* A name that may stand in a command as it is: the record is anybody's text, and ssh(1) would take a host
 * that begins with a minus for an option. */
static bool is_plain_host(const char *host) {
    return host[0] && host[0] != '-' && !host[strspn(host, PLAIN_LETTERS "-.")];
}

/* How to end a process, or to make it begin anew: by its unit where there is one. Nobody wants to be told
 * "kill 1". */
static void add_ending(struct text *text, const struct process_facts *process, const char *verb) {
    char unit[128];

    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (process->pid == 1 || process->kernel_thread)
        text_add(text, "that is for who runs this machine to do");
    else if (strstr(unit, ".service") && strncmp(unit, "user@", 5) != 0) {
        text_add_format(text, "systemctl %s ", verb);
        add_word(text, unit);
    } else
        text_add_format(text, strcmp(verb, "restart") == 0 ? "kill %d, then start it again" : "kill %d",
                        (int) process->pid);
}

/* Who has it, for whom advice is given: the first holder that has the lock, else any holder, else the
 * recorded process if that lives. */
static const struct process_facts *find_owner(const struct lock_facts *facts) {
    const struct recorded_facts *recorded = &facts->recorded;

    for (size_t i = 0; i < facts->n_holders; i++)
        if (lock_holder_has_lock(&facts->holders[i]))
            return &facts->holders[i].process;
    if (facts->n_holders > 0)
        return &facts->holders[0].process;
    if (recorded->pid > 0 && !recorded->is_thread &&
        (recorded->process.life == PROCESS_ALIVE || recorded->process.life == PROCESS_STOPPED))
        return &recorded->process;
    return NULL;
}

static void add_going_on(struct text *text, const struct process_facts *process) {
    char unit[128];

    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (!process->frozen)
        text_add_format(text, "leave it alone; to make it go on: kill -CONT %d", (int) process->pid);
    else if (strstr(unit, ".service") || strstr(unit, ".scope")) {
        text_add(text, "leave it alone; to make it go on: systemctl thaw ");
        add_word(text, unit);
    } else
        text_add_format(text, "leave it alone; it goes on when its control group (%s) is thawed",
                        process->cgroup ? process->cgroup : "see cgroups(7)");
}

static void add_for_held(struct text *text, const struct lock_facts *facts, enum verdict_reason reason) {
    const struct process_facts *process = find_owner(facts);

    if (reason == REASON_SPLIT || reason == REASON_UNREACHABLE) {
        for (size_t i = 0; i < facts->n_displaced && !process; i++)
            process = find_owner(&facts->displaced[i]);
        text_add(text, "start no second one; begin the living one anew: ");
        if (process)
            add_ending(text, process, "restart");
        else
            text_add(text, "it could not be seen which process that is");
        return;
    }
    if (process && reason == REASON_STOPPED && process->life == PROCESS_STOPPED) {
        add_going_on(text, process);
        return;
    }
    text_add(text, "leave it alone");
    if (!process || process->pid == 1)
        return;
    text_add(text, reason == REASON_BUSY ? "; see what keeps it busy, or if it shall go: "
                                         : "; if that process shall go: ");
    add_ending(text, process, "stop");
}

/* Up to eight numbers: who has more to end is better served by their unit. */
static void add_pids(struct text *text, const struct lock_facts *facts) {
    for (size_t i = 0; i < facts->n_holders && i < 8; i++)
        text_add_format(text, " %d", (int) facts->holders[i].process.pid);
}

static void add_for_leftovers(struct text *text, const struct lock_facts *facts) {
    bool many = facts->n_holders > 1;

    text_add(text, many ? "wait until PIDs" : "wait until PID");
    add_pids(text, facts);
    if (facts->shm.found && facts->shm.attached > 0) {
        text_add(text, many ? " end, or end them: kill -QUIT" : " ends, or end it: kill -QUIT");
        add_pids(text, facts);
    } else {
        text_add(text, many ? " end, or, if you know them for the dead daemon's helpers: kill"
                            : " ends, or, if you know it for the dead daemon's helper: kill");
        add_pids(text, facts);
    }
    text_add(text, "; do not remove the file");
}

static void add_as_root(struct text *text, const char *path) {
    if (geteuid() == 0)
        text_add(text, "do not remove it; look at the processes that could not be read");
    else
        text_add_format(text, "do not remove it; ask as root, who can read them all: sudo latchctl probe %s",
                        path);
}

static void add_for_other_host(struct text *text, const struct lock_facts *facts) {
    if (is_plain_host(facts->record.host))
        text_add_format(text, "do not remove it unless that process is dead; ask there: ssh %s ps -fp %d",
                        facts->record.host, (int) facts->record.pid);
    else
        text_add(text, "do not remove it unless that process is dead; ask on that machine");
}

static void add_for_unknown(struct text *text, const struct lock_facts *facts, enum verdict_reason reason,
                            const char *path) {
    switch (reason) {
    case REASON_ACCESS_DENIED:
    case REASON_INCOMPLETE_SCAN:
        add_as_root(text, path);
        return;
    case REASON_OTHER_HOST:
        add_for_other_host(text, facts);
        return;
    case REASON_OTHER_PID_NAMESPACE:
        text_add_format(
            text, "do not remove it; ask on the host, outside of the container: latchctl probe %s", path);
        return;
    case REASON_NETWORK_FILESYSTEM:
        text_add_format(text,
                        "do not remove it; ask on the machine that holds the lock (latchctl probe %s), or "
                        "keep locks on a local file system",
                        path);
        return;
    case REASON_EMPTY:
        text_add_format(
            text,
            "look again in a moment; if it stays empty, and you know that its daemon does not run: rm %s",
            path);
        return;
    case REASON_LOCKER_DEAD:
        if (facts->n_holders == 0)
            break;
        text_add(text,
                 facts->n_holders > 1
                     ? "do not remove it; if you know them for a dead daemon's helpers: wait until they "
                       "end, or kill"
                     : "do not remove it; if you know it for a dead daemon's helper: wait until it ends, "
                       "or kill");
        add_pids(text, facts);
        return;
    default:
        break;
    }
    text_add(text, facts->kind == PATH_KIND_OTHER || reason == REASON_NOT_A_LOCK
                       ? "it is no lock: leave it alone, or see whose it is"
                       : "do not remove it before you know who has it");
    if (geteuid() != 0 && facts->scanned && facts->unreadable_total > 0)
        text_add_format(text, "; root can see more: sudo latchctl probe %s", path);
}

/* `latchctl clear` removes a socket only under the lock file beside it, and a file only if its name or its
 * form says that it is a lock (clear.h). */
static void add_for_stale(struct text *text, const struct lock_facts *facts, const char *path) {
    if (facts->kind == PATH_KIND_SOCKET)
        text_add_format(text,
                        "latchctl clear %s, if a lock file guards it; else, while no daemon is just starting "
                        "on it: rm %s",
                        path, path);
    else if (!S_ISLNK(facts->mode) && !lock_name_tells(facts->path ? facts->path : ""))
        text_add_format(text, "if you know it for a PID file, which its name does not say: rm %s", path);
    else
        text_add_format(text, "latchctl clear %s", path);
}

char *lock_advise(const struct lock_facts *facts, const struct lock_context *context,
                  const struct lock_judgement *judgement, const char *service) {
    _cleanup_free_ char *path = advise_quote_path(facts->path ? facts->path : "");
    _cleanup_text_ struct text text = {0};
    char *line;

    (void) context;
    if (!path)
        return NULL;
    switch (judgement->verdict) {
    case VERDICT_ABSENT:
    case VERDICT_FREE:
        text_add(&text, "nothing to do");
        break;
    case VERDICT_STALE:
        if (service)
            text_add_format(&text, "latchctl clear %s", service);
        else
            add_for_stale(&text, facts, path);
        break;
    case VERDICT_ORPHANED:
        if (service)
            text_add_format(&text, "latchctl clear %s ends the leftover, or wait until it ends by itself",
                            service);
        else
            add_for_leftovers(&text, facts);
        break;
    case VERDICT_HELD:
        add_for_held(&text, facts, judgement->reason);
        break;
    default:
        add_for_unknown(&text, facts, judgement->reason, path);
    }
    if (text_take(&text, &line) < 0)
        return NULL;
    value_make_printable(line);
    return line;
}
