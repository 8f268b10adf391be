/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "varlink/wire.h"

#include "suite.h"

#define FEED(input, text) varlink_input_feed(input, text, sizeof(text) - 1)

/* The value of "n" in the next message. */
static long long take_n(struct varlink_input *input) {
    json_t *message = NULL;
    long long n;

    ck_assert_int_eq(varlink_input_take(input, &message), 1);
    ck_assert(json_is_integer(json_object_get(message, "n")));
    n = json_integer_value(json_object_get(message, "n"));
    json_decref(message);
    return n;
}

START_TEST(input_byte_by_byte) {
    static const char text[] = "{\"n\":1}\0{\"n\":2}"; /* the literal's own NUL ends the second */
    struct varlink_input input = VARLINK_INPUT_INIT(64);
    json_t *message = NULL;
    int seen = 0;

    for (size_t i = 0; i < sizeof(text); i++) {
        ck_assert_int_eq(varlink_input_feed(&input, text + i, 1), 1);
        ck_assert_int_eq(varlink_input_ready(&input), text[i] == 0);
        if (text[i] == 0)
            ck_assert_int_eq(take_n(&input), ++seen);
        ck_assert_int_eq(varlink_input_take(&input, &message), 0);
    }
    ck_assert_int_eq(seen, 2);
    ck_assert_ptr_null(input.data); /* nothing is kept for somebody silent */
    varlink_input_done(&input);
}
END_TEST

START_TEST(input_pipelined) {
    struct varlink_input input = VARLINK_INPUT_INIT(8192);
    int fed = 0, taken = 0;

    while (taken < 20000) {
        char text[32];
        size_t size;

        for (;;) {
            size = (size_t) snprintf(text, sizeof(text), "{\"n\":%d}", fed) + 1;
            if (input.max_bytes - varlink_input_pending(&input) < size)
                break;
            ck_assert_int_eq(varlink_input_feed(&input, text, size), (ssize_t) size);
            fed++;
        }
        for (int i = 0; i < 300 && taken < fed; i++)
            ck_assert_int_eq(take_n(&input), taken++);
        ck_assert_uint_le(input.size, 8192);
    }
    varlink_input_done(&input);
}
END_TEST

START_TEST(input_limit) {
    struct varlink_input input = VARLINK_INPUT_INIT(10);
    json_t *message = NULL;
    size_t size;
    char *to;

    /* Ten bytes with the NUL fit ... */
    ck_assert_int_eq(FEED(&input, "{\"n\":123}\0"), 10);
    ck_assert(varlink_input_full(&input));
    ck_assert_int_eq(varlink_input_reserve(&input, &to, &size), 0);
    ck_assert_int_eq(take_n(&input), 123);
    /* ... eleven do not, and no more than ten are taken in. */
    ck_assert_int_eq(FEED(&input, "{\"n\":1234}\0"), 10);
    ck_assert(!varlink_input_ready(&input));
    ck_assert_int_eq(varlink_input_take(&input, &message), -EMSGSIZE);
    ck_assert_int_eq(varlink_input_take(&input, &message), -EMSGSIZE);
    ck_assert_ptr_null(message);
    varlink_input_done(&input);

    /* A full buffer that begins with a whole message is none too long. */
    ck_assert_int_eq(FEED(&input, "{\"n\":1}\0{\"n\":2}\0"), 10);
    ck_assert_int_eq(take_n(&input), 1);
    ck_assert_int_eq(varlink_input_take(&input, &message), 0);
    ck_assert_int_eq(FEED(&input, "n\":2}\0"), 6);
    ck_assert_int_eq(take_n(&input), 2);
    varlink_input_done(&input);
}
END_TEST

#define BAD(text)                                                                                            \
    { text, sizeof(text) }
static const struct {
    const char *text;
    size_t size;
} bad[] = {
    BAD(""),
    BAD("[]"),
    BAD("1"),
    BAD("null"),
    BAD("\"text\""),
    BAD("{"),
    BAD("{\"a\":1,}"),
    BAD("{\"a\":1}}"),
    BAD("{\"a\":1} x"),
    BAD("{\"a\":1}{\"b\":2}"),
    BAD("{\"a\":1,\"a\":2}"),
    BAD("{\"a\":\"\\u0000\"}"),
    BAD("{\"a\":\"\xff\"}"),
    BAD("{\"a\":99999999999999999999}"),
    BAD("GET / HTTP/1.1\r\n"),
};

START_TEST(input_garbage) {
    struct varlink_input input = VARLINK_INPUT_INIT(64);
    json_t *message = NULL;

    ck_assert_int_eq(varlink_input_feed(&input, bad[_i].text, bad[_i].size), (ssize_t) bad[_i].size);
    ck_assert(varlink_input_ready(&input));
    ck_assert_int_eq(varlink_input_take(&input, &message), -EBADMSG);
    /* There is no way back into step. */
    ck_assert_int_eq(FEED(&input, "{\"n\":1}\0"), 8);
    ck_assert(!varlink_input_ready(&input));
    ck_assert_int_eq(varlink_input_take(&input, &message), -EBADMSG);
    ck_assert_ptr_null(message);
    varlink_input_done(&input);
}
END_TEST

