/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/limits-check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/value.h"
#include "exec/rlimits.h"

void limits_facts_done(struct limits_facts *facts) {
    free(facts->pids.path);
    *facts = (struct limits_facts){0};
}

void limits_warnings_done(struct limits_warnings *warnings) {
    for (size_t i = 0; i < warnings->n; i++) {
        free(warnings->of[i].subject);
        free(warnings->of[i].text);
    }
    free(warnings->of);
    *warnings = (struct limits_warnings){0};
}

_printf_(3, 4) static int add(struct limits_warnings *warnings, const struct limits_warning *what,
                              const char *fmt, ...) {
    struct limits_warning *bigger = reallocarray(warnings->of, warnings->n + 1, sizeof *bigger);
    struct limits_warning warning = *what;
    va_list args;
    int r;

    if (!bigger)
        return -ENOMEM;
    warnings->of = bigger;
    warning.subject = strdup(what->subject);
    va_start(args, fmt);
    r = vasprintf(&warning.text, fmt, args);
    va_end(args);
    if (r < 0 || !warning.subject) {
        free(warning.subject);
        if (r >= 0)
            free(warning.text);
        return -ENOMEM;
    }
    value_make_printable(warning.text); /* names of cgroups are anybody's */
    bigger[warnings->n++] = warning;
    return 0;
}

static bool is_tight(uint64_t used, uint64_t available) {
    return available != UINT64_MAX && used >= available - available / 100 * (100 - LIMITS_TIGHT_PERCENT) -
                                                  available % 100 * (100 - LIMITS_TIGHT_PERCENT) / 100;
}

static int check_files(const struct limits_facts *facts, struct limits_warnings *warnings) {
    struct limits_warning what = {
        .shortage = LIMITS_SHORT_OF_FILES, .limit = "NOFILE", .subject = (char *) ""};
    char remedy[128];

    if (facts->client_limit == 0 || facts->nofile_soft == UINT64_MAX)
        return 0;
    if (__builtin_add_overflow(facts->client_limit, facts->open_files, &what.needed) ||
        __builtin_add_overflow(what.needed, (uint64_t) RLIMITS_RESERVE, &what.needed))
        what.needed = UINT64_MAX;
    what.available = facts->nofile_soft;
    if (what.needed <= what.available)
        return 0;
    if (facts->nofile_automatic)
        snprintf(remedy, sizeof remedy, "LimitNOFILE=auto counts that from the next start on");
    else
        snprintf(remedy, sizeof remedy,
                 "set LimitNOFILE=auto, or to %" PRIu64 " at least, or lower ClientLimit=", what.needed);
    return add(warnings, &what,
               "PID %d may open %" PRIu64 " descriptors, and needs %" PRIu64 ": ClientLimit=%" PRIu64
               " + %" PRIu64 " held open beside its clients + %d in reserve; %s",
               (int) facts->pid, what.available, what.needed, facts->client_limit, facts->open_files,
               RLIMITS_RESERVE, remedy);
}

/* listen(2) cuts what is asked for without a word (__sys_listen() in net/socket.c). */
static int check_queues(const struct limits_facts *facts, struct limits_warnings *warnings) {
    int r = 0;

    for (size_t i = 0; facts->somaxconn > 0 && i < facts->n_sockets && r >= 0; i++) {
        const struct socket_config *socket = facts->sockets[i];
        struct limits_warning what = {.shortage = LIMITS_SHORT_OF_QUEUE,
                                      .limit = "net.core.somaxconn",
                                      .subject = socket->name,
                                      .needed = socket->backlog > 0 ? (uint64_t) socket->backlog : 0,
                                      .available = facts->somaxconn};

        if (what.needed <= what.available)
            continue;
        r = add(warnings, &what,
                "Backlog=%" PRIu64 " of [Socket %s] is above net.core.somaxconn=%" PRIu64
                ", to which the kernel cuts the queue of every listener here: %" PRIu64
                " connections can wait, not %" PRIu64 "; sysctl net.core.somaxconn=%" PRIu64
                ", or lower Backlog=",
                what.needed, socket->name, what.available, what.available + 1, what.needed + 1, what.needed);
    }
    return r;
}

static int check_processes(const struct limits_facts *facts, struct limits_warnings *warnings) {
    char number[24];
    struct limits_warning what = {.shortage = LIMITS_SHORT_OF_PROCESSES,
                                  .limit = "NPROC",
                                  .subject = number,
                                  .needed = facts->user_tasks,
                                  .available = facts->nproc_soft};

    snprintf(number, sizeof number, "%u", (unsigned) facts->uid);
    if (!facts->nproc_counts || facts->user_tasks == 0 || !is_tight(what.needed, what.available))
        return 0;
    return add(warnings, &what,
               "user %s has %" PRIu64 " processes and threads, of %" PRIu64
               " that LimitNPROC= allows it: %" PRIu64
               " are left for PID %d and all others of that user; raise LimitNPROC=, or give the service a "
               "user of its own",
               facts->user ? facts->user : number, what.needed, what.available,
               what.available > what.needed ? what.available - what.needed : 0, (int) facts->pid);
}

