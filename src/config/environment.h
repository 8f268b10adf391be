/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Lists of NAME=VALUE, each name once. */

#include "base/strlist.h"

/* Puts NAME=VALUE (which becomes the list's, or is freed) in the place of the same name's value, or behind
 * the others. 0 or -ENOMEM. */
int environment_put(char ***list, char *assignment);

/* The value of a name, which need not be NUL-terminated; NULL: not set. */
const char *environment_get(char *const list[], const char *name, size_t length);

/* Reads the text of a file of EnvironmentFile=, as systemd does (systemd.exec(5)): NAME=VALUE lines, comments
 * with '#' and ';', '…' and "…" as in a shell, backslashes and continuation. What is no assignment is left
 * out: shells read such files too, and may find more in them. 0 or -ENOMEM. */
int environment_parse_file(const char *text, char ***list);
