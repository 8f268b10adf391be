/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service's configuration: what the administrator wrote (config.c, from the key table config-keys.def)
 * and what its kind added by reading the daemon's own configuration (kind.c). */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strtab.h"
#include "lock/style.h"

enum service_kind {
    SERVICE_KIND_GENERIC,
    SERVICE_KIND_KEA,
    SERVICE_KIND_DOVECOT,
    SERVICE_KIND_POSTGRESQL,
    SERVICE_KIND_MYSQL,
    SERVICE_KIND_X11,
    SERVICE_KIND_MAX,
    SERVICE_KIND_INVALID = -EINVAL,
};
STRTAB_DECLARE(service_kind, enum service_kind);

enum service_type {
    SERVICE_TYPE_SIMPLE, /* ready once exec succeeded */
    SERVICE_TYPE_NOTIFY, /* ready when it says READY=1 */
    SERVICE_TYPE_SOCKET, /* ready when every control socket answers its probe */
    SERVICE_TYPE_MAX,
    SERVICE_TYPE_INVALID = -EINVAL,
};
STRTAB_DECLARE(service_type, enum service_type);

enum restart_policy {
    RESTART_NO,
    RESTART_ON_FAILURE,
    RESTART_ON_ABNORMAL,
    RESTART_ALWAYS,
    RESTART_POLICY_MAX,
    RESTART_POLICY_INVALID = -EINVAL,
};
STRTAB_DECLARE(restart_policy, enum restart_policy);

enum orphan_policy {
    ORPHAN_TERMINATE, /* grace time, then SIGTERM, then SIGKILL, if proven to be this service's leftover */
    ORPHAN_WAIT,      /* wait for it to end by itself */
    ORPHAN_FAIL,      /* do not start while it lives */
    ORPHAN_POLICY_MAX,
    ORPHAN_POLICY_INVALID = -EINVAL,
};
STRTAB_DECLARE(orphan_policy, enum orphan_policy);

enum output_kind {
    OUTPUT_JOURNAL, /* where there is a journal, else inherited */
    OUTPUT_INHERIT,
    OUTPUT_NULL,
    OUTPUT_FILE,
    OUTPUT_APPEND,
    OUTPUT_KIND_MAX,
    OUTPUT_KIND_INVALID = -EINVAL,
};

struct output_config {
    enum output_kind kind;
    char *path; /* for OUTPUT_FILE and OUTPUT_APPEND */
};

enum socket_owner {
    SOCKET_OWNER_DAEMON,
    SOCKET_OWNER_LATCHD,
    SOCKET_OWNER_MAX,
    SOCKET_OWNER_INVALID = -EINVAL
};
STRTAB_DECLARE(socket_owner, enum socket_owner);

enum socket_probe {
    SOCKET_PROBE_CONNECT,
    SOCKET_PROBE_KEA, /* status-get must be answered */
    SOCKET_PROBE_NONE,
    SOCKET_PROBE_MAX,
    SOCKET_PROBE_INVALID = -EINVAL,
};
STRTAB_DECLARE(socket_probe, enum socket_probe);

/* A lock file beside a socket or by itself. path NULL: none. */
struct lock_config {
    char *name;
    char *path;
    enum lock_style style;
    char *helper; /* of a PID file: it names a helper of the daemon, of this executable, that must not run
                     while the daemon starts. NULL: it names the daemon. Set by kinds only */
};

/* From how many waiting connections on a queue is told of. number 0: it is not watched. */
struct queue_warn {
    unsigned number;
    bool percent; /* of what may wait; else connections */
};

struct socket_config {
    char *name;
    char *listen; /* ListenStream= as written: an absolute path, @abstract or HOST:PORT */
    enum socket_owner owner;
    mode_t mode;
    char *user, *group;
    int backlog;
    uint64_t send_buffer_bytes, receive_buffer_bytes; /* 0: the kernel's default */
    struct lock_config lock;                          /* name is that of the socket */
    bool lock_none;                                   /* LockFile=none */
    enum socket_probe probe;
    uint64_t probe_interval_usec, probe_timeout_usec;
    struct queue_warn queue_warn;
    uint64_t queue_interval_usec;
};

