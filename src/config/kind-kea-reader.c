/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kind-kea-reader.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

int kea_reader_resolve(const struct kea_reader *reader, const char *path, char **ret) {
    if (path[0] != '/')
        return reader->config->working_directory ? kind_join(reader->config->working_directory, path, ret)
                                                 : -ENOENT;
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}

int kea_reader_read_string(struct kea_reader *reader, const char *path, json_t *map, const char *key,
                           const char **ret) {
    json_t *value = json_object_get(map, key);
    char whole[96];

    snprintf(whole, sizeof(whole), "%s.%s", path, key);
    if (!value)
        return kea_mistake(reader, path, "%s has no '%s'", path, key);
    if (!json_is_string(value))
        return kea_mistake(reader, whole, "%s must be a string", whole);
    *ret = json_string_value(value);
    return 0;
}

bool kea_reader_has_odd_bytes(const char *text) {
    for (const unsigned char *p = (const unsigned char *) text; *p; p++)
        if (p[0] == 0xee && p[1] >= 0xbc)
            return true;
    return false;
}
