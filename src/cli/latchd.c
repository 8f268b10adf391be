/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd run | exec | check: the supervisor's command line. */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/options.h"
#include "control/methods.h"
#include "recovery/recover.h"
#include "runtime/handover.h"
#include "runtime/runtime-dir.h"
#include "runtime/state-file.h"
#include "service/service.h"

static const char usage_text[] =
    "Usage: latchd run   [OPTIONS] SERVICE...\n"
    "       latchd exec  [OPTIONS] SERVICE [-- ARG...]\n"
    "       latchd run|exec [OPTIONS] [--name NAME] [--lock PATH[:STYLE]]... [--socket PATH]...\n"
    "                       [--limit NAME=SOFT[:HARD]]... [--user USER] [--set KEY=VALUE]... -- COMMAND "
    "[ARG...]\n"
    "       latchd check [OPTIONS] SERVICE...\n"
    "\n"
    "Runs daemons that guard their control sockets with lock files. Before each start it finds out who "
    "really\n"
    "holds the locks, clears exactly what a dead daemon left, and sets the resource limits.\n"
    "\n"
    "  run    supervise in the foreground: restart what dies, answer latchctl\n"
    "  exec   make the way free, set limits and rights, and become the daemon (same PID)\n"
    "  check  read the configuration and print every mistake as FILE:LINE: message\n"
    "\n"
    "SERVICE is a name, for which NAME.conf is read from " SYSCONFDIR "/latchd or\n" VENDORDIR
    ", or a path to a file if it contains a slash.\n"
    "\n"
    "Options:\n"
    "      --config-dir DIR      read NAME.conf from DIR only\n"
    "      --runtime-dir DIR     supervisor locks, control sockets and states (default: "
    "$LATCHD_RUNTIME_DIR,\n"
    "                            /run/latchd for root, $XDG_RUNTIME_DIR/latchd otherwise)\n"
    "      --log-level LEVEL     emerg ... debug, or 0 ... 7 (default: info)\n"
    "      --log-target TARGET   auto, journal or stderr (default: auto, the journal where there is one)\n"
    "  -h, --help                show this text\n"
    "      --version             show the version\n"
    "\n"
    "Without a configuration file, a COMMAND behind --:\n"
    "      --name NAME           the service's name (default: that of the command)\n"
    "      --lock PATH[:STYLE]   a lock file: flock (default), posix, ofd or pidfile\n"
    "      --socket PATH         a control socket, guarded by PATH.lock\n"
    "      --limit NAME=SOFT[:HARD]  a resource limit, such as NOFILE=4096\n"
    "      --user USER, --group GROUP, --set KEY=VALUE   as in the [Service] section\n"
    "\n"
    "Exit status: 0 success, 1 failure, 64 usage, 75 a living owner holds the lock or socket (try again "
    "later),\n"
    "77 not permitted, 78 configuration.\n"
    "\n"
    "See latchd(8), latchd.conf(5), latchctl(1).\n";

enum {
    OPT_CONFIG_DIR = 256,
    OPT_RUNTIME_DIR,
    OPT_LOG_LEVEL,
    OPT_LOG_TARGET,
    OPT_VERSION,
    OPT_SERVICE_KEY, /* from here on: one that describes a service, see service_keys[] */
};

static const char *const service_keys[] = {"name", "lock",        "socket",      "limit", "user",    "group",
                                           "kind", "config-file", "environment", "type",  "restart", "set"};

struct invocation {
    const char *config_dir;
    char *runtime_dir; /* owned */
    int log_level;
    enum log_target log_target;
    struct config_option *options; /* owned */
    size_t n_options;
    char **words; /* what stands before "--": verb and services; borrowed */
    int n_words;
    char **command; /* what stands behind it; NULL: no "--" */

    char *program;              /* owned: the path of what we were started from; NULL: not known */
    char **program_argv;        /* owned, what is in it borrowed: as started (getopt(3) moves things) */
    struct handover *handover;  /* owned: from the latchd that was this process before; NULL: there was none */
    int runtime_dir_fd;         /* of that; -EBADF: to be opened */
};

static int fail_usage(const char *message, const char *subject) {
    fprintf(stderr, "latchd: %s%s%s; try latchd --help\n", message, subject ? ": " : "",
            subject ? subject : "");
    return EXIT_BAD_USAGE;
}

