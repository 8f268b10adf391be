/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd check: every mistake of a configuration. */
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "cli/latchd.h"
#include "exec/rlimits.h"

/* What no file says, and what keeps it from starting here all the same: fs.nr_open is this machine's. */
static void warn_of_limits(const struct service_config *config, int proc_fd) {
    struct rlimits_need need = {.client_limit = config->client_limit};
    struct rlimits_planned planned;
    _cleanup_err_ struct err err = {0};

    if (rlimits_plan_wanted(config->limits, &need, proc_fd, &planned, &err) < 0)
        fprintf(stderr, "%s: warning: here it would not start: %s\n", config->name, err_text(&err));
}

int latchd_check(struct invocation *invocation) {
    struct service_config **configs;
    int n = 0, code = EXIT_SUCCESS, order;
    _cleanup_close_ int proc_fd = procfs_open();

    if (invocation->n_words == 0)
        return latchd_fail_usage("check wants a service", NULL);
    configs = calloc((size_t) invocation->n_words, sizeof(struct service_config *));
    if (!configs)
        return EXIT_FAILURE;
    for (int i = 0; i < invocation->n_words; i++) {
        int one = latchd_load(invocation, invocation->words[i], &configs[n]);

        if (one)
            code = one;
        else if (latchd_name_is_taken(configs, n, configs[n]->name))
            configs[n] = service_config_free(configs[n]);
        else
            n++;
    }
    order = latchd_check_order(configs, (size_t) n, code == EXIT_SUCCESS);
    for (int i = 0; i < n; i++) {
        warn_of_limits(configs[i], proc_fd);
        printf("%s: configuration is good%s\n", configs[i]->name, order >= 0 ? " by itself" : "");
        service_config_free(configs[i]);
    }
    free(configs);
    if (order >= 0 && code == EXIT_SUCCESS)
        code = order;
    if (fflush(stdout) != 0)
        code = EXIT_FAILURE;
    return code;
}
