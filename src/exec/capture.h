/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs a program for what it prints, bounded in time and size: the config_run_t for kinds whose daemon alone
 * knows its configuration (config/config.h). */

#include "config/config.h"

#define CAPTURE_SAID_MAX 4096 /* of its standard error is kept */

/* Returns when it has ended, been killed at the question's bounds, or could not be executed; a descendant
 * that goes on is not waited for. It gets no descriptor of ours, and /dev/null for its input. */
int capture_run(const struct config_question *question, struct config_answer *ret, struct err *err);
