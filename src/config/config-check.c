/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A configuration as a whole: what follows from what was written, and what does not go together. */

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "config/capability.h"
#include "config/config-build.h"
#include "base/executable.h"
#include "config/kind.h"
#include "socket/peer.h"

#define PROBE_INTERVAL_LEAST_USEC (100 * USEC_PER_MSEC)
/* Of a socket's path latchd binds to another name beside it, eight bytes longer (socket/listener.h); what
 * does not fit into unix(7) then is bound through /proc/self/fd, and of that its last component alone has to
 * fit. */
#define OWN_PATH_MAX 99
#define OWN_NAME_MAX 75
#define FD_NAME_MAX                                                                                          \
    200 /* of 255 (sd_listen_fds_with_names(3)); the service's stands before it in systemd's store */
#define QUEUE_INTERVAL_LEAST_USEC (10 * USEC_PER_MSEC)
#define FIRST_BAD_ID UINT32_MAX /* (uid_t) -1: "unchanged" to chown(2) and its like */

/* A value that was written and had its complaint is not missing. */
static bool was_rejected(const struct config_builder *builder, const void *object, const char *key) {
    const struct config_source *source = config_builder_source(builder, object, key);

    return source && source->rejected;
}

static bool is_number(const char *text) {
    return *text && strspn(text, "0123456789") == strlen(text);
}

static bool is_id(const char *text) {
    uint64_t id;

    return value_parse_u64(text, &id) >= 0 && id < FIRST_BAD_ID;
}

