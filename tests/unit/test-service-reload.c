/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service from a file, whose file changes: what counts at once, what waits for the next start, what is
 * refused; and the command ExecReload=. */

#include "service-fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/text.h"
#include "service/service-health.h"

/* It minds SIGHUP before it says that it has begun. */
#define DAEMON                                                                                               \
    "ExecStart=/bin/sh -c 'trap \"echo >>@/hups\" HUP; echo $$$$ >>@/starts; while :; do sleep 0.02; "       \
    "done'\n"

/* "@" stands for the test's directory. */
static void put(const char *text) {
    _cleanup_fclose_ FILE *file = fopen(in("a.conf"), "we");

    ck_assert_ptr_nonnull(file);
    for (const char *p = text; *p; p++)
        ck_assert(*p == '@' ? fputs(t.directory, file) >= 0 : fputc(*p, file) != EOF);
}

static struct service *add_from_file(void) {
    struct config_problems problems = {0};
    _cleanup_err_ struct err err = {0};
    struct service_config *config;
    struct service *service;

    t.manager->config_paths = (struct config_paths){.admin_dir = t.directory};
    ck_assert_msg(service_config_load("a", &t.manager->config_paths, &problems, &config, &err) == 0, "%s",
                  err_text(&err));
    ck_assert_msg(manager_add(t.manager, t.run, config, &service, &err) == 0, "%s", err_text(&err));
    service->config_word = strdup("a");
    ck_assert_int_eq(manager_plan_order(t.manager, &err), 0);
    return service;
}

static struct service *begin(const char *text) {
    struct service *service;

    put(text);
    service = add_from_file();
    service_handle(service, SERVICE_ON_START);
    return service;
}

static const char *joined(char *const *words) {
    static char texts[4][512];
    static unsigned n;
    char *text = texts[n++ % ELEMENTSOF(texts)];

    text[0] = '\0';
    for (; words && *words; words++)
        snprintf(text + strlen(text), sizeof texts[0] - strlen(text), "<%s>", *words);
    return text;
}

static void read_again(struct service *service, const char *live, const char *later) {
    _cleanup_config_changes_ struct config_changes changes = {0};
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(service_read_config(service, &changes, &err) == 0, "%s", err_text(&err));
    ck_assert_str_eq(joined(changes.live), live);
    ck_assert_str_eq(joined(changes.later), later);
}

#define HEAD "[Service]\nStandardOutput=null\n"

START_TEST(live_and_later) {
    struct service *service = begin(HEAD DAEMON "RestartSec=1s\nRestart=always\n");
    uint64_t since;
    pid_t pid;

    until(count_lines("starts") == 1 && service->state == SERVICE_RUNNING);
    pid = service->record.main.pid;
    since = service->state_since_usec;
    read_again(service, "", "");
    ck_assert_uint_eq(t.events[EVENT_CONFIG_RELOADED], 0); /* nothing changed: nothing to tell */

    put(HEAD DAEMON "RestartSec=0\nRestart=always\nEnvironment=X=1\n");
    read_again(service, "<RestartSec=>", "<Environment=>");
    ck_assert_uint_eq(t.events[EVENT_CONFIG_RELOADED], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_RELOADED], "latchctl restart a"));
    ck_assert_uint_eq(service->config->restart_usec, 0);
    ck_assert_ptr_null(service->config->environment); /* the daemon has none */

    /* Once more changed, before it was started again: the last one counts, and the one between leaves no
     * trace. */
    put(HEAD DAEMON "RestartSec=10ms\nRestart=always\nEnvironment=X=2\nUMask=077\n");
    read_again(service, "<RestartSec=>", "<UMask=><Environment=>");
    ck_assert_uint_eq(service->config->restart_usec, 10 * MSEC);
    ck_assert_uint_eq(service->state_since_usec, since);
    ck_assert_int_eq(service->record.main.pid, pid);

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_ptr_null(service->next_config);
    ck_assert_str_eq(service->config->environment[0], "X=2");
    ck_assert_uint_eq(service->config->umask, 077);
    ck_assert_uint_eq(service->config->restart_usec, 10 * MSEC);
    read_again(service, "", "");

    /* Taken back before it counted: nothing is pending. */
    put(HEAD DAEMON "RestartSec=10ms\nRestart=always\nEnvironment=X=3\nUMask=077\n");
    read_again(service, "", "<Environment=>");
    put(HEAD DAEMON "RestartSec=10ms\nRestart=always\nEnvironment=X=2\nUMask=077\n");
    read_again(service, "", "");
    ck_assert_ptr_null(service->next_config);
}
END_TEST

