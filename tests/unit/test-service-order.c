/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* After= and Requires= between real daemons of one manager. */
#include "service-fixture.h"

/* Writes that it came, and, when it is told to end, that it went; that takes it a moment. */
#define DAEMON(name)                                                                                         \
    "trap 'sleep 0.1; echo " name "- >>@/log; exit 0' TERM; echo " name                                      \
    "+ >>@/log; while :; do sleep 100 & wait; done"

static void plan(void) {
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(manager_plan_order(t.manager, &err) == 0, "%s", err_text(&err));
}

/* "a+b+b-": what the daemons wrote. They are up once they are executed, and may be overtaken before they write
 * so: only the order of their ends is looked at, and that of ends and beginnings. */
static const char *story(void) {
    static char text[256];
    _cleanup_free_ char *lines = NULL;
    char *to = text;

    if (fd_read_file_at(AT_FDCWD, in("log"), 200, &lines, NULL) >= 0)
        for (const char *p = lines; *p; p++)
            if (*p != '\n')
                *to++ = *p;
    *to = '\0';
    return text;
}

static void assert_text(const struct service *service, const char *expected) {
    _cleanup_free_ char *text = service_order_text(service);

    ck_assert_msg(text ? strstr(text, expected) != NULL : *expected == '\0', "%s: not in: %s", expected,
                  text ? text : "(nothing)");
}

#define is(service, what) ((service)->state == SERVICE_##what)

START_TEST(up_and_down) {
    struct service *c = add_service("c", DAEMON("c"), "After=b", NULL),
                   *b = add_service("b", DAEMON("b"), "After=a", NULL),
                   *a = add_service("a", DAEMON("a"), NULL), *x = add_service("x", "exec sleep 100", NULL);

    plan();
    service_order_start_all(t.manager);
    until(is(a, RUNNING) && is(b, RUNNING) && is(c, RUNNING) && is(x, RUNNING));
    until(strlen(story()) == 6);
    service_order_stop_all(t.manager);
    assert_state(a, SERVICE_RUNNING); /* not yet */
    assert_state(b, SERVICE_RUNNING);
    assert_state(c, SERVICE_STOPPING);
    assert_state(x, SERVICE_STOPPING);
    assert_text(b, "is to be stopped once c has ended");
    until(service_is_down(a) && service_is_down(b) && service_is_down(c));
    ck_assert_str_eq(story() + 6, "c-b-a-");
}
END_TEST

/* What comes after a service that is blocked goes on; what cannot do without it waits. */
START_TEST(waiting_for_what_is_blocked) {
    struct service *after = add_service("after", "exec sleep 100", "After=a", NULL),
                   *both = add_service("both", "exec sleep 100", "After=a", "Requires=a", NULL),
                   *needs = add_service("needs", "exec sleep 100", "Requires=a", NULL),
                   *a = add_service("a", "exec sleep 100", "lock @/l:flock", NULL);
    pid_t holder = hold_lock("l");

    plan();
    service_order_start_all(t.manager);
    assert_state(a, SERVICE_BLOCKED);
    until(is(after, RUNNING) && is(needs, RUNNING));
    assert_state(both, SERVICE_WAITING);
    assert_text(both, "waits for a (Requires=), which is blocked: ");
    ck_assert_ptr_eq(service_order_waits_for(both), a);
    ck_assert_str_eq(service_state_shown(both->state), "starting");
    ck_assert_uint_eq(t.events[EVENT_SERVICE_WAITING], 1);
    ck_assert_int_eq(kill(holder, SIGKILL), 0);
    ck_assert_int_eq(waitpid(holder, NULL, 0), holder);
    until(is(a, RUNNING) && is(both, RUNNING));
    assert_text(both, "");
}
END_TEST

