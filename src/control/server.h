/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A Varlink server for one socket, on sd-event. It never blocks: each client's input, output and time are
 * bounded, and whoever goes beyond that loses the own connection and nobody else's. It knows nothing of what
 * the methods do. Single-threaded, like the event loop it is on.
 *
 * A client's calls are answered in order, one at a time: those behind wait in its input buffer, and in the
 * kernel's when that is full. A client that shuts down only its sending side still gets its answers; the
 * calls of one that is gone altogether run until one of them answers later. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <jansson.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "base/macro.h"

struct control_call;
struct control_server;

struct control_method {
    const char *name; /* "GetStatus" */
    bool changes;     /* only for privileged peers */

    /* Answers the call by control_call_reply() or control_call_error(), at once or, if it took a reference,
     * at any later time. `parameters` is an object, borrowed. A call that nobody answered when its last
     * reference goes gets the error Failed, with the text of a negative return value (-errno). */
    int (*run)(struct control_call *call, json_t *parameters, void *userdata);
};

/* All of it is borrowed for the server's lifetime. */
struct control_interface {
    const char *name;        /* "io.latchd.Supervisor" */
    const char *description; /* the text of its definition */
    const struct control_method *methods;
    size_t n_methods;
    const char *version;     /* for GetInfo: PACKAGE_VERSION */
    const char *admin_group; /* whose members are privileged; NULL stands for "latchd" */
};

struct control_limits {
    size_t input_bytes;       /* the longest request, and all that is held of a client's requests */
    size_t output_bytes;      /* the longest answer, and all that a client has not read yet */
    uint64_t input_usec;      /* for a request to arrive, from its first byte */
    uint64_t output_usec;     /* for a client to read everything that waits for it */
    unsigned clients;         /* at a time; the last quarter is for root and our own user */
    unsigned clients_per_uid; /* of one user who is not privileged */
    uint64_t quiet_usec; /* a client without a call in progress that was silent for as long makes room for
                          * another one when the limit is reached */
};

#define CONTROL_LIMITS_DEFAULT                                                                               \
    (struct control_limits) {                                                                                \
        .input_bytes = 64 << 10, .output_bytes = 1 << 20, .input_usec = 30000000, .output_usec = 30000000,   \
        .clients = 256, .clients_per_uid = 64, .quiet_usec = 1000000                                         \
    }

/* Makes the socket dir_fd/socket_name, mode 0666, and serves it. It is bound under a temporary name, listens,
 * and is then renamed over an older socket of that name, so that there is no moment without one: whoever
 * calls must already know that no other supervisor serves that name. dir_fd is duplicated; only its owner may
 * be able to write to that directory. Needs /proc (no path is too long that way). An old file there that is
 * no socket is left alone: -EEXIST. */
int control_server_new(sd_event *event, int dir_fd, const char *socket_name,
                       const struct control_interface *interface, void *userdata, struct control_server **ret,
                       struct err *err);

/* The same with a listener that a latchd before handed over (taken over in any case; below 0: none). Where it is no
 * longer what the name leads to (device and inode of that), the socket is made anew. */
int control_server_adopt(sd_event *event, int dir_fd, const char *socket_name, int fd, dev_t device, ino_t inode,
                         const struct control_interface *interface, void *userdata, struct control_server **ret,
                         struct err *err);

/* For clients that connect from now on. */
void control_server_set_limits(struct control_server *server, const struct control_limits *limits);

unsigned control_server_clients(const struct control_server *server);

/* Drops all clients (calls that are still to be answered stay valid and lead nowhere), closes the listener,
 * and removes the socket unless the name belongs to another one by now. May be called by a method, not by a
 * `gone` callback. NULL is fine. */
void control_server_free(struct control_server *server);
static inline void control_server_freep(struct control_server **server) {
    control_server_free(*server);
}

/* A call. It outlives its client: then answers go nowhere, which is no fault of the one who answers. */
struct control_call *control_call_ref(struct control_call *call);
void control_call_unref(struct control_call *call);

/* The answer, once. `parameters` is taken over, always; NULL stands for {}. Returns 0 when it is on its way
 * or the caller wanted none ("oneway"), -ENOTCONN when the client is gone, -EALREADY when there was an
 * answer, -EMSGSIZE when it is longer than the limit (the client gets the error Failed then), -ENOMEM.
 * Nothing needs to be done about any of these. */
int control_call_reply(struct control_call *call, json_t *parameters);

/* One of several answers ("continues"): the same, and -EINVAL unless the caller wants more. A client that
 * does not keep up (its unread answers are over the limit) is dropped: -ENOTCONN. */
int control_call_reply_more(struct control_call *call, json_t *parameters);

/* The answer is an error: "Held" becomes "io.latchd.Supervisor.Held" (the interface's name before it); a name
 * with a dot stays. `message` (may be NULL) is put beside `more_parameters` (taken over, may be NULL). */
int control_call_error(struct control_call *call, const char *name, const char *message,
                       json_t *more_parameters);

/* org.varlink.service.InvalidParameter, which names the parameter. */
int control_call_invalid_parameter(struct control_call *call, const char *parameter);

/* The same for what a function recorded: its name and message. */
int control_call_error_from(struct control_call *call, const struct err *err);

/* As the kernel noted it when the client connected; valid for as long as the call is. */
const struct ucred *control_call_peer(const struct control_call *call);
const char *control_call_method(const struct control_call *call); /* the last word of its name */
bool control_call_wants_more(const struct control_call *call);
bool control_call_is_oneway(const struct control_call *call);
bool control_call_is_privileged(const struct control_call *call);
bool control_call_is_connected(const struct control_call *call);

/* `gone` is called, from the event loop or control_server_free(), when the client goes away before the call
 * was answered for good: the place to end a stream and to drop the reference. Never called from within the
 * functions above. */
void control_call_set_gone(struct control_call *call, void (*gone)(struct control_call *call, void *userdata),
                           void *userdata);
