/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which services of one supervisor come before which (After=), and which cannot do without which (Requires=):
 * names made into numbers, and circles found. Pure. */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

/* What one service's configuration says; borrowed, lists NULL-terminated, NULL: empty. */
struct order_wish {
    const char *name;
    char *const *after;
    char *const *requires;
};

struct order_list {
    unsigned *items; /* places in the array of wishes, each once */
    size_t n;
};

/* One service's neighbours, both ways. */
struct order_links {
    struct order_list after;       /* start before it, stop after it */
    struct order_list before;      /* those that name it in After= */
    struct order_list requires;    /* it cannot do without them */
    struct order_list required_by; /* those that name it in Requires= */
    const char *missing;           /* the first of Requires= that is not among the services; borrowed */
    const char *unknown;           /* the first of After= that is not; borrowed. It is ignored */
};

struct order {
    struct order_links *links; /* one a service; NULL: no service has a neighbour or misses one */
    unsigned *sequence;        /* all of them, each behind those it comes after; NULL with links */
    size_t n;
};

static inline struct order_wish order_wish_of(const struct service_config *config) {
    return (struct order_wish){.name = config->name, .after = config->after, .requires = config->requires};
}

#define _cleanup_order_ _cleanup_(order_done)

/* -EINVAL "BadConfiguration": After= goes in a circle, which is told as a whole. Requires= may. */
int order_plan(const struct order_wish *wishes, size_t n, struct order *ret, struct err *err);
void order_done(struct order *order);

bool order_list_has(const struct order_list *list, unsigned item);
