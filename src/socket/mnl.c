/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket/mnl.h"

#include <pthread.h>

#include "base/library.h"
#include "base/macro.h"

#define LIBRARY "libmnl.so.0"

struct mnl mnl;

static int result;

static void load(void) {
    static const struct library_function functions[] = {
#define X(name) {"mnl_" #name, &mnl.name},
        MNL_FUNCTIONS(X)
#undef X
    };
    const char *why;

    result = library_load(LIBRARY, functions, ELEMENTSOF(functions), NULL, &why);
}

/* A thread in another network namespace may be the first to ask. */
int mnl_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void) pthread_once(&once, load);
    return result;
}
