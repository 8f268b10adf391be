/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kind=dovecot: Dovecot's master process. Where it keeps what, tried with 2.3.19 (Debian):
 * - base_dir/master.pid is its PID file. It goes by kill(pid, 0) ("Dovecot is already running with PID ...":
 *   pid_file_read() in src/master/main.c), so that any process that got the number is in its way.
 * - The master binds all sockets itself, without lock files, some forty unix sockets in base_dir among them.
 * A path at which somebody still listens ends its start ("Socket already exists"), as does a port; one at
 * which nobody does it replaces. Of base_dir's only "master" is guarded, where the master itself answers
 * doveadm: the others are between Dovecot's own processes. The ports and what it puts elsewhere (for Postfix)
 * are for others: they are guarded.
 * - Its processes (libexec_dir/imap-login, auth, ...) inherit the listeners of their service, and hold them
 * for as long as they live after the master. */

#include "config/kind-dovecot.h"

#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/executable.h"
#include "base/fd.h"
#include "base/strlist.h"
#include "base/value.h"
#include "config/config-build.h"
#include "config/kind.h"

#define DEFAULT_CONFIG_FILE "/etc/dovecot/dovecot.conf"
/* It takes some hundredths of a second. Where a child reads on trial it has CONFIG_TRIAL_USEC, which is less:
 * what has not answered by then is not asked again beside the loop. */
#define ASK_USEC (6 * USEC_PER_SEC)
#define OUTPUT_BYTES_MAX (8U * 1024 * 1024)
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1) /* 107, see unix(7) */
#define EXCERPT_MAX 400
#define MASTER_BACKLOG 16 /* of the socket of its own, whatever the settings are (2.3.19) */

#define mistake(config, problems, ...) config_problems_add((problems), kind_place(config), 0, __VA_ARGS__)

/* ---- the command line ---- */

struct command {
    char **environment, **words; /* as they will be when it is executed */
    char *dovecot;               /* the word that is Dovecot; NULL: none is. Borrowed */
    char *config_file;           /* of the last -c; NULL: there is none. Borrowed */
    bool foreground;
    char *other; /* what asks for something else than a daemon: "stop", "-n". Borrowed */
};

static void command_done(struct command *command) {
    strlist_free(command->environment);
    strlist_free(command->words);
}

/* As getopt(3) with Dovecot's letters (main() in src/master/main.c; master_service_getopt_string()). */
static void read_options(struct command *command, char **word) {
    for (word++; *word; word++) {
        if ((*word)[0] != '-') {
            command->other = *word;
            return;
        }
        if ((*word)[1] == '-') {
            if ((*word)[2])
                command->other = *word;
            return;
        }
        for (char *letter = *word + 1; *letter; letter++) {
            if (*letter == 'F')
                command->foreground = true;
            else if (strchr("anN", *letter))
                command->other = *word;
            else if (strchr("cio", *letter)) {
                char *argument = letter[1] ? letter + 1 : word[1];

                if (*letter == 'c' && argument)
                    command->config_file = argument;
                if (!letter[1] && argument)
                    word++;
                break;
            }
        }
    }
}

static int read_command(const struct service_config *config, struct command *command, struct err *err) {
    int r = service_config_build_environment(config, environ, &command->environment, err);

    if (r < 0)
        return r;
    r = service_config_expand_argv(config->exec_start ? config->exec_start : (char *[]){NULL},
                                   command->environment, &command->words);
    if (r < 0)
        return err_set(err, -r, "OutOfMemory", "out of memory");
    for (char **word = command->words; *word && !command->dovecot; word++)
        if (strcmp(kind_base_name(*word), "dovecot") == 0) {
            command->dovecot = *word;
            read_options(command, word);
        }
    return 0;
}

/* ---- asking ---- */

