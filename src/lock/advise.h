/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What to do about a lock: one line, with the command to type, which works as it stands. */

#include "lock/verdict.h"

/* `service` (may be NULL) is the service that the path belongs to. The caller owns the line; NULL when memory
 * runs out. Everything in it that another process chose is printable, and quoted where a shell reads it. */
char *lock_advise(const struct lock_facts *facts, const struct lock_context *context,
                  const struct lock_judgement *judgement, const char *service);

/* The path as one word of a shell's command line, which no command takes for an option, and latchctl not for
 * a service: "./a.pid", "'/run/a b.lock'", "$'/run/a\nb'" (bash, ksh, zsh, and POSIX since 2024). The caller
 * owns it; NULL when memory runs out. */
char *advise_quote_path(const char *path);
