/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits that are reached, or nearly: descriptors; processes of the user, of a cgroup, of the machine. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor/judge.h"

/* ---- descriptors ---- */

void doctor_judge_files(const struct doctor_facts *facts, struct doctor_findings *findings) {
    const struct doctor_process *worst = NULL;
    struct doctor_finding *finding;
    size_t n = 0;
    bool reached;

    for (size_t i = 0; i < facts->n_processes; i++) {
        const struct doctor_process *process = &facts->processes[i];

        if (!doctor_is_tight(process->open_files, process->nofile_soft, DOCTOR_TIGHT_PERCENT))
            continue;
        n++;
        if (!worst || process->open_files * worst->nofile_soft > worst->open_files * process->nofile_soft)
            worst = process;
    }
    if (!worst)
        return;
    reached = worst->open_files >= worst->nofile_soft;
    finding = doctor_find(findings, DOCTOR_NOFILE, reached ? DOCTOR_ERROR : DOCTOR_WARNING,
                          json_pack("{s:o, s:o, s:o, s:o, s:I}", "pid", doctor_number_to_json(worst->pid),
                                    "open", doctor_number_to_json(worst->open_files), "soft",
                                    doctor_number_to_json(worst->nofile_soft), "hard",
                                    doctor_number_to_json(worst->nofile_hard), "processes", (json_int_t) n),
                          "PID %" PRIu64 " (%s)", worst->pid, worst->comm ? worst->comm : "?");
    doctor_say(finding, "%s of %s descriptors are open in PID %" PRIu64 "%s", COUNT(worst->open_files),
               COUNT(worst->nofile_soft), worst->pid,
               reached ? ": it can accept no connection and open no file any more (EMFILE)" : "");
    if (n > 1)
        doctor_say(finding, "%zu processes of the service are as near to their limit", n);
    if (doctor_known(worst->nofile_hard) && worst->nofile_hard != DOCTOR_INFINITY &&
        doctor_more(worst->nofile_soft) > worst->nofile_hard)
        doctor_say(finding, "its hard limit is %s: only with CAP_SYS_RESOURCE can that be raised",
                   COUNT(worst->nofile_hard));
    doctor_advise_limit(finding, facts, worst->pid, "NOFILE", doctor_more(worst->nofile_soft),
                        worst->nofile_hard);
}

/* ---- processes and threads ---- */

static void judge_user(const struct doctor_facts *facts, struct doctor_findings *findings) {
    bool reached = doctor_known(facts->user_tasks) && facts->user_tasks >= facts->nproc_soft;
    struct doctor_finding *finding;

    if (!doctor_yes(facts->nproc_counts) ||
        !doctor_is_tight(facts->user_tasks, facts->nproc_soft, DOCTOR_TIGHT_PERCENT))
        return;
    finding = doctor_find(findings, DOCTOR_PROCESS_LIMIT, reached ? DOCTOR_ERROR : DOCTOR_WARNING,
                          json_pack("{s:o, s:o, s:o, s:o}", "uid", doctor_number_to_json(facts->uid), "tasks",
                                    doctor_number_to_json(facts->user_tasks), "soft",
                                    doctor_number_to_json(facts->nproc_soft), "hard",
                                    doctor_number_to_json(facts->nproc_hard)),
                          "user %s", facts->user ? facts->user : COUNT(facts->uid));
    doctor_say(finding, "user %s has %s processes and threads, of %s that RLIMIT_NPROC allows%s",
               facts->user ? facts->user : COUNT(facts->uid), COUNT(facts->user_tasks),
               COUNT(facts->nproc_soft), reached ? ": fork(2) fails with EAGAIN" : "");
    doctor_advise_limit(finding, facts, facts->pid, "NPROC", doctor_more(facts->nproc_soft),
                        facts->nproc_hard);
    doctor_advise(finding, "or give the service a user of its own: all of a user's processes count together");
}

/* Every task has a number, and counts against threads-max as well (copy_process() in kernel/fork.c). */
static void judge_machine(const struct doctor_facts *facts, const char *setting, uint64_t limit,
                          struct doctor_findings *findings) {
    bool reached = doctor_known(facts->machine_tasks) && facts->machine_tasks >= limit;
    struct doctor_finding *finding;

    if (!doctor_is_tight(facts->machine_tasks, limit, 90))
        return;
    finding = doctor_find(findings, DOCTOR_PROCESS_LIMIT, reached ? DOCTOR_ERROR : DOCTOR_WARNING,
                          json_pack("{s:o, s:o, s:s}", "tasks", doctor_number_to_json(facts->machine_tasks),
                                    "limit", doctor_number_to_json(limit), "setting", setting),
                          "%s", setting);
    doctor_say(finding, "the machine has %s processes and threads, of %s that %s allows%s",
               COUNT(facts->machine_tasks), COUNT(limit), setting,
               reached ? ": fork(2) fails with EAGAIN" : "");
    doctor_advise(finding,
                  "sysctl %s=%" PRIu64 ", after a look at whose they are (ps -eo user= | sort | uniq -c)",
                  setting, doctor_more(limit));
}

