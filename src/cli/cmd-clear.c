/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "cli/report.h"
#include "cli/supervisor.h"
#include "probe/clear.h"
#include "probe/probe.h"
#include "recovery/recover.h"
#include "runtime/runtime-dir.h"

static int print_actions(const struct cli *cli, const char *subject, json_t *actions) {
    _cleanup_free_ char *shown = strdup(subject);

    if (shown)
        value_make_printable(shown);
    if (cli->json)
        return cli_print_json(actions);
    if (json_array_size(actions) == 0)
        printf("%s: nothing to clear\n", shown ? shown : "");
    for (size_t i = 0; i < json_array_size(actions); i++)
        printf("%s: %s\n", shown ? shown : "", report_text(json_array_get(actions, i), "text"));
    json_decref(actions);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whether the kernel would let us remove the file, as far as modes tell: who may write to its directory,
 * unless that is sticky and neither it nor the file is ours (unlink(2)). What a dry run promises has to hold.
 */
static int check_permission(const struct lock_facts *facts, struct err *err) {
    _cleanup_close_ int dir_fd = -EBADF;
    const char *name;
    struct stat st;
    int r = lock_open_parent(facts->path, &dir_fd, &name);

    if (r >= 0 && (faccessat(dir_fd, ".", W_OK | X_OK, AT_EACCESS) < 0 || fstat(dir_fd, &st) < 0))
        r = -errno;
    if (r >= 0 && (st.st_mode & S_ISVTX) && geteuid() != 0 && st.st_uid != geteuid() &&
        facts->uid != geteuid())
        r = -EPERM;
    return r < 0 ? err_set(err, -r, "Failed", "cannot remove %s, whose owner is dead: %m", facts->path) : 0;
}

/* Any path: a PID file or socket whose owner is dead. Leftover processes are a service's business: only its
 * configuration can prove whose they are. */
static int clear_judged(const struct lock_facts *facts, bool dry_run, struct err *err) {
    struct clear_request request = {
        .facts = facts, .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE, .dry_run = dry_run};
    int r = lock_clear(&request, err);

    if (r > 0 && dry_run && check_permission(facts, err) < 0)
        r = -err->number;
    /* Of the two that EPERM is said for, the rule's own refusal is not a want of rights. */
    if (r < 0 && (err->number == EACCES || err->number == EPERM) &&
        (strcmp(err->name, "Failed") == 0 || facts->error == EACCES || facts->error == EPERM))
        err->name = "NotPermitted";
    return r;
}

static int clear_path(const struct cli *cli, const char *path, bool dry_run) {
    struct probe_request probe = {.path = path, .style = LOCK_STYLE_INVALID, .effort = PROBE_COMPLETE};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL;
    struct lock_facts *facts;
    json_t *actions;
    int r;

    r = lock_probe(&probe, 1, &facts);
    if (r < 0)
        return cli_fail(&(struct err){.number = -r});
    r = clear_judged(facts, dry_run, &err);
    lock_facts_free_array(facts, 1);
    if (r < 0)
        return cli_fail(&err);
    actions = json_array();
    if (r > 0) {
        if (asprintf(&text, "%s: its owner is dead", dry_run ? "would be removed" : "removed") < 0)
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
    _cleanup_record_ struct service_record record = {0};
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
        if (!argv[i][0])
            return cli_fail_usage(&command_clear, "a name is empty", NULL);
        if (argv[i][0] == '@')
            return cli_fail_usage(
                &command_clear,
                "an abstract socket is gone with its last holder and leaves nothing to clear "
                "(a file of that name: ./@NAME)",
                argv[i]);
    }
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
    .help =
        "Of a service: ends leftover processes that provably are its own, and removes its stale PID "
        "files. Of a\n"
        "path: removes a stale PID file or a symbolic link that is a stale lock, or a stale socket that a "
        "lock file\n"
        "guards. A held lock is never touched. A path is told from a service by a slash in it: ./a.pid. "
        "An abstract\n"
        "socket (@NAME) leaves nothing to clear.\n\n"
        "  -n, --dry-run          only say what would be done\n\n"
        "Exit status: 0 cleared, or nothing to clear; 1 something is in the way that is not cleared, and "
        "is named;\n77 not permitted.\n",
    .run = run,
};
