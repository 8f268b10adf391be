/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "varlink/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/fd.h"
#include "base/value.h"
#include "varlink/wire.h"

/* Tries to connect to a listener with a full queue, which the kernel gives no event for. */
#define BACKOFF_MIN_USEC (1 * USEC_PER_MSEC)
#define BACKOFF_MAX_USEC (50 * USEC_PER_MSEC)

struct varlink_client {
    int fd;
    char *address;
    bool broken;  /* out of step: an answer may come that nobody waits for */
    char *method; /* the call being answered, for messages */
    struct varlink_input input;
    struct varlink_output output;
};

#define SUPERVISOR "io.latchd.Supervisor."
#define SERVICE "org.varlink.service."

static const struct {
    const char *full_name;
    size_t prefix; /* the last word begins here */
    int number;
} errors[] = {
#define ERROR(interface, word, number)                                                                       \
    { interface word, sizeof(interface) - 1, number }
    ERROR(SUPERVISOR, "BadConfiguration", EINVAL),
    ERROR(SUPERVISOR, "BadLimit", EINVAL),
    ERROR(SUPERVISOR, "BadSignal", EINVAL),
    ERROR(SUPERVISOR, "Blocked", EBUSY),
    ERROR(SUPERVISOR, "Busy", EAGAIN),
    ERROR(SUPERVISOR, "Failed", EREMOTEIO),
    ERROR(SUPERVISOR, "Held", EBUSY),
    ERROR(SUPERVISOR, "InvalidParameter", EINVAL),
    ERROR(SUPERVISOR, "NotClearable", EBUSY),
    ERROR(SUPERVISOR, "NotPermitted", EPERM),
    ERROR(SUPERVISOR, "NotRunning", ESRCH),
    ERROR(SUPERVISOR, "Timeout", ETIMEDOUT),
    ERROR(SERVICE, "InterfaceNotFound", EOPNOTSUPP),
    ERROR(SERVICE, "InvalidParameter", EINVAL),
    ERROR(SERVICE, "MethodNotFound", EOPNOTSUPP),
    ERROR(SERVICE, "MethodNotImplemented", EOPNOTSUPP),
    ERROR(SERVICE, "PermissionDenied", EPERM),
#undef ERROR
};

const char *varlink_client_error_name(const char *full_name, int *ret_number) {
    const char *name = "Failed";
    int number = EREMOTEIO;

    for (size_t i = 0; i < ELEMENTSOF(errors); i++)
        if (strcmp(errors[i].full_name, full_name) == 0) {
            name = errors[i].full_name + errors[i].prefix;
            number = errors[i].number;
        }
    if (ret_number)
        *ret_number = number;
    return name;
}

/* Returns the events that came, 0 at the deadline. */
static int wait_for(int fd, short events, uint64_t deadline_usec) {
    struct pollfd pollfd = {.fd = fd, .events = events};
    int r = deadline_poll(&pollfd, 1, deadline_usec);

    return r > 0 ? pollfd.revents : r;
}

static int try_connect(int fd, int dir_fd, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int inode_fd = -EBADF;

    if (dir_fd == AT_FDCWD && strlen(path) < sizeof(address.sun_path))
        memcpy(address.sun_path, path, strlen(path) + 1);
    else {
        /* connect(2) takes no directory and 107 bytes at most. An O_PATH descriptor of the socket has a name
         * that is always short enough; opened anew for each try, since the socket may be replaced meanwhile.
         */
        inode_fd = openat(dir_fd, path, O_PATH | O_CLOEXEC);
        if (inode_fd < 0)
            return -errno;
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", inode_fd);
    }
    return connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
}

static int connect_error(struct err *err, int number, const char *path, uint64_t timeout_usec) {
    char time[VALUE_FORMAT_MAX];

    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return err_set(err, number, "NotRunning",
                       "cannot connect to %s: there is no such socket: no supervisor runs", path);
    case ECONNREFUSED:
        return err_set(err, number, "NotRunning",
                       "cannot connect to %s: nobody listens on it: the supervisor that made it is gone",
                       path);
    case EAGAIN:
        return err_set(
            err, number, "Busy",
            "cannot connect to %s: the listener's queue was full for %s: the supervisor is stopped "
            "or overloaded; look at its state and try again",
            path, value_format_usec(timeout_usec, time));
    case EACCES:
    case EPERM:
        return err_set(err, number, "NotPermitted",
                       "cannot connect to %s: %m: a directory above it or its mode keeps uid %lu out", path,
                       (unsigned long) geteuid());
    default:
        return err_set(err, number, "Failed", "cannot connect to %s: %m", path);
    }
}

