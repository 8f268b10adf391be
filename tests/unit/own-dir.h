/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A directory for each test, which is the working directory then. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/latchd-unit.XXXXXX";

static __attribute__((unused)) void make_dir(void) {
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static __attribute__((unused)) void enter_dir(void) {
    char own[64];

    snprintf(own, sizeof own, "%s/XXXXXX", dir);
    ck_assert_ptr_nonnull(mkdtemp(own));
    ck_assert_int_eq(chdir(own), 0);
}

static __attribute__((unused)) void remove_dir(void) {
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    (void) !system(command);
}
