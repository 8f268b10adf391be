/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/smartcols.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/library.h"
#include "base/macro.h"

#define LIBRARY "libsmartcols.so.1"

struct smartcols scols;

int smartcols_load(void) {
    static const struct library_function functions[] = {
#define X(name) {"scols_" #name, &scols.name},
        SMARTCOLS_FUNCTIONS(X)
#undef X
    };
    static bool loaded;
    const char *why;
    int r;

    if (loaded)
        return 0;
    r = library_load(LIBRARY, functions, ELEMENTSOF(functions), NULL, &why);
    if (r < 0) {
        fprintf(
            stderr,
            "latchctl: cannot draw a table: %s; install it (Debian: apt install libsmartcols1, Fedora: dnf "
            "install libsmartcols), or ask for --json\n",
            why);
        return r;
    }
    loaded = true;
    return 0;
}
