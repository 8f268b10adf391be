/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A manager in the test's own process, with services whose daemons are small shell scripts, run a turn of the
 * loop at a time. As the process is a child subreaper then, all that the scripts leave behind comes to it,
 * and is ended with the test. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strlist.h"
#include "base/value.h"
#include "service/manager.h"
#include "runtime/runtime-dir.h"
#include "service/service.h"
#include "service/status.h"

#include "suite.h"

#define PATIENCE (60 * USEC_PER_SEC) /* for what has to happen */
#define MSEC USEC_PER_MSEC

static struct {
    char directory[64], run[96];
    struct manager *manager;
    struct event_log *log;
    int null_fd;
    unsigned events[EVENT_ID_MAX]; /* how many there were of each */
    char last_message[EVENT_ID_MAX][1024];
    uint64_t last_generation[EVENT_ID_MAX];
    unsigned last_place[EVENT_ID_MAX], n_events; /* the how manieth of all it was; 1 is the first */
    void (*at_end)(void); /* before the manager goes; NULL: nothing */
} t;

static inline void on_event(const struct event_record *record, void *userdata) {
    (void) userdata;
    t.events[record->id]++;
    t.last_place[record->id] = ++t.n_events;
    t.last_generation[record->id] = record->scope->generation;
    snprintf(t.last_message[record->id], sizeof t.last_message[0], "%s", record->message);
}

static inline void open_manager(void) {
    _cleanup_err_ struct err err = {0};
    int fd = runtime_dir_open(t.run, true, &err);

    ck_assert_msg(fd >= 0, "%s", err_text(&err));
    ck_assert_msg(manager_new(t.log, fd, &t.manager, &err) == 0, "%s", err_text(&err));
    ck_assert(t.manager->subreaper);
}

