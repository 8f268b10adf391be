/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The running supervisor is replaced by the installed program: that is tried in a child first, then
 * everything is written down and handed over, and the same process executes it. Whatever fails on the way,
 * this one goes on. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/reexec.h"
#include "exec/spawn.h"
#include "exec/terminate.h"
#include "service/manager-internal.h"
#include "service/reexec-trial.h"
#include "service/service.h"

#define TRIAL_USEC (10 * USEC_PER_SEC)
#define QUIET_USEC (10 * USEC_PER_SEC) /* for starts under way to have become daemons */
#define LOOK_AGAIN_USEC (20 * USEC_PER_MSEC)
#define OUTPUT_MAX 256

/* What a program says that can take over from this one; see latchd's verb handover-check. */
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define GOOD_ANSWER "latchd-handover " STRING(HANDOVER_SCHEMA) "\n"

struct manager_reexec {
    void (*on_refused)(const struct err *err, void *userdata);
    void *userdata;
    struct exec_plan plan;
    struct trial_program program;
    char **envp, mark[sizeof TRIAL_MARK + 33]; /* the mark as it stands in envp, whose other strings are not ours */
    char *argv[4];
    struct spawn spawn;
    int output_fd; /* what it says, standard error among it */
    char output[OUTPUT_MAX];
    size_t output_size;
    bool ended, good; /* the trial */
    siginfo_t end;
    bool timed_out;
    uint64_t quiet_until_usec; /* CLOCK_BOOTTIME */
    sd_event_source *channel, *timer;
};

static void end_reexec(struct manager *manager) {
    struct manager_reexec *reexec = manager->reexec;

    manager->reexec = NULL;
    sd_event_source_disable_unref(reexec->channel);
    sd_event_source_disable_unref(reexec->timer);
    fd_close(reexec->output_fd);
    trial_program_close(&reexec->program);
    if (spawn_done(&reexec->spawn)) { /* else a child may share our memory still */
        free(reexec->envp);
        free(reexec);
    }
}

static void refuse(struct manager *manager, const char *fmt, ...) _printf_(2, 3);
static void refuse(struct manager *manager, const char *fmt, ...) {
    void (*on_refused)(const struct err *, void *) = manager->reexec->on_refused;
    void *userdata = manager->reexec->userdata;
    struct event_fields fields = {.n = 0};
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *reason = NULL;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&reason, fmt, ap);
    va_end(ap);
    if (r < 0)
        reason = NULL;
    end_reexec(manager);
    event_field_set(&fields, "LATCHD_COMMAND", manager->program);
    event_field_set(&fields, "LATCHD_REASON", reason ? reason : "out of memory");
    event_emit(manager->log, EVENT_REEXEC_REFUSED, NULL, fields.fields, fields.n,
               "latchd goes on as it is: %s", reason ? reason : "out of memory");
    (void) err_set(&err, EIO, "Failed", "latchd was not replaced, and goes on as it is: %s",
                   reason ? reason : "out of memory");
    if (on_refused)
        on_refused(&err, userdata);
}

/* ---- the trial ---- */

static void read_output(struct manager_reexec *reexec) {
    ssize_t n = read(reexec->output_fd, reexec->output + reexec->output_size,
                     sizeof reexec->output - 1 - reexec->output_size);

    if (n > 0)
        reexec->output_size += (size_t) n;
    reexec->output[reexec->output_size] = '\0';
}

static int on_look_again(sd_event_source *source, uint64_t usec, void *userdata);

static void wait_for_quiet(struct manager *manager) {
    struct manager_reexec *reexec = manager->reexec;
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    reexec->quiet_until_usec = now + QUIET_USEC;
    reexec->timer = sd_event_source_disable_unref(reexec->timer);
    if (sd_event_add_time(manager->event, &reexec->timer, CLOCK_BOOTTIME, now, 1, on_look_again, manager) < 0)
        refuse(manager, "out of memory");
}

static void judge_trial(struct manager *manager) {
    struct manager_reexec *reexec = manager->reexec;
    struct exit_status status = {.known = true, .code = reexec->end.si_code, .status = reexec->end.si_status};
    char how[96];

    read_output(reexec);
    if (reexec->timed_out)
        refuse(manager, "the installed program %s did not answer within %d s when it was tried",
               manager->program, (int) (TRIAL_USEC / USEC_PER_SEC));
    else if (status.code == CLD_EXITED && status.status == 0 && strcmp(reexec->output, GOOD_ANSWER) == 0)
        wait_for_quiet(manager);
    else {
        reexec->output[strcspn(reexec->output, "\n")] = '\0';
        value_make_printable(reexec->output);
        refuse(
            manager,
            "the installed program %s is not one that can take over from this latchd: tried, it %s and said "
            "\"%s\"; to change to it: stop the services and start anew",
            manager->program, exit_status_describe(&status, how, sizeof how), reexec->output);
    }
}

