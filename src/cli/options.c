/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/value.h"
#include "exec/capture.h"

char *options_runtime_dir(void) {
    const char *dir = getenv("LATCHD_RUNTIME_DIR");
    char *path;

    if (dir && *dir)
        return strdup(dir);
    if (geteuid() == 0)
        return strdup(OPTIONS_SYSTEM_RUNTIME_DIR);
    dir = getenv("XDG_RUNTIME_DIR");
    if (!dir || !*dir || asprintf(&path, "%s/latchd", dir) < 0)
        return NULL;
    return path;
}

struct config_paths options_config_paths(const char *config_dir) {
    if (config_dir)
        return (struct config_paths){.admin_dir = config_dir, .run = capture_run};
    return (struct config_paths){
        .admin_dir = SYSCONFDIR "/latchd", .vendor_dir = VENDORDIR, .run = capture_run};
}

int options_fail(const char *program, const struct err *err) {
    _cleanup_free_ char *text = strdup(err_text(err));

    if (text)
        value_make_printable(text); /* paths in it are anybody's */
    fprintf(stderr, "%s: %s\n", program, text ? text : strerror(ENOMEM));
    if (err->name && strcmp(err->name, "NotPermitted") == 0)
        return EXIT_NOT_PERMITTED;
    return EXIT_FAILURE;
}

void options_print_problems(const struct config_problems *problems) {
    for (size_t i = 0; i < problems->n; i++)
        fprintf(stderr, "%s\n", problems->lines[i]);
}