/* Returns -1 to go on, else an exit code. */
static int parse_arguments(int argc, char *argv[], struct invocation *invocation) {
    struct option options[8 + ELEMENTSOF(service_keys)] = {
        {"config-dir", required_argument, NULL, OPT_CONFIG_DIR},
        {"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"log-target", required_argument, NULL, OPT_LOG_TARGET},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, 'h'},
    };
    int separator = argc, c;

    for (size_t i = 0; i < ELEMENTSOF(service_keys); i++)
        options[6 + i] = (struct option){service_keys[i], required_argument, NULL, OPT_SERVICE_KEY + (int) i};
    for (int i = 1; i < argc && separator == argc; i++)
        if (strcmp(argv[i], "--") == 0)
            separator = i;
    if (separator < argc)
        invocation->command = &argv[separator + 1];
    invocation->options = calloc((size_t) argc, sizeof *invocation->options);
    if (!invocation->options)
        return EXIT_FAILURE;

    /* getopt moves what is no option behind the options, but never looks beyond "--". */
    while ((c = getopt_long(separator, argv, "h", options, NULL)) >= 0) {
        switch (c) {
        case 'h':
            fputs(usage_text, stdout);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        case OPT_VERSION:
            puts("latchd " PACKAGE_VERSION);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        case OPT_CONFIG_DIR:
            invocation->config_dir = optarg;
            break;
        case OPT_RUNTIME_DIR:
            free(invocation->runtime_dir);
            invocation->runtime_dir = strdup(optarg);
            break;
        case OPT_LOG_LEVEL:
            if (event_parse_priority(optarg, &invocation->log_level) < 0)
                return fail_usage(
                    "--log-level wants emerg, alert, crit, err, warning, notice, info or debug, not", optarg);
            break;
        case OPT_LOG_TARGET:
            invocation->log_target = log_target_from_string(optarg);
            if (invocation->log_target < 0)
                return fail_usage("--log-target wants auto, journal or stderr, not", optarg);
            break;
        case '?':
            fputs("Try latchd --help\n", stderr);
            return EXIT_BAD_USAGE;
        default:
            invocation->options[invocation->n_options++] =
                (struct config_option){.key = service_keys[c - OPT_SERVICE_KEY], .value = optarg};
        }
    }
    invocation->words = &argv[optind];
    invocation->n_words = separator - optind;
    if (!invocation->runtime_dir)
        invocation->runtime_dir = options_runtime_dir();
    return -1;
}

/* The path that execve(2) was given (getauxval(3)), not that of the file behind it: an upgrade may have put another
 * file there, or turned a symbolic link. */
static char *find_program(void) {
    const char *path = (const char *) getauxval(AT_EXECFN);
    char link[4096], *program = NULL, *dir;
    ssize_t n;

    if (path && path[0] == '/' && strncmp(path, "/dev/fd/", 8) != 0)
        return strdup(path);
    if (path && path[0] != '/' && (dir = getcwd(NULL, 0))) {
        if (asprintf(&program, "%s/%s", dir, path) < 0)
            program = NULL;
        free(dir);
        return program;
    }
    n = readlink("/proc/self/exe", link, sizeof link - 1); /* fexecve(3) */
    return n > 0 ? strndup(link, (size_t) n) : NULL;
}

/* What the latchd that was this process before has left us. */
static int receive_handover(struct invocation *invocation, struct err *err) {
    const char *number = getenv(HANDOVER_VARIABLE);
    int fd;

    invocation->runtime_dir_fd = -EBADF;
    if (!number)
        return 0;
    if (value_parse_int(number, 3, INT_MAX, &fd) < 0)
        return err_set(err, EINVAL, "BadHandover", HANDOVER_VARIABLE "=%s: for latchctl reexec alone", number);
    (void) unsetenv(HANDOVER_VARIABLE);
    if (handover_receive(fd, &invocation->handover, err) < 0)
        return -EBADMSG;
    invocation->runtime_dir_fd = handover_take_fd(invocation->handover, "runtime-dir");
    return 0;
}

/* As it was before the change of the program: a file that has become bad meanwhile does not end anything. */
static int load_recorded(const struct invocation *invocation, int place, struct service_config **ret) {
    const char *name =
        json_string_value(json_array_get(handover_get(invocation->handover, "services"), (size_t) place));
    _cleanup_free_ char *text = NULL;

    if (!name || invocation->runtime_dir_fd < 0 ||
        state_file_read_config(invocation->runtime_dir_fd, name, &text, NULL) < 0 ||
        service_config_from_record(name, text, ret) < 0)
        return EXIT_BAD_CONFIG;
    fprintf(stderr, "latchd: service %s goes on with the configuration that it had\n", name);
    return 0;
}

/* Loads one service; prints what is wrong with it. Returns 0 or an exit code. */
static int load(const struct invocation *invocation, const char *name, struct service_config **ret) {
    struct config_paths paths = options_config_paths(invocation->config_dir);
    struct config_problems problems = {0};
    _cleanup_err_ struct err err = {0};
    int r;

    if (name)
        r = service_config_load(name, &paths, &problems, ret, &err);
    else
        r = service_config_from_options(invocation->options, invocation->n_options, invocation->command,
                                        &problems, ret);
    options_print_problems(&problems);
    if (r < 0 && problems.n == 0)
        fprintf(stderr, "latchd: %s\n", err.message ? err.message : strerror(-r));
    config_problems_done(&problems);
    return r < 0 ? EXIT_BAD_CONFIG : 0;
}

static int open_log(const struct invocation *invocation, struct event_log **ret, struct err *err) {
    struct event_log_options options = {.target = invocation->log_target,
                                        .max_priority = invocation->log_level};

    return event_log_open(&options, ret, err);
}

static int exit_code_of(const struct err *err) {
    int code = options_fail("latchd", err);

    if (err->name && strcmp(err->name, "BadConfiguration") == 0)
        return EXIT_BAD_CONFIG;
    return err->name && strcmp(err->name, "Held") == 0 ? EXIT_HELD : code;
}

static int open_runtime_dir(struct invocation *invocation, struct err *err) {
    if (invocation->runtime_dir_fd >= 0)
        return TAKE_FD(invocation->runtime_dir_fd);
    if (!invocation->runtime_dir)
        return err_set(err, ENOENT, "Failed",
                       "no runtime directory: XDG_RUNTIME_DIR is not set; choose one by --runtime-dir");
    return runtime_dir_open(invocation->runtime_dir, true, err);
}

static bool name_is_taken(struct service_config *const *configs, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(configs[i]->name, name) == 0)
            return true;
    return false;
}

