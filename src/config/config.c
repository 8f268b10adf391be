/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config.h"

#include <assert.h>
#include <stdarg.h>

#include "base/strlist.h"
#include "base/value.h"
#include "config/config-build.h"

static const char *const service_kind_names[] = {
    [SERVICE_KIND_GENERIC] = "generic", [SERVICE_KIND_KEA] = "kea",
    [SERVICE_KIND_DOVECOT] = "dovecot", [SERVICE_KIND_POSTGRESQL] = "postgresql",
    [SERVICE_KIND_MYSQL] = "mysql",     [SERVICE_KIND_X11] = "x11",
};
static_assert(ELEMENTSOF(service_kind_names) == SERVICE_KIND_MAX, "a kind without a name");
STRTAB_DEFINE(service_kind, enum service_kind, service_kind_names, SERVICE_KIND_INVALID)

static const char *const service_type_names[] = {
    [SERVICE_TYPE_SIMPLE] = "simple",
    [SERVICE_TYPE_NOTIFY] = "notify",
    [SERVICE_TYPE_SOCKET] = "socket",
};
static_assert(ELEMENTSOF(service_type_names) == SERVICE_TYPE_MAX, "a type without a name");
STRTAB_DEFINE(service_type, enum service_type, service_type_names, SERVICE_TYPE_INVALID)

static const char *const restart_policy_names[] = {
    [RESTART_NO] = "no",
    [RESTART_ON_FAILURE] = "on-failure",
    [RESTART_ON_ABNORMAL] = "on-abnormal",
    [RESTART_ALWAYS] = "always",
};
static_assert(ELEMENTSOF(restart_policy_names) == RESTART_POLICY_MAX, "a restart policy without a name");
STRTAB_DEFINE(restart_policy, enum restart_policy, restart_policy_names, RESTART_POLICY_INVALID)

static const char *const orphan_policy_names[] = {
    [ORPHAN_TERMINATE] = "terminate",
    [ORPHAN_WAIT] = "wait",
    [ORPHAN_FAIL] = "fail",
};
static_assert(ELEMENTSOF(orphan_policy_names) == ORPHAN_POLICY_MAX, "an orphan policy without a name");
STRTAB_DEFINE(orphan_policy, enum orphan_policy, orphan_policy_names, ORPHAN_POLICY_INVALID)

static const char *const socket_owner_names[] = {
    [SOCKET_OWNER_DAEMON] = "daemon",
    [SOCKET_OWNER_LATCHD] = "latchd",
};
static_assert(ELEMENTSOF(socket_owner_names) == SOCKET_OWNER_MAX, "an owner without a name");
STRTAB_DEFINE(socket_owner, enum socket_owner, socket_owner_names, SOCKET_OWNER_INVALID)

static const char *const socket_probe_names[] = {
    [SOCKET_PROBE_CONNECT] = "connect",
    [SOCKET_PROBE_KEA] = "kea",
    [SOCKET_PROBE_NONE] = "none",
};
static_assert(ELEMENTSOF(socket_probe_names) == SOCKET_PROBE_MAX, "a probe without a name");
STRTAB_DEFINE(socket_probe, enum socket_probe, socket_probe_names, SOCKET_PROBE_INVALID)

void config_answer_done(struct config_answer *answer) {
    free(answer->text);
    free(answer->said);
    *answer = (struct config_answer){0};
}

void config_problems_done(struct config_problems *problems) {
    problems->lines = strlist_free(problems->lines);
    problems->n = 0;
}

int config_problems_add(struct config_problems *problems, const char *file, unsigned line, const char *fmt,
                        ...) {
    _cleanup_free_ char *message = NULL;
    char *whole;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&message, fmt, ap);
    va_end(ap);
    if (r < 0) {
        message = NULL;
        return -ENOMEM;
    }
    r = line > 0 ? asprintf(&whole, "%s:%u: %s", file, line, message)
                 : asprintf(&whole, "%s: %s", file, message);
    if (r < 0)
        return -ENOMEM;
    value_make_printable(whole);
    r = strlist_append(&problems->lines, &problems->n, whole);
    return r < 0 ? r : -EINVAL;
}