START_TEST(mistakes) {
    static const char *const bad[] = {HEAD DAEMON "RestartSec=often\nUser=nobody-of-that-name\n",
                                      "[Service]\n", "nonsense\n", HEAD DAEMON "After=a\n"};
    struct service *service = begin(HEAD DAEMON "RestartSec=1s\n");
    _cleanup_config_changes_ struct config_changes changes = {0};

    until(service->state == SERVICE_RUNNING);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_err_ struct err err = {0};

        put(bad[i]);
        ck_assert_int_eq(service_read_config(service, &changes, &err), -EINVAL);
        ck_assert_str_eq(err.name, "BadConfiguration");
        ck_assert_msg(strstr(err.message, "a.conf") || strstr(err.message, "After="), "%s", err.message);
        ck_assert_uint_eq(t.events[EVENT_CONFIG_REJECTED], i + 1);
        if (i == 0) { /* each of them */
            ck_assert_ptr_nonnull(strstr(err.message, "a.conf:4: RestartSec=often"));
            ck_assert_ptr_nonnull(strstr(err.message, "a.conf:5: User=nobody-of-that-name"));
            ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_REJECTED], "a.conf:5: User="));
        }
        ck_assert_uint_eq(service->config->restart_usec, USEC_PER_SEC);
        ck_assert_ptr_null(service->next_config);
    }
    ck_assert_int_eq(unlink(in("a.conf")), 0); /* the service is no longer there */
    ck_assert_int_eq(service_read_config(service, &changes, NULL), -EINVAL);
    ck_assert_uint_eq(service->config->restart_usec, USEC_PER_SEC);
    assert_state(service, SERVICE_RUNNING);
}
END_TEST

/* The sockets of the two differ in number: what is per socket follows at the start, not before. */
START_TEST(other_sockets) {
    struct service *service = begin(HEAD DAEMON "[Socket x]\nListenStream=@/x\n");

    until(count_lines("starts") == 1 && service->state == SERVICE_RUNNING);
    put(HEAD DAEMON "[Socket x]\nListenStream=@/x\nProbeTimeoutSec=1s\n[Socket y]\nListenStream=@/y\n"
                    "[Socket z]\nListenStream=@/z\n");
    read_again(service, "<ProbeTimeoutSec= of [Socket x]>", "<[Socket y]><[Socket z]>");
    ck_assert_uint_eq(service->config->n_sockets, 1);
    service_handle(service, SERVICE_ON_RELOAD);
    service_handle(service, SERVICE_ON_RESTART);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(service->config->n_sockets, 3);
    ck_assert_uint_eq(service->config->sockets[0]->probe_timeout_usec, USEC_PER_SEC);
}
END_TEST

/* A lock of the configuration before is recovered too: its leftover holds nothing up afterwards. */
START_TEST(old_lock_is_cleared) {
    struct service *service = begin(HEAD DAEMON "[Lock old]\nLockFile=@/old.pid\nLockStyle=pidfile\n");
    FILE *file;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    file = fopen(in("old.pid"), "we");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%d\n", (int) service->record.main.pid);
    fclose(file);
    put(HEAD DAEMON "[Lock new]\nLockFile=@/new.pid\nLockStyle=pidfile\n");
    read_again(service, "", "<[Lock old]><[Lock new]>");
    service_handle(service, SERVICE_ON_RESTART);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_int_lt(access(in("old.pid"), F_OK), 0);
    ck_assert_str_eq(service->config->locks[0]->name, "new");
}
END_TEST

/* Somebody holds the lock that the service no longer wants: a reload, and it starts. */
START_TEST(blocked_by_what_is_no_longer_wanted) {
    struct service *service;
    pid_t stranger = hold_lock("l");

    service = begin(HEAD DAEMON "[Lock l]\nLockFile=@/l\n");
    until(service->state == SERVICE_BLOCKED);
    put(HEAD DAEMON "[Lock l]\nLockFile=@/other\n");
    read_again(service, "", "<LockFile= of [Lock l]>");
    service_handle(service, SERVICE_ON_RELOAD);
    until(service->state == SERVICE_RUNNING);
    ck_assert(is_alive(stranger));
}
END_TEST

