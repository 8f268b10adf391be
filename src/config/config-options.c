/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A configuration from a command line. Its values have been through a shell and are taken as they are: no
 * quoting, no specifiers, no variables; only --set speaks the language of the files. */

#include <ctype.h>

#include "base/err.h"
#include "base/strlist.h"
#include "config/config-build.h"
#include "config/rlimit.h"

/* The options that are keys of [Service] by another name. */
static const struct {
    const char *option, *key;
} service_options[] = {
    {"user", "User"},
    {"group", "Group"},
    {"kind", "Kind"},
    {"config-file", "ConfigFile"},
    {"environment", "Environment"},
    {"type", "Type"},
    {"restart", "Restart"},
};

static int assign(struct config_builder *builder, enum config_section section, const char *name, void *object,
                  const char *value) {
    const struct config_key *key = config_key_find(section, name);

    for (const unsigned char *p = (const unsigned char *) value; *p; p++)
        if (*p < ' ' && strcmp(name, "Environment") != 0)
            return config_builder_problem(builder, "%s=%s: a control character in the value", name, value);
    return config_builder_assign(builder, key, object, value);
}

/* A name for a socket or lock: the last part of its path, in the letters of names; made different from those
 * before it. NULL: no memory. */
static char *name_for(const struct service_config *config, enum config_section section, const char *path) {
    const char *base = strrchr(path, '/');
    size_t n = section == CONFIG_SECTION_SOCKET ? config->n_sockets : config->n_locks;
    _cleanup_free_ char *stem = NULL;

    base = base ? base + 1 : path;
    if (asprintf(&stem, "%.150s", *base ? base : "unnamed") < 0) {
        stem = NULL;
        return NULL;
    }
    for (char *p = stem; *p; p++)
        if (!isascii((unsigned char) *p) || (!isalnum((unsigned char) *p) && !strchr("_.@:-", *p)))
            *p = '_';
    if (*stem == '.')
        *stem = '_';
    for (unsigned attempt = 1;; attempt++) {
        bool taken = false;
        char *name;

        if (asprintf(&name, attempt == 1 ? "%s" : "%s-%u", stem, attempt) < 0)
            return NULL;
        for (size_t i = 0; i < n; i++)
            taken = taken || strcmp(name, section == CONFIG_SECTION_SOCKET ? config->sockets[i]->name
                                                                           : config->locks[i]->name) == 0;
        if (!taken)
            return name;
        free(name);
    }
}

/* PATH[:STYLE] */
static int add_lock(struct config_builder *builder, const char *value) {
    const char *colon = strrchr(value, ':'), *style = colon && !strchr(colon, '/') ? colon + 1 : NULL;
    _cleanup_free_ char *path = strndup(value, style ? (size_t) (style - 1 - value) : strlen(value)),
                        *name = NULL;
    struct lock_config *lock;
    int r;

    if (!path)
        return -ENOMEM;
    if (!*path)
        return config_builder_problem(builder, "expected PATH[:STYLE]");
    name = name_for(builder->config, CONFIG_SECTION_LOCK, path);
    lock = name ? service_config_add_lock(builder->config, name) : NULL;
    if (!lock)
        return -ENOMEM;
    r = assign(builder, CONFIG_SECTION_LOCK, "LockFile", lock, path);
    return r < 0 || !style ? r : assign(builder, CONFIG_SECTION_LOCK, "LockStyle", lock, style);
}

static int add_socket(struct config_builder *builder, const char *value) {
    _cleanup_free_ char *name = name_for(builder->config, CONFIG_SECTION_SOCKET, value);
    struct socket_config *socket = name ? service_config_add_socket(builder->config, name) : NULL;

    return socket ? assign(builder, CONFIG_SECTION_SOCKET, "ListenStream", socket, value) : -ENOMEM;
}

