/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two configurations compared, exchanged in part, and one written down for a successor. */

#include "config-fixture.h"

#include "base/value.h"
#include "config/config-compare.h"
#include "config/config-keys.h"

#include "suite.h"

static struct service_config *before, *after;

static void tear_down(void) {
    before = service_config_free(before);
    after = service_config_free(after);
    teardown();
}

static struct service_config *take(const char *text) {
    load_good(text);
    return TAKE_PTR(config);
}

static void assert_changes(const char *live, const char *later) {
    _cleanup_config_changes_ struct config_changes changes = {0};

    ck_assert_int_eq(service_config_compare(before, after, &changes), 0);
    ck_assert_str_eq(words(changes.live), live);
    ck_assert_str_eq(words(changes.later), later);
}

#define OLD                                                                                                  \
    "[Service]\nExecStart=/bin/true a\nRestartSec=1s\nOrphanAllow=/bin/cat\nUser=root\n"                     \
    "[Socket c]\nListenStream=/run/c\nProbeTimeoutSec=1s\n[Socket gone]\nListenStream=/run/gone\n"           \
    "[Lock pid]\nLockFile=/run/pid\nLockStyle=pidfile\n"

START_TEST(same) {
    before = take(OLD);
    after = take("# another file\n" OLD "[Service]\nRestartSec=1000ms\n");
    assert_changes("", "");
}
END_TEST

START_TEST(different) {
    before = take(OLD);
    after = take("[Service]\nExecStart=/bin/true b\nRestartSec=2s\nOrphanAllow=/bin/dog\n"
                 "[Socket c]\nListenStream=/run/d\nProbeTimeoutSec=2s\n[Socket new]\nListenStream=/run/new\n"
                 "[Lock pid]\nLockFile=/run/pid\nLockStyle=flock\n[Lock more]\nLockFile=/run/more\n");
    assert_changes("<RestartSec=><OrphanAllow=><ProbeTimeoutSec= of [Socket c]>",
                   "<ExecStart=><User=><ListenStream= of [Socket c]><LockFile= of [Socket c]><[Socket gone]>"
                   "<[Socket new]><LockStyle= of [Lock pid]><[Lock more]>");

    service_config_swap_live(before, after);
    ck_assert_uint_eq(before->restart_usec, 2 * USEC_PER_SEC);
    ck_assert_uint_eq(after->restart_usec, USEC_PER_SEC);
    ck_assert_str_eq(words(before->orphan_allow), "</bin/dog>");
    ck_assert_uint_eq(before->sockets[0]->probe_timeout_usec, 2 * USEC_PER_SEC);
    ck_assert_str_eq(before->sockets[0]->listen, "/run/c"); /* the daemon listens there */
    ck_assert_str_eq(before->user, "root");
    ck_assert_str_eq(before->exec_start[1], "a");
    service_config_swap_live(before, after);
    ck_assert_uint_eq(before->restart_usec, USEC_PER_SEC);
    ck_assert_str_eq(words(after->orphan_allow), "</bin/dog>");
}
END_TEST

/* What is written down reads back as the same, the kind's additions included, whatever is on the disk then.
 */
START_TEST(record) {
    _cleanup_free_ char *text = NULL, *again = NULL, *plain = NULL;

    before = take(OLD "[Service]\nEnvironment=A=%%h \"B=c d\"\nStandardOutput=null\nLimitNOFILE=77\n"
                      "StartLimitBurst=3\nDescription=50%% %n\n");
    ck_assert_int_eq(service_config_allow_orphan(before, "/nowhere/helper"), 0);
    before->locks[0]->helper = strdup("/nowhere/a helper");
    strcpy(before->exec_start[0], "/no/true"); /* not there any more */
    ck_assert_int_eq(service_config_record(before, &text), 0);
    ck_assert_int_eq(service_config_from_record("x", text, &after), 0);
    assert_changes("", "");
    ck_assert_str_eq(after->locks[0]->helper, "/nowhere/a helper");
    ck_assert_str_eq(after->sockets[0]->lock.path, "/run/c.lock");
    ck_assert_int_eq(service_config_record(after, &again), 0);
    ck_assert_str_eq(again, text);
    ck_assert_uint_lt(strlen(text), 800);

    after = service_config_free(after);
    after = take("[Service]\n" RUN);
    ck_assert_int_eq(service_config_record(after, &plain), 0);
    ck_assert_uint_lt(strlen(plain), 200);
}
END_TEST

START_TEST(no_record) {
    static const char *const texts[] = {"",
                                        "[Service]\n",
                                        "[Service]\nExecStart=/bin/true\nNonsense=1\n",
                                        "[Service]\nExecStart=/bin/true\nRestartSec=often\n",
                                        "[Service]\nExecStart=/bin/true\n[Socket x]\n",
                                        "[Service]\nExecStart=/bin/true\n[Lock x]\n# helper x\n# helper \n",
                                        "# helper a b"};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        ck_assert_int_eq(service_config_from_record("x", texts[i], &after), -EBADMSG);
}
END_TEST

/* The table says of every key from when on it counts, and what a daemon is started with never counts at once.
 */
START_TEST(table) {
    static const char *const held[] = {"ExecStart",   "User",      "Type", "ListenStream", "LockFile",
                                       "Environment", "LockStyle", "Kind", "Owner",        "UMask"};

    for (size_t i = 0; i < config_n_keys; i++)
        for (size_t j = 0; j < ELEMENTSOF(held); j++)
            ck_assert(strcmp(config_keys[i].name, held[j]) != 0 ||
                      config_keys[i].counts == CONFIG_COUNTS_START);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config-compare");
    TCase *tcase = tcase_create("config-compare");

    tcase_add_checked_fixture(tcase, setup, tear_down);
    tcase_add_test(tcase, same);
    tcase_add_test(tcase, different);
    tcase_add_test(tcase, record);
    tcase_add_test(tcase, no_record);
    tcase_add_test(tcase, table);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
