/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A manager goes without a word, as if killed, and another one comes: whatever was under way goes on. */

#include "service-fixture.h"

#include <signal.h>
#include <sys/prctl.h>

#include "base/process-exit.h"

#define SLEEPS "echo $$ >>@/starts; exec sleep 100"
/* Notes each SIGTERM, and does not go. */
#define STUBBORN                                                                                             \
    "trap 'echo >>@/terms' TERM; echo $$ >>@/starts; while :; do read -r x <@/never & wait $!; done"

static struct service *settle(struct service *service) {
    until(!service->record_dirty); /* written down: what was killed had its moment of quiet */
    return service;
}

static struct service *start_one(const char *script, const char *set, const char *more) {
    struct service *service = add_service("a", script, set, more, NULL);

    service_handle(service, SERVICE_ON_START);
    return service;
}

/* The next latchd's service, adopted; *ret is what service_adopt() said. */
static struct service *next_latchd(const char *script, const char *set, const char *more, int *ret) {
    struct service *service;

    t.manager = manager_free(t.manager);
    open_manager();
    service = add_service("a", script, set, more, NULL);
    *ret = service_adopt(service);
    return service;
}

static pid_t main_of(const struct service *service) {
    return service->record.main.pid;
}

START_TEST(running) {
    struct service *service = settle(start_one(SLEEPS, "Restart=always", "TimeoutStopSec=5s"));
    struct process_id daemon;
    uint64_t since;
    int r;

    until(service->state == SERVICE_RUNNING);
    settle(service);
    daemon = service->record.main;
    since = service->state_since_usec;
    service = next_latchd(SLEEPS, "Restart=always", "TimeoutStopSec=5s", &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(service->state_since_usec, since);
    ck_assert(process_id_equal(&service->record.main, &daemon));
    ck_assert_uint_eq(service->record.generation, 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 1); /* not told twice */
    ck_assert_ptr_null(service->timer);
    (void) linger(50 * MSEC);
    ck_assert_uint_eq(count_lines("starts"), 1);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
    ck_assert(service->last_exit.known);
}
END_TEST

/* Its record is lost while it lives, and the note in NAME.lock with it: nothing is started beside it, nor by the latchd
 * after that, until it ends. */
static void lose_record(const char *text) {
    struct service *service = settle(start_one(SLEEPS, "Restart=always", "TimeoutStopSec=5s"));
    _cleanup_free_ char *state = strdup(in("run/a.state"));
    pid_t pid;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    settle(service);
    service_config_free(service->next_config);
    service->next_config = NULL;
    pid = main_of(service);
    (void) linger(100 * MSEC); /* the shell is sleep by now */
    t.manager = manager_free(t.manager);
    for (int i = 0; i < 2; i++) {
        int r;

        open_manager();
        if (i == 0) {
            ck_assert_int_eq(unlink(state), 0);
            ck_assert_int_eq(truncate(in("run/a.lock"), 0), 0);
            if (text) {
                _cleanup_fclose_ FILE *file = fopen(state, "we");

                ck_assert(file && fputs(text, file) >= 0);
            }
        }
        service = add_service("a", "!/bin/sleep", "Restart=always", NULL);
        r = service_adopt(service);
        ck_assert_int_eq(r, 0);
        service_handle(service, SERVICE_ON_START);
        assert_state(service, SERVICE_BLOCKED);
        ck_assert_ptr_nonnull(strstr(service->blocked.message, i == 1 ? "one of no daemon" : text ? "damaged" : "missing"));
        ck_assert_ptr_nonnull(strstr(service->blocked.message, "end it (kill "));
        settle(service);
        ck_assert(is_alive(pid));
        if (i == 0)
            t.manager = manager_free(t.manager);
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    until(service->state != SERVICE_BLOCKED);
    ck_assert(!is_alive(pid));
}

/* NAME.lock says who the daemon is, too: it is taken over. */
START_TEST(record_is_noted) {
    struct service *service = settle(start_one(SLEEPS, "Restart=always", "TimeoutStopSec=5s"));
    struct process_id daemon;
    int r;

    until(service->state == SERVICE_RUNNING);
    until(count_lines("starts") == 1);
    settle(service);
    daemon = service->record.main;
    ck_assert_int_eq(unlink(in("run/a.state")), 0);
    service = next_latchd(SLEEPS, "Restart=always", "TimeoutStopSec=5s", &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_RUNNING);
    ck_assert(process_id_equal(&service->record.main, &daemon));
    ck_assert_uint_eq(service->record.generation, 1);
    ck_assert_uint_eq(count_lines("starts"), 1);
    service_handle(service, SERVICE_ON_STOP);
    until(service_is_down(service));
}
END_TEST

START_TEST(record_is_missing) {
    lose_record(NULL);
}
END_TEST

/* A service of the same name in another runtime directory is another one, for `latchd exec` as well. */
START_TEST(another_directory) {
    struct service *service = settle(start_one(SLEEPS, "Restart=always", "TimeoutStopSec=5s"));
    struct recovery_host host;
    struct service_record record;
    _cleanup_err_ struct err err = {0};
    pid_t pid;
    int r;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    settle(service);
    service_config_free(service->next_config);
    service->next_config = NULL;
    pid = main_of(service);
    (void) linger(100 * MSEC);
    t.manager = manager_free(t.manager);
    snprintf(t.run, sizeof t.run, "%s/other", t.directory);
    open_manager();
    service = add_service("a", "!/bin/sleep", "Restart=no", NULL);
    r = service_adopt(service);
    ck_assert_int_eq(r, 0);
    r = recovery_host_init_offline(&host, service->config, t.manager->runtime_dir_fd, t.manager->proc_fd, t.log,
                                   &record, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
    ck_assert_int_eq(host.unrecorded.id.pid, 0);
    service_handle(service, SERVICE_ON_START);
    ck_assert_ptr_null(service->blocked.message);
    until(service->record.generation == 1);
    ck_assert(is_alive(pid));
}
END_TEST

START_TEST(record_is_damaged) {
    lose_record("garbage\n");
}
END_TEST

/* It goes on starting, with what is left of its time. */
START_TEST(starting) {
    struct service *service = start_one(SLEEPS, "socket @/s", "TimeoutStartSec=2s");
    uint64_t until_usec, since;
    int r;

    service->config->type = SERVICE_TYPE_SOCKET;
    until(count_lines("starts") == 1);
    until(service->record.executed && !service->record_dirty);
    assert_state(service, SERVICE_STARTING);
    until_usec = service->timer_until_usec;
    since = service->state_since_usec;
    t.manager = manager_free(t.manager);
    open_manager();
    service = add_service("a", SLEEPS, "socket @/s", "TimeoutStartSec=2s", "Restart=no", NULL);
    service->config->type = SERVICE_TYPE_SOCKET;
    r = service_adopt(service);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_STARTING);
    ck_assert_uint_eq(service->state_since_usec, since);
    ck_assert_ptr_nonnull(service->timer);
    ck_assert_uint_le(service->timer_until_usec, until_usec + 50 * MSEC);
    ck_assert_uint_ge(service->timer_until_usec + 50 * MSEC, until_usec);
    until(service->state == SERVICE_FAILED); /* it never gets ready, and that is a failure all the same */
    ck_assert_uint_eq(t.events[EVENT_READY_TIMEOUT], 1);
}
END_TEST

/* Asked to stop, it stops: with the rest of its time until SIGKILL, and stays down, or comes back if that was
 * asked for. */
START_TEST(stopping) {
    struct service *service;
    uint64_t until_usec;
    int r;

    ck_assert_int_eq(mkfifo(in("never"), 0600), 0);
    service = start_one(STUBBORN, "Restart=always", "TimeoutStopSec=2s");
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    service_handle(service, _i ? SERVICE_ON_RESTART : SERVICE_ON_STOP);
    until_usec = service->timer_until_usec;
    /* Killed right here: what the signal needs to be known for was written before it was sent. */
    service = next_latchd(STUBBORN, "Restart=always", "TimeoutStopSec=2s", &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_STOPPING);
    ck_assert_uint_le(service->timer_until_usec, until_usec + 50 * MSEC);
    ck_assert_uint_ge(service->timer_until_usec + 50 * MSEC, until_usec);
    if (_i) {
        until(service->state == SERVICE_RUNNING);
        until(count_lines("starts") == 2);
    } else {
        until(service_is_down(service));
        assert_state(service, SERVICE_STOPPED);
        settle(service);
        service = next_latchd(STUBBORN, "Restart=always", "TimeoutStopSec=2s", &r);
        ck_assert_int_eq(r, 1);
        assert_state(service, SERVICE_STOPPED);
        ck_assert_uint_eq(t.events[EVENT_STATE_RESUMED], 1);
        ck_assert_uint_eq(count_lines("starts"), 1);
        service_handle(service, SERVICE_ON_START);
        until(service->state == SERVICE_RUNNING);
        settle(service);
        ck_assert(!service->record.stays_down);
    }
}
END_TEST

/* The delay was the third in a row: its rest is waited for, and the next one is the fourth. */
START_TEST(backing_off) {
    struct service *service = start_one("echo >>@/starts; exit 1", "Restart=always", "RestartSec=200ms");
    uint64_t until_usec, restarts;
    int r;

    until(count_lines("starts") == 3 && service->state == SERVICE_BACKOFF);
    settle(service);
    until_usec = service->timer_until_usec;
    restarts = service->record.restarts;
    ck_assert_uint_eq(service->history.in_a_row, 3);
    service = next_latchd("echo >>@/starts; exit 1", "Restart=always", "RestartSec=200ms", &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_BACKOFF);
    ck_assert_uint_le(service->timer_until_usec, until_usec + 50 * MSEC);
    ck_assert_uint_ge(service->timer_until_usec + 50 * MSEC, until_usec);
    ck_assert_uint_eq(service->record.restarts, restarts);
    ck_assert_uint_eq(service->history.in_a_row, 3);
    ck_assert(service->last_exit.known && service->last_exit.status == 1);
    until(count_lines("starts") == 4 && service->state == SERVICE_BACKOFF);
    ck_assert_uint_eq(service->history.in_a_row, 4);
}
END_TEST

/* latchd and daemon die together, again and again: the delay grows as if latchd had lived. */
START_TEST(crash_loop_of_both) {
    struct service *service = NULL;
    int r;

    for (unsigned i = 0; i < 4; i++) {
        if (i == 0) {
            service = start_one(SLEEPS, "Restart=always", "RestartSec=20ms");
        } else {
            service = next_latchd(SLEEPS, "Restart=always", "RestartSec=20ms", &r);
            ck_assert_int_eq(r, 1);
            assert_state(service, SERVICE_BACKOFF);
            ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], i);
            ck_assert_uint_eq(service->history.in_a_row, i);
            ck_assert_uint_eq(service->record.restarts, i);
            ck_assert(!service->last_exit.known);
        }
        until(service->state == SERVICE_RUNNING && count_lines("starts") == i + 1);
        settle(service);
        ck_assert_int_eq(kill(main_of(service), SIGKILL), 0);
        ck_assert_int_eq(waitpid(main_of(service), NULL, 0), main_of(service));
    }
}
END_TEST

