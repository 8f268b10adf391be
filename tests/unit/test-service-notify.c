/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Type=notify: daemons that speak on command (tests/tools/notify-daemon.c), senders that may not. */
#include <grp.h>
#include <sys/un.h>

#include "notify/store.h"

#include <sys/resource.h>
#include <sys/un.h>

#include "lingering.h"
#include "service-fixture.h"

static const char *tool(void) {
    static char path[4096];
    const char *builddir = getenv("builddir");

    snprintf(path, sizeof path, "%s/tests/tools/notify-daemon", builddir ? builddir : ".");
    ck_assert_msg(access(path, X_OK) == 0, "%s is missing: set builddir", path);
    return path;
}

static void order(const char *text) {
    int fd = open(in("orders"), O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert(write(fd, text, strlen(text)) == (ssize_t) strlen(text) && write(fd, "\n", 1) == 1);
    close(fd);
}

static struct service *add_daemon(const char *setting, const char *other) {
    char script[8192];

    ck_assert_int_eq(mkfifo(in("orders"), 0666), 0);
    ck_assert_int_eq(chmod(in("orders"), 0666), 0);
    snprintf(script, sizeof script, "exec %s daemon @", tool());
    return add_service("d", script, "Type=notify", "Restart=no", setting ? setting : "Nice=0",
                       other ? other : "UMask=0022", NULL);
}

static struct service *start_daemon(const char *setting, const char *other) {
    struct service *service = add_daemon(setting, other);

    service_handle(service, SERVICE_ON_START);
    until(count_lines("told") == 1);
    return service;
}

static void get_ready(struct service *service) {
    order("say READY=1");
    until(service->state == SERVICE_RUNNING);
}

static bool told(const char *line) {
    _cleanup_free_ char *text = NULL;

    return fd_read_file_at(AT_FDCWD, in("told"), 1 << 20, &text, NULL) >= 0 && strstr(text, line);
}

/* Until all that was said is handled. */
static void pass_barrier(void) {
    unsigned n = count_lines("told");

    order("barrier");
    until(count_lines("told") > n);
    ck_assert(told("barrier passed"));
}

/* A process that is none of the service's sends a message, and stays until it is handled. */
static void send_as_stranger(const char *text, uid_t uid) {
    char variable[256];
    pid_t pid;

    snprintf(variable, sizeof variable, "NOTIFY_SOCKET=%s", in("run/d.notify"));
    pid = fork();
    if (pid == 0) {
        char *argv[] = {(char *) "x", (char *) "send", strdup(text), NULL};
        char *envp[] = {variable, (char *) "STAY=1", NULL};

        if (uid != 0 && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
            _exit(1);
        execve(tool(), argv, envp);
        _exit(1);
    }
    until(waitpid(pid, NULL, WNOHANG) == pid || errno == ECHILD || !is_alive(pid));
}

static bool recorded_status_is(const char *text) {
    _cleanup_record_ struct service_record record = {0};

    return state_file_read(t.manager->runtime_dir_fd, "d", &record, NULL) == 0 &&
           strcmp(service_record_status(&record), text) == 0;
}

START_TEST(test_ready_when_it_says_so) {
    struct service *service = start_daemon(NULL, NULL);
    struct service_record record;
    char text[4096];

    linger(300 * MSEC);
    assert_state(service, SERVICE_STARTING);
    order("say STATUS=loading");
    until(strcmp(service_record_status(&service->record), "loading") == 0);
    assert_state(service, SERVICE_STARTING);
    order("say READY=1\\nSTATUS=serving");
    until(service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 1);
    ck_assert_str_eq(service_record_status(&service->record), "serving");
    ck_assert_int_eq(state_file_read(t.manager->runtime_dir_fd, "d", &record, NULL), 0);
    ck_assert(record.ready);
    ck_assert_str_eq(service_record_status(&record), "serving");
    service_record_done(&record);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 0);
    /* However often it changes its status, the file has the last one in the end. */
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, "say STATUS=step %d", i);
        order(text);
    }
    until(recorded_status_is("step 29"));
    service_handle(service, SERVICE_ON_STOP);
    until(service->state == SERVICE_STOPPED);
}
END_TEST

START_TEST(test_never_ready) {
    struct service *service = start_daemon("TimeoutStartSec=400ms", NULL);

    until(service->state == SERVICE_FAILED);
    ck_assert_uint_eq(t.events[EVENT_READY_TIMEOUT], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 0);
}
END_TEST

