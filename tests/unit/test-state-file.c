/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "runtime/main-note.h"

#include "suite.h"

#define ID "0123456789abcdef0123456789abcdef"
#define BOOT "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

static char directory[64];
static int dir_fd = -EBADF, proc_fd = -EBADF;
static pid_t child;

static void set_up(void) {
    strcpy(directory, "/tmp/test-state-file.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    proc_fd = procfs_open();
    ck_assert_int_ge(dir_fd, 0);
    ck_assert_int_ge(proc_fd, 0);
    child = 0;
}

static void end_child(void) {
    if (child > 0) {
        (void) kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
    }
    child = 0;
}

static void tear_down(void) {
    char command[96];

    end_child();
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    ck_assert_int_eq(system(command), 0);
    dir_fd = fd_close(dir_fd);
    proc_fd = fd_close(proc_fd);
}

static const struct service_record full = {
    .generation = 7,
    .invocation_id = ID,
    .main = {.pid = 4711, .start_ticks = 123456, .boot_id = BOOT},
    .since_usec = 1700000000000000,
    .restarts = 3,
};

static void assert_same(const struct service_record *a, const struct service_record *b) {
    ck_assert_uint_eq(a->generation, b->generation);
    ck_assert_str_eq(a->invocation_id, b->invocation_id);
    ck_assert_int_eq(a->main.pid, b->main.pid);
    ck_assert_uint_eq(a->main.start_ticks, b->main.start_ticks);
    ck_assert_str_eq(a->main.boot_id, b->main.boot_id);
    ck_assert_uint_eq(a->since_usec, b->since_usec);
    ck_assert_uint_eq(a->restarts, b->restarts);
    ck_assert_str_eq(a->state, b->state);
    ck_assert_str_eq(a->state_boot_id, b->state_boot_id);
    ck_assert_uint_eq(a->state_since_usec, b->state_since_usec);
    ck_assert_uint_eq(a->state_until_usec, b->state_until_usec);
    ck_assert(a->stays_down == b->stays_down && a->start_again == b->start_again);
    ck_assert(a->ended_by_itself == b->ended_by_itself);
    ck_assert(a->end_is_failure == b->end_is_failure && a->executed == b->executed &&
              a->exit_known == b->exit_known);
    ck_assert(a->exit_unexecuted == b->exit_unexecuted);
    ck_assert_uint_eq(a->restarts_in_a_row, b->restarts_in_a_row);
    ck_assert_uint_eq(a->limit_window_usec, b->limit_window_usec);
    ck_assert_uint_eq(a->limit_starts, b->limit_starts);
    ck_assert_uint_eq(a->exit_usec, b->exit_usec);
    ck_assert_uint_eq(a->exit_code, b->exit_code);
    ck_assert_uint_eq(a->exit_status, b->exit_status);
}

static unsigned count_files(void) {
    _cleanup_closedir_ DIR *dir = opendir(directory);
    struct dirent *entry;
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)))
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    return n;
}