/* What After= and Requires= come to, of these services together. `check` wants to hear more. */
static int check_order(struct service_config *const *configs, size_t n, bool check) {
    _cleanup_free_ struct order_wish *wishes = calloc(n + 1, sizeof *wishes);
    _cleanup_order_ struct order order = {0};
    _cleanup_err_ struct err err = {0};

    if (!wishes)
        return EXIT_FAILURE;
    for (size_t i = 0; i < n; i++)
        wishes[i] = order_wish_of(configs[i]);
    if (order_plan(wishes, n, &order, &err) < 0)
        return exit_code_of(&err);
    for (size_t i = 0; check && order.links && i < n; i++) {
        if (order.links[i].unknown)
            fprintf(stderr, "%s: After=%s means nothing unless latchd run serves both; check them together\n",
                    configs[i]->name, order.links[i].unknown);
        if (order.links[i].missing)
            fprintf(stderr,
                    "%s: Requires=%s keeps it down unless latchd run serves both; check them together\n",
                    configs[i]->name, order.links[i].missing);
    }
    return -1;
}

/* Files that are good each, and go in a circle together. */
static int load_all_recorded(const struct invocation *invocation, struct service_config **configs) {
    for (int i = 0; i < invocation->n_words; i++) {
        int code;

        configs[i] = service_config_free(configs[i]);
        code = load_recorded(invocation, i, &configs[i]);
        if (code)
            return code;
    }
    return check_order(configs, (size_t) invocation->n_words, false);
}

/* The services that the words name, or the one that the options describe. Every mistake of every one is told
 * before it ends. */
static int load_services(const struct invocation *invocation, struct service_config **configs) {
    int n = 0, code, worst = -1;

    if (invocation->n_words == 0) {
        code = load(invocation, NULL, &configs[0]);
        if (code)
            code = load_recorded(invocation, 0, &configs[0]);
        return code ? code : check_order(configs, 1, false);
    }
    for (int i = 0; i < invocation->n_words; i++) {
        code = load(invocation, invocation->words[i], &configs[n]);
        if (code)
            code = load_recorded(invocation, i, &configs[n]);
        if (code)
            worst = code;
        else if (name_is_taken(configs, n, configs[n]->name))
            return fail_usage("this service is named twice", configs[n]->name);
        else
            n++;
    }
    code = worst >= 0 ? worst : check_order(configs, (size_t) n, false);
    return code >= 0 && invocation->handover ? load_all_recorded(invocation, configs) : code;
}

