/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/connection.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/closer.h"
#include "control/peer.h"

/* A client that sent many requests at once lets the others have their turn after as many. */
#define CALLS_AT_ONCE 16
/* Who has no privileges, however many connections of his, waits for the others: for all that keeps services
 * alive, and for who can put things right. */
#define CALLS_AT_ONCE_UNPRIVILEGED 1
#define PRIORITY_UNPRIVILEGED (SD_EVENT_PRIORITY_NORMAL + 10)

static struct control_connection *connection_ref(struct control_connection *connection) {
    connection->n_ref++;
    return connection;
}

static void connection_unref(struct control_connection *connection) {
    if (--connection->n_ref == 0)
        free(connection);
}

static uint64_t connection_now(const struct control_connection *connection) {
    uint64_t now = 0;

    (void) sd_event_now(connection->server->event, CLOCK_MONOTONIC, &now);
    return now;
}

void control_connection_drop(struct control_connection *connection) {
    struct control_server *server = connection->server;

    if (!server)
        return;
    connection->server = NULL;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->n_connections--;

    connection->io_source = sd_event_source_disable_unref(connection->io_source);
    connection->go_on_source = sd_event_source_disable_unref(connection->go_on_source);
    connection->timer_source = sd_event_source_disable_unref(connection->timer_source);
    connection->fd = closer_close_socket(&server->closer, connection->fd);
    varlink_input_done(&connection->input);
    varlink_output_done(&connection->output);
    control_call_orphan(connection);
    connection_unref(connection);
}

static int set_priority(struct control_connection *connection) {
    int64_t priority = connection->privileged > 0 ? SD_EVENT_PRIORITY_NORMAL : PRIORITY_UNPRIVILEGED;
    int r = sd_event_source_set_priority(connection->io_source, priority);

    return r < 0 ? r : sd_event_source_set_priority(connection->go_on_source, priority);
}

bool control_connection_is_privileged(struct control_connection *connection) {
    if (connection->privileged < 0 && connection->server) {
        connection->privileged =
            peer_is_privileged(connection->fd, &connection->peer, control_admin_group(connection->server));
        (void) set_priority(connection);
    }
    return connection->privileged > 0;
}

json_t *control_connection_error_message(const char *full_name, json_t *parameters) {
    return json_pack("{s:s, s:o}", "error", full_name, "parameters", parameters ? parameters : json_object());
}

/* Sends what can be sent now. */
static void connection_flush(struct control_connection *connection) {
    const char *data;
    size_t size;

    while ((data = varlink_output_peek(&connection->output, &size))) {
        ssize_t sent = send(connection->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent >= 0) {
            varlink_output_consume(&connection->output, (size_t) sent);
            connection->output_bytes_sent += (size_t) sent;
        } else if (errno == EAGAIN)
            return;
        else if (errno != EINTR) {
            /* It does not read any more; what it had asked for before stands nevertheless. */
            connection->deaf = true;
            varlink_output_done(&connection->output);
        }
    }
}

void control_connection_go_on(struct control_connection *connection) {
    /* connection_settle() comes after run_calls() anyway. */
    if (connection->server && !connection->processing)
        (void) sd_event_source_set_enabled(connection->go_on_source, SD_EVENT_ONESHOT);
}

int control_connection_send(struct control_connection *connection, json_t *message) {
    int r;

    if (!connection->server || connection->doomed || connection->deaf) {
        json_decref(message);
        return -ENOTCONN;
    }
    r = message ? varlink_output_append(&connection->output, message) : -ENOMEM;
    if (r == -ENOBUFS) {
        connection_flush(connection);
        r = varlink_output_append(&connection->output, message);
    }
    json_decref(message);
    if (r == -EMSGSIZE)
        return r;
    if (r < 0)
        connection->doomed = true; /* an answer left out would be taken for the next one's */
    else if (!connection->processing)
        connection_flush(connection);
    control_connection_go_on(connection);
    return r == -ENOBUFS ? -ENOTCONN : r;
}