/* KEY=VALUE, or with a prefix "Limit" and capitals, as "nofile=1024". */
static int set_key(struct config_builder *builder, const char *prefix, const char *text) {
    const char *equals = strchr(text, '='), *value, *nearest;
    _cleanup_free_ char *name = NULL, *trimmed = NULL;
    size_t length, name_length;

    if (!equals || equals == text)
        return config_builder_problem(
            builder, *prefix ? "'%s': expected NAME=SOFT[:HARD]" : "'%s': expected KEY=VALUE", text);
    name_length = (size_t) (equals - text);
    while (name_length > 0 && strchr(" \t", text[name_length - 1]))
        name_length--;
    if (asprintf(&name, "%s%.*s", prefix, (int) name_length, text) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    for (char *p = name + strlen(prefix); *prefix && *p; p++)
        *p = (char) toupper((unsigned char) *p);
    if (!config_key_find(CONFIG_SECTION_SERVICE, name)) {
        nearest = *prefix ? rlimit_nearest(name + strlen(prefix))
                          : config_key_nearest(CONFIG_SECTION_SERVICE, name);
        return config_builder_problem(builder, "unknown %s '%s'%s%s%s%s", *prefix ? "limit" : "key",
                                      name + strlen(prefix), nearest ? "; did you mean '" : "",
                                      nearest ? nearest : "", nearest ? "'?" : "",
                                      *prefix && !nearest ? "; there are " RLIMIT_NAMES : "");
    }
    value = equals + 1 + strspn(equals + 1, " \t");
    length = strlen(value);
    while (length > 0 && strchr(" \t", value[length - 1]))
        length--;
    trimmed = strndup(value, length);
    if (!trimmed)
        return -ENOMEM;
    if (*prefix && !*trimmed)
        return config_builder_problem(builder, "'%s': expected NAME=SOFT[:HARD]", text);
    return assign(builder, CONFIG_SECTION_SERVICE, name, builder->config, trimmed);
}

static int take_option(struct config_builder *builder, const struct config_option *option) {
    if (strcmp(option->key, "name") == 0) /* config_from_options() has taken it already */
        return 0;
    builder->literal = strcmp(option->key, "set") != 0;
    if (!builder->literal)
        return set_key(builder, "", option->value);
    if (!*option->value)
        return config_builder_problem(builder, "the value is empty");
    if (strcmp(option->key, "limit") == 0)
        return set_key(builder, "Limit", option->value);
    if (strcmp(option->key, "lock") == 0)
        return add_lock(builder, option->value);
    if (strcmp(option->key, "socket") == 0)
        return add_socket(builder, option->value);
    for (size_t i = 0; i < ELEMENTSOF(service_options); i++)
        if (strcmp(option->key, service_options[i].option) == 0)
            return assign(builder, CONFIG_SECTION_SERVICE, service_options[i].key, builder->config,
                          option->value);
    return config_builder_problem(builder, "there is no such option");
}

/* --name, else what the executable is called. */
static int start(struct config_builder *builder, const struct config_option *options, size_t n,
                 char *const argv[]) {
    const char *name = NULL, *slash;
    int r;

    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].key, "name") == 0)
            name = options[i].value;
    builder->file = "--name";
    if (!name && argv && *argv) {
        slash = strrchr(*argv, '/');
        name = slash ? slash + 1 : *argv;
    }
    if (!name)
        name = "unnamed"; /* without a command, which is a mistake already */
    if (!config_name_is_valid(name) || name[strlen(name) - 1] == '@') {
        r = config_builder_problem(
            builder,
            "'%.200s' cannot be a service's name: at most 200 letters, digits and _.@:-, no "
            "dot first, no @ last",
            name);
        if (r < 0)
            return r;
    }
    return config_builder_start(builder, name);
}

static int take_command(struct config_builder *builder, char *const argv[]) {
    const struct config_key *key = config_key_find(CONFIG_SECTION_SERVICE, "ExecStart");
    int r;

    builder->file = "command";
    if (!argv || !*argv)
        return 0;
    if (builder->config->exec_start)
        return config_builder_problem(builder, "there is one in --set ExecStart= already");
    if (!**argv || (**argv != '/' && strchr(*argv, '/'))) {
        r = config_builder_problem(builder,
                                   "'%s': expected the executable's absolute path, or its name to be found "
                                   "in PATH",
                                   *argv);
        return r < 0 ? r : config_builder_remember(builder, builder->config, key, true);
    }
    r = strlist_append(&builder->config->exec_start, NULL, strdup(*argv));
    if (r >= 0)
        r = service_config_append_arguments(builder->config, argv + 1);
    return r < 0 ? r : config_builder_remember(builder, builder->config, key, false);
}

int service_config_from_options(const struct config_option *options, size_t n_options, char *const argv[],
                                config_run_t run, struct config_problems *problems,
                                struct service_config **ret) {
    _cleanup_(config_problems_done) struct config_problems own = {0};
    _cleanup_(config_builder_done) struct config_builder builder = {.problems = problems ? problems : &own,
                                                                    .run = run};
    size_t before = builder.problems->n;
    bool misread;
    int r = start(&builder, options, n_options, argv);

    for (size_t i = 0; i < n_options && r >= 0; i++) {
        char *place;

        if (asprintf(&place, "--%s", options[i].key) < 0)
            return -ENOMEM;
        r = strlist_append(&builder.files, NULL, place);
        builder.file = place;
        if (r >= 0)
            r = take_option(&builder, &options[i]);
    }
    if (r >= 0)
        r = take_command(&builder, argv);
    builder.literal = false;
    misread = builder.problems->n > before;
    if (r >= 0)
        r = config_builder_finish(&builder);
    if (r < 0)
        return r;
    if (builder.problems->n > before)
        return misread ? -EBADMSG : -EINVAL;
    *ret = TAKE_PTR(builder.config);
    return 0;
}
