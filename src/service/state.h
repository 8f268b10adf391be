/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The life of a service as data: state × event, in one table (state.c). Pure: the manager asks what follows,
 * and carries out the action. Explained in doc/states.md, which a test holds against the table. */

#include <errno.h>
#include <stdbool.h>

#include "base/strtab.h"

enum service_state {
    SERVICE_STOPPED,
    SERVICE_RECOVERING, /* finding out who holds what; clearing; waiting for a leftover to end */
    SERVICE_BLOCKED,    /* a living owner, or something that cannot be told, is in the way; watched */
    SERVICE_STARTING,   /* the daemon runs and is not ready yet */
    SERVICE_RUNNING,
    SERVICE_RELOADING,
    SERVICE_STOPPING,
    SERVICE_SWEEPING, /* stopped on request; what the daemon left is being ended. People are told "stopping"
                       */
    SERVICE_BACKOFF,  /* waiting until the next try */
    SERVICE_FAILED,
    SERVICE_WAITING, /* a start has to wait for other services (After=). People are told "starting" */
    SERVICE_STATE_MAX,
    SERVICE_STATE_INVALID = -EINVAL,
};
STRTAB_DECLARE(service_state, enum service_state);

enum service_event {
    SERVICE_ON_START, /* somebody asks for it */
    SERVICE_ON_STOP,
    SERVICE_ON_RESTART,
    SERVICE_ON_RELOAD,
    SERVICE_ON_WAY_CLEAR, /* recovery: nothing is in the way */
    SERVICE_ON_WAY_WAITS, /* recovery: a leftover is being waited for or ended */
    SERVICE_ON_WAY_BLOCKED,
    SERVICE_ON_READY,
    SERVICE_ON_ADOPTED,      /* a daemon that an earlier latchd started is running */
    SERVICE_ON_EXIT_AGAIN,   /* the daemon ended (or could not be executed), and policy starts it again */
    SERVICE_ON_EXIT_CLEAN,   /* it ended in good order, and stays down */
    SERVICE_ON_EXIT_FAILED,  /* it ended otherwise, and stays down */
    SERVICE_ON_EXIT_WANTED,  /* it ended because we stopped it */
    SERVICE_ON_EXIT_RESTART, /* the same, and a start is to follow */
    SERVICE_ON_SWEPT,        /* nothing of the daemon is left, or what is left is not ours to end */
    SERVICE_ON_TIMEOUT,      /* the state's timer ran out */
    SERVICE_ON_HUNG,         /* it lives, and does not do what it is there for; policy ends it */
    SERVICE_ON_TURN,         /* no other service has to be waited for any more */
    SERVICE_ON_UNMET,        /* what it requires (Requires=) is down and stays down */
    SERVICE_ON_RELOADING,    /* the daemon says that it reloads, without having been told to (RELOADING=1) */
    SERVICE_ON_ADOPTED_UP,    /* the same, and it was ready */
    SERVICE_ON_ADOPTED_STOP, /* the same, and it was being stopped */
    SERVICE_ON_BACKOFF_REST, /* an earlier latchd was waiting for the next try */
    SERVICE_ON_STOP_REST,    /* somebody asks for a stop of what is down, and processes of it are left */
    SERVICE_EVENT_MAX,
};
STRTAB_DECLARE(service_event, enum service_event);

enum service_action {
    SERVICE_DO_NOTHING,
    SERVICE_DO_RECOVER, /* look at locks, sockets and PID files, and make the way free */
    SERVICE_DO_SPAWN,
    SERVICE_DO_TERMINATE,     /* KillSignal=, then wait TimeoutStopSec= */
    SERVICE_DO_KILL,          /* SIGKILL */
    SERVICE_DO_RELOAD,        /* ReloadSignal= */
    SERVICE_DO_SWEEP,         /* end what the daemon left, as a start would */
    SERVICE_DO_BACK_OFF,      /* arm the restart timer */
    SERVICE_DO_ABANDON,       /* drop timers and watches: there is no daemon */
    SERVICE_DO_START_AGAIN,   /* remember that a start follows the stop that is under way */
    SERVICE_DO_START_NO_MORE, /* forget that */
    SERVICE_DO_ABORT,         /* SIGABRT, then wait TimeoutStopSec= */
    SERVICE_DO_WAIT,          /* for the services that come before it; where there are none: the event turn */
    SERVICE_ACTION_MAX,
};
STRTAB_DECLARE(service_action, enum service_action);

struct service_transition {
    enum service_state next;
    enum service_action action;
};

/* What follows. An event that means nothing in a state leaves it as it is and does nothing. */
struct service_transition service_next(enum service_state state, enum service_event event);

/* The word for people and programs: that of the contract, which knows neither "sweeping" nor "waiting". */
const char *service_state_shown(enum service_state state);

/* Whether there is a daemon process in that state. */
bool service_state_has_main(enum service_state state);
