/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Enumerations and their names: one table per enumeration, written with designated initialisers.
 *
 *     static const char *const lock_kind_names[LOCK_KIND_MAX] = { [LOCK_KIND_LOCK] = "lock", ... };
 *     STRTAB_DEFINE(lock_kind, enum lock_kind, lock_kind_names, LOCK_KIND_INVALID)
 *
 * gives lock_kind_to_string() (NULL for a number outside the table) and lock_kind_from_string(). */

#include <string.h>

#include "base/macro.h"

#define STRTAB_DECLARE(prefix, type)                                                                         \
    const char *prefix##_to_string(type value);                                                              \
    type prefix##_from_string(const char *name)

#define STRTAB_DEFINE(prefix, type, table, invalid)                                                          \
    const char *prefix##_to_string(type value) {                                                             \
        if ((int) value < 0 || (size_t) value >= ELEMENTSOF(table))                                          \
            return NULL;                                                                                     \
        return (table)[value];                                                                               \
    }                                                                                                        \
    type prefix##_from_string(const char *name) {                                                            \
        for (size_t i = 0; name && i < ELEMENTSOF(table); i++)                                               \
            if ((table)[i] && strcmp((table)[i], name) == 0)                                                 \
                return (type) i;                                                                             \
        return invalid;                                                                                      \
    }
