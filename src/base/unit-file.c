/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/unit-file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/strlist.h"

#define BLANKS " \t\f\v"
#define WHITE_SPACE BLANKS "\r\n"

struct parser {
    const struct unit_file_handler *handler;
    void *userdata;
    bool in_section;       /* false: before the first section */
    bool section_is_known; /* false below a malformed header */
    char *joined;          /* the logical line read so far, NUL-terminated */
    size_t length, room;
    unsigned line; /* where it began */
    bool invalid;  /* it has had its complaint and is dropped */
};

/* The length of the UTF-8 sequence that begins text (RFC 3629), or 0. */
static size_t utf8_sequence(const unsigned char *text, size_t size) {
    size_t length = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

    if ((text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if (text[0] == 0xe0 && text[1] < 0xa0) /* overlong */
        return 0;
    if (text[0] == 0xed && text[1] > 0x9f) /* a surrogate */
        return 0;
    if (text[0] == 0xf0 && text[1] < 0x90) /* overlong */
        return 0;
    if (text[0] == 0xf4 && text[1] > 0x8f) /* beyond U+10FFFF */
        return 0;
    return length;
}

static bool utf8_is_valid(const char *text, size_t size) {
    while (size > 0) {
        size_t length = utf8_sequence((const unsigned char *) text, size);

        if (length == 0)
            return false;
        text += length;
        size -= length;
    }
    return true;
}

static int complain(struct parser *p, const char *message) {
    return p->handler->problem ? p->handler->problem(p->userdata, p->line, message) : 0;
}

/* Complains about text that the file contains, of which the beginning is shown. */
static int complain_of(struct parser *p, const char *message, const char *text) {
    char whole[160];

    snprintf(whole, sizeof whole, "%s: '%.60s%s'", message, text, strlen(text) > 60 ? "..." : "");
    return complain(p, whole);
}

/* Cuts white space off both ends, in place. */
static char *trim(char *text) {
    size_t length;

    text += strspn(text, WHITE_SPACE);
    length = strlen(text);
    while (length > 0 && strchr(WHITE_SPACE, text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

static int take_section(struct parser *p, char *text) {
    size_t length = strlen(text);
    char *argument;

    p->in_section = true;
    p->section_is_known = false;
    if (text[length - 1] != ']')
        return complain_of(p, "the section header does not end in ']'", text);
    text[length - 1] = '\0';
    if (strpbrk(text + 1, "[]"))
        return complain_of(p, "a bracket inside the section header", text);
    text = trim(text + 1);
    if (!*text)
        return complain(p, "the section has no name");

    argument = text + strcspn(text, BLANKS);
    if (*argument) {
        *argument = '\0';
        argument = trim(argument + 1);
    } else
        argument = NULL;
    p->section_is_known = true;
    return p->handler->section ? p->handler->section(p->userdata, p->line, text, argument) : 0;
}

static int take_assignment(struct parser *p, char *text) {
    char *value = strchr(text, '=');
    char *key;

    if (!value)
        return complain_of(p, "neither KEY=VALUE nor [SECTION] nor a comment", text);
    if (!p->in_section)
        return complain_of(p, "an assignment before the first [SECTION]", text);
    *value++ = '\0';
    key = trim(text);
    if (!*key)
        return complain_of(p, "no key before '='", value);
    if (!p->section_is_known || !p->handler->assign)
        return 0;
    return p->handler->assign(p->userdata, p->line, key, trim(value));
}

/* The logical line is complete. */
static int take_line(struct parser *p) {
    char *text;

    if (p->length == 0)
        return 0;
    p->length = 0;
    if (p->invalid)
        return 0;
    text = trim(p->joined);
    if (!*text)
        return 0;
    return *text == '[' ? take_section(p, text) : take_assignment(p, text);
}

static int join(struct parser *p, const char *text, size_t length) {
    if (p->room - p->length <= length) {
        size_t room = 2 * (p->length + length) + 64;
        char *bigger = realloc(p->joined, room);

        if (!bigger)
            return -ENOMEM;
        p->joined = bigger;
        p->room = room;
    }
    memcpy(p->joined + p->length, text, length);
    p->length += length;
    p->joined[p->length] = '\0';
    return 0;
}

/* An odd number of backslashes at the end: the last one is not itself escaped. */
static bool is_continued(const char *text, size_t length) {
    size_t backslashes = 0;

    while (backslashes < length && text[length - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* One line of the file, without its end. */
static int take_physical_line(struct parser *p, const char *text, size_t length, unsigned number) {
    size_t blanks = 0;
    bool continued;
    int r;

    if (length > 0 && text[length - 1] == '\r')
        length--;
    while (blanks < length && strchr(BLANKS, text[blanks]) && text[blanks])
        blanks++;
    text += blanks;
    length -= blanks;

    if (p->length == 0) {
        p->line = number;
        p->invalid = false;
    }
    if (memchr(text, '\0', length) ||
        (length > 0 && *text != '#' && *text != ';' && !utf8_is_valid(text, length))) {
        unsigned begin = p->line;

        p->line = number;
        r = complain(p, memchr(text, '\0', length) ? "a NUL byte" : "bytes that are not UTF-8");
        p->line = begin;
        if (r < 0)
            return r;
        p->invalid = true;
    } else if (length > 0 && (*text == '#' || *text == ';'))
        return 0;

    continued = is_continued(text, length);
    r = join(p, text, length - continued);
    if (r < 0)
        return r;
    if (!continued)
        return take_line(p);
    return join(p, " ", 1);
}

int unit_file_parse(const char *text, size_t size, const struct unit_file_handler *handler, void *userdata) {
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    struct parser p = {.handler = handler, .userdata = userdata};
    unsigned number = 1;
    int r = 0;

    if (size >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        size -= 3;
    }
    for (; size > 0 && r >= 0; number++) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t) (end - text) : size;

        r = take_physical_line(&p, text, length, number);
        text += length + (end != NULL);
        size -= length + (end != NULL);
    }
    if (r >= 0)
        r = take_line(&p); /* the file ended in a continuation */
    free(p.joined);
    return r < 0 ? r : 0;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Reads exactly n digits of the base. */
static bool scan_digits(const char *text, size_t n, int base, uint32_t *ret) {
    uint32_t value = 0;

    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(text[i]);

        if (digit < 0 || digit >= base)
            return false;
        value = value * (uint32_t) base + (uint32_t) digit;
    }
    *ret = value;
    return true;
}

static size_t encode_utf8(uint32_t c, char *out) {
    if (c < 0x80) {
        out[0] = (char) c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char) (0xc0 | c >> 6);
        out[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char) (0xe0 | c >> 12);
        out[1] = (char) (0x80 | (c >> 6 & 0x3f));
        out[2] = (char) (0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char) (0xf0 | c >> 18);
    out[1] = (char) (0x80 | (c >> 12 & 0x3f));
    out[2] = (char) (0x80 | (c >> 6 & 0x3f));
    out[3] = (char) (0x80 | (c & 0x3f));
    return 4;
}

/* Replaces the escape that begins behind the backslash *text stands after; moves *text behind it. What it
 * stands for is never longer than what was written. NULL: good; else what is wrong. */
static const char *take_escape(const char **text, char **out) {
    static const char letters[] = "abfnrtvs\\\"'", meanings[] = "\a\b\f\n\r\t\v \\\"'";
    static const struct {
        char letter;
        unsigned digits;
    } codes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    const char *p = *text, *letter;
    bool is_byte = true;
    uint32_t code = 0;

    if (!*p)
        return "a backslash at the end";
    letter = strchr(letters, *p);
    if (letter) {
        *(*out)++ = meanings[letter - letters];
        *text = p + 1;
        return NULL;
    }
    if (*p >= '0' && *p <= '7') {
        if (!scan_digits(p, 3, 8, &code) || code > 0xff)
            return "an octal escape is \\NNN, at most \\377";
        *text = p + 3;
    } else {
        size_t i = 0;

        while (i < ELEMENTSOF(codes) && codes[i].letter != *p)
            i++;
        if (i == ELEMENTSOF(codes))
            return "an unknown escape (a backslash itself is written \\\\)";
        if (!scan_digits(p + 1, codes[i].digits, 16, &code))
            return "hexadecimal escapes are \\xNN, \\uNNNN and \\UNNNNNNNN";
        is_byte = *p == 'x';
        if (code > 0x10ffff || (!is_byte && code >= 0xd800 && code <= 0xdfff))
            return "an escape for no character of Unicode";
        *text = p + 1 + codes[i].digits;
    }
    if (code == 0)
        return "an escape for the NUL byte";
    if (is_byte)
        *(*out)++ = (char) code;
    else
        *out += encode_utf8(code, *out);
    return NULL;
}

/* Copies one word to out. NULL: good; else what is wrong. */
static const char *take_word(const char **text, bool relaxed, char *out) {
    const char *p = *text, *why;
    char quote = '\0';

    while (*p && (quote || !strchr(WHITE_SPACE, *p))) {
        if (*p == '\\') {
            p++;
            if (relaxed) {
                if (*p)
                    *out++ = *p++;
                continue;
            }
            why = take_escape(&p, &out);
            if (why)
                return why;
        } else if (quote && *p == quote) {
            quote = '\0';
            p++;
        } else if (!quote && (*p == '"' || *p == '\''))
            quote = *p++;
        else
            *out++ = *p++;
    }
    if (quote && !relaxed)
        return quote == '"' ? "a double quote is not closed" : "a single quote is not closed";
    *out = '\0';
    *text = p;
    return NULL;
}

static int split(const char *value, bool relaxed, char ***ret, const char **ret_why) {
    _cleanup_strlist_ char **words = NULL;
    _cleanup_free_ char *buffer = malloc(strlen(value) + 1); /* no word is longer than the value */
    size_t n = 0;

    if (!buffer)
        return -ENOMEM;
    for (value += strspn(value, WHITE_SPACE); *value; value += strspn(value, WHITE_SPACE)) {
        const char *why = take_word(&value, relaxed, buffer);
        int r;

        if (why) {
            *ret_why = why;
            return -EINVAL;
        }
        r = strlist_append(&words, &n, strdup(buffer));
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(words);
    return 0;
}

int unit_file_split(const char *value, char ***ret, const char **ret_why) {
    return split(value, false, ret, ret_why);
}

int unit_file_split_relaxed(const char *value, char ***ret) {
    return split(value, true, ret, NULL);
}

/* Whether a word means itself without quotes. */
static bool is_plain(const char *word, size_t size) {
    if (size == 0 || strpbrk(word, " \"'\\\x7f") || !utf8_is_valid(word, size))
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char) word[i] < ' ')
            return false;
    return true;
}

int unit_file_quote(const char *word, char **ret) {
    size_t size = strlen(word);
    char *quoted, *out;

    if (is_plain(word, size)) {
        quoted = strdup(word);
        if (!quoted)
            return -ENOMEM;
        *ret = quoted;
        return 0;
    }
    out = quoted = malloc(4 * size + 3); /* "\xNN" for each byte at worst */
    if (!quoted)
        return -ENOMEM;
    *out++ = '"';
    while (size > 0) {
        size_t length = utf8_sequence((const unsigned char *) word, size);

        if (length == 0 || (unsigned char) *word < ' ' || *word == 0x7f) {
            out += snprintf(out, 5, "\\x%02x", (unsigned char) *word);
            length = 1;
        } else {
            if (*word == '"' || *word == '\\')
                *out++ = '\\';
            memcpy(out, word, length);
            out += length;
        }
        word += length;
        size -= length;
    }
    *out++ = '"';
    *out = '\0';
    *ret = quoted;
    return 0;
}
