/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Dovecot's configuration as Dovecot itself tells it: what "doveconf -a" prints, read into a model of its
 * services. Nobody else can read dovecot.conf (!include, !include_try, <FILE, variables, defaults that each
 * version has of its own). Pure: text in, model out. Tried with 2.3.19. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct dovecot_listener {
    char *name;    /* unix: its path, absolute; inet: what it is called */
    char *address; /* inet: as written, "" for what listen= says */
    bool is_inet, ssl;
    unsigned port; /* inet; 0: it is switched off */
    unsigned mode; /* unix; 0: it is switched off */
};

/* Values are effective: a 0 that stands for a default is replaced by it, and service_count bounds
 * client_limit (service_create() in Dovecot's src/master/service.c). */
struct dovecot_service {
    char *name, *type, *protocol;
    char *executable; /* absolute, without its arguments */
    char *arguments;  /* "" where it has none: auth and auth-worker ("-w") share an executable */
    uint64_t client_limit, process_limit, process_min_avail;
    uint64_t service_count;        /* clients that a process serves before it ends; 0: unlimited */
    uint64_t written_client_limit; /* as configured; 0: the default */
    struct dovecot_listener *listeners;
    size_t n_listeners;
};

struct dovecot_conf {
    char *version; /* "2.3.19.1"; NULL: it did not say */
    char *base_dir, *libexec_dir;
    char *listen;    /* addresses, by commas or blanks */
    char *protocols; /* by blanks */
    char *ssl;
    uint64_t default_client_limit, default_process_limit;
    struct dovecot_service
        *services; /* those that Dovecot runs: of a protocol that is not in protocols it runs none */
    size_t n_services;
};

#define _cleanup_dovecot_conf_ _cleanup_(dovecot_conf_done)
void dovecot_conf_done(struct dovecot_conf *conf);

/* -EBADMSG: that is no output of doveconf -a, and *err says why; or -ENOMEM. *ret is the caller's. */
int dovecot_conf_parse(const char *text, size_t size, struct dovecot_conf *ret, struct err *err);

/* NULL: there is none of that name. */
const struct dovecot_service *dovecot_conf_find(const struct dovecot_conf *conf, const char *name);

/* What RLIMIT_NOFILE has to be at least for Dovecot not to complain of it at its start ("fd limit (ulimit -n)
 * is lower than required under max. load": master_settings_verify() in src/master/master-settings.c): the
 * largest client_limit that is configured, default_client_limit included, not what service_count leaves of
 * it. *ret_service: whose it is, borrowed; NULL: default_client_limit's. */
uint64_t dovecot_conf_needed_files(const struct dovecot_conf *conf, const char **ret_service);

/* What it gives listen(2): client_limit * process_limit, at least 4 and as far as an int goes
 * (service_get_backlog() in src/master/service-listen.c). The kernel clamps it to net.core.somaxconn. */
uint64_t dovecot_service_backlog(const struct dovecot_service *service);
