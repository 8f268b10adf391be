/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "service/state.h"

#include "suite.h"

/* Every state and every event, written out once more and independently of state.c. */
/* clang-format off */
static const struct service_transition expected[SERVICE_STATE_MAX][SERVICE_EVENT_MAX] = {
    [SERVICE_STOPPED] = {
        [SERVICE_ON_START] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_STOP] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_RELOAD] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_BACK_OFF},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_SWEPT] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_HUNG] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOADING] = {SERVICE_STOPPED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
    },
    [SERVICE_RECOVERING] = {
        [SERVICE_ON_START] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RESTART] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOAD] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_STARTING, SERVICE_DO_SPAWN},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_HUNG] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RELOADING] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_RECOVERING, SERVICE_DO_NOTHING},
    },
    [SERVICE_BLOCKED] = {
        [SERVICE_ON_START] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RESTART] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_RELOAD] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_HUNG] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RELOADING] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_BLOCKED, SERVICE_DO_NOTHING},
    },
    [SERVICE_STARTING] = {
        [SERVICE_ON_START] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RESTART] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOAD] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_BACK_OFF},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_STOPPED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_HUNG] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOADING] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_STARTING, SERVICE_DO_NOTHING},
    },
    [SERVICE_RUNNING] = {
        [SERVICE_ON_START] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RESTART] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOAD] = {SERVICE_RELOADING, SERVICE_DO_RELOAD},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_BACK_OFF},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_STOPPED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_HUNG] = {SERVICE_STOPPING, SERVICE_DO_ABORT},
        [SERVICE_ON_TURN] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOADING] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
    },
    [SERVICE_RELOADING] = {
        [SERVICE_ON_START] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RESTART] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOAD] = {SERVICE_RELOADING, SERVICE_DO_RELOAD},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_BACK_OFF},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_STOPPED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_RUNNING, SERVICE_DO_NOTHING},
        [SERVICE_ON_HUNG] = {SERVICE_STOPPING, SERVICE_DO_ABORT},
        [SERVICE_ON_TURN] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_STOPPING, SERVICE_DO_TERMINATE},
        [SERVICE_ON_RELOADING] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_RELOADING, SERVICE_DO_NOTHING},
    },
    [SERVICE_STOPPING] = {
        [SERVICE_ON_START] = {SERVICE_STOPPING, SERVICE_DO_START_AGAIN},
        [SERVICE_ON_STOP] = {SERVICE_STOPPING, SERVICE_DO_START_NO_MORE},
        [SERVICE_ON_RESTART] = {SERVICE_STOPPING, SERVICE_DO_START_AGAIN},
        [SERVICE_ON_RELOAD] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_BACK_OFF},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_STOPPED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_SWEPT] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_STOPPING, SERVICE_DO_KILL},
        [SERVICE_ON_HUNG] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOADING] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_STOPPING, SERVICE_DO_NOTHING},
    },
    [SERVICE_SWEEPING] = {
        [SERVICE_ON_START] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_RELOAD] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_STOPPED, SERVICE_DO_ABANDON},
        [SERVICE_ON_TIMEOUT] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_HUNG] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOADING] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_SWEEPING, SERVICE_DO_NOTHING},
    },
    [SERVICE_BACKOFF] = {
        [SERVICE_ON_START] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_RELOAD] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_HUNG] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RELOADING] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_BACKOFF, SERVICE_DO_NOTHING},
    },
    [SERVICE_FAILED] = {
        [SERVICE_ON_START] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RESTART] = {SERVICE_WAITING, SERVICE_DO_WAIT},
        [SERVICE_ON_RELOAD] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_HUNG] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_UNMET] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOADING] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_FAILED, SERVICE_DO_NOTHING},
    },
    [SERVICE_WAITING] = {
        [SERVICE_ON_START] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP] = {SERVICE_SWEEPING, SERVICE_DO_SWEEP},
        [SERVICE_ON_RESTART] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_RELOAD] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_CLEAR] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_WAITS] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_WAY_BLOCKED] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_READY] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_AGAIN] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_CLEAN] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_FAILED] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_WANTED] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_EXIT_RESTART] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_SWEPT] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TIMEOUT] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_HUNG] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_TURN] = {SERVICE_RECOVERING, SERVICE_DO_RECOVER},
        [SERVICE_ON_UNMET] = {SERVICE_FAILED, SERVICE_DO_ABANDON},
        [SERVICE_ON_RELOADING] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_UP] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_ADOPTED_STOP] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_BACKOFF_REST] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
        [SERVICE_ON_STOP_REST] = {SERVICE_WAITING, SERVICE_DO_NOTHING},
    },
};
/* clang-format on */

