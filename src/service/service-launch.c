/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the way being free to exec: environment, limits, rights, output, the child. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/executable.h"
#include "base/strlist.h"
#include "base/value.h"
#include "journal/stream.h"
#include "runtime/runtime-dir.h"
#include "service/service-internal.h"
#include "service/service-limits.h"

#define LISTEN_PID "LISTEN_PID="
#define FEW_SERVICES 16 /* may start at once without much of the heap being lost in gaps */

/* Descriptors for the daemon, and how it learns of them. */
struct passed {
    int *fds;
    char **envp; /* the launch's, and these behind it */
    char pid[sizeof LISTEN_PID + EXEC_PID_SIZE], count[32], *names;
};

struct service_launch {
    struct exec_plan plan;
    struct spawn spawn;
    struct rlimits_planned limits;
    struct credentials credentials;
    char *executable, *working_directory;
    char **argv, **envp;
    struct passed *passed; /* NULL: nothing */
    int stdout_fd, stderr_fd;
    bool has_watchdog;   /* envp has its variables */
    size_t mapped_bytes; /* all of it is one mapping; 0: pieces on the heap */
};

static void free_pieces(struct service_launch *launch) {
    free(launch->executable);
    free(launch->working_directory);
    strlist_free(launch->argv);
    strlist_free(launch->envp);
}

static void free_passed(struct passed *passed) {
    if (!passed)
        return;
    free(passed->fds);
    free(passed->envp);
    free(passed->names);
    free(passed);
}

void service_launch_free(struct service_launch *launch) {
    if (!launch)
        return;
    fd_close(launch->stdout_fd);
    fd_close(launch->stderr_fd);
    if (!spawn_done(&launch->spawn))
        return;
    free_passed(launch->passed);
    credentials_done(&launch->credentials);
    if (launch->mapped_bytes > 0)
        (void) munmap(launch, launch->mapped_bytes);
    else {
        free_pieces(launch);
        free(launch);
    }
}

static size_t strings_bytes(char *const list[], size_t *n) {
    size_t bytes = 0;

    for (*n = 0; list && list[*n]; ++*n)
        bytes += strlen(list[*n]) + 1;
    return bytes;
}

static char *put_string(char **place, const char *string) {
    char *put = *place;

    if (!string)
        return NULL;
    *place = stpcpy(put, string) + 1;
    return put;
}

static char **put_strings(char ***slots, char **place, char *const list[], size_t n) {
    char **put = *slots;

    for (size_t i = 0; i < n; i++)
        put[i] = put_string(place, list[i]);
    put[n] = NULL;
    *slots += n + 1;
    return put;
}

/* Where the child writes its number; NULL: there is no watchdog. */
static char *find_watchdog_pid(char *const envp[]) {
    static const char name[] = "WATCHDOG_PID=";

    for (; *envp; envp++)
        if (strncmp(*envp, name, sizeof name - 1) == 0)
            return *envp + sizeof name - 1;
    return NULL;
}

/* The plan is made of the launch's own strings. */
static void refer_to_pieces(struct service_launch *launch) {
    struct exec_plan *plan = &launch->plan;

    plan->executable = launch->executable;
    plan->argv = launch->argv;
    plan->envp = launch->envp;
    plan->working_directory = launch->working_directory;
    plan->watchdog_pid = launch->has_watchdog ? find_watchdog_pid(launch->envp) : NULL;
    plan->rlimits = &launch->limits;
    plan->credentials = &launch->credentials;
}

int service_launch_pack(struct service_launch **inout) {
    struct service_launch *launch = *inout;
    size_t n_argv, n_envp, bytes = sizeof *launch;
    struct service_launch *mapped;
    char **slots, *place;

    bytes += strings_bytes(launch->argv, &n_argv) + strings_bytes(launch->envp, &n_envp);
    bytes += (n_argv + n_envp + 2) * sizeof(char *) + strlen(launch->executable) + 1;
    bytes += launch->working_directory ? strlen(launch->working_directory) + 1 : 0;
    mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return -ENOMEM;
    *mapped = *launch;
    slots = (char **) (void *) (mapped + 1);
    place = (char *) (slots + n_argv + n_envp + 2);
    mapped->argv = put_strings(&slots, &place, launch->argv, n_argv);
    mapped->envp = put_strings(&slots, &place, launch->envp, n_envp);
    mapped->executable = put_string(&place, launch->executable);
    mapped->working_directory = put_string(&place, launch->working_directory);
    mapped->mapped_bytes = bytes;
    refer_to_pieces(mapped);
    free_pieces(launch);
    free(launch);
    *inout = mapped;
    return 0;
}

