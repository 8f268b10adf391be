/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What recovery says: to the journal and, in the same words, to status (recovery.actions). */
#include "recovery/recover.h"

/* What stands at a path of the inspection, and who has it; to be freed. NULL: no memory. */
char *recover_summary(const struct inspection *inspection, size_t path);

/* The file of each action that was carried out (recover_action.cleared). */
void recover_tell_cleared(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_plan *plan);

/* That the way is free, if anything was done for it. */
void recover_tell_free(struct recovery *recovery, const struct recovery_host *host);

/* What could not be carried out, once for each new reason. */
void recover_tell_refused(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_action *action,
                          const struct err *err);

/* A leftover that is met for the first time, and what becomes of it. */
void recover_tell_leftover(struct recovery *recovery, const struct recovery_host *host,
                           const struct inspection *inspection, const struct recover_action *action);

/* A signal that was sent to one: SIGTERM or, for RECOVER_KILL, SIGKILL. who: the leftover, described. */
void recover_tell_signal(struct recovery *recovery, const struct recovery_host *host,
                         const struct inspection *inspection, const struct recover_action *action,
                         const char *who);

/* The first thing that blocks: in *err, and once in the journal for each new one. True: it is one of
 * another kind than the last (recovery.blocked_reason). */
bool recover_tell_blocked(struct recovery *recovery, const struct recovery_host *host,
                          const struct inspection *inspection, const struct recover_plan *plan,
                          struct err *err);