/* In back-off it is tried at once: somebody has just mended it. */
START_TEST(backing_off) {
    struct service *service = begin(HEAD "ExecStart=/bin/false\nRestart=always\nRestartSec=50s\n");

    until(service->state == SERVICE_BACKOFF);
    put(HEAD DAEMON "Restart=always\nRestartSec=50s\n");
    read_again(service, "", "<ExecStart=>");
    service_handle(service, SERVICE_ON_RELOAD);
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
}
END_TEST

/* A leftover that was to end by itself is ended, once the policy says so. */
START_TEST(another_orphan_policy) {
    static const char script[] =
        "ExecStart=/bin/sh -c 'exec 9<>@/l; flock -n 9 || exit 9; echo $$$$ >>@/starts; test -e "
        "@/left && exec sleep 100; sleep 100 & echo $! >>@/left; wait'\n"
        "Restart=always\nRestartSec=10ms\nOrphanGraceSec=0\n";
    char text[2048];
    struct service *service;

    snprintf(text, sizeof text, HEAD "%sOrphanPolicy=wait\n[Lock l]\nLockFile=@/l\n", script);
    service = begin(text);
    until(service->state == SERVICE_RUNNING && count_lines("left") == 1);
    ck_assert_int_eq(kill(service->record.main.pid, SIGKILL), 0);
    until(service->state == SERVICE_RECOVERING);
    (void) linger(200 * MSEC);
    assert_state(service, SERVICE_RECOVERING);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 0);
    snprintf(text, sizeof text, HEAD "%sOrphanPolicy=terminate\n[Lock l]\nLockFile=@/l\n", script);
    put(text);
    read_again(service, "<OrphanPolicy=>", "");
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    ck_assert_uint_eq(t.events[EVENT_ORPHAN_TERMINATED], 1);
}
END_TEST

START_TEST(by_hangup) {
    struct service *service = begin(HEAD DAEMON "RestartSec=1s\n");

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    put(HEAD DAEMON "RestartSec=2s\n");
    ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
    until(count_lines("hups") == 1);
    ck_assert_uint_eq(service->config->restart_usec, 2 * USEC_PER_SEC);
    put(HEAD DAEMON "RestartSec=-\n");
    ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
    until(t.events[EVENT_CONFIG_REJECTED] == 1);
    (void) linger(100 * MSEC);
    ck_assert_uint_eq(count_lines("hups"), 1); /* it was not told of a half-good configuration */
}
END_TEST

/* What a new configuration names lies on a file system that does not answer: FUSE, whose program is we, who
 * say nothing. The loop goes on, and says what it was that did not. */
START_TEST(dead_file_system) {
    static const char *const keys[] = {"WorkingDirectory=", "EnvironmentFile=", "ExecReload="};
    struct service *service = begin(HEAD DAEMON "RestartSec=1s\n");
    _cleanup_close_ int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[96], text[512];

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    ck_assert_int_ge(fuse_fd, 0);
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mkdir(in("dead"), 0755), 0);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse_fd);
    ck_assert_int_eq(mount("none", in("dead"), "fuse", 0, options), 0);
    snprintf(text, sizeof text, HEAD DAEMON "RestartSec=2s\n%s@/dead%s\n", keys[_i], _i == 0 ? "" : "/x");
    put(text);
    ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
    (void) linger(100 * MSEC);
    ck_assert_uint_eq(t.events[EVENT_CONFIG_REJECTED], 0); /* here, and waiting */
    until(t.events[EVENT_CONFIG_REJECTED] == 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_REJECTED], keys[_i]));
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_REJECTED], "/dead"));
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_REJECTED], "did not answer"));
    ck_assert_uint_eq(service->config->restart_usec, USEC_PER_SEC);
    ck_assert_uint_eq(count_lines("hups"), 0);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_int_eq(umount2(in("dead"), MNT_DETACH), 0);
    fuse_fd = fd_close(fuse_fd); /* who waits gets an error now */
    ck_assert_int_eq(rmdir(in("dead")), 0);
}
END_TEST