START_TEST(test_extended_start) {
    struct service *service = start_daemon("TimeoutStartSec=1s", NULL);

    order("say EXTEND_TIMEOUT_USEC=30000000");
    linger(1500 * MSEC);
    assert_state(service, SERVICE_STARTING);
    order("say EXTEND_TIMEOUT_USEC=1"); /* never shortens it */
    linger(100 * MSEC);
    assert_state(service, SERVICE_STARTING);
    get_ready(service);
    ck_assert_uint_eq(t.events[EVENT_READY_TIMEOUT], 0);
}
END_TEST

START_TEST(test_extended_stop) {
    struct service *service = start_daemon("KillSignal=SIGHUP", "TimeoutStopSec=500ms");
    pid_t pid = service->record.main.pid;

    get_ready(service);
    service_handle(service, SERVICE_ON_STOP); /* to it, SIGHUP is no reason to end */
    order("say STOPPING=1\\nEXTEND_TIMEOUT_USEC=30000000");
    linger(1000 * MSEC);
    assert_state(service, SERVICE_STOPPING);
    ck_assert(is_alive(pid));
    order("exit 0");
    until(service->state == SERVICE_STOPPED);
    ck_assert_uint_eq(t.events[EVENT_STOP_TIMEOUT], 0);
}
END_TEST

START_TEST(test_stops_by_itself) {
    struct service *service = start_daemon("TimeoutStopSec=700ms", "Restart=on-failure");
    pid_t first = service->record.main.pid;

    get_ready(service);
    order("say STOPPING=1");
    until(service_notify_is_stopping(service));
    assert_state(service, SERVICE_RUNNING);
    order("say READY=1"); /* it thought better of it */
    linger(1200 * MSEC);
    assert_state(service, SERVICE_RUNNING);
    ck_assert_int_eq(service->record.main.pid, first);
    order("say STOPPING=1"); /* and hangs on its way out */
    until(t.events[EVENT_STOPPING_OVERDUE] == 1);
    until(service->state == SERVICE_STARTING && service->record.main.pid != first);
    ck_assert(!service_notify_is_stopping(service));
    ck_assert(!is_alive(first));
    get_ready(service);
    order("say STOPPING=1");
    order("exit 0"); /* its end is judged as ever */
    until(service->state == SERVICE_STOPPED);
    ck_assert_uint_eq(t.events[EVENT_STOPPING_OVERDUE], 1);
}
END_TEST

START_TEST(test_its_own_children_speak_for_it) {
    struct service *service = start_daemon(NULL, NULL);

    order("child STATUS=by a child");
    until(strcmp(service_record_status(&service->record), "by a child") == 0);
    /* The only service: whoever comes to this latchd comes from it. */
    order("orphan STATUS=by an orphan");
    until(strcmp(service_record_status(&service->record), "by an orphan") == 0);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 0);
}
END_TEST

START_TEST(test_one_that_is_gone) {
    struct service *service = start_daemon(NULL, NULL);
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 2 * USEC_PER_SEC;

    order("brief READY=1");
    order("exit 0"); /* behind it: until then its message was handled, or was left for later */
    while (is_alive(service->record.main.pid) && now_usec(CLOCK_MONOTONIC) < end)
        usleep(10000); /* we do not look meanwhile */
    until(service->state == SERVICE_STOPPED);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 0);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_IGNORED], "ended before it could be told"));
}
END_TEST

START_TEST(test_strangers_are_not_heard) {
    struct service *service = start_daemon(NULL, NULL), *other;

    /* This test's children are taken for the service's while it is the only one. */
    other = add_service("other", "exec sleep 100", NULL);
    (void) other;
    send_as_stranger("READY=1\\nSTATUS=forged\\nMAINPID=1", 0);
    send_as_stranger("READY=1\\nSTATUS=forged\\nMAINPID=1", 65534);
    send_as_stranger("STOPPING=1", 0);
    pass_barrier();
    assert_state(service, SERVICE_STARTING);
    ck_assert_str_eq(service_record_status(&service->record), "");
    ck_assert(!service->record.ready);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1); /* and not three */
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_IGNORED], "no process of this service"));
    /* Nor is an orphan without the service's name, where there are several. */
    order("orphan READY=1");
    linger(500 * MSEC);
    assert_state(service, SERVICE_STARTING);
    get_ready(service);
}
END_TEST