START_TEST(round_trip) {
    const struct service_record most = {
        .generation = INT64_MAX,
        .invocation_id = "ffffffffffffffffffffffffffffffff",
        .main = {.pid = INT_MAX, .start_ticks = INT64_MAX, .boot_id = BOOT},
        .since_usec = INT64_MAX,
        .restarts = INT64_MAX,
        .state = "fifteen-letters",
        .state_boot_id = BOOT,
        .state_since_usec = INT64_MAX,
        .state_until_usec = INT64_MAX,
        .stays_down = true,
        .ended_by_itself = true,
        .start_again = true,
        .end_is_failure = true,
        .executed = true,
        .leads_session = true,
        .restarts_in_a_row = UINT32_MAX,
        .limit_window_usec = 1,
        .limit_starts = 2,
        .exit_usec = 3,
        .exit_known = true,
        .exit_unexecuted = true,
        .exit_code = 4,
        .exit_status = 5,
    };
    const struct service_record none = {.generation = 0};
    const struct service_record *const records[] = {&full, &most, &none, &full};
    struct stat st;

    for (size_t i = 0; i < ELEMENTSOF(records); i++) {
        struct service_record got = {.generation = 99};

        ck_assert_int_eq(state_file_write(dir_fd, "a.b@c:d-e_f", records[i], NULL), 0);
        ck_assert_int_eq(state_file_read(dir_fd, "a.b@c:d-e_f", &got, NULL), 0);
        assert_same(&got, records[i]);
    }
    ck_assert_uint_eq(count_files(), 1); /* written whole, and nothing left beside it */
    ck_assert_int_eq(fstatat(dir_fd, "a.b@c:d-e_f.state", &st, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert_uint_eq(st.st_mode & 07022, 0);
}
END_TEST

START_TEST(there_is_none) {
    struct service_record got = full;
    _cleanup_err_ struct err err = {0};

    ck_assert_int_eq(state_file_read(dir_fd, "kea4", &got, &err), -ENOENT);
    ck_assert_ptr_null(err.name);
    assert_same(&got, &full); /* untouched */
}
END_TEST

START_TEST(name_too_long) {
    char name[300];
    struct service_record got;
    _cleanup_err_ struct err err = {0};

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(state_file_write(dir_fd, name, &full, &err), -ENAMETOOLONG);
    ck_assert_int_eq(state_file_read(dir_fd, name, &got, &err), -ENAMETOOLONG);
}
END_TEST

static void put(const char *text, size_t size) {
    _cleanup_close_ int fd = openat(dir_fd, "kea4.state", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, size), 0);
}

static void assert_bad(const char *what) {
    struct service_record got = full;
    _cleanup_err_ struct err err = {0};

    ck_assert_msg(state_file_read(dir_fd, "kea4", &got, &err) == -EBADMSG, "taken: %s", what);
    ck_assert_str_eq(err.name, "BadState");
    ck_assert_ptr_nonnull(strstr(err_text(&err), "kea4.state"));
    assert_same(&got, &full);
}

/* A file cut off anywhere (the machine lost power) is no record, nor is one with something behind it. */
START_TEST(cut_off) {
    _cleanup_free_ char *text = NULL, *more = NULL;
    struct service_record got;
    size_t size;

    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &full, NULL), 0);
    ck_assert_int_eq(fd_read_file_at(dir_fd, "kea4.state", 65536, &text, &size), 0);
    for (size_t i = 0; i < size; i++) {
        put(text, i);
        assert_bad("a part");
    }
    put(text, size);
    ck_assert_int_eq(state_file_read(dir_fd, "kea4", &got, NULL), 0);
    more = calloc(1, 70000);
    ck_assert_ptr_nonnull(more);
    memcpy(more, text, size);
    put(more, size + 1);
    assert_bad("a NUL behind it");
    memset(more + size, 'x', 10);
    put(more, size + 10);
    assert_bad("text behind it");
    memset(more + size, ' ', 70000 - size);
    put(more, 70000);
    assert_bad("too long");
    put("", 0);
    assert_bad("empty");
}
END_TEST

#define GOOD_KEYS                                                                                            \
    "\"generation\": 7, \"invocationId\": \"" ID "\", \"startTicks\": 5, \"sinceUSec\": 1, \"restarts\": 0"
#define HEAD "\"schema\": 1, \"service\": \"kea4\", "

