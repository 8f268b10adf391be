/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/value.h"

static const doctor_judge_fn judges[] = {
    doctor_judge_service,  doctor_judge_locks,       doctor_judge_state,   doctor_judge_busy,
    doctor_judge_blocked,  doctor_judge_files,       doctor_judge_tasks,   doctor_judge_cgroups,
    doctor_judge_pressure, doctor_judge_connections, doctor_judge_dovecot, doctor_judge_queues,
};

int doctor_judge(const struct doctor_facts *facts, struct doctor_findings *ret) {
    struct doctor_findings findings = {0};

    for (size_t i = 0; i < ELEMENTSOF(judges); i++)
        judges[i](facts, &findings);
    if (findings.failed) {
        doctor_findings_done(&findings);
        return -ENOMEM;
    }
    doctor_findings_sort(&findings);
    *ret = findings;
    return 0;
}

int doctor_is_healthy(const struct doctor_facts *facts, const struct doctor_findings *findings) {
    if (findings->n > 0)
        return 0;
    for (size_t i = 0; i < facts->n_unseen; i++)
        if (doctor_yes(facts->unseen[i].permission))
            return -1;
    return 1;
}

static void add_name(const struct doctor_facts *facts, struct text *text) {
    const struct doctor_process *main = doctor_main(facts);

    if (facts->service)
        text_add(text, facts->service);
    else
        text_add_format(text, "%s", main && main->comm ? main->comm : "the process");
    if (doctor_known(facts->pid) && facts->pid > 0)
        text_add_format(
            text, " (PID %" PRIu64 "%s)", facts->pid,
            facts->service && doctor_known(facts->supervised) && !facts->supervised ? ", unsupervised" : "");
    else if (facts->service)
        text_add_format(text, " (%s, no process)", facts->state ? facts->state : "state not known");
}

char *doctor_verdict(const struct doctor_facts *facts, const struct doctor_findings *findings) {
    _cleanup_text_ struct text text = {0};
    char *line;

    add_name(facts, &text);
    if (findings->n > 0) {
        text_add_format(&text, ": %s", doctor_cause_to_string(findings->of[0].cause));
        if (findings->n > 1)
            text_add_format(&text, ", and %zu finding%s more", findings->n - 1, findings->n > 2 ? "s" : "");
    } else if (doctor_is_healthy(facts, findings) > 0)
        text_add(&text, ": nothing found");
    else
        text_add(&text, ": nothing found in what could be looked at, and not all could be");
    if (doctor_yes(facts->ended))
        text_add(&text, "; the main process ended while it was looked at");
    if (text_take(&text, &line) < 0)
        return NULL;
    value_make_printable(line);
    return line;
}

/* Of a daemon with very many only those that somebody named or waits at. */
#define LISTENERS_TOLD 8

static void add_listeners(const struct doctor_facts *facts, struct text *text) {
    size_t more = 0;

    for (size_t i = 0; i < facts->n_listeners; i++) {
        const struct doctor_listener *listener = &facts->listeners[i];

        if (!doctor_yes(listener->listening) || !doctor_known(listener->queue))
            continue;
        if (facts->n_listeners > LISTENERS_TOLD && !listener->name && listener->queue == 0) {
            more++;
            continue;
        }
        text_add_format(text, ", queue of %s: %s of %s", listener->address ? listener->address : "a listener",
                        COUNT(listener->queue), COUNT(listener->backlog + 1));
    }
    if (more > 0)
        text_add_format(text, ", %zu more queue%s, empty", more, more == 1 ? "" : "s");
}

