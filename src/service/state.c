/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/state.h"

#include <stdbool.h>

static const char *const service_state_names[SERVICE_STATE_MAX] = {
    [SERVICE_STOPPED] = "stopped",   [SERVICE_RECOVERING] = "recovering", [SERVICE_BLOCKED] = "blocked",
    [SERVICE_STARTING] = "starting", [SERVICE_RUNNING] = "running",       [SERVICE_RELOADING] = "reloading",
    [SERVICE_STOPPING] = "stopping", [SERVICE_SWEEPING] = "sweeping",     [SERVICE_BACKOFF] = "backoff",
    [SERVICE_FAILED] = "failed",     [SERVICE_WAITING] = "waiting",
};
STRTAB_DEFINE(service_state, enum service_state, service_state_names, SERVICE_STATE_INVALID)

static const char *const service_event_names[SERVICE_EVENT_MAX] = {
    [SERVICE_ON_START] = "start",
    [SERVICE_ON_STOP] = "stop",
    [SERVICE_ON_RESTART] = "restart",
    [SERVICE_ON_RELOAD] = "reload",
    [SERVICE_ON_WAY_CLEAR] = "way-clear",
    [SERVICE_ON_WAY_WAITS] = "way-waits",
    [SERVICE_ON_WAY_BLOCKED] = "way-blocked",
    [SERVICE_ON_READY] = "ready",
    [SERVICE_ON_ADOPTED] = "adopted",
    [SERVICE_ON_EXIT_AGAIN] = "exit-again",
    [SERVICE_ON_EXIT_CLEAN] = "exit-clean",
    [SERVICE_ON_EXIT_FAILED] = "exit-failed",
    [SERVICE_ON_EXIT_WANTED] = "exit-wanted",
    [SERVICE_ON_EXIT_RESTART] = "exit-restart",
    [SERVICE_ON_SWEPT] = "swept",
    [SERVICE_ON_TIMEOUT] = "timeout",
    [SERVICE_ON_HUNG] = "hung",
    [SERVICE_ON_TURN] = "turn",
    [SERVICE_ON_UNMET] = "unmet",
    [SERVICE_ON_RELOADING] = "reloading",
    [SERVICE_ON_ADOPTED_UP] = "adopted-up",
    [SERVICE_ON_ADOPTED_STOP] = "adopted-stop",
    [SERVICE_ON_BACKOFF_REST] = "backoff-rest",
    [SERVICE_ON_STOP_REST] = "stop-rest",
};
STRTAB_DEFINE(service_event, enum service_event, service_event_names, SERVICE_EVENT_MAX)

static const char *const service_action_names[SERVICE_ACTION_MAX] = {
    [SERVICE_DO_NOTHING] = "nothing",
    [SERVICE_DO_RECOVER] = "recover",
    [SERVICE_DO_SPAWN] = "spawn",
    [SERVICE_DO_TERMINATE] = "terminate",
    [SERVICE_DO_KILL] = "kill",
    [SERVICE_DO_RELOAD] = "reload",
    [SERVICE_DO_SWEEP] = "sweep",
    [SERVICE_DO_BACK_OFF] = "back-off",
    [SERVICE_DO_ABANDON] = "abandon",
    [SERVICE_DO_START_AGAIN] = "start-again",
    [SERVICE_DO_START_NO_MORE] = "start-no-more",
    [SERVICE_DO_ABORT] = "abort",
    [SERVICE_DO_WAIT] = "wait",
};
STRTAB_DEFINE(service_action, enum service_action, service_action_names, SERVICE_ACTION_MAX)

struct cell {
    bool set; /* else: stay, do nothing */
    struct service_transition to;
};

/* clang-format off */
#define TO(next_state, action_) {true, {SERVICE_##next_state, SERVICE_DO_##action_}}

