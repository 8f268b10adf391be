/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "exec/credentials.h"

#include "suite.h"

#define NEED_ROOT                                                                                            \
    if (geteuid() != 0) {                                                                                    \
        printf("SKIP %s: needs root\n", __func__);                                                           \
        return;                                                                                              \
    }

#define BIT(capability) (UINT64_C(1) << (capability))

/* nobody and nogroup are 65534 on Debian; daemon is uid 1 and gid 1, root 0 everywhere. */
static void resolve(const struct service_config *config, struct credentials *ret) {
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(credentials_resolve(config, ret, &err) == 0, "%s", err_text(&err));
}

static void assert_refused(const struct service_config *config, int error, const char *name,
                           const char *words) {
    struct credentials credentials = {.uid = 77};
    _cleanup_err_ struct err err = {0};

    ck_assert_int_eq(credentials_resolve(config, &credentials, &err), error);
    ck_assert_str_eq(err.name, name);
    ck_assert_msg(strstr(err_text(&err), words), "\"%s\" not in: %s", words, err_text(&err));
    ck_assert_uint_eq(credentials.uid, 77); /* written on success only */
}

static bool in_groups(const struct credentials *credentials, gid_t gid) {
    for (size_t i = 0; i < credentials->n_groups; i++)
        if (credentials->groups[i] == gid)
            return true;
    return false;
}

static void drop_capability(int capability) {
    cap_value_t value = capability;
    cap_t caps = cap_get_proc();

    ck_assert_ptr_nonnull(caps);
    ck_assert_int_eq(cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_CLEAR), 0);
    ck_assert_int_eq(cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_CLEAR), 0);
    ck_assert_int_eq(cap_set_proc(caps), 0);
    cap_free(caps);
}

START_TEST(unchanged) {
    const struct service_config config = {0};
    _cleanup_credentials_ struct credentials credentials = {0};

    resolve(&config, &credentials);
    ck_assert(!credentials.set_uid && !credentials.set_gid && !credentials.set_groups);
    ck_assert(!credentials.set_capabilities && !credentials.bounding_drop && !credentials.ambient);
    ck_assert_ptr_null(credentials.user);
}
END_TEST

START_TEST(user_by_name) {
    const struct service_config config = {.user = (char *) "daemon"};
    _cleanup_credentials_ struct credentials credentials = {0};

    NEED_ROOT;
    resolve(&config, &credentials);
    ck_assert(credentials.set_uid && credentials.set_gid && credentials.set_capabilities);
    ck_assert_uint_eq(credentials.uid, 1);
    ck_assert_uint_eq(credentials.gid, 1);
    ck_assert(in_groups(&credentials, 1));
    ck_assert_str_eq(credentials.user, "daemon");
    ck_assert_str_eq(credentials.home, "/usr/sbin");
    ck_assert_str_eq(credentials.shell, "/usr/sbin/nologin");
    ck_assert(!credentials.keep_capabilities);
    ck_assert_uint_eq(credentials.sets.permitted, 0);
}
END_TEST

START_TEST(user_by_number) {
    const struct service_config config = {.user = (char *) "1", .group = (char *) "nogroup"};
    const struct service_config unknown = {.user = (char *) "3999999999", .group = (char *) "4000000000"};
    _cleanup_credentials_ struct credentials credentials = {0}, stranger = {0};

    NEED_ROOT;
    resolve(&config, &credentials);
    ck_assert_uint_eq(credentials.uid, 1);
    ck_assert_uint_eq(credentials.gid, 65534);
    ck_assert_str_eq(credentials.user, "daemon");
    resolve(&unknown, &stranger);
    ck_assert_uint_eq(stranger.uid, 3999999999);
    ck_assert_uint_eq(stranger.gid, 4000000000);
    ck_assert_str_eq(stranger.user, "3999999999");
    ck_assert_ptr_null(stranger.home);
    ck_assert_uint_eq(stranger.n_groups, 1);
    ck_assert_uint_eq(stranger.groups[0], 4000000000);
}
END_TEST

START_TEST(user_refused) {
    assert_refused(&(struct service_config){.user = (char *) "nosuchuser"}, -ESRCH, "BadUser",
                   "User=nosuchuser");
    assert_refused(&(struct service_config){.user = (char *) "3999999999"}, -ESRCH, "BadUser",
                   "give Group= too");
    assert_refused(&(struct service_config){.user = (char *) "4294967295"}, -ESRCH, "BadUser",
                   "no such user");
    assert_refused(&(struct service_config){.user = (char *) "65535"}, -ESRCH, "BadUser", "no such user");
    assert_refused(&(struct service_config){.group = (char *) "nosuchgroup"}, -ESRCH, "BadGroup",
                   "Group=nosuchgroup");
    assert_refused(&(struct service_config){.supplementary_groups = (char *[]){(char *) "nosuchgroup", NULL}},
                   -ESRCH, "BadGroup", "SupplementaryGroups=nosuchgroup");
}
END_TEST

