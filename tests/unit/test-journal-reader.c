/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads journals back that systemd-journal-remote(8) makes from entries written here in the export format
 * (https://systemd.io/JOURNAL_EXPORT_FORMATS), shows them in each format, and compares JSON with what
 * journalctl(1) makes of them. Needs both programs: without them it fails. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "cli/log-format.h"
#include "journal/reader.h"

#include "suite.h"

#define EPOCH UINT64_C(1700000000) /* 2023-11-14 22:13:20 UTC */
#define OLD_BOOT "0123456789abcdef0123456789abcdef"

/* Two lines, a colour, a tab, and what is no text. */
static const char odd_message[] = "m7 \033[31mred\033[0m\n\tx\a\xff"
                                  "\0z\n";

static char directory[64]; /* of the test that runs */

/* One entry; `fields` are lines of the export format. */
static void put_entry(FILE *out, unsigned second, const char *boot_id, const char *fields) {
    fprintf(out, "__REALTIME_TIMESTAMP=%" PRIu64 "\n__MONOTONIC_TIMESTAMP=%u\n_BOOT_ID=%s\n%s\n",
            (EPOCH + second) * USEC_PER_SEC, (second + 1) * 1000000, boot_id, fields);
}

/* "NAME", the size, the value: for what has line breaks or is no text. */
static char *binary_field(const char *name, const char *value, size_t size, char buffer[static 256],
                          size_t *ret_size) {
    size_t n = (size_t) sprintf(buffer, "%s\n", name);

    for (size_t i = 0; i < 8; i++)
        buffer[n++] = (char) (size >> (8 * i));
    memcpy(buffer + n, value, size);
    buffer[n + size] = '\n';
    *ret_size = n + size + 1;
    return buffer;
}

static pid_t import_start(const char *export_path, const char *journal_name) {
    static const char *const programs[] = {"/lib/systemd/systemd-journal-remote",
                                           "/usr/lib/systemd/systemd-journal-remote"};
    posix_spawn_file_actions_t actions;
    char output[128], input[128];
    const char *program = NULL;
    pid_t pid;

    for (size_t i = 0; i < ELEMENTSOF(programs) && !program; i++)
        if (access(programs[i], X_OK) == 0)
            program = programs[i];
    ck_assert_msg(program, "systemd-journal-remote is missing: install the package of that name");
    snprintf(output, sizeof output, "--output=%s/%s.journal", directory, journal_name);
    snprintf(input, sizeof input, "%s", export_path);
    char mode[] = "--split-mode=none", name[] = "systemd-journal-remote";
    char *argv[] = {name, mode, output, input, NULL};
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    ck_assert_int_eq(posix_spawn(&pid, program, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void import_wait(pid_t pid) {
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static char this_boot[33];

static void write_journal(void) {
    char path[96], boot_id[37], buffer[256];
    size_t n = 0;
    int proc_fd = procfs_open();
    FILE *out;

    ck_assert_int_eq(procfs_read_boot_id(proc_fd, boot_id), 0);
    fd_close(proc_fd);
    for (char *p = boot_id; *p; p++)
        if (*p != '-')
            this_boot[n++] = *p;

    snprintf(path, sizeof path, "%s/export", directory);
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    put_entry(out, 0, OLD_BOOT,
              "MESSAGE=m0 the supervisor's\nPRIORITY=6\nSYSLOG_IDENTIFIER=latchd\n_PID=100\n_HOSTNAME=host\n"
              "LATCHD_SERVICE=kea\nLATCHD_GENERATION=7\n_TRANSPORT=journal\n");
    put_entry(out, 1, OLD_BOOT, "MESSAGE=x1 another service's\nPRIORITY=1\nLATCHD_SERVICE=dovecot\n");
    put_entry(
        out, 2, OLD_BOOT,
        "MESSAGE=m2 the daemon's stream\nPRIORITY=6\nSYSLOG_IDENTIFIER=kea\n_TRANSPORT=stdout\n_PID=101\n"
        "_HOSTNAME=host\n_SOURCE_REALTIME_TIMESTAMP=1700000001500000\n");
    put_entry(out, 3, OLD_BOOT,
              "MESSAGE=x3 somebody of that name\nPRIORITY=6\nSYSLOG_IDENTIFIER=kea\n_TRANSPORT=syslog\n");
    put_entry(
        out, 4, OLD_BOOT,
        "MESSAGE=m4 from the unit\nPRIORITY=3\n_SYSTEMD_UNIT=kea.service\n_COMM=kea-lfc\nSYSLOG_PID=104\n");
    put_entry(out, 5, OLD_BOOT,
              "MESSAGE=m5 about the unit\nPRIORITY=5\nUNIT=kea.service\n_PID=1\n_COMM=systemd\n");
    put_entry(out, 6, OLD_BOOT, "MESSAGE=x6 pretends to be PID 1\nPRIORITY=5\nUNIT=kea.service\n_PID=106\n");

    /* Several lines, controls, no UTF-8, no priority, a field that comes twice. */
    fprintf(out, "__REALTIME_TIMESTAMP=%" PRIu64 "\n__MONOTONIC_TIMESTAMP=9000000\n_BOOT_ID=" OLD_BOOT "\n",
            (EPOCH + 7) * USEC_PER_SEC);
    binary_field("MESSAGE", odd_message, sizeof odd_message - 1, buffer, &n);
    fwrite(buffer, 1, n, out);
    binary_field("LATCHD_REASON", "two\nlines", 9, buffer, &n);
    fwrite(buffer, 1, n, out);
    fputs("LATCHD_SERVICE=kea\nSYSLOG_IDENTIFIER=latchd\n_PID=100\n_HOSTNAME=host\n"
          "LATCHD_LOCK=/a\nLATCHD_LOCK=/b\n"
          "LATCHD_ESCAPE=\033[1m\nLATCHD_BYTE=a\xff\nLATCHD_TAB=a\tb\nLATCHD_UMLAUT=\xc3\xa4\n\n",
          out);
    put_entry(out, 8, this_boot,
              "MESSAGE=m8 this boot\nPRIORITY=4\nLATCHD_SERVICE=kea\nSYSLOG_IDENTIFIER=latchd\n");
    put_entry(
        out, 9, this_boot,
        "MESSAGE=m9 a stream of another name\nPRIORITY=6\nSYSLOG_IDENTIFIER=kea-dhcp4\n_TRANSPORT=stdout\n");
    put_entry(out, 10, this_boot, "PRIORITY=6\nLATCHD_SERVICE=kea\nLATCHD_NOTE=no message\n");
    ck_assert_int_eq(fclose(out), 0);
    import_wait(import_start(path, "first"));
}

static void setup(void) {
    setenv("TZ", "UTC", 1);
    tzset();
    strcpy(directory, "/tmp/test-journal.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    write_journal();
}

static void teardown(void) {
    static const char *const names[] = {"export", "first.journal", "second-export", "second.journal"};
    char path[96];

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void) unlink(path);
    }
    ck_assert_int_eq(rmdir(directory), 0);
}

static const char *const units[] = {"kea.service"};

/* Asserts that the query finds just these messages, by their first words (a "-" where there is none). */
static void assert_found(const struct journal_query *query, const char *expected) {
    struct journal_query wanted = *query;
    struct journal_reader *reader = NULL;
    struct journal_entry entry;
    struct err err = {0};
    char found[256] = "";
    int r;

    wanted.directory = directory;
    r = journal_reader_open(&wanted, &reader, &err);
    ck_assert_msg(r == 0, "%s", err_text(&err));
    while ((r = journal_reader_next(reader, &entry, &err)) > 0) {
        size_t used = strlen(found), length = entry.message ? strcspn(entry.message, " ") : 1;

        snprintf(found + used, sizeof found - used, "%s%.*s", used ? " " : "", (int) length,
                 entry.message ? entry.message : "-");
    }
    ck_assert_msg(r == 0, "%s", err_text(&err));
    ck_assert_str_eq(found, expected);
    journal_reader_close(reader);
}

#define FIND(expected, ...)                                                                                  \
    assert_found(&(struct journal_query){.service = "kea", .units = units, .n_units = 1, __VA_ARGS__},       \
                 expected)
#define AT(second) ((EPOCH + (second)) * USEC_PER_SEC)

START_TEST(finds_the_service) {
    assert_found(&(struct journal_query){.service = "kea"}, "m0 m2 m7 m8 -");
    FIND("m0 m2 m4 m5 m7 m8 -", .follow = false);
    assert_found(&(struct journal_query){.service = "kea", .identifier = "kea-dhcp4"}, "m0 m7 m8 m9 -");
    assert_found(&(struct journal_query){.service = "dovecot"}, "x1");
    assert_found(&(struct journal_query){.service = "nobody"}, "");
}
END_TEST

START_TEST(finds_lines) {
    FIND("m8 -", .lines_set = true, .lines = 2);
    FIND("-", .lines_set = true, .lines = 1);
    FIND("", .lines_set = true, .lines = 0);
    FIND("m0 m2 m4 m5 m7 m8 -", .lines_set = true, .lines = 7);
    FIND("m0 m2 m4 m5 m7 m8 -", .lines_set = true, .lines = 8);
    FIND("m0 m2 m4 m5 m7 m8 -", .lines_set = true, .lines = UINT64_MAX);
    assert_found(&(struct journal_query){.service = "nobody", .lines_set = true, .lines = 3}, "");
}
END_TEST

START_TEST(finds_priorities) {
    FIND("m4", .max_priority_set = true, .max_priority = LOG_ERR);
    FIND("", .max_priority_set = true, .max_priority = LOG_EMERG);
    FIND("m4 m8", .max_priority_set = true, .max_priority = LOG_WARNING);
    FIND("m0 m2 m4 m5 m8 -", .max_priority_set = true, .max_priority = LOG_DEBUG);
    FIND("m5 m8", .max_priority_set = true, .max_priority = LOG_NOTICE, .lines_set = true, .lines = 2);
}
END_TEST

START_TEST(finds_times) {
    FIND("m4 m5 m7 m8 -", .since_usec = AT(4));
    FIND("m5 m7 m8 -", .since_usec = AT(4) + 1);
    FIND("m0 m2 m4", .until_usec = AT(4));
    FIND("m0 m2", .until_usec = AT(4) - 1);
    FIND("m2 m4 m5", .since_usec = AT(1), .until_usec = AT(6));
    FIND("m4 m5", .since_usec = AT(1), .until_usec = AT(6), .lines_set = true, .lines = 2);
    FIND("m4 m5", .since_usec = AT(3), .until_usec = AT(6), .lines_set = true, .lines = 5);
    FIND("", .since_usec = AT(3), .until_usec = AT(3));
    FIND("", .until_usec = AT(0) - 1);
    FIND("", .until_usec = AT(0) - 1, .lines_set = true, .lines = 3);
    FIND("", .since_usec = AT(20));
    FIND("", .since_usec = AT(20), .lines_set = true, .lines = 3);
}
END_TEST

START_TEST(finds_this_boot) {
    FIND("m8 -", .this_boot = true);
    FIND("m8", .this_boot = true, .max_priority_set = true, .max_priority = LOG_WARNING);
}
END_TEST

START_TEST(reads_entries) {
    struct journal_reader *reader = NULL;
    struct journal_entry entry;
    struct journal_query query = {.service = "kea", .units = units, .n_units = 1};

    ck_assert_int_eq(setenv(JOURNAL_DIRECTORY_ENVIRONMENT, directory, 1), 0);
    ck_assert_int_eq(journal_reader_open(&query, &reader, NULL), 0);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_uint_eq(entry.realtime_usec, AT(0));
    ck_assert_uint_eq(entry.logged_usec, AT(0));
    ck_assert_uint_eq(entry.monotonic_usec, 1000000);
    ck_assert_str_eq(entry.boot_id, OLD_BOOT);
    ck_assert_int_eq(entry.priority, LOG_INFO);
    ck_assert_str_eq(entry.identifier, "latchd");
    ck_assert_str_eq(entry.pid, "100");
    ck_assert_str_eq(entry.hostname, "host");
    ck_assert_str_eq(entry.service, "kea");
    ck_assert_uint_eq(entry.generation, 7);
    ck_assert_str_eq(entry.message, "m0 the supervisor's");
    ck_assert_uint_eq(entry.message_size, strlen(entry.message));

    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_uint_eq(entry.realtime_usec, AT(2));
    ck_assert_uint_eq(entry.logged_usec, UINT64_C(1700000001500000));
    ck_assert_uint_eq(entry.generation, 0);
    ck_assert_ptr_null(entry.service);

    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_str_eq(entry.identifier, "kea-lfc");
    ck_assert_str_eq(entry.pid, "104");
    ck_assert_ptr_null(entry.hostname);

    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_int_eq(entry.priority, -1);
    ck_assert_uint_eq(entry.message_size, sizeof odd_message - 1);
    ck_assert_mem_eq(entry.message, odd_message, sizeof odd_message - 1);
    journal_reader_close(reader);
    unsetenv(JOURNAL_DIRECTORY_ENVIRONMENT);
}
END_TEST

/* What journal_show() writes; owned by the caller. */
static char *shown(const struct journal_query *query, enum log_format format, bool color, int expected) {
    struct journal_query wanted = *query;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct err err = {0};
    int r;

    wanted.directory = directory;
    r = journal_show(&wanted, format, out, color, &err);
    ck_assert_msg(r == expected, "%d shown: %s", r, err_text(&err));
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static void assert_shown(const struct journal_query *query, enum log_format format, bool color, int expected,
                         const char *expected_text) {
    _cleanup_free_ char *text = shown(query, format, color, expected);

    ck_assert_str_eq(text, expected_text);
}

START_TEST(shows_text) {
    struct journal_query query = {.service = "kea", .units = units, .n_units = 1};
    char expected[1024];

    snprintf(expected, sizeof expected,
             "Nov 14 22:13:20 host latchd[100]: m0 the supervisor's\n"
             "Nov 14 22:13:21 host kea[101]: m2 the daemon's stream\n"
             "Nov 14 22:13:24 kea-lfc[104]: m4 from the unit\n"
             "Nov 14 22:13:25 systemd[1]: m5 about the unit\n"
             "Nov 14 22:13:27 host latchd[100]: m7 red\n"
             "%*sx???z\n"
             "-- Boot %s --\n"
             "Nov 14 22:13:28 latchd: m8 this boot\n",
             (int) strlen("Nov 14 22:13:27 host latchd[100]: ") + 8, "", this_boot);
    assert_shown(&query, LOG_FORMAT_SHORT, false, 6, expected);
    assert_shown(&query, LOG_FORMAT_CAT, false, 6,
                 "m0 the supervisor's\nm2 the daemon's stream\nm4 from the unit\nm5 about the unit\nm7 red\n"
                 "        x???z\nm8 this boot\n");

    query.until_usec = AT(2);
    ck_assert_int_eq(setenv("TZ", "EST5", 1), 0);
    tzset();
    assert_shown(&query, LOG_FORMAT_SHORT_ISO, false, 2,
                 "2023-11-14T17:13:20-0500 host latchd[100]: m0 the supervisor's\n"
                 "2023-11-14T17:13:21-0500 host kea[101]: m2 the daemon's stream\n");

    query = (struct journal_query){
        .service = "kea", .units = units, .n_units = 1, .max_priority_set = true, .max_priority = LOG_NOTICE};
    assert_shown(&query, LOG_FORMAT_CAT, true, 3,
                 "\033[0;1;31mm4 from the unit\033[0m\n\033[0;1mm5 about the unit\033[0m\n"
                 "\033[0;1;33mm8 this boot\033[0m\n");
    query.service = "nobody";
    query.n_units = 0;
    assert_shown(&query, LOG_FORMAT_SHORT, false, 0, "");
}
END_TEST

/* Every line of `text` is the JSON that journalctl has for it too, and there are as many. */
START_TEST(shows_json_as_journalctl_does) {
    struct journal_query query = {.service = "kea"};
    _cleanup_free_ char *text = shown(&query, LOG_FORMAT_JSON, false, 5), *line = NULL;
    char command[256];
    size_t size = 0;
    unsigned n = 0;
    FILE *journalctl;

    snprintf(command, sizeof command,
             "journalctl --directory=%s --all -o json LATCHD_SERVICE=kea + SYSLOG_IDENTIFIER=kea "
             "_TRANSPORT=stdout",
             directory);
    journalctl = popen(command, "re");
    ck_assert_ptr_nonnull(journalctl);
    for (char *rest = text, *own; (own = strsep(&rest, "\n")) && *own; n++) {
        json_t *ours = json_loads(own, JSON_ALLOW_NUL, NULL), *theirs, *message;

        ck_assert_ptr_nonnull(ours);
        ck_assert_int_gt(getline(&line, &size, journalctl), 0);
        theirs = json_loads(line, JSON_ALLOW_NUL, NULL);
        ck_assert_ptr_nonnull(theirs);
        /* The order of a field's several values is the file's, which both read. */
        ck_assert_msg(json_equal(ours, theirs), "ours:   %s\ntheirs: %s", own, line);
        message = json_object_get(ours, "MESSAGE");
        ck_assert_int_eq(json_is_array(message), n == 2); /* m7 */
        if (n == 2) {
            ck_assert_uint_eq(json_array_size(message), sizeof odd_message - 1);
            ck_assert_int_eq(json_integer_value(json_array_get(message, 19)), 0xff);
            ck_assert_uint_eq(json_array_size(json_object_get(ours, "LATCHD_LOCK")), 2);
            ck_assert(json_is_array(json_object_get(ours, "LATCHD_ESCAPE")));
            ck_assert(json_is_array(json_object_get(ours, "LATCHD_BYTE")));
            ck_assert_str_eq(json_string_value(json_object_get(ours, "LATCHD_TAB")), "a\tb");
            ck_assert_str_eq(json_string_value(json_object_get(ours, "LATCHD_UMLAUT")), "\xc3\xa4");
            ck_assert_str_eq(json_string_value(json_object_get(ours, "LATCHD_REASON")), "two\nlines");
        }
        json_decref(ours);
        json_decref(theirs);
    }
    ck_assert_uint_eq(n, 5);
    ck_assert_int_lt(getline(&line, &size, journalctl), 0);
    ck_assert_int_eq(pclose(journalctl), 0);
}
END_TEST

START_TEST(follows) {
    struct journal_query query = {
        .directory = directory, .service = "kea", .follow = true, .lines_set = true, .lines = 1};
    struct journal_reader *reader = NULL;
    struct journal_entry entry;
    char path[96];
    FILE *out;
    pid_t pid;
    int r, fds[2];

    ck_assert_int_eq(journal_reader_open(&query, &reader, NULL), 0);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 1);
    ck_assert_ptr_null(entry.message);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 0);

    snprintf(path, sizeof path, "%s/second-export", directory);
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    put_entry(out, 30, this_boot, "MESSAGE=x30\nLATCHD_SERVICE=dovecot\n");
    put_entry(out, 31, this_boot, "MESSAGE=m31\nLATCHD_SERVICE=kea\n");
    ck_assert_int_eq(fclose(out), 0);
    pid = import_start(path, "second");
    while ((r = journal_reader_next(reader, &entry, NULL)) == 0)
        ck_assert_int_eq(journal_reader_wait(reader, -1, NULL), 1);
    ck_assert_int_eq(r, 1);
    ck_assert_str_eq(entry.message, "m31");
    import_wait(pid);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 0);

    /* Whoever read our output has gone: no reason to wait for entries. */
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    fd_close(fds[0]);
    ck_assert_int_eq(journal_reader_wait(reader, fds[1], NULL), -EPIPE);
    journal_reader_close(reader);
    signal(SIGPIPE, SIG_IGN);
    out = fdopen(fds[1], "w");
    ck_assert_int_eq(journal_show(&query, LOG_FORMAT_SHORT, out, false, NULL), 1);
    (void) fclose(out);
}
END_TEST

/* A service without an entry so far: the first one is found when it comes. */
START_TEST(follows_from_nothing) {
    struct journal_query query = {
        .directory = directory, .service = "kea-new", .follow = true, .lines_set = true, .lines = 10};
    struct journal_reader *reader = NULL;
    struct journal_entry entry;
    char path[96];
    FILE *out;
    pid_t pid;
    int r;

    ck_assert_int_eq(journal_reader_open(&query, &reader, NULL), 0);
    ck_assert_int_eq(journal_reader_next(reader, &entry, NULL), 0);
    snprintf(path, sizeof path, "%s/second-export", directory);
    out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    put_entry(out, 31, this_boot, "MESSAGE=m31\nLATCHD_SERVICE=kea-new\n");
    ck_assert_int_eq(fclose(out), 0);
    pid = import_start(path, "second");
    while ((r = journal_reader_next(reader, &entry, NULL)) == 0)
        ck_assert_int_eq(journal_reader_wait(reader, -1, NULL), 1);
    ck_assert_int_eq(r, 1);
    ck_assert_str_eq(entry.message, "m31");
    import_wait(pid);
    journal_reader_close(reader);
}
END_TEST

START_TEST(refuses) {
    struct journal_reader *reader = NULL;
    struct err err = {0};

    ck_assert_int_eq(
        journal_reader_open(&(struct journal_query){.directory = "/nonexistent", .service = "kea"}, &reader,
                            &err),
        -ENOENT);
    ck_assert_str_eq(err.name, "NoJournal");
    ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent"));
    ck_assert_int_eq(journal_reader_open(&(struct journal_query){.directory = directory}, &reader, &err),
                     -EINVAL);
    ck_assert_str_eq(err.name, "BadQuery");
    ck_assert_int_eq(journal_reader_open(
                         &(struct journal_query){
                             .directory = directory, .service = "kea", .follow = true, .until_usec = 1},
                         &reader, &err),
                     -EINVAL);
    ck_assert_str_eq(err.name, "BadQuery");
    ck_assert_ptr_null(reader);
    err_done(&err);
}
END_TEST

static void assert_time(const char *text, uint64_t expected_usec) {
    struct err err = {0};
    uint64_t usec = 0;
    int r = log_parse_time(text, EPOCH * USEC_PER_SEC, &usec, &err);

    ck_assert_msg(r == 0, "%s: %s", text, err_text(&err));
    ck_assert_msg(usec == expected_usec, "%s: %" PRIu64 " and not %" PRIu64, text, usec, expected_usec);
}

START_TEST(parses_times) {
    static const char *const bad[] = {
        "",          "-",      "+",           "ago",         "soon",         "2023-02-30", "2023-13-01",
        "25:00",     "12:00x", "@",           "@1h",         "@-1",          "1h",         "-1 fortnight",
        "12:00 CET", "todayx", "2023-11-14 ", "2023-11-14T", "infinity ago", "1969-01-01", "Z",
        "UTC",       "@.5",    "-infinity"};
    const uint64_t midnight = UINT64_C(1699920000) * USEC_PER_SEC, hour = 3600 * USEC_PER_SEC;
    uint64_t usec = 77;

    assert_time("now", AT(0));
    assert_time("today", midnight);
    assert_time("yesterday", midnight - 24 * hour);
    assert_time("tomorrow", midnight + 24 * hour);
    assert_time("2023-11-14", midnight);
    assert_time("2023-11-14 12:00", midnight + 12 * hour);
    assert_time("2023-11-14 22:13:20", AT(0));
    assert_time("2023-11-14T22:13:20", AT(0));
    assert_time("2023-11-14T22:13:20Z", AT(0));
    assert_time("2023-11-14 22:13:20.25 UTC", AT(0) + 250000);
    assert_time("12:00", midnight + 12 * hour);
    assert_time("12:00:01", midnight + 12 * hour + USEC_PER_SEC);
    assert_time("-1h", AT(0) - hour);
    assert_time("+1h 30min", AT(0) + hour + hour / 2);
    assert_time("1h ago", AT(0) - hour);
    assert_time("90 min ago", AT(0) - hour - hour / 2);
    assert_time("@1700000000", AT(0));
    assert_time("@1700000000.5", AT(0) + 500000);
    assert_time("@0", 1);
    assert_time("-99999d", 1);

    ck_assert_int_eq(setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1), 0);
    tzset();
    assert_time("2023-11-14 17:13:20", AT(0));
    assert_time("17:13:20", AT(0));
    assert_time("2023-11-14 22:13:20 UTC", AT(0));
    assert_time("22:13:20Z", AT(0));
    assert_time("today", midnight + 5 * hour);
    assert_time("2023-07-01", UINT64_C(1688184000) * USEC_PER_SEC); /* summer time */

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        struct err err = {0};

        ck_assert_msg(log_parse_time(bad[i], AT(0), &usec, &err) < 0, "\"%s\" is a time", bad[i]);
        ck_assert_str_eq(err.name, "BadTime");
        ck_assert_uint_eq(usec, 77);
        err_done(&err);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("journal-reader");
    TCase *tcase = tcase_create("journal-reader");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, finds_the_service);
    tcase_add_test(tcase, finds_lines);
    tcase_add_test(tcase, finds_priorities);
    tcase_add_test(tcase, finds_times);
    tcase_add_test(tcase, finds_this_boot);
    tcase_add_test(tcase, reads_entries);
    tcase_add_test(tcase, shows_text);
    tcase_add_test(tcase, shows_json_as_journalctl_does);
    tcase_add_test(tcase, follows);
    tcase_add_test(tcase, follows_from_nothing);
    tcase_add_test(tcase, refuses);
    tcase_add_test(tcase, parses_times);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
