/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/unit-file.h"

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/strlist.h"

#include "suite.h"

/* Everything the parser calls back for is written down, a line each. */
static char record[4096];

__attribute__((format(printf, 1, 2))) static int note(const char *fmt, ...) {
    size_t used = strlen(record);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(record + used, sizeof record - used, fmt, ap);
    va_end(ap);
    return 0;
}

static int on_section(void *userdata, unsigned line, const char *section, const char *argument) {
    (void) userdata;
    return note("%u [%s|%s]\n", line, section, argument ? argument : "-");
}

static int on_assignment(void *userdata, unsigned line, const char *key, const char *value) {
    (void) userdata;
    return note("%u %s=<%s>\n", line, key, value);
}

static int on_problem(void *userdata, unsigned line, const char *message) {
    (void) userdata;
    return note("%u! %s\n", line, message);
}

static const struct unit_file_handler handler = {on_section, on_assignment, on_problem};

static const char *parse_bytes(const char *text, size_t size) {
    record[0] = '\0';
    ck_assert_int_eq(unit_file_parse(text, size, &handler, NULL), 0);
    return record;
}

static const char *parse(const char *text) {
    return parse_bytes(text, strlen(text));
}

START_TEST(test_plain) {
    ck_assert_str_eq(parse(""), "");
    ck_assert_str_eq(parse("\n\n  \n# x\n ; y\n"), "");
    ck_assert_str_eq(parse("[Service]\nA=1\n  B = two words \t\nC=\n"),
                     "1 [Service|-]\n2 A=<1>\n3 B=<two words>\n4 C=<>\n");
    ck_assert_str_eq(parse("[Socket  main one ]\nA=b=c # no comment"),
                     "1 [Socket|main one]\n2 A=<b=c # no comment>\n");
    ck_assert_str_eq(parse("\xef\xbb\xbf[S]\r\nA=x\r\nB=y \\\r\n z\r\n"), "1 [S|-]\n2 A=<x>\n3 B=<y  z>\n");
}
END_TEST

START_TEST(test_continuation) {
    ck_assert_str_eq(parse("[S]\nA=one \\\n  two\\\nthree\nB=4\n"),
                     "1 [S|-]\n2 A=<one  two three>\n5 B=<4>\n");
    /* Comments in between are left out, and do not end it. */
    ck_assert_str_eq(parse("[S]\nA=one\\\n# note \\\n   ; note\ntwo\nB=x\n"),
                     "1 [S|-]\n2 A=<one two>\n6 B=<x>\n");
    /* An empty line ends it; so does the end of the file. */
    ck_assert_str_eq(parse("[S]\nA=one\\\n\nB=x\\"), "1 [S|-]\n2 A=<one>\n4 B=<x>\n");
    /* An even number of backslashes is data, and so is one with a blank behind it. */
    ck_assert_str_eq(parse("[S]\nA=one\\\\\nB=\\\\\\\nx\nC=y\\ \nD=z\n"),
                     "1 [S|-]\n2 A=<one\\\\>\n3 B=<\\\\ x>\n5 C=<y\\>\n6 D=<z>\n");
    ck_assert_str_eq(parse("[S]\n\\\nA=b\n"), "1 [S|-]\n2 A=<b>\n");
}
END_TEST

START_TEST(test_mistakes) {
    ck_assert_str_eq(parse("A=1\n[S]\nnonsense\n=5\nB=2\n"),
                     "1! an assignment before the first [SECTION]: 'A=1'\n2 [S|-]\n"
                     "3! neither KEY=VALUE nor [SECTION] nor a comment: 'nonsense'\n"
                     "4! no key before '=': '5'\n5 B=<2>\n");
    /* What stands below a broken header belongs to nobody. */
    ck_assert_str_eq(parse("[S\nA=1\n[]\nB=2\n[a[b]\nC=3\n[S]\nD=4\n"),
                     "1! the section header does not end in ']': '[S'\n3! the section has no name\n"
                     "5! a bracket inside the section header: '[a[b'\n7 [S|-]\n8 D=<4>\n");
    ck_assert_ptr_nonnull(strstr(parse("[S]\nA=1\\\nno=assignment\\\n=x\n"), "2 A=<1 no=assignment =x>"));
}
END_TEST

