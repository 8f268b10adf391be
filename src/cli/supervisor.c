/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/supervisor.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "base/value.h"
#include "recovery/inspect.h"
#include "runtime/main-note.h"

#define QUICK_USEC (5 * USEC_PER_SEC)

static bool has_socket(const char *dir, const char *service) {
    _cleanup_free_ char *path = NULL;

    return dir && asprintf(&path, "%s/%s.sock", dir, service) >= 0 && access(path, F_OK) == 0;
}

/* Everybody may ask root's supervisors: an ordinary user's own come first, then those. NULL: there is no
 * runtime directory at all. */
static const char *runtime_dir_of(const struct cli *cli, const char *service) {
    if (cli->system_dir && !has_socket(cli->runtime_dir, service) &&
        (!cli->runtime_dir || has_socket(cli->system_dir, service)))
        return cli->system_dir;
    return cli->runtime_dir;
}

/* What is wrong with a configuration that a supervisor has read, as `latchd check` tells it. */
static void print_problems(const json_t *error) {
    const json_t *problems = json_object_get(error, "problems");

    for (size_t i = 0; i < json_array_size(problems); i++) {
        const char *line = json_string_value(json_array_get(problems, i));
        _cleanup_free_ char *copy = line ? strdup(line) : NULL;

        if (copy) {
            value_make_printable(copy);
            fprintf(stderr, "%s\n", copy);
        }
    }
}

int supervisor_call(const struct cli *cli, const char *service, const char *method, json_t *parameters,
                    uint64_t timeout_usec, json_t **ret, struct err *err) {
    _cleanup_varlink_client_ struct varlink_client *client = NULL;
    _cleanup_free_ char *path = NULL, *full = NULL;
    uint64_t connect_usec = timeout_usec < QUICK_USEC ? timeout_usec : QUICK_USEC;
    const char *dir = runtime_dir_of(cli, service);
    json_t *error = NULL;
    int r;

    if (strchr(service, '/')) {
        json_decref(parameters);
        return err_set(err, EINVAL, "BadName", "%s is a path, and a service's name is wanted", service);
    }
    if (!dir) {
        json_decref(parameters);
        return err_set(err, ENOENT, "NotRunning",
                       "no runtime directory: XDG_RUNTIME_DIR is not set; choose one by --runtime-dir");
    }
    if (asprintf(&path, "%s/%s.sock", dir, service) < 0 ||
        asprintf(&full, "io.latchd.Supervisor.%s", method) < 0) {
        json_decref(parameters);
        return err_set(err, ENOMEM, "Failed", "out of memory");
    }
    r = varlink_client_connect(AT_FDCWD, path, connect_usec, &client, err);
    if (r < 0) {
        json_decref(parameters);
        if (err->name && strcmp(err->name, "NotRunning") == 0)
            return err_set(err, -r, "NotRunning", "no supervisor runs for service %s (nobody listens on %s)",
                           service, path);
        return r;
    }
    r = varlink_client_call(client, full, parameters, timeout_usec, ret, &error, err);
    print_problems(error);
    json_decref(error);
    return r;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void sort_unique(char **names) {
    size_t n = strlist_length(names), kept = 0;

    if (n == 0)
        return;
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(names[kept - 1], names[i]) == 0)
            free(names[i]);
        else
            names[kept++] = names[i];
    }
    names[kept] = NULL;
}

static int add_sockets(const char *runtime_dir, char ***names) {
    _cleanup_closedir_ DIR *dir = runtime_dir ? opendir(runtime_dir) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        size_t length = strlen(entry->d_name);

        if (entry->d_name[0] == '.' || length < 6 || strcmp(entry->d_name + length - 5, ".sock") != 0)
            continue;
        if (strlist_append(names, NULL, strndup(entry->d_name, length - 5)) < 0)
            return -ENOMEM;
    }
    return 0;
}