/* It ended, and is still to be reaped by this very process: after the successor of a reexec has begun. */
START_TEST(zombie_child) {
    struct service *service = start_one(SLEEPS, "Restart=no", NULL);
    int r;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    settle(service);
    ck_assert_int_eq(kill(main_of(service), SIGABRT), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t) main_of(service), &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    service = next_latchd(SLEEPS, "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 1);
    until(service->state == SERVICE_FAILED);
    ck_assert(service->last_exit.known);
    ck_assert_int_eq(service->last_exit.status, SIGABRT);
    ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], 0);
}
END_TEST

/* Policy after an end that nobody saw: Restart=no leaves it down, and so does the latchd after that. */
START_TEST(unwatched_without_restart) {
    struct service *service = start_one(SLEEPS, "Restart=no", NULL);
    int r;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    settle(service);
    ck_assert_int_eq(kill(main_of(service), SIGTERM), 0);
    ck_assert_int_eq(waitpid(main_of(service), NULL, 0), main_of(service));
    service = next_latchd(SLEEPS, "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_FAILED);
    ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_FAILED], 1);
    settle(service);
    service = next_latchd(SLEEPS, "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_FAILED);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_FAILED], 1); /* told of once */
    ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], 1);
    ck_assert_ptr_nonnull(
        strstr(service->failure.message, "; Restart=no does not restart it; once mended: latchctl start a"));
}
END_TEST