int varlink_client_new(int fd, const char *address, struct varlink_client **ret, struct err *err) {
    struct varlink_client *client;
    int r;

    r = fd_set_nonblock(fd, true);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot use the connection to %s: %m", address);
    client = malloc(sizeof(*client));
    if (!client)
        return err_set(err, ENOMEM, "Failed", "cannot use the connection to %s: %m", address);
    *client = (struct varlink_client){
        .fd = fd,
        .address = strdup(address),
        .input = VARLINK_INPUT_INIT(VARLINK_INPUT_BYTES_CLIENT),
        .output = VARLINK_OUTPUT_INIT(VARLINK_OUTPUT_BYTES_CLIENT),
    };
    if (!client->address) {
        free(client);
        return err_set(err, ENOMEM, "Failed", "cannot use the connection to %s: %m", address);
    }
    *ret = client;
    return 0;
}

int varlink_client_connect(int dir_fd, const char *path, uint64_t timeout_usec, struct varlink_client **ret,
                           struct err *err) {
    uint64_t deadline = deadline_after(timeout_usec), backoff = BACKOFF_MIN_USEC;
    _cleanup_close_ int fd = -EBADF;
    int r;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, errno, "Failed", "cannot connect to %s: no socket to be had: %m", path);
    for (;;) {
        uint64_t left;

        r = try_connect(fd, dir_fd, path);
        if (r == 0)
            break;
        left = deadline_left(deadline);
        if ((r != -EAGAIN && r != -EINTR) || left == 0)
            return connect_error(err, -r, path, timeout_usec);
        deadline_sleep(left < backoff ? left : backoff); /* a signal only makes the next try earlier */
        backoff = backoff * 2 < BACKOFF_MAX_USEC ? backoff * 2 : BACKOFF_MAX_USEC;
    }

    r = varlink_client_new(fd, path, ret, err);
    if (r < 0)
        return r;
    TAKE_FD(fd);
    return 0;
}

void varlink_client_free(struct varlink_client *client) {
    if (!client)
        return;
    fd_close(client->fd);
    varlink_input_done(&client->input);
    varlink_output_done(&client->output);
    free(client->address);
    free(client->method);
    free(client);
}

int varlink_client_fd(const struct varlink_client *client) {
    return client->fd;
}

static const char *method_of(const struct varlink_client *client) {
    return client->method ? client->method : "the call";
}

static int disconnected(struct varlink_client *client, struct err *err) {
    client->broken = true;
    return err_set(err, ECONNRESET, "Disconnected",
                   "%s at %s: the connection ended before the answer: the supervisor ended, was replaced, or "
                   "dropped it; see its log",
                   method_of(client), client->address);
}

static int timed_out(struct varlink_client *client, uint64_t timeout_usec, struct err *err) {
    char time[VALUE_FORMAT_MAX];

    client->broken = true;
    return err_set(err, ETIMEDOUT, "Timeout",
                   "%s at %s: no answer within %s; it may still be at work on it: look at the status",
                   method_of(client), client->address, value_format_usec(timeout_usec, time));
}

static int failed(struct varlink_client *client, int number, const char *what, struct err *err) {
    client->broken = true;
    return err_set(err, number, "Failed", "%s at %s: %s: %m", method_of(client), client->address, what);
}

