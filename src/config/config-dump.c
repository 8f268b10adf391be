/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strlist.h"
#include "config/config-build.h"
#include "config/config-keys.h"

/* `plain`: an object with the initial values, whose lines are left out; NULL: all are written. */
static void add_section(struct text *text, enum config_section section, const char *name, const void *object,
                        const void *plain) {
    text_add_format(text, "%s[%s%s%s]\n", text->length > 0 ? "\n" : "", config_section_to_string(section),
                    name ? " " : "", name ? name : "");
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        _cleanup_text_ struct text line = {0}, initial = {0};

        if (key->section != section)
            continue;
        key->type->print(&line, key, object, config_key_const_field(key, object));
        if (plain)
            key->type->print(&initial, key, plain, config_key_const_field(key, plain));
        if (plain && line.length == initial.length &&
            (line.length == 0 || memcmp(line.data, initial.data, line.length) == 0))
            continue;
        if (plain && line.length == 0)
            text_add_format(text, "%s=\n", key->name);
        text->failed |= line.failed || initial.failed;
        text_add(text, line.data ? line.data : "");
    }
}

int service_config_dump(const struct service_config *config, FILE *file) {
    _cleanup_text_ struct text text = {0};

    add_section(&text, CONFIG_SECTION_SERVICE, NULL, config, NULL);
    for (size_t i = 0; i < config->n_sockets; i++)
        add_section(&text, CONFIG_SECTION_SOCKET, config->sockets[i]->name, config->sockets[i], NULL);
    for (size_t i = 0; i < config->n_locks; i++)
        add_section(&text, CONFIG_SECTION_LOCK, config->locks[i]->name, config->locks[i], NULL);
    if (text.failed)
        return -ENOMEM;
    return fwrite(text.data, 1, text.length, file) == text.length && fflush(file) == 0 ? 0 : -EIO;
}

/* What no key says: which PID file names a helper. In comments, so that everything else reads as a file. */
#define HELPER_LINE "# helper "

int service_config_record(const struct service_config *config, char **ret) {
    _cleanup_(config_builder_done) struct config_builder plain = {0};
    _cleanup_text_ struct text text = {0};
    int r = config_builder_start(&plain, config->name);

    if (r < 0)
        return r;
    add_section(&text, CONFIG_SECTION_SERVICE, NULL, config, plain.config);
    for (size_t i = 0; i < config->n_sockets; i++) {
        const struct socket_config *initial =
            service_config_add_socket(plain.config, config->sockets[i]->name);

        if (!initial)
            return -ENOMEM;
        add_section(&text, CONFIG_SECTION_SOCKET, config->sockets[i]->name, config->sockets[i], initial);
    }
    for (size_t i = 0; i < config->n_locks; i++) {
        const struct lock_config *lock = config->locks[i],
                                 *initial = service_config_add_lock(plain.config, lock->name);

        if (!initial)
            return -ENOMEM;
        add_section(&text, CONFIG_SECTION_LOCK, lock->name, lock, initial);
        if (lock->helper)
            text_add_format(&text, HELPER_LINE "%s %s\n", lock->name, lock->helper);
    }
    return text_take(&text, ret);
}

static int read_helpers(struct service_config *config, const char *text) {
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t length = strcspn(line, "\n"), name;

        if (strncmp(line, HELPER_LINE, strlen(HELPER_LINE)) != 0)
            continue;
        line += strlen(HELPER_LINE);
        length -= strlen(HELPER_LINE);
        name = strcspn(line, " \n");
        for (size_t i = 0; i < config->n_locks && name < length; i++) {
            struct lock_config *lock = config->locks[i];

            if (strlen(lock->name) != name || strncmp(lock->name, line, name) != 0)
                continue;
            free(lock->helper);
            lock->helper = strndup(line + name + 1, length - name - 1);
            if (!lock->helper)
                return -ENOMEM;
        }
    }
    return 0;
}

int service_config_from_record(const char *name, const char *text, struct service_config **ret) {
    struct config_problems problems = {0};
    _cleanup_(config_builder_done) struct config_builder builder = {.problems = &problems};
    int r = config_builder_start(&builder, name);

    if (r >= 0)
        r = config_builder_read(&builder, name, text, strlen(text));
    if (r >= 0)
        r = read_helpers(builder.config, text);
    if (r >= 0 && (problems.n > 0 || !builder.config->exec_start))
        r = -EBADMSG; /* a later version's, or damaged */
    config_problems_done(&problems);
    if (r < 0)
        return r;
    for (size_t i = 0; i < builder.config->n_sockets; i++)
        if (!builder.config->sockets[i]->listen)
            return -EBADMSG;
    for (size_t i = 0; i < builder.config->n_locks; i++)
        if (!builder.config->locks[i]->path)
            return -EBADMSG;
    *ret = TAKE_PTR(builder.config);
    return 0;
}
