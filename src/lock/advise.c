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

/* Of whom advice is given, in the order of the holders. More than that are better served by their unit. */
#define OWNERS_MAX 8

struct owners {
    const struct process_facts *each[OWNERS_MAX];
    size_t n;     /* in `each` */
    size_t total; /* with those that have no place there */
};

static void add_owner(struct owners *owners, const struct process_facts *process) {
    if (owners->n < OWNERS_MAX)
        owners->each[owners->n++] = process;
    owners->total++;
}

static bool is_ended_by_others(const struct process_facts *process) {
    return process->pid == 1 || process->kernel_thread;
}

/* Who has it: the holders that have the lock, else any holder, else the recorded process if that lives. Init
 * and threads of the kernel count only if there is nobody else. */
static struct owners find_owners(const struct lock_facts *facts) {
    const struct recorded_facts *recorded = &facts->recorded;
    struct owners owners = {0}, others = {0};
    bool any_lock = false;

    for (size_t i = 0; i < facts->n_holders; i++)
        any_lock |= lock_holder_has_lock(&facts->holders[i]);
    for (size_t i = 0; i < facts->n_holders; i++)
        if (!any_lock || lock_holder_has_lock(&facts->holders[i]))
            add_owner(is_ended_by_others(&facts->holders[i].process) ? &others : &owners,
                      &facts->holders[i].process);
    if (facts->n_holders == 0 && recorded->pid > 0 && !recorded->is_thread &&
        (recorded->process.life == PROCESS_ALIVE || recorded->process.life == PROCESS_STOPPED))
        add_owner(is_ended_by_others(&recorded->process) ? &others : &owners, &recorded->process);
    return owners.n > 0 ? owners : others;
}

/* A name of a service as latchd itself permits it: the environment of a process is its own to set. */
static bool is_service_name(const char *name) {
    return name && name[0] && name[0] != '-' && name[0] != '.' && !name[strspn(name, PLAIN_LETTERS "_.@:-")];
}

/* Whether latchd runs above the process, as far as can be seen: what `latchd exec` became has the same
 * environment and no supervisor. */
static bool is_supervised(const struct process_facts *process) {
    if (!is_service_name(process->service))
        return false;
    for (size_t i = 0; i < process->n_ancestors; i++) {
        const char *exe = process->ancestors[i].exe, *slash = exe ? strrchr(exe, '/') : NULL;

        if (!exe || strcmp(slash ? slash : exe, "/latchd") == 0 ||
            strcmp(slash ? slash : exe, "/latchd (deleted)") == 0) /* replaced by a newer one */
            return true;
    }
    return process->n_ancestors == 0;
}

/* What ends a process without its supervisor starting it again: "latchctl stop kea", "systemctl stop
 * a.service". NULL: nothing but kill(1), or no memory. `verb` is stop or restart. */
static char *find_command(const struct process_facts *process, const char *verb) {
    _cleanup_text_ struct text text = {0};
    char unit[128], *line;

    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (is_supervised(process))
        text_add_format(&text, "latchctl %s %s", verb, process->service);
    else if (strstr(unit, ".service") && strncmp(unit, "user@", 5) != 0) {
        text_add_format(&text, "systemctl %s ", verb);
        add_word(&text, unit);
    } else
        return NULL;
    return text_take(&text, &line) < 0 ? NULL : line;
}

/* "kill 812 815"; SIGTERM only waits in a stopped process until that goes on (signal(7)), so:
 * "kill 812 815 && kill -CONT 815". */
