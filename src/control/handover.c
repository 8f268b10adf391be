/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets and clients over a change of the program (latchctl reexec): the listeners stay open, so that nobody
 * is refused; who is connected stays so, with what was said and not yet read on either side. A call that
 * waits for a service is told to ask again; whoever asked for the change is answered by the successor. */
#include <stdio.h>
#include <string.h>

#include "base/closer.h"
#include "control/connection.h"
#include "control/endpoint.h"
#include "control/peer.h"

static json_t *to_hex(const char *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * size + 1);
    json_t *json;

    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[(unsigned char) data[i] >> 4];
        text[2 * i + 1] = digits[(unsigned char) data[i] & 15];
    }
    json = json_stringn(text, 2 * size);
    free(text);
    return json;
}

/* The bytes, and how many in *ret_size; NULL: no text, an odd one, or no memory. To be freed. */
static char *from_hex(const json_t *json, size_t *ret_size) {
    const char *text = json_string_value(json);
    size_t length = text ? json_string_length(json) : 1;
    char *data = length % 2 == 0 ? malloc(length / 2 + 1) : NULL;

    for (size_t i = 0; data && i < length; i += 2) {
        const char pair[3] = {text[i], text[i + 1], '\0'};
        char *end;

        data[i / 2] = (char) strtoul(pair, &end, 16);
        if (*end) {
            free(data);
            return NULL;
        }
    }
    *ret_size = length / 2;
    return data;
}

/* ---- handing over ---- */

static void put_off(struct control_call *call) {
    (void) control_call_error(
        call, "Busy",
        "this latchd is being replaced by the installed one; what was asked for goes on: "
        "ask again in a moment",
        NULL);
}

static json_t *describe(const struct control_connection *connection, const char *fd_name, bool asked) {
    size_t size = 0;
    const char *output = varlink_output_peek(&connection->output, &size);
    const struct varlink_input *input = &connection->input;

    return json_pack("{s:s, s:o, s:o, s:b}", "fd", fd_name, "input",
                     to_hex(input->data ? input->data + input->start : "", varlink_input_pending(input)),
                     "output", to_hex(output ? output : "", output ? size : 0), "asked", asked);
}

static int put_connections(struct endpoint *endpoint, struct handover *handover, json_t *clients) {
    const char *service = endpoint->service->config->name;
    struct control_connection *next;
    unsigned n = 0;
    int r = 0;

    for (struct control_connection *c = endpoint->server->connections; c && r >= 0; c = next) {
        bool asked = c->call && c->call == endpoint->control->reexec_call;
        char name[300];

        next = c->next;
        if (c->call && !asked)
            put_off(c->call);
        if (c->doomed || c->hung_up || c->input.broken)
            continue; /* it ends with this program */
        snprintf(name, sizeof name, "client:%s:%u", service, n++);
        r = handover_put_fd(handover, name, c->fd);
        if (r >= 0 && json_array_append_new(clients, describe(c, name, asked)) < 0)
            r = -ENOMEM;
    }
    return r;
}

static int put_endpoint(struct endpoint *endpoint, struct handover *handover) {
    const struct control_server *server = endpoint->server;
    json_t *clients = json_array(), *value;
    char name[300];
    int r;

    snprintf(name, sizeof name, "control:%s", endpoint->service->config->name);
    r = clients ? put_connections(endpoint, handover, clients) : -ENOMEM;
    if (r >= 0)
        r = handover_put_fd(handover, name, server->fd);
    value = json_pack("{s:I, s:I, s:o}", "device", (json_int_t) server->device, "inode",
                      (json_int_t) server->inode, "clients", clients);
    if (r < 0) {
        json_decref(value);
        return r;
    }
    return handover_put(handover, name, value);
}

int control_hand_over(struct handover *handover, void *userdata) {
    struct control *control = userdata;
    int r = 0;

    for (size_t i = 0; i < control->n_endpoints && r >= 0; i++)
        r = put_endpoint(&control->endpoints[i], handover);
    return r;
}

/* ---- taking over ---- */

static int restore_client(struct control_server *server, int fd, const json_t *client) {
    _cleanup_free_ char *input = NULL, *output = NULL;
    struct control_connection *connection;
    size_t input_size, output_size;
    struct ucred peer;
    int r;

    input = from_hex(json_object_get(client, "input"), &input_size);
    output = from_hex(json_object_get(client, "output"), &output_size);
    r = input && output ? peer_read(fd, &peer) : -EBADMSG;
    if (r >= 0)
        r = control_connection_new(server, fd, &peer, &connection);
    if (r < 0) {
        closer_close_socket(&server->closer, fd);
        return r;
    }
    if (varlink_input_feed(&connection->input, input, input_size) != (ssize_t) input_size ||
        varlink_output_restore(&connection->output, output, output_size) < 0 ||
        (json_is_true(json_object_get(client, "asked")) &&
         control_connection_send(connection,
                                 json_pack("{s:{s:s}}", "parameters", "version", PACKAGE_VERSION)) < 0))
        control_connection_drop(connection);
    else
        control_connection_go_on(connection); /* in the loop: when the services are taken over as well */
    return 0;
}

/* One that cannot be restored loses its connection, and nobody else does. */
static void restore_clients(struct control_server *server, struct handover *handover, const json_t *clients) {
    json_t *client;
    size_t i;

    json_array_foreach(clients, i, client) {
        const char *name = json_string_value(json_object_get(client, "fd"));
        int fd = name ? handover_take_fd(handover, name) : -ENOENT;

        if (fd >= 0)
            (void) restore_client(server, fd, client);
    }
}

int endpoint_open(struct endpoint *endpoint, const struct control_interface *interface, struct err *err) {
    struct manager *manager = endpoint->control->manager;
    const char *service = endpoint->service->config->name;
    char name[300], socket_name[300];
    const json_t *value;
    int fd, r;

    snprintf(name, sizeof name, "control:%s", service);
    snprintf(socket_name, sizeof socket_name, "%s.sock", service);
    fd = handover_take_fd(manager->handover, name);
    value = handover_get(manager->handover, name);
    r = control_server_adopt(manager->event, manager->runtime_dir_fd, socket_name, fd,
                             (dev_t) json_integer_value(json_object_get(value, "device")),
                             (ino_t) json_integer_value(json_object_get(value, "inode")), interface, endpoint,
                             &endpoint->server, err);
    if (r < 0)
        return r;
    restore_clients(endpoint->server, manager->handover, json_object_get(value, "clients"));
    return 0;
}

/* ---- the method ---- */

static void let_go(struct control *control) {
    struct control_call *call = control->reexec_call;

    control->reexec_call = NULL;
    if (!call)
        return;
    control_call_set_gone(call, NULL, NULL);
    control_call_unref(call);
}

static void on_gone(struct control_call *call, void *userdata) {
    (void) call;
    let_go(userdata);
}

static void on_refused(const struct err *err, void *userdata) {
    struct control *control = userdata;

    if (control->reexec_call)
        (void) control_call_error_from(control->reexec_call, err);
    let_go(control);
}

int endpoint_reexec(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    struct control *control = endpoint->control;
    _cleanup_err_ struct err err = {0};

    (void) parameters;
    endpoint_note_request(endpoint, call);
    if (manager_reexec(control->manager, on_refused, control, &err) < 0)
        return control_call_error_from(call, &err);
    control->reexec_call = control_call_ref(call);
    control_call_set_gone(call, on_gone, control);
    return 0;
}

void control_end_reexec(struct control *control) {
    let_go(control);
}
