/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Ownership in one word: a variable marked _cleanup_(f) is released by f when it leaves its scope;
 * TAKE_PTR and TAKE_FD hand the value to somebody else and leave nothing behind. */

#include <stddef.h>
#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(freep)
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _sentinel_ __attribute__((sentinel))
#define _pure_ __attribute__((pure))

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define STR_(x) #x
#define STR(x) STR_(x)

#define TAKE_PTR(ptr)                                                                                        \
    ({                                                                                                       \
        __typeof__(ptr) *take_ptr_ = &(ptr);                                                                 \
        __typeof__(ptr) take_value_ = *take_ptr_;                                                            \
        *take_ptr_ = NULL;                                                                                   \
        take_value_;                                                                                         \
    })

#define TAKE_FD(fd)                                                                                          \
    ({                                                                                                       \
        int *take_fd_ = &(fd);                                                                               \
        int take_value_ = *take_fd_;                                                                         \
        *take_fd_ = -EBADF;                                                                                  \
        take_value_;                                                                                         \
    })

static inline void freep(void *p) {
    free(*(void **) p);
}
