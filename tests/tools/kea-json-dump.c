/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* kea-json-dump FILE [DIRECTORY]: prints what latchd reads from a configuration of Kea, as strict JSON, or
 * what is wrong with it; relative includes are below DIRECTORY. Exits with 0 or 1. */

#include <stdio.h>
#include <string.h>

#include "config/kea-json.h"

int main(int argc, char *argv[]) {
    _cleanup_kea_json_ struct kea_json *json = NULL;
    _cleanup_(config_problems_done) struct config_problems problems = {0};

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: kea-json-dump FILE [DIRECTORY]\n");
        return 1;
    }
    int r = kea_json_read(argv[1], argc > 2 ? argv[2] : NULL, &problems, &json);
    for (size_t i = 0; i < problems.n; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    if (r < 0) {
        if (problems.n == 0)
            fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
        return 1;
    }
    if (json_dumpf(json->root, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF || fflush(stdout) == EOF) {
        perror("kea-json-dump");
        return 1;
    }
    return 0;
}
