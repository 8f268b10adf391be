/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a configuration comes into being: assignments from files and options are put into it one by one,
 * and it is remembered where each came from; then it is completed and checked as a whole. */

#include "config/config-keys.h"

struct config_source {
    const void *object;           /* the service, socket or lock */
    const struct config_key *key; /* NULL: the section header */
    const char *file;
    unsigned line;
    bool rejected; /* what was written there was a mistake, of which somebody complained */
};

struct config_builder {
    struct service_config *config;
    struct config_problems *problems;
    void (*touching)(const char *key, const char *path); /* as in config_paths */
    config_run_t run;                                    /* alike */
    bool literal;     /* the value is a shell's word: no specifiers, no quoting */
    const char *file; /* where the present assignment stands; lives as long as the builder */
    unsigned line;
    const char *key, *value; /* while a parser runs: what it is given */
    char *detail;            /* a parser's own message, or NULL: the type's `expected` is told then */

    /* The section that the file's parser is in; object NULL: one that has had its complaint. */
    enum config_section section;
    void *object;

    struct config_source *sources;
    size_t n_sources;
    char **files; /* what `file` points into */
};

void config_builder_done(struct config_builder *builder);

/* Makes the service, with the defaults of all keys. */
int config_builder_start(struct config_builder *builder, const char *name);

/* Reads one file's text. `file` is copied. Mistakes go to the problems, and 0 is returned nevertheless. */
int config_builder_read(struct config_builder *builder, const char *file, const char *text, size_t size);

/* Gives a key of the object a value as from builder->file, builder->line. Mistakes as above. */
int config_builder_assign(struct config_builder *builder, const struct config_key *key, void *object,
                          const char *value);

/* Remembers that the object's section (key NULL) or key was written here. */
int config_builder_remember(struct config_builder *builder, const void *object, const struct config_key *key,
                            bool rejected);

/* Where that was written last; NULL: nowhere. */
const struct config_source *config_builder_source(const struct config_builder *builder, const void *object,
                                                  const char *key);

/* Adds a problem at the builder's place. Returns 0 or -ENOMEM. */
int config_builder_problem(struct config_builder *builder, const char *fmt, ...) _printf_(2, 3);

/* Adds a problem where the key was written last, else at its object's section, else at the main file. */
int config_builder_problem_at(struct config_builder *builder, const void *object, const char *key,
                              const char *fmt, ...) _printf_(4, 5);

/* For parsers: says what is wrong with the value, behind "KEY=VALUE: ". Returns -EINVAL or -ENOMEM. */
int config_builder_detail(struct config_builder *builder, const char *fmt, ...) _printf_(2, 3);

/* Replaces %n %i %h %t %% (unless the value is literal). Returns 0, -ENOMEM, or -EINVAL with a detail. */
int config_builder_expand(struct config_builder *builder, const char *text, char **ret);

/* Everything is read: fills in what follows from other values, lets the kind read the daemon's own
 * configuration, and checks the whole (config-check.c). */
int config_builder_finish(struct config_builder *builder);

/* Sets all keys of a fresh object to their initial values (config-build.c). */
int config_builder_initialize(struct config_builder *builder, enum config_section section, void *object);

/* Whether a name may be a service's, socket's or lock's: [A-Za-z0-9_.@:-]+, no dot first, at most 200 bytes.
 */
bool config_name_is_valid(const char *name);
