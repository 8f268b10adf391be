/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd run: supervises in the foreground. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "cli/latchd.h"
#include "control/methods.h"
#include "service/service.h"

/* What the latchd that was this process before has left us. */
static int receive_handover(struct invocation *invocation, struct err *err) {
    const char *number = getenv(HANDOVER_VARIABLE), *program;
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
    program = json_string_value(handover_get(invocation->handover, "program"));
    if (program && program[0] == '/') { /* we were executed by a descriptor, which says less */
        free(invocation->program);
        invocation->program = strdup(program);
    }
    return 0;
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

    if (latchd_open_log(invocation, &log, &err) < 0)
        return latchd_exit_code(&err);
    fd = latchd_open_runtime_dir(invocation, &err);
    if (fd < 0)
        return latchd_exit_code(&err);
    if (manager_new(log, fd, &manager, &err) < 0) {
        fd_close(fd);
        return latchd_exit_code(&err);
    }
    manager->config_paths = options_config_paths(invocation->config_dir);
    if (manager_reserve_files(manager, configs, n, &err) < 0)
        return latchd_exit_code(&err);
    manager->program = invocation->program;
    manager->program_argv = invocation->program_argv;
    manager->handover = TAKE_PTR(invocation->handover);
    replaced = manager->handover != NULL;
    manager_take_over(manager);
    for (size_t i = 0; i < n; i++) {
        struct service *service;

        if (manager_add(manager, invocation->runtime_dir, configs[i], &service, &err) < 0)
            return latchd_exit_code(&err);
        configs[i] = NULL; /* the manager's now */
        if (invocation->n_words > 0 && !(service->config_word = strdup(invocation->words[i])))
            return EXIT_FAILURE;
    }
    if (manager_plan_order(manager, &err) < 0 || control_new(manager, &control, &err) < 0)
        return latchd_exit_code(&err);
    manager_give_up_privileges(manager);
    if (replaced)
        report_replaced(log);
    else
        report_started(log, manager, invocation->runtime_dir);
    code = manager_run(manager, &err);
    if (code < 0)
        return latchd_exit_code(&err);
    if (code == EXIT_SUCCESS)
        event_emit(log, EVENT_SUPERVISOR_STOPPED, NULL, &stopped, 1, "latchd ends: every service is stopped");
    else
        event_emit(log, EVENT_SUPERVISOR_STOPPED, NULL, &stopped, 1,
                   "latchd ends with status %d, that of its one service's daemon", code);
    return code;
}

int latchd_run(struct invocation *invocation) {
    size_t n = invocation->n_words > 0 ? (size_t) invocation->n_words : 1;
    _cleanup_err_ struct err err = {0};
    struct service_config **configs;
    int code;

    if (invocation->n_words == 0 && !invocation->command)
        return latchd_fail_usage("run wants a service, or a command behind --", NULL);
    if (latchd_lacks_command(invocation))
        return latchd_fail_usage("there is no COMMAND behind --", NULL);
    if (invocation->n_words > 0 && (invocation->command || invocation->n_options > 0))
        return latchd_fail_usage("either a service's name or a command behind --, not both", NULL);
    if (receive_handover(invocation, &err) < 0)
        return latchd_exit_code(&err);
    configs = calloc(n, sizeof(struct service_config *));
    if (!configs)
        return EXIT_FAILURE;
    code = latchd_load_all(invocation, configs);
    if (code < 0)
        code = run_services(invocation, configs, n);
    for (size_t i = 0; i < n; i++)
        service_config_free(configs[i]);
    free(configs);
    return code;
}
