/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json-follow.h"
#include "base/macro.h"

#include "suite.h"

static const char *const good[] = {
    "{}",
    "[]",
    " { } ",
    "\t[\r\n]\n",
    "{\"result\": 0, \"text\": \"ok\"}",
    "[ { \"result\": 1, \"arguments\": { \"a\": [1, -2.5e+7, true, false, null] } } ]",
    "{\"a\": \"}\", \"b]\": [\"{\", \"\\\"\", \"\\\\\"]}",
    "[\"\\\\\\\"]\", \"\\u005d\"]",
    "[[[[[[]]]],[],{}]]",
    "{\"\":{\"\":[{\"\":null}]}}",
    "\"a string alone\"",
    "true ",
    "null\n",
    "-12.5 ",
    "0\n",
    "[0]",
    "[1 , 2]",
};

static const char *const bad[] = {
    "ERR no such command",
    "}",
    "]",
    ",",
    ":",
    "{]",
    "[}",
    "{\"a\"}",
    "[,]",
    "[1,]",
    "{,}",
    "{\"a\":1,}",
    "{\"a\" 1}",
    "{a: 1}",
    "[1 2]",
    "{1: 2}",
    "tru ",
    "trux",
    "nul]",
    "[truefalse]",
    "{\"a\"::1}",
    "[\"a\":1]",
    "{\"a\",1}",
    "<html>",
    "[\"a\" \"b\"]",
    "{\"a\": ]",
    "# comment\n{}",
};

static enum json_follow_state follow_in_pieces(const char *text, size_t size, size_t piece,
                                               size_t *ret_used) {
    struct json_follow follow = {0};
    size_t at = 0;

    while (at < size) {
        size_t n = size - at < piece ? size - at : piece, used = json_follow_feed(&follow, text + at, n);

        ck_assert_uint_le(used, n);
        at += used;
        if (used < n)
            break;
    }
    *ret_used = at;
    return follow.state;
}

/* Whole with its last byte or the white space behind, and not before; whatever the pieces. */
START_TEST(test_good) {
    const char *text = good[_i];
    size_t size = strlen(text), used, end = size;

    while (strchr(" \t\r\n", text[end - 1]))
        end--;
    if (end < size && strchr("0123456789", text[end - 1])) /* only what comes behind a number ends it */
        end++;
    for (size_t piece = 1; piece <= size; piece++) {
        ck_assert_int_eq(follow_in_pieces(text, size, piece, &used), JSON_FOLLOW_WHOLE);
        ck_assert_uint_eq(used, size);
    }
    for (size_t cut = 0; cut < end; cut++) {
        enum json_follow_state state = follow_in_pieces(text, cut, 1, &used);

        ck_assert_msg(state == JSON_FOLLOW_PART || state == JSON_FOLLOW_EMPTY, "%.*s: %d", (int) cut, text,
                      state);
    }
}
END_TEST

START_TEST(test_bad) {
    const char *text = bad[_i];
    size_t used, again;

    ck_assert_msg(follow_in_pieces(text, strlen(text), 1, &used) == JSON_FOLLOW_BAD, "%s", text);
    ck_assert_uint_lt(used, strlen(text));
    ck_assert_int_eq(follow_in_pieces(text, strlen(text), strlen(text), &again), JSON_FOLLOW_BAD);
    ck_assert_uint_eq(again, used);
}
END_TEST

START_TEST(test_behind) {
    struct json_follow follow = {0}, other = {0};

    ck_assert_uint_eq(json_follow_feed(&other, "[]]", 3), 2);
    ck_assert_int_eq(other.state, JSON_FOLLOW_WHOLE);
    ck_assert_uint_eq(json_follow_feed(&follow, "{} \n{\"next\"", 11), 4);
    ck_assert_int_eq(follow.state, JSON_FOLLOW_WHOLE);
    ck_assert_uint_eq(json_follow_feed(&follow, " \n", 2), 2);
    ck_assert_uint_eq(json_follow_feed(&follow, "{}", 2), 0);
    ck_assert_int_eq(json_follow_end(&follow), JSON_FOLLOW_WHOLE);
}
END_TEST

