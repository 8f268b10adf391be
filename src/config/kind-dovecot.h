/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asking Dovecot for its configuration: for Kind=dovecot, and for whoever wants to know more of it than a
 * service's configuration has room for. */

#include "config/config.h"
#include "config/dovecot-conf.h"

/* Runs the Dovecot of ExecStart= with -a instead of -F, or doveconf where ExecStart= names none, with the
 * service's environment and for a few seconds at most. -EINVAL, -EBADMSG, -ETIMEDOUT, ...: *err says why in a
 * sentence without place; run: see kind_read(). *ret is the caller's. */
int kind_dovecot_ask(const struct service_config *config, config_run_t run, struct dovecot_conf *ret,
                     struct err *err);
