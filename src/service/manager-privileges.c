/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The capabilities of this latchd, reckoned from all it serves. */
#include <string.h>

#include "exec/privileges.h"
#include "service/service.h"

void manager_give_up_privileges(struct manager *manager) {
    struct privileges_need need = {0};
    int r;

    for (size_t i = 0; i < manager->n_services; i++) {
        privileges_add(&need, manager->services[i]->config);
        if (manager->services[i]->next_config)
            privileges_add(&need, manager->services[i]->next_config);
    }
    r = privileges_keep(&need);
    if (r < 0)
        event_debug(manager->log, "latchd keeps the capabilities it has: %s", strerror(-r));
}