struct limit_config {
    bool set;
    bool automatic;    /* LimitNOFILE=auto */
    rlim_t soft, hard; /* in the resource's own unit, RLIM_INFINITY for infinity */
};

struct service_config {
    char *name;
    char *file; /* the main file it was read from; NULL for a command line's service */

    char *description;
    enum service_kind kind;
    char *config_file; /* the daemon's own configuration */

    char **exec_start;  /* argv, not yet expanded: $VAR stays in it; exec_start[0] is absolute or a name for
                           PATH */
    char **exec_reload; /* NULL: ReloadSignal */
    int reload_signal, kill_signal;
    uint64_t timeout_start_usec, timeout_stop_usec;
    char **after;               /* names of services of the same latchd that come before it */
    char **requires;            /* names of those that it cannot do without */
    enum service_type type;
    bool type_set; /* Type= was written: the kind does not choose one */

    enum restart_policy restart;
    uint64_t restart_usec, restart_max_delay_usec, restart_reset_usec;
    unsigned start_limit_burst; /* 0: no limit */
    uint64_t start_limit_interval_usec;

    char *user, *group;
    char **supplementary_groups;                            /* NULL-terminated; NULL: those of the user */
    uint64_t capability_bounding_set, ambient_capabilities; /* bit per CAP_* */
    bool capability_bounding_set_set;
    bool no_new_privileges;
    mode_t umask;
    char *working_directory;
    char **environment;      /* NAME=VALUE ..., in order: a later one wins */
    char **environment_file; /* paths; a leading '-' means it may be missing */
    int oom_score_adjust;
    bool oom_score_adjust_set;
    int nice;
    bool nice_set;
    struct output_config standard_output, standard_error;
    char *syslog_identifier;
    uint64_t watchdog_usec;
    struct limit_config limits[RLIMIT_NLIMITS];
    uint64_t client_limit; /* ClientLimit=: what LimitNOFILE=auto counts with; 0: not given */

    enum orphan_policy orphan_policy;
    uint64_t orphan_grace_usec, orphan_kill_usec;
    char **orphan_allow; /* absolute paths of helper executables that may be left over */

    struct socket_config **sockets;
    size_t n_sockets;
    struct lock_config **locks;
    size_t n_locks;
};

#define _cleanup_config_ _cleanup_(service_config_freep)
struct service_config *service_config_free(struct service_config *config); /* returns NULL */
static inline void service_config_freep(struct service_config **config) {
    *config = service_config_free(*config);
}

/* Every mistake found, as "FILE:LINE: message" (or "FILE: message"), in the order found. */
struct config_problems {
    char **lines;
    size_t n;
};
void config_problems_done(struct config_problems *problems);
int config_problems_add(struct config_problems *problems, const char *file, unsigned line, const char *fmt,
                        ...) _printf_(4, 5); /* returns -EINVAL, or -ENOMEM */

/* A program that tells the daemon's own configuration. All of it is borrowed. */
struct config_question {
    char *const *argv;             /* NULL-terminated; argv[0] is a path */
    char *const *envp;             /* NULL-terminated: the whole environment */
    const char *working_directory; /* NULL: ours */
    uint64_t timeout_usec;
    size_t max_bytes; /* of its output */
};

struct config_answer {
    char *text; /* its standard output, NUL-terminated; owned by the caller */
    size_t size;
    char *said; /* its standard error, as far as it is kept, NUL-terminated; owned by the caller */
    int status; /* its exit status, or 128 and the signal that ended it */
};

/* Executes it and waits for its end, whatever that is. This floor executes nothing by itself: whoever has
 * something read gives the means (exec/capture.h). 0 with *ret; -ETIMEDOUT: it did not end in time, -E2BIG:
 * it wrote more than that (it is ended in both cases); or -errno, and *err says why it could not be executed.
 */
typedef int (*config_run_t)(const struct config_question *question, struct config_answer *ret,
                            struct err *err);

void config_answer_done(struct config_answer *answer);

struct config_paths {
    const char *admin_dir;  /* SYSCONFDIR/latchd, or --config-dir */
    const char *vendor_dir; /* PREFIX/lib/latchd; NULL when --config-dir was given */