static const char *const damaged[] = {
    "null",
    "[]",
    "7",
    "{}",
    "{{",
    "\xff\xfe",
    /* each key missing, of another type, or out of range */
    "{\"service\": \"kea4\", " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{\"schema\": 0, \"service\": \"kea4\", " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{\"schema\": \"1\", \"service\": \"kea4\", " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{\"schema\": -4294967295, \"service\": \"kea4\", " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT
    "\"}",
    "{\"schema\": 1, \"service\": \"kea6\", " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{\"schema\": 1, " GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": -1, \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 4294967301, \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5.0, \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": \"5\", \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"mainPid\": 6, \"bootId\": \"" BOOT "\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "a\"}",
    "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"bootId\": null}",
    "{" HEAD "\"generation\": -7, \"invocationId\": \"" ID
    "\", \"startTicks\": 5, \"sinceUSec\": 1, \"restarts\": 0, "
    "\"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD "\"generation\": 7, \"invocationId\": \"" ID
    "0\", \"startTicks\": 5, \"sinceUSec\": 1, \"restarts\": 0, "
    "\"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD
    "\"generation\": 7, \"invocationId\": \"0123456789abcdef0123456789abcde\\n\", \"startTicks\": 5, "
    "\"sinceUSec\": 1, \"restarts\": 0, \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD "\"generation\": 7, \"invocationId\": \"" ID
    "\", \"startTicks\": -5, \"sinceUSec\": 1, \"restarts\": 0, "
    "\"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD "\"generation\": 7, \"invocationId\": \"" ID
    "\", \"startTicks\": 5, \"sinceUSec\": true, \"restarts\": 0, "
    "\"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
    "{" HEAD "\"generation\": 7, \"invocationId\": \"" ID
    "\", \"startTicks\": 5, \"sinceUSec\": 1, \"mainPid\": 5, "
    "\"bootId\": \"" BOOT "\"}",
};

/* Behind a good record: each optional field, of another type or out of range. */
static const char *const bad_fields[] = {
    "\"state\": 5",
    "\"state\": \"Running\"",
    "\"state\": \"run\\nning\"",
    "\"state\": \"sixteen-letters-\"",
    "\"state\": null",
    "\"stateBootId\": \"" BOOT "a\"",
    "\"stateBootId\": true",
    "\"stateSinceUSec\": -1",
    "\"stateSinceUSec\": \"1\"",
    "\"stateUntilUSec\": -1",
    "\"stateUntilUSec\": 1.5",
    "\"staysDown\": 1",
    "\"staysDown\": \"true\"",
    "\"startAgain\": null",
    "\"executed\": 1",
    "\"endIsFailure\": 0",
    "\"restartsInARow\": -1",
    "\"limitWindowUSec\": []",
    "\"limitStarts\": -7",
    "\"exitUSec\": {}",
    "\"exitKnown\": \"\"",
    "\"exitUnexecuted\": 0",
    "\"exitCode\": -1",
    "\"exitStatus\": true",
    "\"config\": 5",
    "\"config\": null",
};

START_TEST(bad_field) {
    char text[1024];

    snprintf(text, sizeof text, "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\", %s}",
             bad_fields[_i]);
    put(text, strlen(text));
    assert_bad(text);
}
END_TEST

/* Who wrote it knew more, and there may be a daemon: nothing is guessed, and what to do is said. */
START_TEST(newer) {
    const char *texts[] = {"{\"schema\": 2, \"service\": \"kea4\", " GOOD_KEYS
                           ", \"mainPid\": 5, \"bootId\": \"" BOOT "\"}",
                           "{\"schema\": 4294967297, \"mainPid\": 5}"};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        struct service_record got = full;
        _cleanup_err_ struct err err = {0};

        put(texts[i], strlen(texts[i]));
        ck_assert_int_eq(state_file_read(dir_fd, "kea4", &got, &err), -EPROTONOSUPPORT);
        ck_assert_str_eq(err.name, "NewerState");
        ck_assert_ptr_nonnull(strstr(err_text(&err), "PID 5"));
        ck_assert_ptr_nonnull(strstr(err_text(&err), "remove the file"));
        assert_same(&got, &full);
    }
}
END_TEST

START_TEST(with_configuration) {
    struct service_record record = full;
    char *text = NULL, *long_one = calloc(1, 20001);

    ck_assert_int_eq(state_file_read_config(dir_fd, "kea4", &text, NULL), -ENOENT);
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &full, NULL), 0);
    ck_assert_int_eq(state_file_read_config(dir_fd, "kea4", &text, NULL), -ENODATA);
    record.config = "[Service]\nExecStart=/bin/true \"a\"\n";
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &record, NULL), 0);
    ck_assert_int_eq(state_file_read_config(dir_fd, "kea4", &text, NULL), 0);
    ck_assert_str_eq(text, record.config);
    free(text);
    /* It must never make a file that would not be read. */
    ck_assert_ptr_nonnull(long_one);
    memset(long_one, '\x01', 20000);
    record.config = long_one;
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &record, NULL), 0);
    ck_assert_int_eq(state_file_read_config(dir_fd, "kea4", &text, NULL), -ENODATA);
    free(long_one);
}
END_TEST