const struct exec_plan *service_launch_plan(const struct service_launch *launch) {
    return &launch->plan;
}

int service_new_invocation_id(char ret[static 33]) {
    unsigned char bytes[16];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t) sizeof bytes)
        return -EIO;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* Opens a file for the daemon's output with our rights, in a place that may be the daemon's to write to: what
 * its user puts there (a FIFO, a link to somebody else's file) is refused, not opened, waited for or emptied.
 */
static int open_file(const struct service_config *config, const struct output_config *output, int *ret_fd,
                     struct err *err) {
    struct open_how how = {
        .flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_APPEND,
        .mode = 0644,
        .resolve = config->user ? RESOLVE_NO_SYMLINKS : 0,
    };
    _cleanup_close_ int fd = (int) syscall(SYS_openat2, AT_FDCWD, output->path, &how, sizeof how);
    struct stat st;

    if (fd < 0 && errno == ELOOP)
        return err_set(
            err, ELOOP, "Failed",
            "cannot open %s for the daemon's output: a symbolic link stands in that path, which its user "
            "could turn to another file; give the path without links",
            output->path);
    if (fd < 0)
        return err_set(err, errno, "Failed", "cannot open %s for the daemon's output: %m", output->path);
    if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) ||
        (S_ISREG(st.st_mode) && config->user && st.st_nlink > 1))
        return err_set(
            err, EINVAL, "Failed",
            "cannot use %s for the daemon's output: it is neither a regular file with one name nor a device",
            output->path);
    if (output->kind == OUTPUT_FILE && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)
        return err_set(err, errno, "Failed", "cannot empty %s for the daemon's output: %m", output->path);
    (void) fd_set_nonblock(fd, false);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Opens where output goes. -EBADF in *ret_fd: where ours goes. */
static int open_output(const struct service_config *config, const struct output_config *output, int priority,
                       bool become, int *ret_fd, struct err *err) {
    const char *identifier = config->syslog_identifier ? config->syslog_identifier : config->name;
    int fd = -EBADF;

    switch (output->kind) {
    case OUTPUT_JOURNAL:
        if (become)
            break; /* whoever started us has seen to it */
        fd = stream_open(identifier, priority);
        if (fd < 0)
            fd = -EBADF; /* no journal here, or it takes nothing now: the output passes through */
        break;
    case OUTPUT_NULL:
        fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        break;
    case OUTPUT_FILE:
    case OUTPUT_APPEND:
        return open_file(config, output, ret_fd, err);
    default:
        break;
    }
    if (fd == -1)
        return err_set(err, errno, "Failed", "cannot open %s for the daemon's output: %m",
                       output->path ? output->path : "/dev/null");
    *ret_fd = fd;
    return 0;
}

/* The same journal stream as for the output, where both go there: one connection does for both. */
static int open_errors(const struct service_config *config, bool become, struct service_launch *launch,
                       struct err *err) {
    if (config->standard_error.kind != OUTPUT_JOURNAL || config->standard_output.kind != OUTPUT_JOURNAL)
        return open_output(config, &config->standard_error, LOG_INFO, become, &launch->stderr_fd, err);
    if (launch->stdout_fd < 0)
        return 0; /* no journal takes it */
    launch->stderr_fd = fcntl(launch->stdout_fd, F_DUPFD_CLOEXEC, 3);
    if (launch->stderr_fd < 0)
        return err_set(err, errno, "Failed", "cannot hand out the journal's stream twice: %m");
    return 0;
}

static int set_variable(char ***envp, const char *name, const char *value) {
    char *text;

    if (!value)
        return 0;
    if (asprintf(&text, "%s=%s", name, value) < 0)
        return -ENOMEM;
    for (size_t i = 0; *envp && (*envp)[i]; i++)
        if (strncmp((*envp)[i], text, strlen(name) + 1) == 0) {
            free((*envp)[i]);
            (*envp)[i] = text;
            return 0;
        }
    return strlist_append(envp, NULL, text);
}

