/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/kea-json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* One file being read, and below it the files that include it. */
struct input {
    const struct input *outer;
    const char *name;
    const char *position, *end;
    unsigned file, line;
};

struct expander {
    const struct kea_json_source *source;
    struct config_problems *problems;
    struct kea_json_text out;
    size_t text_space, files_space, lines_space;
    size_t input_bytes;
    bool comma; /* read but not yet written: it vanishes before a closing bracket */
    unsigned comma_line;
    char last; /* first byte of the token written last; 0: none */
};

void kea_json_text_done(struct kea_json_text *text) {
    for (size_t i = 0; i < text->n_files; i++)
        free(text->files[i]);
    free(text->files);
    free(text->lines);
    free(text->text);
    *text = (struct kea_json_text){0};
}

/* ---- the output ---- */

/* Makes room in an array; *space counts items. Returns the array, NULL when there is no memory. */
static void *grow(void *array, size_t *space, size_t needed, size_t item_size) {
    size_t wanted = *space < 64 ? 64 : *space;

    if (needed <= *space)
        return array;
    while (wanted < needed)
        wanted *= 2;
    void *larger = reallocarray(array, wanted, item_size);
    if (larger)
        *space = wanted;
    return larger;
}

static int append(struct expander *x, const char *data, size_t size) {
    char *text = grow(x->out.text, &x->text_space, x->out.size + size + 1, 1);

    if (!text)
        return -ENOMEM;
    x->out.text = text;
    if (size > 0)
        memcpy(x->out.text + x->out.size, data, size);
    x->out.size += size;
    x->out.text[x->out.size] = 0;
    return 0;
}

/* Starts a token: on a new line of the output when it stands on another line of the input than the last one
 * did, else behind a blank, so that two tokens never become one. */
static int begin_token(struct expander *x, const struct input *in) {
    const struct kea_json_origin *last = x->out.n_lines > 0 ? &x->out.lines[x->out.n_lines - 1] : NULL;

    if (last && last->file == in->file && last->line == in->line)
        return append(x, " ", 1);

    struct kea_json_origin *lines = grow(x->out.lines, &x->lines_space, x->out.n_lines + 1, sizeof(*lines));
    if (!lines)
        return -ENOMEM;
    x->out.lines = lines;
    if (last) {
        int r = append(x, "\n", 1);
        if (r < 0)
            return r;
    }
    lines[x->out.n_lines++] = (struct kea_json_origin){.file = in->file, .line = in->line};
    return 0;
}

/* Every token but a comma is started here: it decides what becomes of the comma before it. */
static int begin(struct expander *x, const struct input *in, char first) {
    int r = begin_token(x, in);

    if (r >= 0 && x->comma && first != '}' && first != ']')
        r = append(x, ", ", 2);
    x->comma = false;
    x->last = first;
    return r;
}

static int put(struct expander *x, const struct input *in, const char *token, size_t size) {
    int r = begin(x, in, token[0]);

    return r < 0 ? r : append(x, token, size);
}

/* ---- the tokens ---- */

static int mistake(struct expander *x, const struct input *in, unsigned line, const char *what) {
    return config_problems_add(x->problems, x->out.files[in->file], line, "%s", what);
}

/* How much of the file's text a message shows. config_problems_add() makes it printable. */
#define EXCERPT_MAX 60

static int mistake_text(struct expander *x, const struct input *in, const char *text, size_t size,
                        const char *what) {
    return config_problems_add(x->problems, x->out.files[in->file], in->line, "'%.*s' %s",
                               (int) (size < EXCERPT_MAX ? size : EXCERPT_MAX), text, what);
}

static int take_comma(struct expander *x, struct input *in) {
    in->position++;
    if (x->last == 0 || strchr("{[:", x->last))
        return mistake(x, in, in->line, "unexpected ',': there is no value before it");
    x->comma = true;
    x->comma_line = in->line;
    return 0;
}

static int skip_comment(struct expander *x, struct input *in) {
    unsigned first_line = in->line;

    for (in->position += 2; in->end - in->position >= 2; in->position++) {
        if (in->position[0] == '*' && in->position[1] == '/') {
            in->position += 2;
            return 0;
        }
        if (*in->position == '\n')
            in->line++;
    }
    return mistake(x, in, first_line, "the comment that begins here with /* is not closed by */");
}