START_TEST(test_bytes) {
    static const char nul[] = "[S]\nA=1\\\nB\0=2\nC=3\n",
                      latin[] = "[S]\n# caf\xe9\nA=\xc3\xa9\nB=caf\xe9\nC=3\n",
                      hidden[] = "[S]\n# a\0b\nC=3\n";

    ck_assert_str_eq(parse_bytes(nul, sizeof nul - 1), "1 [S|-]\n3! a NUL byte\n4 C=<3>\n");
    ck_assert_str_eq(parse_bytes(hidden, sizeof hidden - 1), "1 [S|-]\n2! a NUL byte\n3 C=<3>\n");
    ck_assert_str_eq(parse(latin), "1 [S|-]\n3 A=<\xc3\xa9>\n4! bytes that are not UTF-8\n5 C=<3>\n");
    for (size_t i = 0; i < 7; i++) {
        static const char *const bad[] = {"\xc0\x80",         "\xe0\x9f\xbf",     "\xed\xa0\x80",
                                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                          "\xe2\x82"};
        char text[32];

        snprintf(text, sizeof text, "[S]\nA=%s", bad[i]);
        ck_assert_str_eq(parse(text), "1 [S|-]\n2! bytes that are not UTF-8\n");
    }
    ck_assert_str_eq(parse("[S]\nA=\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\n"),
                     "1 [S|-]\n2 A=<\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80>\n");
}
END_TEST

struct long_line {
    size_t length;
    unsigned line, n;
};

static int on_long(void *userdata, unsigned line, const char *key, const char *value) {
    struct long_line *seen = userdata;

    ck_assert_str_eq(key, "A");
    seen->length = strlen(value);
    seen->line = line;
    seen->n++;
    return 0;
}

START_TEST(test_long_lines) {
    static const struct unit_file_handler long_handler = {NULL, on_long, NULL};
    const size_t length = 100 * 1024;
    _cleanup_free_ char *text = malloc(length + 32), *parts = malloc(32 + 3 * length);
    struct long_line seen = {0};
    char *p;

    p = stpcpy(text, "[S]\nA=");
    memset(p, 'x', length);
    strcpy(p + length, "\n");
    ck_assert_int_eq(unit_file_parse(text, strlen(text), &long_handler, &seen), 0);
    ck_assert_uint_eq(seen.length, length);

    p = stpcpy(parts, "[S]\nA=");
    for (size_t i = 0; i < length; i++)
        p = stpcpy(p, "x\\\n");
    strcpy(p, "x");
    ck_assert_int_eq(unit_file_parse(parts, strlen(parts), &long_handler, &seen), 0);
    ck_assert_uint_eq(seen.length, 2 * length + 1);
    ck_assert_uint_eq(seen.line, 2);
    ck_assert_uint_eq(seen.n, 2);
}
END_TEST

static int on_stop(void *userdata, unsigned line, const char *key, const char *value) {
    (void) line, (void) key, (void) value;
    ++*(unsigned *) userdata;
    return -ECANCELED;
}

START_TEST(test_stop) {
    static const struct unit_file_handler stopping = {NULL, on_stop, NULL};
    static const char text[] = "oops\n[S]\nA=1\nB=2\n";
    unsigned n = 0;

    ck_assert_int_eq(unit_file_parse(text, sizeof text - 1, &stopping, &n), -ECANCELED);
    ck_assert_uint_eq(n, 1);
}
END_TEST

/* The words in angle brackets, or "! why". */
static const char *split(const char *value, bool relaxed) {
    _cleanup_strlist_ char **words = NULL;
    const char *why = NULL;
    int r = relaxed ? unit_file_split_relaxed(value, &words) : unit_file_split(value, &words, &why);

    record[0] = '\0';
    if (r < 0) {
        ck_assert_int_eq(r, -EINVAL);
        note("! %s", why);
    }
    for (char **word = words; word && *word; word++)
        note("<%s>", *word);
    return record;
}

START_TEST(test_split) {
    ck_assert_str_eq(split("", false), "");
    ck_assert_str_eq(split(" \t ", false), "");
    ck_assert_str_eq(split("one  two\tthree ", false), "<one><two><three>");
    ck_assert_str_eq(split("\"one two\" 'three \"four\"' \"it's\"", false),
                     "<one two><three \"four\"><it's>");
    ck_assert_str_eq(split("A=\"b c\"d '' \"\"", false), "<A=b cd><><>");
    ck_assert_str_eq(split("a\\nb a\\tb a\\sb \\\\ \\\" \\' \\a\\b\\f\\r\\v", false),
                     "<a\nb><a\tb><a b><\\><\"><'><\a\b\f\r\v>");
    ck_assert_str_eq(split("\\x41\\x7e \\101 \\u00e9 \\U0001F512 '\\x20'", false),
                     "<A~><A><\xc3\xa9><\xf0\x9f\x94\x92>< >");
    ck_assert_str_eq(split("$HOME ${X} `id` $(id) * ;", false), "<$HOME><${X}><`id`><$(id)><*><;>");
}
END_TEST

