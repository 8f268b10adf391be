/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/describe.h"

#include <pwd.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/value.h"
#include "base/cgroup.h"
#include "lock/relation.h"

char *process_describe(const struct process_facts *process) {
    char unit[128], user[64] = "", buffer[2048];
    struct passwd entry, *found = NULL;
    char *text;

    cgroup_unit(process->cgroup, unit, sizeof unit);
    if (process->uid != (uid_t) -1) {
        if (getpwuid_r(process->uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
            snprintf(user, sizeof user, ", user %s", found->pw_name);
        else
            snprintf(user, sizeof user, ", uid %u", process->uid);
    }
    if (asprintf(&text, "%s (PID %d%s%s%s)", process->comm[0] ? process->comm : "a process",
                 (int) process->pid, user, unit[0] ? ", unit " : "", unit) < 0)
        return NULL;
    return text;
}

/* What is to be said of a holder by another means than a descriptor. Attached shared memory is told of the
 * whole. */
static const char *describe_means(const struct lock_facts *facts, const struct holder_facts *holder) {
    static const char *const means[VIA_MAX] = {
        [VIA_FD] = "",
        [VIA_MAPS] = ", which has it mapped,",
        [VIA_IO_URING] = ", which has it registered with io_uring,",
        [VIA_IN_FLIGHT] = ", in whose socket it is in flight,",
    };

    if (holder->via == VIA_MAPS && facts->shm.found && !lock_holder_has_lock(holder))
        return "";
    return means[holder->via];
}

/* Up to three holders in words, and how many more there are. */
static char *describe_holders(const struct lock_facts *facts) {
    _cleanup_text_ struct text text = {0};
    char *line;

    for (size_t i = 0; i < facts->n_holders && i < 3; i++) {
        _cleanup_free_ char *one = process_describe(&facts->holders[i].process);

        text_add_format(&text, "%s%s%s", i ? " and " : "", one ? one : "a process",
                        describe_means(facts, &facts->holders[i]));
    }
    if (facts->n_holders > 3)
        text_add_format(&text, " and %zu more", facts->n_holders - 3);
    return text_take(&text, &line) < 0 ? NULL : line;
}

/* The lock's owner as its record names it: "PID 812", "PID 812 on host web1". */
static char *describe_recorded(const struct lock_facts *facts) {
    const struct lock_record *record = &facts->record;
    _cleanup_text_ struct text text = {0};
    char *line;

    text_add_format(&text, "PID %d", (int) (facts->recorded.pid > 0 ? facts->recorded.pid : record->pid));
    if (record->host[0] && record->form == RECORD_MOZILLA)
        text_add_format(&text, " on the machine with the address %s", record->host);
    else if (record->host[0])
        text_add_format(&text, " on host %s", record->host);
    return text_take(&text, &line) < 0 ? NULL : line;
}

/* "postmaster" or "owner": whose shared memory it is. */
static const char *shm_owner(const struct lock_facts *facts) {
    return facts->record.form == RECORD_POSTGRESQL ? "postmaster" : "owner";
}

static bool is_shm_attached(const struct lock_facts *facts) {
    return facts->shm.found && facts->shm.attached > 0 && !lock_facts_is_held(facts);
}

static const char *plural(unsigned long n, const char *one, const char *many) {
    return n == 1 ? one : many;
}

/* Who lives, where nobody was seen to hold it: the main process that latchd knows, the recorded one, who
 * listens. */
static char *describe_living(const struct lock_facts *facts, const struct lock_context *context) {
    enum process_life life = facts->recorded.process.life;
    pid_t pid = 0;
    char *text;

    if (facts->recorded.pid > 0 && (life == PROCESS_ALIVE || life == PROCESS_STOPPED) &&
        !facts->recorded.is_thread)
        return process_describe(&facts->recorded.process);
    if (context && (context->main_life == PROCESS_ALIVE || context->main_life == PROCESS_STOPPED))
        pid = context->main.pid;
    if (pid <= 0)
        pid = facts->listener.peer.pid;
    if (pid <= 0)
        return strdup("a process that could not be seen");
    return asprintf(&text, "PID %d", (int) pid) < 0 ? NULL : text;
}

static bool is_frozen(const struct lock_facts *facts) {
    return facts->n_holders > 0 ? facts->holders[0].process.frozen : facts->recorded.process.frozen;
}

static char *describe_held(const struct lock_facts *facts, const struct lock_context *context,
                           enum verdict_reason reason) {
    _cleanup_free_ char *holders = describe_holders(facts), *living = describe_living(facts, context);
    const char *who = holders && holders[0] ? holders : living ? living : "a process";
    bool many = facts->n_holders > 1;
    char *text = NULL;
    int r;

    switch (reason) {
    case REASON_BUSY:
        r = asprintf(&text,
                     "somebody listens on it, but its queue is full (%u of %" PRIu64 " connections wait): %s",
                     facts->listener.queue, (uint64_t) facts->listener.backlog + 1, who);
        break;
    case REASON_STOPPED:
        r = asprintf(&text, "%s %s it, and %s %s", who, many ? "have" : "has", many ? "are" : "is",
                     is_frozen(facts)
                         ? "frozen with the control group (it lives, and goes on when that is thawed)"
                     : many ? "stopped (they live: SIGCONT makes them go on)"
                            : "stopped (it lives: SIGCONT makes it go on)");
        break;
    case REASON_UNLOCKED:
        if (lock_facts_names_owner(facts) && facts->n_holders == 0)
            r = asprintf(&text, "it names PID %d, which is dead, but its daemon lives: %s",
                         (int) facts->recorded.pid, living ? living : "a process");
        else if (facts->n_holders == 0)
            r = asprintf(&text, "nobody has locked it, but its daemon lives: %s", who);
        else
            r = asprintf(&text, "%s %s it, and the process that took it lives", who, many ? "have" : "has");
        break;
    case REASON_STORED:
        r = asprintf(&text,
                     "who took it is dead; %s %s it, and systemd keeps descriptors for its services "
                     "(FileDescriptorStoreMax=)",
                     who, many ? "have" : "has");
        break;
    case REASON_NOT_LISTENING:
        r = asprintf(&text, "nobody listens on it (yet), but its owner lives: %s", who);
        break;
    default:
        if (lock_facts_names_owner(facts) && facts->n_holders == 0)
            r = asprintf(&text, "it names %s, which lives", who);
        else
            r = asprintf(&text, many ? "%s have it and live" : "%s has it and lives", who);
    }
    return r < 0 ? NULL : text;
}

static char *describe_stale(const struct lock_facts *facts, enum verdict_reason reason) {
    _cleanup_free_ char *process = NULL;
    char when[VALUE_FORMAT_MAX], *text = NULL;
    int pid = (int) facts->recorded.pid, r;

    switch (reason) {
    case REASON_ZOMBIE:
        r = asprintf(&text,
                     "it names PID %d, which is dead: a zombie that its parent (PID %d) has not reaped", pid,
                     (int) facts->recorded.process.ppid);
        break;
    case REASON_RECYCLED:
        process = process_describe(&facts->recorded.process);
        if (facts->recorded.process.kernel_thread)
            r = asprintf(&text, "it names PID %d, and that number belongs to %s, a thread of the kernel", pid,
                         process ? process : "another process");
        else
            r = asprintf(
                &text,
                "it names PID %d, and that number now belongs to %s, which began at %s, after the file was "
                "written",
                pid, process ? process : "another process",
                value_format_time(facts->recorded.process.start_usec, when));
        break;
    case REASON_THREAD:
        r = asprintf(&text, "it names PID %d, which is no process but a thread's number now", pid);
        break;
    case REASON_SELF:
        r = asprintf(&text, "it names PID %d, which is the observer's own number now", pid);
        break;
    case REASON_REFUSED:
        r = asprintf(&text, "nobody listens on it: its owner is dead");
        break;
    default:
        process = describe_recorded(facts);
        r = asprintf(&text, "it names %s, and there is no such process%s", process ? process : "a process",
                     facts->record.host[0] ? " here, which is that host" : "");
    }
    return r < 0 ? NULL : text;
}

static char *describe_orphaned(const struct lock_facts *facts) {
    _cleanup_free_ char *holders = describe_holders(facts);
    char owner[64] = "who took it is dead", *text = NULL;

    if (is_shm_attached(facts)) {
        if (asprintf(&text, "its %s (PID %d) is dead, and %u %s shared memory attached still: %s",
                     shm_owner(facts), (int) facts->recorded.pid, facts->shm.attached,
                     plural(facts->shm.attached, "process has its", "processes have its"),
                     holders ? holders : "processes") < 0)
            return NULL;
        return text;
    }
    if (facts->recorded.pid > 0)
        snprintf(owner, sizeof owner, "PID %d took it and is dead", (int) facts->recorded.pid);
    if (asprintf(&text, "%s; %s inherited it and keep%s it alive", owner, holders ? holders : "a leftover",
                 facts->n_holders > 1 ? "" : "s") < 0)
        return NULL;
    return text;
}

static char *describe_unknown(const struct lock_facts *facts, enum verdict_reason reason) {
    _cleanup_free_ char *holders = describe_holders(facts), *process = NULL;
    char taker[80] = "who took it is dead, or cannot be seen from here", *text = NULL;
    int r;

    if (facts->recorded.pid > 0)
        snprintf(taker, sizeof taker, "PID %d took it and %s", (int) facts->recorded.pid,
                 facts->recorded.process.life == PROCESS_GONE ||
                         facts->recorded.process.life == PROCESS_ZOMBIE
                     ? "is dead"
                     : "does not show it");
    if (is_shm_attached(facts) && facts->n_holders == 0)
        return asprintf(
                   &text,
                   "its %s (PID %d) is dead, and %u %s shared memory attached still, which cannot be seen "
                   "from here",
                   shm_owner(facts), (int) facts->recorded.pid, facts->shm.attached,
                   plural(facts->shm.attached, "process has its", "processes have its")) < 0
                   ? NULL
                   : text;
    switch (reason) {
    case REASON_OTHER_HOST:
        process = describe_recorded(facts);
        r = asprintf(&text, "it names %s, and this is %s: whether that lives can be seen there only",
                     process ? process : "a process", facts->host[0] ? facts->host : "another");
        break;
    case REASON_LOCKER_DEAD:
        r = asprintf(
            &text,
            "%s; %s %s it now, and whether that is the dead one's leftover or its master cannot be told",
            taker, holders ? holders : "somebody", facts->n_holders > 1 ? "have" : "has");
        break;
    case REASON_INCOMPLETE_SCAN:
        r = asprintf(&text,
                     "somebody holds it, but %u of %u processes could not be read (PID %d first) and none of "
                     "the others has it",
                     facts->unreadable_total, facts->processes,
                     facts->n_unreadable ? (int) facts->unreadable[0] : 0);
        break;
    case REASON_LOCKER_UNCLEAR:
        process = process_describe(&facts->recorded.process);
        r = asprintf(
            &text,
            "the kernel names %s as who took it, which does not have it; %s %s it: either it was handed "
            "on, or that number was given out again",
            process ? process : "a process", holders && holders[0] ? holders : "somebody",
            facts->n_holders > 1 ? "have" : "has");
        break;
    case REASON_OTHER_LAYER:
        r = asprintf(&text,
                     "an overlay shows it and a layer of that can be reached as well: who has it through the "
                     "other does not show in this one");
        break;
    case REASON_OTHER_PID_NAMESPACE:
        if (facts->recorded.namesake.pid > 0) {
            process = process_describe(&facts->recorded.namesake);
            r = asprintf(
                &text,
                "it names PID %d, which is dead here, but %s has that number in a PID namespace of its own",
                (int) facts->recorded.pid, process ? process : "a process");
        } else if (facts->record.pid_namespace > 0 && facts->record.pid_namespace != facts->pid_namespace)
            r = asprintf(&text, "it names PID %d of another PID namespace (%llu)", (int) facts->record.pid,
                         (unsigned long long) facts->record.pid_namespace);
        else if (lock_facts_names_owner(facts) && !lock_facts_is_held(facts))
            r = asprintf(
                &text,
                "it names PID %d, which is none of this PID namespace's that could have written it, but "
                "a process of that number may live in another one that has the file as well",
                (int) facts->recorded.pid);
        else
            r = asprintf(&text, "somebody holds it, and nobody in this PID namespace does");
        break;
    case REASON_UNATTRIBUTED:
        r = asprintf(
            &text, "somebody holds it, and no process shows it in its descriptors (it may be in flight in a "
                   "socket, or kept by the kernel)");
        break;
    case REASON_ACCESS_DENIED:
        if (!facts->error_subject && facts->unreadable_total > 0)
            r = asprintf(&text, "%u of %u processes could not be read, and what would tell is among them",
                         facts->unreadable_total, facts->processes);
        else
            r = asprintf(&text, "it could not be looked at%s%s: permission denied",
                         facts->error_subject ? ", " : "", facts->error_subject ? facts->error_subject : "");
        break;
    case REASON_NETWORK_FILESYSTEM:
        if (facts->error == ETIMEDOUT)
            r = asprintf(&text, "no answer came in time%s%s", facts->error_subject ? ", " : "",
                         facts->error_subject ? facts->error_subject : "");
        else if (facts->error == EREMOTE)
            r = asprintf(&text, "a look may have to wait for ever, so nobody looked%s%s",
                         facts->error_subject ? ": " : "", facts->error_subject ? facts->error_subject : "");
        else
            r = asprintf(
                &text,
                "it is on a network file system (%s), whose locks live elsewhere: nobody is seen to hold "
                "it from here, and that proves nothing",
                facts->filesystem);
        break;
    case REASON_NOT_A_LOCK:
        r = asprintf(&text, "%s%s",
                     facts->kind == PATH_KIND_PIDFILE ? "no PID stands in it"
                     : S_ISLNK(facts->mode) ? "it is a symbolic link, and no owner stands in it; it leads to "
                                            : "it is neither a regular file nor a socket",
                     !S_ISLNK(facts->mode) ? ""
                     : facts->content      ? facts->content
                                           : "what could not be read");
        break;
    case REASON_EMPTY:
        r = asprintf(&text, "it is empty: its writer crashed, or is just about to write it");
        break;
    case REASON_MAYBE_DAEMON:
        if (facts->record.several && facts->recorded.process.life == PROCESS_GONE) {
            r = asprintf(&text,
                         "it names several numbers; PID %d, the first, is dead, and any of the others may be "
                         "its owner's",
                         (int) facts->recorded.pid);
            break;
        }
        process = process_describe(&facts->recorded.process);
        r = asprintf(&text,
                     "it names %s, which may be its owner but began after the file was written: either the "
                     "number was given out again, or the clock was set",
                     process ? process : "a process");
        break;
    default:
        if (facts->error || facts->listener.peer.error)
            r = asprintf(&text, "%s: %s", facts->error_subject ? facts->error_subject : "connecting to it",
                         strerror(facts->error ? facts->error : facts->listener.peer.error));
        else
            r = asprintf(&text, "somebody listens on the socket that it guards, and who does cannot be seen");
    }
    return r < 0 ? NULL : text;
}

static char *describe_verdict(const struct lock_facts *facts, const struct lock_context *context,
                              const struct lock_judgement *judgement) {
    switch (judgement->verdict) {
    case VERDICT_ABSENT:
        return strdup(facts->path && facts->path[0] == '@'
                          ? "nobody has that name bound in this network namespace"
                          : "there is no such file");
    case VERDICT_FREE:
        return strdup("nobody holds it: a leftover lock file is in nobody's way");
    case VERDICT_STALE:
        return describe_stale(facts, judgement->reason);
    case VERDICT_ORPHANED:
        return describe_orphaned(facts);
    case VERDICT_HELD:
        return describe_held(facts, context, judgement->reason);
    default:
        return describe_unknown(facts, judgement->reason);
    }
}

/* What stood at the path once decided it: "what stands there is free, but ...". */
static char *describe_displaced(const struct lock_facts *facts, const struct lock_judgement *own,
                                const struct lock_facts *displaced, const struct lock_context *context,
                                const struct lock_judgement *its) {
    _cleanup_free_ char *own_words = describe_verdict(facts, context, own);
    _cleanup_free_ char *words = describe_verdict(displaced, context, its);
    bool is_socket = displaced->kind == PATH_KIND_SOCKET; /* the kernel does not tell where its file is */
    const char *sort = is_socket ? "socket" : "file";
    const char *fate = displaced->unlinked ? "removed" : is_socket ? "removed or renamed" : "renamed to ";
    const char *where = displaced->unlinked || is_socket ? "" : displaced->path;
    char *text;
    int r;

    if (own->verdict == VERDICT_HELD)
        r = asprintf(&text, "%s; and the %s that stood there before was %s%s and is held as well: %s",
                     own_words ? own_words : "", sort, fate, where, words ? words : "");
    else if (own->verdict == VERDICT_ABSENT)
        r = asprintf(&text, "nothing stands there, but the %s that did was %s%s and is used still: %s", sort,
                     fate, where, words ? words : "");
    else
        r = asprintf(
            &text,
            "what stands there is %s, but the %s that stood there before was %s%s and is used still: %s",
            verdict_to_string(own->verdict), sort, fate, where, words ? words : "");
    return r < 0 ? NULL : text;
}

/* What stands at the path, or what stood there once, if that is what decided. */
static char *describe_what_decides(const struct lock_facts *facts, const struct lock_context *context,
                                   const struct lock_judgement *judgement) {
    struct lock_facts alone = *facts;
    struct lock_judgement own;

    alone.n_displaced = 0;
    own = lock_judge(&alone, context);
    for (size_t i = 0;
         i < facts->n_displaced && (own.verdict != judgement->verdict || own.reason != judgement->reason);
         i++) {
        struct lock_judgement its = lock_judge(&facts->displaced[i], context);

        if (its.verdict == judgement->verdict)
            return describe_displaced(&alone, &own, &facts->displaced[i], context, &its);
    }
    return describe_verdict(facts, context, judgement);
}

char *lock_describe(const struct lock_facts *facts, const struct lock_context *context,
                    const struct lock_judgement *judgement) {
    char *line = describe_what_decides(facts, context, judgement);

    if (line)
        value_make_printable(line); /* paths are anybody's */
    return line;
}

char *lock_describe_unseen(const struct lock_facts *facts, const char *advice) {
    _cleanup_free_ char *path = advise_quote_path(facts->path ? facts->path : "");
    bool only_init = facts->unreadable_total == 1 && facts->n_unreadable == 1 && facts->unreadable[0] == 1;
    _cleanup_text_ struct text text = {0};
    char *line;

    if (facts->scanned && facts->hidden)
        text_add(&text, "other users' processes are hidden (hidepid=, proc(5))");
    else if (facts->scanned && only_init && geteuid() == 0)
        text_add(&text, "init (PID 1) could not be read");
    else if (facts->scanned && facts->unreadable_total > 0) {
        text_add_format(&text, "%u of %u processes could not be read", facts->unreadable_total,
                        facts->processes);
        if (facts->n_unreadable > 0)
            text_add_format(&text, " (PID %d%s)", (int) facts->unreadable[0],
                            facts->unreadable_total > 1 ? " first" : "");
        if (geteuid() != 0 && path && (!advice || !strstr(advice, "sudo latchctl probe")))
            text_add_format(&text, "; as root all of them can be: sudo latchctl probe %s", path);
    }
    return text_take(&text, &line) < 0 ? NULL : line;
}

static void add_unit(json_t *json, const struct process_facts *process) {
    char unit[128];

    cgroup_unit(process->cgroup, unit, sizeof unit);
    json_object_set_new(json, "unit", unit[0] ? json_string(unit) : json_null());
}

json_t *lock_report_to_json(const struct lock_facts *facts, const struct lock_context *context,
                            const struct lock_judgement *judgement, const char *service) {
    _cleanup_free_ char *summary = lock_describe(facts, context, judgement),
                        *advice = lock_advise(facts, context, judgement, service),
                        *unseen = lock_describe_unseen(facts, advice);
    json_t *json = lock_facts_to_json(facts), *holders = json_object_get(json, "holders"),
           *openers = json_object_get(json, "openers"), *waiters = json_object_get(json, "waiters"),
           *displaced = json_object_get(json, "displaced");

    if (!json)
        return NULL;
    json_object_set_new(json, "verdict", json_string(verdict_to_string(judgement->verdict)));
    json_object_set_new(json, "reason", json_string(verdict_reason_to_string(judgement->reason)));
    json_object_set_new(json, "summary", json_string(summary ? summary : ""));
    json_object_set_new(json, "advice", json_string(advice ? advice : ""));
    json_object_set_new(json, "unseen", unseen && unseen[0] ? json_string(unseen) : json_null());
    for (size_t i = 0; i < facts->n_holders; i++) {
        json_t *holder = json_array_get(holders, i);

        add_unit(holder, &facts->holders[i].process);
        json_object_set_new(
            holder, "role",
            json_string(holder_role_to_string(lock_holder_role(facts, context, judgement, i))));
        json_object_set_new(holder, "relation",
                            relation_to_json(relation_find(facts, &facts->holders[i].process)));
    }
    for (size_t i = 0; i < facts->n_openers; i++)
        add_unit(json_array_get(openers, i), &facts->openers[i].process);
    for (size_t i = 0; i < facts->n_waiters; i++)
        add_unit(json_array_get(waiters, i), &facts->waiters[i]);
    for (size_t i = 0; i < facts->n_displaced; i++) {
        struct lock_judgement its = lock_judge(&facts->displaced[i], context);

        json_array_set_new(displaced, i, lock_report_to_json(&facts->displaced[i], context, &its, service));
    }
    return json;
}