/* Frees what the keys of a section have in an object. */
static void release_keys(enum config_section section, void *object) {
    for (size_t i = 0; i < config_n_keys; i++)
        if (config_keys[i].section == section)
            config_keys[i].type->reset(object, config_key_field(&config_keys[i], object));
}

static void socket_free(struct socket_config *socket) {
    release_keys(CONFIG_SECTION_SOCKET, socket);
    free(socket->name);
    free(socket->lock.name);
    free(socket);
}

static void lock_free(struct lock_config *lock) {
    release_keys(CONFIG_SECTION_LOCK, lock);
    free(lock->name);
    free(lock->helper);
    free(lock);
}

struct service_config *service_config_free(struct service_config *config) {
    if (!config)
        return NULL;
    for (size_t i = 0; i < config->n_sockets; i++)
        socket_free(config->sockets[i]);
    for (size_t i = 0; i < config->n_locks; i++)
        lock_free(config->locks[i]);
    release_keys(CONFIG_SECTION_SERVICE, config);
    free(config->sockets);
    free(config->locks);
    free(config->name);
    free(config->file);
    free(config);
    return NULL;
}

bool config_name_is_valid(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@:-";
    size_t length = strlen(name);

    return length > 0 && length <= 200 && *name != '.' && strspn(name, letters) == length;
}

struct socket_config *service_config_find_socket(const struct service_config *config, const char *name) {
    for (size_t i = 0; i < config->n_sockets; i++)
        if (strcmp(config->sockets[i]->name, name) == 0)
            return config->sockets[i];
    return NULL;
}

struct lock_config *service_config_find_lock(const struct service_config *config, const char *name) {
    for (size_t i = 0; i < config->n_locks; i++)
        if (strcmp(config->locks[i]->name, name) == 0)
            return config->locks[i];
    return NULL;
}

struct socket_config *service_config_add_socket(struct service_config *config, const char *name) {
    struct config_builder builder = {.config = config};
    struct socket_config **bigger, *socket = service_config_find_socket(config, name);

    if (socket)
        return socket;
    bigger = reallocarray(config->sockets, config->n_sockets + 1, sizeof(*bigger));
    if (!bigger)
        return NULL;
    config->sockets = bigger;
    socket = calloc(1, sizeof *socket);
    if (!socket)
        return NULL;
    socket->name = strdup(name);
    socket->lock.name = strdup(name);
    if (!socket->name || !socket->lock.name ||
        config_builder_initialize(&builder, CONFIG_SECTION_SOCKET, socket) < 0) {
        socket_free(socket);
        return NULL;
    }
    return config->sockets[config->n_sockets++] = socket;
}

struct lock_config *service_config_add_lock(struct service_config *config, const char *name) {
    struct config_builder builder = {.config = config};
    struct lock_config **bigger, *lock = service_config_find_lock(config, name);

    if (lock)
        return lock;
    bigger = reallocarray(config->locks, config->n_locks + 1, sizeof(*bigger));
    if (!bigger)
        return NULL;
    config->locks = bigger;
    lock = calloc(1, sizeof *lock);
    if (!lock)
        return NULL;
    lock->name = strdup(name);
    if (!lock->name || config_builder_initialize(&builder, CONFIG_SECTION_LOCK, lock) < 0) {
        lock_free(lock);
        return NULL;
    }
    return config->locks[config->n_locks++] = lock;
}

int service_config_allow_orphan(struct service_config *config, const char *executable) {
    if (strlist_contains(config->orphan_allow, executable))
        return 0;
    return strlist_append(&config->orphan_allow, NULL, strdup(executable));
}

int service_config_append_arguments(struct service_config *config, char *const arguments[]) {
    for (; arguments && *arguments; arguments++) {
        char *escaped = malloc(2 * strlen(*arguments) + 1), *out = escaped;
        int r;

        if (!escaped)
            return -ENOMEM;
        for (const char *p = *arguments; *p; p++) {
            if (*p == '$')
                *out++ = '$';
            *out++ = *p;
        }
        *out = '\0';
        r = strlist_append(&config->exec_start, NULL, escaped);
        if (r < 0)
            return r;
    }
    return 0;
}