START_TEST(supplementary_groups) {
    char *names[] = {(char *) "4242", (char *) "daemon", (char *) "4242", NULL};
    const struct service_config config = {.user = (char *) "nobody", .supplementary_groups = names};
    const struct service_config own = {.supplementary_groups = (char *[]){(char *) "4242", NULL}};
    _cleanup_credentials_ struct credentials credentials = {0}, ours = {0};
    const gid_t before[] = {17, 18};

    NEED_ROOT;
    resolve(&config, &credentials);
    ck_assert(credentials.set_groups);
    ck_assert_uint_eq(credentials.n_groups, 3);
    ck_assert(in_groups(&credentials, 4242) && in_groups(&credentials, 1) && in_groups(&credentials, 65534));
    ck_assert_int_eq(setgroups(2, before), 0);
    resolve(&own, &ours);
    ck_assert(ours.set_groups && !ours.set_gid && !ours.set_uid && !ours.set_capabilities);
    ck_assert_uint_eq(ours.n_groups, 3);
    ck_assert(in_groups(&ours, 17) && in_groups(&ours, 18) && in_groups(&ours, 4242));
}
END_TEST

/* Somebody without any privilege may name the user that it is, and nobody else. */
START_TEST(ordinary_user) {
    const struct service_config own = {.user = (char *) "nobody", .group = (char *) "nogroup"};
    _cleanup_credentials_ struct credentials credentials = {0};

    NEED_ROOT;
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setresgid(65534, 65534, 65534), 0);
    ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    resolve(&own, &credentials);
    ck_assert(!credentials.set_uid && !credentials.set_gid && !credentials.set_groups);
    ck_assert(!credentials.set_capabilities);
    assert_refused(&(struct service_config){.user = (char *) "daemon"}, -EPERM, "NotPermitted",
                   "User=daemon: latchd runs as uid 65534 without CAP_SETUID");
    assert_refused(&(struct service_config){.group = (char *) "daemon"}, -EPERM, "NotPermitted",
                   "Group=daemon: latchd runs as uid 65534 without CAP_SETGID");
    assert_refused(&(struct service_config){.supplementary_groups = (char *[]){(char *) "daemon", NULL}},
                   -EPERM, "NotPermitted", "SupplementaryGroups=daemon");
    assert_refused(&(struct service_config){.capability_bounding_set_set = true}, -EPERM, "NotPermitted",
                   "CAP_SETPCAP");
    assert_refused(&(struct service_config){.ambient_capabilities = BIT(CAP_KILL)}, -EPERM, "NotPermitted",
                   "AmbientCapabilities=cap_kill");
}
END_TEST

/* Root's exec adds the whole inheritable set, so it has to be bounded as well. */
START_TEST(bounded_inheritable) {
    const struct service_config config = {
        .capability_bounding_set = BIT(CAP_CHOWN),
        .capability_bounding_set_set = true,
    };
    _cleanup_credentials_ struct credentials credentials = {0};
    const cap_value_t values[] = {CAP_CHOWN, CAP_KILL};
    cap_t caps;

    NEED_ROOT;
    caps = cap_get_proc();
    ck_assert_ptr_nonnull(caps);
    ck_assert_int_eq(cap_set_flag(caps, CAP_INHERITABLE, 2, values, CAP_SET), 0);
    ck_assert_int_eq(cap_set_proc(caps), 0);
    cap_free(caps);
    resolve(&config, &credentials);
    ck_assert_uint_eq(credentials.sets.inheritable, BIT(CAP_CHOWN));
}
END_TEST

START_TEST(capabilities) {
    struct service_config config = {
        .user = (char *) "nobody",
        .ambient_capabilities = BIT(CAP_NET_RAW) | BIT(CAP_CHOWN),
        .capability_bounding_set = BIT(CAP_NET_RAW) | BIT(CAP_CHOWN) | BIT(CAP_KILL) | BIT(63),
        .capability_bounding_set_set = true,
    };
    _cleanup_credentials_ struct credentials user = {0}, root = {0};

    NEED_ROOT;
    resolve(&config, &user);
    ck_assert(user.set_capabilities && user.keep_capabilities);
    ck_assert_uint_eq(user.ambient, BIT(CAP_NET_RAW) | BIT(CAP_CHOWN));
    ck_assert_uint_eq(user.sets.permitted, user.ambient);
    ck_assert_uint_eq(user.sets.effective, user.ambient);
    ck_assert_uint_eq(user.sets.inheritable, user.ambient);
    ck_assert_uint_eq(user.bounding_drop & config.capability_bounding_set, 0);
    ck_assert(user.bounding_drop & BIT(CAP_SETUID));

    config.user = NULL;
    resolve(&config, &root);
    ck_assert(root.set_capabilities && !root.keep_capabilities);
    ck_assert_uint_eq(root.sets.inheritable, root.ambient);
    ck_assert(root.sets.permitted & BIT(CAP_SETUID));

    config.capability_bounding_set = BIT(CAP_CHOWN);
    assert_refused(&config, -EINVAL, "BadCapabilities",
                   "AmbientCapabilities=cap_net_raw: not in the bounding set");
    config.capability_bounding_set_set = false;
    drop_capability(CAP_CHOWN);
    assert_refused(&config, -EPERM, "NotPermitted", "AmbientCapabilities=cap_chown: latchd does not have it");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("credentials");
    TCase *tcase = tcase_create("credentials");

    tcase_add_test(tcase, unchanged);
    tcase_add_test(tcase, user_by_name);
    tcase_add_test(tcase, user_by_number);
    tcase_add_test(tcase, user_refused);
    tcase_add_test(tcase, supplementary_groups);
    tcase_add_test(tcase, ordinary_user);
    tcase_add_test(tcase, bounded_inheritable);
    tcase_add_test(tcase, capabilities);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
