/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes are a unit file, maybe a bad one; every value is split; every word is quoted and read back. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strlist.h"
#include "base/unit-file.h"

static int on_section(void *userdata, unsigned line, const char *section, const char *argument) {
    (void) userdata;
    if (line == 0 || !*section || (argument && !*argument))
        abort();
    return 0;
}

static int on_assignment(void *userdata, unsigned line, const char *key, const char *value) {
    _cleanup_strlist_ char **words = NULL, **relaxed = NULL;
    const char *why = NULL;

    (void) userdata;
    if (line == 0 || !*key)
        abort();
    if (unit_file_split_relaxed(value, &relaxed) < 0)
        abort();
    if (unit_file_split(value, &words, &why) < 0 && !why)
        abort();
    for (char **word = words; word && *word; word++) {
        _cleanup_strlist_ char **again = NULL;
        _cleanup_free_ char *quoted = NULL;

        if (unit_file_quote(*word, &quoted) < 0 || unit_file_split(quoted, &again, &why) < 0 ||
            strlist_length(again) != 1 || strcmp(again[0], *word) != 0)
            abort();
    }
    return 0;
}

static int on_problem(void *userdata, unsigned line, const char *message) {
    (void) userdata;
    if (line == 0 || !*message)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct unit_file_handler handler = {on_section, on_assignment, on_problem};

    if (unit_file_parse((const char *) data, size, &handler, NULL) < 0)
        abort();
    return 0;
}