/* What an administrator made in its place is moved, not lost, and the service can be started. */
START_TEST(directory_in_its_place) {
    struct service_record got;

    ck_assert_int_eq(mkdirat(dir_fd, "kea4.state", 0700), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "kea4.state/inside", 0700), 0);
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &full, NULL), 0);
    ck_assert_int_eq(state_file_read(dir_fd, "kea4", &got, NULL), 0);
    ck_assert_int_eq(faccessat(dir_fd, ".kea4.state.aside/inside", F_OK, 0), 0);
    ck_assert_uint_eq(count_files(), 2);
}
END_TEST

START_TEST(damage) {
    put(damaged[_i], strlen(damaged[_i]));
    assert_bad(damaged[_i]);
}
END_TEST

/* More fields are a later version's business. */
START_TEST(more_fields) {
    const char *text = "{" HEAD GOOD_KEYS ", \"mainPid\": 5, \"bootId\": \"" BOOT "\", \"more\": [1, 2]}";
    struct service_record got;

    put(text, strlen(text));
    ck_assert_int_eq(state_file_read(dir_fd, "kea4", &got, NULL), 0);
    ck_assert_int_eq(got.main.pid, 5);
}
END_TEST

START_TEST(foreign_owner) {
    if (geteuid() != 0) {
        printf("SKIP foreign_owner: needs root\n");
        return;
    }
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &full, NULL), 0);
    ck_assert_int_eq(fchownat(dir_fd, "kea4.state", 65534, 65534, 0), 0);
    assert_bad("somebody else's");
}
END_TEST

