/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>

int library_load(const char *file, const struct library_function *functions, size_t n, void **ret_handle,
                 const char **ret_why) {
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!handle) {
        *ret_why = dlerror();
        return -ENOPKG;
    }
    for (size_t i = 0; i < n; i++) {
        void *function = dlsym(handle, functions[i].name);

        if (!function) {
            *ret_why = dlerror();
            (void) dlclose(handle);
            return -ENOPKG;
        }
        *(void **) functions[i].place = function;
    }
    if (ret_handle)
        *ret_handle = handle;
    return 0;
}