/* The child was forked, and died with its latchd before it was the daemon: nothing has ended. */
START_TEST(never_executed) {
    struct service *service = start_one(SLEEPS, "Restart=no", NULL);
    struct service_record record;
    int r;

    until(service->state == SERVICE_RUNNING);
    settle(service);
    record = service->record;
    ck_assert(record.executed);
    ck_assert_int_eq(kill(record.main.pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(record.main.pid, NULL, 0), record.main.pid);
    strcpy(record.state, "starting");
    record.executed = false;
    ck_assert_int_eq(state_file_write(t.manager->runtime_dir_fd, "a", &record, NULL), 0);
    (void) next_latchd(SLEEPS, "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(t.events[EVENT_ENDED_UNWATCHED], 0);
}
END_TEST

/* It ended in good order, or was started too often: the next latchd knows why it is down, or waits. */
START_TEST(why_it_is_down) {
    static const struct {
        const char *script, *setting;
        enum service_state state;
        const char *why;
    } rows[] = {
        {"exit 0", "Restart=on-failure", SERVICE_STOPPED,
         "the daemon ended by itself with status 0; Restart=on-failure does not restart it; latchctl start "
         "a"},
        {"exit 3", "StartLimitIntervalSec=infinity", SERVICE_FAILED,
         "the daemon exited with status 3. Started too often (StartLimitBurst=1 within "
         "StartLimitIntervalSec=infinity): "
         "not started again by itself; once mended: latchctl start a"},
        {"exit 3", "StartLimitIntervalSec=1h", SERVICE_BACKOFF,
         "the daemon exited with status 3; started too often (StartLimitBurst=1 within "
         "StartLimitIntervalSec=1h); next try at "},
    };
    struct service *service = start_one(rows[_i].script, rows[_i].setting, "StartLimitBurst=1");
    int r;

    until(service->state == rows[_i].state && service->last_exit_usec > 0);
    settle(service);
    service = next_latchd(rows[_i].script, rows[_i].setting, "StartLimitBurst=1", &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, rows[_i].state);
    assert_why(service, rows[_i].why, rows[_i].state != SERVICE_BACKOFF);
}
END_TEST

/* The machine was started anew meanwhile: nothing of it counts. */
START_TEST(another_boot) {
    struct service *service = start_one("exit 1", "Restart=no", NULL);
    struct service_record record;
    int r;

    until(service->state == SERVICE_FAILED);
    settle(service);
    record = service->record;
    strcpy(record.state_boot_id, "00000000-0000-0000-0000-000000000000");
    ck_assert_int_eq(state_file_write(t.manager->runtime_dir_fd, "a", &record, NULL), 0);
    service = next_latchd("exit 1", "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 0);
    ck_assert(!service->down_wanted);
    ck_assert_uint_eq(service->record.generation, 1);
}
END_TEST

/* A record of another version that says less: the daemon is taken over as ever. */
START_TEST(older_file) {
    struct service *service = start_one(SLEEPS, "Restart=no", NULL);
    struct service_record record;
    int r;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    settle(service);
    record = service->record;
    state_record_forget_state(&record);
    ck_assert_int_eq(state_file_write(t.manager->runtime_dir_fd, "a", &record, NULL), 0);
    service = next_latchd(SLEEPS, "Restart=no", NULL, &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_int_eq(main_of(service), record.main.pid);
}
END_TEST

/* A later version's file: nothing is started by itself, and the file is left as it is. */
START_TEST(newer_file) {
    static const char text[] = "{\"schema\": 99, \"mainPid\": 4711}";
    _cleanup_free_ char *left = NULL;
    struct service *service;
    int r, fd;

    ck_assert_int_ge(fd = openat(t.manager->runtime_dir_fd, "a.state", O_WRONLY | O_CREAT | O_CLOEXEC, 0644),
                     0);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    close(fd);
    service = next_latchd(SLEEPS, "Restart=always", NULL, &r);
    ck_assert_int_eq(r, 1);
    assert_state(service, SERVICE_FAILED);
    ck_assert_ptr_nonnull(strstr(service->failure.message, "4711"));
    ck_assert_uint_eq(t.events[EVENT_STATE_REJECTED], 1);
    (void) linger(50 * MSEC);
    ck_assert_int_eq(fd_read_file_at(t.manager->runtime_dir_fd, "a.state", 4096, &left, NULL), 0);
    ck_assert_str_eq(left, text);
    service_handle(service, SERVICE_ON_START); /* somebody knows better */
    until(service->state == SERVICE_RUNNING);
}
END_TEST

/* Numbers from a forged file make nobody wait for ever. */
START_TEST(forged_times) {
    struct service *service = start_one("exit 1", "Restart=always", "RestartMaxDelaySec=1s");
    struct service_record record;
    int r;

    until(service->state == SERVICE_BACKOFF);
    settle(service);
    record = service->record;
    record.state_until_usec = record.state_since_usec = record.limit_window_usec = INT64_MAX;
    record.restarts_in_a_row = record.limit_starts = INT64_MAX;
    ck_assert_int_eq(state_file_write(t.manager->runtime_dir_fd, "a", &record, NULL), 0);
    service = next_latchd("exit 1", "Restart=always", "RestartMaxDelaySec=1s", &r);
    ck_assert_int_eq(r, 1);
    ck_assert_uint_le(service->timer_until_usec, now_usec(CLOCK_BOOTTIME) + 10 * USEC_PER_SEC);
    ck_assert_uint_le(service->state_since_usec, now_usec(CLOCK_REALTIME));
    ck_assert_uint_eq(service->history.in_window, 0);
}
END_TEST

/* latchd's own end in good order is nobody's wish that the service stay down. */
START_TEST(ended_in_good_order) {
    _cleanup_err_ struct err err = {0};
    int r;

    add_service("a", SLEEPS, NULL);
    ck_assert_int_eq(kill(getpid(), SIGTERM), 0); /* handled when it is being started */
    ck_assert_int_eq(manager_run(t.manager, &err), 0);
    assert_state(t.manager->services[0], SERVICE_STOPPED);
    (void) next_latchd(SLEEPS, "Restart=always", NULL, &r);
    ck_assert_int_eq(r, 0);
}
END_TEST

/* ---- how somebody else's child ended ---- */

/* An orphan of ours that another process reaps: our child forks it and ends. Sets *ret_pid. */
static int orphan(const char *how, struct process_id *ret_id) {
    int ends[2], pidfd;
    pid_t child, pid = 0;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        pid = fork();
        if (pid == 0) {
            char *argv[] = {(char *) "sh", (char *) "-c", NULL, NULL}, *env[] = {NULL};

            argv[2] = strdup(how);
            (void) execve("/bin/sh", argv, env);
            _exit(127);
        }
        _exit(write(ends[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    ck_assert_int_eq(read(ends[0], &pid, sizeof pid), sizeof pid);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    pidfd = process_pin(t.manager->proc_fd, pid, ret_id);
    ck_assert_int_ge(pidfd, 0);
    return pidfd;
}

START_TEST(exit_of_a_stranger) {
    static const struct {
        const char *script;
        int status;
    } ends[] = {{"sleep 0.3; exit 7", 7 << 8}, {"sleep 0.3; exit 0", 0}, {"sleep 0.3; kill -9 $$", SIGKILL}};
    uint64_t patience = now_usec(CLOCK_MONOTONIC) + PATIENCE;
    struct process_id id;
    _cleanup_close_ int pidfd = orphan(ends[_i].script, &id);
    int status = -1, r;

    ck_assert_int_lt(process_exit_status(pidfd, &status), 0); /* it lives */
    ck_assert_int_eq(process_zombie_status(t.manager->proc_fd, &id, &status), -ESRCH);
    while (!process_pidfd_ended(pidfd) && now_usec(CLOCK_MONOTONIC) < patience)
        (void) usleep(1000);
    while ((r = process_exit_status(pidfd, &status)) == -EAGAIN && now_usec(CLOCK_MONOTONIC) < patience)
        (void) usleep(1000);
    ck_assert_msg(r == 0 || r == -ENODATA, "%s", strerror(-r));
    if (r == 0)
        ck_assert_int_eq(status, ends[_i].status);
}
END_TEST

START_TEST(status_of_a_zombie) {
    struct process_id id;
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(_i);
    ck_assert_int_eq(waitid(P_PID, (id_t) child, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    {
        struct proc_stat stat;

        ck_assert_int_eq(procfs_read_stat(t.manager->proc_fd, child, &stat), 0);
        id = (struct process_id){.pid = child, .start_ticks = stat.start_ticks};
    }
    ck_assert_int_eq(process_zombie_status(t.manager->proc_fd, &id, &status), 0);
    ck_assert_int_eq(status, _i << 8);
    id.start_ticks++; /* another process by that number */
    ck_assert_int_eq(process_zombie_status(t.manager->proc_fd, &id, &status), -ESRCH);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, running);
    tcase_add_test(tests, record_is_missing);
    tcase_add_test(tests, record_is_noted);
    tcase_add_test(tests, record_is_damaged);
    tcase_add_test(tests, another_directory);
    tcase_add_test(tests, starting);
    tcase_add_loop_test(tests, stopping, 0, 2);
    tcase_add_test(tests, backing_off);
    tcase_add_test(tests, crash_loop_of_both);
    tcase_add_test(tests, zombie_child);
    tcase_add_test(tests, unwatched_without_restart);
    tcase_add_test(tests, never_executed);
    tcase_add_loop_test(tests, why_it_is_down, 0, 3);
    tcase_add_test(tests, another_boot);
    tcase_add_test(tests, older_file);
    tcase_add_test(tests, newer_file);
    tcase_add_test(tests, forged_times);
    tcase_add_test(tests, ended_in_good_order);
    tcase_add_loop_test(tests, exit_of_a_stranger, 0, 3);
    tcase_add_loop_test(tests, status_of_a_zombie, 0, 3);
    return run_suite("service-adopt", tests);
}