static void add_kill(struct text *text, const char *kill, const struct process_facts *const processes[],
                     size_t n) {
    bool any_stopped = false, any_frozen = false;

    text_add(text, kill);
    for (size_t i = 0; i < n; i++) {
        text_add_format(text, " %d", (int) processes[i]->pid);
        any_frozen |= processes[i]->frozen;
        any_stopped |= processes[i]->life == PROCESS_STOPPED && !processes[i]->frozen;
    }
    if (any_stopped) {
        text_add(text, " && kill -CONT");
        for (size_t i = 0; i < n; i++)
            if (processes[i]->life == PROCESS_STOPPED && !processes[i]->frozen)
                text_add_format(text, " %d", (int) processes[i]->pid);
    }
    if (any_frozen)
        text_add(text, ", and thaw the control group that is frozen (cgroups(7))");
}

/* How to end them, or to make them begin anew: each by its service or unit where it has one. Nobody wants to
 * be told "kill 1". */
static void add_endings(struct text *text, const struct owners *owners, const char *verb) {
    const struct process_facts *killed[OWNERS_MAX];
    char *commands[OWNERS_MAX];
    size_t n_killed = 0, n_commands = 0;

    if (owners->n > 0 && is_ended_by_others(owners->each[0])) {
        text_add(text, "that is for who runs this machine to do");
        return;
    }
    for (size_t i = 0; i < owners->n; i++) {
        char *command = find_command(owners->each[i], verb);

        if (!command) {
            killed[n_killed++] = owners->each[i];
            continue;
        }
        for (size_t k = 0; k < n_commands && command; k++)
            if (strcmp(commands[k], command) == 0) {
                free(command);
                command = NULL;
            }
        if (command)
            commands[n_commands++] = command;
    }
    for (size_t i = 0; i < n_commands; i++) {
        text_add_format(text, "%s%s", i > 0 ? "; " : "", commands[i]);
        free(commands[i]);
    }
    if (n_killed > 0) {
        text_add(text, n_commands > 0 ? "; " : "");
        add_kill(text, "kill", killed, n_killed);
        if (strcmp(verb, "restart") == 0)
            text_add_format(text, ", then start %s again", n_killed > 1 ? "them" : "it");
    }
    if (owners->total > owners->n)
        text_add_format(text, ", and %zu more", owners->total - owners->n);
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
    struct owners owners = find_owners(facts);

    if (reason == REASON_SPLIT || reason == REASON_UNREACHABLE) {
        bool two = owners.n > 0;

        for (size_t i = 0; i < facts->n_displaced && (owners.n == 0 || two); i++) {
            struct owners others = find_owners(&facts->displaced[i]);

            for (size_t j = 0; j < others.n; j++)
                add_owner(&owners, others.each[j]);
        }
        if (two) {
            text_add(text, "two run side by side; end both, then start one: ");
            add_endings(text, &owners, "stop");
            return;
        }
        text_add(text, "start no second one; begin the living one anew: ");
        if (owners.n > 0)
            add_endings(text, &owners, "restart");
        else
            text_add(text, "it could not be seen which process that is");
        return;
    }
    if (owners.n > 0 && reason == REASON_STOPPED && owners.each[0]->life == PROCESS_STOPPED) {
        add_going_on(text, owners.each[0]);
        return;
    }
    text_add(text, "leave it alone");
    if (owners.n == 0 || is_ended_by_others(owners.each[0]))
        return;
    text_add(text, reason == REASON_BUSY ? "; see what keeps it busy, or if it shall go: "
                   : owners.total > 1    ? "; if those processes shall go: "
                                         : "; if that process shall go: ");
    add_endings(text, &owners, "stop");
}

/* The first holders, whatever it is that they have, and how many have no place. */
static struct owners find_holders(const struct lock_facts *facts) {
    struct owners holders = {0};

    for (size_t i = 0; i < facts->n_holders; i++)
        add_owner(&holders, &facts->holders[i].process);
    return holders;
}

/* "kill 812 815, and 3 more" */
static void add_kill_of(struct text *text, const char *kill, const struct owners *owners) {
    add_kill(text, kill, owners->each, owners->n);
    if (owners->total > owners->n)
        text_add_format(text, ", and %zu more", owners->total - owners->n);
}

