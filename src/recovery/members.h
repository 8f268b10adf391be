/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which living processes may belong to a service. What is found here are numbers only: whose they are is
 * proven one by one (leftover_prove()), each pinned by a pidfd. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One line of the table of all processes, as it was read: not all at one moment. */
struct process_row {
    pid_t pid, parent, session;
};

/* Every process but the kernel's threads and zombies, by ascending number; to be freed. */
int process_table_read(int proc_fd, struct process_row **ret, size_t *ret_n);

/* Adds the roots, and all that descends from them, to *pids. -ENOMEM. */
int process_table_add_family(const struct process_row *rows, size_t n_rows, const pid_t *roots,
                             size_t n_roots, pid_t **pids, size_t *n_pids);

/* Who carries which service's name: LATCHD_SERVICE= of every environment. */
struct marks_table;

int marks_table_read(int proc_fd, struct marks_table **ret);
struct marks_table *marks_table_free(struct marks_table *marks);

struct member_search {
    int proc_fd;
    int cgroup_fd;      /* all in that cgroup and below it; -EBADF: none */
    const pid_t *roots; /* these, and what descends from them */
    size_t n_roots;
    pid_t session; /* all of that session, if there are roots; 0: none */
    const char *service; /* all whose LATCHD_SERVICE= says so; NULL: none */
    const struct marks_table *marks; /* that, as it was read before; NULL: it is read now */
};

/* *ret, by ascending number, is the caller's to free. */
int members_search(const struct member_search *search, pid_t **ret, size_t *ret_n);

/* The children of this process's main thread, by ascending number: all of them, for who is left to a child
 * subreaper becomes that thread's (find_new_reaper() in kernel/exit.c). To be freed. *children_fd, -EBADF at
 * first, is the open list, which the caller keeps for the next time and closes. -ENOENT: this kernel does not
 * say (CONFIG_PROC_CHILDREN). */
int members_list_children(int proc_fd, int *children_fd, pid_t **ret, size_t *ret_n);