/* Nothing is followed and nothing is waited for. */
START_TEST(not_a_file) {
    struct stat st;

    ck_assert_int_eq(state_file_write(dir_fd, "other", &full, NULL), 0);
    ck_assert_int_eq(symlinkat("other.state", dir_fd, "kea4.state"), 0);
    assert_bad("a symbolic link");
    /* Writing replaces the link and leaves its target alone. */
    ck_assert_int_eq(state_file_write(dir_fd, "kea4", &full, NULL), 0);
    ck_assert_int_eq(fstatat(dir_fd, "kea4.state", &st, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert(S_ISREG(st.st_mode));
    ck_assert_int_eq(unlinkat(dir_fd, "kea4.state", 0), 0);

    ck_assert_int_eq(mkfifoat(dir_fd, "kea4.state", 0600), 0);
    assert_bad("a FIFO");
    ck_assert_int_eq(unlinkat(dir_fd, "kea4.state", 0), 0);
    ck_assert_int_eq(mkdirat(dir_fd, "kea4.state", 0700), 0);
    assert_bad("a directory");
}
END_TEST

/* ---- is it the daemon? ---- */

static bool session; /* the children lead sessions of their own */

/* A child that executes `sleep` with this environment after a while, and the record of it, which says nothing
 * of its session. */
static struct service_record begin(char *const environment[], unsigned delay_usec) {
    static char *const argv[] = {(char *) "sleep", (char *) "60", NULL};
    struct service_record record = full;
    _cleanup_close_ int pidfd = -EBADF;
    int ends[2];
    char byte;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (session)
            (void) setsid();
        (void) usleep(delay_usec);
        (void) execve("/bin/sleep", argv, environment);
        _exit(127);
    }
    close(ends[1]);
    if (delay_usec == 0)
        ck_assert_int_eq(read(ends[0], &byte, 1), 0); /* it has been executed */
    close(ends[0]);
    pidfd = process_pin(proc_fd, child, &record.main);
    ck_assert_int_ge(pidfd, 0);
    record.leads_session = false;
    return record;
}

static char *const marked[] = {(char *) "LATCHD_SERVICE=kea4", (char *) "INVOCATION_ID=" ID, NULL};
static char *const unmarked[] = {(char *) "PATH=/bin", NULL};

static int find_by(const struct service_record *record, const char *exe, uint64_t *ret_took_usec) {
    uint64_t before = now_usec(CLOCK_MONOTONIC);
    int r = state_file_find_main(proc_fd, "kea4", record, exe);

    *ret_took_usec = now_usec(CLOCK_MONOTONIC) - before;
    if (r >= 0) {
        ck_assert(!process_pidfd_ended(r));
        close(r);
        return 0;
    }
    return r;
}

START_TEST(the_very_process) {
    struct service_record record = begin(marked, 0), forged;
    uint64_t took;

    ck_assert_int_eq(find_by(&record, NULL, &took), 0);
    ck_assert_uint_lt(took, USEC_PER_SEC);

    forged = record;
    forged.main.start_ticks++; /* its marks speak against that the number was given out again */
    ck_assert_int_eq(find_by(&forged, "/bin/sleep", &took), -EXDEV);
    strcpy(forged.invocation_id, "00000000000000000000000000000000");
    ck_assert_int_eq(find_by(&forged, "/bin/sleep", &took), -ESRCH);
    forged = record;
    strcpy(forged.main.boot_id, BOOT); /* before the machine was started anew */
    ck_assert_int_eq(find_by(&forged, "/bin/sleep", &took), -ESRCH);
    forged = record;
    forged.main.pid = 0;
    ck_assert_int_eq(find_by(&forged, "/bin/sleep", &took), -ESRCH);

    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t) child, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(find_by(&record, "/bin/sleep", &took), -ESRCH); /* a zombie */
    end_child();
    ck_assert_int_eq(find_by(&record, "/bin/sleep", &took), -ESRCH);
}
END_TEST

/* Records that name a living process which is not the daemon. Each is refused, after a moment's patience. */
START_TEST(forged_records) {
    static char *const environments[][3] = {
        {(char *) "LATCHD_SERVICE=kea6", (char *) "INVOCATION_ID=" ID, NULL},
        {(char *) "LATCHD_SERVICE=kea4", (char *) "INVOCATION_ID=ffff456789abcdef0123456789abcdef", NULL},
        {(char *) "LATCHD_SERVICE=kea4", NULL},
        {(char *) "INVOCATION_ID=" ID, NULL},
        {(char *) "XLATCHD_SERVICE=kea4", (char *) "XINVOCATION_ID=" ID, NULL},
        {NULL},
    };
    struct service_record record = begin(environments[_i], 0);
    uint64_t took;

    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -EBADMSG);
    ck_assert_uint_lt(took, 10 * USEC_PER_SEC);
}
END_TEST

START_TEST(init_is_nobodys_daemon) {
    struct service_record record = full;
    struct proc_stat stat;
    uint64_t took;

    ck_assert_int_eq(procfs_read_stat(proc_fd, 1, &stat), 0);
    record.main.pid = 1;
    record.main.start_ticks = stat.start_ticks;
    ck_assert_int_eq(procfs_read_boot_id(proc_fd, record.main.boot_id), 0);
    ck_assert_int_eq(find_by(&record, "/bin/sleep", &took), -EBADMSG);
}
END_TEST

/* A daemon that wrote over its environment is known by its executable; marks of another service are still
 * marks. */
