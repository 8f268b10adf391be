/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/story.h"

#include <string.h>
#include <time.h>

#include "base/value.h"
#include "recovery/recover-tell.h"

struct recovery_story {
    struct recovery recovery; /* its actions, the reason why it was blocked, and the times; nothing else */
    struct inspection inspection;
    struct recover_plan plan;
    uint64_t generation;
    char invocation_id[33];
};

struct recovery_story *recovery_story_new(struct recovery *recovery, const struct recovery_host *host,
                                          struct inspection *inspection, struct recover_plan *plan) {
    struct recovery_story *story = calloc(1, sizeof *story);

    if (!story)
        return NULL;
    story->recovery = (struct recovery){
        .wait_fd = -EBADF,
        .actions = recovery->actions,
        .blocked_by = recovery->blocked_by,
        .started_usec = recovery->started_usec,
        .cleared_usec = now_usec(CLOCK_REALTIME),
    };
    story->inspection = *inspection;
    story->plan = *plan;
    story->generation = host->scope.generation;
    if (host->scope.invocation_id)
        snprintf(story->invocation_id, sizeof story->invocation_id, "%s", host->scope.invocation_id);
    recovery->actions = NULL;
    recovery->blocked_by = NULL;
    *inspection = (struct inspection){0};
    *plan = (struct recover_plan){0};
    return story;
}

void recovery_story_free(struct recovery_story *story) {
    if (!story)
        return;
    recovery_done(&story->recovery);
    inspection_done(&story->inspection);
    recover_plan_done(&story->plan);
    free(story);
}

json_t *recovery_story_tell(struct recovery_story *story, const struct service_config *config,
                            struct event_log *log) {
    const struct recovery_host host = {
        .config = config,
        .log = log,
        .scope =
            {
                .service = config->name,
                .generation = story->generation,
                .invocation_id = story->invocation_id[0] ? story->invocation_id : NULL,
            },
    };

    recover_tell_cleared(&story->recovery, &host, &story->inspection, &story->plan);
    recover_tell_free(&story->recovery, &host);
    return recovery_actions_to_json(&story->recovery);
}
