/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The method GetSockets. */
#include "control/endpoint.h"
#include "service/service-queues.h"

static json_t *look(struct endpoint *endpoint) {
    struct service *service = endpoint->service;
    bool running = service_state_has_main(service->state) && service->main_pidfd >= 0;
    json_t *sockets = service_queues_to_json(service);

    return json_pack("{s:s, s:o, s:o}", "service", service->config->name, "mainPid",
                     running ? json_integer(service->record.main.pid) : json_null(), "sockets", sockets);
}

int endpoint_get_sockets(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;

    (void) parameters;
    return endpoint_answer_look(call, &endpoint->sockets, look, endpoint);
}
