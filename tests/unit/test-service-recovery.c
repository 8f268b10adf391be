/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "service-fixture.h"

/* Services with something in the way, and supervisors that come and go. */

/* Takes the lock like a daemon; "leaves": and leaves a child that has the lock's descriptor, as Kea leaves
 * kea-lfc. */
#define TAKES_LOCK "exec 9<>@/l; flock -n 9 || exit 9; echo $$ >>@/starts; "
#define SLEEPS "exec sleep 100"
#define LEAVES(child) TAKES_LOCK "test -e @/children && " SLEEPS "; " child " & echo $! >>@/children; wait"
#define LOCK "lock @/l:flock"

static struct service *start(struct service *service) {
    service_handle(service, SERVICE_ON_START);
    return service;
}

static struct service *running(struct service *service) {
    start(service);
    until(service->state == SERVICE_RUNNING && count_lines("starts") > 0);
    return service;
}

/* The daemon is killed, and its child keeps the lock: the child gets its grace time and SIGTERM, and the
 * start follows at once. */
START_TEST(a_leftover_is_ended) {
    struct service *service = running(add_service("a", LEAVES("sleep 100"), LOCK, "OrphanGraceSec=200ms",
                                                  "Restart=always", "RestartSec=10ms", NULL));
    pid_t child;
    uint64_t before;

    until((child = read_pid("children")) > 0);
    before = now_usec(CLOCK_MONOTONIC);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_RECOVERING);
    ck_assert(is_alive(child));
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_uint_ge(now_usec(CLOCK_MONOTONIC) - before, 200 * MSEC);
    ck_assert(!is_alive(child));
    ck_assert_uint_eq(t.events[EVENT_LOCK_ORPHANED], 1);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 1);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_KILLED], 0);
    ck_assert_uint_eq(t.events[EVENT_RECOVERY_DONE], 1);
    ck_assert_uint_eq(t.events[EVENT_BLOCKED], 0);
    ck_assert_uint_ge(json_array_size(json_object_get(service->last_recovery, "actions")), 2);
    ck_assert(!lock_is_free("l"));
}
END_TEST

START_TEST(a_leftover_that_ends_by_itself) {
    struct service *service = running(add_service("a", LEAVES("sleep 0.5"), LOCK, "OrphanGraceSec=100s",
                                                  "Restart=always", "RestartSec=10ms", NULL));

    until(read_pid("children") > 0);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED] + t.events[EVENT_ORPHAN_KILLED], 0);
}
END_TEST

START_TEST(a_leftover_that_ignores_sigterm) {
    struct service *service =
        running(add_service("a", LEAVES("(trap '' TERM; exec sleep 100)"), LOCK, "OrphanGraceSec=0",
                            "OrphanKillSec=200ms", "Restart=always", "RestartSec=10ms", NULL));

    until(read_pid("children") > 0);
    (void) linger(100 * MSEC); /* for its trap */
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 1);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_KILLED], 1);
}
END_TEST

/* A daemon that forks twice ends as its parent sees it, and what goes on in the background is its leftover.
 */
START_TEST(a_daemon_that_forks_twice) {
    struct service *service =
        start(add_service("a", TAKES_LOCK "(sleep 100 & echo $! >>@/children) & wait; exit 0", LOCK,
                          "OrphanGraceSec=0", "Restart=no", NULL));
    pid_t grandchild;

    until(service->state == SERVICE_STOPPED && service->last_exit_usec != 0);
    grandchild = read_pid("children");
    ck_assert(is_alive(grandchild)); /* nobody asked for its end so far */
    ck_assert(!lock_is_free("l"));
    start(service);
    until(count_lines("starts") == 2);
    ck_assert(!is_alive(grandchild));
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 1);
}
END_TEST

