/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mount-cache.h"
#include "base/procfs.h"

#include "suite.h"

static const char mountinfo[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "270 27 0:40 / /mnt/a\\040-\\040b rw shared:5 master:7 propagate_from:2 - nfs4 server:/export rw\n"
    "28 27 0:26 /vol /var/lib/x rw,relatime shared:1 - btrfs /dev/vdb rw,subvol=/vol\n"
    "29 27 0:27 / /long rw - averyveryverylongfilesystemtypename none rw\n"
    "30 27 0:28 / /last rw - tmpfs tmpfs rw";

static const struct mount_row *row_of(const struct mount_table *table, int id) {
    const struct mount_row *row = mount_find_id(table, id);

    ck_assert_ptr_nonnull(row);
    return row;
}

START_TEST(test_parse) {
    _cleanup_mount_table_ struct mount_table table = {0};

    ck_assert_int_eq(mount_table_parse(mountinfo, &table), 0);
    ck_assert_uint_eq(table.n, 6);
    ck_assert(table.any_remote);
    ck_assert_uint_eq(row_of(&table, 27)->facts.device, makedev(254, 0));
    ck_assert_str_eq(row_of(&table, 27)->facts.type, "ext4");
    ck_assert_str_eq(row_of(&table, 27)->point, "/");
    ck_assert_str_eq(row_of(&table, 27)->options, "rw,discard");
    ck_assert_uint_eq(row_of(&table, 270)->facts.device, makedev(0, 40));
    ck_assert_str_eq(row_of(&table, 270)->facts.type, "nfs4");
    ck_assert_str_eq(row_of(&table, 270)->point, "/mnt/a - b");
    ck_assert_int_eq(row_of(&table, 270)->parent_id, 27);
    ck_assert_uint_eq(row_of(&table, 28)->facts.device, makedev(0, 26));
    ck_assert_str_eq(row_of(&table, 28)->options, "rw,subvol=/vol");
    ck_assert_str_eq(row_of(&table, 29)->facts.type, "averyveryverylongfilesystemtype"); /* cut off */
    ck_assert_str_eq(row_of(&table, 30)->facts.type, "tmpfs");
    ck_assert_ptr_null(mount_find_id(&table, 2));
    ck_assert_ptr_eq(mount_find_device(&table, makedev(0, 26)), row_of(&table, 28));
    ck_assert_ptr_null(mount_find_device(&table, makedev(9, 26)));
}
END_TEST

START_TEST(test_parse_refused) {
    static const char *const bad[] = {
        "27 1 254:0 / / rw\n",
        "27 1 what\n28 27 0:1 / / rw - tmpfs tmpfs rw\n",
        "27 1 254:0 / / rw\n28 27 0:1 / / rw - tmpfs tmpfs rw\n",
        "27 1 254:0 /",
        "27 1 254:0 / / rw - ",
        "\n",
    };
    struct mount_table table = {.n = 42};

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        ck_assert_msg(mount_table_parse(bad[i], &table) == -EBADMSG, "%zu", i);
    ck_assert_uint_eq(table.n, 42);
    ck_assert_int_eq(mount_table_parse("", &table), 0);
    ck_assert_uint_eq(table.n, 0);
    ck_assert(!table.any_remote);
}
END_TEST

/* What cannot be escaped stays, and what is escaped never ends a word. */
START_TEST(test_escapes) {
    _cleanup_mount_table_ struct mount_table table = {0};

    ck_assert_int_eq(mount_table_parse(
                         "5 1 0:5 / /a\\011b\\012c\\134040\\04 rw - tmpfs two\\040words rw,x=\\040y", &table),
                     0);
    ck_assert_str_eq(table.rows[0].point, "/a\tb\nc\\040\\04");
    ck_assert_str_eq(table.rows[0].options, "rw,x= y");
}
END_TEST

static const struct {
    const char *path, *point, *type;
} places[] = {
    {"/", "/", "ext4"},
    {"/run", "/", "ext4"},
    {"/srv/nfs", "/srv/nfs", "nfs4"},
    {"/srv/nfs/a.lock", "/srv/nfs", "nfs4"},
    {"/srv/nfsx/a.lock", "/", "ext4"}, /* a name that only begins like it */
    {"/srv/nf", "/", "ext4"},
    {"/srv/nfs/local/a.lock", "/srv/nfs/local", "tmpfs"}, /* mounted upon the remote one */
    {"/srv/nfs/locale", "/srv/nfs", "nfs4"},
    {"/bound/a.lock", "/bound", "nfs4"}, /* a part of it, bound elsewhere */
    {"/with blank/a", "/with blank", "fuse.sshfs"},
    {"/with", "/", "ext4"},
    {"/twice/a", "/twice", "nfs"},   /* the later one is on top ... */
    {"/turned/a", "/turned", "nfs"}, /* ... which their ids need not tell, nor their order */
};

START_TEST(test_path) {
    static const char text[] = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
                               "40 27 0:40 / /srv/nfs rw - nfs4 server:/ rw\n"
                               "41 40 0:41 / /srv/nfs/local rw - tmpfs tmpfs rw\n"
                               "42 27 0:40 /part /bound rw - nfs4 server:/part rw\n"
                               "43 27 0:43 / /with\\040blank rw - fuse.sshfs me@there: rw\n"
                               "44 27 0:44 / /twice rw - autofs systemd-1 rw\n"
                               "45 44 0:45 / /twice rw - nfs server:/x rw\n"
                               "47 48 0:47 / /turned rw - nfs server:/y rw\n"
                               "48 27 0:48 / /turned rw - autofs systemd-1 rw\n";
    _cleanup_mount_table_ struct mount_table table = {0};
    const struct mount_row *row;

    ck_assert_int_eq(mount_table_parse(text, &table), 0);
    row = mount_find_path(&table, places[_i].path);
    ck_assert_ptr_nonnull(row);
    ck_assert_str_eq(row->point, places[_i].point);
    ck_assert_str_eq(row->facts.type, places[_i].type);
}
END_TEST

START_TEST(test_option) {
    static const char options[] = "rw,vers=3,nolock,local_lock=none,x=";
    const char *value;
    size_t length = 99;

    value = mount_option_find(options, "vers", &length);
    ck_assert(value && length == 1 && *value == '3');
    value = mount_option_find(options, "local_lock", &length);
    ck_assert(value && length == 4 && strncmp(value, "none", 4) == 0);
    ck_assert(mount_option_find(options, "nolock", &length) && length == 0);
    ck_assert(mount_option_find(options, "x", &length) && length == 0);
    ck_assert_ptr_null(mount_option_find(options, "lock", &length));
    ck_assert_ptr_null(mount_option_find(options, "ver", &length));
    ck_assert_ptr_null(mount_option_find("", "ver", &length));
}
END_TEST

START_TEST(test_kernel) {
    _cleanup_close_ int proc_fd = procfs_open(), fd = open("/proc", O_PATH | O_CLOEXEC);
    struct mount_facts facts;
    struct stat st;

    ck_assert(proc_fd >= 0 && fd >= 0 && fstat(fd, &st) == 0);
    ck_assert_int_eq(mount_of_fd(proc_fd, fd, &facts), 0);
    ck_assert_str_eq(facts.type, "proc");
    ck_assert_uint_eq(facts.device, st.st_dev);
    ck_assert_int_lt(mount_of_fd(proc_fd, 9999, &facts), 0);
}
END_TEST

START_TEST(test_remote) {
    static const char *const remote[] = {"nfs",      "nfs4", "cifs", "9p",
                                         "virtiofs", "ceph", "fuse", "fuse.sshfs"};
    static const char *const local[] = {"ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "zfs", ""};

    for (size_t i = 0; i < ELEMENTSOF(remote); i++)
        ck_assert_msg(mount_type_is_remote(remote[i]), "%s", remote[i]);
    for (size_t i = 0; i < ELEMENTSOF(local); i++)
        ck_assert_msg(!mount_type_is_remote(local[i]), "%s", local[i]);
    ck_assert(mount_magic_is_remote(0x6969) && mount_magic_is_remote(0x65735546));
    ck_assert(mount_magic_is_remote((uint64_t) (int32_t) 0xFF534D42)); /* as a 32-bit f_type comes */
    ck_assert(!mount_magic_is_remote(0xEF53) && !mount_magic_is_remote(0x01021994));
    ck_assert(mount_type_is_automatic("autofs") && !mount_type_is_automatic("nfs"));
}
END_TEST

static void in_own_namespace(int proc_fd, struct mount_cache *cache) {
    struct mount_table table, again;

    ck_assert_int_eq(mount_cache_read(cache, proc_fd, false, &table), 0);
    ck_assert_ptr_null(mount_find_device(&table, makedev(0, 0)));
    for (size_t i = 0; i < table.n; i++)
        ck_assert_str_ne(table.rows[i].point, "/tmp/test-mount.cache");
    if (!table.any_remote) { /* nothing has changed: the very rows */
        ck_assert_int_eq(mount_cache_read(cache, proc_fd, false, &again), 0);
        ck_assert_ptr_eq(again.rows, table.rows);
    }
    ck_assert_int_eq(mount("none", "/tmp/test-mount.cache", "tmpfs", 0, NULL), 0);
    if (!table.any_remote) { /* whoever says that nothing has changed is believed, and the next is told */
        ck_assert_int_eq(mount_cache_read(cache, proc_fd, true, &again), 0);
        ck_assert_ptr_eq(again.rows, table.rows);
    }
    ck_assert_int_eq(mount_cache_read(cache, proc_fd, false, &table), 0);
    ck_assert_str_eq(mount_find_path(&table, "/tmp/test-mount.cache/x")->facts.type, "tmpfs");
    ck_assert_int_eq(umount("/tmp/test-mount.cache"), 0);
    ck_assert_int_eq(mount_cache_read(cache, proc_fd, false, &table), 0);
    ck_assert_str_ne(mount_find_path(&table, "/tmp/test-mount.cache/x")->point, "/tmp/test-mount.cache");
}

/* Every change of the mounts is seen, however often it was looked before. */
START_TEST(test_cache) {
    struct mount_cache cache = MOUNT_CACHE_INIT;
    _cleanup_close_ int proc_fd = procfs_open();

    ck_assert(mkdir("/tmp/test-mount.cache", 0700) == 0 || errno == EEXIST);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    for (int i = 0; i < 3; i++)
        in_own_namespace(proc_fd, &cache);
    mount_cache_done(&cache);
    ck_assert_int_eq(rmdir("/tmp/test-mount.cache"), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mount");
    TCase *tcase = tcase_create("mount");

    tcase_add_test(tcase, test_parse);
    tcase_add_test(tcase, test_parse_refused);
    tcase_add_test(tcase, test_escapes);
    tcase_add_loop_test(tcase, test_path, 0, ELEMENTSOF(places));
    tcase_add_test(tcase, test_option);
    tcase_add_test(tcase, test_kernel);
    tcase_add_test(tcase, test_remote);
    tcase_add_test(tcase, test_cache);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