START_TEST(a_stop_reaches_who_requires_it) {
    struct service *b = add_service("b", DAEMON("b"), "After=a", "Requires=a", NULL),
                   *a = add_service("a", DAEMON("a"), NULL),
                   *other = add_service("other", "exec sleep 100", "After=a", NULL);

    plan();
    service_order_start_all(t.manager);
    until(strlen(story()) == 4 && is(other, RUNNING));
    service_ask(a, SERVICE_ON_STOP);
    ck_assert(service_order_is_pending(a));
    until(service_is_down(a));
    assert_state(a, SERVICE_STOPPED);
    assert_state(b, SERVICE_STOPPED);
    assert_state(other, SERVICE_RUNNING); /* it comes after it, and needs it not */
    ck_assert_str_eq(story() + 4, "b-a-");
    ck_assert_uint_eq(t.events[EVENT_FOLLOWS_REQUIRED], 1);

    service_ask(a, SERVICE_ON_START); /* this one alone, as it was asked for */
    until(is(a, RUNNING));
    (void) linger(100 * MSEC);
    assert_state(b, SERVICE_STOPPED);
    service_ask(a, SERVICE_ON_STOP);
    until(service_is_down(a));
    service_ask(b, SERVICE_ON_START); /* and this one brings up what it requires */
    until(is(a, RUNNING) && is(b, RUNNING));
}
END_TEST

START_TEST(a_restart_too) {
    struct service *b = add_service("b", DAEMON("b"), "After=a", "Requires=a", NULL),
                   *a = add_service("a", DAEMON("a"), NULL);

    plan();
    service_order_start_all(t.manager);
    until(strlen(story()) == 4);
    service_ask(a, SERVICE_ON_RESTART);
    assert_state(a, SERVICE_RUNNING);
    ck_assert(service_order_is_pending(a));
    assert_text(a, "is to be restarted once b has ended");
    until(strlen(story()) == 12);
    ck_assert_int_eq(strncmp(story() + 4, "b-a-", 4), 0);
    ck_assert_uint_eq(a->record.generation, 2);
    ck_assert_uint_eq(b->record.generation, 2);

    service_ask(b, SERVICE_ON_RESTART); /* leaves what it requires alone */
    until(strlen(story()) == 16);
    ck_assert_str_eq(story() + 12, "b-b+");

    service_ask(a, SERVICE_ON_STOP); /* the last word counts, also of what is pending */
    service_ask(b, SERVICE_ON_START);
    until(is(a, RUNNING) && is(b, RUNNING) && b->record.generation == 4);
    ck_assert_uint_eq(a->record.generation, 2);
}
END_TEST

START_TEST(a_crash_does_not) {
    struct service *a = add_service("a", "echo x >>@/a; exec sleep 100", "RestartSec=0", NULL),
                   *b = add_service("b", "exec sleep 100", "After=a", "Requires=a", NULL);

    plan();
    service_order_start_all(t.manager);
    until(is(b, RUNNING) && count_lines("a") == 1);
    ck_assert_int_eq(kill(a->record.main.pid, SIGKILL), 0);
    until(count_lines("a") == 2 && is(a, RUNNING));
    (void) linger(50 * MSEC);
    assert_state(b, SERVICE_RUNNING);
    ck_assert_uint_eq(b->record.generation, 1);
}
END_TEST

/* It fails for good: whoever requires it goes, the last one first, and comes back together with it. */
START_TEST(a_failure_for_good) {
    struct service *c = add_service("c", DAEMON("c"), "After=b", "Requires=b", NULL),
                   *b = add_service("b", DAEMON("b"), "After=a", "Requires=a", NULL),
                   *a = add_service("a", "exec sleep 100", "Restart=no", NULL);

    plan();
    service_order_start_all(t.manager);
    until(strlen(story()) == 4);
    ck_assert_int_eq(kill(a->record.main.pid, SIGKILL), 0);
    until(service_is_down(b) && service_is_down(c));
    assert_state(a, SERVICE_FAILED);
    assert_state(b, SERVICE_STOPPED);
    ck_assert_str_eq(story() + 4, "c-b-");
    assert_text(b, "a, which it requires (Requires=), has failed");
    ck_assert_uint_eq(t.events[EVENT_REQUIREMENT_UNMET], 2);

    service_ask(a, SERVICE_ON_START);
    until(strlen(story()) == 12);
    until(is(a, RUNNING) && is(b, RUNNING) && is(c, RUNNING));
}
END_TEST