START_TEST(known_by_its_executable) {
    struct service_record record = begin(unmarked, 0);
    char *exe = realpath("/bin/sleep", NULL);
    char *const other[] = {(char *) "LATCHD_SERVICE=kea6", (char *) "INVOCATION_ID=" ID, NULL};
    uint64_t took;

    ck_assert_ptr_nonnull(exe);
    ck_assert_int_eq(find_by(&record, exe, &took), 0);
    ck_assert_uint_lt(took, USEC_PER_SEC);
    end_child();
    record = begin(other, 0);
    ck_assert_int_eq(find_by(&record, exe, &took), -EBADMSG);
    free(exe);
}
END_TEST

/* Begun with nothing (env -i), by a wrapper: the record says that the daemon leads its session. Marks of
 * another service still speak against it, and so does another session. */
START_TEST(known_by_its_session) {
    char *const other[] = {(char *) "LATCHD_SERVICE=kea6", (char *) "INVOCATION_ID=" ID, NULL};
    struct service_record record = begin(unmarked, 0);
    uint64_t took;

    record.leads_session = true;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -EBADMSG);
    end_child();
    session = true;
    record = begin(unmarked, 0);
    record.leads_session = true;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), 0);
    record.leads_session = false;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -EBADMSG);
    end_child();
    record = begin(other, 0);
    record.leads_session = true;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -ENODATA);
    session = false;
}
END_TEST

/* Begun by latchd exec, or named by MAINPID=: it is in somebody else's session, or has left that for one of its own. */
START_TEST(known_by_a_strange_session) {
    char *const half[] = {(char *) "LATCHD_SERVICE=kea4", NULL};
    struct service_record record = begin(unmarked, 0);
    uint64_t took;

    service_record_set_session(&record, getsid(0));
    ck_assert(!record.leads_session);
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), 0);
    ck_assert_uint_lt(took, USEC_PER_SEC);
    record.session++;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -EBADMSG);
    /* Whether the suite's own session is led from outside its PID namespace is the caller's choice. */
    record.session = getsid(0) > 0 ? STATE_SESSION_OUTSIDE : 1;
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), -EBADMSG);
    end_child();
    record = begin(half, 0);
    service_record_set_session(&record, getsid(0));
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), 0);
    end_child();
    session = true;
    record = begin(unmarked, 0);
    service_record_set_session(&record, getsid(0));
    ck_assert_int_eq(find_by(&record, "/usr/sbin/kea-dhcp4", &took), 0);
    session = false;
}
END_TEST

/* ---- what NAME.lock says ---- */

static void put_lock(const char *text, size_t size) {
    int fd = openat(dir_fd, "kea4.lock", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, size), 0);
    close(fd);
}

START_TEST(note_round_trip) {
    struct service_record record = full, got;
    char text[512];
    size_t size = 0;
    int fd;

    service_record_set_session(&record, 17);
    ck_assert_int_eq(main_note_write(dir_fd, "kea4", &record), -ENOENT);
    ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), -ENODATA);
    put_lock("", 0);
    ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), -ENODATA);
    ck_assert_int_eq(main_note_write(dir_fd, "kea4", &record), 0);
    ck_assert_uint_gt(record.main_usec, 0);
    ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), 0);
    ck_assert(process_id_equal(&got.main, &record.main));
    ck_assert_str_eq(got.invocation_id, record.invocation_id);
    ck_assert_uint_eq(got.generation, record.generation);
    ck_assert_uint_eq(got.session, 17);
    ck_assert_uint_eq(got.main_usec, record.main_usec);
    record.main.pid = 9; /* shorter */
    record.main.start_ticks = 1;
    ck_assert_int_eq(main_note_write(dir_fd, "kea4", &record), 0);
    ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), 0);
    ck_assert(process_id_equal(&got.main, &record.main));

    fd = openat(dir_fd, "kea4.lock", O_RDONLY | O_CLOEXEC);
    size = (size_t) read(fd, text, sizeof text);
    close(fd);
    ck_assert_uint_lt(size, sizeof text);
    for (size_t cut = 0; cut < size; cut++) {
        put_lock(text, cut);
        ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), -ENODATA);
    }
    for (size_t i = 0; i + 1 < size && text[i] != ' '; i++) {
        char before = text[i];

        text[i] = '\0';
        put_lock(text, size);
        ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), -ENODATA);
        text[i] = before;
    }
    text[size - 2] = 'x';
    put_lock(text, size);
    ck_assert_int_eq(main_note_read(dir_fd, "kea4", &got), -ENODATA);
}
END_TEST

