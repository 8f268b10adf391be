/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A directory for each test, PID files of the living and the dead, sockets, and lock_clear() on them. */

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "probe/clear.h"
#include "probe/probe.h"

#include "own-dir.h"

/* A number that was a process's and is nobody's. */
static __attribute__((unused)) pid_t dead_pid(void) {
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return pid;
}

static __attribute__((unused)) void write_at(const char *path, int flags, pid_t pid) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    char text[16];

    if (fd < 0)
        return;
    snprintf(text, sizeof text, "%d\n", (int) pid);
    (void) !write(fd, text, strlen(text));
    close(fd);
}

static __attribute__((unused)) void write_pid(const char *path, pid_t pid) {
    write_at(path, O_CREAT | O_TRUNC, pid);
}

static __attribute__((unused)) pid_t read_pid(const char *path) {
    _cleanup_free_ char *text = NULL;
    struct lock_record record;

    if (fd_read_file_at(AT_FDCWD, path, 64, &text, NULL) < 0)
        return -1;
    lock_record_parse(path, text, &record);
    return record.pid;
}

/* A link of Chrome's form that names a process of this machine. */
static __attribute__((unused)) void write_link(const char *path, pid_t pid) {
    char host[LOCK_HOST_MAX] = "", target[LOCK_HOST_MAX + 16];

    (void) gethostname(host, sizeof host - 1);
    snprintf(target, sizeof target, "%s-%d", host, (int) pid);
    (void) !symlink(target, path);
}

static __attribute__((unused)) pid_t read_link(const char *path) {
    char target[LOCK_HOST_MAX + 16];
    ssize_t n = readlink(path, target, sizeof target - 1);
    struct lock_record record;

    if (n < 0)
        return -1;
    target[n] = '\0';
    lock_record_parse_link(path, target, &record);
    return record.pid;
}

static __attribute__((unused)) bool exists(const char *path) {
    struct stat st;

    return lstat(path, &st) == 0;
}

static __attribute__((unused)) unsigned count_files(void) {
    DIR *stream = opendir(".");
    unsigned n = 0;

    while (readdir(stream))
        n++;
    closedir(stream);
    return n - 2;
}

static __attribute__((unused)) int bind_socket(const char *path, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 ||
        (backlog >= 0 && listen(fd, backlog) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static __attribute__((unused)) void make_stale_socket(const char *path) {
    close(bind_socket(path, 5));
}

static __attribute__((unused)) struct lock_facts *probe(const char *path) {
    struct probe_request request = {.path = path, .style = LOCK_STYLE_INVALID};
    struct lock_facts *facts;

    ck_assert_int_eq(lock_probe(&request, 1, &facts), 0);
    return facts;
}

static __attribute__((unused)) int clear_judged(const struct lock_facts *facts, bool service_locked,
                                                bool dry_run, struct err *err) {
    struct clear_request request = {
        .facts = facts, .style = LOCK_STYLE_INVALID, .service_locked = service_locked, .dry_run = dry_run};

    return lock_clear(&request, err);
}

static __attribute__((unused)) int probe_and_clear(const char *path, bool service_locked, bool dry_run,
                                                   struct err *err) {
    struct lock_facts *facts = probe(path);
    int r = clear_judged(facts, service_locked, dry_run, err);

    lock_facts_free_array(facts, 1);
    return r;
}

static __attribute__((unused)) void assert_refused(int r, int number, const char *name,
                                                   const struct err *err) {
    ck_assert_msg(r == -number, "%d: %s", r, err_text(err));
    ck_assert_str_eq(err->name, name);
    ck_assert_ptr_null(strchr(err_text(err), '\n'));
}