/* The words of the page, in the order of the enumerations. */
static const char *const events[SERVICE_EVENT_MAX] = {
    "start",       "stop",         "restart",    "reload",       "way-clear",    "way-waits",
    "way-blocked", "ready",        "adopted",    "exit-again",   "exit-clean",   "exit-failed",
    "exit-wanted", "exit-restart", "swept",      "timeout",      "hung",         "turn",
    "unmet",       "reloading",    "adopted-up", "adopted-stop", "backoff-rest", "stop-rest",
};
static const char *const actions[SERVICE_ACTION_MAX] = {
    "nothing",  "recover", "spawn",       "terminate",     "kill",  "reload", "sweep",
    "back-off", "abandon", "start-again", "start-no-more", "abort", "wait",
};

START_TEST(every_cell) {
    for (int s = 0; s < SERVICE_STATE_MAX; s++)
        for (int e = 0; e < SERVICE_EVENT_MAX; e++) {
            struct service_transition got = service_next((enum service_state) s, (enum service_event) e);

            ck_assert_msg(got.next == expected[s][e].next && got.action == expected[s][e].action,
                          "%s + %s: expected %s: %s, got %s: %s",
                          service_state_to_string((enum service_state) s), events[e],
                          service_state_to_string(expected[s][e].next), actions[expected[s][e].action],
                          service_state_to_string(got.next), actions[got.action]);
        }
}
END_TEST

START_TEST(outside_of_the_table) {
    struct service_transition got = service_next(SERVICE_RUNNING, SERVICE_EVENT_MAX);

    ck_assert_int_eq(got.next, SERVICE_RUNNING);
    ck_assert_int_eq(got.action, SERVICE_DO_NOTHING);
    got = service_next(SERVICE_STATE_MAX, SERVICE_ON_START);
    ck_assert_int_eq(got.next, SERVICE_STATE_MAX);
    ck_assert_int_eq(got.action, SERVICE_DO_NOTHING);
    got = service_next(SERVICE_STATE_INVALID, SERVICE_ON_STOP);
    ck_assert_int_eq(got.next, SERVICE_STATE_INVALID);
    ck_assert_ptr_null(service_state_to_string(SERVICE_STATE_MAX));
    ck_assert_int_eq(service_state_from_string("no such state"), SERVICE_STATE_INVALID);
}
END_TEST

START_TEST(names) {
    for (int s = 0; s < SERVICE_STATE_MAX; s++)
        ck_assert_int_eq(service_state_from_string(service_state_to_string((enum service_state) s)), s);
    for (int e = 0; e < SERVICE_EVENT_MAX; e++) {
        ck_assert_str_eq(service_event_to_string((enum service_event) e), events[e]);
        ck_assert_int_eq(service_event_from_string(events[e]), e);
    }
    for (int a = 0; a < SERVICE_ACTION_MAX; a++)
        ck_assert_str_eq(service_action_to_string((enum service_action) a), actions[a]);
}
END_TEST

/* From stopped every state is reached, and from every state one gets back to stopped and to running. */
static void reach(enum service_state from, bool ret_reached[static SERVICE_STATE_MAX]) {
    bool more = true;

    memset(ret_reached, 0, SERVICE_STATE_MAX * sizeof *ret_reached);
    ret_reached[from] = true;
    while (more) {
        more = false;
        for (int s = 0; s < SERVICE_STATE_MAX; s++)
            for (int e = 0; ret_reached[s] && e < SERVICE_EVENT_MAX; e++) {
                enum service_state next = service_next((enum service_state) s, (enum service_event) e).next;

                more |= !ret_reached[next];
                ret_reached[next] = true;
            }
    }
}