START_TEST(policies) {
    static const char *const settings[] = {"OrphanPolicy=wait", "OrphanPolicy=fail"};
    struct service *service =
        running(add_service("a", LEAVES("sleep 100"), LOCK, settings[_i], "OrphanGraceSec=0",
                            "Restart=always", "RestartSec=10ms", "TimeoutStopSec=300ms", NULL));
    pid_t child;

    until((child = read_pid("children")) > 0);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == (_i == 0 ? SERVICE_RECOVERING : SERVICE_BLOCKED));
    ck_assert_uint_le(linger(300 * MSEC), 8); /* it does not spin */
    ck_assert(is_alive(child));
    assert_state(service, _i == 0 ? SERVICE_RECOVERING : SERVICE_BLOCKED);
    if (_i == 1)
        ck_assert_ptr_nonnull(strstr(service->blocked.message, "OrphanPolicy=fail"));
    ck_assert_int_eq(kill(child, SIGKILL), 0); /* somebody ends it: the start follows */
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
}
END_TEST

START_TEST(stopped_while_recovering) {
    struct service *service =
        running(add_service("a", LEAVES("sleep 100"), LOCK, "OrphanGraceSec=100s", "Restart=always",
                            "RestartSec=10ms", "TimeoutStopSec=2s", NULL));
    pid_t child;

    until((child = read_pid("children")) > 0);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_RECOVERING);
    service_handle(service, SERVICE_ON_STOP);
    assert_state(service, SERVICE_SWEEPING); /* for TimeoutStopSec= at most */
    until(service_is_down(service));
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    (void) linger(200 * MSEC);
    assert_state(service, SERVICE_STOPPED); /* nothing comes back */
    ck_assert_uint_eq(count_lines("starts"), 1);
    ck_assert_ptr_null(service->recovery_source);
    ck_assert_ptr_null(service->timer);
}
END_TEST

/* Another latchd's daemon, or one begun by hand. It is named, never touched, and the moment it goes the start
 * follows. Meanwhile hardly anything wakes up, and "since" stays. */
START_TEST(a_stranger_blocks) {
    pid_t stranger = hold_lock("l");
    struct service *service = start(add_service("a", TAKES_LOCK SLEEPS, LOCK, NULL));
    uint64_t since = service->state_since_usec, before;
    char pid[32];

    assert_state(service, SERVICE_BLOCKED);
    ck_assert_str_eq(service->blocked.name, "Held");
    snprintf(pid, sizeof pid, "PID %d", (int) stranger);
    ck_assert_msg(strstr(service->blocked.message, pid), "%s", service->blocked.message);
    ck_assert_ptr_nonnull(strstr(service->blocked.message, in("l")));
    (void) linger(1200 * MSEC); /* it looked again */
    assert_state(service, SERVICE_BLOCKED);
    ck_assert_uint_eq(service->state_since_usec, since);
    ck_assert_uint_eq(t.events[EVENT_BLOCKED], 1);
    ck_assert(is_alive(stranger));
    before = now_usec(CLOCK_MONOTONIC);
    ck_assert_int_eq(kill(stranger, SIGKILL), 0);
    until(service->state == SERVICE_RUNNING);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 400 * MSEC); /* not by the clock */
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED] + t.events[EVENT_ORPHAN_KILLED], 0);
}
END_TEST

START_TEST(stopped_while_blocked) {
    pid_t stranger = hold_lock("l");
    struct service *service = start(add_service("a", TAKES_LOCK SLEEPS, LOCK, NULL));

    assert_state(service, SERVICE_BLOCKED);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    assert_state(service, SERVICE_STOPPED);
    ck_assert_ptr_null(service->blocked.message);
    ck_assert(is_alive(stranger));
    ck_assert_int_eq(kill(stranger, SIGKILL), 0);
    (void) linger(200 * MSEC);
    assert_state(service, SERVICE_STOPPED);
    ck_assert_uint_eq(count_lines("starts"), 0);
}
END_TEST

