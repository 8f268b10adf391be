/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of types (config-value.c, config-list.c) share. */

#include "config/config-build.h"

#define PARSE(name)                                                                                          \
    static int name(struct config_builder *builder __attribute__((unused)),                                  \
                    void *object __attribute__((unused)), void *field, const char *value)
#define RESET(name) static void name(void *object __attribute__((unused)), void *field)
#define PRINT(name)                                                                                          \
    static void name(struct text *text, const struct config_key *key,                                        \
                     const void *object __attribute__((unused)), const void *field)

/* The specifiers' replacement, taken for an absolute path: -EINVAL, with a detail, unless it is one. */
int config_parse_path(struct config_builder *builder, const char *value, char **ret);

/* Adds VALUE with its percent signs doubled. */
void config_print_escaped(struct text *text, const char *value);

/* Adds "KEY=VALUE", percent signs doubled. */
void config_print_value(struct text *text, const struct config_key *key, const char *value);