void doctor_judge_tasks(const struct doctor_facts *facts, struct doctor_findings *findings) {
    judge_user(facts, findings);
    judge_machine(facts, "kernel.threads-max", facts->threads_max, findings);
    judge_machine(facts, "kernel.pid_max", facts->pid_max, findings);
}

/* ---- cgroups ---- */

static json_t *pids_evidence(const struct doctor_cgroup *cgroup) {
    return json_pack("{s:s?, s:o, s:o, s:o, s:o}", "cgroup", cgroup->path, "pids",
                     doctor_number_to_json(cgroup->pids), "max", doctor_number_to_json(cgroup->pids_max),
                     "refused", doctor_number_to_json(cgroup->pids_refused), "refusedInAll",
                     doctor_number_to_json(cgroup->pids_refused_in_all));
}

static bool happened(uint64_t counter) {
    return doctor_known(counter) && counter > 0;
}

/* What happened once counts for the process's own cgroup alone: above it there was always something. */
static bool is_own(const struct doctor_facts *facts, const struct doctor_cgroup *cgroup) {
    for (const struct doctor_cgroup *below = facts->cgroups; below < cgroup; below++)
        if (!below->controller ? !cgroup->controller
                               : cgroup->controller && strcmp(below->controller, cgroup->controller) == 0)
            return false;
    return strcmp(cgroup->path, "/") != 0;
}

static void judge_pids(const struct doctor_facts *facts, const struct doctor_cgroup *cgroup,
                       struct doctor_findings *findings) {
    bool tight = doctor_is_tight(cgroup->pids, cgroup->pids_max, DOCTOR_TIGHT_PERCENT);
    bool reached = tight && cgroup->pids >= cgroup->pids_max, refused = happened(cgroup->pids_refused);
    struct doctor_finding *finding;

    if (!tight && !refused && !(is_own(facts, cgroup) && happened(cgroup->pids_refused_in_all)))
        return;
    finding = doctor_find(findings, DOCTOR_CGROUP_PIDS,
                          reached || refused ? DOCTOR_ERROR
                          : tight            ? DOCTOR_WARNING
                                             : DOCTOR_HINT,
                          pids_evidence(cgroup), "cgroup %s", cgroup->path);
    doctor_say(finding, "%s of %s processes and threads that pids.max allows are in cgroup %s%s",
               COUNT(cgroup->pids), COUNT(cgroup->pids_max), cgroup->path,
               reached || refused ? ": fork(2) fails there with EAGAIN" : "");
    if (refused)
        doctor_say(finding, "%s forks were refused while it was looked at", COUNT(cgroup->pids_refused));
    else if (happened(cgroup->pids_refused_in_all))
        doctor_say(finding, "%s forks were refused since it was made", COUNT(cgroup->pids_refused_in_all));
    if (doctor_known(cgroup->pids_max) && cgroup->pids_max != DOCTOR_INFINITY)
        doctor_advise(finding, "TasksMax=%" PRIu64 " of %s, or echo %" PRIu64 " >pids.max in that cgroup",
                      doctor_more(cgroup->pids_max), doctor_unit(facts), doctor_more(cgroup->pids_max));
    else
        doctor_advise(finding, "nothing now: the limit is gone");
}

