/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define NOT_FOUND ((unsigned) -1)

bool order_list_has(const struct order_list *list, unsigned item) {
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i] == item)
            return true;
    return false;
}

static int add(struct order_list *list, unsigned item) {
    unsigned *bigger;

    if (order_list_has(list, item))
        return 0;
    if ((list->n & (list->n - 1)) == 0) { /* full: its room is the power of two from its length on */
        bigger = reallocarray(list->items, list->n ? 2 * list->n : 1, sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        list->items = bigger;
    }
    list->items[list->n++] = item;
    return 0;
}

void order_done(struct order *order) {
    for (size_t i = 0; order->links && i < order->n; i++) {
        free(order->links[i].after.items);
        free(order->links[i].before.items);
        free(order->links[i].requires.items);
        free(order->links[i].required_by.items);
    }
    free(order->links);
    free(order->sequence);
    *order = (struct order){0};
}

/* A name and its place, sorted by name. */
struct entry {
    const char *name;
    unsigned place;
};

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const struct entry *) a)->name, ((const struct entry *) b)->name);
}

static unsigned find(const struct entry *entries, size_t n, const char *name) {
    const struct entry key = {.name = name};
    const struct entry *found = bsearch(&key, entries, n, sizeof *entries, compare_entries);

    return found ? found->place : NOT_FOUND;
}

/* One list of one service, and the other direction. */
static int link_names(struct order *order, unsigned from, const struct entry *entries, char *const *names,
                      bool requires) {
    struct order_links *links = &order->links[from];

    for (; names && *names; names++) {
        unsigned to = find(entries, order->n, *names);
        int r;

        if (to == NOT_FOUND) {
            const char **strange = requires ? &links->missing : &links->unknown;

            if (!*strange)
                *strange = *names;
            continue;
        }
        if (requires && to == from)
            continue; /* it has that, whenever it runs */
        r = add(requires ? &links->requires : &links->after, to);
        if (r >= 0)
            r = add(requires ? &order->links[to].required_by : &order->links[to].before, from);
        if (r < 0)
            return r;
    }
    return 0;
}

/* "a after b after c after a": the tail of the path, from where the circle closes. */
static int tell_circle(const struct order_wish *wishes, const unsigned *path, size_t depth, unsigned closing,
                       struct err *err) {
    _cleanup_text_ struct text text = {0};
    size_t from = 0;

    while (path[from] != closing)
        from++;
    for (size_t i = from; i < depth; i++)
        text_add_format(&text, "%s after ", wishes[path[i]].name);
    text_add(&text, wishes[closing].name);
    return err_set(err, EINVAL, "BadConfiguration",
                   "After= goes in a circle, in which nobody could be the first: %s; take one of these "
                   "After= out",
                   text.failed ? "..." : text.data);
}

/* Depth first, with a path of its own instead of recursion: a chain may be as long as there are services. */
static int sort(struct order *order, const struct order_wish *wishes, struct err *err) {
    enum color { NEW, ON_PATH, DONE };
    _cleanup_free_ unsigned *path = calloc(order->n, sizeof *path), *next = calloc(order->n, sizeof *next);
    _cleanup_free_ unsigned char *color = calloc(order->n, sizeof *color);
    size_t sorted = 0;

    if (!path || !next || !color)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    for (unsigned root = 0; root < order->n; root++) {
        size_t depth = 0;

        if (color[root] != NEW)
            continue;
        path[depth++] = root;
        color[root] = ON_PATH;
        while (depth > 0) {
            unsigned here = path[depth - 1], to;

            if (next[here] == order->links[here].after.n) {
                color[here] = DONE;
                order->sequence[sorted++] = here;
                depth--;
                continue;
            }
            to = order->links[here].after.items[next[here]++];
            if (color[to] == ON_PATH)
                return tell_circle(wishes, path, depth, to, err);
            if (color[to] == NEW) {
                color[to] = ON_PATH;
                path[depth++] = to;
            }
        }
    }
    return 0;
}

int order_plan(const struct order_wish *wishes, size_t n, struct order *ret, struct err *err) {
    _cleanup_order_ struct order order = {.n = n};
    _cleanup_free_ struct entry *entries = NULL;
    bool any = false;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        any |= (wishes[i].after && wishes[i].after[0]) || (wishes[i].requires && wishes[i].requires[0]);
    if (!any) {
        *ret = (struct order){.n = n};
        return 0;
    }
    entries = calloc(n, sizeof *entries);
    order.links = calloc(n, sizeof *order.links);
    order.sequence = calloc(n, sizeof *order.sequence);
    if (!entries || !order.links || !order.sequence)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    for (unsigned i = 0; i < n; i++)
        entries[i] = (struct entry){.name = wishes[i].name, .place = i};
    qsort(entries, n, sizeof *entries, compare_entries);
    for (unsigned i = 0; i < n && r >= 0; i++) {
        r = link_names(&order, i, entries, wishes[i].after, false);
        if (r >= 0)
            r = link_names(&order, i, entries, wishes[i].requires, true);
    }
    if (r < 0)
        return err_set(err, -r, "Failed", "out of memory");
    r = sort(&order, wishes, err);
    if (r < 0)
        return r;
    *ret = order;
    order = (struct order){0};
    return 0;
}
