/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What a round of recovery cleared, to be told when there is time: finding the words for it takes about as
 * long as forking a daemon does, and a daemon that is to be up at once need not wait for them. */
#include "recovery/recover.h"

struct recovery_story;

/* Takes the inspection, the plan, and what the recovery remembers; NULL (no memory) leaves them as they are.
 */
struct recovery_story *recovery_story_new(struct recovery *recovery, const struct recovery_host *host,
                                          struct inspection *inspection, struct recover_plan *plan);
void recovery_story_free(struct recovery_story *story);

/* Tells the journal, each thing with the time and of the generation that it was done in. Returns what status
 * shows, as {atUSec, actions}, for the caller to release; NULL: no memory. The configuration is that of the
 * recovery. */
json_t *recovery_story_tell(struct recovery_story *story, const struct service_config *config,
                            struct event_log *log);
