/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Facts and a judgement in words. The functions return one line that the caller owns; NULL when memory runs
 * out. Everything in it that another process chose is printable. */

#include "lock/advise.h"

/* What is so and why, without the path: "PID 812 (kea-dhcp4) took it and is dead; kea-lfc (PID 815, ...) has
 * inherited it and keeps it alive". */
char *lock_describe(const struct lock_facts *facts, const struct lock_context *context,
                    const struct lock_judgement *judgement);

/* How many processes could not be read, and who can read them, unless the advice (may be NULL) says that; ""
 * when all could. */
char *lock_describe_unseen(const struct lock_facts *facts, const char *advice);

/* "kea-lfc (PID 815, user _kea, unit kea.service)" */
char *process_describe(const struct process_facts *process);

/* Facts, judgement, roles, relations and advice as one JSON object (an element of `latchctl probe --json`);
 * what stood at the path once has a judgement of its own. */
json_t *lock_report_to_json(const struct lock_facts *facts, const struct lock_context *context,
                            const struct lock_judgement *judgement, const char *service);
