/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "methods-fixture.h"

/* The method Clear: of a daemon that is killed and leaves a child with the lock, as Kea leaves kea-lfc. */

#define LEAVES(child)                                                                                        \
    "exec 9<>@/l; flock -n 9 || exit 9; " child " & echo $! >>@/children; echo $$ >>@/starts; wait"
#define IGNORES_SIGTERM "(trap '' TERM; exec sleep 100)"

/* A service whose daemon was killed. Returns the child. */
static pid_t leave_child(struct service *service, enum service_state state) {
    struct client client = call("a", "Start", "{}");
    pid_t child = 0;

    expect_done(&client);
    until(count_lines("starts") == 1 && (child = read_pid("children")) > 0);
    (void) linger(50 * MSEC); /* for a trap */
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == state);
    ck_assert(is_alive(child));
    return child;
}

/* The actions, owned by the caller. */
static json_t *expect_actions(struct client *client) {
    char error[64];
    json_t *parameters = answer_of(client, error), *actions;

    ck_assert_msg(error[0] == '\0', "error %s: %s", error,
                  json_string_value(json_object_get(parameters, "message")));
    actions = json_incref(json_object_get(parameters, "actions"));
    json_decref(parameters);
    ck_assert(json_is_array(actions));
    return actions;
}

/* Whether there is an action of that step whose text has the part. */
static bool has_action(json_t *actions, const char *step, const char *part) {
    json_t *action;
    size_t i;

    json_array_foreach(actions, i,
                       action) if (strcmp(json_string_value(json_object_get(action, "step")), step) == 0 &&
                                   strstr(json_string_value(json_object_get(action, "text")), part) &&
                                   json_string_value(json_object_get(action, "path")) &&
                                   json_is_integer(json_object_get(action, "atUSec"))) return true;
    return false;
}

/* What was only asked what it would do has changed nothing, and the journal has nothing to tell of it. */
static void expect_unlogged(void) {
    ck_assert_uint_le(t.events[EVENT_CONTROL_REQUEST], 1); /* that of the start */
    ck_assert_uint_eq(t.events[EVENT_LOCK_ORPHANED], 0);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 0);
    ck_assert_uint_eq(t.events[EVENT_LEFTOVERS_FOUND], 0);
    ck_assert_uint_eq(t.events[EVENT_STALE_CLEARED], 0);
    ck_assert_uint_eq(t.events[EVENT_CLEAR_REFUSED], 0);
    ck_assert_uint_eq(t.events[EVENT_BLOCKED], 0);
}

START_TEST(dry_run_and_real) {
    struct service *service =
        add_service("a", LEAVES("sleep 100"), LOCK, "Restart=no", "OrphanGraceSec=100s", NULL);
    struct client client;
    json_t *actions;
    pid_t child;

    serve();
    child = leave_child(service, SERVICE_FAILED);
    for (int i = 0; i < 2; i++) {
        client = call("a", "Clear", "{\"dryRun\":true}");
        actions = expect_actions(&client);
        ck_assert(has_action(actions, "terminate", "Would send SIGTERM"));
        json_decref(actions);
        ck_assert(is_alive(child));
        expect_unlogged();
    }
    ck_assert(!lock_is_free("l"));

    client = call("a", "Clear", "{\"dryRun\":false}"); /* at once, without the grace time */
    actions = expect_actions(&client);
    ck_assert_uint_eq(t.events[EVENT_CONTROL_REQUEST], 2);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 1);
    ck_assert(has_action(actions, "terminate", "Sent SIGTERM"));
    json_decref(actions);
    ck_assert(!is_alive(child));
    ck_assert(lock_is_free("l"));
    assert_state(service, SERVICE_FAILED); /* clearing starts nothing */

    client = call("a", "Clear", "{}");
    actions = expect_actions(&client);
    ck_assert_uint_eq(json_array_size(actions), 0); /* nothing to clear */
    json_decref(actions);
}
END_TEST