static void skip_line(struct input *in) {
    const char *newline = memchr(in->position, '\n', (size_t) (in->end - in->position));

    in->position = newline ? newline : in->end;
}

/* The length of the UTF-8 sequence at p, 0 where there is none (overlong ones and surrogates are none). */
static size_t utf8_length(const unsigned char *p, size_t available) {
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t length;
    } rows[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        if (p[0] < rows[i].first_min || p[0] > rows[i].first_max)
            continue;
        if (available < rows[i].length || p[1] < rows[i].second_min || p[1] > rows[i].second_max)
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].length;
    }
    return 0;
}

static int append_byte(struct expander *x, unsigned byte) {
    unsigned code = KEA_JSON_BYTE_BASE + byte;
    const char bytes[] = {(char) (0xe0 | code >> 12), (char) (0x80 | (code >> 6 & 0x3f)),
                          (char) (0x80 | (code & 0x3f))};

    return append(x, bytes, sizeof(bytes));
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* An escape at p, of which `available` bytes (at least one) are left in the file. Returns its length. */
static int take_escape(struct expander *x, const struct input *in, const char *p, size_t available) {
    int r;

    if (available >= 2 && p[1] && strchr("\"\\/bfnrt", p[1])) {
        r = append(x, p, 2);
        return r < 0 ? r : 2;
    }
    if (available < 6 || p[1] != 'u' || hex_digit(p[2]) < 0 || hex_digit(p[3]) < 0 || hex_digit(p[4]) < 0 ||
        hex_digit(p[5]) < 0)
        return mistake(x, in, in->line,
                       "unknown escape in a string: Kea knows \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u00XX");
    if (p[2] != '0' || p[3] != '0')
        return mistake(x, in, in->line, "Kea takes \\u escapes up to \\u00ff only");

    unsigned byte = (unsigned) (hex_digit(p[4]) << 4 | hex_digit(p[5]));
    r = byte == 0 || byte >= 0x80 ? append_byte(x, byte) : append(x, p, 6);
    return r < 0 ? r : 6;
}

static int take_string(struct expander *x, struct input *in) {
    const char *p = in->position + 1;
    int r = put(x, in, "\"", 1);

    while (r >= 0) {
        size_t available = (size_t) (in->end - p), length;

        if (available == 0 || *p == '\n')
            return mistake(x, in, in->line, "a string is not closed before the end of its line");
        if (*p == '"')
            break;
        if ((unsigned char) *p < 0x20)
            return mistake(x, in, in->line, "a control character in a string");
        if (*p == '\\') {
            r = take_escape(x, in, p, available);
            p += r < 0 ? 0 : r;
        } else if ((unsigned char) *p < 0x80) {
            for (length = 1; length < available && (unsigned char) p[length] >= 0x20 &&
                             (unsigned char) p[length] < 0x80 && p[length] != '"' && p[length] != '\\';)
                length++;
            r = append(x, p, length);
            p += length;
        } else {
            length = utf8_length((const unsigned char *) p, available);
            r = length > 0 ? append(x, p, length) : append_byte(x, (unsigned char) *p);
            p += length > 0 ? length : 1;
        }
    }
    if (r < 0)
        return r;
    in->position = p + 1;
    return append(x, "\"", 1);
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Without leading zeros; at least one digit. */
static int append_digits(struct expander *x, const char *digits, const char *end) {
    while (end - digits > 1 && *digits == '0')
        digits++;
    return digits == end ? append(x, "0", 1) : append(x, digits, (size_t) (end - digits));
}

/* Kea's scanner takes the longest of -?[0-9]+ and [-+]?[0-9]*[.]?[0-9]*([eE][-+]?[0-9]+)?; the first is an
 * integer, the second is not, so that +7 is 7.0. */
static int take_number(struct expander *x, struct input *in) {
    const char *start = in->position, *whole = start + (*start == '-' || *start == '+');
    const char *point = skip_digits(whole, in->end), *fraction = point, *end = point, *exponent;
    bool real = *start == '+';
    int r;

    if (point < in->end && *point == '.') {
        fraction = point + 1;
        end = skip_digits(fraction, in->end);
        real = true;
    }
    exponent = end;
    if (end < in->end && (*end == 'e' || *end == 'E')) {
        const char *digits = end + 1;
        if (digits < in->end && (*digits == '-' || *digits == '+'))
            digits++;
        const char *after = skip_digits(digits, in->end);
        if (after > digits) {
            end = after;
            real = true;
        }
    }
    if (point == whole && fraction == exponent)
        return mistake_text(x, in, start, (size_t) (end - start), "is not a number: it has no digits");

    in->position = end;
    r = begin(x, in, '0');
    if (r >= 0 && *start == '-')
        r = append(x, "-", 1);
    if (r >= 0)
        r = append_digits(x, whole, point);
    if (r < 0 || !real)
        return r;
    r = append(x, ".", 1);
    if (r >= 0)
        r = exponent > fraction ? append(x, fraction, (size_t) (exponent - fraction)) : append(x, "0", 1);
    if (r >= 0)
        r = append(x, exponent, (size_t) (end - exponent));
    return r;
}

static int take_word(struct expander *x, struct input *in) {
    static const char *const words[] = {"true", "false", "null"};
    size_t length = 0, available = (size_t) (in->end - in->position);

    while (length < available && (in->position[length] | 0x20) >= 'a' && (in->position[length] | 0x20) <= 'z')
        length++;
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strlen(words[i]) == length && memcmp(words[i], in->position, length) == 0) {
            in->position += length;
            return put(x, in, words[i], length);
        }

    if (length == 0) {
        unsigned char c = (unsigned char) *in->position;
        return c > 0x20 && c < 0x7f ? config_problems_add(x->problems, x->out.files[in->file], in->line,
                                                          "unexpected character '%c'", c)
                                    : config_problems_add(x->problems, x->out.files[in->file], in->line,
                                                          "unexpected byte 0x%02x", c);
    }
    return mistake_text(
        x, in, in->position, length,
        "is not known: names and texts stand in double quotes, true, false and null are written "
        "in lower case");
}

/* ---- includes ---- */

static int expand_input(struct expander *x, struct input *in, unsigned depth);

/* Gives the input its number and its name for messages, which tells where a relative one was looked for. */
static int add_file(struct expander *x, struct input *in) {
    const char *directory = in->outer && in->name[0] != '/' ? x->source->directory : NULL;
    char **files = grow(x->out.files, &x->files_space, x->out.n_files + 1, sizeof(*files)), *label;

    if (!files)
        return -ENOMEM;
    x->out.files = files;
    if (asprintf(&label, "%s%s%s", directory ? directory : "", directory ? "/" : "", in->name) < 0)
        return -ENOMEM;
    in->file = (unsigned) x->out.n_files;
    files[x->out.n_files++] = label;
    return 0;
}

static void skip_blanks(struct input *in) {
    for (; in->position < in->end && *in->position && strchr(" \t\r\n", *in->position); in->position++)
        if (*in->position == '\n')
            in->line++;
}

static bool skip_prefix(struct input *in, const char *prefix) {
    size_t length = strlen(prefix);

    if ((size_t) (in->end - in->position) < length || memcmp(in->position, prefix, length) != 0)
        return false;
    in->position += length;
    return true;
}

/* What stands between the quotes is the name as it is: Kea knows no escapes there. */
static int parse_include(struct expander *x, struct input *in, char **ret_name) {
    static const char usage[] = "an include is written <?include \"FILE\"?>";
    unsigned line = in->line;
    const char *name;

    (void) skip_prefix(in, "<?");
    skip_blanks(in);
    if (!skip_prefix(in, "include"))
        return mistake(x, in, line, usage);
    skip_blanks(in);
    if (!skip_prefix(in, "\""))
        return mistake(x, in, in->line, usage);
    for (name = in->position; in->position < in->end && !strchr("\"\n", *in->position);)
        in->position++;
    size_t length = (size_t) (in->position - name);
    if (length == 0 || !skip_prefix(in, "\""))
        return mistake(x, in, in->line, usage);
    skip_blanks(in);
    if (!skip_prefix(in, "?>"))
        return mistake(x, in, in->line, usage);
    *ret_name = strndup(name, length);
    return *ret_name ? 0 : -ENOMEM;
}

static const char *read_error(int r) {
    return r == -EINVAL  ? "it is not a regular file"
           : r == -E2BIG ? "the configuration is larger than 64 MiB"
                         : strerror(-r);
}

static int take_include(struct expander *x, struct input *in, unsigned depth) {
    _cleanup_free_ char *name = NULL, *text = NULL;
    size_t size = 0;
    unsigned line = in->line;
    int r = parse_include(x, in, &name);

    if (r < 0)
        return r;
    const char *here = x->out.files[in->file];

    for (const struct input *outer = in; outer; outer = outer->outer)
        if (strcmp(outer->name, name) == 0)
            return config_problems_add(x->problems, here, line,
                                       "cannot include '%s': it is being read already, it includes itself%s",
                                       name, outer == in ? "" : " through others");
    if (depth >= KEA_JSON_MAX_DEPTH)
        return config_problems_add(x->problems, here, line,
                                   "cannot include '%s': includes are nested deeper than %d, Kea's limit",
                                   name, KEA_JSON_MAX_DEPTH);
    if (x->out.n_files > KEA_JSON_MAX_FILES)
        return config_problems_add(x->problems, here, line,
                                   "cannot include '%s': there are more than %d includes", name,
                                   KEA_JSON_MAX_FILES);
    r = x->source->read(x->source->context, name, KEA_JSON_MAX_BYTES - x->input_bytes, &text, &size);
    if (r == -ENOMEM)
        return r;
    if (r == -ENOENT && name[0] != '/')
        return config_problems_add(
            x->problems, here, line,
            "cannot include '%s': there is no such file in the working directory%s%s, where "
            "Kea looks for it",
            name, x->source->directory ? " " : "", x->source->directory ? x->source->directory : "");
    if (r < 0)
        return config_problems_add(x->problems, here, line, "cannot include '%s': %s", name, read_error(r));

    struct input inner = {.outer = in, .name = name, .position = text, .end = text + size, .line = 1};
    r = add_file(x, &inner);
    if (r < 0)
        return r;
    x->input_bytes += size;
    return expand_input(x, &inner, depth + 1);
}

static int expand_input(struct expander *x, struct input *in, unsigned depth) {
    int r = 0;

    while (r >= 0 && in->position < in->end) {
        char c = in->position[0], next = in->end - in->position > 1 ? in->position[1] : 0;

        if (c == '\n') {
            in->line++;
            in->position++;
        } else if (c == ' ' || c == '\t' || c == '\r')
            in->position++;
        else if (c == '#' || (c == '/' && next == '/'))
            skip_line(in);
        else if (c == '/' && next == '*')
            r = skip_comment(x, in);
        else if (c == '<' && next == '?')
            r = take_include(x, in, depth);
        else if (c == '"')
            r = take_string(x, in);
        else if (c == ',')
            r = take_comma(x, in);
        else if (c == '{' || c == '}' || c == '[' || c == ']' || c == ':')
            r = put(x, in, in->position++, 1);
        else if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
            r = take_number(x, in);
        else
            r = take_word(x, in);
    }
    return r;
}

int kea_json_expand(const char *name, const char *text, size_t size, const struct kea_json_source *source,
                    struct config_problems *problems, struct kea_json_text *ret) {
    struct expander x = {.source = source, .problems = problems, .input_bytes = size};
    struct input in = {.name = name, .position = text, .end = text + size, .line = 1};
    int r = add_file(&x, &in);

    if (r >= 0)
        r = append(&x, "", 0);
    if (r >= 0)
        r = expand_input(&x, &in, 0);
    if (r >= 0 && x.comma)
        r = mistake(&x, &in, x.comma_line, "unexpected ',' after the last value");
    if (r < 0) {
        kea_json_text_done(&x.out);
        return r;
    }
    *ret = x.out;
    return 0;
}