START_TEST(what_never_comes_up) {
    struct service *b = add_service("b", "exec sleep 100", "After=a", "Requires=a", NULL),
                   *a = add_service("a", "!/nowhere/at/all", "Restart=no", NULL),
                   *lone = add_service("lone", "exec sleep 100", "Requires=b nobody", NULL);

    plan();
    service_order_start_all(t.manager);
    until(is(b, FAILED) && is(lone, FAILED));
    assert_state(a, SERVICE_FAILED);
    ck_assert_msg(strstr(b->failure.message, "a, which it requires (Requires=), has failed"), "%s",
                  b->failure.message);
    ck_assert_msg(strstr(lone->failure.message, "nobody, which it requires (Requires=), is not served"), "%s",
                  lone->failure.message);
    service_ask(b, SERVICE_ON_START);
    until(is(b, FAILED));
    service_order_stop_all(t.manager);
    until(is(a, STOPPED) && is(b, STOPPED) && is(lone, STOPPED));
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 0);
}
END_TEST

/* A new plan: what was after something is no longer. */
START_TEST(a_new_plan) {
    struct service *b = add_service("b", "exec sleep 100", "After=a", "Requires=a", NULL),
                   *a = add_service("a", "exec sleep 100", "lock @/l:flock", NULL);
    pid_t holder = hold_lock("l");
    _cleanup_err_ struct err err = {0};

    plan();
    service_order_start_all(t.manager);
    until(is(a, BLOCKED) && is(b, WAITING));
    ck_assert_int_eq(strlist_append(&a->config->after, NULL, strdup("b")), 0);
    ck_assert_int_eq(manager_plan_order(t.manager, &err), -EINVAL);
    (void) linger(20 * MSEC);
    assert_state(b, SERVICE_WAITING);
    a->config->after = strlist_free(a->config->after);
    b->config->after = strlist_free(b->config->after);
    b->config->requires = strlist_free(b->config->requires);
    plan();
    until(is(b, RUNNING));
    assert_state(a, SERVICE_BLOCKED);
    ck_assert_int_eq(kill(holder, SIGKILL), 0);
    ck_assert_int_eq(waitpid(holder, NULL, 0), holder);
}
END_TEST

/* Stopped since what it requires was stopped or has failed: the next latchd leaves it so, and tells no failure. */
START_TEST(unmet_outlives_latchd) {
    struct service *b = add_service("b", "exec sleep 100", "After=a", "Requires=a", NULL),
                   *a = add_service("a", "exec sleep 100", "Restart=no", NULL);
    unsigned told;

    plan();
    service_order_start_all(t.manager);
    until(is(a, RUNNING) && is(b, RUNNING));
    ck_assert_int_eq(kill(a->record.main.pid, SIGKILL), 0);
    until(is(a, FAILED) && is(b, STOPPED));
    until(!a->record_dirty && !b->record_dirty);
    told = t.events[EVENT_SERVICE_FAILED] + t.events[EVENT_REQUIREMENT_UNMET];
    t.manager = manager_free(t.manager);
    open_manager();
    b = add_service("b", "exec sleep 100", "After=a", "Requires=a", NULL);
    a = add_service("a", "exec sleep 100", "Restart=no", NULL);
    plan();
    a->resumed = service_adopt(a) > 0;
    b->resumed = service_adopt(b) > 0;
    service_order_start_all(t.manager);
    (void) linger(100 * MSEC);
    assert_state(a, SERVICE_FAILED);
    assert_state(b, SERVICE_STOPPED);
    assert_text(b, "a, which it requires (Requires=), was down before");
    ck_assert_uint_eq(t.events[EVENT_SERVICE_FAILED] + t.events[EVENT_REQUIREMENT_UNMET], told);
    service_ask(a, SERVICE_ON_START);
    until(is(a, RUNNING) && is(b, RUNNING));
    service_order_stop_all(t.manager);
    until(service_is_down(a) && service_is_down(b));
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, up_and_down);
    tcase_add_test(tests, waiting_for_what_is_blocked);
    tcase_add_test(tests, a_stop_reaches_who_requires_it);
    tcase_add_test(tests, a_restart_too);
    tcase_add_test(tests, a_crash_does_not);
    tcase_add_test(tests, a_failure_for_good);
    tcase_add_test(tests, what_never_comes_up);
    tcase_add_test(tests, a_new_plan);
    tcase_add_test(tests, unmet_outlives_latchd);
    return run_suite("service-order", tests);
}