START_TEST(nothing_is_unreachable) {
    for (int s = 0; s < SERVICE_STATE_MAX; s++) {
        bool reached[SERVICE_STATE_MAX];

        reach((enum service_state) s, reached);
        for (int to = 0; to < SERVICE_STATE_MAX; to++)
            ck_assert_msg(reached[to], "%s is not reached from %s",
                          service_state_to_string((enum service_state) to),
                          service_state_to_string((enum service_state) s));
    }
}
END_TEST

/* Whether a daemon exists is a fact, not an opinion of the table: it comes by spawn or adoption, and goes by
 * an exit. */
START_TEST(daemons_neither_appear_nor_vanish) {
    for (int s = 0; s < SERVICE_STATE_MAX; s++)
        for (int e = 0; e < SERVICE_EVENT_MAX; e++) {
            struct service_transition to = service_next((enum service_state) s, (enum service_event) e);
            bool before = service_state_has_main((enum service_state) s),
                 after = service_state_has_main(to.next),
                 exit = e >= SERVICE_ON_EXIT_AGAIN && e <= SERVICE_ON_EXIT_RESTART;
            bool adopted = s == SERVICE_STOPPED && (e == SERVICE_ON_ADOPTED || e == SERVICE_ON_ADOPTED_UP ||
                                                    e == SERVICE_ON_ADOPTED_STOP);
            const char *what = events[e];

            if (to.next == (enum service_state) s && to.action == SERVICE_DO_NOTHING)
                continue;
            if (before && !after)
                ck_assert_msg(exit, "%s loses its daemon by %s",
                              service_state_to_string((enum service_state) s), what);
            if (!before && after)
                ck_assert_msg(to.action == SERVICE_DO_SPAWN || adopted, "a daemon comes by %s", what);
            if (exit) /* from stopped: it ended while no latchd watched */
                ck_assert_msg((before || s == SERVICE_STOPPED) && !after, "%s survives %s",
                              service_state_to_string((enum service_state) s), what);
            if (to.action == SERVICE_DO_TERMINATE || to.action == SERVICE_DO_KILL ||
                to.action == SERVICE_DO_RELOAD || to.action == SERVICE_DO_ABORT)
                ck_assert_msg((before || adopted) && after, "%s: a signal to nobody", what);
            if (to.action == SERVICE_DO_SPAWN || to.action == SERVICE_DO_RECOVER ||
                to.action == SERVICE_DO_WAIT || to.action == SERVICE_DO_BACK_OFF)
                ck_assert_msg(!before || exit, "%s: a second daemon", what);
            if (to.action == SERVICE_DO_TERMINATE || to.action == SERVICE_DO_ABORT)
                ck_assert_int_eq(to.next, SERVICE_STOPPING);
            if (to.action == SERVICE_DO_BACK_OFF)
                ck_assert_int_eq(to.next, SERVICE_BACKOFF);
            if (to.action == SERVICE_DO_WAIT)
                ck_assert_int_eq(to.next, SERVICE_WAITING);
            if (to.action == SERVICE_DO_RECOVER)
                ck_assert_int_eq(to.next, SERVICE_RECOVERING);
        }
}
END_TEST

/* Whatever state it is in: a stop ends it, and does not bring anything up. */
START_TEST(a_stop_leads_down) {
    for (int s = 0; s < SERVICE_STATE_MAX; s++) {
        struct service_transition to = service_next((enum service_state) s, SERVICE_ON_STOP);

        ck_assert(to.next == SERVICE_STOPPED || to.next == SERVICE_STOPPING || to.next == SERVICE_SWEEPING);
        ck_assert_int_eq(service_state_has_main((enum service_state) s), to.next == SERVICE_STOPPING);
    }
}
END_TEST

/* ---- doc/states.md ---- */