/* Which of the two counts, where they differ. */
START_TEST(note_or_record) {
    struct service_record record = begin(marked, 0), asked = {0}, dead = record;
    bool noted = false;
    int fd;

    put_lock("", 0);
    dead.main.start_ticks++;
    strcpy(dead.invocation_id, "ffff456789abcdef0123456789abcdef");
    asked = dead;
    ck_assert_int_eq(main_note_find(proc_fd, dir_fd, "kea4", NULL, &asked, &noted), -ESRCH);
    ck_assert(!noted);
    ck_assert_int_eq(main_note_write(dir_fd, "kea4", &record), 0);
    strcpy(asked.state, "stopped");
    fd = main_note_find(proc_fd, dir_fd, "kea4", NULL, &asked, &noted);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(noted && process_id_equal(&asked.main, &record.main));
    ck_assert_str_eq(asked.invocation_id, record.invocation_id);
    ck_assert_str_eq(asked.state, ""); /* it was said of another generation */

    noted = false;
    asked = record; /* the record's lives: an older note is not asked */
    ck_assert_int_eq(main_note_write(dir_fd, "kea4", &dead), 0);
    asked.main_usec = dead.main_usec;
    fd = main_note_find(proc_fd, dir_fd, "kea4", NULL, &asked, &noted);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(!noted);
    asked.main_usec--; /* a newer one names one that is gone */
    fd = main_note_find(proc_fd, dir_fd, "kea4", NULL, &asked, &noted);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(!noted);
}
END_TEST

/* Its latchd died between the record and the exec. */
START_TEST(on_its_way) {
    struct service_record record = begin(marked, 300000);
    uint64_t took;

    ck_assert_int_eq(find_by(&record, NULL, &took), 0);
    ck_assert_uint_ge(took, 100 * USEC_PER_MSEC);
    end_child();
    child = fork();
    if (child == 0) {
        (void) usleep(300000);
        _exit(0);
    }
    close(process_pin(proc_fd, child, &record.main));
    ck_assert_int_eq(find_by(&record, NULL, &took), -ESRCH); /* it came to nothing */
    ck_assert_uint_lt(took, 1500 * USEC_PER_MSEC);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("state-file");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, there_is_none);
    tcase_add_test(tests, name_too_long);
    tcase_add_test(tests, cut_off);
    tcase_add_loop_test(tests, damage, 0, ELEMENTSOF(damaged));
    tcase_add_loop_test(tests, bad_field, 0, ELEMENTSOF(bad_fields));
    tcase_add_test(tests, newer);
    tcase_add_test(tests, with_configuration);
    tcase_add_test(tests, directory_in_its_place);
    tcase_add_test(tests, more_fields);
    tcase_add_test(tests, foreign_owner);
    tcase_add_test(tests, not_a_file);
    tcase_add_test(tests, the_very_process);
    tcase_add_loop_test(tests, forged_records, 0, 6);
    tcase_add_test(tests, init_is_nobodys_daemon);
    tcase_add_test(tests, known_by_its_executable);
    tcase_add_test(tests, known_by_its_session);
    tcase_add_test(tests, known_by_a_strange_session);
    tcase_add_test(tests, note_round_trip);
    tcase_add_test(tests, note_or_record);
    tcase_add_test(tests, on_its_way);
    suite_add_tcase(suite, tests);

    return suite_run(suite);
}
