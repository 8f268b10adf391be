/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service as `latchctl status --json` shows it. */

#include "service/service.h"

/* A live answer: locks are looked at now when `inspect` is set. NULL when memory runs out. */
json_t *service_status_to_json(struct service *service, bool inspect);
