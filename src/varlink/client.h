/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The calling side of a Varlink connection, for the command line: it blocks, but never beyond a deadline. The
 * socket itself is non-blocking: a full send buffer or listener queue (EAGAIN) is waited out by poll(2) and
 * by trying again, what was left over by a short write is gone on with.
 *
 * Timeouts are for the whole of the function, in microseconds from its start; 0 tries once without waiting,
 * USEC_INFINITY (base/value.h) waits for ever.
 *
 * Errors, as everywhere -errno and a struct err. Its name is the last word of the Varlink error that the peer
 * answered with, or one of
 *   NotRunning    nobody listens there: -ENOENT, -ECONNREFUSED
 *   Busy          the listener's queue was full until the deadline: -EAGAIN
 *   NotPermitted  -EACCES, -EPERM
 *   Timeout       -ETIMEDOUT: no answer within the time; whether the peer still acts on the call is unknown
 *   Disconnected  -ECONNRESET: the connection ended before the answer
 *   Failed        anything else; -EPROTO and -EMSGSIZE: the answer was not understood */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "base/macro.h"

struct varlink_client;

#define _cleanup_varlink_client_ _cleanup_(varlink_client_freep)

/* Connects to the socket at `path` below dir_fd (or AT_FDCWD), which may be longer than sun_path. */
int varlink_client_connect(int dir_fd, const char *path, uint64_t timeout_usec, struct varlink_client **ret,
                           struct err *err);

/* Takes over a connected stream socket, which is made non-blocking. `address` is for messages. The descriptor
 * is the caller's still when this fails. */
int varlink_client_new(int fd, const char *address, struct varlink_client **ret, struct err *err);

void varlink_client_free(struct varlink_client *client);
static inline void varlink_client_freep(struct varlink_client **client) {
    varlink_client_free(*client);
}

/* Calls "io.latchd.Supervisor.Start" and waits for the answer. `parameters` is taken over, also on failure;
 * NULL stands for {}. The outputs may be NULL; each is owned by the caller. *ret_error_parameters is written
 * when the peer answered with an error that has parameters, and only then. After a failure other than an
 * error that the peer answered with, the connection is of no more use: each further call is "Disconnected".
 */
int varlink_client_call(struct varlink_client *client, const char *method, json_t *parameters,
                        uint64_t timeout_usec, json_t **ret_parameters, json_t **ret_error_parameters,
                        struct err *err);

/* Handles one of several answers (borrowed). Something other than 0 ends the observation with that result. */
typedef int (*varlink_client_callback)(json_t *parameters, void *userdata);

/* Calls with "more": the callback gets each answer. Returns 0 after the last of them, what the callback
 * returned if that is not 0 (`err` is untouched then), or an error as above. */
int varlink_client_observe(struct varlink_client *client, const char *method, json_t *parameters,
                           uint64_t timeout_usec, varlink_client_callback callback, void *userdata,
                           json_t **ret_error_parameters, struct err *err);

/* The parts of the above, for a program that waits on several connections: send a call, poll the descriptor
 * for POLLIN, then receive with timeout 0 until that is -ETIMEDOUT (which does no harm to the connection when
 * the timeout was 0). *ret_continues: more answers to the same call follow. */
int varlink_client_send(struct varlink_client *client, const char *method, json_t *parameters, bool more,
                        uint64_t timeout_usec, struct err *err);
int varlink_client_receive(struct varlink_client *client, uint64_t timeout_usec, json_t **ret_parameters,
                           bool *ret_continues, json_t **ret_error_parameters, struct err *err);
int varlink_client_fd(const struct varlink_client *client);

/* The last word of an error's full name, in static storage, with an errno for it (ret_number may be NULL).
 * "Failed" and EREMOTEIO for a name that is unknown here. */
const char *varlink_client_error_name(const char *full_name, int *ret_number);
