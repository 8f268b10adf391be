/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd run | exec | check: the supervisor's command line. */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/latchd.h"

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
    "      --lock PATH[:STYLE]   a lock file: flock (default), posix, ofd, pidfile, symlink or none\n"
    "      --socket PATH         a control socket, guarded by PATH.lock\n"
    "      --limit NAME=SOFT[:HARD]  a resource limit, such as NOFILE=4096\n"
    "      --user USER, --group GROUP, --kind KIND, --config-file FILE, --environment NAME=VALUE,\n"
    "      --type TYPE, --restart POLICY, --set KEY=VALUE   as in the [Service] section\n"
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
                return latchd_fail_usage(
                    "--log-level wants emerg, alert, crit, err, warning, notice, info or debug, not", optarg);
            break;
        case OPT_LOG_TARGET:
            invocation->log_target = log_target_from_string(optarg);
            if (invocation->log_target < 0)
                return latchd_fail_usage("--log-target wants auto, journal or stderr, not", optarg);
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

/* Asked by a latchd that is to be replaced by this program, in a trial (manager-reexec.c): whether we can read what
 * it will hand over. */
static int verb_handover_check(struct invocation *invocation) {
    if (invocation->n_words > 0 || invocation->command)
        return latchd_fail_usage("handover-check takes no arguments", NULL);
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

/* From this size on memory comes from the kernel by itself and goes back there: above all what opendir(3) takes,
 * which would stay behind as a hole in the heap for ever. */
#define LARGE_BYTES (24 * 1024)

int main(int argc, char *argv[]) {
    static const struct {
        const char *name;
        int (*run)(struct invocation *invocation);
    } verbs[] = {{"run", latchd_run}, {"exec", latchd_exec}, {"check", latchd_check}, {"handover-check", verb_handover_check}};
    struct invocation invocation = {
        .log_level = LOG_INFO, .log_target = LOG_TARGET_AUTO, .runtime_dir_fd = -EBADF};
    int code;

    open_standard_descriptors();
    (void) mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    if (getenv(HANDOVER_VARIABLE)) /* executed by a descriptor, whose number older kernels take for our name */
        (void) prctl(PR_SET_NAME, program_invocation_short_name);
    invocation.program = find_program();
    invocation.program_argv = calloc((size_t) argc + 1, sizeof(char *));
    if (!invocation.program_argv)
        return EXIT_FAILURE;
    memcpy(invocation.program_argv, argv, (size_t) argc * sizeof(char *));
    code = parse_arguments(argc, argv, &invocation);
    if (code < 0 && invocation.n_words == 0)
        code = latchd_fail_usage("it wants one of run, exec and check", NULL);
    for (size_t i = 0; code < 0 && i < ELEMENTSOF(verbs); i++)
        if (strcmp(invocation.words[0], verbs[i].name) == 0) {
            invocation.words++;
            invocation.n_words--;
            code = verbs[i].run(&invocation);
        }
    if (code < 0)
        code = latchd_fail_usage("unknown command", invocation.words[0]);
    free(invocation.runtime_dir);
    free(invocation.options);
    free(invocation.program);
    free(invocation.program_argv);
    handover_free(invocation.handover);
    fd_close(invocation.runtime_dir_fd);
    return code;
}