    /* Told before a file is touched that may lie on a file system that does not answer: `key` names it (""
     * for the configuration itself). NULL: nobody wants to know. */
    void (*touching)(const char *key, const char *path);

    config_run_t
        run; /* for kinds whose daemon has to be asked; NULL: nothing is executed, they cannot be read */
};

/* Loads service NAME, or the file SERVICE when it contains a slash, with its drop-ins; then lets the kind
 * read the daemon's own configuration (kind_read). Returns 0 with *ret owned by the caller; -ENOENT no
 * such service (err says where it was looked for); -EINVAL there are mistakes, all of them in *problems. */
int service_config_load(const char *service, const struct config_paths *paths,
                        struct config_problems *problems, struct service_config **ret, struct err *err);

/* The same from the options of a command line (--name, --lock, --socket, --limit, --user, and argv). -EBADMSG: an
 * option's own value is wrong, which is a mistake in how latchd is used; -EINVAL: they are well written, but what they
 * say does not fit this machine or each other. */
struct config_option {
    const char *key;   /* "name", "lock", "socket", "limit", "user", "group", "environment", "kind", ... */
    const char *value; /* as typed */
};
int service_config_from_options(const struct config_option *options, size_t n_options, char *const argv[],
                                config_run_t run, struct config_problems *problems,
                                struct service_config **ret);

/* Names of all services configured in both directories: sorted, unique, NULL-terminated, owned by the caller.
 */
int service_config_list(const struct config_paths *paths, char ***ret);

/* NULL: there is none of that name. */
struct socket_config *service_config_find_socket(const struct service_config *config, const char *name);
struct lock_config *service_config_find_lock(const struct service_config *config, const char *name);

/* Adds to a configuration while it is being built (config.c, kind-*.c), unless there is one of that name,
 * which is returned then; strings are copied. */
struct socket_config *service_config_add_socket(struct service_config *config, const char *name);
struct lock_config *service_config_add_lock(struct service_config *config, const char *name);
int service_config_allow_orphan(struct service_config *config, const char *executable);

/* The environment that the daemon would be started with as far as the configuration tells: Environment=,
 * EnvironmentFile= and, for names not set there, latchd's own. NULL: not set. Owned by the caller. */
char *service_config_getenv(const struct service_config *config, const char *name);

/* Appends arguments as a shell handed them over to exec_start: no '$' in them is expanded later. */
int service_config_append_arguments(struct service_config *config, char *const arguments[]);

/* Everything the daemon's environment gets from the configuration: `inherited` (environ, or NULL) without
 * what belongs to latchd itself (NOTIFY_SOCKET, WATCHDOG_*, LISTEN_*, INVOCATION_ID, JOURNAL_STREAM,
 * LATCHD_*), over it Environment=, over it the files of EnvironmentFile=. The caller adds the variables of
 * the generation. *ret is NULL-terminated and never NULL; the strings and the list are the caller's. -ENOENT,
 * -EACCES and the like: an EnvironmentFile= could not be read; err names it. */
int service_config_build_environment(const struct service_config *config, char *const inherited[],
                                     char ***ret, struct err *err);

/* Expands variables in a command's words: ${NAME} anywhere in a word becomes the value (nothing when unset);
 * a word that is $NAME alone becomes the value's words, as many as there are, quotes in it holding words
 * together; $$ becomes $. words[0], the executable, is taken as it is. 0 or -ENOMEM; *ret is the caller's. */
int service_config_expand_argv(char *const words[], char *const environment[], char ***ret);

/* Writes the effective configuration in the syntax of the files, what the kind added included.
 * Returns 0, -ENOMEM, or -EIO when the stream failed. */
int service_config_dump(const struct service_config *config, FILE *file);

/* The same for a machine, and short: what differs from the initial values. As NAME.state has it, for a latchd that
 * comes after us. *ret is the caller's. 0 or -ENOMEM. */
int service_config_record(const struct service_config *config, char **ret);

/* Reads that back. Nothing is looked up, checked or filled in: it was all that when it was written, and may be
 * different by now. -EBADMSG: it makes no sense to this version. */
int service_config_from_record(const char *name, const char *text, struct service_config **ret);
