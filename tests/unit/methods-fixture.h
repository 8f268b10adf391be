/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* io.latchd.Supervisor as its callers have it: clients and supervisor share the test's process and take
 * turns. */

#include <sys/socket.h>
#include <sys/un.h>

#include "control/methods.h"
#include "service-fixture.h"
#include "varlink/wire.h"

#define LOCK "lock @/l:flock"

static struct control *control;

struct client {
    int fd;
    struct varlink_input input;
};

static inline void end_control(void) {
    control = control_free(control);
}

static inline void serve(void) {
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(control_new(t.manager, &control, &err) == 0, "%s", err_text(&err));
    t.at_end = end_control;
}

static inline int connect_to(const char *service, int flags) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/%s.sock", t.run, service);
    return fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) < 0 ? -errno : fd;
}

/* Connects and calls. */
static inline struct client call(const char *service, const char *method, const char *parameters) {
    struct client client = {.fd = connect_to(service, SOCK_NONBLOCK),
                            .input = VARLINK_INPUT_INIT((size_t) 4 << 20)};
    _cleanup_free_ char *text = NULL;

    ck_assert_int_ge(client.fd, 0);
    ck_assert_int_ge(
        asprintf(&text, "{\"method\":\"io.latchd.Supervisor.%s\",\"parameters\":%s}", method, parameters), 0);
    ck_assert_int_eq(send(client.fd, text, strlen(text) + 1, MSG_NOSIGNAL), (ssize_t) strlen(text) + 1);
    return client;
}

static inline void hang_up(struct client *client) {
    client->fd = fd_close(client->fd);
    varlink_input_done(&client->input);
}

/* The answer, if there is one by now. */
static inline json_t *poll_answer(struct client *client) {
    json_t *message;
    size_t size;
    ssize_t n;
    char *to;

    if (varlink_input_take(&client->input, &message) > 0)
        return message;
    ck_assert_int_gt(varlink_input_reserve(&client->input, &to, &size), 0);
    n = recv(client->fd, to, size, MSG_DONTWAIT);
    ck_assert_int_ne(n, 0);
    if (n > 0)
        varlink_input_commit(&client->input, (size_t) n);
    return varlink_input_take(&client->input, &message) > 0 ? message : NULL;
}

/* Waits for the answer and ends the client. The parameters are the caller's; *ret_error: the error's name
 * without the interface's, or NULL. */
static inline json_t *answer_of(struct client *client, char error[static 64]) {
    json_t *message = NULL, *parameters;
    const char *name;

    until((message = poll_answer(client)));
    name = json_string_value(json_object_get(message, "error"));
    if (name && strncmp(name, "io.latchd.Supervisor.", 21) == 0)
        name += 21;
    snprintf(error, 64, "%s", name ? name : "");
    parameters = json_incref(json_object_get(message, "parameters"));
    json_decref(message);
    hang_up(client);
    return parameters;
}

/* Returns the message of the error. */
static inline const char *expect_error(struct client *client, const char *error) {
    static char text[1024];
    char got[64];
    json_t *parameters = answer_of(client, got);
    const char *message = json_string_value(json_object_get(parameters, "message"));

    snprintf(text, sizeof text, "%s", message ? message : "");
    ck_assert_msg(strcmp(got, error) == 0, "expected the error %s, got '%s': %s", error, got, text);
    json_decref(parameters);
    return text;
}

static inline void expect_done(struct client *client) {
    char got[64];
    json_t *parameters = answer_of(client, got);

    ck_assert_msg(got[0] == '\0', "error %s: %s", got,
                  json_string_value(json_object_get(parameters, "message")));
    ck_assert_uint_eq(json_object_size(parameters), 0);
    json_decref(parameters);
}

/* A reload of a service that was described by options, so that there is no file. */
static inline void expect_reloaded(struct client *client) {
    char got[64];
    json_t *parameters = answer_of(client, got);

    ck_assert_msg(got[0] == '\0', "error %s: %s", got,
                  json_string_value(json_object_get(parameters, "message")));
    ck_assert(json_is_false(json_object_get(parameters, "fromFile")));
    json_decref(parameters);
}

static inline void expect_part(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part), "\"%s\" is not in: %s", part, text);
}

static inline void assert_silent(struct client *client, uint64_t usec) {
    json_t *message;

    (void) linger(usec);
    message = poll_answer(client);
    ck_assert_ptr_null(message);
}

/* The error Held names that process and the lock. */
static inline void expect_held_by(struct client *client, pid_t pid) {
    json_t *parameters, *holders;
    char error[64];

    parameters = answer_of(client, error);
    ck_assert_msg(strcmp(error, "Held") == 0, "expected the error Held, got '%s': %s", error,
                  json_string_value(json_object_get(parameters, "message")));
    holders = json_object_get(parameters, "holders");
    ck_assert_uint_eq(json_array_size(holders), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(holders, 0), "pid")), pid);
    expect_part(json_string_value(json_object_get(parameters, "message")), in("l"));
    json_decref(parameters);
}