/* Two services of one latchd: each one's leftovers are its own. */
START_TEST(two_services) {
    struct service *a =
                       add_service("a", TAKES_LOCK SLEEPS, LOCK, "OrphanGraceSec=0", "RestartSec=10ms", NULL),
                   *b = add_service(
                       "b", "exec 8<>@/m; flock -n 8 || exit 9; sleep 100 & echo $! >>@/children; wait",
                       "lock @/m:flock", "OrphanPolicy=wait", "OrphanGraceSec=0", "Restart=no",
                       "TimeoutStopSec=100ms", NULL);
    pid_t child;

    start(b);
    until((child = read_pid("children")) > 0);
    ck_assert_int_eq(kill(b->record.main.pid, SIGKILL), 0);
    until(b->state == SERVICE_FAILED);
    /* Now a is told to guard the lock that the leftover of b has. */
    free(a->config->locks[0]->path);
    a->config->locks[0]->path = strdup(in("m"));
    a->record.main = b->record.main; /* dead for sure */
    start(a);
    assert_state(a, SERVICE_BLOCKED);
    (void) linger(300 * MSEC);
    ck_assert(is_alive(child));
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 0);
}
END_TEST

/* A process that has the lock from one that took it and is dead, and whose environment says nothing. */
static pid_t hold_lock_of_the_dead(struct process_id *ret_dead) {
    _cleanup_close_ int proc_fd = procfs_open(), pidfd = -EBADF;
    pid_t locker, holder = 0;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    locker = fork();
    if (locker == 0) {
        static char *const argv[] = {(char *) "sleep", (char *) "100", NULL};
        static char *const environment[] = {NULL};
        int fd = open(in("l"), O_RDWR | O_CREAT, 0644);

        /* As latchd begins its daemons, in a session of its own. */
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || setsid() < 0)
            _exit(1);
        holder = fork();
        if (holder == 0) {
            (void) execve("/bin/sleep", argv, environment);
            _exit(1);
        }
        if (write(ends[1], &holder, sizeof holder) == sizeof holder)
            (void) pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ends[0], &holder, sizeof holder), sizeof holder);
    close(ends[1]);
    pidfd = process_pin(proc_fd, locker, ret_dead);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(kill(locker, SIGKILL), 0);
    ck_assert_int_eq(waitpid(locker, NULL, 0), locker);
    ck_assert_int_eq(read(ends[0], &(char){0}, 1), 0); /* the holder has been executed */
    close(ends[0]);
    return holder;
}

/* What was our child before we began is no leftover, though it has the lock and the daemon is dead. What came
 * to us since then can only come from the one service. */
START_TEST(children_from_before) {
    bool before = _i == 0;
    struct process_id dead;
    struct service *service;
    pid_t holder;

    t.manager = manager_free(t.manager);
    if (!before)
        open_manager();
    holder = hold_lock_of_the_dead(&dead);
    if (before)
        open_manager();
    ck_assert_int_eq(t.manager->had_children, before);
    service = add_service("a", TAKES_LOCK SLEEPS, LOCK, "OrphanGraceSec=0", NULL);
    service->record.main = dead;
    start(service);
    if (before) {
        assert_state(service, SERVICE_BLOCKED);
        ck_assert_str_eq(service->blocked.name, "Blocked");
        (void) linger(300 * MSEC);
        assert_state(service, SERVICE_BLOCKED);
        ck_assert(is_alive(holder));
    } else {
        until(service->state == SERVICE_RUNNING);
        ck_assert(!is_alive(holder));
        ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_ORPHAN_TERMINATED], "descend"));
    }
}
END_TEST

/* Of two leftovers one has ended: nothing spins while the other is waited for. */
START_TEST(one_of_two) {
    struct service *service =
        running(add_service("a", LEAVES("sleep 100 & sleep 2"), LOCK, "OrphanPolicy=wait", "Restart=always",
                            "RestartSec=10ms", "TimeoutStopSec=100ms", NULL));

    until(read_pid("children") > 0);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_RECOVERING);
    ck_assert_uint_eq(service->recovery.n_watches, 2);
    until(service->recovery.n_watches == 1);
    ck_assert_uint_le(linger(300 * MSEC), 8);
    assert_state(service, SERVICE_RECOVERING);
}
END_TEST

/* ---- the supervisor ends, and another one comes ---- */

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
    (void) source;
    (void) usec;
    (void) userdata;
    return kill(getpid(), SIGTERM) < 0 ? -errno : 0;
}

