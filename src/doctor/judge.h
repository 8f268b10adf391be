/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What follows from the facts. Pure: facts in, findings out. What is unknown gives no finding, and is no sign
 * of health either: the facts' list `unseen` goes with the findings. */

#include "doctor/facts.h"
#include "doctor/finding.h"

/* All findings, the likeliest cause first. 0 or -ENOMEM. */
int doctor_judge(const struct doctor_facts *facts, struct doctor_findings *ret);

/* Nothing was found, and all that matters could be looked at: 1. Something was found: 0. Nothing was found in
 * what could be looked at, but more would want more rights: -1. */
int doctor_is_healthy(const struct doctor_facts *facts, const struct doctor_findings *findings);

/* "redis (PID 7): nothing found", one sentence, and what was looked at, with the figures ("" when there is
 * nothing to tell). The caller owns them; NULL when memory runs out. */
char *doctor_verdict(const struct doctor_facts *facts, const struct doctor_findings *findings);
char *doctor_describe_seen(const struct doctor_facts *facts);

/* ---- the causes, a function for each group; judge.c has the table ---- */
typedef void (*doctor_judge_fn)(const struct doctor_facts *facts, struct doctor_findings *findings);

void doctor_judge_locks(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_service(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_state(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_busy(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_blocked(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_files(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_tasks(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_cgroups(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_pressure(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_connections(const struct doctor_facts *facts, struct doctor_findings *findings);
void doctor_judge_dovecot(const struct doctor_facts *facts,
                          struct doctor_findings *findings); /* adds to what was found of the master */
void doctor_judge_queues(const struct doctor_facts *facts,
                         struct doctor_findings *findings); /* knows the others' */

/* ---- what they share ---- */

/* The main process; NULL: there is none, or it ended while it was looked at. */
const struct doctor_process *doctor_main(const struct doctor_facts *facts);

/* Both known, and from so many per cent of the limit on. */
bool doctor_is_tight(uint64_t used, uint64_t limit, unsigned percent);
#define DOCTOR_TIGHT_PERCENT 80

/* Per cent of the time between the looks; DOCTOR_UNKNOWN. */
uint64_t doctor_share(const struct doctor_facts *facts, uint64_t usec);

/* The processor time of all processes of the service together; DOCTOR_UNKNOWN. */
uint64_t doctor_cpu_of_all(const struct doctor_facts *facts);

/* How a soft limit of the process is raised to `value`, now and from the next start on: by latchctl and the
 * service's key, or by prlimit(1) and its unit's. `name` as in "NOFILE"; a hard limit that is higher stays.
 */
void doctor_advise_limit(struct doctor_finding *finding, const struct doctor_facts *facts, uint64_t pid,
                         const char *name, uint64_t value, uint64_t hard);

/* "its unit kea.service", "the service's unit", where the setting of a unit goes. Borrowed from the facts or
 * static. */
const char *doctor_unit(const struct doctor_facts *facts);

/* How Dovecot's backlog of a listener is raised. False: it is no listener of Dovecot's. */
bool doctor_dovecot_advise_backlog(const struct doctor_facts *facts, const struct doctor_listener *listener,
                                   struct doctor_finding *finding);

/* Appends to the remedy: "LEAD: COMMAND OPTIONS SERVICE", which works as it is typed. */
void doctor_advise_command(struct doctor_finding *finding, const struct doctor_facts *facts, const char *lead,
                           const char *command);

/* The next power of two from twice the number on. */
uint64_t doctor_more(uint64_t number);
