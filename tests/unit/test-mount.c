/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/mount.h"
#include "base/procfs.h"

static const char mountinfo[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "270 27 0:40 / /mnt/a\\040-\\040b rw shared:5 master:7 propagate_from:2 - nfs4 server:/export rw\n"
    "28 27 0:26 /vol /var/lib/x rw,relatime shared:1 - btrfs /dev/vdb rw,subvol=/vol\n"
    "29 27 0:27 / /long rw - averyveryverylongfilesystemtypename none rw\n"
    "30 27 0:28 / /last rw - tmpfs tmpfs rw";

START_TEST(test_parse) {
    struct mount_facts facts;

    ck_assert_int_eq(mount_parse(mountinfo, 27, &facts), 0);
    ck_assert_uint_eq(facts.device, makedev(254, 0));
    ck_assert_str_eq(facts.type, "ext4");
    ck_assert_int_eq(mount_parse(mountinfo, 270, &facts), 0);
    ck_assert_uint_eq(facts.device, makedev(0, 40));
    ck_assert_str_eq(facts.type, "nfs4");
    ck_assert_int_eq(mount_parse(mountinfo, 28, &facts), 0);
    ck_assert_uint_eq(facts.device, makedev(0, 26));
    ck_assert_int_eq(mount_parse(mountinfo, 29, &facts), 0);
    ck_assert_str_eq(facts.type, "averyveryverylongfilesystemtype"); /* cut off */
    ck_assert_int_eq(mount_parse(mountinfo, 30, &facts), 0);
    ck_assert_str_eq(facts.type, "tmpfs");
}
END_TEST

START_TEST(test_parse_refused) {
    struct mount_facts facts = {.device = 42};

    ck_assert_int_eq(mount_parse(mountinfo, 2, &facts), -ENOENT);
    ck_assert_int_eq(mount_parse("", 27, &facts), -ENOENT);
    ck_assert_int_eq(mount_parse("27 1 254:0 / / rw\n", 27, &facts), -EBADMSG);
    ck_assert_int_eq(mount_parse("27 1 what\n28 27 0:1 / / rw - tmpfs tmpfs rw\n", 27, &facts), -EBADMSG);
    ck_assert_int_eq(mount_parse("27 1 254:0 / / rw\n28 27 0:1 / / rw - tmpfs tmpfs rw\n", 27, &facts),
                     -EBADMSG);
    ck_assert_uint_eq(facts.device, 42);
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
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mount");
    TCase *tcase = tcase_create("mount");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, test_parse);
    tcase_add_test(tcase, test_parse_refused);
    tcase_add_test(tcase, test_kernel);
    tcase_add_test(tcase, test_remote);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