static void run_and_terminate(uint64_t after_usec) {
    sd_event_source *source = NULL;
    _cleanup_err_ struct err err = {0};
    int r;

    ck_assert_int_ge(
        sd_event_add_time_relative(t.manager->event, &source, CLOCK_MONOTONIC, after_usec, 1, on_time, NULL),
        0);
    r = manager_run(t.manager, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
    sd_event_source_disable_unref(source);
}

/* SIGTERM with every start at another point. */
START_TEST(terminated_during_start) {
    add_service("a", "echo $$ >>@/starts; exec sleep 100", NULL);
    add_service("b", "exec sleep 100", "socket @/s", "Type=socket", NULL);
    add_service("c", "exit 1", "RestartSec=100s", NULL);
    add_service("d", "trap '' TERM; while :; do sleep 0.02; done", "TimeoutStopSec=200ms", NULL);
    run_and_terminate((uint64_t) _i * 4 * MSEC);
    for (size_t i = 0; i < t.manager->n_services; i++) {
        ck_assert(service_is_down(t.manager->services[i]));
        ck_assert_int_lt(t.manager->services[i]->main_pidfd, 0);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) /* what is left are those that SIGKILL made orphans */
        ;
}
END_TEST

/* Nothing to do: SIGTERM ends it all the same. */
START_TEST(terminated_when_all_is_down) {
    add_service("a", "exit 0", "Restart=no", NULL);
    run_and_terminate(300 * MSEC);
    assert_state(t.manager->services[0], SERVICE_STOPPED);
}
END_TEST

START_TEST(terminated_while_blocked) {
    pid_t stranger = hold_lock("l");

    add_service("a", TAKES_LOCK SLEEPS, LOCK, NULL);
    run_and_terminate(50 * MSEC);
    assert_state(t.manager->services[0], SERVICE_STOPPED);
    ck_assert(is_alive(stranger));
}
END_TEST

/* A latchd that dies leaves its daemon running; the next one takes it over, and is its supervisor in full. */
START_TEST(taken_over) {
    struct service *service =
        running(add_service("a", TAKES_LOCK SLEEPS, LOCK, "Restart=always", "RestartSec=10ms", NULL));
    struct process_id daemon = service->record.main;

    t.manager = manager_free(t.manager);
    open_manager();
    service = add_service("a", TAKES_LOCK SLEEPS, LOCK, "Restart=always", "RestartSec=10ms", NULL);
    ck_assert_int_eq(service_adopt(service), 1);
    until(service->state == SERVICE_RUNNING);
    ck_assert(process_id_equal(&service->record.main, &daemon));
    ck_assert_uint_eq(service->record.generation, 1);
    ck_assert_uint_eq(count_lines("starts"), 1);
    ck_assert_uint_eq(t.events[EVENT_ADOPTED], 1);

    ck_assert_int_eq(kill(daemon.pid, SIGKILL), 0);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert(service->last_exit.known); /* it is our child, as it was the other's */
    ck_assert_int_eq(service->last_exit.status, SIGKILL);
    ck_assert_uint_eq(service->record.generation, 2);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
}
END_TEST

START_TEST(taken_over_and_stopped) {
    struct service *service = running(add_service("a", TAKES_LOCK SLEEPS, LOCK, NULL));
    pid_t daemon = service->record.main.pid;

    t.manager = manager_free(t.manager);
    open_manager();
    service = add_service("a", TAKES_LOCK SLEEPS, LOCK, NULL);
    run_and_terminate(100 * MSEC);
    ck_assert(!is_alive(daemon));
    ck_assert_uint_eq(count_lines("starts"), 1);
    ck_assert_uint_eq(t.events[EVENT_ADOPTED], 1);
}
END_TEST

/* The daemon died with its latchd, or after: what it left is ended by the next one, which is not its parent.
 */
START_TEST(leftovers_of_another_time) {
    struct service *service = running(add_service("a", LEAVES("sleep 100"), LOCK, "OrphanGraceSec=0", NULL));
    pid_t daemon = service->record.main.pid, child;

    until((child = read_pid("children")) > 0);
    linger(20 * MSEC); /* that it runs is written down with the end of a turn */
    t.manager = manager_free(t.manager);
    ck_assert_int_eq(kill(daemon, SIGKILL), 0);
    ck_assert_int_eq(waitpid(daemon, NULL, 0), daemon);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    open_manager();
    t.manager->subreaper = false; /* then only its marks prove that it is ours */
    service = add_service("a", LEAVES("sleep 100"), LOCK, "OrphanGraceSec=0", NULL);
    ck_assert_int_eq(service_adopt(service), 1);
    ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], 1);
    start(service);
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    until(!is_alive(child));
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_ORPHAN_TERMINATED], "invocation"));
}
END_TEST

