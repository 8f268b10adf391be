/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of configurations share: two directories of files, and what loading one of them gave. */

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strlist.h"
#include "config/config.h"

#define RUN "ExecStart=/bin/true\n"

static char directory[64];
static struct config_paths paths;
static char admin[80], vendor[80];
static struct config_problems problems;
static struct service_config *config;
static struct err err;

static inline void make_directory(const char *path) {
    ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static inline void setup(void) {
    strcpy(directory, "/tmp/latchd-test-config.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(admin, sizeof admin, "%s/admin", directory);
    snprintf(vendor, sizeof vendor, "%s/vendor", directory);
    make_directory(admin);
    make_directory(vendor);
    paths = (struct config_paths){.admin_dir = admin, .vendor_dir = vendor};
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st, (void) type, (void) ftw;
    return remove(path);
}

static inline void forget(void) {
    config = service_config_free(config);
    config_problems_done(&problems);
    err_done(&err);
    err = (struct err){0};
}

static inline void teardown(void) {
    forget();
    ck_assert_int_eq(nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Writes a file below the temporary directory, making the directory it is in. */
static inline void put(const char *path, const char *text) {
    char whole[256], *slash;
    FILE *file;

    snprintf(whole, sizeof whole, "%s/%s", directory, path);
    slash = strrchr(whole, '/');
    *slash = '\0';
    make_directory(whole);
    *slash = '/';
    file = fopen(whole, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fputs(text, file) >= 0, 1);
    ck_assert_int_eq(fclose(file), 0);
}

static inline int load(const char *service) {
    forget();
    return service_config_load(service, &paths, &problems, &config, &err);
}

/* The problems, a line each, without the temporary directory. */
static inline const char *complaints(void) {
    static char text[8192];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < problems.n; i++) {
        const char *line = problems.lines[i];

        if (strncmp(line, directory, strlen(directory)) == 0)
            line += strlen(directory) + 1;
        used += (size_t) snprintf(text + used, sizeof text - used, "%s\n", line);
    }
    return text;
}

static inline void load_good(const char *text) {
    put("admin/x.conf", text);
    if (load("x") != 0)
        ck_abort_msg("%s%s", complaints(), err_text(&err));
    ck_assert_uint_eq(problems.n, 0);
}

/* The complaints about a configuration that has an ExecStart= in its second line. */
static inline const char *load_bad(const char *text) {
    _cleanup_free_ char *whole = NULL;

    ck_assert_int_ge(asprintf(&whole, "[Service]\n" RUN "%s", text), 0);
    put("admin/x.conf", whole);
    ck_assert_int_eq(load("x"), -EINVAL);
    ck_assert_str_eq(err.name, "BadConfiguration");
    ck_assert_ptr_null(config);
    return complaints();
}

static inline const char *words(char *const *list) {
    static char text[1024];
    size_t used = 0;

    text[0] = '\0';
    for (; list && *list; list++)
        used += (size_t) snprintf(text + used, sizeof text - used, "<%s>", *list);
    return text;
}

static inline int from_options(const struct config_option *options, size_t n, char **argv) {
    forget();
    return service_config_from_options(options, n, argv, NULL, &problems, &config);
}
