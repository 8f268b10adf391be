/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "probe/clear.h"
#include "probe/probe.h"
#include "service/recover.h"
#include "service/runtime-dir.h"

static int print_actions(const struct cli *cli, const char *subject, json_t *actions) {
    if (cli->json)
        return cli_print_json(actions);
    if (json_array_size(actions) == 0)
        printf("%s: nothing to clear\n", subject);
    for (size_t i = 0; i < json_array_size(actions); i++)
        printf("%s: %s\n", subject, report_text(json_array_get(actions, i), "text"));
    json_decref(actions);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Any path: a PID file or socket whose owner is dead. Leftover processes are a service's business: only its
 * configuration can prove whose they are. */
static int clear_path(const struct cli *cli, const char *path, bool dry_run) {
    struct probe_request probe = {.path = path, .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE};
    struct clear_request request = {
        .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE, .dry_run = dry_run};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;
    struct lock_facts *facts;
    json_t *actions = json_array();
    int r;

    r = lock_probe(&probe, 1, &facts);
    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    request.facts = facts;
    r = lock_clear(&request, &err);
    lock_facts_free_array(facts, 1);
    if (r < 0) {
        json_decref(actions);
        return cli_fail(&err);
    }
    if (r > 0) {
        if (asprintf(&text, "%s, whose owner is dead", dry_run ? "would be removed" : "removed") < 0)
            return EXIT_FAILURE;
        json_array_append_new(actions,
                              json_pack("{s:s, s:s, s:s}", "step", "clear", "path", path, "text", text));
    }
    return print_actions(cli, path, actions);
}

/* Without a supervisor we take its part: its lock, then the same recovery. */
static int clear_ourselves(const struct cli *cli, const char *service, bool dry_run) {
    _cleanup_close_ int dir_fd = -EBADF, lock_fd = -EBADF, proc_fd = procfs_open();
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};
    struct service_record record;
    struct recovery_host host;
    struct recovery recovery;
    json_t *actions;
    int r;

    if (supervisor_load_config(cli, service, &config, &err) < 0 ||
        (dir_fd = runtime_dir_open(cli->runtime_dir, true, &err)) < 0 ||
        (lock_fd = runtime_dir_lock_service(dir_fd, cli->runtime_dir, config->name, &err)) < 0 ||
        recovery_host_init_offline(&host, config, dir_fd, proc_fd, NULL, &record, &err) < 0)
        return cli_fail(&err);
    host.on_request = true;
    host.dry_run = dry_run;
    r = recovery_init(&recovery);
    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    r = recovery_run(&recovery, &host, &err);
    actions = recovery.actions ? json_incref(recovery.actions) : json_array();
    recovery_done(&recovery);
    if (r < 0) {
        json_decref(actions);
        return cli_fail(&err);
    }
    return print_actions(cli, service, actions);
}

static int clear_service(const struct cli *cli, const char *service, bool dry_run) {
    _cleanup_err_ struct err err = {0};
    json_t *reply, *actions;
    int r;

    r = supervisor_call(cli, service, "Clear", json_pack("{s:b}", "dryRun", dry_run), USEC_INFINITY, &reply,
                        &err);
    if (r < 0 && err.name && strcmp(err.name, "NotRunning") == 0 && cli->runtime_dir)
        return clear_ourselves(cli, service, dry_run);
    if (r < 0)
        return cli_fail(&err);
    actions = json_incref(json_object_get(reply, "actions"));
    json_decref(reply);
    return print_actions(cli, service, actions ? actions : json_array());
}

static int run(struct cli *cli, int argc, char *argv[]) {
    static const struct option options[] = {CLI_OPTIONS, {"dry-run", no_argument, NULL, 'n'}, {0}};
    bool dry_run = false;
    int c, r, code = EXIT_SUCCESS;

    while ((c = getopt_long(argc, argv, "hn", options, NULL)) >= 0) {
        if (c == 'n')
            dry_run = true;
        else if ((r = cli_option(cli, &command_clear, c, optarg)) >= 0)
            return r;
    }
    if (optind == argc)
        return cli_fail_usage(&command_clear, "it wants a service or a path", NULL);
    for (int i = optind; i < argc; i++) {
        r = strchr(argv[i], '/') ? clear_path(cli, argv[i], dry_run) : clear_service(cli, argv[i], dry_run);
        if (r > code)
            code = r;
    }
    return code;
}

const struct command command_clear = {
    .name = "clear",
    .arguments = "SERVICE|PATH...",
    .summary = "clear what a dead owner left, else say why not",
    .help = "Of a service: ends leftover processes that provably are its own, and removes its stale PID "
            "files. Of a\n"
            "path: removes a stale PID file, or a stale socket that a lock file guards. A held lock is never "
            "touched.\n\n"
            "  -n, --dry-run          only say what would be done\n\n"
            "Exit status: 0 cleared, or nothing to clear; 1 something is in the way that is not cleared, and "
            "is named.\n",
    .run = run,
};
