/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The types of keys that have one value: numbers, times, names, paths. */

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sys/un.h>

#include "base/value.h"
#include "config/config-type.h"
#include "config/rlimit.h"

void config_print_escaped(struct text *text, const char *value) {
    for (; *value; value++)
        text_add_bytes(text, *value == '%' ? "%%" : value, *value == '%' ? 2 : 1);
}

void config_print_value(struct text *text, const struct config_key *key, const char *value) {
    text_add_format(text, "%s=", key->name);
    config_print_escaped(text, value);
    text_add(text, "\n");
}

RESET(reset_string) {
    char **string = field;

    free(*string);
    *string = NULL;
}

PRINT(print_string) {
    const char *string = *(char *const *) field;

    if (string)
        config_print_value(text, key, string);
}

static void replace(char **field, char *value) {
    free(*field);
    *field = value;
}

PARSE(parse_string) {
    char *expanded;
    int r = config_builder_expand(builder, value, &expanded);

    if (r >= 0)
        replace(field, expanded);
    return r;
}

int config_parse_path(struct config_builder *builder, const char *value, char **ret) {
    _cleanup_free_ char *path = NULL;
    int r = config_builder_expand(builder, value, &path);

    if (r < 0)
        return r;
    if (*path != '/')
        return config_builder_detail(builder, "expected an absolute path");
    if (strlen(path) >= PATH_MAX)
        return config_builder_detail(builder, "the path is longer than %d bytes", PATH_MAX - 1);
    *ret = TAKE_PTR(path);
    return 0;
}

PARSE(parse_path) {
    char *path;
    int r = config_parse_path(builder, value, &path);

    if (r >= 0)
        replace(field, path);
    return r;
}

/* HOST:PORT, [ADDRESS]:PORT */
static bool is_host_and_port(const char *text) {
    const char *colon = strrchr(text, ':');
    _cleanup_free_ char *host = NULL;
    struct in6_addr address;
    size_t length;
    int port;

    if (!colon || colon == text || value_parse_int(colon + 1, 1, UINT16_MAX, &port) < 0 || colon[1] == '+')
        return false;
    host = strndup(text, (size_t) (colon - text));
    if (!host)
        return false;
    length = strlen(host);
    if (*host == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, &address) == 1;
    }
    return !strpbrk(host, ":[]/@ \t");
}

PARSE(parse_listen) {
    _cleanup_free_ char *listen = NULL;
    size_t room = sizeof((struct sockaddr_un *) NULL)->sun_path - 1; /* unix(7) */
    int r = config_builder_expand(builder, value, &listen);

    if (r < 0)
        return r;
    if (*listen == '/' || *listen == '@') {
        if (!listen[1])
            return -EINVAL;
        if (strlen(listen) > room)
            return config_builder_detail(builder, "%zu bytes, but a socket's address takes at most %zu",
                                         strlen(listen), room);
    } else if (!is_host_and_port(listen))
        return -EINVAL;
    replace(field, TAKE_PTR(listen));
    return 0;
}

PARSE(parse_socket_lock_file) {
    struct socket_config *socket = object;

    if (strcmp(value, "none") != 0) {
        int r = parse_path(builder, object, field, value);

        if (r < 0)
            return r;
        socket->lock_none = false;
        return 0;
    }
    replace(field, NULL);
    socket->lock_none = true;
    return 0;
}

RESET(reset_socket_lock_file) {
    reset_string(object, field);
    ((struct socket_config *) object)->lock_none = false;
}

PRINT(print_socket_lock_file) {
    if (((const struct socket_config *) object)->lock_none)
        config_print_value(text, key, "none");
    else
        print_string(text, key, object, field);
}

const struct config_type config_type_string = {"text", false, parse_string, reset_string, print_string};
const struct config_type config_type_path = {"an absolute path", false, parse_path, reset_string,
                                             print_string};
const struct config_type config_type_listen = {"an absolute path, @NAME or HOST:PORT", false, parse_listen,
                                               reset_string, print_string};
const struct config_type config_type_socket_lock_file = {"an absolute path or none", false,
                                                         parse_socket_lock_file, reset_socket_lock_file,
                                                         print_socket_lock_file};

RESET(reset_int) {
    *(int *) field = 0;
}

PRINT(print_int) {
    text_add_format(text, "%s=%d\n", key->name, *(const int *) field);
}