static int prepare_environment(const struct service_config *config, int runtime_dir_fd,
                               const char *invocation_id, const char *notify_socket,
                               struct service_launch *launch, struct err *err) {
    int r = service_config_build_environment(config, environ, &launch->envp, err);
    _cleanup_free_ char *runtime_dir = runtime_dir_path(runtime_dir_fd);

    if (r < 0)
        return r;
    if (set_variable(&launch->envp, "LATCHD_SERVICE", config->name) < 0 ||
        set_variable(&launch->envp, "LATCHD_RUNTIME_DIR", runtime_dir) < 0 ||
        set_variable(&launch->envp, "INVOCATION_ID", invocation_id) < 0 ||
        set_variable(&launch->envp, "NOTIFY_SOCKET", notify_socket) < 0 ||
        set_variable(&launch->envp, "HOME", launch->credentials.home) < 0 ||
        set_variable(&launch->envp, "SHELL", launch->credentials.shell) < 0 ||
        set_variable(&launch->envp, "USER", launch->credentials.user) < 0 ||
        set_variable(&launch->envp, "LOGNAME", launch->credentials.user) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    return 0;
}

/* WATCHDOG_USEC= and WATCHDOG_PID= (sd_watchdog_enabled(3)); the pid is filled in by the child. */
static int prepare_watchdog(const struct service_config *config, struct service_launch *launch,
                            struct err *err) {
    char number[32], room[EXEC_PID_SIZE];

    if (config->watchdog_usec == 0)
        return 0;
    snprintf(number, sizeof number, "%llu", (unsigned long long) config->watchdog_usec);
    memset(room, '0', sizeof room - 1);
    room[sizeof room - 1] = '\0';
    if (set_variable(&launch->envp, "WATCHDOG_USEC", number) < 0 ||
        set_variable(&launch->envp, "WATCHDOG_PID", room) < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    return 0;
}

static int prepare_limits(const struct service_config *config, int proc_fd, uint64_t open_files,
                          const struct rlimit *own_files, struct service_launch *launch, struct err *err) {
    struct rlimits_need need = {.client_limit = config->client_limit, .open_files = open_files};
    struct rlimits_system system;
    bool any = false;
    int r;

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        any |= config->limits[i].set;
    if (!any) /* the system is not asked about limits that nobody sets: twenty system calls */
        return 0;
    r = rlimits_read_system(proc_fd, &system);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot read latchd's own resource limits: %m");
    if (own_files) /* what we raised for ourselves is no daemon's limit */
        system.current[RLIMIT_NOFILE] = *own_files;
    return rlimits_plan(config->limits, &need, &system, &launch->limits, err);
}

int service_launch_prepare(const struct service_config *config, int proc_fd, int runtime_dir_fd,
                           const char *invocation_id, bool become, const char *notify_socket,
                           uint64_t open_files, const struct rlimit *own_files, struct service_launch **ret,
                           struct err *err) {
    struct service_launch *launch = calloc(1, sizeof *launch);
    _cleanup_free_ char *search_path = service_config_getenv(config, "PATH");
    int r;

    if (!launch)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    launch->spawn = SPAWN_INIT;
    launch->stdout_fd = launch->stderr_fd = -EBADF;
    r = executable_find(config->exec_start[0], search_path, &launch->executable, err);
    if (r >= 0)
        r = credentials_resolve(config, &launch->credentials, err);
    if (r >= 0)
        r = prepare_limits(config, proc_fd, open_files, own_files, launch, err);
    if (r >= 0)
        r = prepare_environment(config, runtime_dir_fd, invocation_id, notify_socket, launch, err);
    if (r >= 0 && !become) /* `latchd exec` leaves nobody behind who would wait for it */
        r = prepare_watchdog(config, launch, err);
    if (r >= 0 && service_config_expand_argv(config->exec_start, launch->envp, &launch->argv) < 0)
        r = err_set(err, ENOMEM, "Failed", "out of memory");
    if (r >= 0)
        r = open_output(config, &config->standard_output, LOG_INFO, become, &launch->stdout_fd, err);
    if (r >= 0)
        r = open_errors(config, become, launch, err);
    /* The configuration may change while the child is on its way. */
    if (r >= 0 && config->working_directory &&
        !(launch->working_directory = strdup(config->working_directory)))
        r = err_set(err, ENOMEM, "Failed", "out of memory");
    if (r < 0) {
        service_launch_free(launch);
        return r;
    }
    launch->plan = EXEC_PLAN_INIT;
    /* A reload's command comes as that of a copy of the configuration. */
    launch->plan.key = config->exec_start == config->exec_reload ? "ExecReload=" : "ExecStart=";
    launch->plan.set_umask = true;
    launch->plan.umask = config->umask;
    launch->plan.set_nice = config->nice_set;
    launch->plan.nice = config->nice;
    launch->plan.set_oom_score_adjust = config->oom_score_adjust_set;
    launch->plan.oom_score_adjust = config->oom_score_adjust;
    launch->plan.no_new_privileges = config->no_new_privileges;
    launch->plan.new_session = !become;
    launch->plan.own_files = own_files;
    launch->plan.stdin_null = true;
    launch->plan.stdout_fd = launch->stdout_fd;
    launch->plan.stderr_fd = launch->stderr_fd;
    launch->has_watchdog = config->watchdog_usec > 0 && !become;
    refer_to_pieces(launch);
    *ret = launch;
    return 0;
}

int service_launch_pass(struct service_launch *launch, const int fds[], size_t n, const char *names) {
    struct passed *passed = calloc(1, sizeof *passed);
    size_t n_envp = 0;

    if (!passed)
        return -ENOMEM;
    launch->passed = passed;
    while (launch->envp[n_envp])
        n_envp++;
    passed->fds = calloc(n, sizeof *passed->fds);
    passed->envp = calloc(n_envp + 4, sizeof(char *));
    if (asprintf(&passed->names, "LISTEN_FDNAMES=%s", names) < 0)
        passed->names = NULL;
    if (!passed->fds || !passed->envp || !passed->names)
        return -ENOMEM;
    memcpy(passed->fds, fds, n * sizeof *fds);
    strcpy(passed->pid, LISTEN_PID);
    snprintf(passed->count, sizeof passed->count, "LISTEN_FDS=%zu", n);
    memcpy(passed->envp, launch->envp, n_envp * sizeof(char *));
    passed->envp[n_envp] = passed->pid;
    passed->envp[n_envp + 1] = passed->count;
    passed->envp[n_envp + 2] = passed->names;
    launch->plan.envp = passed->envp;
    launch->plan.pass_fds = passed->fds;
    launch->plan.n_pass_fds = n;
    launch->plan.listen_pid = passed->pid + strlen(LISTEN_PID);
    return 0;
}

static __attribute__((noinline)) void report_failure(struct service *service, const struct err *err) {
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};

    event_field_set(&fields, "LATCHD_COMMAND", service->config->exec_start[0]);
    event_field_add(&fields, "ERRNO", "%d", err->number);
    event_emit(service->manager->log, EVENT_EXEC_FAILED, &scope, fields.fields, fields.n, "%s",
               err_text(err));
    err_done(&service->failure);
    (void) err_set(&service->failure, err->number ? err->number : EIO, err->name, "%s", err_text(err));
}

void service_launch_abandon(struct service *service) {
    service->launch_source = sd_event_source_disable_unref(service->launch_source);
    service_launch_free(service->launch);
    service->launch = NULL;
}

int service_launch_finish(struct service *service) {
    _cleanup_err_ struct err err = {0};
    int r;

    service->launch_source = sd_event_source_disable_unref(service->launch_source);
    r = spawn_read_status(&service->launch->spawn, &service->launch->plan, &err);
    if (r < 0)
        report_failure(service, &err);
    service_launch_abandon(service);
    return r;
}

static int on_channel(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct service *service = userdata;
    _cleanup_err_ struct err err = {0};
    int r;

    (void) source;
    (void) fd;
    (void) events;
    /* Off while it is read: the channel is closed in there once the outcome is known. */
    (void) sd_event_source_set_enabled(service->launch_source, SD_EVENT_OFF);
    r = spawn_read_status(&service->launch->spawn, &service->launch->plan, &err);
    if (r == -EAGAIN)
        return sd_event_source_set_enabled(service->launch_source, SD_EVENT_ON);
    service->launch_source = sd_event_source_disable_unref(service->launch_source);
    if (r < 0 && !service->stop_wanted) { /* else it is our own doing */
        report_failure(service, &err);
        service->launch_failed = true; /* the child is about to end: what follows, follows then */
    }
    service_launch_free(service->launch);
    service->launch = NULL;
    if (r == 0)
        service_executed(service);
    return 0;
}

void service_launch_watch(struct service *service) {
    if (service->launch_source)
        (void) sd_event_source_set_enabled(service->launch_source, SD_EVENT_ON);
}

/* The child waits at its gate; it is written down before it may go on. */
static int release(struct service *service, struct err *err) {
    struct service_launch *launch = service->launch;
    bool at_once;
    int r;

    service->record.main = launch->spawn.id;
    service_record_set_session(&service->record, launch->spawn.id.pid); /* as soon as it is executed */
    service->main_reaped = false;
    service->record.since_usec = now_usec(CLOCK_REALTIME);
    /* It may execute nothing before it is on record. One that is started again at once is, by the note, which
     * is written in a moment: NAME.state, which still tells of the one before it, follows. */
    r = service_note_main(service);
    at_once = r >= 0 && event_log_holds(service->manager->log) && service->record.generation > 1;
    r = at_once ? 0 : service_write_record(service, err);
    if (r < 0)
        return r;
    r = service_watch_main(service, TAKE_FD(launch->spawn.pidfd), true);
    if (r >= 0)
        r = sd_event_add_io(service->manager->event, &service->launch_source, launch->spawn.channel_fd,
                            EPOLLIN, on_channel, service);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot watch the new process: %m");
    if (at_once)
        manager_keep_quiet(service->manager);
    if (service->manager->quiet)
        (void) sd_event_source_set_enabled(service->launch_source, SD_EVENT_OFF);
    r = spawn_release(&launch->spawn);
    if (r == -ECANCELED) { /* what went wrong before the gate it has told */
        service->launch_source = sd_event_source_disable_unref(service->launch_source);
        r = spawn_read_status(&launch->spawn, &launch->plan, err);
        if (r < 0 && r != -EAGAIN)
            return r;
        r = -ECANCELED;
    }
    if (r < 0)
        return err_set(err, -r, "Failed", "the new process ended before it was executed: %m");
    if (at_once)
        service_note_change(service);
    return 0;
}

static __attribute__((noinline)) void report_starting(struct service *service) {
    struct event_scope scope = service_scope(service);
    struct event_fields fields = {.n = 0};

    event_field_add(&fields, "LATCHD_MAIN_PID", "%d", (int) service->record.main.pid);
    event_field_set(&fields, "LATCHD_COMMAND", service->config->exec_start[0]);
    event_emit(service->manager->log, EVENT_SERVICE_STARTING, &scope, fields.fields, fields.n,
               "Starting %s as PID %d", service->config->exec_start[0], (int) service->record.main.pid);
}

void service_spawn(struct service *service) {
    _cleanup_close_ int cgroup_fd = -EBADF;
    _cleanup_err_ struct err err = {0};
    int r;

    service->record.generation++;
    service_notify_begin(service);
    service->launch_failed = false;
    service->main_since_usec = 0; /* it has not run until it is spawned */
    err_done(&service->failure);
    r = service_new_invocation_id(service->record.invocation_id);
    if (r < 0)
        r = err_set(&err, -r, "Failed", "cannot make an invocation id: %m");
    if (r >= 0)
        r = service_notify_open(service, &err);
    if (r >= 0)
        r = service_launch_prepare(service->config, service->manager->proc_fd,
                                   service->manager->runtime_dir_fd, service->record.invocation_id, false,
                                   service_notify_address(service), service_limits_open_files(service),
                                   manager_own_files(service->manager), &service->launch, &err);
    if (r >= 0 && service->manager->n_services > FEW_SERVICES && service_launch_pack(&service->launch) < 0)
        r = err_set(&err, ENOMEM, "Failed", "out of memory");
    if (r >= 0) {
        service->launch->plan.cgroup_fd = cgroup_fd = service_make_cgroup(service);
        service_notify_grant(service, service->launch->credentials.uid);
        service->launch->plan.boot_id = service->manager->boot_id;
        service->launch->plan.default_signals = service->manager->default_signals;
        if (service_store_pass(service, service->launch) < 0)
            r = err_set(&err, ENOMEM, "Failed", "out of memory");
    }
    if (r >= 0) {
        r = spawn_start(service->manager->proc_fd, &service->launch->plan, &service->launch->spawn, &err);
    }
    if (r >= 0) {
        service_leftovers_begun(service, true, service->launch->spawn.in_cgroup);
        service_record_set_limits(&service->record, &service->launch->limits);
        r = release(service, &err);
    }
    if (r < 0) {
        report_failure(service, &err);
        service_launch_abandon(service); /* closes the gate: a child that waits there ends */
        service->launch_failed = true;
        if (service->main_pidfd < 0)
            service_could_not_launch(service);
        return; /* else its end, which is near, leads on */
    }
    report_starting(service);
    (void) service_arm_timer(service, service->config->timeout_start_usec);
}
