/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The key table: every key of config-keys.def with its type. A type knows how to parse, reset and print
 * the field of a key; config-value.c and config-list.c have them. */

#include "base/text.h"
#include "config/config.h"

enum config_section {
    CONFIG_SECTION_SERVICE,
    CONFIG_SECTION_SOCKET,
    CONFIG_SECTION_LOCK,
    CONFIG_SECTION_MAX,
    CONFIG_SECTION_INVALID = -EINVAL,
};
STRTAB_DECLARE(config_section, enum config_section);

struct config_builder;
struct config_key;

/* `object` is the service, socket or lock, `field` the key's field in it. */
struct config_type {
    const char *expected; /* what a good value is, behind "expected"; NULL: parse() gives a detail always */
    bool takes_empty;     /* an empty value is one, and does not mean "as if nothing had been written" */
    /* Reads a value. -EINVAL: it is none; builder->detail, where set, then says more than `expected`. Only
     * success changes the field, apart from lists, to which a value is appended. */
    int (*parse)(struct config_builder *builder, void *object, void *field, const char *value);
    /* Back to zero, as in a fresh object; frees. */
    void (*reset)(void *object, void *field);
    /* Adds "KEY=VALUE" lines that parse() reads back; nothing for a field without a value. */
    void (*print)(struct text *text, const struct config_key *key, const void *object, const void *field);
};

/* From when on a value counts that was read while the daemon runs. */
enum config_counts {
    CONFIG_COUNTS_LIVE,  /* at once: latchd itself goes by it */
    CONFIG_COUNTS_START, /* from the next start: the daemon was started with it, or holds it */
};

struct config_key {
    enum config_section section;
    const char *name;
    enum config_counts counts;
    const struct config_type *type;
    size_t offset, size; /* of the field in its object */
    const char *initial; /* value without an assignment; NULL: zero */
    const char *help;    /* one line */
};

/* The types, and the C type of the field each is for. */
#define CONFIG_TYPES(TYPE)                                                                                   \
    TYPE(string, char *)                                                                                     \
    TYPE(path, char *)                                                                                       \
    TYPE(listen, char *)                                                                                     \
    TYPE(socket_lock_file, char *)                                                                           \
    TYPE(command, char **)                                                                                   \
    TYPE(words, char **)                                                                                     \
    TYPE(executables, char **)                                                                               \
    TYPE(services, char **)                                                                                  \
    TYPE(environment, char **)                                                                               \
    TYPE(environment_file, char **)                                                                          \
    TYPE(signal, int)                                                                                        \
    TYPE(backlog, int)                                                                                       \
    TYPE(oom_score_adjust, int)                                                                              \
    TYPE(nice, int)                                                                                          \
    TYPE(count, unsigned)                                                                                    \
    TYPE(u64, uint64_t)                                                                                      \
    TYPE(size, uint64_t)                                                                                     \
    TYPE(time, uint64_t)                                                                                     \
    TYPE(timeout, uint64_t)                                                                                  \
    TYPE(watchdog, uint64_t)                                                                                 \
    TYPE(capabilities, uint64_t)                                                                             \
    TYPE(bounding_set, uint64_t)                                                                             \
    TYPE(bool, bool)                                                                                         \
    TYPE(mode, mode_t)                                                                                       \
    TYPE(output, struct output_config)                                                                       \
    TYPE(queue_warn, struct queue_warn)                                                                      \
    TYPE(limit, struct limit_config)                                                                         \
    TYPE(service_kind, enum service_kind)                                                                    \
    TYPE(service_type, enum service_type)                                                                    \
    TYPE(restart_policy, enum restart_policy)                                                                \
    TYPE(orphan_policy, enum orphan_policy)                                                                  \
    TYPE(socket_owner, enum socket_owner)                                                                    \
    TYPE(socket_probe, enum socket_probe)                                                                    \
    TYPE(lock_style, enum lock_style)

#define CONFIG_TYPE_DECLARE(name, c_type) extern const struct config_type config_type_##name;
CONFIG_TYPES(CONFIG_TYPE_DECLARE)
#undef CONFIG_TYPE_DECLARE

extern const struct config_key config_keys[];
extern const size_t config_n_keys;

static inline void *config_key_field(const struct config_key *key, void *object) {
    return (char *) object + key->offset;
}
static inline const void *config_key_const_field(const struct config_key *key, const void *object) {
    return (const char *) object + key->offset;
}

/* NULL: there is no such key. */
const struct config_key *config_key_find(enum config_section section, const char *name);

/* The known name nearest to a mistyped one, or NULL where none is near. */
const char *config_key_nearest(enum config_section section, const char *name);
const char *config_section_nearest(const char *name);
const char *config_signal_nearest(const char *name); /* with or without SIG before it; found: without */

/* Where a key that `section` does not have would be at home: "[Socket NAME] or [Lock NAME]"; or NULL. */
const char *config_key_home(const char *name);