START_TEST(test_end) {
    struct json_follow number = {0}, part = {0}, nothing = {0}, inside = {0};

    (void) json_follow_feed(&number, "42", 2);
    ck_assert_int_eq(number.state, JSON_FOLLOW_PART);
    ck_assert_int_eq(json_follow_end(&number), JSON_FOLLOW_WHOLE);
    (void) json_follow_feed(&inside, "[42", 3);
    ck_assert_int_eq(json_follow_end(&inside), JSON_FOLLOW_PART);
    (void) json_follow_feed(&part, "\"a", 2);
    ck_assert_int_eq(json_follow_end(&part), JSON_FOLLOW_PART);
    (void) json_follow_feed(&nothing, " \n", 2);
    ck_assert_int_eq(json_follow_end(&nothing), JSON_FOLLOW_EMPTY);
}
END_TEST

/* Brackets of both kinds as deep as allowed, and one more. */
START_TEST(test_depth) {
    static char text[JSON_FOLLOW_DEPTH_MAX * 8];
    size_t depth = JSON_FOLLOW_DEPTH_MAX + (size_t) _i, size = 0, used;

    for (size_t i = 0; i < depth; i++)
        size += (size_t) sprintf(text + size, i % 3 == 2 ? "{\"\":" : "[");
    size += (size_t) sprintf(text + size, "1");
    for (size_t i = depth; i-- > 0;)
        text[size++] = i % 3 == 2 ? '}' : ']';
    ck_assert_int_eq(follow_in_pieces(text, size, 7, &used), _i == 0 ? JSON_FOLLOW_WHOLE : JSON_FOLLOW_BAD);
    if (_i == 0)
        ck_assert_uint_eq(used, size);
}
END_TEST

/* Some JSON text at random. */
static size_t make_value(char *to, unsigned depth) {
    static const char *const scalars[] = {"1",    "-0.5e3", "true",     "false",      "null",
                                          "\"\"", "\"a\"",  "\"\\\"\"", "\"]}\\\\\"", "\"\\u0041[{\""};
    size_t size = 0;
    int kind = rand() % (depth > 5 ? 1 : 3), n = rand() % 4;

    if (kind == 0)
        return (size_t) sprintf(to, "%s", scalars[rand() % (int) ELEMENTSOF(scalars)]);
    to[size++] = kind == 1 ? '[' : '{';
    for (int i = 0; i < n; i++) {
        size += (size_t) sprintf(to + size, "%s%s", i > 0 ? "," : "", rand() % 3 == 0 ? " \n" : "");
        if (kind == 2)
            size += (size_t) sprintf(to + size, "\"k%d\" :", i);
        size += make_value(to + size, depth + 1);
    }
    to[size++] = kind == 1 ? ']' : '}';
    return size;
}

/* jansson reads exactly those beginnings that are taken for whole. */
START_TEST(test_as_jansson) {
    static char text[1 << 20];

    srand(7);
    for (int round = 0; round < 300; round++) {
        size_t size = make_value(text, 0), used;

        if (size > 400 || (text[0] != '[' && text[0] != '{'))
            continue;
        for (size_t cut = 0; cut <= size; cut++) {
            json_t *json = json_loadb(text, cut, 0, NULL);
            enum json_follow_state state = follow_in_pieces(text, cut, 1 + (size_t) rand() % 9, &used);

            ck_assert_msg((json != NULL) == (state == JSON_FOLLOW_WHOLE), "%.*s: %d", (int) cut, text, state);
            ck_assert_msg(state != JSON_FOLLOW_BAD, "%.*s", (int) cut, text);
            json_decref(json);
        }
        /* One byte is another: what jansson still reads, is whole. */
        for (size_t i = 0; i < size; i++) {
            char before = text[i];
            json_t *json;

            text[i] = "[]{},:\"x1 "[rand() % 10];
            json = json_loadb(text, size, 0, NULL);
            if (json) {
                ck_assert_msg(follow_in_pieces(text, size, 3, &used) == JSON_FOLLOW_WHOLE, "%.*s", (int) size,
                              text);
                ck_assert_uint_eq(used, size);
            }
            json_decref(json);
            text[i] = before;
        }
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json-follow");
    TCase *tcase = tcase_create("json-follow");

    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_good, 0, ELEMENTSOF(good));
    tcase_add_loop_test(tcase, test_bad, 0, ELEMENTSOF(bad));
    tcase_add_test(tcase, test_behind);
    tcase_add_test(tcase, test_end);
    tcase_add_loop_test(tcase, test_depth, 0, 2);
    tcase_add_test(tcase, test_as_jansson);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
