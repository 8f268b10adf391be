/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The types of keys that have words: commands, lists, environments, capabilities. */

#include "base/strlist.h"
#include "base/unit-file.h"
#include "config/capability.h"
#include "config/config-type.h"

/* Splits a value and replaces the specifiers in each word. A literal value is one word. */
static int split_words(struct config_builder *builder, const char *value, char ***ret) {
    _cleanup_strlist_ char **words = NULL;
    const char *why;
    int r;

    if (builder->literal)
        r = strlist_append(&words, NULL, strdup(value));
    else
        r = unit_file_split(value, &words, &why);
    if (r == -EINVAL)
        return config_builder_detail(builder, "%s", why);
    if (r < 0)
        return r;
    for (char **word = words; word && *word; word++) {
        char *expanded;

        r = config_builder_expand(builder, *word, &expanded);
        if (r < 0)
            return r;
        free(*word);
        *word = expanded;
    }
    *ret = TAKE_PTR(words);
    return 0;
}

/* The next word of a list: what is wrong with an earlier one is no reason not to tell what is wrong with this
 * one. -EINVAL: with this one or an earlier one; the last complaint is the builder's detail, the others are
 * told. */
static int check_next(struct config_builder *builder, const char *word,
                      int (*check)(struct config_builder *builder, const char *word)) {
    _cleanup_free_ char *earlier = TAKE_PTR(builder->detail);
    int r = check(builder, word);

    if (!earlier || (r < 0 && r != -EINVAL))
        return r;
    if (r < 0)
        r = config_builder_problem(builder, "%s", earlier);
    else
        builder->detail = TAKE_PTR(earlier);
    return r < 0 ? r : -EINVAL;
}

/* Appends the words of a value, every one of which `check` accepts (0), or none of them. */
static int append_words(struct config_builder *builder, char ***field, const char *value,
                        int (*check)(struct config_builder *builder, const char *word)) {
    _cleanup_strlist_ char **words = NULL;
    int r = split_words(builder, value, &words);

    if (r < 0)
        return r;
    for (char **word = words; word && *word && check; word++) {
        r = check_next(builder, *word, check);
        if (r < 0 && r != -EINVAL)
            return r;
    }
    return r < 0 ? r : strlist_extend(field, words);
}

RESET(reset_words) {
    char ***words = field;

    *words = strlist_free(*words);
}

static void print_word(struct text *text, const char *word) {
    _cleanup_free_ char *quoted = NULL;

    if (unit_file_quote(word, &quoted) >= 0)
        config_print_escaped(text, quoted);
    else
        text->failed = true;
}

/* All words in one line. */
PRINT(print_words) {
    char *const *words = *(char *const *const *) field;

    if (!words)
        return;
    text_add_format(text, "%s=", key->name);
    for (size_t i = 0; words[i]; i++) {
        text_add(text, i > 0 ? " " : "");
        print_word(text, words[i]);
    }
    text_add(text, "\n");
}

/* Each word in a line of its own. */
PRINT(print_lines) {
    for (char *const *word = *(char *const *const *) field; word && *word; word++) {
        text_add_format(text, "%s=", key->name);
        print_word(text, *word);
        text_add(text, "\n");
    }
}

PARSE(parse_words) {
    return append_words(builder, field, value, NULL);
}

static int check_executable(struct config_builder *builder, const char *word) {
    return *word == '/'
               ? 0
               : config_builder_detail(builder, "'%s': expected the absolute path of an executable", word);
}

PARSE(parse_executables) {
    return append_words(builder, field, value, check_executable);
}

static int check_service_name(struct config_builder *builder, const char *word) {
    if (!config_name_is_valid(word))
        return config_builder_detail(builder, "'%.60s': expected the name of a service", word);
    return strcmp(word, builder->config->name) == 0
               ? config_builder_detail(builder, "'%s': that is this service itself", word)
               : 0;
}

PARSE(parse_services) {
    return append_words(builder, field, value, check_service_name);
}

/* systemd.service(5): more than one command needs Type=oneshot, which we do not have. */
PARSE(parse_command) {
    char ***command = field;
    _cleanup_strlist_ char **words = NULL;
    int r;

    if (*command) {
        const struct config_source *first = config_builder_source(builder, object, builder->key);

        return config_builder_detail(
            builder,
            "there is a command already (%s:%u), and there can be one only; an empty %s= "
            "before this one resets it",
            first ? first->file : "?", first ? first->line : 0, builder->key);
    }
    r = split_words(builder, value, &words);
    if (r < 0)
        return r;
    if (!*words[0])
        return config_builder_detail(builder, "the name of the executable is empty");
    if (strchr("@-:+!|", *words[0]))
        return config_builder_detail(builder, "the prefix '%c' before the executable is not supported",
                                     *words[0]);
    if (*words[0] == '$')
        return config_builder_detail(builder, "the executable cannot come from a variable");
    if (*words[0] != '/' && strchr(words[0], '/'))
        return config_builder_detail(builder,
                                     "expected the executable's absolute path, or its name to be found in "
                                     "PATH");
    *command = TAKE_PTR(words);
    return 0;
}

