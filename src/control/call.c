/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/connection.h"
#include "control/peer.h"

#define SERVICE "org.varlink.service"

struct control_call {
    unsigned n_ref;
    struct control_connection *connection; /* NULL once answered for good, or the client is gone */
    const struct control_interface *interface;
    const struct control_method *method;
    struct ucred peer;
    bool answered;
    bool more;
    bool oneway;
    void (*gone)(struct control_call *call, void *userdata);
    void *gone_userdata;
};

struct control_call *control_call_ref(struct control_call *call) {
    call->n_ref++;
    return call;
}

void control_call_unref(struct control_call *call) {
    if (!call || --call->n_ref > 0)
        return;
    if (call->connection) {
        call->n_ref = 1; /* for the answer */
        (void) control_call_error(call, "Failed", "The supervisor gave up on the call without an answer.",
                                  NULL);
    }
    free(call);
}

/* Puts an answer (stolen) on its way. */
static int answer(struct control_call *call, json_t *message, bool final) {
    struct control_connection *connection = call->connection;
    int r = 0;

    if (call->answered || !connection) {
        json_decref(message);
        return call->answered ? -EALREADY : -ENOTCONN;
    }
    if (call->oneway)
        json_decref(message);
    else {
        r = control_connection_send(connection, message);
        if (r == -EMSGSIZE) {
            _cleanup_free_ char *name = NULL, *text = NULL;

            if (asprintf(&name, "%s.Failed", call->interface->name) < 0)
                name = NULL;
            if (asprintf(&text,
                         "The answer to %s is longer than the %zu bytes that a client may leave unread; ask "
                         "for less at a time.",
                         call->method->name, connection->limits.output_bytes) < 0)
                text = NULL;
            final = true;
            (void) control_connection_send(
                connection, name && text
                                ? control_connection_error_message(name, json_pack("{s:s}", "message", text))
                                : NULL);
        }
    }
    if (final) {
        call->answered = true;
        call->connection = NULL;
        connection->call = NULL;
        control_connection_go_on(connection);
    }
    return r;
}

static json_t *reply_message(json_t *parameters) {
    return json_pack("{s:o}", "parameters", parameters ? parameters : json_object());
}

int control_call_reply(struct control_call *call, json_t *parameters) {
    return answer(call, reply_message(parameters), true);
}

int control_call_reply_more(struct control_call *call, json_t *parameters) {
    json_t *message;

    if (!call->more) {
        json_decref(parameters);
        return -EINVAL;
    }
    message = reply_message(parameters);
    if (message && json_object_set_new(message, "continues", json_true()) < 0) {
        json_decref(message);
        message = NULL;
    }
    return answer(call, message, false);
}

int control_call_error(struct control_call *call, const char *name, const char *message,
                       json_t *more_parameters) {
    json_t *parameters = more_parameters ? more_parameters : json_object();
    char *full_name = NULL;
    json_t *error;

    if (message) {
        json_t *text = json_string(message);

        /* Text of unknown origin that is no UTF-8 must not cost the whole answer. */
        (void) json_object_set_new(parameters, "message", text ? text : json_string("(unprintable)"));
    }
    if (strchr(name, '.'))
        error = control_connection_error_message(name, parameters);
    else {
        if (asprintf(&full_name, "%s.%s", call->interface->name, name) < 0) {
            full_name = NULL;
            json_decref(parameters);
            error = NULL;
        } else
            error = control_connection_error_message(full_name, parameters);
        free(full_name);
    }
    return answer(call, error, true);
}

int control_call_invalid_parameter(struct control_call *call, const char *parameter) {
    return control_call_error(call, SERVICE ".InvalidParameter", NULL,
                              json_pack("{s:s}", "parameter", parameter));
}

int control_call_error_from(struct control_call *call, const struct err *err) {
    return control_call_error(call, err->name ? err->name : "Failed", err_text(err), NULL);
}

const struct ucred *control_call_peer(const struct control_call *call) {
    return &call->peer;
}

const char *control_call_method(const struct control_call *call) {
    return call->method->name;
}

bool control_call_wants_more(const struct control_call *call) {
    return call->more;
}

bool control_call_is_oneway(const struct control_call *call) {
    return call->oneway;
}

bool control_call_is_privileged(const struct control_call *call) {
    return call->connection ? control_connection_is_privileged(call->connection) : peer_is_owner(&call->peer);
}

bool control_call_is_connected(const struct control_call *call) {
    return call->connection && !call->connection->doomed && !call->connection->hung_up;
}

void control_call_set_gone(struct control_call *call, void (*gone)(struct control_call *call, void *userdata),
                           void *userdata) {
    call->gone = gone;
    call->gone_userdata = userdata;
}

void control_call_orphan(struct control_connection *connection) {
    struct control_call *call = connection->call;

    if (!call)
        return;
    connection->call = NULL;
    call->connection = NULL;
    if (call->gone) {
        (void) control_call_ref(call);
        call->gone(call, call->gone_userdata);
        control_call_unref(call);
    }
}

static const struct control_method *find_method(const struct control_interface *interface, const char *name) {
    for (size_t i = 0; i < interface->n_methods; i++)
        if (strcmp(interface->methods[i].name, name) == 0)
            return &interface->methods[i];
    return NULL;
}

/* "a.b.Method" is in the interface a.b. */
static bool is_in(const char *method, const char *dot, const char *interface) {
    size_t length = (size_t) (dot - method);

    return strlen(interface) == length && memcmp(interface, method, length) == 0;
}