PARSE(parse_signal) {
    return value_parse_signal(value, field);
}

PRINT(print_signal) {
    int number = *(const int *) field;
    char name[16];

    value_format_signal(number, name, sizeof name);
    text_add_format(text, "%s=%s%s\n", key->name, sigabbrev_np(number) ? "SIG" : "", name);
}

PARSE(parse_backlog) {
    return value_parse_int(value, 1, INT_MAX, field) < 0 ? -EINVAL : 0;
}

PARSE(parse_oom_score_adjust) {
    if (value_parse_int(value, -1000, 1000, field) < 0)
        return -EINVAL;
    ((struct service_config *) object)->oom_score_adjust_set = true;
    return 0;
}

RESET(reset_oom_score_adjust) {
    reset_int(object, field);
    ((struct service_config *) object)->oom_score_adjust_set = false;
}

PRINT(print_oom_score_adjust) {
    if (((const struct service_config *) object)->oom_score_adjust_set)
        print_int(text, key, object, field);
}

PARSE(parse_nice) {
    if (value_parse_int(value, -20, 19, field) < 0)
        return -EINVAL;
    ((struct service_config *) object)->nice_set = true;
    return 0;
}

RESET(reset_nice) {
    reset_int(object, field);
    ((struct service_config *) object)->nice_set = false;
}

PRINT(print_nice) {
    if (((const struct service_config *) object)->nice_set)
        print_int(text, key, object, field);
}

const struct config_type config_type_signal = {"a signal such as SIGHUP, 15 or RTMIN+3", false, parse_signal,
                                               reset_int, print_signal};
const struct config_type config_type_backlog = {"a number above 0", false, parse_backlog, reset_int,
                                                print_int};
const struct config_type config_type_oom_score_adjust = {"a number from -1000 to 1000", false,
                                                         parse_oom_score_adjust, reset_oom_score_adjust,
                                                         print_oom_score_adjust};
const struct config_type config_type_nice = {"a number from -20 to 19", false, parse_nice, reset_nice,
                                             print_nice};

PARSE(parse_count) {
    uint64_t number;

    if (value_parse_u64(value, &number) < 0 || number > UINT_MAX)
        return -EINVAL;
    *(unsigned *) field = (unsigned) number;
    return 0;
}

RESET(reset_count) {
    *(unsigned *) field = 0;
}

PRINT(print_count) {
    text_add_format(text, "%s=%u\n", key->name, *(const unsigned *) field);
}

/* 0, a number of connections, or a percentage. */
PARSE(parse_queue_warn) {
    size_t length = strlen(value);
    bool percent = length > 0 && value[length - 1] == '%';
    _cleanup_free_ char *digits = strndup(value, length - percent);
    uint64_t number;

    if (!digits)
        return -ENOMEM;
    if (value_parse_u64(digits, &number) < 0 || number > UINT_MAX ||
        (percent && (number < 1 || number > 100)))
        return -EINVAL;
    *(struct queue_warn *) field = (struct queue_warn){.number = (unsigned) number, .percent = percent};
    return 0;
}

RESET(reset_queue_warn) {
    *(struct queue_warn *) field = (struct queue_warn){0};
}

PRINT(print_queue_warn) {
    const struct queue_warn *warn = field;

    text_add_format(text, "%s=%u%s\n", key->name, warn->number, warn->percent ? "%" : "");
}

RESET(reset_u64) {
    *(uint64_t *) field = 0;
}

PRINT(print_u64) {
    text_add_format(text, "%s=%" PRIu64 "\n", key->name, *(const uint64_t *) field);
}

PARSE(parse_u64) {
    return value_parse_u64(value, field) < 0 ? -EINVAL : 0;
}

/* setsockopt(2) takes an int. */
PARSE(parse_size) {
    uint64_t size;

    if (value_parse_size(value, &size) < 0 || size > INT_MAX)
        return -EINVAL;
    *(uint64_t *) field = size;
    return 0;
}

PARSE(parse_time) {
    return value_parse_usec(value, field) < 0 ? -EINVAL : 0;
}

/* 0 means infinity here, as it does in systemd.service(5). */
PARSE(parse_timeout) {
    uint64_t *usec = field;

    if (value_parse_usec(value, usec) < 0)
        return -EINVAL;
    if (*usec == 0)
        *usec = USEC_INFINITY;
    return 0;
}