/* A latchd that comes next knows with what the daemon was started, and tells what has changed since. */
START_TEST(after_a_takeover) {
    struct service *service = begin(HEAD DAEMON "[Lock old]\nLockFile=@/old.pid\nLockStyle=pidfile\n");
    pid_t pid;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    until(!service->record_dirty);
    pid = service->record.main.pid;
    t.manager = manager_free(t.manager);
    open_manager();
    put(HEAD DAEMON "RestartSec=7s\n[Lock new]\nLockFile=@/new.pid\nLockStyle=pidfile\n");
    service = add_from_file();
    ck_assert_int_eq(service_adopt(service), 1);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_int_eq(service->record.main.pid, pid);
    ck_assert_str_eq(service->config->locks[0]->name, "old");
    ck_assert_uint_eq(service->config->restart_usec, 7 * USEC_PER_SEC);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_CONFIG_RELOADED], "[Lock old], [Lock new]"));
    read_again(service, "", "<[Lock old]><[Lock new]>");
    service_handle(service, SERVICE_ON_RESTART);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_str_eq(service->config->locks[0]->name, "new");
}
END_TEST

/* ---- ExecReload= ---- */

#define RELOADED_BY(command) HEAD DAEMON "ExecReload=/bin/sh -c '" command "'\nTimeoutStartSec=2s\n"

START_TEST(command) {
    struct service *service = begin(
        RELOADED_BY("echo $MAINPID $LATCHD_SERVICE $INVOCATION_ID $$$$ >>@/reloads; kill -HUP $MAINPID"));
    uint64_t since;
    char wanted[128];
    _cleanup_free_ char *text = NULL;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    since = service->state_since_usec;
    service_handle(service, SERVICE_ON_RELOAD);
    assert_state(service, SERVICE_RELOADING);
    until(service->state == SERVICE_RUNNING);
    until(count_lines("hups") == 1);
    ck_assert_ptr_null(service->reload_failure.name);
    ck_assert_uint_eq(service->state_since_usec, since);
    ck_assert_int_eq(fd_read_file_at(AT_FDCWD, in("reloads"), 4096, &text, NULL), 0);
    snprintf(wanted, sizeof wanted, "%d a %s ", (int) service->record.main.pid,
             service->record.invocation_id);
    ck_assert_msg(strncmp(text, wanted, strlen(wanted)) == 0, "%s is not %s", text, wanted);
    ck_assert_ptr_null(service->reload);
}
END_TEST

START_TEST(command_fails) {
    static const struct {
        const char *text, *reason;
    } ends[] = {
        {RELOADED_BY("exit 3"), "exited with status 3"},
        {RELOADED_BY("kill -KILL $$$$"), "killed by SIGKILL"},
        {RELOADED_BY("exec sleep 100"), "did not end within 2s"},
        {HEAD DAEMON "ExecReload=/bin/true\nWorkingDirectory=@/gone\n", "gone"},
    };
    struct service *service;

    ck_assert_int_eq(mkdir(in("gone"), 0755), 0);
    service = begin(ends[_i].text);
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    ck_assert_int_eq(rmdir(in("gone")), 0);
    service_handle(service, SERVICE_ON_RELOAD);
    until(service->state == SERVICE_RUNNING);
    ck_assert_str_eq(service->reload_failure.name, "Failed");
    ck_assert_msg(strstr(service->reload_failure.message, ends[_i].reason), "%s",
                  service->reload_failure.message);
    ck_assert_uint_eq(t.events[EVENT_RELOAD_FAILED], 1);
    ck_assert_ptr_null(service->reload);
    ck_assert_uint_eq(count_lines("starts"), 1);
    ck_assert_ptr_null(service->timer);
}
END_TEST

/* It is being stopped meanwhile, or dies: the command is not waited for. */
START_TEST(command_overtaken) {
    struct service *service = begin(RELOADED_BY("echo $$$$ >>@/reloads; exec sleep 100"));
    pid_t command_pid;

    until(service->state == SERVICE_RUNNING && count_lines("starts") == 1);
    service_handle(service, SERVICE_ON_RELOAD);
    until((command_pid = read_pid("reloads")) > 0);
    if (_i == 0)
        service_handle(service, SERVICE_ON_STOP);
    else if (_i == 1)
        ck_assert_int_eq(kill(service->record.main.pid, SIGTERM), 0);
    else
        service_handle(service, SERVICE_ON_RELOAD); /* another one takes its place */
    until(_i == 2 ? count_lines("reloads") == 2 : service_is_down(service));
    until(!is_alive(command_pid));
}
END_TEST

