/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of Kind=kea share. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "config/kind.h"

/* A service as config.c has it before kind_read(), and a directory for the files of the test: "@" in texts.
 */
static char scratch[64];
static struct service_config *config;
static struct config_problems problems;

/* The text with scratch for each '@'. Owned by the caller. */
static inline char *expand(const char *text) {
    char *out = NULL;
    size_t size;
    FILE *file = open_memstream(&out, &size);

    ck_assert_ptr_nonnull(file);
    for (; *text; text++)
        if (*text == '@')
            fputs(scratch, file);
        else
            fputc(*text, file);
    ck_assert_int_eq(fclose(file), 0);
    return out;
}

static inline void write_file(const char *name, const char *text) {
    _cleanup_free_ char *path = expand(name), *content = expand(text);
    FILE *file = fopen(path, "we");

    ck_assert_msg(file != NULL, "%s: %m", path);
    ck_assert_int_ge(fputs(content, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static inline char **words(const char *first, va_list ap) {
    char **list = calloc(16, sizeof(*list));
    size_t n = 0;

    ck_assert_ptr_nonnull(list);
    for (const char *word = first; word; word = va_arg(ap, const char *))
        list[n++] = expand(word);
    ck_assert_uint_lt(n, 16);
    return list;
}

_sentinel_ static inline void set_command(const char *first, ...) {
    va_list ap;

    va_start(ap, first);
    config->exec_start = words(first, ap);
    va_end(ap);
}

_sentinel_ static inline void set_environment(const char *first, ...) {
    va_list ap;

    va_start(ap, first);
    config->environment = words(first, ap);
    va_end(ap);
}

static inline struct socket_config *add_socket(const char *name, const char *listen) {
    struct socket_config *socket = service_config_add_socket(config, name);

    ck_assert_ptr_nonnull(socket);
    socket->owner = SOCKET_OWNER_DAEMON;
    socket->listen = expand(listen);
    return socket;
}

static inline void setup(void) {
    unsetenv("KEA_PIDFILE_DIR");
    unsetenv("KEA_LFC_EXECUTABLE");
    unsetenv("KEA_CONTROL_SOCKET_DIR");
    unsetenv("KEA_DHCP_DATA_DIR");
    strcpy(scratch, "/tmp/test-kind-kea-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch));
    config = calloc(1, sizeof(*config));
    ck_assert_ptr_nonnull(config);
    config->name = strdup("kea4");
    config->file = strdup("/etc/latchd/kea4.conf");
    config->kind = SERVICE_KIND_KEA;
}

static inline void remove_below(int parent_fd, const char *name) {
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            remove_below(dirfd(dir), entry->d_name);
    unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static inline void teardown(void) {
    config = service_config_free(config);
    config_problems_done(&problems);
    problems = (struct config_problems){0};
    remove_below(AT_FDCWD, scratch);
}

static inline void make_directory(const char *name) {
    _cleanup_free_ char *path = expand(name);

    ck_assert_msg(mkdir(path, 0755) == 0, "%s: %m", path);
}

static inline void assert_read(void) {
    int r = kind_read(config, NULL, &problems);

    ck_assert_msg(r == 0 && problems.n == 0, "%d: %s", r, problems.n > 0 ? problems.lines[0] : "");
}

/* Some problem begins with `place` and has `part` in it. */
static inline void assert_problem(const char *place, const char *part) {
    _cleanup_free_ char *expected = expand(place), *wanted = expand(part);

    for (size_t i = 0; i < problems.n; i++)
        if (strncmp(problems.lines[i], expected, strlen(expected)) == 0 && strstr(problems.lines[i], wanted))
            return;
    ck_abort_msg("no problem '%s ... %s'; the first of %zu is %s", expected, wanted, problems.n,
                 problems.n > 0 ? problems.lines[0] : "none");
}

static inline void assert_refused(const char *place, const char *part) {
    ck_assert_int_eq(kind_read(config, NULL, &problems), -EINVAL);
    assert_problem(place, part);
    ck_assert_uint_eq(problems.n, 1);
}

static inline void assert_text(const char *got, const char *expected) {
    _cleanup_free_ char *text = expand(expected);

    ck_assert_ptr_nonnull(got);
    ck_assert_str_eq(got, text);
}

static inline void assert_socket(size_t i, const char *name, const char *listen) {
    _cleanup_free_ char *path = expand(listen), *lock = NULL;

    ck_assert_int_ge(asprintf(&lock, "%s.lock", path), 0);
    ck_assert_uint_lt(i, config->n_sockets);
    ck_assert_str_eq(config->sockets[i]->name, name);
    ck_assert_str_eq(config->sockets[i]->listen, path);
    ck_assert_int_eq(config->sockets[i]->owner, SOCKET_OWNER_DAEMON);
    ck_assert_int_eq(config->sockets[i]->probe, SOCKET_PROBE_KEA);
    ck_assert_str_eq(config->sockets[i]->lock.name, name);
    ck_assert_str_eq(config->sockets[i]->lock.path, lock);
    ck_assert_int_eq(config->sockets[i]->lock.style, LOCK_STYLE_FLOCK);
}

/* The daemon's own comes first; what follows is a helper's. */
static inline void assert_pidfile(const char *path) {
    ck_assert_uint_ge(config->n_locks, 1);
    ck_assert_uint_le(config->n_locks, 2);
    ck_assert_str_eq(config->locks[0]->name, "pidfile");
    ck_assert_int_eq(config->locks[0]->style, LOCK_STYLE_PIDFILE);
    ck_assert_ptr_null(config->locks[0]->helper);
    assert_text(config->locks[0]->path, path);
    if (config->n_locks == 2)
        ck_assert_ptr_nonnull(config->locks[1]->helper);
}

/* The last lock is kea-lfc's PID file. */
static inline void assert_helper_pidfile(const char *name, const char *path, const char *helper) {
    const struct lock_config *lock;

    ck_assert_uint_gt(config->n_locks, 0);
    lock = config->locks[config->n_locks - 1];
    ck_assert_str_eq(lock->name, name);
    ck_assert_int_eq(lock->style, LOCK_STYLE_PIDFILE);
    assert_text(lock->path, path);
    assert_text(lock->helper, helper);
}

static inline size_t n_orphans(void) {
    size_t n = 0;

    while (config->orphan_allow && config->orphan_allow[n])
        n++;
    return n;
}