START_TEST(test_split_mistakes) {
    ck_assert_str_eq(split("a \"b", false), "! a double quote is not closed");
    ck_assert_str_eq(split("a 'b", false), "! a single quote is not closed");
    ck_assert_str_eq(split("a\\", false), "! a backslash at the end");
    ck_assert_str_eq(split("a\\q", false), "! an unknown escape (a backslash itself is written \\\\)");
    ck_assert_str_eq(split("\\x4", false), "! hexadecimal escapes are \\xNN, \\uNNNN and \\UNNNNNNNN");
    ck_assert_str_eq(split("\\777", false), "! an octal escape is \\NNN, at most \\377");
    ck_assert_str_eq(split("\\19", false), "! an octal escape is \\NNN, at most \\377");
    ck_assert_str_eq(split("\\x00", false), "! an escape for the NUL byte");
    ck_assert_str_eq(split("\\ud800", false), "! an escape for no character of Unicode");
    ck_assert_str_eq(split("\\U00110000", false), "! an escape for no character of Unicode");
}
END_TEST

START_TEST(test_split_relaxed) {
    ck_assert_str_eq(split("one 'two three' \"four", true), "<one><two three><four>");
    ck_assert_str_eq(split("a\\qb \\", true), "<aqb><>");
}
END_TEST

START_TEST(test_quote) {
    static const struct {
        const char *word, *quoted;
    } cases[] = {
        {"", "\"\""},
        {"plain", "plain"},
        {"a b", "\"a b\""},
        {"a\"b\\", "\"a\\\"b\\\\\""},
        {"a\nb", "\"a\\x0ab\""},
        {"\xc3\xa9", "\xc3\xa9"},
        {"\xff", "\"\\xff\""},
        {"it's", "\"it's\""},
        {"\x7f", "\"\\x7f\""},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_strlist_ char **words = NULL;
        _cleanup_free_ char *quoted = NULL;
        const char *why;

        ck_assert_int_eq(unit_file_quote(cases[i].word, &quoted), 0);
        ck_assert_str_eq(quoted, cases[i].quoted);
        ck_assert_int_eq(unit_file_split(quoted, &words, &why), 0);
        ck_assert_uint_eq(strlist_length(words), 1);
        ck_assert_str_eq(words[0], cases[i].word);
    }
    for (int c = 1; c < 256; c++) {
        char word[] = {'a', (char) c, 'b', '\0'};
        _cleanup_strlist_ char **words = NULL;
        _cleanup_free_ char *quoted = NULL;
        const char *why;

        ck_assert_int_eq(unit_file_quote(word, &quoted), 0);
        ck_assert_int_eq(unit_file_split(quoted, &words, &why), 0);
        ck_assert_uint_eq(strlist_length(words), 1);
        ck_assert_str_eq(words[0], word);
    }
}
END_TEST

START_TEST(test_strlist) {
    _cleanup_strlist_ char **list = NULL, **copy = NULL;
    size_t n = 0;

    ck_assert_uint_eq(strlist_length(NULL), 0);
    for (unsigned i = 0; i < 1000; i++) {
        char text[16];

        snprintf(text, sizeof text, "%u", i);
        ck_assert_int_eq(strlist_append(&list, i % 2 ? &n : NULL, strdup(text)), 0);
        n = i + 1;
        ck_assert_uint_eq(strlist_length(list), n);
    }
    ck_assert_str_eq(list[999], "999");
    ck_assert_int_eq(strlist_extend(&copy, list), 0);
    ck_assert_uint_eq(strlist_length(copy), 1000);
    ck_assert_ptr_ne(copy[7], list[7]);
    ck_assert_str_eq(copy[7], "7");
    ck_assert_int_eq(strlist_append(&list, NULL, NULL), -ENOMEM);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("unit-file");
    TCase *tcase = tcase_create("syntax");

    tcase_add_test(tcase, test_plain);
    tcase_add_test(tcase, test_continuation);
    tcase_add_test(tcase, test_mistakes);
    tcase_add_test(tcase, test_bytes);
    tcase_add_test(tcase, test_long_lines);
    tcase_add_test(tcase, test_stop);
    tcase_add_test(tcase, test_split);
    tcase_add_test(tcase, test_split_mistakes);
    tcase_add_test(tcase, test_split_relaxed);
    tcase_add_test(tcase, test_quote);
    tcase_add_test(tcase, test_strlist);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