static void add_for_leftovers(struct text *text, const struct lock_facts *facts) {
    struct owners holders = find_holders(facts);
    bool many = holders.total > 1;

    text_add(text, many ? "wait until PIDs" : "wait until PID");
    for (size_t i = 0; i < holders.n; i++)
        text_add_format(text, " %d", (int) holders.each[i]->pid);
    if (facts->shm.found && facts->shm.attached > 0)
        add_kill_of(text, many ? " end, or end them: kill -QUIT" : " ends, or end it: kill -QUIT", &holders);
    else
        add_kill_of(text,
                    many ? " end, or, if you know them for the dead daemon's helpers: kill"
                         : " ends, or, if you know it for the dead daemon's helper: kill",
                    &holders);
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
    struct owners holders;

    switch (reason) {
    case REASON_ACCESS_DENIED:
    case REASON_INCOMPLETE_SCAN:
        add_as_root(text, path);
        return;
    case REASON_OTHER_HOST:
        add_for_other_host(text, facts);
        return;
    case REASON_OTHER_LAYER:
        text_add_format(
            text, "do not remove it; ask by the path that its daemon uses, on the overlay or in the layer, "
                  "and see with latchctl probe --all who has the other");
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
        holders = find_holders(facts);
        if (holders.n == 0)
            break;
        add_kill_of(text,
                    holders.total > 1
                        ? "do not remove it; if you know them for a dead daemon's helpers: wait until they "
                          "end, or kill"
                        : "do not remove it; if you know it for a dead daemon's helper: wait until it ends, "
                          "or kill",
                    &holders);
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
    if (facts->kind == PATH_KIND_SOCKET && !facts->guarded)
        text_add_format(text, "no lock file guards it: see that no daemon is just starting, then: rm %s",
                        path);
    else if (facts->kind != PATH_KIND_SOCKET && !S_ISLNK(facts->mode) &&
             !lock_name_tells(facts->path ? facts->path : ""))
        text_add_format(text, "if you know it for a PID file, which its name does not say: rm %s", path);
    else
        text_add_format(text, "latchctl clear %s", path);
}

/* Root cannot read init in many a container, and a daemon is no init. */
static bool is_anybody_unread(const struct lock_facts *facts) {
    bool only_init = geteuid() == 0 && facts->unreadable_total == 1 && facts->n_unreadable == 1 &&
                     facts->unreadable[0] == 1;

    return facts->scanned && !facts->complete &&
           (facts->hidden || (facts->unreadable_total > 0 && !only_init));
}

/* "127.0.0.1:5432", ":6379", "[::1]:80": what people mean by that is no file. 0: it is none of these. */
static int find_port(const char *path) {
    const char *colon = strrchr(path, ':');
    int port;

    if (!colon || strchr(path, '/') || path[0] == '@' || value_parse_int(colon + 1, 1, 65535, &port) < 0)
        return 0;
    return port;
}

static void add_for_nothing(struct text *text, const struct lock_facts *facts, enum verdict verdict,
                            const char *path) {
    int port = verdict == VERDICT_ABSENT && facts->path ? find_port(facts->path) : 0;

    if (port > 0)
        text_add_format(
            text, "only files and unix sockets are probed; who listens on that port: ss -ltnp 'sport = :%d'",
            port);
    else if (!is_anybody_unread(facts))
        text_add(text, "nothing to do");
    else {
        text_add(text, "nothing in the way as far as can be seen; ");
        if (facts->hidden)
            text_add(text, "other users' processes are hidden (hidepid=)");
        else
            text_add_format(text, "%u of %u processes could not be read", facts->unreadable_total,
                            facts->processes);
        text_add(text, ", and a daemon that lives on a removed or renamed file would not be seen");
        if (geteuid() != 0)
            text_add_format(text, ": sudo latchctl probe %s", path);
    }
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
        add_for_nothing(&text, facts, judgement->verdict, path);
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