static void judge_memory(const struct doctor_facts *facts, const struct doctor_cgroup *cgroup,
                         struct doctor_findings *findings) {
    bool killed = happened(cgroup->oom_kills), hit = happened(cgroup->memory_max_hits),
         slowed = happened(cgroup->memory_high_hits);
    struct doctor_finding *finding;

    if (!killed && !hit && !slowed && !(is_own(facts, cgroup) && happened(cgroup->oom_kills_in_all)))
        return;
    finding = doctor_find(findings, DOCTOR_CGROUP_MEMORY,
                          killed          ? DOCTOR_ERROR
                          : hit || slowed ? DOCTOR_WARNING
                                          : DOCTOR_HINT,
                          json_pack("{s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cgroup", cgroup->path,
                                    "memoryBytes", doctor_number_to_json(cgroup->memory_bytes), "highBytes",
                                    doctor_number_to_json(cgroup->memory_high_bytes), "maxBytes",
                                    doctor_number_to_json(cgroup->memory_max_bytes), "highHits",
                                    doctor_number_to_json(cgroup->memory_high_hits), "maxHits",
                                    doctor_number_to_json(cgroup->memory_max_hits), "oomKills",
                                    doctor_number_to_json(cgroup->oom_kills), "oomKillsInAll",
                                    doctor_number_to_json(cgroup->oom_kills_in_all)),
                          "cgroup %s", cgroup->path);
    doctor_say(finding, "cgroup %s uses %s bytes of memory, of %s (memory.high %s)", cgroup->path,
               COUNT(cgroup->memory_bytes), COUNT(cgroup->memory_max_bytes),
               COUNT(cgroup->memory_high_bytes));
    if (killed)
        doctor_say(finding, "%s of its processes were killed for want of memory while it was looked at",
                   COUNT(cgroup->oom_kills));
    else if (happened(cgroup->oom_kills_in_all))
        doctor_say(finding, "%s of its processes were killed for want of memory since it was made",
                   COUNT(cgroup->oom_kills_in_all));
    if (hit)
        doctor_say(finding, "it came to its limit %s times meanwhile, and had to give memory back first",
                   COUNT(cgroup->memory_max_hits));
    if (slowed)
        doctor_say(finding, "it was slowed down %s times meanwhile for being above memory.high",
                   COUNT(cgroup->memory_high_hits));
    doctor_advise(finding, "raise MemoryMax= or MemoryHigh= of %s, or have the daemon use less",
                  doctor_unit(facts));
}

static void judge_throttling(const struct doctor_facts *facts, const struct doctor_cgroup *cgroup,
                             struct doctor_findings *findings) {
    uint64_t share = doctor_share(facts, cgroup->throttled_usec);
    struct doctor_finding *finding;

    if (!happened(cgroup->throttled))
        return;
    finding = doctor_find(findings, DOCTOR_CPU_THROTTLED,
                          doctor_known(share) && share >= 25 ? DOCTOR_ERROR : DOCTOR_WARNING,
                          json_pack("{s:s?, s:o, s:o, s:o}", "cgroup", cgroup->path, "periods",
                                    doctor_number_to_json(cgroup->throttled), "throttledUSec",
                                    doctor_number_to_json(cgroup->throttled_usec), "intervalUSec",
                                    doctor_number_to_json(facts->interval_usec)),
                          "cgroup %s", cgroup->path);
    doctor_say(finding,
               "cgroup %s used up its processor quota in %s periods of the %s ms that it was looked at, and "
               "was held "
               "back for %s ms",
               cgroup->path, COUNT(cgroup->throttled), COUNT(facts->interval_usec / 1000),
               doctor_known(cgroup->throttled_usec) ? COUNT(cgroup->throttled_usec / 1000)
                                                    : "an unknown number of");
    doctor_advise(finding, "raise CPUQuota= of %s (cpu.max of the cgroup)", doctor_unit(facts));
}

void doctor_judge_cgroups(const struct doctor_facts *facts, struct doctor_findings *findings) {
    for (size_t i = 0; i < facts->n_cgroups; i++) {
        judge_pids(facts, &facts->cgroups[i], findings);
        judge_memory(facts, &facts->cgroups[i], findings);
        judge_throttling(facts, &facts->cgroups[i], findings);
    }
}

/* ---- memory pressure ---- */

#define PRESSURE_WARNING 10 /* per cent of the last ten seconds in which somebody waited for memory */
#define PRESSURE_ERROR 40

static void judge_stall(const char *subject, uint64_t percent, struct doctor_findings *findings) {
    struct doctor_finding *finding;

    if (!doctor_known(percent) || percent < PRESSURE_WARNING)
        return;
    finding = doctor_find(
        findings, DOCTOR_MEMORY_PRESSURE, percent >= PRESSURE_ERROR ? DOCTOR_ERROR : DOCTOR_WARNING,
        json_pack("{s:o}", "someAvg10Percent", doctor_number_to_json(percent)), "%s", subject);
    doctor_say(finding, "during %" PRIu64 " %% of the last ten seconds some task of %s waited for memory",
               percent, subject);
    doctor_advise(
        finding, "find who uses it (systemd-cgtop -m, ps --sort=-rss): more memory, or less of what uses it");
}

void doctor_judge_pressure(const struct doctor_facts *facts, struct doctor_findings *findings) {
    judge_stall("the machine", facts->memory_stalled_percent, findings);
    for (size_t i = 0; i < facts->n_cgroups; i++) {
        char subject[256];

        snprintf(subject, sizeof subject, "cgroup %s", facts->cgroups[i].path);
        judge_stall(subject, facts->cgroups[i].memory_stalled_percent, findings);
    }
}
