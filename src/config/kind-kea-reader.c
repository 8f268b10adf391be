/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kind-kea-reader.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

const char *kea_reader_base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int kea_reader_join(const char *directory, const char *name, char **ret) {
    size_t length = strlen(directory);

    while (length > 0 && directory[length - 1] == '/')
        length--;
    return asprintf(ret, "%.*s/%s", (int) length, directory, name) < 0 ? -ENOMEM : 0;
}

int kea_reader_resolve(const struct kea_reader *reader, const char *path, char **ret) {
    if (path[0] != '/')
        return reader->config->working_directory
                   ? kea_reader_join(reader->config->working_directory, path, ret)
                   : -ENOENT;
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}

bool kea_reader_same_place(const char *a, const char *b) {
    struct stat in[2];
    const char *paths[2] = {a, b};

    if (strcmp(a, b) == 0)
        return true;
    if (a[0] != '/' || b[0] != '/' || strcmp(kea_reader_base_name(a), kea_reader_base_name(b)) != 0)
        return false;
    for (size_t i = 0; i < 2; i++) {
        _cleanup_free_ char *directory =
            strndup(paths[i], (size_t) (kea_reader_base_name(paths[i]) - paths[i]));
        if (!directory || stat(directory, &in[i]) < 0)
            return false;
    }
    return stat_same_inode(&in[0], &in[1]);
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

static bool name_is_taken(const struct service_config *config, const char *name) {
    return service_config_find_socket(config, name) || service_config_find_lock(config, name);
}

void kea_reader_choose_name(const struct service_config *config, const char *stem, size_t size,
                            char ret[static size]) {
    snprintf(ret, size, "%s", stem);
    for (unsigned i = 2; name_is_taken(config, ret); i++)
        snprintf(ret, size, "%s%u", stem, i);
}