static int refuse_peer(struct control_call *call) {
    _cleanup_free_ char *text = NULL;

    if (asprintf(&text,
                 "%s is not for uid %lu (process %ld): only root, the supervisor's own user (uid %lu) and "
                 "members of the group %s may change anything. Call it with sudo, or have the user added to "
                 "that group and log in anew.",
                 call->method->name, (unsigned long) call->peer.uid, (long) call->peer.pid,
                 (unsigned long) geteuid(), control_admin_group(call->connection->server)) < 0)
        text = NULL;
    return control_call_error(call, "NotPermitted", text ? text : "not permitted", NULL);
}

static void run(struct control_call *call, json_t *parameters, void *userdata) {
    int r;

    if (parameters && !json_is_null(parameters) && !json_is_object(parameters)) {
        (void) control_call_invalid_parameter(call, "parameters");
        return;
    }
    if (call->method->changes && !control_connection_is_privileged(call->connection)) {
        (void) refuse_peer(call);
        return;
    }
    if (!call->method->changes && !control_call_is_connected(call))
        return; /* it only asked, and is gone: nobody would hear the answer */
    parameters = json_is_object(parameters) ? json_incref(parameters) : json_object();
    r = parameters ? call->method->run(call, parameters, userdata) : -ENOMEM;
    json_decref(parameters);
    if (r < 0 && call->connection)
        (void) control_call_error(call, "Failed", strerror(-r), NULL);
}

int control_call_dispatch(struct control_connection *connection, json_t *message) {
    const char *name = json_string_value(json_object_get(message, "method"));
    const char *dot = name ? strrchr(name, '.') : NULL;
    const struct control_interface *interface = connection->server->interface;
    bool oneway = json_is_true(json_object_get(message, "oneway"));
    void *userdata = connection->server->userdata;
    const struct control_method *method;
    struct control_call *call;

    if (!dot)
        return -EBADMSG;
    if (is_in(name, dot, SERVICE)) {
        interface = &control_service_interface;
        userdata = connection->server;
    } else if (!is_in(name, dot, interface->name))
        interface = NULL;
    method = interface ? find_method(interface, dot + 1) : NULL;

    if (!method || json_is_true(json_object_get(message, "upgrade"))) {
        const char *error = !interface ? SERVICE ".InterfaceNotFound"
                            : !method  ? SERVICE ".MethodNotFound"
                                       : SERVICE ".MethodNotImplemented"; /* no protocol to change to */
        json_t *parameters = interface ? json_pack("{s:s}", "method", name)
                                       : json_pack("{s:s%}", "interface", name, (size_t) (dot - name));

        if (oneway)
            json_decref(parameters);
        else
            (void) control_connection_send(connection, control_connection_error_message(error, parameters));
        return 0;
    }

    call = malloc(sizeof(*call));
    if (!call)
        return -ENOMEM;
    *call = (struct control_call){
        .n_ref = 1,
        .connection = connection,
        .interface = interface,
        .method = method,
        .peer = connection->peer,
        .more = !oneway && json_is_true(json_object_get(message, "more")),
        .oneway = oneway,
    };
    connection->call = call;
    run(call, json_object_get(message, "parameters"), userdata);
    control_call_unref(call);
    return 0;
}

static int get_info(struct control_call *call, json_t *parameters, void *userdata) {
    const struct control_server *server = userdata;

    (void) parameters;
    return control_call_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "latchd", "product",
                                              "latchd", "version",
                                              server->interface->version ? server->interface->version : "",
                                              "url", "", "interfaces", SERVICE, server->interface->name));
}

static int get_interface_description(struct control_call *call, json_t *parameters, void *userdata) {
    const struct control_server *server = userdata;
    const char *name = json_string_value(json_object_get(parameters, "interface"));
    const struct control_interface *interface;

    if (!name)
        return control_call_invalid_parameter(call, "interface");
    if (strcmp(name, SERVICE) == 0)
        interface = &control_service_interface;
    else if (strcmp(name, server->interface->name) == 0)
        interface = server->interface;
    else
        return control_call_error(call, SERVICE ".InterfaceNotFound", NULL,
                                  json_pack("{s:s}", "interface", name));
    return control_call_reply(call, json_pack("{s:s}", "description", interface->description));
}

static const struct control_method service_methods[] = {
    {.name = "GetInfo", .run = get_info},
    {.name = "GetInterfaceDescription", .run = get_interface_description},
};

const struct control_interface control_service_interface = {
    .name = SERVICE,
    .description = "# What any Varlink service answers\n"
                   "interface org.varlink.service\n"
                   "\n"
                   "# Who serves, and which interfaces\n"
                   "method GetInfo() -> (\n"
                   "  vendor: string,\n"
                   "  product: string,\n"
                   "  version: string,\n"
                   "  url: string,\n"
                   "  interfaces: []string\n"
                   ")\n"
                   "\n"
                   "# The definition of one of them\n"
                   "method GetInterfaceDescription(interface: string) -> (description: string)\n"
                   "\n"
                   "# The interface is not served here\n"
                   "error InterfaceNotFound (interface: string)\n"
                   "\n"
                   "# The interface has no such method\n"
                   "error MethodNotFound (method: string)\n"
                   "\n"
                   "# The method is there in name only\n"
                   "error MethodNotImplemented (method: string)\n"
                   "\n"
                   "# A parameter is missing or of the wrong kind\n"
                   "error InvalidParameter (parameter: string)\n",
    .methods = service_methods,
    .n_methods = ELEMENTSOF(service_methods),
};
