/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/environment.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/unit-file.h"
#include "config/config.h"

#define FILE_BYTES_MAX (4U * 1024 * 1024)

static size_t name_length(const char *assignment) {
    return strcspn(assignment, "=");
}

static char **find(char *const list[], const char *name, size_t length) {
    for (; list && *list; list++)
        if (strncmp(*list, name, length) == 0 && (*list)[length] == '=')
            return (char **) (uintptr_t) list;
    return NULL;
}

int environment_put(char ***list, char *assignment) {
    char **place;

    if (!assignment)
        return -ENOMEM;
    place = find(*list, assignment, name_length(assignment));
    if (!place)
        return strlist_append(list, NULL, assignment);
    free(*place);
    *place = assignment;
    return 0;
}

const char *environment_get(char *const list[], const char *name, size_t length) {
    char *const *place = find(list, name, length);

    return place ? *place + length + 1 : NULL;
}

/* What tells about latchd itself, not about the daemon: sd_notify(3), sd_watchdog_enabled(3),
 * sd_listen_fds(3), systemd.exec(5). */
static bool belongs_to_latchd(const char *assignment) {
    static const char *const names[] = {
        "NOTIFY_SOCKET=", "INVOCATION_ID=", "JOURNAL_STREAM=", "WATCHDOG_", "LISTEN_", "LATCHD_"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (strncmp(assignment, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int read_file(const struct service_config *config, const char *entry, char ***list, struct err *err) {
    bool optional = *entry == '-';
    const char *path = entry + optional;
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = fd_read_file_at(AT_FDCWD, path, FILE_BYTES_MAX, &text, &size);

    if (r == -ENOENT && optional)
        return 0;
    if (r < 0)
        return err_set(
            err, -r, "CannotRead",
            "service '%s': cannot read EnvironmentFile=%s (a - before the path lets it be missing): %m",
            config->name, path);
    if (memchr(text, '\0', size))
        return err_set(err, EINVAL, "BadConfiguration",
                       "service '%s': EnvironmentFile=%s contains a NUL byte", config->name, path);
    return environment_parse_file(text, list);
}

/* With `forgiving`, files that cannot be read are left out. */
static int collect(const struct service_config *config, char *const inherited[], bool forgiving, char ***list,
                   struct err *err) {
    int r = 0;

    for (; inherited && *inherited && r >= 0; inherited++)
        if (strchr(*inherited, '=') && !belongs_to_latchd(*inherited))
            r = environment_put(list, strdup(*inherited));
    for (char **assignment = config->environment; assignment && *assignment && r >= 0; assignment++)
        r = environment_put(list, strdup(*assignment));
    for (char **file = config->environment_file; file && *file && r >= 0; file++) {
        r = read_file(config, *file, list, err);
        if (r < 0 && r != -ENOMEM && forgiving)
            r = 0;
    }
    return r;
}

int service_config_build_environment(const struct service_config *config, char *const inherited[],
                                     char ***ret, struct err *err) {
    _cleanup_strlist_ char **list = NULL;
    int r = collect(config, inherited, false, &list, err);

    if (r >= 0 && !list) {
        list = calloc(1, sizeof *list);
        if (!list)
            r = -ENOMEM;
    }
    if (r == -ENOMEM)
        return err_set(err, ENOMEM, "OutOfMemory", "service '%s': cannot make its environment: %m",
                       config->name);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(list);
    return 0;
}

/* The last one of a list wins. */
static const char *get_last(char *const list[], const char *name, size_t length) {
    const char *value = NULL, *found;

    for (; list && (found = environment_get(list, name, length)); list++) {
        value = found;
        while (*list + length + 1 != found)
            list++;
    }
    return value;
}

char *service_config_getenv(const struct service_config *config, const char *name) {
    _cleanup_strlist_ char **list = NULL;
    const char *value;

    /* Asked for PATH before each start: where no file is to be read, nothing need be put together. */
    if (!config->environment_file) {
        value = get_last(config->environment, name, strlen(name));
        if (!value && (value = get_last(environ, name, strlen(name))) &&
            belongs_to_latchd(value - strlen(name) - 1))
            value = NULL;
        return value ? strdup(value) : NULL;
    }

    if (collect(config, environ, true, &list, NULL) < 0)
        return NULL;
    value = environment_get(list, name, strlen(name));
    return value ? strdup(value) : NULL;
}

/* The length of the variable's name at p, 0 for none. */
static size_t variable_length(const char *p) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return *p >= '0' && *p <= '9' ? 0 : strspn(p, letters);
}

/* Replaces ${NAME} and $$ in a word. */
static int expand_word(const char *word, char *const environment[], char **ret) {
    _cleanup_text_ struct text text = {0};

    while (*word) {
        size_t plain = strcspn(word, "$"), length;

        text_add_bytes(&text, word, plain);
        word += plain;
        if (!*word)
            break;
        length = word[1] == '{' ? variable_length(word + 2) : 0;
        if (length > 0 && word[2 + length] == '}') {
            const char *value = environment_get(environment, word + 2, length);

            text_add(&text, value ? value : "");
            word += 3 + length;
        } else {
            text_add(&text, "$");
            word += word[1] == '$' ? 2 : 1;
        }
    }
    return text_take(&text, ret);
}

int service_config_expand_argv(char *const words[], char *const environment[], char ***ret) {
    _cleanup_strlist_ char **argv = NULL;
    size_t n = 0;

    for (size_t i = 0; words[i]; i++) {
        size_t length = *words[i] == '$' ? variable_length(words[i] + 1) : 0;
        char *expanded = NULL;
        int r;

        if (i > 0 && length > 0 && !words[i][1 + length]) {
            const char *value = environment_get(environment, words[i] + 1, length);
            _cleanup_strlist_ char **split = NULL;

            r = unit_file_split_relaxed(value ? value : "", &split);
            if (r >= 0)
                r = strlist_extend(&argv, split);
            n = strlist_length(argv);
        } else {
            r = i > 0 ? expand_word(words[i], environment, &expanded) : 0;
            if (r >= 0)
                r = strlist_append(&argv, &n, i > 0 ? expanded : strdup(words[i]));
        }
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(argv);
    return 0;
}
