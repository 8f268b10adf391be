/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kea-json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

struct kea_json *kea_json_free(struct kea_json *json) {
    if (!json)
        return NULL;
    json_decref(json->root);
    kea_json_text_done(&json->text);
    free(json);
    return NULL;
}

/* ---- files ---- */

struct directory {
    int fd; /* or AT_FDCWD */
};

/* O_NONBLOCK: a FIFO without a writer must not hold us up; that it is none is known only once it is open. */
static int read_regular(void *context, const char *name, size_t max_bytes, char **ret_text,
                        size_t *ret_size) {
    const struct directory *directory = context;
    _cleanup_close_ int fd = openat(directory->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENXIO ? -EINVAL : -errno; /* ENXIO: a socket */
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    return fd_read_all(fd, max_bytes, ret_text, ret_size);
}

static int parse(struct kea_json *json, struct config_problems *problems) {
    json_error_t error;
    struct kea_json_origin origin = {.line = 1};

    json->root = json_loadb(json->text.text, json->text.size, JSON_REJECT_DUPLICATES, &error);
    if (json->root && json_is_object(json->root))
        return 0;
    if (json->root) {
        origin = json->text.lines[0];
        return config_problems_add(problems, json->text.files[origin.file], origin.line,
                                   "the configuration must be a map: {...}");
    }
    if (json_error_code(&error) == json_error_out_of_memory)
        return -ENOMEM;

    size_t line = error.line > 0 ? (size_t) error.line : 1;
    if (line > json->text.n_lines)
        line = json->text.n_lines;
    if (line > 0)
        origin = json->text.lines[line - 1];
    return config_problems_add(problems, json->text.files[origin.file], origin.line, "syntax error: %s",
                               error.text);
}

int kea_json_read(const char *path, const char *directory, struct config_problems *problems,
                  struct kea_json **ret) {
    _cleanup_close_ int directory_fd = -EBADF;
    _cleanup_free_ char *text = NULL;
    size_t size = 0;

    if (directory) {
        directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd < 0)
            return config_problems_add(problems, path, 0, "cannot open the working directory '%s': %s",
                                       directory, strerror(errno));
    }
    struct directory here = {.fd = AT_FDCWD}, below = {.fd = directory ? directory_fd : AT_FDCWD};
    int r = read_regular(&here, path, KEA_JSON_MAX_BYTES, &text, &size);

    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return config_problems_add(problems, path, 0, "cannot read Kea's configuration: %s",
                                   r == -EINVAL  ? "it is not a regular file"
                                   : r == -E2BIG ? "it is larger than 64 MiB"
                                                 : strerror(-r));

    _cleanup_kea_json_ struct kea_json *json = calloc(1, sizeof(*json));
    if (!json)
        return -ENOMEM;
    const struct kea_json_source source = {.read = read_regular, .context = &below, .directory = directory};
    r = kea_json_expand(path, text, size, &source, problems, &json->text);
    if (r >= 0)
        r = parse(json, problems);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(json);
    return 0;
}

/* ---- where a value stands: the text is known to be valid here, tokens are apart by one blank or newline
 * ---- */

static const char *skip_blanks(const char *p) {
    return p + strspn(p, " \n");
}

static const char *skip_string(const char *p) {
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

static const char *skip_value(const char *p) {
    unsigned depth = 0;

    do {
        p = skip_blanks(p);
        if (*p == 0)
            return p;
        if (*p == '"') {
            p = skip_string(p);
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        else if (*p == '}' || *p == ']')
            depth--;
        p += strcspn(p, " \n");
    } while (depth > 0);
    return p;
}

/* The member of that name in the map at p, the item of that number in the list at p; NULL: none. */
static const char *find_member(const char *p, const char *key, size_t key_length) {
    if (*p != '{')
        return NULL;
    for (p = skip_blanks(p + 1); *p == '"';) {
        const char *name = p + 1;
        p = skip_string(p);
        size_t length = (size_t) (p - name) - 1;
        p = skip_blanks(p);
        p = skip_blanks(*p == ':' ? p + 1 : p);
        if (length == key_length && memcmp(name, key, length) == 0)
            return p;
        p = skip_blanks(skip_value(p));
        p = skip_blanks(*p == ',' ? p + 1 : p);
    }
    return NULL;
}

static const char *find_item(const char *p, unsigned long index) {
    if (*p != '[')
        return NULL;
    for (p = skip_blanks(p + 1); *p && *p != ']'; index--) {
        if (index == 0)
            return p;
        p = skip_blanks(skip_value(p));
        p = skip_blanks(*p == ',' ? p + 1 : p);
    }
    return NULL;
}

void kea_json_where(const struct kea_json *json, const char *path, const char **ret_file,
                    unsigned *ret_line) {
    const char *at = skip_blanks(json->text.text);

    while (*path) {
        const char *next;
        if (*path == '[') {
            char *end;
            unsigned long index = strtoul(path + 1, &end, 10);
            next = find_item(at, index);
            path = *end == ']' ? end + 1 : end;
        } else {
            size_t length = strcspn(path, ".[");
            next = find_member(at, path, length);
            path += length;
        }
        if (!next)
            break;
        at = next;
        path += *path == '.';
    }

    size_t line = 0;
    for (const char *p = json->text.text; p < at; p++)
        line += *p == '\n';
    const struct kea_json_origin *origin = &json->text.lines[line];
    *ret_file = json->text.files[origin->file];
    *ret_line = origin->line;
}