START_TEST(test_user) {
    struct service *service = add_daemon("User=nobody", NULL);
    struct stat st;

    ck_assert_int_eq(chmod(t.directory, 0777), 0);
    service_handle(service, SERVICE_ON_START);
    until(count_lines("told") == 1);
    ck_assert_int_eq(stat(in("run/d.notify"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(st.st_uid, 65534);
    order("child READY=1");
    until(service->state == SERVICE_RUNNING);
}
END_TEST

START_TEST(test_malformed) {
    struct service *service = start_daemon(NULL, NULL);
    char text[6000] = "say STATUS=";

    memset(text + strlen(text), 'x', 4200);
    order(text);
    until(t.events[EVENT_NOTIFY_IGNORED] == 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_IGNORED], "longer than 4096"));
    ck_assert_str_eq(service_record_status(&service->record), "");
    order("say MAINPID=x\\nSTATUS=rest"); /* no second complaint within a minute */
    until(strcmp(service_record_status(&service->record), "rest") == 0);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1);
    get_ready(service);
}
END_TEST

START_TEST(test_reload_that_is_announced) {
    struct service *service = start_daemon(NULL, NULL);

    get_ready(service);
    order("reload-slowly");
    pass_barrier();
    service_handle(service, SERVICE_ON_RELOAD);
    assert_state(service, SERVICE_RELOADING);
    until(told("reload"));
    linger(1200 * MSEC); /* longer than one waits for RELOADING=1 */
    assert_state(service, SERVICE_RELOADING);
    get_ready(service);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 2);
    /* Of its own accord. */
    order("say RELOADING=1\\nMONOTONIC_USEC=5");
    until(service->state == SERVICE_RELOADING);
    get_ready(service);
}
END_TEST

START_TEST(test_reload_without_a_word) {
    struct service *service = start_daemon(NULL, NULL);

    get_ready(service);
    service_handle(service, SERVICE_ON_RELOAD);
    until(told("reload"));
    /* An earlier reload's RELOADING=1 is not this one's. */
    order("say RELOADING=1\\nMONOTONIC_USEC=5");
    get_ready(service);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 1);
}
END_TEST

START_TEST(test_main_process_changes) {
    struct service *service = start_daemon(NULL, NULL);
    pid_t first = service->record.main.pid, second;
    struct service_record record;

    order("pass MAINPID=@\\nREADY=1");
    until(service->state == SERVICE_RUNNING);
    until(told("passed to"));
    second = service->record.main.pid;
    ck_assert_int_ne(second, first);
    ck_assert(is_alive(second));
    ck_assert_uint_eq(t.events[EVENT_MAIN_CHANGED], 1);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_EXITED], 0);
    ck_assert_int_eq(state_file_read(t.manager->runtime_dir_fd, "d", &record, NULL), 0);
    ck_assert_int_eq(record.main.pid, second);
    ck_assert(record.ready);
    until(!is_alive(first));
    linger(200 * MSEC);
    assert_state(service, SERVICE_RUNNING);
    /* It is watched: its end is the service's, with its status. */
    order("exit 7");
    until(service->state == SERVICE_FAILED);
    ck_assert(service->last_exit.known);
    ck_assert_int_eq(service->last_exit.status, 7);
}
END_TEST

/* The daemon's end and its last message are there at once: the message counts first. */
START_TEST(test_last_word) {
    struct service *service = start_daemon(NULL, NULL);
    pid_t first = service->record.main.pid;
    uint64_t end = now_usec(CLOCK_MONOTONIC) + 10 * USEC_PER_SEC;

    order("pass READY=1\\nMAINPID=@");
    while (is_alive(first) && now_usec(CLOCK_MONOTONIC) < end)
        usleep(5000);
    ck_assert(!is_alive(first));
    until(service->state == SERVICE_RUNNING);
    ck_assert_int_ne(service->record.main.pid, first);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_EXITED], 0);
}
END_TEST

START_TEST(test_main_process_of_others) {
    struct service *service = start_daemon(NULL, NULL);
    pid_t first = service->record.main.pid, stranger;
    char text[64];

    (void) add_service("other", "exec sleep 100", NULL);
    stranger = fork();
    if (stranger == 0) {
        char *argv[] = {(char *) "sleep", (char *) "100", NULL}, *envp[] = {NULL};

        execve("/bin/sleep", argv, envp);
        _exit(1);
    }
    snprintf(text, sizeof text, "say MAINPID=%d", (int) stranger);
    order(text);
    order("say MAINPID=1");
    snprintf(text, sizeof text, "say MAINPID=%d", (int) getpid());
    order(text);
    order("say MAINPID=2147483600");
    get_ready(service);
    ck_assert_int_eq(service->record.main.pid, first);
    ck_assert_uint_eq(t.events[EVENT_MAIN_CHANGED], 0);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1);
    kill(stranger, SIGKILL);
}
END_TEST