/* The lookups tell "no such name" in many ways (getpwnam(3)); all others are failures of the database. */
static bool is_not_found(int error) {
    return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

static int check_account(struct config_builder *builder, const void *object, const char *key,
                         const char *what, const char *name) {
    bool found;

    if (!name)
        return 0;
    if (is_number(name))
        return is_id(name) ? 0
                           : config_builder_problem_at(builder, object, key, "%s=%s: no %s has this number",
                                                       key, name, what);
    errno = 0;
    found = strcmp(what, "user") == 0 ? getpwnam(name) != NULL : getgrnam(name) != NULL;
    if (found)
        return 0;
    if (is_not_found(errno))
        return config_builder_problem_at(builder, object, key, "%s=%s: there is no such %s", key, name, what);
    return config_builder_problem_at(builder, object, key, "%s=%s: the %s cannot be looked up: %s", key, name,
                                     what, strerror(errno));
}

static int check_accounts(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    int r = check_account(builder, config, "User", "user", config->user);

    if (r >= 0)
        r = check_account(builder, config, "Group", "group", config->group);
    for (char **group = config->supplementary_groups; group && *group && r >= 0; group++)
        r = check_account(builder, config, "SupplementaryGroups", "group", *group);
    for (size_t i = 0; i < config->n_sockets && r >= 0; i++) {
        const struct socket_config *socket = config->sockets[i];

        r = check_account(builder, socket, "SocketUser", "user", socket->user);
        if (r >= 0)
            r = check_account(builder, socket, "SocketGroup", "group", socket->group);
    }
    return r;
}

static void touch(const struct config_builder *builder, const char *key, const char *path) {
    if (builder->touching)
        builder->touching(key, path);
}

/* Whether the command's executable is there, looked for as it will be when it is executed. */
static int check_executable(struct config_builder *builder, const char *key, char *const *command) {
    _cleanup_free_ char *search_path = NULL, *path = NULL;
    _cleanup_err_ struct err err = {0};
    struct stat st;
    int r;

    if (!command)
        return 0;
    for (char **file = builder->config->environment_file; file && *file; file++) {
        touch(builder, "EnvironmentFile", **file == '-' ? *file + 1 : *file); /* PATH= may be in there */
        if (builder->touching)
            (void) access(**file == '-' ? *file + 1 : *file, R_OK);
    }
    touch(builder, key, command[0]);
    search_path = service_config_getenv(builder->config, "PATH");
    r = executable_find(command[0], search_path, &path, &err);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return config_builder_problem_at(builder, builder->config, key, "%s=: %s", key, err_text(&err));
    if (stat(path, &st) < 0)
        return config_builder_problem_at(builder, builder->config, key, "%s=: %s: %s", key, path,
                                         strerror(errno));
    if (!S_ISREG(st.st_mode))
        return config_builder_problem_at(builder, builder->config, key, "%s=: %s is no regular file", key,
                                         path);
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
        return config_builder_problem_at(builder, builder->config, key, "%s=: %s is not executable: %s", key,
                                         path, strerror(errno));
    return 0;
}

static int check_commands(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    int r;

    if (!config->exec_start && !was_rejected(builder, config, "ExecStart"))
        r = config_builder_problem_at(builder, config, "ExecStart", "ExecStart= is missing in [Service]");
    else
        r = check_executable(builder, "ExecStart", config->exec_start);
    return r < 0 ? r : check_executable(builder, "ExecReload", config->exec_reload);
}

/* A directory can be opened, and not be read. */
static int access_file(const char *path) {
    struct stat st;

    if (access(path, R_OK) < 0 || stat(path, &st) < 0)
        return -1;
    errno = S_ISDIR(st.st_mode) ? EISDIR : 0;
    return errno ? -1 : 0;
}

static int check_environment_files(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    int r = 0;

    for (char **file = config->environment_file; file && *file && r >= 0; file++)
        if (**file != '-' && access_file(*file) < 0)
            r = config_builder_problem_at(builder, config, "EnvironmentFile", "EnvironmentFile=%s: %s", *file,
                                          strerror(errno));
    return r;
}

/* What is handed on has to be in the bounding set (capabilities(7)): such a start could never succeed. */
static int check_capabilities(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    uint64_t missing = config->ambient_capabilities & ~config->capability_bounding_set;
    _cleanup_free_ char *names = NULL;

    if (!config->capability_bounding_set_set || !missing ||
        was_rejected(builder, config, "CapabilityBoundingSet"))
        return 0;
    names = capability_set_to_names(missing);
    return config_builder_problem_at(
        builder, config, "AmbientCapabilities",
        "AmbientCapabilities=%s: not in CapabilityBoundingSet=; add it there, or leave it "
        "out here",
        names ? names : "?");
}

static int check_working_directory(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    struct stat st;

    if (!config->working_directory)
        return 0;
    touch(builder, "WorkingDirectory", config->working_directory);
    if (stat(config->working_directory, &st) >= 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        errno = ENOTDIR;
    } else if (errno != ENOENT && errno != ENOTDIR)
        return 0; /* the daemon's user may see more than we do, and a network's file system may come back */
    return config_builder_problem_at(builder, config, "WorkingDirectory", "WorkingDirectory=%s: %s",
                                     config->working_directory, strerror(errno));
}

static int check_times(struct config_builder *builder) {
    struct service_config *config = builder->config;

    if (config->restart_max_delay_usec >= config->restart_usec)
        return 0;
    if (config_builder_source(builder, config, "RestartMaxDelaySec"))
        return config_builder_problem_at(
            builder, config, "RestartMaxDelaySec",
            "RestartMaxDelaySec= is below RestartSec=, the delay it is to bound");
    config->restart_max_delay_usec = config->restart_usec;
    return 0;
}

/* The socket's lock file beside a path, unless something else was said. */
static int complete_sockets(struct service_config *config) {
    for (size_t i = 0; i < config->n_sockets; i++) {
        struct socket_config *socket = config->sockets[i];

        if (!socket->listen || *socket->listen != '/' || socket->lock.path || socket->lock_none)
            continue;
        if (asprintf(&socket->lock.path, "%s.lock", socket->listen) < 0) {
            socket->lock.path = NULL;
            return -ENOMEM;
        }
    }
    return 0;
}

static int complete_output(struct service_config *config) {
    if ((int) config->standard_error.kind >= 0)
        return 0;
    config->standard_error.kind = config->standard_output.kind;
    if (!config->standard_output.path)
        return 0;
    config->standard_error.path = strdup(config->standard_output.path);
    return config->standard_error.path ? 0 : -ENOMEM;
}

/* Some two of them cannot both be bound. */
static bool is_listened_twice(const struct service_config *config, const struct socket_config *socket) {
    for (size_t i = 0; config->sockets[i] != socket; i++)
        if (config->sockets[i]->owner == SOCKET_OWNER_LATCHD && config->sockets[i]->listen &&
            strcmp(config->sockets[i]->listen, socket->listen) == 0)
            return true;
    return false;
}

/* Whether something else of the service names the lock file that latchd is to take: it could not have it. */
static bool is_locked_twice(const struct service_config *config, const struct socket_config *socket) {
    const char *path = socket->lock.path;

    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i] != socket && config->sockets[i]->lock.path &&
            strcmp(config->sockets[i]->lock.path, path) == 0)
            return true;
    for (size_t i = 0; i < config->n_locks; i++)
        if (config->locks[i]->path && strcmp(config->locks[i]->path, path) == 0)
            return true;
    return false;
}

