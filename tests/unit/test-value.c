/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/value.h"

#include "suite.h"

START_TEST(test_bool) {
    bool value = false;

    ck_assert(value_parse_bool("yes", &value) == 0 && value);
    ck_assert(value_parse_bool("OFF", &value) == 0 && !value);
    ck_assert(value_parse_bool("True", &value) == 0 && value);
    ck_assert_int_eq(value_parse_bool("", &value), -EINVAL);
    ck_assert_int_eq(value_parse_bool("yes ", &value), -EINVAL);
    ck_assert_int_eq(value_parse_bool("2", &value), -EINVAL);
    ck_assert(value); /* unchanged */
}
END_TEST

START_TEST(test_int) {
    static const char *const bad[] = {"", "-", "+", "+-5", "--5", " 5", "5 ", "5x", "0x5", "5.0"};
    int value = 42;

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        ck_assert_msg(value_parse_int(bad[i], INT_MIN, INT_MAX, &value) == -EINVAL, "'%s'", bad[i]);
    ck_assert_int_eq(value_parse_int("2147483648", INT_MIN, INT_MAX, &value), -ERANGE);
    ck_assert_int_eq(value_parse_int("-2147483649", INT_MIN, INT_MAX, &value), -ERANGE);
    ck_assert_int_eq(value_parse_int("99999999999999999999", INT_MIN, INT_MAX, &value), -ERANGE);
    ck_assert_int_eq(value_parse_int("11", 0, 10, &value), -ERANGE);
    ck_assert_int_eq(value, 42);
    ck_assert(value_parse_int("-2147483648", INT_MIN, INT_MAX, &value) == 0 && value == INT_MIN);
    ck_assert(value_parse_int("+7", 0, 10, &value) == 0 && value == 7);
}
END_TEST

START_TEST(test_u64_pid_mode) {
    uint64_t value = 42;
    pid_t pid = 42;
    mode_t mode = 42;

    ck_assert(value_parse_u64("18446744073709551615", &value) == 0 && value == UINT64_MAX);
    ck_assert_int_eq(value_parse_u64("18446744073709551616", &value), -ERANGE);
    ck_assert_int_eq(value_parse_u64("-1", &value), -EINVAL);
    ck_assert_int_eq(value_parse_pid("0", &pid), -ERANGE);
    ck_assert_int_eq(value_parse_pid("2147483648", &pid), -ERANGE);
    ck_assert_int_eq(value_parse_pid("-1", &pid), -EINVAL);
    ck_assert_int_eq(value_parse_pid("self", &pid), -EINVAL);
    ck_assert_int_eq(pid, 42);
    ck_assert(value_parse_pid("000812", &pid) == 0 && pid == 812);
    ck_assert_int_eq(value_parse_mode("8", &mode), -EINVAL);
    ck_assert_int_eq(value_parse_mode("10000", &mode), -ERANGE);
    ck_assert_int_eq(value_parse_mode("", &mode), -EINVAL);
    ck_assert(value_parse_mode("0755", &mode) == 0 && mode == 0755);
    ck_assert(value_parse_mode("7777", &mode) == 0 && mode == 07777);
}
END_TEST

START_TEST(test_usec) {
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},
        {"5", 5000000},
        {"5s", 5000000},
        {"200ms", 200000},
        {"1.5s", 1500000},
        {"35us", 35},
        {"35µs", 35},
        {"1min 30s", 90000000},
        {"1min30s", 90000000},
        {"2h", 7200000000},
        {"1d 1h", 90000000000},
        {"1w", 604800000000},
        {"0.000001", 1},
        {"0.0000001", 0},
        {"5 s", 5000000},
        {"infinity", USEC_INFINITY},
    };
    static const char *const bad[] = {"",   " ",  " 5",  "s",   "5 5",        "5x",       "-5",
                                      "5.", ".5", "1,5", "5ss", "infinity 5", "5infinity"};
    static const char *const large[] = {"18446744073709551616", "18446744073710s", "30000000000w",
                                        "18446744073709551615us"};
    uint64_t usec;

    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        ck_assert_msg(value_parse_usec(good[i].text, &usec) == 0 && usec == good[i].usec, "'%s'",
                      good[i].text);
    usec = 42;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        ck_assert_msg(value_parse_usec(bad[i], &usec) == -EINVAL, "'%s'", bad[i]);
    for (size_t i = 0; i < ELEMENTSOF(large); i++)
        ck_assert_msg(value_parse_usec(large[i], &usec) == -ERANGE, "'%s'", large[i]);
    ck_assert_uint_eq(usec, 42);
}
END_TEST

START_TEST(test_size) {
    uint64_t size = 42;

    ck_assert(value_parse_size("4096", &size) == 0 && size == 4096);
    ck_assert(value_parse_size("64K", &size) == 0 && size == 65536);
    ck_assert(value_parse_size("1.5G", &size) == 0 && size == UINT64_C(1610612736));
    ck_assert(value_parse_size("15E", &size) == 0 && size == UINT64_C(15) << 60);
    ck_assert(value_parse_size("infinity", &size) == 0 && size == UINT64_MAX);
    ck_assert_int_eq(value_parse_size("16E", &size), -ERANGE);
    ck_assert_int_eq(value_parse_size("", &size), -EINVAL);
    ck_assert_int_eq(value_parse_size("K", &size), -EINVAL);
    ck_assert_int_eq(value_parse_size("1KB", &size), -EINVAL);
    ck_assert_int_eq(value_parse_size("1 K", &size), -EINVAL);
    ck_assert_int_eq(value_parse_size("-1", &size), -EINVAL);
    ck_assert_uint_eq(size, UINT64_MAX);
}
END_TEST

