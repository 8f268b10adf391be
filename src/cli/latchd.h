/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the verbs of latchd share: the command line, and how a configuration is read and a failure told. */

#include "cli/options.h"
#include "journal/event.h"
#include "runtime/handover.h"

struct invocation {
    const char *config_dir;
    char *runtime_dir; /* owned */
    int log_level;
    enum log_target log_target;
    struct config_option *options; /* owned */
    size_t n_options;
    char **words; /* what stands before "--": verb and services; borrowed */
    int n_words;
    char **command; /* what stands behind it; NULL: no "--" */

    char *program;              /* owned: the path of what we were started from; NULL: not known */
    char **program_argv;        /* owned, what is in it borrowed: as started (getopt(3) moves things) */
    struct handover *handover;  /* owned: from the latchd that was this process before; NULL: there was none */
    int runtime_dir_fd;         /* of that; -EBADF: to be opened */
};

/* "latchd: MESSAGE[: SUBJECT]; try latchd --help". Returns the exit code. */
int latchd_fail_usage(const char *message, const char *subject);

/* Nothing stands behind --, nor in --set ExecStart=, of a service that has no file. */
bool latchd_lacks_command(const struct invocation *invocation);

/* Tells a failure. Returns its exit code. */
int latchd_exit_code(const struct err *err);

/* Loads one service; prints what is wrong with it. name NULL: the one that the options describe. Returns 0 or an
 * exit code. */
int latchd_load(const struct invocation *invocation, const char *name, struct service_config **ret);

/* -- latchd-load.c: the configurations that latchd run begins with -- */

/* The services that the words name, or the one that the options describe. Every mistake of every one is told. -1: they
 * are there; else an exit code. */
int latchd_load_all(struct invocation *invocation, struct service_config **configs);

bool latchd_name_is_taken(struct service_config *const *configs, int n, const char *name);

/* What After= and Requires= come to, of these services together. `check` wants to hear more. Returns -1 to go on, else
 * an exit code. */
int latchd_check_order(struct service_config *const *configs, size_t n, bool check);

int latchd_open_log(const struct invocation *invocation, struct event_log **ret, struct err *err);

/* A descriptor of it, made where it was missing. */
int latchd_open_runtime_dir(struct invocation *invocation, struct err *err);

/* The verbs. Each returns the exit code. */
int latchd_run(struct invocation *invocation);
int latchd_exec(struct invocation *invocation);
int latchd_check(struct invocation *invocation);
