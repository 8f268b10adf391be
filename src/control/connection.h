/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One client of a control server, and its calls (whose public half is in control/server.h). */

#include "control/server.h"
#include "varlink/wire.h"

struct control_connection;

struct control_server {
    sd_event *event;
    int dir_fd;
    int fd;
    char *name;
    dev_t device; /* of our own socket file */
    ino_t inode;
    bool published; /* the socket file is in place */
    const struct control_interface *interface;
    void *userdata;
    struct control_limits limits;
    sd_event_source *listen_source;
    sd_event_source *pause_source;          /* ends a pause in accepting */
    struct closer *closer;                  /* of what clients send along, and nobody asked for */
    struct control_connection *connections; /* list */
    unsigned n_connections;
};

static inline const char *control_admin_group(const struct control_server *server) {
    return server->interface->admin_group ? server->interface->admin_group : "latchd";
}

struct control_connection {
    unsigned n_ref;
    struct control_server *server; /* NULL once dropped */
    struct control_connection *next, *previous;
    int fd;
    struct ucred peer;
    int privileged; /* -1: not looked at yet */
    struct control_limits limits;

    sd_event_source *io_source;
    sd_event_source *go_on_source; /* goes on outside of whoever gave an answer */
    sd_event_source *timer_source; /* made when first needed */
    uint32_t events;               /* as set on io_source */

    struct varlink_input input;
    struct varlink_output output;
    struct control_call *call; /* being answered; it points back */

    uint64_t active_usec;          /* CLOCK_MONOTONIC: when it last said or read something */
    uint64_t input_deadline_usec;  /* CLOCK_MONOTONIC; 0: no request is under way */
    uint64_t output_deadline_usec; /* 0: nothing waits to be read */
    uint64_t output_bytes_mark;    /* output_bytes_sent when all that waited as the time began is out */
    uint64_t output_bytes_sent;
    uint64_t timer_usec; /* as set on timer_source; 0: off */

    bool at_end;     /* no more input: the peer's sending side is shut, or what it sends is nonsense */
    bool deaf;       /* nobody reads the answers: they are thrown away */
    bool hung_up;    /* the peer closed its socket: only what it said before is left */
    bool doomed;     /* to be dropped as soon as the event loop has us */
    bool processing; /* within run_calls() */
};

/* Adds a client that was accepted. Takes the descriptor over on success. */
int control_connection_new(struct control_server *server, int fd, const struct ucred *peer,
                           struct control_connection **ret);
void control_connection_drop(struct control_connection *connection);
bool control_connection_is_privileged(struct control_connection *connection);

/* An error answer; steals parameters. NULL when memory ran out. */
json_t *control_connection_error_message(const char *full_name, json_t *parameters);
/* Puts a message (stolen; NULL is -ENOMEM) into the output. -EMSGSIZE, -ENOTCONN, -ENOMEM. */
int control_connection_send(struct control_connection *connection, json_t *message);
/* The call in progress has its answer. */
void control_connection_go_on(struct control_connection *connection);

/* call.c: a request as it came. Answers those it cannot run. -EBADMSG: it is no call at all. */
int control_call_dispatch(struct control_connection *connection, json_t *message);
/* The connection goes: tells the call that waits, if one does. */
void control_call_orphan(struct control_connection *connection);
/* org.varlink.service */
extern const struct control_interface control_service_interface;