/* Reads once. */
static void connection_fill(struct control_connection *connection) {
    size_t size;
    ssize_t got;
    char *to;
    int r;

    if (connection->at_end)
        return;
    r = varlink_input_reserve(&connection->input, &to, &size);
    if (r < 0)
        connection->doomed = true;
    if (r <= 0)
        return;
    got = closer_receive(&connection->server->closer, connection->fd, to, size);
    if (got > 0) {
        varlink_input_commit(&connection->input, (size_t) got);
        connection->active_usec = connection_now(connection);
    } else if (got == 0 || (errno == EAGAIN && connection->hung_up))
        connection->at_end = true;
    else if (errno != EAGAIN && errno != EINTR)
        connection->doomed = true;
    if (varlink_input_pending(&connection->input) == 0)
        varlink_input_done(&connection->input);
}

/* The stream makes no sense from here on: says so, and closes once that and all before is read. */
static void connection_refuse(struct control_connection *connection) {
    (void) control_connection_send(
        connection, control_connection_error_message("org.varlink.service.InvalidParameter",
                                                     json_pack("{s:s}", "parameter", "method")));
    varlink_input_done(&connection->input);
    connection->at_end = true;
}

/* No answers are made for somebody who does not read them. */
static bool connection_may_run(const struct control_connection *connection) {
    return connection->server && !connection->doomed && !connection->call &&
           varlink_output_pending(&connection->output) <= connection->limits.output_bytes / 2;
}