static void leave_stale(const char *pidfile, const char *socket_name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    FILE *file = fopen(in(pidfile), "we");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
    pid_t dead = fork();

    if (dead == 0)
        _exit(0);
    ck_assert(dead > 0 && waitpid(dead, &status, 0) == dead);
    ck_assert(file && fprintf(file, "%d\n", (int) dead) > 0 && fclose(file) == 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", in(socket_name));
    ck_assert(fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof address) == 0);
    fd_close(fd);
}

/* Files of the dead alone hold nothing up: not even for a turn of the loop. */
START_TEST(only_stale_files) {
    struct service *service = add_service("a", SLEEPS, "lock @/p:pidfile", "socket @/s", NULL);

    leave_stale("p", "s");
    start(service);
    assert_state(service, SERVICE_STARTING);
    ck_assert_int_lt(access(in("p"), F_OK), 0);
    ck_assert_int_lt(access(in("s"), F_OK), 0);
    ck_assert_uint_eq(t.events[EVENT_STALE_CLEARED], 2);
    ck_assert_uint_eq(t.events[EVENT_RECOVERY_DONE], 1);
    until(service->state == SERVICE_RUNNING);
}
END_TEST

/* Its daemon dies and leaves files; the next is started at once, or fails to. */
static struct service *crash_over_stale_files(const char *program) {
    struct service *service = start(
        add_service("a", program, "lock @/p:pidfile", "socket @/s", "Restart=always", "RestartSec=0", NULL));

    until(service->state == SERVICE_RUNNING);
    leave_stale("p", "s");
    return service;
}

static void assert_told_before(enum event_id what) {
    ck_assert_uint_eq(t.events[EVENT_STALE_CLEARED], 2);
    ck_assert_uint_eq(t.events[EVENT_RECOVERY_DONE], 1);
    ck_assert_uint_lt(t.last_place[EVENT_STALE_CLEARED], t.last_place[EVENT_RECOVERY_DONE]);
    ck_assert_uint_lt(t.last_place[EVENT_RECOVERY_DONE], t.last_place[what]);
    ck_assert_uint_eq(t.last_generation[EVENT_STALE_CLEARED], 1);
    ck_assert_uint_eq(t.last_generation[EVENT_RECOVERY_DONE], 1);
}

/* What was cleared is told in its order, and as of the generation that left it. */
START_TEST(told_before_a_restart) {
    struct service *service = crash_over_stale_files(SLEEPS);
    json_t *actions;

    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(t.events[EVENT_SERVICE_STARTING] == 2);
    assert_told_before(EVENT_SERVICE_STARTING);
    ck_assert_uint_eq(t.last_generation[EVENT_SERVICE_STARTING], 2);
    actions = json_object_get(service->last_recovery, "actions");
    ck_assert_uint_eq(json_array_size(actions), 2);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(json_array_get(actions, 0), "text")), "Removed"));
    until(service->state == SERVICE_RUNNING);
}
END_TEST

START_TEST(told_before_a_restart_that_fails) {
    FILE *file = fopen(in("sleeper"), "we");
    struct service *service;

    ck_assert(file && fputs("#!/bin/sh\nexec sleep 1000\n", file) >= 0 && fchmod(fileno(file), 0755) == 0);
    ck_assert_int_eq(fclose(file), 0);
    service = crash_over_stale_files("!@/sleeper");
    ck_assert_int_eq(unlink(in("sleeper")), 0);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(t.events[EVENT_EXEC_FAILED] == 1);
    assert_told_before(EVENT_EXEC_FAILED);
}
END_TEST

