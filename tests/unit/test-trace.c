/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mapped files, rings of io_uring and shared memory, made for real in children. */
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "suite.h"
#include "trace-fixture.h"

START_TEST(test_nothing) {
    struct world *world = world_new();
    int ready;

    if (in_child(world, &ready)) {
        (void) close(world->file);
        stay(ready);
    }
    aim(world);
    ck_assert_int_eq(trace(world), 0);
    ck_assert_uint_eq(world->found, 0);
    ck_assert_int_eq(kill(world->child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(world->child, NULL, 0), world->child);
    ck_assert_int_eq(trace(world), 0); /* the dead have nothing */
    ck_assert_uint_eq(world->found, 0);
    world->child = 0;
    world_free(world);
}
END_TEST

static void *map_in_thread(void *data) {
    int *ready = data;

    (void) usleep(50000); /* until the main thread has ended */
    stay(*ready);
}

/* 0: mapped; 1: by a process whose main thread has ended; 2: another file is; 3: the same inode number on
 * another device is looked for */
START_TEST(test_mapped) {
    struct world *world = world_new();
    int ready;

    if (in_child(world, &ready)) {
        char other[sizeof world->path + 2];
        int fd;
        pthread_t thread;

        (void) close(world->file);
        snprintf(other, sizeof other, "%s.2", world->path);
        fd = _i == 2 ? open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : open_again(world);
        must(ftruncate(fd, 4096) == 0 && flock(fd, LOCK_EX) == 0);
        must(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED && close(fd) == 0);
        if (_i == 1) {
            must(pthread_create(&thread, NULL, map_in_thread, &ready) == 0);
            syscall(SYS_exit, 0); /* of this thread alone */
        }
        stay(ready);
    }
    aim(world);
    if (_i == 3)
        world->target.device++;
    ck_assert_int_eq(trace(world), 0);
    ck_assert_uint_eq(world->found, _i < 2);
    if (_i < 2) {
        ck_assert_int_eq(world->via, VIA_MAPS);
        ck_assert_int_eq(world->fd, -1);
        ck_assert(!world->families[LOCK_FAMILY_FLOCK]);
        world->found = 0;
        ck_assert_int_eq(trace_maps(world->proc_fd, world->child, &world->target, 1, found, world), 0);
        ck_assert_uint_eq(world->found, 1);
    }
    world_free(world);
}
END_TEST

static int make_ring(int file) {
    struct io_uring_params params = {0};
    int files[] = {-1, file}, ring = (int) syscall(SYS_io_uring_setup, 4, &params);

    if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, files, 2) < 0)
        return -1;
    return ring;
}

enum ring_case { RING_PLAIN, RING_RENAMED, RING_NAMESAKE, RING_DELETED, RING_OTHER, RING_LINKED, RING_MAX };

/* A ring shows names only. Where the name leads to the file, it is the file; where it is another's or cannot
 * be followed, it must be told that it is not known. */
START_TEST(test_ring) {
    struct world *world = world_new();
    char other[sizeof world->path + 16];
    int ring = make_ring(world->file), ready;

    if (ring < 0)
        return world_free(world); /* this kernel lets us make none */
    (void) close(ring);
    snprintf(other, sizeof other, "%s/sub", world->dir);
    ck_assert_int_eq(mkdir(other, 0755), 0);
    snprintf(other, sizeof other, _i == RING_NAMESAKE ? "%s/sub/a.lock" : "%s/with blank\\.lock", world->dir);
    if (in_child(world, &ready)) {
        int fd = _i == RING_NAMESAKE || _i == RING_OTHER ? open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0644)
                                                         : open_again(world);

        (void) close(world->file);
        must(fd >= 0 && dup2(make_ring(fd), 77) == 77 && close(fd) == 0);
        stay(ready);
    }
    if (_i == RING_RENAMED) {
        ck_assert_int_eq(rename(world->path, other), 0);
        strcpy(world->path, other);
    } else if (_i == RING_DELETED)
        ck_assert_int_eq(unlink(world->path), 0);
    else if (_i == RING_LINKED)
        ck_assert_int_eq(link(world->path, other), 0);
    aim(world);
    ck_assert_int_eq(trace(world), _i == RING_NAMESAKE || _i == RING_DELETED ? TRACE_UNREADABLE : 0);
    if (_i == RING_PLAIN || _i == RING_RENAMED || _i == RING_LINKED) {
        ck_assert_uint_ge(world->found, 1);
        ck_assert_int_eq(world->via, VIA_IO_URING);
    } else
        ck_assert_uint_eq(world->found, 0);
    world_free(world);
}
END_TEST

/* 0: attached; 1: not; 2: what has the same id in another IPC namespace is (for root) */
START_TEST(test_shared_memory) {
    struct world *world;
    int id, ready;

    if (unshare(CLONE_NEWIPC) < 0 && _i == 2) /* where ids begin with 0 */
        return;
    world = world_new();
    id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    ck_assert_int_ge(id, 0);
    if (in_child(world, &ready)) {
        if (_i == 2)
            must(unshare(CLONE_NEWIPC) == 0 && shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) == id);
        if (_i != 1)
            must(shmat(id, NULL, 0) != (const void *) -1);
        stay(ready);
    }
    aim(world);
    world->target.kind = HOLDER_TARGET_SHM;
    world->target.device = 0;
    world->target.inode = (ino_t) id;
    ck_assert_int_eq(trace_maps(world->proc_fd, world->child, &world->target, 1, found, world), 0);
    ck_assert_int_eq(shmctl(id, IPC_RMID, NULL), 0);
    ck_assert_uint_eq(world->found, _i == 0);
    if (_i == 0)
        ck_assert_int_eq(world->via, VIA_MAPS);
    world_free(world);
}
END_TEST

static int no_find(void *userdata, size_t target, pid_t pid, enum holder_via via, int fd,
                   const bool families[static LOCK_FAMILY_MAX]) {
    (void) userdata, (void) target, (void) pid, (void) via, (void) fd, (void) families;
    return -EINVAL;
}

/* What may not be read is no evidence. */
START_TEST(test_unreadable) {
    struct world *world = world_new();
    pid_t other;
    int status;

    if (geteuid() != 0)
        return world_free(world);
    aim(world);
    other = fork();
    if (other == 0) {
        must(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
        must(trace_process(world->proc_fd, getppid(), &world->target, 1, no_find, NULL) == TRACE_UNREADABLE);
        must(trace_maps(world->proc_fd, getppid(), &world->target, 1, no_find, NULL) == TRACE_UNREADABLE);
        _exit(EXIT_SUCCESS);
    }
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(status, 0);
    world_free(world);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace");
    TCase *tcase = tcase_create("trace");

    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, test_nothing);
    tcase_add_loop_test(tcase, test_mapped, 0, 4);
    tcase_add_loop_test(tcase, test_ring, 0, RING_MAX);
    tcase_add_loop_test(tcase, test_shared_memory, 0, 3);
    tcase_add_test(tcase, test_unreadable);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
