/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Configurations read on trial, in a child process: whatever one names is looked at for that (executables,
 * directories, files of the environment), and of a file system that does not answer, a network's or one of a program
 * (FUSE), each look may last for ever. */

#include <stdbool.h>
#include <stddef.h>

#include "base/value.h"
#include "config/config.h"

#define CONFIG_TRIAL_USEC (5 * USEC_PER_SEC)
#define CONFIG_TRIAL_LINE_MAX 600

/* ---- in the child ---- */

/* What is touched from now on is told to out_fd, a line each ("KEY=PATH", "PATH" for the configuration itself), as far
 * as max_bytes go: the last line is what it waits for. Sets paths->touching. */
void config_trial_begin(int out_fd, size_t max_bytes, struct config_paths *paths);

/* The configuration, good or bad. */
void config_trial_read(const char *word, const struct config_paths *paths);

/* The one from a record, which is as good as it was; of its daemon the executable is looked for. */
void config_trial_read_recorded(const char *name, const char *text);

/* An empty line: the reading has come to its end. */
void config_trial_end(void);

/* ---- whoever waits ---- */

/* Why it is not known whether a configuration is good: "... FILE did not answer within 5s ...". line: the last one,
 * NULL or empty: there was none. timed_out: else the reader ended. Owned by the caller, NULL when memory runs out. */
char *config_trial_describe(const char *line, bool timed_out);
