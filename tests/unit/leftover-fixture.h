/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Processes built by hand, for the tests of what is a leftover and what is done about it: of a latchd (PID
 * 100) that serves kea4, whose daemon ran as uid 200 and is dead. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/value.h"
#include "recovery/recover-plan.h"

#include "suite.h"

#define SUPERVISOR 100
#define USER 200
#define KEA "/usr/sbin/kea-dhcp4"
#define LFC "/usr/sbin/kea-lfc"
#define INVOCATION "0123456789abcdef0123456789abcdef"
#define SEC USEC_PER_SEC
#define NOW (5000 * SEC)

static char *const helpers[] = {(char *) LFC, (char *) "/opt/other", NULL};

static const struct leftover_context ours = {
    .service = "kea4",
    .invocation_id = INVOCATION,
    .self = SUPERVISOR,
    .supervisor = SUPERVISOR,
    .only_service = true,
    .uid = USER,
    .daemon_exe = KEA,
    .helpers = helpers,
};

static struct ancestor_facts under_init[] = {{1, (char *) "/usr/lib/systemd/systemd"}},
                             under_us[] = {{SUPERVISOR, (char *) "/usr/sbin/latchd"},
                                           {1, (char *) "/usr/lib/systemd/systemd"}},
                             under_kea[] = {{50, (char *) KEA}, {1, (char *) "/usr/lib/systemd/systemd"}},
                             under_shell[] = {{60, (char *) "/bin/sh"}, {1, NULL}};

static inline void adopt(struct process_facts *process, struct ancestor_facts *ancestors, size_t n) {
    process->ancestors = ancestors;
    process->n_ancestors = n;
    process->ppid = n ? ancestors[0].pid : 0;
}
#define ADOPT(process, ancestors) adopt((process), (ancestors), ELEMENTSOF(ancestors))

/* A stranger with the service's user: nothing is proven. */
static inline struct process_facts stranger(pid_t pid) {
    struct process_facts process = {
        .pid = pid,
        .life = PROCESS_ALIVE,
        .start_ticks = 1000 + (uint64_t) pid,
        .uid = USER,
        .comm = "stranger",
        .exe = (char *) "/usr/bin/stranger",
        .cmdline = (char *) "stranger",
    };

    ADOPT(&process, under_init);
    return process;
}

/* kea-lfc, left to init. */
static inline struct process_facts lfc(pid_t pid) {
    struct process_facts process = stranger(pid);

    process.exe = (char *) LFC;
    process.cmdline =
        (char *) LFC " -4 -x /srv/l.csv.2 -i /srv/l.csv.1 -o /srv/l.csv.output -f /srv/l.csv.completed -p "
                     "/srv/l.csv.pid -c ignored";
    return process;
}

/* Runs the suite. Returns the program's exit status. */
static inline int run_suite(const char *name, TCase *tests) {
    Suite *suite = suite_create(name);

    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