START_TEST(test_store_over_a_restart) {
    struct service *service = start_daemon("Restart=always", "RestartSec=1ms");
    char text[64];

    ck_assert(told("with 0 stored"));
    order("store FDSTORE=1\\nFDNAME=state first");
    order("store FDSTORE=1\\nFDNAME=other second");
    order("store FDSTORE=1 third");
    order(
        "store FDSTORE=1\\nFDNAME=not:valid fourth"); /* under the name that is always there, as by systemd */
    get_ready(service);
    ck_assert_uint_eq(service->store->n, 4);
    order("exit 3");
    until(told("with 4 stored: state:other:stored:stored"));
    until(told("stored 3: fourth"));
    ck_assert(told("stored 0: first") && told("stored 1: second") && told("stored 2: third"));
    order("say FDSTOREREMOVE=1\\nFDNAME=stored");
    until(service->store->n == 2);
    service_handle(service, SERVICE_ON_RESTART);
    until(told("with 2 stored: state:other"));
    /* The same file again is stored once. */
    snprintf(text, sizeof text, "again 3 FDSTORE=1");
    order(text);
    pass_barrier();
    ck_assert_uint_eq(service->store->n, 2);
    service_handle(service, SERVICE_ON_STOP);
    until(service->state == SERVICE_STOPPED);
    ck_assert_ptr_null(service->store);
    service_handle(service, SERVICE_ON_START);
    until(service->state == SERVICE_STARTING && service->main_pidfd >= 0);
    get_ready(service);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1); /* FDNAME= */
}
END_TEST

START_TEST(test_store_is_bounded) {
    struct service *service = start_daemon(NULL, NULL);
    unsigned before = count_descriptors();

    for (int i = 0; i < 520; i++)
        order("store FDSTORE=1 x");
    pass_barrier();
    ck_assert_uint_eq(service->store->n, 512);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_IGNORED], "512 are stored already"));
    order("say FDSTOREREMOVE=1\\nFDNAME=stored");
    pass_barrier();
    ck_assert_uint_eq(service->store->n, 0);
    until(count_descriptors() <= before + 1);
}
END_TEST

START_TEST(test_store_of_what_ends) {
    struct service *service = start_daemon(NULL, NULL);

    order("store-pipe FDSTORE=1\\nFDNAME=polled");
    order("store-pipe FDSTORE=1\\nFDNAME=kept\\nFDPOLL=0");
    pass_barrier();
    until(service->store && service->store->n == 1);
    linger(100 * MSEC);
    ck_assert_str_eq(service->store->entries[0]->name, "kept");
}
END_TEST

START_TEST(test_store_refuses) {
    struct service *service = start_daemon(NULL, NULL);

    order("store-file FDSTORE=1 /proc/self/ns/mnt");
    pass_barrier();
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_IGNORED], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_IGNORED], "it is a namespace"));
    order("store-file FDSTORE=1 /etc/passwd");
    pass_barrier();
    ck_assert_uint_eq(service->store->n, 1);
}
END_TEST

/* What strangers hand us is not kept, and closed. */
START_TEST(test_descriptors_of_strangers) {
    struct service *service = start_daemon(NULL, NULL);
    unsigned before;

    (void) add_service("other", "exec sleep 100", NULL);
    pass_barrier();
    before = count_descriptors();
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            char variable[256];
            char *argv[] = {(char *) "x",           (char *) "send-fds",          (char *) "FDSTORE=1",
                            (char *) "/etc/passwd", (char *) "/proc/self/ns/mnt", NULL};
            char *envp[] = {variable, (char *) "STAY=1", NULL};

            snprintf(variable, sizeof variable, "NOTIFY_SOCKET=%s", in("run/d.notify"));
            execve(tool(), argv, envp);
            _exit(1);
        }
        until(!is_alive(pid));
    }
    ck_assert_ptr_null(service->store);
    until(count_descriptors() <= before);
}
END_TEST

/* Messages poured in without end keep nobody waiting. */
START_TEST(test_flood) {
    struct service *service = start_daemon(NULL, NULL), *other;
    uint64_t begun;
    pid_t flooder[3];

    other = add_service("other", "exec sleep 100", NULL);
    for (int i = 0; i < 3; i++) {
        flooder[i] = fork();
        if (flooder[i] == 0) {
            char variable[256];
            char *argv[] = {(char *) "x", (char *) "send", (char *) "STATUS=flood\\nREADY=1",
                            (char *) "100000", NULL};
            char *envp[] = {variable, NULL};

            snprintf(variable, sizeof variable, "NOTIFY_SOCKET=%s", in("run/d.notify"));
            execve(tool(), argv, envp);
            _exit(1);
        }
    }
    linger(200 * MSEC);
    begun = now_usec(CLOCK_MONOTONIC);
    service_handle(other, SERVICE_ON_START);
    until(other->state == SERVICE_RUNNING);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - begun, 5 * USEC_PER_SEC);
    assert_state(service, SERVICE_STARTING);
    ck_assert_uint_le(t.events[EVENT_NOTIFY_IGNORED], 1);
    order("say READY=1"); /* gets through among them */
    until(service->state == SERVICE_RUNNING);
    for (int i = 0; i < 3; i++)
        kill(flooder[i], SIGKILL);
}
END_TEST