static void report_started(struct event_log *log, const struct manager *manager, const char *runtime_dir) {
    struct event_fields fields = {.n = 0};
    _cleanup_free_ char *names = NULL;
    size_t size;
    FILE *out = open_memstream(&names, &size);

    if (!out)
        return;
    for (size_t i = 0; i < manager->n_services; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", manager->services[i]->config->name);
    if (fclose(out) != 0)
        return;
    event_field_set(&fields, "LATCHD_VERSION", PACKAGE_VERSION);
    event_field_add(&fields, "LATCHD_SERVICES", "%s", names); /* cut short where there are thousands */
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, fields.fields, fields.n,
               "latchd " PACKAGE_VERSION " serves %zu service%s in %s", manager->n_services,
               manager->n_services == 1 ? "" : "s", runtime_dir);
}

static void report_replaced(struct event_log *log) {
    const struct event_field version = {"LATCHD_VERSION", PACKAGE_VERSION};

    event_emit(log, EVENT_REEXEC_DONE, NULL, &version, 1,
               "latchd " PACKAGE_VERSION " has taken the place of the latchd that was this process before");
}

static int run_services(struct invocation *invocation, struct service_config **configs, size_t n) {
    const struct event_field stopped = {"LATCHD_REASON", "every service is stopped"};
    _cleanup_err_ struct err err = {0};
    _cleanup_event_log_ struct event_log *log = NULL;
    _cleanup_manager_ struct manager *manager = NULL;
    _cleanup_(control_freep) struct control *control = NULL;
    bool replaced;
    int fd, code;

    if (open_log(invocation, &log, &err) < 0)
        return exit_code_of(&err);
    fd = open_runtime_dir(invocation, &err);
    if (fd < 0)
        return exit_code_of(&err);
    if (manager_new(log, fd, &manager, &err) < 0) {
        fd_close(fd);
        return exit_code_of(&err);
    }
    manager->config_paths = options_config_paths(invocation->config_dir);
    if (manager_reserve_files(manager, n, &err) < 0)
        return exit_code_of(&err);
    manager->program = invocation->program;
    manager->program_argv = invocation->program_argv;
    manager->handover = TAKE_PTR(invocation->handover);
    replaced = manager->handover != NULL;
    manager_take_over(manager);
    for (size_t i = 0; i < n; i++) {
        struct service *service;

        if (manager_add(manager, invocation->runtime_dir, configs[i], &service, &err) < 0)
            return exit_code_of(&err);
        configs[i] = NULL; /* the manager's now */
        if (invocation->n_words > 0 && !(service->config_word = strdup(invocation->words[i])))
            return EXIT_FAILURE;
    }
    if (manager_plan_order(manager, &err) < 0 || control_new(manager, &control, &err) < 0)
        return exit_code_of(&err);
    manager_give_up_privileges(manager);
    if (replaced)
        report_replaced(log);
    else
        report_started(log, manager, invocation->runtime_dir);
    code = manager_run(manager, &err);
    if (code < 0)
        return exit_code_of(&err);
    if (code == EXIT_SUCCESS)
        event_emit(log, EVENT_SUPERVISOR_STOPPED, NULL, &stopped, 1, "latchd ends: every service is stopped");
    else
        event_emit(log, EVENT_SUPERVISOR_STOPPED, NULL, &stopped, 1,
                   "latchd ends with status %d, that of its one service's daemon", code);
    return code;
}

static int verb_run(struct invocation *invocation) {
    size_t n = invocation->n_words > 0 ? (size_t) invocation->n_words : 1;
    _cleanup_err_ struct err err = {0};
    struct service_config **configs;
    int code;

    if (invocation->n_words == 0 && !invocation->command)
        return fail_usage("run wants a service, or a command behind --", NULL);
    if (invocation->n_words > 0 && (invocation->command || invocation->n_options > 0))
        return fail_usage("either a service's name or a command behind --, not both", NULL);
    if (receive_handover(invocation, &err) < 0)
        return exit_code_of(&err);
    configs = calloc(n, sizeof(struct service_config *));
    if (!configs)
        return EXIT_FAILURE;
    code = load_services(invocation, configs);
    if (code < 0)
        code = run_services(invocation, configs, n);
    for (size_t i = 0; i < n; i++)
        service_config_free(configs[i]);
    free(configs);
    return code;
}