char *doctor_describe_seen(const struct doctor_facts *facts) {
    const struct doctor_process *main = doctor_main(facts);
    _cleanup_text_ struct text text = {0};
    char *line;

    text_add_format(&text, "locks and socket files: %zu", facts->n_locks);
    add_listeners(facts, &text);
    if (main) {
        text_add_format(&text, ", descriptors: %s of %s", COUNT(main->open_files), COUNT(main->nofile_soft));
        text_add_format(&text, ", processes: %s", COUNT(facts->family));
        if (doctor_known(facts->user_tasks))
            text_add_format(&text, ", processes and threads of user %s: %s of %s",
                            facts->user ? facts->user : "the daemon's", COUNT(facts->user_tasks),
                            COUNT(facts->nproc_soft));
        if (doctor_known(doctor_share(facts, main->cpu_usec)))
            text_add_format(&text, ", processor time: %" PRIu64 " %%", doctor_share(facts, main->cpu_usec));
        text_add_format(&text, ", cgroups: %zu, full send buffers: %zu", facts->n_cgroups,
                        facts->n_connections);
    }
    if (text_take(&text, &line) < 0)
        return NULL;
    value_make_printable(line);
    return line;
}

/* ---- what the causes share ---- */

const struct doctor_process *doctor_main(const struct doctor_facts *facts) {
    return facts->n_processes > 0 && facts->processes[0].pid == facts->pid && !doctor_yes(facts->ended)
               ? &facts->processes[0]
               : NULL;
}

bool doctor_is_tight(uint64_t used, uint64_t limit, unsigned percent) {
    return doctor_known(used) && doctor_known(limit) && limit != DOCTOR_INFINITY && limit > 0 &&
           used >= limit - limit / 100 * (100 - percent) - limit % 100 * (100 - percent) / 100;
}

uint64_t doctor_share(const struct doctor_facts *facts, uint64_t usec) {
    if (!doctor_known(usec) || !doctor_known(facts->interval_usec) || facts->interval_usec == 0)
        return DOCTOR_UNKNOWN;
    return usec * 100 / facts->interval_usec;
}

uint64_t doctor_cpu_of_all(const struct doctor_facts *facts) {
    uint64_t sum = 0;

    for (size_t i = 0; i < facts->n_processes; i++) {
        if (!doctor_known(facts->processes[i].cpu_usec))
            return DOCTOR_UNKNOWN;
        sum += facts->processes[i].cpu_usec;
    }
    return facts->n_processes > 0 ? sum : DOCTOR_UNKNOWN;
}

const char *doctor_unit(const struct doctor_facts *facts) {
    return facts->unit ? facts->unit : "the unit that starts it";
}

void doctor_advise_command(struct doctor_finding *finding, const struct doctor_facts *facts, const char *lead,
                           const char *command) {
    doctor_advise(finding, "%s: %s%s%s %s", lead, command, facts->options ? " " : "",
                  facts->options ? facts->options : "", facts->service ? facts->service : "NAME");
}

uint64_t doctor_more(uint64_t number) {
    uint64_t more = 16;

    while (more < number * 2 && more < UINT64_C(1) << 30)
        more *= 2;
    return more;
}

void doctor_advise_limit(struct doctor_finding *finding, const struct doctor_facts *facts, uint64_t pid,
                         const char *name, uint64_t value, uint64_t hard) {
    bool endless = hard == DOCTOR_INFINITY;
    char option[16], bound[24];

    snprintf(option, sizeof option, "%s", name);
    for (char *c = option; *c; c++)
        *c = (char) (*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    snprintf(bound, sizeof bound, "%" PRIu64, doctor_known(hard) && hard > value ? hard : value);
    if (facts->limits_command)
        doctor_advise(finding, "at once: %s%s %s=%" PRIu64 ":%s", facts->limits_command,
                      pid == facts->pid ? "" : " --all", name, value, endless ? "infinity" : bound);
    else
        doctor_advise(finding, "at once: prlimit --pid %" PRIu64 " --%s=%" PRIu64 ":%s", pid, option, value,
                      endless ? "unlimited" : bound);
    if (facts->service)
        doctor_advise(finding, "from the next start on: Limit%s=%" PRIu64 " in %s", name, value,
                      facts->config_file ? facts->config_file : "its configuration");
    else
        doctor_advise(finding, "from the next start on: Limit%s=%" PRIu64 " of %s (systemctl edit)", name,
                      value, doctor_unit(facts));
}
