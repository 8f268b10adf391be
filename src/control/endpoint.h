/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files methods*.c share: one service's control socket and the calls that wait there. */

#include "control/server.h"
#include "recovery/recover.h"
#include "service/service.h"

/* What a call that waits is waiting for. */
enum goal {
    GOAL_UP,
    GOAL_DOWN,
    GOAL_RELOADED, /* up, and the last reload went well */
};

struct waiting_call;
struct clearing;

struct answer_cache {
    json_t *answer; /* owned; NULL: none */
    uint64_t made_usec;
};

/* One service's socket. */
struct endpoint {
    struct control *control;
    struct service *service;
    struct control_server *server;
    struct waiting_call *waiting;
    struct clearing *clearing;
    struct answer_cache status, probe, limits, sockets;
};

struct control {
    struct manager *manager;
    struct endpoint *endpoints;
    size_t n_endpoints;
    struct control_call *reexec_call; /* a reference; NULL: nobody waits for latchd to be replaced */
    sd_event_source
        *forget; /* drops cached answers when they are too old for anybody; NULL: there are none */
};

/* -- handover.c: latchd is replaced -- */
int endpoint_reexec(struct control_call *call, json_t *parameters, void *userdata);
int control_hand_over(struct handover *handover, void *userdata);
void control_end_reexec(struct control *control);

/* Makes the socket, or takes it over, its clients with it. */
int endpoint_open(struct endpoint *endpoint, const struct control_interface *interface, struct err *err);

/* -- methods.c -- */

/* Tells the journal who asked for a change. */
void endpoint_note_request(struct endpoint *endpoint, struct control_call *call);

/* An error with what the interface promises beside its message: Held names the holders. */
int endpoint_answer_error(struct control_call *call, const struct service *service, const struct err *err);
json_t *endpoint_list_holders(const struct service *service);

/* A look at the machine costs something. Whoever may only look gets the answer of a moment ago, so that many who
 * ask do not keep the supervisor from its work. */
int endpoint_answer_look(struct control_call *call, struct answer_cache *cache,
                         json_t *(*look)(struct endpoint *), struct endpoint *endpoint);

/* -- methods-limits.c -- */
int endpoint_get_limits(struct control_call *call, json_t *parameters, void *userdata);
int endpoint_set_limits(struct control_call *call, json_t *parameters, void *userdata);

/* -- methods-sockets.c -- */
int endpoint_get_sockets(struct control_call *call, json_t *parameters, void *userdata);

/* -- methods-wait.c -- */

/* The parameters "block" and "timeoutUSec"; -EINVAL: *ret_wrong names the one that is wrong. */
int endpoint_read_waiting(json_t *parameters, bool *ret_block, uint64_t *ret_timeout_usec,
                          const char **ret_wrong);

/* Answers the call when the goal is reached. A back-off that began after the call (more restarts than
 * restarts_before) is a failure. answer: what to answer then; taken over; NULL: nothing but that it is so. */
int endpoint_wait(struct endpoint *endpoint, struct control_call *call, enum goal goal,
                  uint64_t restarts_before, uint64_t timeout_usec, json_t *answer);

/* The service's state changed: who waited for it is answered. */
void endpoint_wake_waiting(struct endpoint *endpoint);
void endpoint_end_waiting(struct endpoint *endpoint); /* all of them, without an answer */

/* -- methods-kill.c -- */
int endpoint_kill(struct control_call *call, json_t *parameters, void *userdata);

/* -- methods-clear.c -- */
int endpoint_clear(struct control_call *call, json_t *parameters, void *userdata);
void endpoint_end_clearing(struct endpoint *endpoint);