/* Descriptors that systemd gives us are the daemon's, who stored them: it talks to systemd itself. */
static int pass_listen_fds(struct service_launch *launch) {
    _cleanup_strlist_ char **names = NULL;
    _cleanup_text_ struct text text = {0};
    _cleanup_free_ char *joined = NULL;
    _cleanup_free_ int *fds = NULL;
    int n = sd_listen_fds_with_names(false, &names);

    if (n <= 0)
        return n == -ENOMEM ? n : 0;
    fds = calloc((size_t) n, sizeof *fds);
    if (!fds)
        return -ENOMEM;
    for (int i = 0; i < n; i++) {
        fds[i] = SD_LISTEN_FDS_START + i;
        text_add(&text, i > 0 ? ":" : "");
        text_add(&text, names[i]);
    }
    if (text_take(&text, &joined) < 0)
        return -ENOMEM;
    return service_launch_pass(launch, fds, (size_t) n, joined);
}

/* For a daemon that was killed a moment ago and is still on its way out. */
#define EXEC_PATIENCE_USEC (2 * USEC_PER_SEC)

/* Recovers under the supervisor's lock, then becomes the daemon; the lock goes with the exec. */
static int exec_service(struct invocation *invocation, const struct service_config *config) {
    _cleanup_close_ int dir_fd = -EBADF, lock_fd = -EBADF, proc_fd = procfs_open(), self = -EBADF,
                        said = -EBADF;
    _cleanup_event_log_ struct event_log *log = NULL;
    _cleanup_err_ struct err err = {0};
    struct event_fields fields = {.n = 0};
    struct service_launch *launch = NULL;
    _cleanup_record_ struct service_record record = {0};
    struct recovery recovery;
    struct recovery_host host;
    /* The daemon tells systemd itself, under the number that systemd knows. */
    const char *notify_socket = config->type == SERVICE_TYPE_NOTIFY ? getenv("NOTIFY_SOCKET") : NULL;
    int r;

    if (open_log(invocation, &log, &err) < 0 || (dir_fd = open_runtime_dir(invocation, &err)) < 0 ||
        (lock_fd = runtime_dir_lock_service(dir_fd, invocation->runtime_dir, config->name, &err)) < 0)
        return exit_code_of(&err);
    if (recovery_host_init_offline(&host, config, dir_fd, proc_fd, log, &record, &err) < 0)
        return exit_code_of(&err);
    host.patience_usec = EXEC_PATIENCE_USEC;
    r = recovery_init(&recovery);
    if (r >= 0)
        r = recovery_run(&recovery, &host, &err);
    recovery_done(&recovery);
    if (r == -EBUSY) {
        (void) options_fail("latchd", &err);
        return EXIT_HELD;
    }
    if (r < 0)
        return exit_code_of(&err);
    record.generation++;
    record.ready = true; /* whom it told, if anybody, is not us */
    service_record_set_status(&record, NULL);
    if (service_new_invocation_id(record.invocation_id) < 0 ||
        service_launch_prepare(config, proc_fd, record.invocation_id, true, notify_socket, record.open_files,
                               NULL, &launch, &err) < 0)
        return exit_code_of(&err);
    service_record_set_limits(&record, service_launch_plan(launch)->rlimits);
    if (notify_socket && pass_listen_fds(launch) < 0) {
        (void) err_set(&err, ENOMEM, "Failed", "out of memory");
        return exit_code_of(&err);
    }
    self = process_pin(proc_fd, getpid(), &record.main);
    record.since_usec = now_usec(CLOCK_REALTIME);
    if (self < 0 || state_file_write(dir_fd, config->name, &record, &err) < 0)
        return exit_code_of(&err);
    host.scope.generation = record.generation;
    host.scope.invocation_id = record.invocation_id;
    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) getpid());
    event_field_set(&fields, "LATCHD_COMMAND", config->exec_start[0]);
    event_emit(log, EVENT_SERVICE_STARTING, &host.scope, fields.fields, fields.n, "Becoming %s as PID %d",
               config->exec_start[0], (int) getpid());
    said = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    (void) exec_become(service_launch_plan(launch), &err);
    if (said >= 0) /* not where the daemon's would have gone: whoever typed it reads this one */
        (void) dup2(said, STDERR_FILENO);
    service_launch_free(launch);
    return exit_code_of(&err);
}