static inline void set_up(void) {
    struct event_log_options options = {.target = LOG_TARGET_STDERR, .max_priority = LOG_DEBUG};

    memset(&t, 0, sizeof t);
    (void) umask(022);
    strcpy(t.directory, "/tmp/test-service.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.directory));
    ck_assert_int_eq(chmod(t.directory, 0755), 0);
    snprintf(t.run, sizeof t.run, "%s/run", t.directory);
    t.null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    options.stderr_fd = t.null_fd;
    ck_assert_int_eq(event_log_open(&options, &t.log, NULL), 0);
    event_log_set_sink(t.log, on_event, NULL);
    open_manager();
}

static inline void tear_down(void) {
    char command[96];

    if (t.at_end)
        t.at_end();
    t.manager = manager_free(t.manager);
    suite_end_children();
    event_log_close(t.log);
    fd_close(t.null_fd);
    snprintf(command, sizeof command, "rm -rf '%s'", t.directory);
    ck_assert_int_eq(system(command), 0);
}

/* A path below the test's directory, in a buffer of a few. */
static inline const char *in(const char *name) {
    static char paths[8][192];
    static unsigned n;
    char *path = paths[n++ % ELEMENTSOF(paths)];

    snprintf(path, sizeof paths[0], "%s/%s", t.directory, name);
    return path;
}

/* A service whose daemon is the script ("@": the test's directory), with "Key=value" settings or "lock
 * PATH:STYLE", "socket PATH" behind it. `name` of a program instead of a script: "!PROGRAM". */
_sentinel_ static inline struct service *add_service(const char *name, const char *script, ...) {
    char expanded[8][4096], *argv[] = {(char *) "/bin/sh", (char *) "-c", NULL, NULL};
    struct config_option options[10] = {{"name", name}, {"set", "StandardOutput=null"}};
    struct config_problems problems = {0};
    struct service_config *config = NULL;
    _cleanup_err_ struct err err = {0};
    size_t n_options = 2, n = 0;
    struct service *service;
    const char *text = script;
    va_list ap;

    va_start(ap, script);
    while (text) {
        char *to = expanded[n];

        ck_assert_uint_lt(n, ELEMENTSOF(expanded));
        for (const char *p = text; *p; p++)
            to += *p == '@' ? sprintf(to, "%s", t.directory) : sprintf(to, "%c", *p);
        if (text == script)
            argv[2] = expanded[n];
        else if (strncmp(expanded[n], "lock ", 5) == 0)
            options[n_options++] = (struct config_option){"lock", expanded[n] + 5};
        else if (strncmp(expanded[n], "socket ", 7) == 0)
            options[n_options++] = (struct config_option){"socket", expanded[n] + 7};
        else
            options[n_options++] = (struct config_option){"set", expanded[n]};
        n++;
        text = va_arg(ap, const char *);
    }
    va_end(ap);
    if (service_config_from_options(options, n_options, argv, NULL, &problems, &config) < 0)
        ck_abort_msg("%s", problems.n ? problems.lines[0] : "?");
    config_problems_done(&problems);
    if (argv[2][0] ==
        '!') { /* behind the configuration's back, which would not take one that cannot be executed */
        strlist_free(config->exec_start);
        config->exec_start = NULL;
        ck_assert_int_eq(strlist_append(&config->exec_start, NULL, strdup(argv[2] + 1)), 0);
    }
    ck_assert_msg(manager_add(t.manager, t.run, config, &service, &err) == 0, "%s", err_text(&err));
    return service;
}

/* One turn of the loop, which sleeps for so long at most. Returns whether anything happened. */
static inline bool turn(uint64_t usec) {
    int r = sd_event_run(t.manager->event, usec);

    ck_assert_int_ge(r, 0);
    return r > 0;
}

/* Lets things go on for some time. Returns how often the loop woke. */
static inline unsigned linger(uint64_t usec) {
    uint64_t until = now_usec(CLOCK_MONOTONIC) + usec, now;
    unsigned n = 0;

    while ((now = now_usec(CLOCK_MONOTONIC)) < until)
        n += turn(until - now);
    return n;
}

/* Lets things go on until it is so. */
#define until(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t until_ = now_usec(CLOCK_MONOTONIC) + PATIENCE;                                              \
                                                                                                             \
        while (!(condition)) {                                                                               \
            ck_assert_msg(now_usec(CLOCK_MONOTONIC) < until_, "never so: %s", #condition);                   \
            (void) turn(20 * MSEC);                                                                          \
        }                                                                                                    \
    } while (0)

#define assert_state(service, expected)                                                                      \
    ck_assert_str_eq(service_state_to_string((service)->state), service_state_to_string(expected))

/* What its status says of why it is down. */
static inline void assert_why(struct service *service, const char *expected, bool whole) {
    json_t *status = service_status_to_json(service, false);
    const char *why = json_string_value(json_object_get(status, "statusText"));

    ck_assert_msg(why && (whole ? strcmp(why, expected) == 0 : strncmp(why, expected, strlen(expected)) == 0),
                  "\"%s\" instead of \"%s\"", why ? why : "nothing", expected);
    json_decref(status);
}

/* The lines that the scripts wrote into a file. */
static inline unsigned count_lines(const char *name) {
    _cleanup_free_ char *text = NULL;
    unsigned n = 0;

    if (fd_read_file_at(AT_FDCWD, in(name), 1 << 20, &text, NULL) < 0)
        return 0;
    for (const char *p = text; *p; p++)
        n += *p == '\n';
    return n;
}

/* The number in the last line of the file; 0: none. */
static inline pid_t read_pid(const char *name) {
    _cleanup_free_ char *text = NULL;
    pid_t pid = 0;

    if (fd_read_file_at(AT_FDCWD, in(name), 1 << 20, &text, NULL) < 0)
        return 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        if (*line)
            pid = (pid_t) atoi(line);
    return pid;
}

static inline bool is_alive(pid_t pid) {
    struct proc_stat stat;

    return pid > 0 && procfs_read_stat(t.manager->proc_fd, pid, &stat) >= 0 && stat.state != 'Z' &&
           stat.state != 'X';
}

static inline bool lock_is_free(const char *name) {
    _cleanup_close_ int fd = open(in(name), O_RDONLY | O_CLOEXEC);

    return fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* A stranger who holds the lock. Returns the pid; to be ended by end_holder(). */
static inline pid_t hold_lock(const char *name) {
    int ends[2];
    pid_t pid;
    char byte;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        static char *const argv[] = {(char *) "sleep", (char *) "100", NULL};
        static char *const environment[] = {NULL};
        int fd = open(in(name), O_RDWR | O_CREAT, 0644);

        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || write(ends[1], "", 1) != 1)
            _exit(1);
        (void) execve("/bin/sleep", argv, environment);
        _exit(1);
    }
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    ck_assert_int_eq(read(ends[0], &byte, 0), 0);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static inline unsigned count_descriptors(void) {
    _cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    return n;
}

static inline int run_suite(const char *name, TCase *tests) {
    Suite *suite = suite_create(name);

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 110);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