/* The line that tells the reason: "doveconf: Fatal: ..."; else the last. Owned by the caller. */
static char *choose_line(char *said) {
    char *chosen = NULL, *rest = said, *copy;

    for (char *line; (line = strsep(&rest, "\n"));) {
        if (!*line)
            continue;
        chosen = line;
        if (strstr(line, "Fatal:") || strstr(line, "Error:"))
            break;
    }
    copy = strndup(chosen ? chosen : "it says nothing", EXCERPT_MAX);
    if (copy)
        value_make_printable(copy);
    return copy;
}

static int explain_failure(const char *program, int error, const struct err *why, struct err *err) {
    char waited[VALUE_FORMAT_MAX], bytes[VALUE_FORMAT_MAX];

    if (error == -ETIMEDOUT)
        return err_set(
            err, ETIMEDOUT, "Timeout",
            "Dovecot was asked for its configuration, and %s -a did not end within %s: does its "
            "configuration name a file that cannot be read to its end, or on a file system that does not "
            "answer?",
            program, value_format_usec(ASK_USEC, waited));
    if (error == -E2BIG)
        return err_set(err, E2BIG, "TooLarge",
                       "Dovecot was asked for its configuration, and %s -a printed more than %s", program,
                       value_format_bytes(OUTPUT_BYTES_MAX, bytes));
    return err_set(err, -error, "Failed", "Dovecot cannot be asked for its configuration: %s",
                   why->message ? why->message : strerror(-error));
}

static int ask(const struct service_config *config, const struct command *command, config_run_t run,
               struct dovecot_conf *ret, struct err *err) {
    const char *name = command->dovecot ? command->dovecot : "doveconf";
    char *config_file = command->config_file ? command->config_file : config->config_file;
    _cleanup_(config_answer_done) struct config_answer answer = {0};
    _cleanup_free_ char *search_path = service_config_getenv(config, "PATH"), *program = NULL, *line = NULL;
    _cleanup_err_ struct err why = {0};
    char *argv[] = {NULL, (char *) "-a", config_file ? (char *) "-c" : NULL, config_file, NULL};
    const struct config_question question = {.argv = argv,
                                             .envp = command->environment,
                                             .working_directory = config->working_directory,
                                             .timeout_usec = ASK_USEC,
                                             .max_bytes = OUTPUT_BYTES_MAX};
    int r = executable_find(name, search_path, &program, &why);

    if (r < 0)
        return explain_failure(name, r, &why, err);
    argv[0] = program;
    r = run(&question, &answer, &why);
    if (r < 0)
        return explain_failure(program, r, &why, err);
    if (answer.status != 0) {
        line = choose_line(answer.said);
        return err_set(err, EINVAL, "BadConfiguration",
                       "Dovecot refuses its configuration (%s -a: status %d): %s", program, answer.status,
                       line ? line : "");
    }
    r = dovecot_conf_parse(answer.text, answer.size, ret, &why);
    return r < 0 ? err_set(err, -r, "BadOutput", "%s -a: %s", program, err_text(&why)) : 0;
}

int kind_dovecot_ask(const struct service_config *config, config_run_t run, struct dovecot_conf *ret,
                     struct err *err) {
    _cleanup_(command_done) struct command command = {0};
    int r = read_command(config, &command, err);

    return r < 0 ? r : ask(config, &command, run, ret, err);
}

/* ---- what it says ---- */

struct reader {
    struct service_config *config;
    struct config_problems *problems;
    struct dovecot_conf conf;
};

static void reader_done(struct reader *reader) {
    dovecot_conf_done(&reader->conf);
}

static int check_command(const struct reader *reader, const struct command *command) {
    const struct service_config *config = reader->config;
    const char *read = command->config_file ? command->config_file : DEFAULT_CONFIG_FILE;

    if (!command->dovecot)
        return 0; /* a program that starts it, of which nothing is known */
    if (command->other)
        return mistake(config, reader->problems,
                       "ExecStart= has '%s', with which %s does not run as a daemon; write ExecStart=%s -F",
                       command->other, command->dovecot, command->dovecot);
    if (!command->foreground)
        return mistake(
            config, reader->problems,
            "ExecStart= starts %s without -F: it would go into the background and seem to have ended; write "
            "ExecStart=%s -F%s%s",
            command->dovecot, command->dovecot, command->config_file ? " -c " : "",
            command->config_file ? command->config_file : "");
    if (config->config_file && !kind_same_place(read, config->config_file))
        return mistake(config, reader->problems,
                       "ConfigFile=%s, but ExecStart= starts Dovecot with %s%s: they must be the same file",
                       config->config_file, command->config_file ? "-c " : "its own, ", read);
    return 0;
}

