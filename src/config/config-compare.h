/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Two configurations of one service: what differs, and from when on that counts (the column of
 * config-keys.def). Pure. */

#include "config/config.h"

struct config_changes {
    char **live;  /* "RestartSec=", "ProbeTimeoutSec= of [Socket control]": at once; NULL: none */
    char **later; /* "ExecStart=", "[Socket http]" (new or gone as a whole): from the next start */
};

#define _cleanup_config_changes_ _cleanup_(config_changes_done)
void config_changes_done(struct config_changes *changes);

/* 0 or -ENOMEM. */
int service_config_compare(const struct service_config *before, const struct service_config *after,
                           struct config_changes *ret);

/* Exchanges the values of all keys that count at once, of the service and of the sockets that both have.
 * Exchanged again, all is as it was. */
void service_config_swap_live(struct service_config *a, struct service_config *b);