PARSE(parse_watchdog) {
    uint64_t *usec = field;

    if (value_parse_usec(value, usec) < 0)
        return -EINVAL;
    if (*usec == USEC_INFINITY)
        *usec = 0;
    return 0;
}

/* Exact, unlike what is formatted for people to read at a glance. */
PRINT(print_time) {
    static const struct {
        const char *name;
        uint64_t usec;
    } units[] = {{"min", 60 * USEC_PER_SEC}, {"s", USEC_PER_SEC}, {"ms", USEC_PER_MSEC}, {"us", 1}};
    uint64_t usec = *(const uint64_t *) field;
    size_t i = 0;

    if (usec == 0 || usec == USEC_INFINITY) {
        text_add_format(text, "%s=%s\n", key->name, usec == 0 ? "0" : "infinity");
        return;
    }
    while (usec % units[i].usec != 0)
        i++;
    text_add_format(text, "%s=%" PRIu64 "%s\n", key->name, usec / units[i].usec, units[i].name);
}

const struct config_type config_type_count = {"a number", false, parse_count, reset_count, print_count};
const struct config_type config_type_queue_warn = {"a number of connections, or a percentage from 1% to 100%",
                                                   false, parse_queue_warn, reset_queue_warn,
                                                   print_queue_warn};
const struct config_type config_type_u64 = {"a number", false, parse_u64, reset_u64, print_u64};
const struct config_type config_type_size = {"a size below 2G, such as 65536 or 64K", false, parse_size,
                                             reset_u64, print_u64};
#define A_TIME "a time such as 5s, 200ms, 1min 30s or infinity"
const struct config_type config_type_time = {A_TIME, false, parse_time, reset_u64, print_time};
const struct config_type config_type_timeout = {A_TIME, false, parse_timeout, reset_u64, print_time};
const struct config_type config_type_watchdog = {A_TIME, false, parse_watchdog, reset_u64, print_time};

PARSE(parse_bool) {
    return value_parse_bool(value, field);
}

RESET(reset_bool) {
    *(bool *) field = false;
}

PRINT(print_bool) {
    text_add_format(text, "%s=%s\n", key->name, *(const bool *) field ? "yes" : "no");
}

PARSE(parse_mode) {
    mode_t mode;

    if (value_parse_mode(value, &mode) < 0 || mode > 0777)
        return -EINVAL;
    *(mode_t *) field = mode;
    return 0;
}

RESET(reset_mode) {
    *(mode_t *) field = 0;
}

PRINT(print_mode) {
    text_add_format(text, "%s=%04o\n", key->name, (unsigned) *(const mode_t *) field);
}

const struct config_type config_type_bool = {"yes or no", false, parse_bool, reset_bool, print_bool};
const struct config_type config_type_mode = {"an octal mode from 0 to 0777", false, parse_mode, reset_mode,
                                             print_mode};

static const char *const output_names[] = {
    [OUTPUT_JOURNAL] = "journal", [OUTPUT_INHERIT] = "inherit", [OUTPUT_NULL] = "null",
    [OUTPUT_FILE] = "file:",      [OUTPUT_APPEND] = "append:",
};
static_assert(ELEMENTSOF(output_names) == OUTPUT_KIND_MAX, "an output without a name");

PARSE(parse_output) {
    struct output_config *output = field;

    for (size_t i = 0; i < ELEMENTSOF(output_names); i++) {
        size_t length = strlen(output_names[i]);
        bool takes_path = output_names[i][length - 1] == ':';
        char *path = NULL;

        if (takes_path ? strncmp(value, output_names[i], length) != 0 : strcmp(value, output_names[i]) != 0)
            continue;
        if (takes_path) {
            int r = config_parse_path(builder, value + length, &path);

            if (r < 0)
                return r;
        }
        replace(&output->path, path);
        output->kind = (enum output_kind) i;
        return 0;
    }
    return -EINVAL;
}

RESET(reset_output) {
    struct output_config *output = field;

    replace(&output->path, NULL);
    output->kind = OUTPUT_KIND_INVALID; /* until it is known what follows from StandardOutput= */
}

PRINT(print_output) {
    const struct output_config *output = field;

    if ((int) output->kind < 0)
        return;
    text_add_format(text, "%s=%s", key->name, output_names[output->kind]);
    if (output->path)
        config_print_escaped(text, output->path);
    text_add(text, "\n");
}

