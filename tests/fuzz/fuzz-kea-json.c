/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libFuzzer over the expansion of Kea's JSON: the input is cut at each 0xff into a main file and the files
 * "1", "2", ... that it may include. What is accepted must have a place for every line, in lines that agree
 * with the text, and jansson must not find a word or a character in it that the expansion should have
 * refused. */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/kea-json.h"

#define PARTS_MAX 8

struct parts {
    const uint8_t *data[PARTS_MAX];
    size_t size[PARTS_MAX];
    size_t n;
};

static int read_part(void *context, const char *name, size_t max_bytes, char **ret_text, size_t *ret_size) {
    const struct parts *parts = context;
    size_t i = (size_t) (name[0] - '0');

    if (name[1] || i < 1 || i >= parts->n)
        return -ENOENT;
    /* Includes multiply: keep one run short. */
    if (parts->size[i] > max_bytes || max_bytes < KEA_JSON_MAX_BYTES - ((size_t) 1 << 16))
        return -E2BIG;
    *ret_text = malloc(parts->size[i] + 1);
    if (!*ret_text)
        return -ENOMEM;
    memcpy(*ret_text, parts->data[i], parts->size[i]);
    (*ret_text)[parts->size[i]] = 0;
    *ret_size = parts->size[i];
    return 0;
}

static void check(const struct kea_json_text *text) {
    size_t n_lines = text->size > 0;
    json_error_t error;

    if (strlen(text->text) != text->size)
        abort();
    for (size_t i = 0; i < text->size; i++)
        n_lines += text->text[i] == '\n';
    if (n_lines != text->n_lines)
        abort();
    for (size_t i = 0; i < text->n_lines; i++)
        if (text->lines[i].file >= text->n_files || text->lines[i].line < 1)
            abort();

    struct kea_json json = {.root = json_loadb(text->text, text->size, JSON_REJECT_DUPLICATES, &error),
                            .text = *text};
    if (!json.root) {
        enum json_error_code code = json_error_code(&error);
        if (code == json_error_invalid_utf8 || code == json_error_null_character ||
            code == json_error_null_byte_in_key || strncmp(error.text, "invalid", strlen("invalid")) == 0)
            abort();
        return;
    }
    const char *file;
    unsigned line;
    kea_json_where(&json, "Dhcp4.control-sockets[1].socket-name", &file, &line);
    kea_json_where(&json, "[0].a[7]", &file, &line);
    json_decref(json.root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_kea_json_text_ struct kea_json_text text = {0};
    _cleanup_(config_problems_done) struct config_problems problems = {0};
    struct parts parts = {0};

    if (size == 0)
        return 0;
    for (const uint8_t *p = data, *end = data + size; parts.n < PARTS_MAX && p <= end;) {
        const uint8_t *cut = p < end ? memchr(p, 0xff, (size_t) (end - p)) : NULL;
        parts.data[parts.n] = p;
        parts.size[parts.n++] = (size_t) ((cut ? cut : end) - p);
        if (!cut)
            break;
        p = cut + 1;
    }
    const struct kea_json_source source = {.read = read_part, .context = &parts};
    int r = kea_json_expand("0", (const char *) parts.data[0], parts.size[0], &source, &problems, &text);
    if ((r < 0) != (problems.n > 0))
        abort();
    if (r >= 0)
        check(&text);
    return 0;
}
