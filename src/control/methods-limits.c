/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The methods GetLimits and SetLimits. */
#include <stdio.h>
#include <string.h>

#include "control/endpoint.h"
#include "service/service-limits.h"

static json_t *look(struct endpoint *endpoint) {
    struct service *service = endpoint->service;
    bool running = service_state_has_main(service->state) && service->main_pidfd >= 0;
    json_t *warnings = service_limits_warnings_to_json(service, true),
           *limits = service_limits_to_json(service, true);

    return json_pack("{s:s, s:o, s:o, s:o}", "service", service->config->name, "mainPid",
                     running ? json_integer(service->record.main.pid) : json_null(), "limits", limits,
                     "warnings", warnings);
}

int endpoint_get_limits(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;

    (void) parameters;
    return endpoint_answer_look(call, &endpoint->limits, look, endpoint);
}

/* {"NOFILE": "4096:8192"}: names and values as in a configuration. */
static int read_request(json_t *limits, struct limits_request *request, struct err *err) {
    const char *name;
    json_t *value;

    json_object_foreach(limits, name, value) {
        _cleanup_free_ char *assignment = NULL;
        struct limit_config limit;
        int resource, r;

        if (!json_is_string(value))
            return err_set(err, EINVAL, "BadLimit", "the limit %s is no text such as \"4096:8192\"", name);
        if (asprintf(&assignment, "%s=%s", name, json_string_value(value)) < 0)
            return -ENOMEM;
        r = rlimit_parse_assignment(assignment, &resource, &limit, err);
        if (r < 0)
            return r;
        request->asked[resource] = limit;
    }
    return 0;
}

int endpoint_set_limits(struct control_call *call, json_t *parameters, void *userdata) {
    struct endpoint *endpoint = userdata;
    json_t *limits = json_object_get(parameters, "limits"), *all = json_object_get(parameters, "all"), *done;
    struct limits_request request = {.all = json_is_true(all),
                                     .client_pid = control_call_peer(call)->pid,
                                     .client_uid = control_call_peer(call)->uid};
    _cleanup_err_ struct err err = {0};
    int r;

    if (!json_is_object(limits) || json_object_size(limits) == 0)
        return control_call_invalid_parameter(call, "limits");
    if (all && !json_is_boolean(all) && !json_is_null(all))
        return control_call_invalid_parameter(call, "all");
    r = read_request(limits, &request, &err);
    if (r >= 0)
        r = service_limits_change(endpoint->service, &request, &done, &err);
    if (r < 0)
        return endpoint_answer_error(call, endpoint->service, &err);
    endpoint->limits.made_usec = endpoint->status.made_usec = 0;
    return control_call_reply(call, json_pack("{s:o}", "changed", done));
}
