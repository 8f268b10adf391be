/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How every unit test ends. */

#include <check.h>
#include <stdlib.h>

/* Runs and releases the suite. Returns what main() returns. */
static inline int suite_run(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
