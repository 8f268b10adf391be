/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* latchctl's verbs: one file a verb (or a family of them), each a const struct. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"

/* The options that stand before or after any verb. */
struct cli {
    bool json;
    bool color, terminal;   /* standard output is one; colours only there and without NO_COLOR */
    bool quiet_problems;    /* the mistakes of a configuration are not told one by one */
    const char *config_dir; /* NULL: the installed ones */
    char *runtime_dir;      /* NULL: there is none */
    bool runtime_dir_told;  /* by --runtime-dir: whoever is to reach it has to say so again */
    const char *system_dir; /* where an ordinary user looks as well, if told of no other; NULL: nowhere */
};

struct command {
    const char *name;
    const char *arguments; /* "SERVICE..." */
    const char *summary;   /* a phrase for the list of verbs */
    const char *help;      /* its own options and exit codes, for VERB --help; NULL: none */
    /* argv[0] is "latchctl VERB", for getopt's messages. Returns the exit code. Parses its own options with
     * getopt_long(), which has been reset; cli_option() takes those that are common. */
    int (*run)(struct cli *cli, int argc, char *argv[]);
};

extern const struct command command_list, command_status, command_start, command_stop, command_restart,
    command_reload, command_reexec, command_kill, command_probe, command_locks, command_clear, command_logs,
    command_limits, command_call, command_sockets, command_doctor, command_metrics;

/* The common options, to be put into a verb's own table. */
enum { CLI_OPT_JSON = 1024, CLI_OPT_CONFIG_DIR, CLI_OPT_RUNTIME_DIR, CLI_OPT_VERSION };
/* clang-format off */
#define CLI_OPTIONS                                                                                                    \
    {"json", no_argument, NULL, CLI_OPT_JSON}, {"config-dir", required_argument, NULL, CLI_OPT_CONFIG_DIR},            \
        {"runtime-dir", required_argument, NULL, CLI_OPT_RUNTIME_DIR}, {"help", no_argument, NULL, 'h'},               \
        {"version", no_argument, NULL, CLI_OPT_VERSION}
/* clang-format on */

/* Takes a common option. Returns -1 when it was one and there is more to do; else the exit code: for --help
 * and --version (shown) and for what is no option at all (told). */
int cli_option(struct cli *cli, const struct command *command, int option, const char *argument);

int cli_fail_usage(const struct command *command, const char *message, const char *subject);
int cli_fail(const struct err *err);

/* Prints a document on standard output and releases it. */
int cli_print_json(json_t *json);