static int note_config_file(struct service_config *config, const struct command *command) {
    const char *path = command->config_file ? command->config_file : DEFAULT_CONFIG_FILE;
    int r = 0;

    if (config->config_file)
        return 0;
    if (path[0] != '/' && config->working_directory)
        r = kind_join(config->working_directory, path, &config->config_file);
    else
        config->config_file = strdup(path);
    return r < 0 || !config->config_file ? -ENOMEM : 0;
}

static int guard_pidfile(struct reader *reader) {
    struct service_config *config = reader->config;
    _cleanup_free_ char *path = NULL;
    struct lock_config *lock;
    char name[32];
    int r = kind_join(reader->conf.base_dir, "master.pid", &path);

    if (r < 0)
        return r;
    for (size_t i = 0; i < config->n_locks; i++)
        if (config->locks[i]->path && kind_same_place(config->locks[i]->path, path))
            return 0;
    kind_choose_name(config, "pidfile", sizeof name, name);
    lock = service_config_add_lock(config, name);
    if (!lock)
        return -ENOMEM;
    lock->style = LOCK_STYLE_PIDFILE;
    lock->path = TAKE_PTR(path);
    return 0;
}

/* What the administrator wrote of it stays as it is. */
static int guard_socket(struct reader *reader, const char *stem, const char *listen, uint64_t backlog) {
    struct service_config *config = reader->config;
    struct socket_config *socket = NULL;
    char name[32];

    for (size_t i = 0; i < config->n_sockets && !socket; i++)
        if (config->sockets[i]->listen && kind_same_place(config->sockets[i]->listen, listen))
            socket = config->sockets[i];
    if (socket && socket->owner == SOCKET_OWNER_LATCHD && *listen != '/')
        return 0; /* sd_listen_fds(3): Dovecot finds the ports that it was handed by their addresses */
    if (socket && socket->owner == SOCKET_OWNER_LATCHD)
        return mistake(config, reader->problems,
                       "[Socket %s]: Owner=latchd cannot work for %s: Dovecot takes ports from others, and "
                       "binds its sockets with a "
                       "path by itself; write Owner=daemon",
                       socket->name, socket->listen);
    if (!socket) {
        kind_choose_name(config, config_name_is_valid(stem) ? stem : "listener", sizeof name, name);
        socket = service_config_add_socket(config, name);
        if (!socket)
            return -ENOMEM;
        socket->owner = SOCKET_OWNER_DAEMON;
        socket->lock_none = true;
        socket->backlog = (int) backlog; /* as Dovecot gives it to listen(2) */
        socket->listen = strdup(listen);
        if (!socket->listen)
            return -ENOMEM;
    }
    if ((int) socket->probe < 0 || socket->probe >= SOCKET_PROBE_MAX)
        socket->probe = SOCKET_PROBE_CONNECT;
    return 0;
}

static int guard_path(struct reader *reader, const char *stem, const char *path, uint64_t backlog) {
    if (strlen(path) > SOCKET_PATH_MAX)
        return mistake(
            reader->config, reader->problems,
            "Dovecot's socket %s cannot be bound: its path is %zu bytes long, and unix(7) has room for %zu",
            path, strlen(path), SOCKET_PATH_MAX);
    return guard_socket(reader, stem, path, backlog);
}

static int guard_master(struct reader *reader) {
    _cleanup_free_ char *path = NULL;
    int r = kind_join(reader->conf.base_dir, "master", &path);

    return r < 0 ? r : guard_path(reader, "master", path, MASTER_BACKLOG);
}

static bool is_below(const char *path, const char *directory) {
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && path[length] == '/';
}

