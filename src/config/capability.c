/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/capability.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>

#include "base/library.h"
#include "base/macro.h"

#define LIBRARY "libcap.so.2"

static struct {
    __typeof__(&cap_from_name) from_name;
    __typeof__(&cap_to_name) to_name;
    __typeof__(&cap_free) free;
} cap;

static int load(void) {
    static const struct library_function functions[] = {
        {"cap_from_name", &cap.from_name}, {"cap_to_name", &cap.to_name}, {"cap_free", &cap.free}};
    const char *why;

    return cap.free ? 0 : library_load(LIBRARY, functions, ELEMENTSOF(functions), NULL, &why);
}

/* cap_from_name(3) is content with a good beginning, hence the way back. */
int capability_from_name(const char *name, uint64_t *ret) {
    cap_value_t value;
    char *real;
    bool same;
    int r = load();

    if (r < 0)
        return r;
    if (cap.from_name(name, &value) < 0 || value < 0 || value > CAP_LAST_CAP)
        return -EINVAL;
    real = cap.to_name(value);
    same = real && strcasecmp(real, name) == 0;
    (void) cap.free(real);
    if (!same)
        return -EINVAL;
    *ret = UINT64_C(1) << value;
    return 0;
}

char *capability_to_name(int capability) {
    char *name, *copy;

    if (load() < 0 || !(name = cap.to_name(capability)))
        return NULL;
    copy = strdup(name);
    (void) cap.free(name);
    return copy;
}

char *capability_set_to_names(uint64_t set) {
    char *text = NULL;

    for (int i = 0; i < 64; i++) {
        char *name, *longer = NULL;
        int n;

        if (!(set & UINT64_C(1) << i))
            continue;
        name = capability_to_name(i); /* the number, for one that libcap does not know */
        n = name ? asprintf(&longer, "%s%s%s", text ? text : "", text ? " " : "", name) : -1;
        free(name);
        free(text);
        if (n < 0)
            return NULL;
        text = longer;
    }
    return text;
}
