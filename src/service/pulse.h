/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* latchd's own sign of life to systemd: WATCHDOG=1 at half of WATCHDOG_USEC (sd_watchdog_enabled(3)), sent by
 * the very loop that does all the work. Without WatchdogSec= in its unit nothing wakes for it. */

#include "service/manager.h"

int pulse_start(struct manager *manager);

/* Whether a sign of life would be true: the loop runs, since it asks; and a supervisor of one service whose
 * daemon hung and cannot even be killed has done what it can. With several services the loop alone counts:
 * what systemd could do would hit all the others. Pure. */
bool pulse_is_due(size_t n_services, size_t n_beyond_help);
