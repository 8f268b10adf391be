/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Kea's own dialect of JSON, as Kea 2.2 reads it (tried with kea-dhcp4 -t; tests/real/test-kea-dialect.sh
 * does it again): comments from # or // to the end of the line and between slash-star and star-slash; include
 * directives, which stand wherever a token may stand, in included files as well, eleven deep; commas may be
 * repeated and may stand before a closing bracket, though not after an opening one; numbers like +7, 007, 7.
 * and .5; strings of any bytes from 0x20 on, with \u escapes up to \u00ff, each of which stands for one byte.
 *
 * The text is rewritten to strict JSON, with a record of where each line came from, and given to jansson. */

#include <jansson.h>
#include <stddef.h>

#include "base/macro.h"
#include "config/config.h"

#define KEA_JSON_MAX_BYTES ((size_t) 64 << 20) /* of a configuration, all included files counted */
#define KEA_JSON_MAX_DEPTH 11                  /* of includes: what Kea admits */
#define KEA_JSON_MAX_FILES 10000               /* inclusions altogether */

/* Bytes that make no UTF-8 (Kea does not mind, jansson does) and the escapes \u0000 and \u0080 to \u00ff,
 * which Kea turns into such bytes, become U+EF00 + byte, of the private use area. */
#define KEA_JSON_BYTE_BASE 0xEF00u

struct kea_json_origin {
    unsigned file; /* index into files */
    unsigned line; /* from 1 */
};

/* Strict JSON, and for each of its lines the place in the original. */
struct kea_json_text {
    char *text; /* NUL-terminated, size does not count the NUL */
    size_t size;
    char **files;
    size_t n_files;
    struct kea_json_origin *lines;
    size_t n_lines;
};
#define _cleanup_kea_json_text_ _cleanup_(kea_json_text_done)
void kea_json_text_done(struct kea_json_text *text);

/* Supplies included files. read() returns 0 and a buffer that the caller owns, or -errno: -E2BIG when it is
 * longer than max_bytes, -EINVAL when it is no regular file. */
struct kea_json_source {
    int (*read)(void *context, const char *name, size_t max_bytes, char **ret_text, size_t *ret_size);
    void *context;
    const char *directory; /* where relative names are looked for, for messages; NULL: shown as they are */
};

/* Rewrites the text of file `name`. Does nothing but call source->read. 0, or -EINVAL with one line added to
 * *problems, or -ENOMEM. */
int kea_json_expand(const char *name, const char *text, size_t size, const struct kea_json_source *source,
                    struct config_problems *problems, struct kea_json_text *ret);

struct kea_json {
    json_t *root; /* always an object */
    struct kea_json_text text;
};
#define _cleanup_kea_json_ _cleanup_(kea_json_freep)
struct kea_json *kea_json_free(struct kea_json *json); /* returns NULL */
static inline void kea_json_freep(struct kea_json **json) {
    *json = kea_json_free(*json);
}

/* Reads a configuration file. Kea opens a relative include in its working directory, not beside the including
 * file: `directory` is that one, NULL the present one. Only regular files are read, and without blocking.
 * 0 with *ret owned by the caller, or -EINVAL with the mistake added to *problems, or -ENOMEM. */
int kea_json_read(const char *path, const char *directory, struct config_problems *problems,
                  struct kea_json **ret);

/* Where the value at `path`, written as in "Dhcp4.control-sockets[1].socket-name", stands; where there is
 * none, the innermost value around it. *ret_file belongs to json. */
void kea_json_where(const struct kea_json *json, const char *path, const char **ret_file, unsigned *ret_line);