static int on_channel(sd_event_source *source, int fd, uint32_t events, void *userdata) {
    struct manager *manager = userdata;
    struct manager_reexec *reexec = manager->reexec;
    _cleanup_err_ struct err err = {0};
    int r;

    (void) source;
    (void) fd;
    (void) events;
    (void) sd_event_source_set_enabled(reexec->channel, SD_EVENT_OFF);
    r = spawn_read_status(&reexec->spawn, &reexec->plan, &err);
    if (r == -EAGAIN)
        return sd_event_source_set_enabled(reexec->channel, SD_EVENT_ON);
    reexec->channel = sd_event_source_disable_unref(reexec->channel);
    if (r < 0)
        refuse(manager, "the installed program cannot be executed: %s", err_text(&err));
    else if (reexec->ended)
        judge_trial(manager);
    return 0;
}

static void end_processes(struct manager *manager) {
    struct manager_reexec *reexec = manager->reexec;

    trial_end_processes(manager->proc_fd, &reexec->spawn.id, reexec->mark + sizeof TRIAL_MARK);
}

static int on_trial_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;

    (void) source;
    (void) usec;
    manager->reexec->timed_out = true;
    end_processes(manager); /* while its first process lives, who descends from that is known */
    if (manager->reexec->spawn.pidfd >= 0)
        (void) terminate_signal(manager->reexec->spawn.pidfd, SIGKILL); /* its end, which is near, leads on */
    return 0;
}

bool manager_reexec_reaped(struct manager *manager, const siginfo_t *child) {
    struct manager_reexec *reexec = manager->reexec;

    if (!reexec || reexec->ended || reexec->spawn.id.pid != child->si_pid)
        return false;
    reexec->ended = true;
    reexec->end = *child;
    end_processes(manager);
    if (!reexec->channel)
        judge_trial(manager);
    return true;
}

/* Our environment, and the mark. */
static int mark_trial(struct manager_reexec *reexec) {
    char id[33];
    size_t n = 0;
    int r = service_new_invocation_id(id);

    while (environ[n])
        n++;
    reexec->envp = calloc(n + 2, sizeof(char *));
    if (!reexec->envp || r < 0)
        return reexec->envp ? r : -ENOMEM;
    memcpy(reexec->envp, environ, n * sizeof(char *));
    snprintf(reexec->mark, sizeof reexec->mark, TRIAL_MARK "=%s", id);
    reexec->envp[n] = reexec->mark;
    return 0;
}

static int begin_trial(struct manager *manager, struct err *err) {
    struct manager_reexec *reexec = manager->reexec;
    _cleanup_close_ int write_end = -EBADF;
    int ends[2], r;

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(err, errno, "Failed", "cannot make a pipe: %s", strerror(errno));
    reexec->output_fd = ends[0];
    write_end = ends[1];
    reexec->argv[0] = manager->program;
    reexec->argv[1] = (char *) "handover-check";
    reexec->plan = EXEC_PLAN_INIT;
    trial_program_open(manager->program, &reexec->program);
    r = mark_trial(reexec);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot mark the trial: %s", strerror(-r));
    reexec->plan.executable = reexec->program.path[0] ? reexec->program.path : manager->program;
    reexec->plan.shown_as = manager->program;
    reexec->plan.argv = reexec->argv;
    reexec->plan.envp = reexec->envp;
    reexec->plan.new_session = true;
    reexec->plan.stdin_null = true;
    reexec->plan.stdout_fd = reexec->plan.stderr_fd = write_end;
    r = spawn_start(manager->proc_fd, &reexec->plan, &reexec->spawn, err);
    if (r < 0)
        return r;
    r = sd_event_add_io(manager->event, &reexec->channel, reexec->spawn.channel_fd, EPOLLIN, on_channel,
                        manager);
    if (r >= 0)
        r = sd_event_add_time_relative(manager->event, &reexec->timer, CLOCK_BOOTTIME, TRIAL_USEC, 1,
                                       on_trial_timeout, manager);
    if (r >= 0)
        r = spawn_release(&reexec->spawn);
    return r < 0 ? err_set(err, -r, "Failed", "cannot watch the trial: %s", strerror(-r)) : 0;
}

int manager_reexec(struct manager *manager, void (*on_refused)(const struct err *err, void *userdata),
                   void *userdata, struct err *err) {
    int r;

    if (!manager->program)
        return err_set(err, ENOENT, "Failed", "it is not known which program latchd was started from");
    if (manager->reexec)
        return err_set(err, EBUSY, "Busy", "this latchd is being replaced already");
    if (manager->stopping)
        return err_set(err, EBUSY, "Busy", "this latchd is being stopped and begins nothing any more");
    manager->reexec = calloc(1, sizeof *manager->reexec);
    if (!manager->reexec)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    *manager->reexec = (struct manager_reexec){.program.fd = -EBADF, .spawn = SPAWN_INIT, .output_fd = -EBADF};
    r = begin_trial(manager, err);
    if (r < 0) {
        manager->reexec->on_refused = NULL;
        refuse(manager, "the installed program cannot be tried: %s", err_text(err));
        return r;
    }
    manager->reexec->on_refused = on_refused;
    manager->reexec->userdata = userdata;
    return 0;
}