/* Where the port is asked for an answer: the first of its addresses. Of "*, ::" the latter is missing on a
 * machine without IPv6, and Dovecot does not mind. */
static int guard_port(struct reader *reader, const struct dovecot_listener *listener, uint64_t backlog) {
    const char *list = *listener->address ? listener->address : reader->conf.listen;
    const char *address = list + strspn(list, ", ");
    int length = (int) strcspn(address, ", ");
    _cleanup_free_ char *listen = NULL;
    int r;

    if (length == 0 || (listener->ssl && strcmp(reader->conf.ssl, "no") == 0))
        return 0;
    if (length == 1 && *address == '*')
        r = asprintf(&listen, "127.0.0.1:%u", listener->port);
    else if ((length == 2 && strncmp(address, "::", 2) == 0) ||
             (length == 4 && strncmp(address, "[::]", 4) == 0))
        r = asprintf(&listen, "[::1]:%u", listener->port);
    else if (memchr(address, ':', (size_t) length) && *address != '[')
        r = asprintf(&listen, "[%.*s]:%u", length, address, listener->port);
    else
        r = asprintf(&listen, "%.*s:%u", length, address, listener->port);
    if (r < 0) {
        listen = NULL;
        return -ENOMEM;
    }
    return guard_socket(reader, listener->name, listen, backlog);
}

static int guard_listeners(struct reader *reader) {
    int result = 0, r = 0;

    for (size_t i = 0; i < reader->conf.n_services && r != -ENOMEM; i++) {
        const struct dovecot_service *service = &reader->conf.services[i];

        for (size_t k = 0; k < service->n_listeners && r != -ENOMEM; k++) {
            const struct dovecot_listener *listener = &service->listeners[k];

            r = 0;
            if (listener->is_inet && listener->port > 0)
                r = guard_port(reader, listener, dovecot_service_backlog(service));
            else if (!listener->is_inet && listener->mode != 0 &&
                     !is_below(listener->name, reader->conf.base_dir))
                r = guard_path(reader, service->name, listener->name, dovecot_service_backlog(service));
            if (r < 0)
                result = r;
        }
    }
    return result;
}

/* Resolved, as /proc/PID/exe will show them. */
static int allow_helpers(struct reader *reader) {
    for (size_t i = 0; i < reader->conf.n_services; i++) {
        const char *path = reader->conf.services[i].executable;
        _cleanup_free_ char *resolved = realpath(path, NULL);
        int r = service_config_allow_orphan(reader->config, resolved ? resolved : path);

        if (r < 0)
            return r;
    }
    return 0;
}

static int count_clients(struct reader *reader) {
    const char *service;

    if (reader->config->client_limit == 0)
        reader->config->client_limit = dovecot_conf_needed_files(&reader->conf, &service);
    return 0;
}

int kind_dovecot_read(struct service_config *config, config_run_t run, struct config_problems *problems) {
    static int (*const steps[])(struct reader *) = {guard_pidfile, guard_master, guard_listeners,
                                                    allow_helpers, count_clients};
    _cleanup_(command_done) struct command command = {0};
    _cleanup_(reader_done) struct reader reader = {.config = config, .problems = problems};
    _cleanup_err_ struct err err = {0};
    int result = 0, r = read_command(config, &command, &err);

    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return mistake(config, problems, "%s", err_text(&err));
    if (!config->exec_start)
        return 0; /* of which somebody complains */
    result = check_command(&reader, &command);
    if (result == -ENOMEM)
        return result;
    if (!run)
        return mistake(config, problems, "Kind=dovecot cannot be read here: Dovecot itself has to be asked");
    r = ask(config, &command, run, &reader.conf, &err);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return mistake(config, problems, "%s", err_text(&err));
    r = note_config_file(config, &command);
    for (size_t i = 0; i < ELEMENTSOF(steps) && r != -ENOMEM; i++) {
        r = steps[i](&reader);
        if (r < 0)
            result = r;
    }
    if (r == -ENOMEM)
        return r;
    if (!config->type_set)
        config->type = SERVICE_TYPE_SOCKET;
    return result;
}
