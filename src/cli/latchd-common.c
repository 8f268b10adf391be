/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the verbs of latchd share. */
#include "cli/latchd.h"

#include <stdio.h>
#include <string.h>

#include "runtime/runtime-dir.h"
#include "service/service.h"

int latchd_fail_usage(const char *message, const char *subject) {
    fprintf(stderr, "latchd: %s%s%s; try latchd --help\n", message, subject ? ": " : "",
            subject ? subject : "");
    return EXIT_BAD_USAGE;
}

bool latchd_lacks_command(const struct invocation *invocation) {
    if (invocation->n_words > 0 || !invocation->command || invocation->command[0])
        return false;
    for (size_t i = 0; i < invocation->n_options; i++)
        if (strcmp(invocation->options[i].key, "set") == 0 &&
            strncmp(invocation->options[i].value, "ExecStart", strlen("ExecStart")) == 0)
            return false;
    return true;
}

int latchd_exit_code(const struct err *err) {
    int code = options_fail("latchd", err);

    if (err->name && strcmp(err->name, "BadConfiguration") == 0)
        return EXIT_BAD_CONFIG;
    return err->name && strcmp(err->name, "Held") == 0 ? EXIT_HELD : code;
}

int latchd_load(const struct invocation *invocation, const char *name, struct service_config **ret) {
    struct config_paths paths = options_config_paths(invocation->config_dir);
    struct config_problems problems = {0};
    _cleanup_err_ struct err err = {0};
    int r;

    if (name)
        r = service_config_load(name, &paths, &problems, ret, &err);
    else
        r = service_config_from_options(invocation->options, invocation->n_options, invocation->command,
                                        paths.run, &problems, ret);
    options_print_problems(&problems);
    if (r < 0 && problems.n == 0)
        fprintf(stderr, "latchd: %s\n", err.message ? err.message : strerror(-r));
    config_problems_done(&problems);
    if (r == -EBADMSG && !name)
        return EXIT_BAD_USAGE;
    return r < 0 ? EXIT_BAD_CONFIG : 0;
}

bool latchd_name_is_taken(struct service_config *const *configs, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(configs[i]->name, name) == 0)
            return true;
    return false;
}

int latchd_check_order(struct service_config *const *configs, size_t n, bool check) {
    _cleanup_free_ struct order_wish *wishes = calloc(n + 1, sizeof *wishes);
    _cleanup_order_ struct order order = {0};
    _cleanup_err_ struct err err = {0};

    if (!wishes)
        return EXIT_FAILURE;
    for (size_t i = 0; i < n; i++)
        wishes[i] = order_wish_of(configs[i]);
    if (order_plan(wishes, n, &order, &err) < 0)
        return latchd_exit_code(&err);
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

int latchd_open_log(const struct invocation *invocation, struct event_log **ret, struct err *err) {
    struct event_log_options options = {.target = invocation->log_target,
                                        .max_priority = invocation->log_level};

    return event_log_open(&options, ret, err);
}

int latchd_open_runtime_dir(struct invocation *invocation, struct err *err) {
    if (invocation->runtime_dir_fd >= 0)
        return TAKE_FD(invocation->runtime_dir_fd);
    if (!invocation->runtime_dir)
        return err_set(err, ENOENT, "Failed",
                       "no runtime directory: XDG_RUNTIME_DIR is not set; choose one by --runtime-dir");
    return runtime_dir_open(invocation->runtime_dir, true, err);
}
