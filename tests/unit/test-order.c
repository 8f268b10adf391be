/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/order.h"

#include "suite.h"

/* "a", "b", "c"... and what each names: "b c" in After=, "d" in Requires=. */
struct row {
    const char *after, *requires;
};

/* The plan points to some of them, as it does into a configuration. */
static char **words_of(const char *text) {
    static char words[64][16];
    static char *lists[16][8];
    static unsigned word, list;
    char **to = lists[list++ % 16];
    size_t n = 0;

    for (const char *p = text ? text : ""; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        to[n] = words[word++ % 64];
        snprintf(to[n++], sizeof words[0], "%.*s", (int) strcspn(p, " "), p);
    }
    to[n] = NULL;
    return to;
}

static int plan(const struct row *rows, size_t n, struct order *ret, struct err *err) {
    struct order_wish wishes[26];
    static char names[26][2];

    for (size_t i = 0; i < n; i++) {
        names[i][0] = (char) ('a' + i);
        wishes[i] = (struct order_wish){names[i], words_of(rows[i].after), words_of(rows[i].requires)};
    }
    return order_plan(wishes, n, ret, err);
}

static const char *letters(const unsigned *items, size_t n) {
    static char text[4][32];
    static unsigned at;
    char *to = text[at++ % 4];

    for (size_t i = 0; i < n; i++)
        to[i] = (char) ('a' + items[i]);
    to[n] = '\0';
    return to;
}

static const char *list(const struct order_list *items) {
    return letters(items->items, items->n);
}

START_TEST(nobody_waits_for_anybody) {
    const struct row rows[3] = {{0}};
    _cleanup_order_ struct order order = {0};

    ck_assert_int_eq(plan(rows, 3, &order, NULL), 0);
    ck_assert_ptr_null(order.links); /* and costs nothing */
    ck_assert_ptr_null(order.sequence);
    ck_assert_uint_eq(order.n, 3);
    order_done(&order);
    ck_assert_int_eq(order_plan(NULL, 0, &order, NULL), 0);
}
END_TEST

START_TEST(sequences) {
    const struct {
        struct row rows[5];
        size_t n;
        const char *sequence;
    } cases[] = {
        {{{"b", 0}, {0}}, 2, "ba"},
        {{{0}, {"a", 0}}, 2, "ab"},
        {{{"b", 0}, {"c", 0}, {"d", 0}, {0}}, 4, "dcba"},
        {{{"c", 0}, {"c", 0}, {0}, {0}}, 4, "cabd"},
        {{{"b c", 0}, {"d", 0}, {"d", 0}, {0}, {0}}, 5, "dbcae"}, /* a diamond */
        {{{0, "b"}, {0}, {"b", 0}}, 3, "abc"},                    /* Requires= alone orders nothing */
        {{{"nobody b", 0}, {0}}, 2, "ba"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_order_ struct order order = {0};

        ck_assert_int_eq(plan(cases[i].rows, cases[i].n, &order, NULL), 0);
        ck_assert_str_eq(letters(order.sequence, order.n), cases[i].sequence);
    }
}
END_TEST

START_TEST(both_directions) {
    const struct row rows[] = {{0}, {"a a", "a a"}, {"a b b", "b"}, {0, "x y a"}, {"z y", 0}};
    _cleanup_order_ struct order order = {0};

    ck_assert_int_eq(plan(rows, ELEMENTSOF(rows), &order, NULL), 0);
    ck_assert_str_eq(list(&order.links[0].after), "");
    ck_assert_str_eq(list(&order.links[0].before), "bc");
    ck_assert_str_eq(list(&order.links[0].required_by), "bd");
    ck_assert_str_eq(list(&order.links[1].after), "a");
    ck_assert_str_eq(list(&order.links[1].before), "c");
    ck_assert_str_eq(list(&order.links[1].requires), "a");
    ck_assert_str_eq(list(&order.links[1].required_by), "c");
    ck_assert_str_eq(list(&order.links[2].after), "ab");
    ck_assert_str_eq(list(&order.links[2].requires), "b");
    ck_assert_str_eq(order.links[3].missing, "x");
    ck_assert_str_eq(list(&order.links[3].requires), "a");
    ck_assert_ptr_null(order.links[3].unknown);
    ck_assert_str_eq(order.links[4].unknown, "z");
    ck_assert_ptr_null(order.links[4].missing);
    ck_assert_ptr_null(order.links[0].missing);
    ck_assert(order_list_has(&order.links[2].after, 1));
    ck_assert(!order_list_has(&order.links[2].after, 2));
}
END_TEST

START_TEST(circles) {
    const struct {
        struct row rows[5];
        size_t n;
        const char *circle;
    } cases[] = {
        {{{"b", 0}, {"a", 0}}, 2, ": a after b after a;"},
        {{{"a", 0}}, 1, ": a after a;"},
        {{{"b", 0}, {"c", 0}, {"d", 0}, {"b", 0}}, 4, ": b after c after d after b;"}, /* a is not in it */
        {{{0}, {"a", 0}, {"b e", 0}, {"c", 0}, {"d", 0}}, 5, ": c after e after d after c;"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_order_ struct order order = {0};
        _cleanup_err_ struct err err = {0};

        ck_assert_int_eq(plan(cases[i].rows, cases[i].n, &order, &err), -EINVAL);
        ck_assert_str_eq(err.name, "BadConfiguration");
        ck_assert_msg(strstr(err.message, cases[i].circle), "%s: %s", cases[i].circle, err.message);
        ck_assert_ptr_null(order.links);
    }
}
END_TEST

/* Services may need each other: only an order in a circle cannot be. */
START_TEST(needing_each_other) {
    const struct row rows[] = {{0, "b"}, {0, "a b"}};
    _cleanup_order_ struct order order = {0};

    ck_assert_int_eq(plan(rows, 2, &order, NULL), 0);
    ck_assert_str_eq(list(&order.links[0].requires), "b");
    ck_assert_str_eq(list(&order.links[1].requires), "a");
}
END_TEST

/* A chain of very many, the last one first: no stack is used up, and it takes no time to speak of. */
START_TEST(a_long_chain) {
    enum { N = 50000 };
    struct order_wish *wishes = calloc(N, sizeof *wishes);
    char(*names)[8] = calloc(N, sizeof *names), *(*after)[2] = calloc(N, sizeof *after);
    _cleanup_order_ struct order order = {0};

    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "s%u", i);
        after[i][0] = i + 1 < N ? names[i + 1] : NULL;
        wishes[i] = (struct order_wish){.name = names[i], .after = after[i]};
    }
    ck_assert_int_eq(order_plan(wishes, N, &order, NULL), 0);
    for (unsigned i = 0; i < N; i++)
        ck_assert_uint_eq(order.sequence[i], N - 1 - i);
    free(wishes);
    free(names);
    free(after);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("order");
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, nobody_waits_for_anybody);
    tcase_add_test(tests, sequences);
    tcase_add_test(tests, both_directions);
    tcase_add_test(tests, circles);
    tcase_add_test(tests, needing_each_other);
    tcase_add_test(tests, a_long_chain);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