static char **read_page(void) {
    const char *srcdir = getenv("srcdir");
    _cleanup_free_ char *path = NULL, *text = NULL;
    char **lines = NULL, *rest, *line;

    ck_assert_int_ge(asprintf(&path, "%s/doc/states.md", srcdir ? srcdir : "."), 0);
    ck_assert_msg(fd_read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL) == 0, "cannot read %s", path);
    for (rest = text; (line = strsep(&rest, "\n"));)
        ck_assert_int_eq(strlist_append(&lines, NULL, strdup(line)), 0);
    return lines;
}

/* The trimmed cells of a line of a table. Returns their number, at most max. */
static size_t split_cells(char *line, char *cells[], size_t max) {
    size_t n = 0;
    char *cell;

    if (*line++ != '|')
        return 0;
    while (n < max && (cell = strsep(&line, "|")) && line) {
        size_t length;

        cell += strspn(cell, " ");
        for (length = strlen(cell); length > 0 && cell[length - 1] == ' '; length--)
            cell[length - 1] = '\0';
        cells[n++] = cell;
    }
    return n;
}

START_TEST(the_page_has_the_table) {
    _cleanup_strlist_ char **lines = read_page();
    bool in_table = false;
    int rows = 0;

    for (char **line = lines; *line; line++) {
        char *cells[SERVICE_STATE_MAX + 2], wanted[64];
        size_t n = split_cells(*line, cells, ELEMENTSOF(cells));

        if (n != SERVICE_STATE_MAX + 1 || strspn(cells[0], "-") == strlen(cells[0]))
            continue;
        if (!in_table) {
            ck_assert_str_eq(cells[0], "event");
            for (int s = 0; s < SERVICE_STATE_MAX; s++)
                ck_assert_str_eq(cells[s + 1], service_state_to_string((enum service_state) s));
            in_table = true;
            continue;
        }
        ck_assert_int_lt(rows, SERVICE_EVENT_MAX);
        ck_assert_str_eq(cells[0], service_event_to_string((enum service_event) rows));
        for (int s = 0; s < SERVICE_STATE_MAX; s++) {
            struct service_transition to = service_next((enum service_state) s, (enum service_event) rows);

            if (to.next == (enum service_state) s && to.action == SERVICE_DO_NOTHING &&
                strcmp(cells[s + 1], "·") == 0)
                continue;
            snprintf(wanted, sizeof wanted, "%s%s%s", service_state_to_string(to.next),
                     to.action == SERVICE_DO_NOTHING ? "" : ": ",
                     to.action == SERVICE_DO_NOTHING ? "" : service_action_to_string(to.action));
            ck_assert_msg(strcmp(cells[s + 1], wanted) == 0,
                          "doc/states.md says of %s + %s: \"%s\", state.c: \"%s\"",
                          service_state_to_string((enum service_state) s), cells[0], cells[s + 1], wanted);
        }
        rows++;
    }
    ck_assert_int_eq(rows, SERVICE_EVENT_MAX);
}
END_TEST

/* Each state, event and action is explained: a row that begins with its name, in a table of explanations. */
static void assert_explained(char *const lines[], const char *name) {
    size_t length = strlen(name);

    for (; *lines; lines++)
        if (strncmp(*lines, "| ", 2) == 0 && strncmp(*lines + 2, name, length) == 0 &&
            (*lines)[2 + length] == ' ' && strlen(*lines) > 40)
            return;
    ck_abort_msg("doc/states.md does not explain %s", name);
}

START_TEST(the_page_explains_everything) {
    _cleanup_strlist_ char **lines = read_page();

    for (int s = 0; s < SERVICE_STATE_MAX; s++)
        assert_explained(lines, service_state_to_string((enum service_state) s));
    for (int e = 0; e < SERVICE_EVENT_MAX; e++)
        assert_explained(lines, events[e]);
    for (int a = 1; a < SERVICE_ACTION_MAX; a++)
        assert_explained(lines, actions[a]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("state");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, every_cell);
    tcase_add_test(tests, outside_of_the_table);
    tcase_add_test(tests, names);
    tcase_add_test(tests, nothing_is_unreachable);
    tcase_add_test(tests, daemons_neither_appear_nor_vanish);
    tcase_add_test(tests, a_stop_leads_down);
    tcase_add_test(tests, the_page_has_the_table);
    tcase_add_test(tests, the_page_explains_everything);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
