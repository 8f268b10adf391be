/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchctl: finds the verb, and what is common to all of them. */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"

static const struct command *const commands[] = {
    &command_list,   &command_status, &command_start,  &command_stop,  &command_restart, &command_reload,
    &command_reexec, &command_kill,   &command_probe,  &command_locks, &command_sockets, &command_metrics,
    &command_clear,  &command_limits, &command_doctor, &command_call,  &command_logs,
};

static void print_usage(FILE *file) {
    fputs("Usage: latchctl [OPTIONS] VERB ...\n\n"
          "Asks latchd about its services, and explains any lock file, PID file or socket.\n\nVerbs:\n",
          file);
    for (size_t i = 0; i < ELEMENTSOF(commands); i++)
        fprintf(file, "  %-8s %-22s %s\n", commands[i]->name, commands[i]->arguments, commands[i]->summary);
    fputs("\nOptions, before or after the verb:\n"
          "      --json             facts as JSON\n"
          "      --config-dir DIR   read NAME.conf from DIR only\n"
          "      --runtime-dir DIR  where the supervisors' sockets are\n"
          "  -h, --help             show this text; after a verb, that verb's\n"
          "      --version          show the version\n\n"
          "See latchctl(1), latchd(8), latchd.conf(5).\n",
          file);
}

int cli_fail_usage(const struct command *command, const char *message, const char *subject) {
    fprintf(stderr, "latchctl%s%s: %s%s%s; try latchctl%s%s --help\n", command ? " " : "",
            command ? command->name : "", message, subject ? ": " : "", subject ? subject : "",
            command ? " " : "", command ? command->name : "");
    return EXIT_BAD_USAGE;
}

int cli_fail(const struct err *err) {
    return options_fail("latchctl", err);
}

static int print_version(void) {
    puts("latchctl " PACKAGE_VERSION);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cli_option(struct cli *cli, const struct command *command, int option, const char *argument) {
    switch (option) {
    case CLI_OPT_JSON:
        cli->json = true;
        return -1;
    case CLI_OPT_CONFIG_DIR:
        cli->config_dir = argument;
        return -1;
    case CLI_OPT_RUNTIME_DIR:
        free(cli->runtime_dir);
        cli->runtime_dir = strdup(argument);
        cli->runtime_dir_told = true;
        cli->system_dir = NULL;
        return -1;
    case CLI_OPT_VERSION:
        return print_version();
    case 'h':
        printf("Usage: latchctl %s [OPTIONS]%s%s\n\n%c%s.\n%s%s", command->name,
               command->arguments[0] ? " " : "", command->arguments, command->summary[0] - 'a' + 'A',
               command->summary + 1, command->help ? "\n" : "", command->help ? command->help : "");
        puts("\nCommon options: --json, --config-dir DIR, --runtime-dir DIR, -h, --help, --version.");
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    default: /* getopt has said what is wrong */
        fprintf(stderr, "Try latchctl %s --help\n", command->name);
        return EXIT_BAD_USAGE;
    }
}

int cli_print_json(json_t *json) {
    int r = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;

    json_decref(json);
    if (r < 0)
        return cli_fail(&(struct err){.number = ENOMEM});
    putchar('\n');
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The options before the verb. Returns -1 to go on, else an exit code. */
static int parse_leading(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {0}};
    int c;

    while ((c = getopt_long(argc, argv, "+h", options, NULL)) >= 0) {
        switch (c) {
        case 'h':
            print_usage(stdout);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        case CLI_OPT_VERSION:
            return print_version();
        case '?':
            fputs("Try latchctl --help\n", stderr);
            return EXIT_BAD_USAGE;
        default:
            (void) cli_option(cli, NULL, c, optarg);
        }
    }
    return -1;
}

int main(int argc, char *argv[]) {
    struct cli cli = {.runtime_dir = options_runtime_dir(), .terminal = isatty(STDOUT_FILENO)};
    const char *no_color = getenv("NO_COLOR"), *told = getenv("LATCHD_RUNTIME_DIR");
    char name[32];
    int code;

    setlocale(LC_CTYPE, ""); /* how wide a character is, and whether lines can be drawn */
    cli.color = cli.terminal && (!no_color || !*no_color);
    if (geteuid() != 0 && (!told || !*told))
        cli.system_dir = OPTIONS_SYSTEM_RUNTIME_DIR;
    code = parse_leading(&cli, argc, argv);
    if (code < 0 && optind >= argc) {
        print_usage(stderr);
        code = EXIT_BAD_USAGE;
    }
    for (size_t i = 0; code < 0 && i < ELEMENTSOF(commands); i++)
        if (strcmp(argv[optind], commands[i]->name) == 0) {
            int first = optind;

            snprintf(name, sizeof name, "latchctl %s", commands[i]->name);
            argv[first] = name;
            optind = 0; /* getopt_long(3): begins anew, with a new vector */
            code = commands[i]->run(&cli, argc - first, argv + first);
        }
    if (code < 0)
        code = cli_fail_usage(NULL, "unknown verb", argv[optind]);
    free(cli.runtime_dir);
    return code;
}