const struct config_type config_type_words = {"words", false, parse_words, reset_words, print_words};
const struct config_type config_type_services = {"names of services", false, parse_services, reset_words,
                                                 print_words};
const struct config_type config_type_executables = {"absolute paths", false, parse_executables, reset_words,
                                                    print_words};
const struct config_type config_type_command = {"a command line", false, parse_command, reset_words,
                                                print_words};

/* The names that environ(7) and systemd.exec(5) allow: letters, digits and '_', no digit first. */
static int check_assignment(struct config_builder *builder, const char *word) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    size_t length = strspn(word, letters);

    if (length > 0 && word[length] == '=' && !(*word >= '0' && *word <= '9'))
        return 0;
    return config_builder_detail(builder,
                                 "'%.60s': expected NAME=VALUE; a value with blanks is quoted, "
                                 "\"NAME=one two\"",
                                 word);
}

PARSE(parse_environment) {
    return append_words(builder, field, value, check_assignment);
}

PARSE(parse_environment_file) {
    bool optional = *value == '-';
    _cleanup_free_ char *path = NULL;
    char *entry;
    int r = config_parse_path(builder, value + optional, &path);

    if (r < 0)
        return r;
    if (asprintf(&entry, "%s%s", optional ? "-" : "", path) < 0)
        return -ENOMEM;
    return strlist_append(field, NULL, entry);
}

PRINT(print_environment_files) {
    for (char *const *file = *(char *const *const *) field; file && *file; file++)
        config_print_value(text, key, *file);
}

const struct config_type config_type_environment = {"NAME=VALUE words", false, parse_environment, reset_words,
                                                    print_lines};
const struct config_type config_type_environment_file = {"an absolute path, maybe with - before it", false,
                                                         parse_environment_file, reset_words,
                                                         print_environment_files};

static int check_capability(struct config_builder *builder, const char *word) {
    uint64_t bit;

    return capability_from_name(word, &bit) < 0
               ? config_builder_detail(builder, "'%s' is no capability; they are named like CAP_NET_ADMIN",
                                       word)
               : 0;
}

/* Reads the set, and whether a '~' before it means all the others. */
static int parse_capability_set(struct config_builder *builder, const char *value, uint64_t *ret,
                                bool *ret_inverted) {
    _cleanup_strlist_ char **words = NULL;
    bool inverted = *value == '~';
    uint64_t set = 0;
    const char *why;
    int r = unit_file_split(value + inverted, &words, &why);

    if (r == -EINVAL)
        return config_builder_detail(builder, "%s", why);
    if (r < 0)
        return r;
    for (char **word = words; word && *word; word++) {
        uint64_t bit;

        r = check_next(builder, *word, check_capability);
        if (r < 0 && r != -EINVAL)
            return r;
        if (r >= 0 && capability_from_name(*word, &bit) >= 0)
            set |= bit;
    }
    if (r < 0)
        return r;
    *ret = set;
    *ret_inverted = inverted;
    return 0;
}

PARSE(parse_capabilities) {
    uint64_t *set = field, named;
    bool inverted;
    int r = parse_capability_set(builder, value, &named, &inverted);

    if (r < 0)
        return r;
    *set = inverted ? (*set ? *set : ALL_CAPABILITIES) & ~named : *set | named;
    return 0;
}

/* systemd.exec(5): the first set counts as it is, each further one adds (with '~': takes away); empty stands
 * for none at all, '~' alone for all. */
PARSE(parse_bounding_set) {
    struct service_config *config = object;
    uint64_t *set = field, named;
    bool inverted;
    int r = parse_capability_set(builder, value, &named, &inverted);

    if (r < 0)
        return r;
    if (!*value)
        *set = 0;
    else if (inverted)
        *set = (config->capability_bounding_set_set && named ? *set : ALL_CAPABILITIES) & ~named;
    else
        *set = (config->capability_bounding_set_set ? *set : 0) | named;
    config->capability_bounding_set_set = true;
    return 0;
}

RESET(reset_capabilities) {
    *(uint64_t *) field = 0;
}

RESET(reset_bounding_set) {
    *(uint64_t *) field = 0;
    ((struct service_config *) object)->capability_bounding_set_set = false;
}

PRINT(print_capabilities) {
    const char *separator = "";

    text_add_format(text, "%s=", key->name);
    for (int i = 0; i <= CAP_LAST_CAP; i++) {
        char *name;

        if (!(*(const uint64_t *) field >> i & 1))
            continue;
        name = capability_to_name(i);
        if (name)
            text_add_format(text, "%s%s", separator, name);
        else
            text->failed = true;
        free(name);
        separator = " ";
    }
    text_add(text, "\n");
}

PRINT(print_bounding_set) {
    if (((const struct service_config *) object)->capability_bounding_set_set)
        print_capabilities(text, key, object, field);
}

#define CAPABILITIES "names such as CAP_NET_ADMIN, maybe with ~ before them"
const struct config_type config_type_capabilities = {CAPABILITIES, false, parse_capabilities,
                                                     reset_capabilities, print_capabilities};
const struct config_type config_type_bounding_set = {CAPABILITIES, true, parse_bounding_set,
                                                     reset_bounding_set, print_bounding_set};