int supervisor_list(const struct cli *cli, char ***ret, struct err *err) {
    struct config_paths paths = options_config_paths(cli->config_dir);
    _cleanup_strlist_ char **names = NULL, **configured = NULL;
    int r;

    r = service_config_list(&paths, &configured);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot list the configured services: %m");
    if (strlist_extend(&names, configured) < 0 || add_sockets(cli->runtime_dir, &names) < 0 ||
        add_sockets(cli->system_dir, &names) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    sort_unique(names);
    *ret = TAKE_PTR(names);
    return 0;
}

void supervisor_tell_none(const struct cli *cli) {
    struct config_paths paths = options_config_paths(cli->config_dir);

    fprintf(stderr, "latchctl: there are no services: no NAME.conf in %s%s%s, and no supervisor in %s\n",
            paths.admin_dir, paths.vendor_dir ? " or " : "", paths.vendor_dir ? paths.vendor_dir : "",
            cli->runtime_dir ? cli->runtime_dir : "a runtime directory");
}

int supervisor_choose(const struct cli *cli, char *const named[], char ***ret, struct err *err) {
    _cleanup_strlist_ char **names = NULL;
    int r;

    if (!*named) {
        r = supervisor_list(cli, ret, err);
        if (r >= 0 && !*ret)
            supervisor_tell_none(cli);
        return r;
    }
    if (strlist_extend(&names, named) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    *ret = TAKE_PTR(names);
    return 0;
}

int supervisor_load_config(const struct cli *cli, const char *service, struct service_config **ret,
                           struct err *err) {
    struct config_paths paths = options_config_paths(cli->config_dir);
    struct config_problems problems = {0};
    int r = service_config_load(service, &paths, &problems, ret, err);

    if (!cli->quiet_problems)
        options_print_problems(&problems);
    if (r == -ENOENT)
        err->name = "NoService";
    else if (r < 0 && problems.n > 0)
        r = err_set(err, EINVAL, "BadConfiguration", "the configuration of service %s has mistakes", service);
    config_problems_done(&problems);
    return r;
}

char *supervisor_advise(const struct cli *cli, const char *command, const char *service) {
    const char *runtime_dir = cli->runtime_dir_told ? cli->runtime_dir : NULL;
    char *text;

    if (asprintf(&text, "%s%s%s%s%s %s", command, cli->config_dir ? " --config-dir " : "",
                 cli->config_dir ? cli->config_dir : "", runtime_dir ? " --runtime-dir " : "",
                 runtime_dir ? runtime_dir : "", service) < 0)
        return NULL;
    return text;
}

/* A daemon may outlive its supervisor. Returns its PID; 0: none does. */
static pid_t find_unsupervised(const struct cli *cli, const char *service, const char *daemon_exe) {
    _cleanup_close_ int dir_fd = -EBADF, proc_fd = procfs_open(), main_fd = -EBADF;
    _cleanup_record_ struct service_record record = {0};
    const char *dir = runtime_dir_of(cli, service);
    bool noted = false;

    dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    if (dir_fd < 0)
        return 0;
    (void) state_file_read(dir_fd, service, &record, NULL);
    main_fd = main_note_find(proc_fd, dir_fd, service, daemon_exe, &record, &noted);
    return main_fd >= 0 ? record.main.pid : 0;
}

/* How its daemon is brought under a latchd again. error: of its configuration; no name: it is good. */
static char *describe_unsupervised(const struct cli *cli, const char *service, pid_t pid,
                                   const struct err *error) {
    _cleanup_free_ char *command = supervisor_advise(cli, "latchd run", service);
    bool missing = error->name && strcmp(error->name, "NoService") == 0;
    char *text;
    int r;

    if (missing)
        r = asprintf(&text,
                     "no supervisor runs; the daemon was started by latchd and lives as PID %d; it has no "
                     "configuration file: if it was described on latchd's command line, the same latchd run "
                     "command again takes it over; if the file was removed, put it back first",
                     (int) pid);
    else
        r = asprintf(&text,
                     "no supervisor runs; the daemon was started by latchd and lives as PID %d; %s%s takes it "
                     "over",
                     (int) pid, error->name ? "its configuration has mistakes: when that is mended, " : "",
                     command ? command : "latchd run");
    return r < 0 ? NULL : text;
}

/* What is known without a supervisor. pid: of a daemon that lives all the same; 0: none. */
static json_t *unsupervised_status(const char *service, const char *description, pid_t pid, const char *text) {
    return json_pack("{s:s, s:s?, s:s, s:b, s:s?, s:n, s:n, s:o, s:[], s:[], s:{}}", "service", service,
                     "description", description, "state", "stopped", "ready", 0, "statusText", text,
                     "supervisorPid", "mainPid", "unsupervisedPid", pid > 0 ? json_integer(pid) : json_null(),
                     "sockets", "locks", "limits");
}

/* A mistake in the configuration, or that it is gone, hides no daemon that lives. */
static int status_in_spite_of(const struct cli *cli, const char *service, json_t **ret, struct err *err) {
    _cleanup_free_ char *left = NULL;
    pid_t pid;

    if (strchr(service, '/'))
        return -err->number;
    pid = find_unsupervised(cli, service, NULL);
    if (pid == 0)
        return -err->number;
    left = describe_unsupervised(cli, service, pid, err);
    *ret = unsupervised_status(service, NULL, pid, left);
    if (!*ret)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    err_done(err);
    return 0;
}

int supervisor_tell_unsupervised(const struct cli *cli, const char *service, struct err *err) {
    _cleanup_free_ char *left = NULL, *daemon_exe = NULL, *start = NULL;
    _cleanup_config_ struct service_config *config = NULL;
    struct config_paths paths = options_config_paths(cli->config_dir);
    struct config_problems problems = {0};
    _cleanup_err_ struct err why = {0};
    int r = service_config_load(service, &paths, &problems, &config, &why);
    pid_t pid;

    config_problems_done(&problems);
    if (r == -ENOENT)
        why.name = "NoService";
    daemon_exe = config ? service_find_daemon_exe(config) : NULL;
    pid = strchr(service, '/') ? 0 : find_unsupervised(cli, service, daemon_exe);
    if (pid > 0) {
        left = describe_unsupervised(cli, service, pid, &why);
        return left ? err_set(err, ENOENT, "NotRunning", "%s", left) : 0;
    }
    if (has_socket(runtime_dir_of(cli, service),
                   service)) /* it may be a supervisor that said so of its service */
        return 0;
    if (!err->message) /* nothing was tried that could be told of */
        return 0;
    if (r == -ENOENT)
        return err_set(err, ENOENT, "NotRunning",
                       "%s, and no configuration %s.conf is there: see latchctl list", err_text(err),
                       service);
    if (r < 0)
        return err_set(err, ENOENT, "NotRunning",
                       "%s, and its configuration has mistakes: see latchd check %s", err_text(err), service);
    start = supervisor_advise(cli, "latchctl start", service);
    return err_set(err, ENOENT, "NotRunning", "%s; to bring it up: %s", err_text(err),
                   start ? start : "latchctl start");
}

int supervisor_status_alone(const struct cli *cli, const char *service, json_t **ret, struct err *err) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_free_ char *left = NULL, *daemon_exe = NULL;
    pid_t pid;

    if (supervisor_load_config(cli, service, &config, err) < 0)
        return status_in_spite_of(cli, service, ret, err);
    daemon_exe = service_find_daemon_exe(config);
    pid = find_unsupervised(cli, config->name, daemon_exe);
    err_done(err); /* that no supervisor runs is no failure here */
    left = pid > 0 ? describe_unsupervised(cli, config->name, pid, err) : NULL;
    *ret = unsupervised_status(config->name, config->description, pid, left);
    return *ret ? 0 : err_set(err, ENOMEM, "Failed", "out of memory");
}

int supervisor_status(const struct cli *cli, const char *service, bool locks, json_t **ret, struct err *err) {
    json_t *reply, *first;
    int r;

    r = supervisor_call(cli, service, "GetStatus", json_pack("{s:b}", "locks", locks), QUICK_USEC, &reply,
                        err);
    if (r >= 0) {
        first = json_array_get(json_object_get(reply, "services"), 0);
        *ret = json_incref(first);
        json_decref(reply);
        return first ? 0
                     : err_set(err, EPROTO, "Failed", "the supervisor of %s answered without a service",
                               service);
    }
    if (!err->name || (strcmp(err->name, "NotRunning") != 0 && strcmp(err->name, "BadName") != 0))
        return r;
    return supervisor_status_alone(cli, service, ret, err);
}

/* What nobody supervises is looked at from here. */
static int probe_ourselves(const struct cli *cli, const char *service, enum inspect_purpose purpose,
                           json_t **ret, struct err *err) {
    _cleanup_config_ struct service_config *config = NULL;
    _cleanup_inspection_ struct inspection inspection = {0};
    _cleanup_close_ int dir_fd = -EBADF, proc_fd = procfs_open(), main_fd = -EBADF;
    struct known_main known = {.life = PROCESS_UNKNOWN};
    _cleanup_record_ struct service_record record = {0};
    int r;

    r = supervisor_load_config(cli, service, &config, err);
    if (r < 0)
        return r;
    const char *dir = runtime_dir_of(cli, config->name);
    dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    if (dir_fd >= 0 && state_file_read(dir_fd, config->name, &record, NULL) >= 0) {
        _cleanup_free_ char *daemon_exe = service_find_daemon_exe(config);

        main_fd = state_file_find_main(proc_fd, config->name, &record, daemon_exe);
        if (main_fd != -EBADMSG && record.main.pid > 0)
            known = (struct known_main){.id = record.main, .life = process_look(proc_fd, &record.main)};
    }
    r = service_inspect(config, &known, purpose, &inspection, err);
    if (r < 0)
        return r;
    *ret = inspection_to_json(&inspection, config->name);
    return *ret ? 0 : err_set(err, ENOMEM, "Failed", "out of memory");
}

int supervisor_probe(const struct cli *cli, const char *service, json_t **ret, struct err *err) {
    json_t *reply;
    int r = supervisor_call(cli, service, "Probe", NULL, QUICK_USEC * 2, &reply, err);

    if (r < 0) {
        if (!err->name || (strcmp(err->name, "NotRunning") != 0 && strcmp(err->name, "BadName") != 0))
            return r;
        return probe_ourselves(cli, service, INSPECT_EXPLAIN, ret, err);
    }
    *ret = json_incref(json_object_get(reply, "locks"));
    json_decref(reply);
    return *ret ? 0 : err_set(err, EPROTO, "Failed", "the supervisor of %s answered without locks", service);
}

int supervisor_look(const struct cli *cli, const char *service, json_t *status, json_t **ret,
                    struct err *err) {
    if (!json_is_integer(json_object_get(status, "supervisorPid")))
        return probe_ourselves(cli, service, INSPECT_STATUS, ret, err);
    *ret = json_incref(json_object_get(status, "locks"));
    return 0;
}
