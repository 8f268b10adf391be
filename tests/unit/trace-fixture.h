/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A file, and a child that does something with it, to be traced. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/procfs.h"
#include "probe/trace.h"

/* One world: a file, and a child that does something with it. Each test has a process of its own. */
struct world {
    char dir[64], path[128];
    int file, proc_fd, pair[2];
    pid_t child;
    struct lock_facts facts;
    struct holder_target target;
    unsigned found;
    enum holder_via via;
    int fd;
    bool families[LOCK_FAMILY_MAX];
};

static inline struct world *world_new(void) {
    struct world *world = calloc(1, sizeof *world);

    ck_assert_ptr_nonnull(world);
    strcpy(world->dir, "/tmp/test-trace-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(world->dir));
    snprintf(world->path, sizeof world->path, "%s/a.lock", world->dir);
    world->file = open(world->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    ck_assert_int_ge(world->file, 0);
    ck_assert_int_eq(ftruncate(world->file, 4096), 0);
    world->proc_fd = procfs_open();
    ck_assert_int_ge(world->proc_fd, 0);
    return world;
}

static inline void aim(struct world *world) {
    struct stat st;

    ck_assert_int_eq(fstat(world->file, &st), 0);
    world->facts = (struct lock_facts){.path = world->path, .links = (unsigned) st.st_nlink};
    world->target = (struct holder_target){
        .facts = &world->facts, .kind = HOLDER_TARGET_FILE, .device = st.st_dev, .inode = st.st_ino};
    world->found = 0;
    memset(world->families, 0, sizeof world->families);
}

static inline void world_free(struct world *world) {
    char command[128];

    if (world->child > 0) {
        ck_assert_int_eq(kill(world->child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(world->child, NULL, 0), world->child);
    }
    (void) close(world->file);
    (void) close(world->proc_fd);
    snprintf(command, sizeof command, "rm -r %s", world->dir);
    ck_assert_int_eq(system(command), 0);
    free(world);
}

static inline int found(void *userdata, size_t target, pid_t pid, enum holder_via via, int fd,
                        const bool families[static LOCK_FAMILY_MAX]) {
    struct world *world = userdata;

    ck_assert_uint_eq(target, 0);
    ck_assert_int_eq(pid, world->child);
    world->found++;
    world->via = via;
    world->fd = fd;
    memcpy(world->families, families, sizeof world->families);
    return 0;
}

static inline int trace(struct world *world) {
    return trace_process(world->proc_fd, world->child, &world->target, 1, found, world);
}

static inline void must(bool ok) {
    if (!ok)
        _exit(EXIT_FAILURE);
}

/* In a child from here on, and ended with the test. */
static inline bool in_child(struct world *world, int *ready) {
    int ends[2];
    char byte;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    world->child = fork();
    ck_assert_int_ge(world->child, 0);
    if (world->child == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        *ready = ends[1];
        return true;
    }
    (void) close(ends[1]);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    (void) close(ends[0]);
    return false;
}

static inline _Noreturn void stay(int ready) {
    must(write(ready, "", 1) == 1);
    for (;;)
        (void) pause();
}

static inline int open_again(const struct world *world) {
    int fd = open(world->path, O_RDWR | O_CLOEXEC);

    must(fd >= 0);
    return fd;
}
