/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* latchd check: every mistake of a configuration. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/latchd.h"

int latchd_check(struct invocation *invocation) {
    struct service_config **configs;
    int n = 0, code = EXIT_SUCCESS;

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
            printf("%s: configuration is good\n", configs[n++]->name);
    }
    if (fflush(stdout) != 0)
        code = EXIT_FAILURE;
    if (code == EXIT_SUCCESS) {
        code = latchd_check_order(configs, (size_t) n, true);
        code = code < 0 ? EXIT_SUCCESS : code;
    }
    for (int i = 0; i < n; i++)
        service_config_free(configs[i]);
    free(configs);
    return code;
}