static void run_calls(struct control_connection *connection) {
    int most = connection->privileged > 0 ? CALLS_AT_ONCE : CALLS_AT_ONCE_UNPRIVILEGED;

    connection->processing = true;
    for (int i = 0; i < most && connection_may_run(connection); i++) {
        json_t *message;
        int r;

        r = varlink_input_take(&connection->input, &message);
        if (r == 0)
            break;
        if (r > 0) {
            connection->input_deadline_usec = 0;
            r = control_call_dispatch(connection, message);
            json_decref(message);
        }
        if (r == -ENOMEM)
            connection->doomed = true;
        else if (r < 0)
            connection_refuse(connection);
    }
    connection->processing = false;
    if (connection->server)
        connection_flush(connection);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

/* The timer runs only while something is pending. It may come too early (then it is set anew): a deadline
 * that moves with each request costs nothing that way. */
static int set_timer(struct control_connection *connection) {
    uint64_t deadline = connection->input_deadline_usec;
    int r;

    if (deadline == 0 ||
        (connection->output_deadline_usec > 0 && connection->output_deadline_usec < deadline))
        deadline = connection->output_deadline_usec;
    if (deadline == 0) {
        if (connection->timer_usec == 0)
            return 0;
        connection->timer_usec = 0;
        return sd_event_source_set_enabled(connection->timer_source, SD_EVENT_OFF);
    }
    if (connection->timer_usec > 0 && connection->timer_usec <= deadline)
        return 0;
    connection->timer_usec = deadline;
    if (!connection->timer_source)
        return sd_event_add_time(connection->server->event, &connection->timer_source, CLOCK_MONOTONIC,
                                 deadline, 0, on_timer, connection);
    r = sd_event_source_set_time(connection->timer_source, deadline);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(connection->timer_source, SD_EVENT_ONESHOT);
}

static int set_events(struct control_connection *connection) {
    uint32_t events = 0;

    if (!connection->at_end && !varlink_input_full(&connection->input))
        events |= EPOLLIN;
    if (varlink_output_pending(&connection->output) > 0)
        events |= EPOLLOUT;
    if (events == connection->events)
        return 0;
    connection->events = events;
    return sd_event_source_set_io_events(connection->io_source, events);
}

static void set_deadlines(struct control_connection *connection) {
    const struct control_limits *limits = &connection->limits;
    size_t unread = varlink_output_pending(&connection->output);

    if (connection->at_end || connection->call || varlink_input_pending(&connection->input) == 0 ||
        varlink_input_ready(&connection->input))
        connection->input_deadline_usec = 0;
    else if (connection->input_deadline_usec == 0)
        connection->input_deadline_usec = connection_now(connection) + limits->input_usec;

    if (unread == 0)
        connection->output_deadline_usec = 0;
    else if (connection->output_deadline_usec == 0 ||
             connection->output_bytes_sent >= connection->output_bytes_mark) {
        connection->output_deadline_usec = connection_now(connection) + limits->output_usec;
        connection->output_bytes_mark = connection->output_bytes_sent + unread;
    }
}

/* What comes next, after anything has happened. Last thing done in each event's handler. */
static void connection_settle(struct control_connection *connection) {
    bool ready;

    if (!connection->server)
        return;
    ready = varlink_input_ready(&connection->input);
    if (connection->doomed)
        control_connection_drop(connection);
    else if (connection->hung_up) {
        if (connection->call || (connection->at_end && !ready))
            control_connection_drop(connection);
        else
            control_connection_go_on(connection);
    } else if (connection->at_end && !connection->call && !ready &&
               varlink_output_pending(&connection->output) == 0)
        control_connection_drop(connection);
    else {
        if (ready && connection_may_run(connection))
            control_connection_go_on(connection);
        set_deadlines(connection);
        if (set_events(connection) < 0 || set_timer(connection) < 0)
            control_connection_drop(connection);
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
    struct control_connection *connection = connection_ref(userdata);

    (void) fd;
    if (revents & EPOLLOUT) {
        connection->active_usec = connection_now(connection);
        connection_flush(connection);
    }
    if (revents & EPOLLHUP) {
        /* Both directions are shut. That would be reported for ever; on_go_on() reads what is left. */
        connection->hung_up = connection->deaf = true;
        varlink_output_done(&connection->output);
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
    }
    if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
        connection_fill(connection);
    run_calls(connection);
    connection_settle(connection);
    connection_unref(connection);
    return 0;
}

static int on_go_on(sd_event_source *source, void *userdata) {
    struct control_connection *connection = connection_ref(userdata);

    (void) source;
    if (connection->hung_up)
        connection_fill(connection);
    run_calls(connection);
    connection_settle(connection);
    connection_unref(connection);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
    struct control_connection *connection = connection_ref(userdata);
    uint64_t now = connection_now(connection);

    (void) source;
    (void) usec;
    connection->timer_usec = 0;
    if ((connection->input_deadline_usec > 0 && connection->input_deadline_usec <= now) ||
        (connection->output_deadline_usec > 0 && connection->output_deadline_usec <= now))
        connection->doomed = true;
    connection_settle(connection);
    connection_unref(connection);
    return 0;
}

int control_connection_new(struct control_server *server, int fd, const struct ucred *peer,
                           struct control_connection **ret) {
    struct control_connection *connection;
    int r;

    (void) closer_pass_rights(fd, false); /* one that an older latchd accepted */
    connection = malloc(sizeof(*connection));
    if (!connection)
        return -ENOMEM;
    *connection = (struct control_connection){
        .n_ref = 1,
        .server = server,
        .fd = fd,
        .peer = *peer,
        .privileged = peer_is_owner(peer) ? 1 : -1,
        .limits = server->limits,
        .events = EPOLLIN,
        .input = VARLINK_INPUT_INIT(server->limits.input_bytes),
        .output = VARLINK_OUTPUT_INIT(server->limits.output_bytes),
    };
    r = sd_event_add_io(server->event, &connection->io_source, fd, EPOLLIN, on_io, connection);
    if (r >= 0)
        r = sd_event_add_defer(server->event, &connection->go_on_source, on_go_on, connection);
    if (r >= 0)
        r = sd_event_source_set_enabled(connection->go_on_source, SD_EVENT_OFF);
    if (r >= 0)
        r = set_priority(connection);
    if (r < 0) {
        sd_event_source_disable_unref(connection->io_source);
        sd_event_source_disable_unref(connection->go_on_source);
        free(connection);
        return r;
    }
    connection->active_usec = connection_now(connection);
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    server->n_connections++;
    *ret = connection;
    return 0;
}