static int check_own_address(struct config_builder *builder, const struct socket_config *socket) {
    struct peer_address address;
    const char *slash;

    if (!socket->listen)
        return 0; /* has its complaint */
    if (is_listened_twice(builder->config, socket))
        return config_builder_problem_at(builder, socket, "ListenStream",
                                         "ListenStream=%s: another [Socket] of Owner=latchd listens there",
                                         socket->listen);
    slash = strrchr(socket->listen, '/');
    if (*socket->listen == '/' && strlen(slash + 1) > OWN_NAME_MAX && strlen(socket->listen) > OWN_PATH_MAX)
        return config_builder_problem_at(
            builder, socket, "ListenStream",
            "ListenStream=%s: its last component is too long for latchd's own name beside "
            "it (at most %d bytes)",
            socket->listen, OWN_NAME_MAX);
    if (*socket->listen != '/' && *socket->listen != '@' &&
        peer_parse_bind_address(socket->listen, &address) < 0)
        return config_builder_problem_at(
            builder, socket, "ListenStream",
            "ListenStream=%s: with Owner=latchd it is an address and a port, such as "
            "127.0.0.1:80, [::1]:80 or *:80; no name is looked up",
            socket->listen);
    return 0;
}

/* The daemon gets its name in LISTEN_FDNAMES, colons between names. */
static bool is_fd_name(const char *name) {
    for (const char *p = name; *p; p++)
        if (*p == ':' || *p < ' ' || *p > '~')
            return false;
    return *name && strlen(name) <= FD_NAME_MAX;
}

/* Owner=latchd: what cannot be kept for a daemon, or handed to one. */
static int check_own_socket(struct config_builder *builder, struct socket_config *socket) {
    enum lock_style style = socket->lock.path ? socket->lock.style : LOCK_STYLE_NONE;
    int r = 0;

    if (builder->config->kind == SERVICE_KIND_KEA)
        r = config_builder_problem_at(
            builder, socket, "Owner",
            "Owner=latchd: Kea takes no listener, it binds its control sockets by itself; "
            "leave Owner= out");
    if (r >= 0 && !is_fd_name(socket->name))
        r = config_builder_problem_at(
            builder, socket, "Owner",
            "[Socket %s]: with Owner=latchd the name goes to the daemon in LISTEN_FDNAMES: at "
            "most %d printable ASCII characters, and no colon",
            socket->name, FD_NAME_MAX);
    if (r >= 0 && style != LOCK_STYLE_NONE && style != LOCK_STYLE_FLOCK && style != LOCK_STYLE_OFD)
        r = config_builder_problem_at(
            builder, socket, "LockStyle",
            "LockStyle=%s: what latchd takes itself is flock, ofd or none (a posix lock is "
            "lost with any descriptor of the file, and the others lock nothing)",
            lock_style_to_string(style));
    if (r >= 0 && style != LOCK_STYLE_NONE && is_locked_twice(builder->config, socket))
        r = config_builder_problem_at(
            builder, socket, "LockFile",
            "LockFile=%s: with Owner=latchd it is latchd's alone, and another section names it, "
            "too; LockFile=none, or another file",
            socket->lock.path);
    if (r >= 0 && socket->probe == SOCKET_PROBE_CONNECT)
        r = config_builder_problem_at(
            builder, socket, "Probe",
            "Probe=connect: latchd itself listens there, so that a connection says nothing "
            "of the daemon; leave Probe= out");
    if ((int) socket->probe < 0)
        socket->probe = SOCKET_PROBE_NONE;
    return r < 0 ? r : check_own_address(builder, socket);
}