int varlink_client_send(struct varlink_client *client, const char *method, json_t *parameters, bool more,
                        uint64_t timeout_usec, struct err *err) {
    uint64_t deadline = deadline_after(timeout_usec);
    json_t *call;
    int r;

    free(client->method);
    client->method = strdup(method);
    if (client->broken) {
        json_decref(parameters);
        return disconnected(client, err);
    }
    call = json_pack("{s:s, s:o}", "method", method, "parameters", parameters ? parameters : json_object());
    if (!call || (more && json_object_set_new(call, "more", json_true()) < 0)) {
        json_decref(call);
        return failed(client, ENOMEM, "cannot write the call", err);
    }
    r = varlink_output_append(&client->output, call);
    json_decref(call);
    if (r < 0)
        return failed(client, -r, "cannot write the call", err);

    for (;;) {
        const char *data;
        ssize_t sent;
        size_t size;

        data = varlink_output_peek(&client->output, &size);
        if (!data)
            return 0;
        sent = send(client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            varlink_output_consume(&client->output, (size_t) sent);
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            /* The peer may have said why before it closed: receiving finds that, or the end. */
            varlink_output_done(&client->output);
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return failed(client, errno, "cannot send", err);
        r = wait_for(client->fd, POLLOUT, deadline);
        if (r < 0)
            return failed(client, -r, "cannot wait for the connection", err);
        if (r == 0)
            return timed_out(client, timeout_usec, err);
    }
}

/* Fills err from an error answer. */
static int answered_error(struct varlink_client *client, const char *full_name, const json_t *parameters,
                          struct err *err) {
    const char *name, *message, *detail;
    int number;

    name = varlink_client_error_name(full_name, &number);
    message = json_string_value(json_object_get(parameters, "message"));
    if (message) {
        if (err_set(err, number, name, "%s", message) < 0 && err && err->message)
            value_make_printable(err->message);
        return -number;
    }
    detail = json_string_value(json_object_get(parameters, "method"));
    if (!detail)
        detail = json_string_value(json_object_get(parameters, "interface"));
    if (!detail)
        detail = json_string_value(json_object_get(parameters, "parameter"));
    (void) err_set(err, number, name, "%s at %s: the answer is the error %s%s%s", method_of(client),
                   client->address, full_name, detail ? ": " : "", detail ? detail : "");
    if (err && err->message)
        value_make_printable(err->message);
    return -number;
}

/* Takes an answer apart. Consumes `answer`. */
static int understand(struct varlink_client *client, json_t *answer, json_t **ret_parameters,
                      bool *ret_continues, json_t **ret_error_parameters, struct err *err) {
    json_t *parameters = json_object_get(answer, "parameters"), *error = json_object_get(answer, "error");
    int r = 0;

    if ((parameters && !json_is_null(parameters) && !json_is_object(parameters)) ||
        (error && !json_is_null(error) && !json_is_string(error)))
        r = failed(client, EPROTO, "the answer is not one of Varlink", err);
    else if (json_is_string(error)) {
        r = answered_error(client, json_string_value(error), parameters, err);
        if (ret_error_parameters && json_is_object(parameters))
            *ret_error_parameters = json_incref(parameters);
    } else {
        parameters = json_is_object(parameters) ? json_incref(parameters) : json_object();
        if (!parameters)
            r = failed(client, ENOMEM, "cannot read the answer", err);
        else {
            *ret_continues = json_is_true(json_object_get(answer, "continues"));
            *ret_parameters = parameters;
        }
    }
    json_decref(answer);
    return r;
}

/* timeout_usec is what the deadline was made from. */
static int receive(struct varlink_client *client, uint64_t deadline_usec, uint64_t timeout_usec,
                   json_t **ret_parameters, bool *ret_continues, json_t **ret_error_parameters,
                   struct err *err) {
    int r;

    if (client->broken)
        return disconnected(client, err);
    for (;;) {
        json_t *answer;
        ssize_t got;
        size_t size;
        char *to;

        r = varlink_input_take(&client->input, &answer);
        if (r > 0)
            return understand(client, answer, ret_parameters, ret_continues, ret_error_parameters, err);
        if (r < 0)
            return failed(client, r == -EBADMSG ? EPROTO : -r, "cannot understand the answer", err);
        r = varlink_input_reserve(&client->input, &to, &size);
        if (r < 0)
            return failed(client, -r, "cannot read the answer", err);
        got = recv(client->fd, to, size, MSG_DONTWAIT);
        if (got > 0) {
            varlink_input_commit(&client->input, (size_t) got);
            continue;
        }
        if (got == 0 || errno == ECONNRESET)
            return disconnected(client, err);
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return failed(client, errno, "cannot read the answer", err);
        r = wait_for(client->fd, POLLIN, deadline_usec);
        if (r < 0)
            return failed(client, -r, "cannot wait for the answer", err);
        if (r == 0)
            return timed_out(client, timeout_usec, err);
    }
}

int varlink_client_receive(struct varlink_client *client, uint64_t timeout_usec, json_t **ret_parameters,
                           bool *ret_continues, json_t **ret_error_parameters, struct err *err) {
    bool was_broken = client->broken;
    int r;

    r = receive(client, deadline_after(timeout_usec), timeout_usec, ret_parameters, ret_continues,
                ret_error_parameters, err);
    if (r == -ETIMEDOUT && timeout_usec == 0)
        client->broken = was_broken; /* that was only a look */
    return r;
}

int varlink_client_observe(struct varlink_client *client, const char *method, json_t *parameters,
                           uint64_t timeout_usec, varlink_client_callback callback, void *userdata,
                           json_t **ret_error_parameters, struct err *err) {
    uint64_t deadline = deadline_after(timeout_usec);
    bool continues = true;
    int r;

    r = varlink_client_send(client, method, parameters, true, timeout_usec, err);
    if (r < 0)
        return r;
    while (continues) {
        json_t *answer;

        r = receive(client, deadline, timeout_usec, &answer, &continues, ret_error_parameters, err);
        if (r < 0)
            return r;
        r = callback(answer, userdata);
        json_decref(answer);
        if (r != 0) {
            client->broken = continues;
            return r;
        }
    }
    return 0;
}

int varlink_client_call(struct varlink_client *client, const char *method, json_t *parameters,
                        uint64_t timeout_usec, json_t **ret_parameters, json_t **ret_error_parameters,
                        struct err *err) {
    uint64_t deadline = deadline_after(timeout_usec);
    json_t *answer;
    bool continues;
    int r;

    r = varlink_client_send(client, method, parameters, false, timeout_usec, err);
    if (r < 0)
        return r;
    r = receive(client, deadline, timeout_usec, &answer, &continues, ret_error_parameters, err);
    if (r < 0)
        return r;
    if (ret_parameters)
        *ret_parameters = answer;
    else
        json_decref(answer);
    return 0;
}