static int verb_exec(struct invocation *invocation) {
    _cleanup_config_ struct service_config *config = NULL;
    int code;

    if (invocation->n_words > 1 || (invocation->n_words == 0 && !invocation->command))
        return fail_usage("exec wants one service, or a command behind --", NULL);
    if (invocation->n_words == 1 && invocation->n_options > 0)
        return fail_usage(
            "options that describe a service go with a command behind --, not with a service's name", NULL);
    code = load(invocation, invocation->n_words ? invocation->words[0] : NULL, &config);
    if (code)
        return code;
    if (invocation->n_words == 1 && invocation->command &&
        service_config_append_arguments(config, invocation->command) < 0)
        return EXIT_FAILURE;
    return exec_service(invocation, config);
}

static int verb_check(struct invocation *invocation) {
    struct service_config **configs;
    int n = 0, code = EXIT_SUCCESS;

    if (invocation->n_words == 0)
        return fail_usage("check wants a service", NULL);
    configs = calloc((size_t) invocation->n_words, sizeof(struct service_config *));
    if (!configs)
        return EXIT_FAILURE;
    for (int i = 0; i < invocation->n_words; i++) {
        int one = load(invocation, invocation->words[i], &configs[n]);

        if (one)
            code = one;
        else if (name_is_taken(configs, n, configs[n]->name))
            configs[n] = service_config_free(configs[n]);
        else
            printf("%s: configuration is good\n", configs[n++]->name);
    }
    if (fflush(stdout) != 0)
        code = EXIT_FAILURE;
    if (code == EXIT_SUCCESS) {
        code = check_order(configs, (size_t) n, true);
        code = code < 0 ? EXIT_SUCCESS : code;
    }
    for (int i = 0; i < n; i++)
        service_config_free(configs[i]);
    free(configs);
    return code;
}

/* Asked by a latchd that is to be replaced by this program, in a trial (manager-reexec.c): whether we can read what
 * it will hand over. */
static int verb_handover_check(struct invocation *invocation) {
    if (invocation->n_words > 0 || invocation->command)
        return fail_usage("handover-check takes no arguments", NULL);
    printf("latchd-handover %d\n", HANDOVER_SCHEMA);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whoever started us may have closed these; what we open must not become somebody's standard output. */
static void open_standard_descriptors(void) {
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= 2);
    fd_close(fd);
    for (fd = 0; fd <= 2; fd++)
        (void) fd_set_cloexec(fd, false);
}

int main(int argc, char *argv[]) {
    static const struct {
        const char *name;
        int (*run)(struct invocation *invocation);
    } verbs[] = {{"run", verb_run}, {"exec", verb_exec}, {"check", verb_check}, {"handover-check", verb_handover_check}};
    struct invocation invocation = {
        .log_level = LOG_INFO, .log_target = LOG_TARGET_AUTO, .runtime_dir_fd = -EBADF};
    int code;

    open_standard_descriptors();
    invocation.program = find_program();
    invocation.program_argv = calloc((size_t) argc + 1, sizeof(char *));
    if (!invocation.program_argv)
        return EXIT_FAILURE;
    memcpy(invocation.program_argv, argv, (size_t) argc * sizeof(char *));
    code = parse_arguments(argc, argv, &invocation);
    if (code < 0 && invocation.n_words == 0)
        code = fail_usage("it wants one of run, exec and check", NULL);
    for (size_t i = 0; code < 0 && i < ELEMENTSOF(verbs); i++)
        if (strcmp(invocation.words[0], verbs[i].name) == 0) {
            invocation.words++;
            invocation.n_words--;
            code = verbs[i].run(&invocation);
        }
    if (code < 0)
        code = fail_usage("unknown command", invocation.words[0]);
    free(invocation.runtime_dir);
    free(invocation.options);
    free(invocation.program);
    free(invocation.program_argv);
    handover_free(invocation.handover);
    fd_close(invocation.runtime_dir_fd);
    return code;
}