static const struct cell table[SERVICE_STATE_MAX][SERVICE_EVENT_MAX] = {
    [SERVICE_STOPPED] = {
        [SERVICE_ON_START]       = TO(WAITING,    WAIT),
        [SERVICE_ON_RESTART]     = TO(WAITING,    WAIT),
        [SERVICE_ON_ADOPTED]     = TO(STARTING,   NOTHING),
        /* An earlier latchd left it otherwise, or it ended while none watched. */
        [SERVICE_ON_ADOPTED_UP] = TO(RUNNING,  NOTHING),
        [SERVICE_ON_ADOPTED_STOP] = TO(STOPPING, TERMINATE),
        [SERVICE_ON_BACKOFF_REST] = TO(BACKOFF, NOTHING),
        [SERVICE_ON_EXIT_AGAIN]  = TO(BACKOFF,    BACK_OFF),
        [SERVICE_ON_EXIT_FAILED] = TO(FAILED,     ABANDON),
        [SERVICE_ON_EXIT_WANTED] = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_EXIT_RESTART] = TO(WAITING,   WAIT),
        [SERVICE_ON_STOP_REST]   = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_RECOVERING] = {
        [SERVICE_ON_STOP]        = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_WAY_CLEAR]   = TO(STARTING,   SPAWN),
        [SERVICE_ON_WAY_WAITS]   = TO(RECOVERING, NOTHING),
        [SERVICE_ON_WAY_BLOCKED] = TO(BLOCKED,    NOTHING),
        [SERVICE_ON_TIMEOUT]     = TO(RECOVERING, RECOVER),
        [SERVICE_ON_UNMET]       = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_BLOCKED] = {
        [SERVICE_ON_START]       = TO(RECOVERING, RECOVER),
        [SERVICE_ON_RESTART]     = TO(RECOVERING, RECOVER),
        [SERVICE_ON_STOP]        = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_RELOAD]      = TO(RECOVERING, RECOVER),
        [SERVICE_ON_TIMEOUT]     = TO(RECOVERING, RECOVER),
        [SERVICE_ON_UNMET]       = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_STARTING] = {
        [SERVICE_ON_STOP]        = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RESTART]     = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_READY]       = TO(RUNNING,    NOTHING),
        [SERVICE_ON_EXIT_AGAIN]  = TO(BACKOFF,    BACK_OFF),
        [SERVICE_ON_EXIT_CLEAN]  = TO(STOPPED,    ABANDON),
        [SERVICE_ON_EXIT_FAILED] = TO(FAILED,     ABANDON),
        [SERVICE_ON_TIMEOUT]     = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_UNMET]       = TO(STOPPING,   TERMINATE),
    },
    [SERVICE_RUNNING] = {
        [SERVICE_ON_STOP]        = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RESTART]     = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RELOAD]      = TO(RELOADING,  RELOAD),
        [SERVICE_ON_EXIT_AGAIN]  = TO(BACKOFF,    BACK_OFF),
        [SERVICE_ON_EXIT_CLEAN]  = TO(STOPPED,    ABANDON),
        [SERVICE_ON_EXIT_FAILED] = TO(FAILED,     ABANDON),
        [SERVICE_ON_HUNG]        = TO(STOPPING,   ABORT),
        [SERVICE_ON_UNMET]       = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RELOADING]   = TO(RELOADING,  NOTHING),
    },
    [SERVICE_RELOADING] = {
        [SERVICE_ON_STOP]        = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RESTART]     = TO(STOPPING,   TERMINATE),
        [SERVICE_ON_RELOAD]      = TO(RELOADING,  RELOAD),
        [SERVICE_ON_READY]       = TO(RUNNING,    NOTHING),
        [SERVICE_ON_EXIT_AGAIN]  = TO(BACKOFF,    BACK_OFF),
        [SERVICE_ON_EXIT_CLEAN]  = TO(STOPPED,    ABANDON),
        [SERVICE_ON_EXIT_FAILED] = TO(FAILED,     ABANDON),
        [SERVICE_ON_TIMEOUT]     = TO(RUNNING,    NOTHING),
        [SERVICE_ON_HUNG]        = TO(STOPPING,   ABORT),
        [SERVICE_ON_UNMET]       = TO(STOPPING,   TERMINATE),
    },
    [SERVICE_STOPPING] = {
        [SERVICE_ON_START]       = TO(STOPPING,   START_AGAIN),
        [SERVICE_ON_RESTART]     = TO(STOPPING,   START_AGAIN),
        [SERVICE_ON_STOP]        = TO(STOPPING,   START_NO_MORE),
        [SERVICE_ON_TIMEOUT]     = TO(STOPPING,   KILL),
        [SERVICE_ON_EXIT_AGAIN]  = TO(BACKOFF,    BACK_OFF),
        [SERVICE_ON_EXIT_CLEAN]  = TO(STOPPED,    ABANDON),
        [SERVICE_ON_EXIT_FAILED] = TO(FAILED,     ABANDON),
        [SERVICE_ON_EXIT_WANTED] = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_EXIT_RESTART] = TO(WAITING,    WAIT),
    },
    [SERVICE_SWEEPING] = {
        [SERVICE_ON_START]       = TO(WAITING,    WAIT),
        [SERVICE_ON_RESTART]     = TO(WAITING,    WAIT),
        [SERVICE_ON_SWEPT]       = TO(STOPPED,    ABANDON),
        [SERVICE_ON_TIMEOUT]     = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_BACKOFF] = {
        [SERVICE_ON_START]       = TO(WAITING,    WAIT),
        [SERVICE_ON_RESTART]     = TO(WAITING,    WAIT),
        [SERVICE_ON_STOP]        = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_RELOAD]      = TO(WAITING,    WAIT),
        [SERVICE_ON_TIMEOUT]     = TO(WAITING,    WAIT),
        [SERVICE_ON_UNMET]       = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_FAILED] = {
        [SERVICE_ON_START]       = TO(WAITING,    WAIT),
        [SERVICE_ON_RESTART]     = TO(WAITING,    WAIT),
        [SERVICE_ON_STOP]        = TO(SWEEPING,   SWEEP),
    },
    [SERVICE_WAITING] = {
        [SERVICE_ON_STOP]        = TO(SWEEPING,   SWEEP),
        [SERVICE_ON_TURN]        = TO(RECOVERING, RECOVER),
        [SERVICE_ON_UNMET]       = TO(FAILED,     ABANDON),
    },
};
/* clang-format on */

struct service_transition service_next(enum service_state state, enum service_event event) {
    if ((unsigned) state < SERVICE_STATE_MAX && (unsigned) event < SERVICE_EVENT_MAX &&
        table[state][event].set)
        return table[state][event].to;
    return (struct service_transition){.next = state, .action = SERVICE_DO_NOTHING};
}

const char *service_state_shown(enum service_state state) {
    return service_state_to_string(state == SERVICE_SWEEPING  ? SERVICE_STOPPING
                                   : state == SERVICE_WAITING ? SERVICE_STARTING
                                                              : state);
}

bool service_state_has_main(enum service_state state) {
    return state == SERVICE_STARTING || state == SERVICE_RUNNING || state == SERVICE_RELOADING ||
           state == SERVICE_STOPPING;
}