/* Who is probed, and how often, follows the file at once; WatchdogSec= with the next daemon. */
START_TEST(probes_follow) {
    struct service *service = begin(HEAD DAEMON "[Socket x]\nListenStream=@/x\n");

    until(count_lines("starts") == 1 && service->state == SERVICE_RUNNING);
    ck_assert_ptr_null(service->health);
    put(HEAD DAEMON "[Socket x]\nListenStream=@/x\nProbeIntervalSec=1h\n");
    read_again(service, "<ProbeIntervalSec= of [Socket x]>", "");
    ck_assert_ptr_nonnull(service->health);
    ck_assert_uint_eq(service->health->n_probes, 1);
    ck_assert_uint_eq(service->health->probes[0].interval_usec, 3600 * USEC_PER_SEC);
    put(HEAD DAEMON "[Socket x]\nListenStream=@/x\nProbeIntervalSec=2h\n");
    read_again(service, "<ProbeIntervalSec= of [Socket x]>", "");
    ck_assert_uint_eq(service->health->probes[0].interval_usec, 7200 * USEC_PER_SEC);
    put(HEAD DAEMON "WatchdogSec=1h\n[Socket x]\nListenStream=@/x\n");
    read_again(service, "<ProbeIntervalSec= of [Socket x]>", "<WatchdogSec=>");
    ck_assert_uint_eq(service->health->n_probes, 0);
    ck_assert_uint_eq(service->health->watchdog_usec, 0);
    service_handle(service, SERVICE_ON_RESTART);
    until(count_lines("starts") == 2 && service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(service->health->watchdog_usec, 3600 * USEC_PER_SEC);
}
END_TEST

/* A daemon that has no handler for the signal ends of it: that is no reload, and no clean end. */
START_TEST(ended_by_the_reload_signal) {
    struct service *service =
        begin(HEAD "ExecStart=/bin/sh -c 'echo $$$$ >>@/starts; exec sleep 100'\nRestart=on-failure\n");
    pid_t pid;

    until(count_lines("starts") == 1 && service->state == SERVICE_RUNNING);
    pid = service->record.main.pid;
    until(!t.manager->n_due);
    linger(100 * MSEC); /* the shell is sleep by now */
    service_handle(service, SERVICE_ON_RELOAD);
    assert_state(service, SERVICE_RELOADING);
    ck_assert_uint_eq(t.events[EVENT_RELOAD_SIGNAL_SENT], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_RELOAD_SIGNAL_SENT], "Sent SIGHUP to PID "));
    until(service->state != SERVICE_RELOADING);
    assert_state(service, SERVICE_BACKOFF);
    ck_assert_ptr_nonnull(strstr(service->failure.message, "ended by SIGHUP (ReloadSignal=) instead of reloading"));
    until(service->state == SERVICE_RUNNING && count_lines("starts") == 2);
    ck_assert_int_ne(service->record.main.pid, pid);
    service_handle(service, SERVICE_ON_STOP);
    until(service->state == SERVICE_STOPPED);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("all");

    tcase_add_test(tests, live_and_later);
    tcase_add_test(tests, mistakes);
    tcase_add_test(tests, other_sockets);
    tcase_add_test(tests, old_lock_is_cleared);
    tcase_add_test(tests, blocked_by_what_is_no_longer_wanted);
    tcase_add_test(tests, backing_off);
    tcase_add_test(tests, another_orphan_policy);
    tcase_add_test(tests, by_hangup);
    tcase_add_loop_test(tests, dead_file_system, 0, 3);
    tcase_add_test(tests, after_a_takeover);
    tcase_add_test(tests, command);
    tcase_add_test(tests, ended_by_the_reload_signal);
    tcase_add_test(tests, probes_follow);
    tcase_add_loop_test(tests, command_fails, 0, 4);
    tcase_add_loop_test(tests, command_overtaken, 0, 3);
    return run_suite("service-reload", tests);
}