void manager_end_reexec(struct manager *manager) {
    if (manager->reexec)
        end_reexec(manager);
}

/* ---- the change ---- */

static const struct service *find_busy(const struct manager *manager) {
    for (size_t i = 0; i < manager->n_services; i++)
        if (manager->services[i]->launch || manager->services[i]->reload ||
            manager->services[i]->checks)
            return manager->services[i];
    return NULL;
}

static int put_services(struct manager *manager, struct handover *handover, struct err *err) {
    json_t *names = json_array();
    int r = names ? 0 : -ENOMEM;

    for (size_t i = 0; i < manager->n_services && r >= 0; i++) {
        struct service *service = manager->services[i];

        service->record_dirty = true;
        service_flush_record(service);
        if (service->record_dirty && !service->record_foreign)
            r = err_set(err, EIO, "Failed", "cannot write %s.state in the runtime directory",
                        service->config->name);
        else if (json_array_append_new(names, json_string(service->config->name)) < 0)
            r = -ENOMEM;
        else
            r = service_hand_over(service, handover);
    }
    if (r < 0) {
        json_decref(names);
        return r;
    }
    return handover_put(handover, "services", names);
}

static int put_all(struct manager *manager, struct handover *handover, struct err *err) {
    int r = put_services(manager, handover, err);

    if (r >= 0)
        r = handover_put_fd(handover, "runtime-dir", manager->runtime_dir_fd);
    if (r >= 0)
        r = handover_put(handover, "had-children", json_boolean(manager->had_children));
    if (r >= 0 &&
        manager->files_raised) /* exec keeps what we raised, and daemons are to start from what was before */
        r = handover_put(handover, "files-before",
                         json_pack("[I, I]", (json_int_t) manager->files_before.rlim_cur,
                                   (json_int_t) manager->files_before.rlim_max));
    if (r >= 0) /* it is executed by a descriptor, and would not know where it came from */
        r = handover_put(handover, "program", json_string(manager->program));
    if (r >= 0 && manager->on_hand_over)
        r = manager->on_hand_over(handover, manager->on_change_userdata);
    return r;
}

void manager_take_over(struct manager *manager) {
    const json_t *files = handover_get(manager->handover, "files-before");

    if (!manager->handover)
        return;
    manager->had_children = json_is_true(handover_get(manager->handover, "had-children"));
    if (json_array_size(files) != 2)
        return;
    manager->files_before.rlim_cur = (rlim_t) json_integer_value(json_array_get(files, 0));
    manager->files_before.rlim_max = (rlim_t) json_integer_value(json_array_get(files, 1));
    manager->files_raised = true;
}

static void change(struct manager *manager) {
    _cleanup_handover_ struct handover *handover = NULL;
    _cleanup_close_ int memfd = -EBADF;
    _cleanup_err_ struct err err = {0};
    struct event_fields fields = {.n = 0};
    char number[16];
    int fd = manager->reexec->program.fd, r;

    if (fd < 0 && !trial_program_is_same(&manager->reexec->program, manager->program)) {
        refuse(manager, "the installed program %s is another one than was tried a moment ago; try again",
               manager->program);
        return;
    }
    r = handover_new(&handover);
    if (r >= 0)
        r = put_all(manager, handover, &err);
    if (r >= 0)
        r = memfd = handover_pack(handover);
    if (r >= 0) {
        event_field_set(&fields, "LATCHD_COMMAND", manager->program);
        event_emit(manager->log, EVENT_REEXEC_BEGUN, NULL, fields.fields, fields.n, "latchd becomes %s",
                   manager->program);
        snprintf(number, sizeof number, "%d", memfd);
        r = handover_release(handover, memfd, true);
    }
    if (r >= 0) {
        r = reexec_become(manager->program, fd, manager->program_argv, environ, HANDOVER_VARIABLE, number);
        (void) handover_release(handover, memfd, false);
    }
    refuse(manager, "%s cannot be executed: %s", manager->program, err.message ? err.message : strerror(-r));
}

/* A child on its way to exec shares our memory, and tells us what came of it: such a moment is waited out. */
static int on_look_again(sd_event_source *source, uint64_t usec, void *userdata) {
    struct manager *manager = userdata;
    const struct service *busy = find_busy(manager);
    uint64_t now = now_usec(CLOCK_BOOTTIME);

    (void) usec;
    if (manager->stopping)
        refuse(manager, "it is being stopped meanwhile");
    else if (!busy)
        change(manager);
    else if (now > manager->reexec->quiet_until_usec)
        refuse(manager, "the service %s is being started or reloaded; try again when it is",
               busy->config->name);
    else if (sd_event_source_set_time(source, now + LOOK_AGAIN_USEC) < 0 ||
             sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) < 0)
        refuse(manager, "out of memory");
    return 0;
}