START_TEST(input_deep) {
    struct varlink_input input = VARLINK_INPUT_INIT(1 << 16);
    json_t *message = NULL;

    ck_assert_int_eq(FEED(&input, "{\"a\":"), 5);
    for (int i = 0; i < 60000; i++)
        ck_assert_int_eq(FEED(&input, "["), 1);
    ck_assert_int_eq(FEED(&input, "\0"), 1);
    ck_assert_int_eq(varlink_input_take(&input, &message), -EBADMSG);
    varlink_input_done(&input);
}
END_TEST

/* What waits, up to size bytes of it, is fed to input. */
static void pass(struct varlink_output *output, struct varlink_input *input, size_t most) {
    size_t size;
    const char *data = varlink_output_peek(output, &size);

    ck_assert_ptr_nonnull(data);
    if (size > most)
        size = most;
    ck_assert_int_eq(varlink_input_feed(input, data, size), (ssize_t) size);
    varlink_output_consume(output, size);
}

START_TEST(output_short_writes) {
    struct varlink_output output = VARLINK_OUTPUT_INIT(4096);
    struct varlink_input input = VARLINK_INPUT_INIT(4096);
    int appended = 0, taken = 0;
    size_t size;

    ck_assert_ptr_null(varlink_output_peek(&output, &size));
    while (taken < 5000) {
        json_t *message = json_pack("{s:i, s:s}", "n", appended, "text", "with some more text");
        int r = varlink_output_append(&output, message);

        json_decref(message);
        if (r == 0)
            appended++;
        else
            ck_assert_int_eq(r, -ENOBUFS);
        ck_assert_uint_le(varlink_output_pending(&output), output.max_bytes);
        ck_assert_uint_le(output.size, 2 * output.max_bytes);
        for (int i = 0; i < 2 + (r < 0) && varlink_output_pending(&output) > 0; i++)
            pass(&output, &input, 13);
        while (varlink_input_ready(&input))
            ck_assert_int_eq(take_n(&input), taken++);
    }
    ck_assert_int_gt(appended, taken); /* it was full for most of the time */
    while (varlink_output_pending(&output) > 0)
        pass(&output, &input, 1000);
    while (varlink_input_ready(&input))
        ck_assert_int_eq(take_n(&input), taken++);
    ck_assert_int_eq(appended, taken);
    ck_assert_ptr_null(output.data);
    varlink_input_done(&input);
    varlink_output_done(&output);
}
END_TEST

START_TEST(output_limit) {
    struct varlink_output output = VARLINK_OUTPUT_INIT(20);
    json_t *ten = json_pack("{s:i}", "n", 123), *eleven = json_pack("{s:i}", "n", 1234);
    json_t *twenty = json_pack("{s:s}", "n", "01234567890"), *more = json_pack("{s:s}", "n", "012345678901");
    json_t *array = json_array();
    size_t size;

    ck_assert_int_eq(varlink_output_append(&output, array), -EINVAL);
    ck_assert_int_eq(varlink_output_append(&output, NULL), -EINVAL);
    ck_assert_int_eq(varlink_output_append(&output, more), -EMSGSIZE);
    ck_assert_int_eq(varlink_output_append(&output, ten), 0);
    ck_assert_int_eq(varlink_output_append(&output, more), -EMSGSIZE);
    ck_assert_int_eq(varlink_output_append(&output, eleven), -ENOBUFS);
    ck_assert_int_eq(varlink_output_append(&output, twenty), -ENOBUFS);
    ck_assert_int_eq(varlink_output_append(&output, ten), 0);
    ck_assert_int_eq(varlink_output_append(&output, ten), -ENOBUFS);
    ck_assert_mem_eq(varlink_output_peek(&output, &size), "{\"n\":123}\0{\"n\":123}\0", 20);
    ck_assert_uint_eq(size, 20);
    varlink_output_consume(&output, 1);
    ck_assert_int_eq(varlink_output_append(&output, ten), -ENOBUFS);
    varlink_output_consume(&output, 9);
    ck_assert_int_eq(varlink_output_append(&output, ten), 0);
    varlink_output_consume(&output, 20);
    ck_assert_ptr_null(varlink_output_peek(&output, &size));
    ck_assert_int_eq(varlink_output_append(&output, twenty), 0);
    varlink_output_done(&output);
    json_decref(ten);
    json_decref(eleven);
    json_decref(twenty);
    json_decref(more);
    json_decref(array);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("varlink-wire");
    TCase *tcase = tcase_create("wire");

    tcase_add_test(tcase, input_byte_by_byte);
    tcase_add_test(tcase, input_pipelined);
    tcase_add_test(tcase, input_limit);
    tcase_add_loop_test(tcase, input_garbage, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tcase, input_deep);
    tcase_add_test(tcase, output_short_writes);
    tcase_add_test(tcase, output_limit);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
