/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config-keys.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define OBJECT_SERVICE struct service_config
#define OBJECT_SOCKET struct socket_config
#define OBJECT_LOCK struct lock_config

/* Each key's field is of the C type that the functions of its type take it for. */
#define C_TYPE(name, c_type) typedef c_type config_type_##name##_field;
CONFIG_TYPES(C_TYPE)
#undef C_TYPE
#define KEY(section, name, counts, type, field, initial, help)                                               \
    static_assert(__builtin_types_compatible_p(__typeof__(((OBJECT_##section *) NULL)->field),               \
                                               config_type_##type##_field),                                  \
                  #name " and its field disagree");
#include "config/config-keys.def"
#undef KEY

const struct config_key config_keys[] = {
#define KEY(section, name, counts, type, field, initial, help)                                               \
    {CONFIG_SECTION_##section,                                                                               \
     #name,                                                                                                  \
     CONFIG_COUNTS_##counts,                                                                                 \
     &config_type_##type,                                                                                    \
     offsetof(OBJECT_##section, field),                                                                      \
     sizeof(config_type_##type##_field),                                                                     \
     initial,                                                                                                \
     help},
#include "config/config-keys.def"
#undef KEY
};
const size_t config_n_keys = ELEMENTSOF(config_keys);

static const char *const config_section_names[CONFIG_SECTION_MAX] = {
    [CONFIG_SECTION_SERVICE] = "Service",
    [CONFIG_SECTION_SOCKET] = "Socket",
    [CONFIG_SECTION_LOCK] = "Lock",
};
STRTAB_DEFINE(config_section, enum config_section, config_section_names, CONFIG_SECTION_INVALID)

const struct config_key *config_key_find(enum config_section section, const char *name) {
    for (size_t i = 0; i < config_n_keys; i++)
        if (config_keys[i].section == section && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

#define NAME_MAX_LENGTH 40

/* How many letters were added, left out, mistaken or swapped with their neighbour (the distance of
 * Damerau and Levenshtein), whatever their case. */
static size_t edit_distance(const char *a, const char *b) {
    size_t before[NAME_MAX_LENGTH + 1], last[NAME_MAX_LENGTH + 1], row[NAME_MAX_LENGTH + 1];
    size_t m = strlen(a), n = strlen(b);

    if (m > NAME_MAX_LENGTH || n > NAME_MAX_LENGTH)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        before[j] = last[j] = j;
    for (size_t i = 1; i <= m; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = last[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]) &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        memcpy(before, last, sizeof before);
        memcpy(last, row, sizeof last);
    }
    return last[n];
}

/* Takes the candidate if it is nearer than what was found before, and near enough to be meant. */
static void consider(const char *name, const char *candidate, const char **nearest, size_t *distance) {
    size_t d = edit_distance(name, candidate), limit = strlen(candidate) / 3;

    if (d <= (limit < 2 ? 2 : limit) && d < *distance) {
        *nearest = candidate;
        *distance = d;
    }
}

const char *config_key_nearest(enum config_section section, const char *name) {
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;

    for (size_t i = 0; i < config_n_keys; i++)
        if (config_keys[i].section == section)
            consider(name, config_keys[i].name, &nearest, &distance);
    return nearest;
}

const char *config_section_nearest(const char *name) {
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;

    for (size_t i = 0; i < ELEMENTSOF(config_section_names); i++)
        consider(name, config_section_names[i], &nearest, &distance);
    return nearest;
}

const char *config_key_home(const char *name) {
    if (config_key_find(CONFIG_SECTION_SERVICE, name))
        return "[Service]";
    if (config_key_find(CONFIG_SECTION_SOCKET, name))
        return config_key_find(CONFIG_SECTION_LOCK, name) ? "[Socket NAME] or [Lock NAME]" : "[Socket NAME]";
    return config_key_find(CONFIG_SECTION_LOCK, name) ? "[Lock NAME]" : NULL;
}

const char *config_signal_nearest(const char *name) {
    const char *nearest = NULL;
    size_t distance = SIZE_MAX;

    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    for (int number = 1; number < SIGRTMIN; number++)
        if (sigabbrev_np(number))
            consider(name, sigabbrev_np(number), &nearest, &distance);
    return nearest;
}
