/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd exec: makes the way free and becomes the daemon. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/text.h"
#include "base/value.h"
#include "cli/latchd.h"
#include "owned/owned.h"
#include "recovery/recover.h"
#include "runtime/main-note.h"
#include "runtime/runtime-dir.h"
#include "runtime/state-file.h"
#include "service/service.h"

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

    if (latchd_open_log(invocation, &log, &err) < 0 || (dir_fd = latchd_open_runtime_dir(invocation, &err)) < 0 ||
        (lock_fd = runtime_dir_lock_service(dir_fd, invocation->runtime_dir, config->name, &err)) < 0)
        return latchd_exit_code(&err);
    if (recovery_host_init_offline(&host, config, dir_fd, proc_fd, log, &record, &err) < 0)
        return latchd_exit_code(&err);
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
        return latchd_exit_code(&err);
    record.generation++;
    record.ready = true; /* whom it told, if anybody, is not us */
    service_record_set_status(&record, NULL);
    if (service_new_invocation_id(record.invocation_id) < 0 ||
        service_launch_prepare(config, proc_fd, dir_fd, record.invocation_id, true, notify_socket, record.open_files,
                               NULL, &launch, &err) < 0)
        return latchd_exit_code(&err);
    service_record_set_limits(&record, service_launch_plan(launch)->rlimits);
    if (notify_socket && pass_listen_fds(launch) < 0) {
        (void) err_set(&err, ENOMEM, "Failed", "out of memory");
        return latchd_exit_code(&err);
    }
    self = process_pin(proc_fd, getpid(), &record.main);
    service_record_set_session(&record, getsid(0));
    record.since_usec = now_usec(CLOCK_REALTIME);
    (void) main_note_write(dir_fd, config->name, &record); /* beside what follows, without which there is no start */
    if (self < 0 || state_file_write(dir_fd, config->name, &record, &err) < 0)
        return latchd_exit_code(&err);
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
    return latchd_exit_code(&err);
}

int latchd_exec(struct invocation *invocation) {
    _cleanup_config_ struct service_config *config = NULL;
    int code;

    if (invocation->n_words > 1 || (invocation->n_words == 0 && !invocation->command))
        return latchd_fail_usage("exec wants one service, or a command behind --", NULL);
    if (latchd_lacks_command(invocation))
        return latchd_fail_usage("there is no COMMAND behind --", NULL);
    if (invocation->n_words == 1 && invocation->n_options > 0)
        return latchd_fail_usage(
            "options that describe a service go with a command behind --, not with a service's name", NULL);
    code = latchd_load(invocation, invocation->n_words ? invocation->words[0] : NULL, &config);
    if (code)
        return code;
    if (owned_wants(config)) {
        fprintf(stderr,
                "latchd: service %s has sockets of Owner=latchd, which latchd keeps for the daemon: exec "
                "leaves no latchd "
                "behind; use latchd run\n",
                config->name);
        return EXIT_BAD_CONFIG;
    }
    if (invocation->n_words == 1 && invocation->command &&
        service_config_append_arguments(config, invocation->command) < 0)
        return EXIT_FAILURE;
    return exec_service(invocation, config);
}