/* They are removed while a leftover is waited for, which still holds the start up. */
START_TEST(stale_files_beside_a_leftover) {
    struct service *service =
        running(add_service("a", LEAVES("sleep 100"), LOCK, "lock @/p:pidfile", "OrphanGraceSec=100s",
                            "Restart=always", "RestartSec=10ms", NULL));
    pid_t child;

    until((child = read_pid("children")) > 0);
    leave_stale("p", "s");
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(t.events[EVENT_STALE_CLEARED] == 1);
    ck_assert_int_lt(access(in("p"), F_OK), 0);
    (void) linger(200 * MSEC);
    ck_assert_msg(service->state == SERVICE_RECOVERING, "%s", err_text(&service->blocked));
    ck_assert(is_alive(child));
    ck_assert_uint_eq(count_lines("starts"), 1);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
}
END_TEST

/* A User= that latchd is already: what it runs is as much the service's as under another. */
START_TEST(own_user) {
    char setting[32];
    struct recovery_host host;

    snprintf(setting, sizeof setting, "User=%d", (int) geteuid());
    host = service_recovery_host(add_service("a", SLEEPS, setting, NULL));
    ck_assert_int_eq((int) host.leftover.uid, (int) geteuid());
    host = service_recovery_host(add_service("b", SLEEPS, NULL));
    ck_assert_int_eq((int) host.leftover.uid, (int) geteuid());
}
END_TEST

/* A second latchd for the same service is told who serves it. */
START_TEST(served_already) {
    struct service *service = add_service("a", "exit 0", NULL), *other = NULL;
    struct service_config *config = NULL;
    const struct config_option option = {"name", "a"};
    struct config_problems problems = {0};
    _cleanup_err_ struct err err = {0};
    char pid[32];

    ck_assert_int_eq(service_config_from_options(&option, 1, (char *[]){(char *) "/bin/true", NULL}, NULL,
                                                 &problems, &config),
                     0);
    ck_assert_int_eq(manager_add(t.manager, t.run, config, &other, &err), -EBUSY);
    ck_assert_str_eq(err.name, "Held");
    snprintf(pid, sizeof pid, "PID %d", (int) getpid());
    ck_assert_ptr_nonnull(strstr(err.message, pid));
    ck_assert_ptr_eq(manager_find(t.manager, "a"), service);
    ck_assert_ptr_null(manager_find(t.manager, "b"));
    service_config_free(config);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, a_leftover_is_ended);
    tcase_add_test(tests, a_leftover_that_ends_by_itself);
    tcase_add_test(tests, a_leftover_that_ignores_sigterm);
    tcase_add_test(tests, a_daemon_that_forks_twice);
    tcase_add_loop_test(tests, policies, 0, 2);
    tcase_add_test(tests, stopped_while_recovering);
    tcase_add_test(tests, a_stranger_blocks);
    tcase_add_test(tests, stopped_while_blocked);
    tcase_add_test(tests, two_services);
    tcase_add_loop_test(tests, children_from_before, 0, 2);
    tcase_add_test(tests, one_of_two);
    tcase_add_loop_test(tests, terminated_during_start, 0, 8);
    tcase_add_test(tests, terminated_when_all_is_down);
    tcase_add_test(tests, terminated_while_blocked);
    tcase_add_test(tests, taken_over);
    tcase_add_test(tests, taken_over_and_stopped);
    tcase_add_test(tests, leftovers_of_another_time);
    tcase_add_test(tests, served_already);
    tcase_add_test(tests, only_stale_files);
    tcase_add_test(tests, told_before_a_restart);
    tcase_add_test(tests, told_before_a_restart_that_fails);
    tcase_add_test(tests, stale_files_beside_a_leftover);
    tcase_add_test(tests, own_user);
    return run_suite("service-recovery", tests);
}
