/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cgroup.h"

#include <string.h>

#include "base/macro.h"

const char *cgroup_unit(const char *cgroup, char *buffer, size_t size) {
    static const char *const suffixes[] = {".service", ".scope", ".slice"};
    const char *end = cgroup ? cgroup + strlen(cgroup) : NULL;

    buffer[0] = '\0';
    while (end && end > cgroup) {
        const char *start = memrchr(cgroup, '/', (size_t) (end - cgroup));
        size_t length;

        start = start ? start + 1 : cgroup;
        length = (size_t) (end - start);
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
            size_t suffix = strlen(suffixes[i]);

            if (length > suffix && length < size && memcmp(end - suffix, suffixes[i], suffix) == 0) {
                memcpy(buffer, start, length);
                buffer[length] = '\0';
                return buffer;
            }
        }
        end = start > cgroup ? start - 1 : cgroup;
    }
    return buffer;
}