/* A daemon that reloads by itself without end: all of it counts, and the journal is told of ten, and how many more. */
START_TEST(test_reloads_without_end) {
    struct service *service = start_daemon(NULL, NULL);

    order("say READY=1");
    until(service->state == SERVICE_RUNNING);
    for (int i = 0; i < 40; i++) {
        order("say RELOADING=1\\nMONOTONIC_USEC=5");
        order("say READY=1");
    }
    pass_barrier();
    assert_state(service, SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 11);
    order("reload-slowly"); /* one that was asked for is told of all the same */
    pass_barrier();
    service_handle(service, SERVICE_ON_RELOAD);
    until(told("reload"));
    order("say READY=1");
    until(service->state == SERVICE_RUNNING);
    ck_assert_uint_eq(t.events[EVENT_SERVICE_READY], 12);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_SUPPRESSED], 0);
    t.manager = manager_free(t.manager);
    ck_assert_uint_eq(t.events[EVENT_NOTIFY_SUPPRESSED], 1);
    ck_assert_ptr_nonnull(strstr(t.last_message[EVENT_NOTIFY_SUPPRESSED], "30 more changes"));
}
END_TEST

/* Descriptors that hang, however many: what is said without any is heard, here and elsewhere. */
START_TEST(test_descriptors_that_hang) {
    const struct rlimit files = {.rlim_cur = 8192, .rlim_max = 8192};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct service *service = start_daemon(NULL, NULL);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), far[8], fds[250], r = 0;
    char text[] = "X_NOTHING=1";

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", in("run/d.notify"));
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
    for (int i = 0; i < 8; i++) {
        struct linger patience = {.l_onoff = 1, .l_linger = 40};

        fds[0] = make_lingering(&far[i]);
        ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &patience, sizeof patience), 0);
        ck_assert_int_eq(send_away(fd, text, sizeof text - 1, fds, 1), 0);
        linger(50 * MSEC);
    }
    for (int k = 0; k < 6 && r == 0; k++) {
        for (int i = 0; i < 250; i++)
            fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        r = send_away(fd, text, sizeof text - 1, fds, 250);
        linger(50 * MSEC);
    }
    order("say READY=1");
    linger(1000 * MSEC);
    assert_state(service, SERVICE_RUNNING);
    for (int i = 0; i < 8; i++)
        close(far[i]); /* ends what hung; descriptors are wanted again */
    if (r != 0) {
        ck_assert_int_eq(r, EPERM);
        until(send_away(fd, text, sizeof text - 1, fds, 1) == 0);
    }
    close(fd);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("notify");

    tcase_add_test(tests, test_ready_when_it_says_so);
    tcase_add_test(tests, test_never_ready);
    tcase_add_test(tests, test_extended_start);
    tcase_add_test(tests, test_extended_stop);
    tcase_add_test(tests, test_stops_by_itself);
    tcase_add_test(tests, test_its_own_children_speak_for_it);
    tcase_add_test(tests, test_one_that_is_gone);
    tcase_add_test(tests, test_strangers_are_not_heard);
    tcase_add_test(tests, test_user);
    tcase_add_test(tests, test_malformed);
    tcase_add_test(tests, test_reload_that_is_announced);
    tcase_add_test(tests, test_reload_without_a_word);
    tcase_add_test(tests, test_main_process_changes);
    tcase_add_test(tests, test_last_word);
    tcase_add_test(tests, test_main_process_of_others);
    tcase_add_test(tests, test_store_over_a_restart);
    tcase_add_test(tests, test_store_is_bounded);
    tcase_add_test(tests, test_store_of_what_ends);
    tcase_add_test(tests, test_store_refuses);
    tcase_add_test(tests, test_descriptors_of_strangers);
    tcase_add_test(tests, test_flood);
    tcase_add_test(tests, test_reloads_without_end);
    tcase_add_test(tests, test_descriptors_that_hang);
    return run_suite("service-notify", tests);
}