static bool any_answers(const struct service_config *config) {
    for (size_t i = 0; i < config->n_sockets; i++)
        if (config->sockets[i]->probe != SOCKET_PROBE_NONE ||
            config->sockets[i]->owner == SOCKET_OWNER_DAEMON)
            return true;
    return false;
}

static int check_sockets(struct config_builder *builder) {
    const struct service_config *config = builder->config;
    int r = 0;

    for (size_t i = 0; i < config->n_sockets && r >= 0; i++) {
        struct socket_config *socket = config->sockets[i];

        if (socket->owner == SOCKET_OWNER_LATCHD)
            r = check_own_socket(builder, socket);
        if ((int) socket->probe < 0) /* the kind knew no better one */
            socket->probe = SOCKET_PROBE_CONNECT;
        if (r >= 0 && !socket->listen && !was_rejected(builder, socket, "ListenStream"))
            r = config_builder_problem_at(builder, socket, "ListenStream",
                                          "ListenStream= is missing in [Socket %s]", socket->name);
        if (r >= 0 && socket->probe_timeout_usec == 0)
            r = config_builder_problem_at(builder, socket, "ProbeTimeoutSec",
                                          "ProbeTimeoutSec= is 0: no daemon could answer in that time");
        if (r >= 0 && socket->probe_interval_usec > 0 && socket->probe_interval_usec < PROBE_INTERVAL_LEAST_USEC)
            r = config_builder_problem_at(builder, socket, "ProbeIntervalSec",
                                          "ProbeIntervalSec= is below 100ms: nobody would have another use for "
                                          "the daemon");
        if (r >= 0 && socket->queue_interval_usec < QUEUE_INTERVAL_LEAST_USEC)
            r = config_builder_problem_at(builder, socket, "QueueIntervalSec",
                                          "QueueIntervalSec= is below 10ms: latchd would do little else");
    }
    for (size_t i = 0; i < config->n_locks && r >= 0; i++)
        if (!config->locks[i]->path && !was_rejected(builder, config->locks[i], "LockFile"))
            r = config_builder_problem_at(builder, config->locks[i], "LockFile",
                                          "LockFile= is missing in [Lock %s]", config->locks[i]->name);
    if (r >= 0 && config->type == SERVICE_TYPE_SOCKET && !any_answers(config))
        r = config_builder_problem_at(
            builder, config, "Type",
            config->n_sockets == 0
                ? "Type=socket, but there is no [Socket NAME] that could answer"
                : "Type=socket, but every [Socket NAME] has Probe=none (Owner=latchd means "
                  "that); use Type=notify or Type=simple");
    return r;
}

int config_builder_finish(struct config_builder *builder) {
    struct service_config *config = builder->config;
    int r = complete_sockets(config);

    if (r >= 0)
        r = complete_output(config);
    if (r >= 0)
        r = check_commands(builder);
    if (r >= 0)
        r = check_accounts(builder);
    if (r >= 0)
        r = check_capabilities(builder);
    if (r >= 0)
        r = check_working_directory(builder);
    if (r >= 0)
        r = check_environment_files(builder);
    if (r >= 0)
        r = check_times(builder);
    if (r < 0)
        return r;
    touch(builder, "", "what the daemon reads for its own configuration");
    r = kind_read(config, builder->run, builder->problems);
    if (r < 0 && r != -EINVAL) /* its mistakes are among the problems */
        return r;
    return check_sockets(builder);
}