static int check_pids(const struct limits_facts *facts, struct limits_warnings *warnings) {
    const struct limits_pids *pids = &facts->pids;
    struct limits_warning what = {
        .shortage = LIMITS_SHORT_OF_PIDS, .limit = "pids.max", .subject = pids->path};

    what.needed = pids->current;
    what.available = pids->maximum;
    if (!pids->found || !is_tight(what.needed, what.available))
        return 0;
    return add(warnings, &what,
               "the cgroup %s has %" PRIu64 " processes and threads, of %" PRIu64
               " that its pids.max allows: %" PRIu64
               " are left; raise TasksMax= of that unit, or write a larger pids.max there",
               pids->path, what.needed, what.available,
               what.available > what.needed ? what.available - what.needed : 0);
}

int limits_check(const struct limits_facts *facts, struct limits_warnings *ret) {
    struct limits_warnings warnings = {0};
    int r = check_files(facts, &warnings);

    if (r >= 0)
        r = check_queues(facts, &warnings);
    if (r >= 0)
        r = check_processes(facts, &warnings);
    if (r >= 0)
        r = check_pids(facts, &warnings);
    if (r < 0) {
        limits_warnings_done(&warnings);
        return r;
    }
    *ret = warnings;
    return 0;
}

static bool use_varies(enum limits_shortage shortage) {
    return shortage == LIMITS_SHORT_OF_PROCESSES || shortage == LIMITS_SHORT_OF_PIDS;
}

bool limits_warnings_have(const struct limits_warnings *warnings, const struct limits_warning *warning) {
    for (size_t i = 0; i < warnings->n; i++) {
        const struct limits_warning *one = &warnings->of[i];

        if (one->shortage == warning->shortage && one->available == warning->available &&
            (use_varies(one->shortage) || one->needed == warning->needed) &&
            strcmp(one->subject, warning->subject) == 0)
            return true;
    }
    return false;
}

static void begin(struct text *text) {
    if (text->length > 0)
        text_add(text, "; ");
}

/* A soft limit may be moved by anybody up to the hard one, and a hard one lowered; the daemon itself raises a
 * hard one only with CAP_SYS_RESOURCE (setrlimit(2)). */
static void remark_drift(const struct limits_row *row, struct text *text) {
    char set[RLIMIT_FORMAT_MAX];

    if (row->changed && row->soft == row->changed_soft && row->hard == row->changed_hard) {
        begin(text);
        text_add_format(text, "set by latchctl limits for uid %u, until the next start",
                        (unsigned) row->changed_by);
        return;
    }
    if (!row->planned || (row->soft == row->planned_soft && row->hard == row->planned_hard))
        return;
    rlimit_format(row->planned_soft, row->planned_hard, set);
    begin(text);
    if (row->hard > row->planned_hard && !row->may_raise)
        text_add_format(text,
                        "not the %s it was started with: somebody changed it by prlimit, for the daemon "
                        "itself may not raise a hard limit",
                        set);
    else
        text_add_format(text,
                        "not the %s it was started with: the daemon changed it by itself, or somebody "
                        "did by prlimit",
                        set);
}

int limits_remark(const struct limits_row *row, bool *ret_attention, char **ret) {
    _cleanup_text_ struct text text = {0};
    bool attention;
    char *remark;

    remark_drift(row, &text);
    attention = text.length > 0;
    if (row->resource == RLIMIT_RSS || row->resource == RLIMIT_LOCKS) {
        begin(&text);
        text_add(&text, "Linux ignores it");
    } else if (row->exempt) {
        begin(&text);
        text_add(&text, "not enforced for root");
    } else if (row->used != UINT64_MAX && row->soft > 0 && is_tight(row->used, row->soft)) {
        begin(&text);
        attention = true;
        text_add_format(&text, "%" PRIu64 " %% of the soft limit is used",
                        row->used > UINT64_MAX / 100 ? 100 : row->used * 100 / row->soft);
    }
    if (text_take(&text, &remark) < 0)
        return -ENOMEM;
    if (!*remark) {
        free(remark);
        remark = NULL;
    }
    *ret_attention = attention;
    *ret = remark;
    return 0;
}

const char *limits_unit(int resource) {
    switch (resource) {
    case RLIMIT_NOFILE:
        return "descriptors";
    case RLIMIT_NPROC:
        return "processes";
    case RLIMIT_LOCKS:
        return "locks";
    case RLIMIT_SIGPENDING:
        return "signals";
    case RLIMIT_CPU:
        return "seconds";
    case RLIMIT_RTTIME:
        return "microseconds";
    case RLIMIT_NICE:
        return "20 - nice";
    case RLIMIT_RTPRIO:
        return "priority";
    default:
        return "bytes";
    }
}
