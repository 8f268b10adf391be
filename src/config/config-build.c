/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config-build.h"

#include <pwd.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/strlist.h"
#include "base/unit-file.h"

#define VALUE_SHOWN 80 /* bytes of a value in a message */

void config_builder_done(struct config_builder *builder) {
    builder->config = service_config_free(builder->config);
    builder->files = strlist_free(builder->files);
    free(builder->sources);
    builder->sources = NULL;
    free(builder->detail);
    builder->detail = NULL;
}

/* An unfit name is no reason to stop here: it has had its complaint where it was found. */
int config_builder_start(struct config_builder *builder, const char *name) {
    builder->config = calloc(1, sizeof *builder->config);
    if (!builder->config)
        return -ENOMEM;
    builder->config->name = strdup(name);
    if (!builder->config->name)
        return -ENOMEM;
    return config_builder_initialize(builder, CONFIG_SECTION_SERVICE, builder->config);
}

static int reset(struct config_builder *builder, const struct config_key *key, void *object) {
    void *field = config_key_field(key, object);

    key->type->reset(object, field);
    return key->initial ? key->type->parse(builder, object, field, key->initial) : 0;
}

int config_builder_initialize(struct config_builder *builder, enum config_section section, void *object) {
    for (size_t i = 0; i < config_n_keys; i++) {
        int r;

        if (config_keys[i].section != section)
            continue;
        r = reset(builder, &config_keys[i], object);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The builder has a message: adds it to the problems. */
__attribute__((format(printf, 4, 0))) static int add_problem(struct config_builder *builder, const char *file,
                                                             unsigned line, const char *fmt, va_list ap) {
    _cleanup_free_ char *message = NULL;
    int r;

    if (vasprintf(&message, fmt, ap) < 0) {
        message = NULL;
        return -ENOMEM;
    }
    r = config_problems_add(builder->problems, file, line, "%s", message);
    return r == -EINVAL ? 0 : r;
}

int config_builder_problem(struct config_builder *builder, const char *fmt, ...) {
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = add_problem(builder, builder->file, builder->line, fmt, ap);
    va_end(ap);
    return r;
}

int config_builder_problem_at(struct config_builder *builder, const void *object, const char *key,
                              const char *fmt, ...) {
    const struct config_source *source = config_builder_source(builder, object, key);
    const char *file = builder->config->file ? builder->config->file : builder->config->name;
    va_list ap;
    int r;

    if (!source && key)
        source = config_builder_source(builder, object, NULL);
    va_start(ap, fmt);
    r = add_problem(builder, source ? source->file : file, source ? source->line : 0, fmt, ap);
    va_end(ap);
    return r;
}

int config_builder_detail(struct config_builder *builder, const char *fmt, ...) {
    _cleanup_free_ char *text = NULL;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (r < 0) {
        text = NULL;
        return -ENOMEM;
    }
    free(builder->detail);
    if (asprintf(&builder->detail, "%s=%.*s%s: %s", builder->key, VALUE_SHOWN, builder->value,
                 strlen(builder->value) > VALUE_SHOWN ? "..." : "", text) < 0) {
        builder->detail = NULL;
        return -ENOMEM;
    }
    return -EINVAL;
}

const struct config_source *config_builder_source(const struct config_builder *builder, const void *object,
                                                  const char *key) {
    for (size_t i = 0; i < builder->n_sources; i++) {
        const struct config_source *source = &builder->sources[i];

        if (source->object == object &&
            (key ? source->key && strcmp(source->key->name, key) == 0 : !source->key))
            return source;
    }
    return NULL;
}

int config_builder_remember(struct config_builder *builder, const void *object, const struct config_key *key,
                            bool rejected) {
    struct config_source *source = NULL;

    for (size_t i = 0; i < builder->n_sources && !source; i++)
        if (builder->sources[i].object == object && builder->sources[i].key == key)
            source = &builder->sources[i];
    if (!source) {
        struct config_source *bigger =
            reallocarray(builder->sources, builder->n_sources + 1, sizeof *builder->sources);

        if (!bigger)
            return -ENOMEM;
        builder->sources = bigger;
        source = &bigger[builder->n_sources++];
    }
    *source = (struct config_source){object, key, builder->file, builder->line, rejected};
    return 0;
}

int config_builder_assign(struct config_builder *builder, const struct config_key *key, void *object,
                          const char *value) {
    int r;

    builder->key = key->name;
    builder->value = value;
    if (!*value && !key->type->takes_empty)
        r = reset(builder, key, object);
    else
        r = key->type->parse(builder, object, config_key_field(key, object), value);
    if (r == -EINVAL || r == -ERANGE) {
        r = -EINVAL;
        if (!builder->detail)
            r = config_builder_detail(builder, "expected %s", key->type->expected);
        if (r == -EINVAL)
            r = config_builder_problem(builder, "%s", builder->detail);
        free(builder->detail);
        builder->detail = NULL;
        return r < 0 ? r : config_builder_remember(builder, object, key, true);
    }
    return r < 0 ? r : config_builder_remember(builder, object, key, false);
}

/* [SECTION ARGUMENT]: finds or makes the object that its assignments are for. */
static int on_section(void *userdata, unsigned line, const char *name, const char *argument) {
    struct config_builder *builder = userdata;

    builder->line = line;
    builder->object = NULL;
    builder->section = config_section_from_string(name);
    if ((int) builder->section < 0) {
        const char *nearest = config_section_nearest(name);

        return nearest
                   ? config_builder_problem(builder, "unknown section [%s]; did you mean [%s]?", name,
                                            nearest)
                   : config_builder_problem(
                         builder, "unknown section [%s]; there are [Service], [Socket NAME] and [Lock NAME]",
                         name);
    }
    if (builder->section == CONFIG_SECTION_SERVICE) {
        if (argument)
            return config_builder_problem(builder, "[Service %s]: this section takes no name", argument);
        builder->object = builder->config;
        return 0;
    }
    if (!argument)
        return config_builder_problem(builder, "[%s] needs a name: [%s NAME]", name, name);
    if (!config_name_is_valid(argument))
        return config_builder_problem(builder,
                                      "[%s %s]: a name consists of letters, digits and _.@:- and does not "
                                      "begin with a dot",
                                      name, argument);
    builder->object = builder->section == CONFIG_SECTION_SOCKET
                          ? (void *) service_config_add_socket(builder->config, argument)
                          : (void *) service_config_add_lock(builder->config, argument);
    if (!builder->object)
        return -ENOMEM;
    return config_builder_remember(builder, builder->object, NULL, false);
}

static int on_unknown_key(struct config_builder *builder, const char *name) {
    const char *section = config_section_to_string(builder->section), *home = config_key_home(name),
               *nearest = config_key_nearest(builder->section, name);

    if (home)
        return config_builder_problem(builder, "unknown key '%s' in [%s]; it belongs into %s", name, section,
                                      home);
    if (nearest)
        return config_builder_problem(builder, "unknown key '%s' in [%s]; did you mean '%s'?", name, section,
                                      nearest);
    return config_builder_problem(builder, "unknown key '%s' in [%s]", name, section);
}

static int on_assignment(void *userdata, unsigned line, const char *name, const char *value) {
    struct config_builder *builder = userdata;
    const struct config_key *key;

    builder->line = line;
    if (!builder->object)
        return 0;
    key = config_key_find(builder->section, name);
    if (!key)
        return on_unknown_key(builder, name);
    return config_builder_assign(builder, key, builder->object, value);
}

static int on_problem(void *userdata, unsigned line, const char *message) {
    struct config_builder *builder = userdata;

    builder->line = line;
    return config_builder_problem(builder, "%s", message);
}

int config_builder_read(struct config_builder *builder, const char *file, const char *text, size_t size) {
    static const struct unit_file_handler handler = {on_section, on_assignment, on_problem};
    char *copy = strdup(file);
    int r = strlist_append(&builder->files, NULL, copy);

    if (r < 0)
        return r;
    builder->file = copy;
    builder->object = NULL;
    return unit_file_parse(text, size, &handler, builder);
}

static const char *home_directory(void) {
    const char *home = secure_getenv("HOME");
    const struct passwd *passwd;

    if (home && *home == '/')
        return home;
    passwd = getpwuid(geteuid());
    return passwd && *passwd->pw_dir == '/' ? passwd->pw_dir : NULL;
}

/* What a specifier stands for, or NULL with a detail. */
static const char *specifier_value(struct config_builder *builder, char letter) {
    const char *value, *name = builder->config->name;

    switch (letter) {
    case '%':
        return "%";
    case 'n':
        return name;
    case 'i':
        value = strchr(name, '@');
        return value ? value + 1 : "";
    case 'h':
        value = home_directory();
        if (!value)
            (void) config_builder_detail(builder, "%%h: the home directory is not known; set HOME");
        return value;
    case 't':
        value = geteuid() == 0 ? "/run" : secure_getenv("XDG_RUNTIME_DIR");
        if (!value || *value != '/') {
            (void) config_builder_detail(builder, "%%t: XDG_RUNTIME_DIR is not set to an absolute path");
            return NULL;
        }
        return value;
    case '\0':
        (void) config_builder_detail(builder, "a percent sign at the end (itself it is written %%%%)");
        return NULL;
    default:
        (void) config_builder_detail(
            builder, "'%%%c' is no specifier; there are %%n, %%i, %%h, %%t and %%%% for a percent sign",
            letter);
        return NULL;
    }
}

int config_builder_expand(struct config_builder *builder, const char *text, char **ret) {
    _cleanup_text_ struct text expanded = {0};

    while (*text) {
        size_t length = builder->literal ? strlen(text) : strcspn(text, "%");
        const char *value;

        text_add_bytes(&expanded, text, length);
        text += length;
        if (!*text)
            break;
        value = specifier_value(builder, text[1]);
        if (!value)
            return builder->detail ? -EINVAL : -ENOMEM;
        text_add(&expanded, value);
        text += 2;
    }
    return text_take(&expanded, ret);
}
