/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What follows a Kea daemon's name on its command line. */

/* The configuration file: the argument of the last -c, as getopt(3) finds it. The words are those of
 * ExecStart=, with variables and $$ in them, ended by NULL. 1 with *ret owned by the caller; 0 there is none;
 * -ENOENT it comes from a variable; -ENOMEM. */
int kea_options_config_file(char *const words[], char **ret);
