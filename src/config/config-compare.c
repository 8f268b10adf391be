/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config-compare.h"

#include "base/strlist.h"
#include "config/config-keys.h"

void config_changes_done(struct config_changes *changes) {
    changes->live = strlist_free(changes->live);
    changes->later = strlist_free(changes->later);
}

/* Values are the same when they are written the same. */
static int same_value(const struct config_key *key, const void *a, const void *b) {
    _cleanup_text_ struct text of_a = {0}, of_b = {0};

    key->type->print(&of_a, key, a, config_key_const_field(key, a));
    key->type->print(&of_b, key, b, config_key_const_field(key, b));
    if (of_a.failed || of_b.failed)
        return -ENOMEM;
    return of_a.length == of_b.length && (of_a.length == 0 || memcmp(of_a.data, of_b.data, of_a.length) == 0);
}

static int compare_objects(enum config_section section, const char *name, const void *before,
                           const void *after, struct config_changes *changes) {
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        char ***list = key->counts == CONFIG_COUNTS_LIVE ? &changes->live : &changes->later;
        int r;

        if (key->section != section)
            continue;
        r = same_value(key, before, after);
        if (r == 0)
            r = name ? strlist_append_format(list, "%s= of [%s %s]", key->name,
                                             config_section_to_string(section), name)
                     : strlist_append_format(list, "%s=", key->name);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Sections of one kind: those that both have, then those that are gone, then those that are new. */
static int compare_sockets(const struct service_config *before, const struct service_config *after,
                           struct config_changes *changes) {
    int r = 0;

    for (size_t i = 0; i < before->n_sockets && r >= 0; i++) {
        const char *name = before->sockets[i]->name;
        const struct socket_config *other = service_config_find_socket(after, name);

        r = other ? compare_objects(CONFIG_SECTION_SOCKET, name, before->sockets[i], other, changes)
                  : strlist_append_format(&changes->later, "[Socket %s]", name);
    }
    for (size_t i = 0; i < after->n_sockets && r >= 0; i++)
        if (!service_config_find_socket(before, after->sockets[i]->name))
            r = strlist_append_format(&changes->later, "[Socket %s]", after->sockets[i]->name);
    return r;
}

static int compare_locks(const struct service_config *before, const struct service_config *after,
                         struct config_changes *changes) {
    int r = 0;

    for (size_t i = 0; i < before->n_locks && r >= 0; i++) {
        const char *name = before->locks[i]->name;
        const struct lock_config *other = service_config_find_lock(after, name);

        r = other ? compare_objects(CONFIG_SECTION_LOCK, name, before->locks[i], other, changes)
                  : strlist_append_format(&changes->later, "[Lock %s]", name);
    }
    for (size_t i = 0; i < after->n_locks && r >= 0; i++)
        if (!service_config_find_lock(before, after->locks[i]->name))
            r = strlist_append_format(&changes->later, "[Lock %s]", after->locks[i]->name);
    return r;
}

int service_config_compare(const struct service_config *before, const struct service_config *after,
                           struct config_changes *ret) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    int r = compare_objects(CONFIG_SECTION_SERVICE, NULL, before, after, &changes);

    if (r >= 0)
        r = compare_sockets(before, after, &changes);
    if (r >= 0)
        r = compare_locks(before, after, &changes);
    if (r < 0)
        return r;
    *ret = changes;
    changes = (struct config_changes){0};
    return 0;
}

static void swap_bytes(unsigned char *a, unsigned char *b, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = a[i];

        a[i] = b[i];
        b[i] = byte;
    }
}

static void swap_objects(enum config_section section, void *a, void *b) {
    for (size_t i = 0; i < config_n_keys; i++)
        if (config_keys[i].section == section && config_keys[i].counts == CONFIG_COUNTS_LIVE)
            swap_bytes(config_key_field(&config_keys[i], a), config_key_field(&config_keys[i], b),
                       config_keys[i].size);
}

void service_config_swap_live(struct service_config *a, struct service_config *b) {
    swap_objects(CONFIG_SECTION_SERVICE, a, b);
    for (size_t i = 0; i < a->n_sockets; i++) {
        struct socket_config *other = service_config_find_socket(b, a->sockets[i]->name);

        if (other)
            swap_objects(CONFIG_SECTION_SOCKET, a->sockets[i], other);
    }
}
