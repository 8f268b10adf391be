/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Processes in PID namespaces below ours, and the numbers that they have there: a PID file on a directory
 * that a container shares with us may name one of them. */

#include "probe/process-facts.h"

struct namesake {
    pid_t pid;    /* here */
    pid_t number; /* in one of the namespaces below; one row for each */
};

struct namesake_table {
    struct namesake *rows; /* owned */
    size_t n;
};

#define _cleanup_namesake_table_ _cleanup_(namesake_table_done)
void namesake_table_done(struct namesake_table *table);

/* One pass over all processes (/proc/PID/status, NSpid). It says nothing of namespaces above ours. */
int namesake_table_read(int proc_fd, struct namesake_table *ret);

/* A process that has that number below, lives, and began no later than `until_usec` on the wall clock.
 * ret->pid stays 0 when there is none. */
int namesake_find(const struct namesake_table *table, int proc_fd, pid_t number, uint64_t until_usec,
                  struct process_facts *ret);
