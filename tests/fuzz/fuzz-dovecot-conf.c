/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libFuzzer over what "doveconf -a" prints. What is accepted must keep what dovecot-conf.h promises. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/dovecot-conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_dovecot_conf_ struct dovecot_conf conf = {0};
    _cleanup_err_ struct err err = {0};
    const char *whose;

    if (dovecot_conf_parse((const char *) data, size, &conf, &err) < 0)
        return 0;
    if (conf.base_dir[0] != '/' || conf.libexec_dir[0] != '/' || !conf.listen || !conf.ssl)
        abort();
    if (dovecot_conf_needed_files(&conf, &whose) < conf.default_client_limit)
        abort();
    for (size_t i = 0; i < conf.n_services; i++) {
        const struct dovecot_service *service = &conf.services[i];

        if (service->client_limit == 0 || service->process_limit == 0 || service->executable[0] != '/' ||
            !service->arguments || !service->type || !service->protocol)
            abort();
        if (service->service_count > 0 && service->client_limit > service->service_count)
            abort();
        if (dovecot_service_backlog(service) < 4 || dovecot_service_backlog(service) > INT32_MAX)
            abort();
        for (size_t k = 0; k < service->n_listeners; k++)
            if (service->listeners[k].is_inet ? !service->listeners[k].address
                                              : service->listeners[k].name[0] != '/')
                abort();
    }
    return 0;
}
