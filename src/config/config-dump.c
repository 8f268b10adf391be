/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config-keys.h"

static void add_section(struct text *text, enum config_section section, const char *name,
                        const void *object) {
    text_add_format(text, "%s[%s%s%s]\n", text->length > 0 ? "\n" : "", config_section_to_string(section),
                    name ? " " : "", name ? name : "");
    for (size_t i = 0; i < config_n_keys; i++)
        if (config_keys[i].section == section)
            config_keys[i].type->print(text, &config_keys[i], object,
                                       config_key_const_field(&config_keys[i], object));
}

int service_config_dump(const struct service_config *config, FILE *file) {
    _cleanup_text_ struct text text = {0};

    add_section(&text, CONFIG_SECTION_SERVICE, NULL, config);
    for (size_t i = 0; i < config->n_sockets; i++)
        add_section(&text, CONFIG_SECTION_SOCKET, config->sockets[i]->name, config->sockets[i]);
    for (size_t i = 0; i < config->n_locks; i++)
        add_section(&text, CONFIG_SECTION_LOCK, config->locks[i]->name, config->locks[i]);
    if (text.failed)
        return -ENOMEM;
    return fwrite(text.data, 1, text.length, file) == text.length && fflush(file) == 0 ? 0 : -EIO;
}