START_TEST(stale_pidfile) {
    struct service *service = add_service("a", "exec sleep 100", "lock @/p:pidfile", NULL);
    struct client client;
    json_t *actions;
    FILE *file;

    (void) service;
    serve();
    file = fopen(in("p"), "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(fprintf(file, "2000000000\n"), 0); /* nobody's: above the largest pid_max, 2^22 */
    ck_assert_int_eq(fclose(file), 0);
    client = call("a", "Clear", "{\"dryRun\":true}");
    actions = expect_actions(&client);
    ck_assert(has_action(actions, "clear", "Would remove"));
    json_decref(actions);
    expect_unlogged();
    ck_assert_int_eq(access(in("p"), F_OK), 0);
    client = call("a", "Clear", "{}");
    actions = expect_actions(&client);
    ck_assert(has_action(actions, "clear", "Removed"));
    json_decref(actions);
    ck_assert_int_lt(access(in("p"), F_OK), 0);
}
END_TEST

START_TEST(running) {
    struct service *service = add_service("a", LEAVES("sleep 100"), LOCK, NULL);
    struct client client;
    json_t *parameters;
    char error[64];

    serve();
    client = call("a", "Start", "{}");
    expect_done(&client);
    until(count_lines("starts") == 1);
    for (int i = 0; i < 2; i++) {
        client = call("a", "Clear", i == 0 ? "{\"dryRun\":true}" : "{}");
        parameters = answer_of(&client, error);
        ck_assert_str_eq(error, "Held");
        ck_assert_uint_eq(json_array_size(json_object_get(parameters, "holders")), 2);
        json_decref(parameters);
    }
    ck_assert(is_alive(read_pid("children")));
    assert_state(service, SERVICE_RUNNING);
}
END_TEST

START_TEST(a_stranger) {
    struct service *service = add_service("a", LEAVES("sleep 100"), LOCK, NULL);
    pid_t stranger = hold_lock("l");
    struct client client;

    serve();
    client = call("a", "Clear", "{\"dryRun\":true}");
    expect_held_by(&client, stranger);
    expect_unlogged();
    client = call("a", "Clear", "{}");
    expect_held_by(&client, stranger);
    ck_assert_uint_eq(t.events[EVENT_BLOCKED], 1);
    ck_assert(is_alive(stranger));
    assert_state(service, SERVICE_STOPPED);
}
END_TEST

/* It was asked for: who asked need not stay. */
START_TEST(gone_meanwhile) {
    struct service *service =
        add_service("a", LEAVES(IGNORES_SIGTERM), LOCK, "Restart=no", "OrphanKillSec=300ms", NULL);
    struct client client, other;
    json_t *actions;
    pid_t child;

    serve();
    child = leave_child(service, SERVICE_FAILED);
    client = call("a", "Clear", "{}");
    (void) linger(100 * MSEC);
    ck_assert(is_alive(child));
    hang_up(&client);
    other = call("a", "Clear", "{}"); /* a second one beside it */
    actions = expect_actions(&other);
    ck_assert(has_action(actions, "terminate", "SIGTERM"));
    json_decref(actions);
    ck_assert(!is_alive(child));
    ck_assert(lock_is_free("l"));
}
END_TEST

/* The supervisor ends in the midst of it. */
START_TEST(freed_midway) {
    struct service *service =
        add_service("a", LEAVES(IGNORES_SIGTERM), LOCK, "Restart=no", "OrphanKillSec=100s", NULL);
    struct client clients[3];

    serve();
    (void) leave_child(service, SERVICE_FAILED);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        clients[i] = call("a", "Clear", "{}");
    (void) linger(100 * MSEC);
    end_control();
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        hang_up(&clients[i]);
}
END_TEST

/* The policy holds the service back, not who asks; and the service that waited goes on at once. */
START_TEST(lets_the_service_go_on) {
    static const char *const settings[] = {"OrphanPolicy=wait", "OrphanPolicy=fail"};
    struct service *service = add_service(
        "a", "test -e @/children && { echo $$ >>@/starts; exec sleep 100; }; " LEAVES("sleep 100"), LOCK,
        settings[_i], "Restart=always", "RestartSec=10ms", NULL);
    struct client client;
    pid_t child;

    serve();
    child = leave_child(service, _i == 0 ? SERVICE_RECOVERING : SERVICE_BLOCKED);
    client = call("a", "Clear", "{}");
    json_decref(expect_actions(&client));
    ck_assert(!is_alive(child));
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
}
END_TEST

/* A start while a leftover is being cleared: one of the two ends it, and both are answered. */
START_TEST(started_meanwhile) {
    struct service *service = add_service(
        "a", "test -e @/children && { echo $$ >>@/starts; exec sleep 100; }; " LEAVES(IGNORES_SIGTERM), LOCK,
        "Restart=no", "OrphanKillSec=300ms", "OrphanGraceSec=0", NULL);
    struct client clearer, starter;
    pid_t child;

    serve();
    child = leave_child(service, SERVICE_FAILED);
    clearer = call("a", "Clear", "{}");
    (void) linger(100 * MSEC);
    starter = call("a", "Start", "{}");
    json_decref(expect_actions(&clearer));
    expect_done(&starter);
    ck_assert(!is_alive(child));
    assert_state(service, SERVICE_RUNNING);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, dry_run_and_real);
    tcase_add_test(tests, stale_pidfile);
    tcase_add_test(tests, running);
    tcase_add_test(tests, a_stranger);
    tcase_add_test(tests, gone_meanwhile);
    tcase_add_test(tests, freed_midway);
    tcase_add_loop_test(tests, lets_the_service_go_on, 0, 2);
    tcase_add_test(tests, started_meanwhile);
    return run_suite("methods-clear", tests);
}