const struct config_type config_type_output = {"journal, inherit, null, file:PATH or append:PATH", false,
                                               parse_output, reset_output, print_output};

/* The limits stand in an array by their resource numbers. */
static int limit_resource(const void *object, const void *field) {
    return (int) ((const struct limit_config *) field - ((const struct service_config *) object)->limits);
}

PARSE(parse_limit) {
    _cleanup_err_ struct err err = {0};
    int r = rlimit_parse_value(limit_resource(object, field), value, field, &err);

    if (r >= 0 || r == -ENOMEM)
        return r;
    builder->detail = TAKE_PTR(err.message);
    return -EINVAL;
}

RESET(reset_limit) {
    *(struct limit_config *) field = (struct limit_config){0};
}

PRINT(print_limit) {
    const struct limit_config *limit = field;
    char range[RLIMIT_FORMAT_MAX];

    if (limit->set)
        text_add_format(text, "%s=%s\n", key->name,
                        limit->automatic ? "auto" : rlimit_format(limit->soft, limit->hard, range));
}

const struct config_type config_type_limit = {"SOFT[:HARD] or infinity", false, parse_limit, reset_limit,
                                              print_limit};

/* A name was none of an enumeration's; name_at tells them, and NULL behind the last one. */
static int expect_names(struct config_builder *builder, const char *(*name_at)(int) ) {
    _cleanup_text_ struct text names = {0};
    _cleanup_free_ char *list = NULL;
    int r;

    for (int i = 0; name_at(i); i++)
        text_add_format(&names, "%s%s", i == 0 ? "" : name_at(i + 1) ? ", " : " or ", name_at(i));
    r = text_take(&names, &list);
    return r < 0 ? r : config_builder_detail(builder, "expected %s", list);
}

/* A type whose values are the names of an enumeration. */
#define ENUM_FUNCTIONS(enumeration)                                                                          \
    static const char *enumeration##_at(int i) {                                                             \
        return enumeration##_to_string((enum enumeration) i);                                                \
    }                                                                                                        \
    PARSE(parse_##enumeration) {                                                                             \
        enum enumeration found = enumeration##_from_string(value);                                           \
                                                                                                             \
        if ((int) found < 0)                                                                                 \
            return expect_names(builder, enumeration##_at);                                                  \
        *(enum enumeration *) field = found;                                                                 \
        return 0;                                                                                            \
    }                                                                                                        \
    PRINT(print_##enumeration) {                                                                             \
        const char *value = enumeration##_to_string(*(const enum enumeration *) field);                      \
                                                                                                             \
        if (value)                                                                                           \
            text_add_format(text, "%s=%s\n", key->name, value);                                              \
    }
#define ENUM_TYPE(enumeration)                                                                               \
    ENUM_FUNCTIONS(enumeration)                                                                              \
    RESET(reset_##enumeration) {                                                                             \
        *(enum enumeration *) field = (enum enumeration) 0;                                                  \
    }                                                                                                        \
    const struct config_type config_type_##enumeration = {NULL, false, parse_##enumeration,                  \
                                                          reset_##enumeration, print_##enumeration};

ENUM_TYPE(service_kind)
ENUM_TYPE(restart_policy)
ENUM_TYPE(orphan_policy)
ENUM_TYPE(socket_owner)
ENUM_TYPE(lock_style)

ENUM_FUNCTIONS(service_type)

PARSE(parse_service_type_set) {
    int r = parse_service_type(builder, object, field, value);

    if (r >= 0)
        ((struct service_config *) object)->type_set = true;
    return r;
}

RESET(reset_service_type_set) {
    *(enum service_type *) field = SERVICE_TYPE_SIMPLE;
    ((struct service_config *) object)->type_set = false;
}

ENUM_FUNCTIONS(socket_probe)

RESET(reset_socket_probe_unset) {
    *(enum socket_probe *) field = SOCKET_PROBE_INVALID; /* until the kind has been asked */
}

const struct config_type config_type_socket_probe = {NULL, false, parse_socket_probe,
                                                     reset_socket_probe_unset, print_socket_probe};

const struct config_type config_type_service_type = {NULL, false, parse_service_type_set,
                                                     reset_service_type_set, print_service_type};