START_TEST(test_signal) {
    char buffer[16];
    int number = 42;

    ck_assert(value_parse_signal("SIGTERM", &number) == 0 && number == SIGTERM);
    ck_assert(value_parse_signal("HUP", &number) == 0 && number == SIGHUP);
    ck_assert(value_parse_signal("9", &number) == 0 && number == SIGKILL);
    ck_assert(value_parse_signal("SIGRTMIN+3", &number) == 0 && number == SIGRTMIN + 3);
    ck_assert_int_eq(value_parse_signal("0", &number), -EINVAL);
    ck_assert_int_eq(value_parse_signal("65", &number), -EINVAL);
    ck_assert_int_eq(value_parse_signal("term", &number), -EINVAL);
    ck_assert_int_eq(value_parse_signal("", &number), -EINVAL);
    ck_assert_int_eq(value_parse_signal("RTMIN+31", &number), -EINVAL);
    ck_assert_int_eq(value_parse_signal("RTMIN-1", &number), -EINVAL);
    ck_assert_int_eq(number, SIGRTMIN + 3);
    ck_assert_str_eq(value_format_signal(SIGTERM, buffer, sizeof buffer), "TERM");
    ck_assert_str_eq(value_format_signal(SIGRTMIN + 3, buffer, sizeof buffer), "RTMIN+3");
    ck_assert_str_eq(value_format_signal(99, buffer, sizeof buffer), "99");
    for (int i = 1; i <= SIGRTMAX; i++)
        if (sigabbrev_np(i) || i >= SIGRTMIN)
            ck_assert(value_parse_signal(value_format_signal(i, buffer, sizeof buffer), &number) == 0 &&
                      number == i);
}
END_TEST

START_TEST(test_formats) {
    char buffer[VALUE_FORMAT_MAX];

    ck_assert_str_eq(value_format_usec(0, buffer), "0");
    ck_assert_str_eq(value_format_usec(35, buffer), "35us");
    ck_assert_str_eq(value_format_usec(204000, buffer), "204ms");
    ck_assert_str_eq(value_format_usec(90 * USEC_PER_SEC, buffer), "1min 30s");
    ck_assert_str_eq(value_format_usec(3605 * USEC_PER_SEC, buffer), "1h");
    ck_assert_str_eq(value_format_usec(USEC_INFINITY, buffer), "infinity");
    ck_assert_uint_lt(strlen(value_format_usec(USEC_INFINITY - 1, buffer)), VALUE_FORMAT_MAX);
    ck_assert_str_eq(value_format_bytes(0, buffer), "0B");
    ck_assert_str_eq(value_format_bytes(1023, buffer), "1023B");
    ck_assert_str_eq(value_format_bytes(1024, buffer), "1.0K");
    ck_assert_str_eq(value_format_bytes(1024 * 1024 - 1, buffer), "1.0M");
    ck_assert_str_eq(value_format_bytes(1536 * 1024, buffer), "1.5M");
    ck_assert_str_eq(value_format_bytes(UINT64_MAX - 1, buffer), "16.0E");
    ck_assert_str_eq(value_format_bytes(UINT64_MAX, buffer), "infinity");
    setenv("TZ", "UTC", 1);
    tzset();
    ck_assert_str_eq(value_format_time(UINT64_C(1714568645000000), buffer), "2024-05-01 13:04:05");
    ck_assert_uint_lt(strlen(value_format_time(UINT64_MAX, buffer)), VALUE_FORMAT_MAX);
}
END_TEST

START_TEST(test_printable) {
    static const struct {
        const char *text, *printable;
    } texts[] = {
        {"", ""},
        {"plain ~text!", "plain ~text!"},
        {"a\tb\nc\rd\033[31m\177", "a?b?c?d?[31m?"},
        {"grün €uro 𝄞", "grün €uro 𝄞"},
        {"\x80\xbf\xff\xfe", "????"},
        {"a\xc3", "a?"}, /* cut off */
        {"a\xe2\x82", "a??"},
        {"a\xf0\x9f\x98", "a???"},
        {"\xc0\xaf", "??"}, /* longer than need be */
        {"\xe0\x80\xaf", "???"},
        {"\xf0\x80\x80\xaf", "????"},
        {"\xed\xa0\x80", "???"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "????"}, /* behind the last character */
        {"\xc2\x9b"
         "31m",
         "??31m"}, /* CSI as a C1 control character */
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xc3\x28", "?("},
    };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        char *text = strdup(texts[i].text);

        value_make_printable(text);
        ck_assert_str_eq(text, texts[i].printable);
        free(text);
    }
}
END_TEST

START_TEST(test_now) {
    ck_assert_uint_gt(now_usec(CLOCK_REALTIME), UINT64_C(1600000000000000));
    ck_assert_uint_le(now_usec(CLOCK_MONOTONIC), now_usec(CLOCK_MONOTONIC));
    ck_assert_uint_eq(now_usec((clockid_t) 99), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("value");
    TCase *tcase = tcase_create("value");

    tcase_add_test(tcase, test_bool);
    tcase_add_test(tcase, test_int);
    tcase_add_test(tcase, test_u64_pid_mode);
    tcase_add_test(tcase, test_usec);
    tcase_add_test(tcase, test_size);
    tcase_add_test(tcase, test_signal);
    tcase_add_test(tcase, test_formats);
    tcase_add_test(tcase, test_printable);
    tcase_add_test(tcase, test_now);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
