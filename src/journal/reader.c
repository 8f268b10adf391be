/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal/reader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#include "base/fd.h"
#include "base/library.h"
#include "base/procfs.h"
#include "base/value.h"

#define LIBRARY "libsystemd.so.0"

/* What is used of libsystemd. */
#define FOREACH_FUNCTION(X)                                                                                  \
    X(sd_journal_open)                                                                                       \
    X(sd_journal_open_directory)                                                                             \
    X(sd_journal_close)                                                                                      \
    X(sd_journal_has_runtime_files)                                                                          \
    X(sd_journal_has_persistent_files)                                                                       \
    X(sd_journal_add_match)                                                                                  \
    X(sd_journal_add_disjunction)                                                                            \
    X(sd_journal_add_conjunction)                                                                            \
    X(sd_journal_seek_head)                                                                                  \
    X(sd_journal_seek_tail)                                                                                  \
    X(sd_journal_seek_realtime_usec)                                                                         \
    X(sd_journal_next)                                                                                       \
    X(sd_journal_previous_skip)                                                                              \
    X(sd_journal_get_realtime_usec)                                                                          \
    X(sd_journal_get_monotonic_usec)                                                                         \
    X(sd_journal_get_cursor)                                                                                 \
    X(sd_journal_set_data_threshold)                                                                         \
    X(sd_journal_restart_data)                                                                               \
    X(sd_journal_enumerate_available_data)                                                                   \
    X(sd_journal_get_fd)                                                                                     \
    X(sd_journal_get_events)                                                                                 \
    X(sd_journal_get_timeout)                                                                                \
    X(sd_journal_process)

struct library {
    void *handle;
#define X(name) __typeof__(&name) name;
    FOREACH_FUNCTION(X)
#undef X
};

struct journal_reader {
    struct library lib;
    sd_journal *journal;
    uint64_t since_usec, until_usec;
    bool positioned; /* the current entry has not been handed out yet */
    bool restricted;
    char *cursor;

    /* The entry handed out last: its texts one after the other, and where in them each field is. */
    char *data;
    size_t data_used_bytes, data_room_bytes;
    struct field_place {
        size_t name, data, size;
    } * places;
    struct journal_field *fields;
    size_t n_fields, fields_room;
};

static int load(struct library *lib, struct err *err) {
    const struct library_function functions[] = {
#define X(name) {#name, &lib->name},
        FOREACH_FUNCTION(X)
#undef X
    };
    const char *why;

    if (library_load(LIBRARY, functions, ELEMENTSOF(functions), &lib->handle, &why) < 0)
        return err_set(
            err, ENOPKG, "NoLibrary",
            "cannot read the journal: %s; install it, or a newer one (Debian: apt install libsystemd0, "
            "Fedora: dnf install systemd-libs)",
            why);
    return 0;
}

static bool is_denied(const char *path) {
    return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 && errno == EACCES;
}

/* Whether journal files exist, and whether one of them may not be read: they are for root and the group
 * systemd-journal. So may be the directory of a machine that they are in (tmpfiles.d makes it 2750 or 2755);
 * journald makes it to put files there. */
static void look_for_files(bool *ret_exist, bool *ret_restricted) {
    bool exist = false, restricted = false;
    glob_t found = {0}, machines = {0};

    (void) glob("/run/log/journal/*/*.journal*", 0, NULL, &found);
    (void) glob("/var/log/journal/*/*.journal*", GLOB_APPEND, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        exist = true;
        restricted |= is_denied(found.gl_pathv[i]);
    }
    globfree(&found);
    (void) glob("/run/log/journal/*", GLOB_ONLYDIR, NULL, &machines);
    (void) glob("/var/log/journal/*", GLOB_ONLYDIR | GLOB_APPEND, NULL, &machines);
    for (size_t i = 0; i < machines.gl_pathc; i++)
        if (is_denied(machines.gl_pathv[i]))
            exist = restricted = true;
    globfree(&machines);
    *ret_exist = exist;
    *ret_restricted = restricted;
}

static int open_directory(struct journal_reader *reader, const char *directory, struct err *err) {
    int r = reader->lib.sd_journal_open_directory(&reader->journal, directory, 0);

    if (r == -ENOENT || r == -ENOTDIR)
        return err_set(err, -r, "NoJournal", "cannot read the journal: there is no directory %s", directory);
    return r < 0 ? err_set(err, -r, "System", "cannot read the journal in %s: %m", directory) : 0;
}

/* Where no journal is kept, as in most containers, the library need not even be loaded. */
static int look_for_journal(struct journal_reader *reader, struct err *err) {
    bool exist;

    look_for_files(&exist, &reader->restricted);
    return exist ? 0
                 : err_set(err, ENOENT, "NoJournal",
                           "no journal is kept here: neither /var/log/journal nor /run/log/journal has files "
                           "(journald does not run, as in most containers); latchd and its daemons log to "
                           "latchd's standard error then: look where that goes, for instance in the "
                           "container's log");
}

static int open_default(struct journal_reader *reader, struct err *err) {
    const struct library *lib = &reader->lib;
    int r = lib->sd_journal_open(&reader->journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_ALL_NAMESPACES);

    if (r < 0)
        return err_set(err, -r, "System", "cannot open the journal: %m");
    if (lib->sd_journal_has_runtime_files(reader->journal) > 0 ||
        lib->sd_journal_has_persistent_files(reader->journal) > 0 || !reader->restricted)
        return 0;
    return err_set(
        err, EACCES, "NotPermitted",
        "cannot read the journal: its files in /var/log/journal or /run/log/journal are not for this "
        "user; run this as root, or have the user added to the group systemd-journal");
}

static int add_match(struct journal_reader *reader, const char *field, const char *value) {
    _cleanup_free_ char *match = NULL;

    if (asprintf(&match, "%s=%s", field, value) < 0) {
        match = NULL;
        return -ENOMEM;
    }
    return reader->lib.sd_journal_add_match(reader->journal, match, 0);
}

/* One alternative: both fields, or the first alone. */
static int add_alternative(struct journal_reader *reader, const char *field, const char *value,
                           const char *and_field, const char *and_value) {
    int r = add_match(reader, field, value);

    if (r >= 0 && and_field)
        r = add_match(reader, and_field, and_value);
    return r < 0 ? r : reader->lib.sd_journal_add_disjunction(reader->journal);
}

/* Fields that begin with '_' are journald's own: what systemd says of a unit is only believed from PID 1. */
static int add_unit(struct journal_reader *reader, const char *unit) {
    char uid[16];
    int r;

    if ((r = add_alternative(reader, "_SYSTEMD_UNIT", unit, NULL, NULL)) < 0 ||
        (r = add_alternative(reader, "UNIT", unit, "_PID", "1")) < 0 ||
        (r = add_alternative(reader, "COREDUMP_UNIT", unit, "_UID", "0")) < 0)
        return r;
    if (geteuid() == 0)
        return 0;
    snprintf(uid, sizeof uid, "%u", geteuid());
    if ((r = add_alternative(reader, "_SYSTEMD_USER_UNIT", unit, "_UID", uid)) < 0)
        return r;
    return add_alternative(reader, "USER_UNIT", unit, "_UID", uid);
}

static int add_this_boot(struct journal_reader *reader) {
    _cleanup_close_ int proc_fd = procfs_open();
    char boot_id[37], digits[33];
    size_t n = 0;
    int r = proc_fd < 0 ? proc_fd : procfs_read_boot_id(proc_fd, boot_id);

    if (r < 0)
        return r;
    for (const char *p = boot_id; *p && n < sizeof digits - 1; p++)
        if (*p != '-')
            digits[n++] = *p;
    digits[n] = '\0';
    return add_match(reader, "_BOOT_ID", digits);
}

static int add_query(struct journal_reader *reader, const struct journal_query *query) {
    const char *identifier = query->identifier ? query->identifier : query->service;
    int r;

    for (size_t i = 0; i < query->n_units; i++)
        if ((r = add_unit(reader, query->units[i])) < 0)
            return r;
    if ((r = add_alternative(reader, "LATCHD_SERVICE", query->service, NULL, NULL)) < 0 ||
        (r = add_alternative(reader, "SYSLOG_IDENTIFIER", identifier, "_TRANSPORT", "stdout")) < 0 ||
        (r = reader->lib.sd_journal_add_conjunction(reader->journal)) < 0)
        return r;
    for (int i = 0; query->max_priority_set && i <= query->max_priority; i++)
        if ((r = add_match(reader, "PRIORITY", (char[]){(char) ('0' + i), '\0'})) < 0)
            return r;
    return query->this_boot ? add_this_boot(reader) : 0;
}

/* The first entry of the last N: N steps back from the end, but not to before `since`. Where not even one
 * step back was possible, the place stays where it was sought, and what comes later is found from there. */
static int seek_lines(struct journal_reader *reader, uint64_t lines) {
    const struct library *lib = &reader->lib;
    uint64_t realtime_usec;
    int r;

    r = reader->until_usec ? lib->sd_journal_seek_realtime_usec(reader->journal, reader->until_usec)
                           : lib->sd_journal_seek_tail(reader->journal);
    if (r < 0)
        return r;
    r = lib->sd_journal_previous_skip(reader->journal, lines == 0 ? 1 : lines > INT_MAX ? INT_MAX : lines);
    if (r < 0)
        return r;
    if (r == 0 || lines == 0)
        return 0;
    r = lib->sd_journal_get_realtime_usec(reader->journal, &realtime_usec);
    if (r < 0)
        return r;
    if (realtime_usec < reader->since_usec)
        return lib->sd_journal_seek_realtime_usec(reader->journal, reader->since_usec);
    reader->positioned = true;
    return 0;
}

static int seek_start(struct journal_reader *reader, const struct journal_query *query) {
    if (query->lines_set)
        return seek_lines(reader, query->lines);
    if (query->since_usec)
        return reader->lib.sd_journal_seek_realtime_usec(reader->journal, query->since_usec);
    return reader->lib.sd_journal_seek_head(reader->journal);
}

int journal_reader_open(const struct journal_query *query, struct journal_reader **ret, struct err *err) {
    const char *directory =
        query->directory ? query->directory : secure_getenv(JOURNAL_DIRECTORY_ENVIRONMENT);
    _cleanup_journal_reader_ struct journal_reader *reader = NULL;
    int r;

    if (!query->service || !*query->service)
        return err_set(err, EINVAL, "BadQuery", "cannot read the journal: no service was named");
    if (query->follow && query->until_usec)
        return err_set(err, EINVAL, "BadQuery",
                       "cannot read the journal: to follow it has no end (-f with -U)");
    reader = calloc(1, sizeof *reader);
    if (!reader)
        return err_set(err, ENOMEM, "NoMemory", "cannot read the journal: %m");
    reader->since_usec = query->since_usec;
    reader->until_usec = query->until_usec;
    if (directory && !*directory)
        directory = NULL;
    if ((!directory && (r = look_for_journal(reader, err)) < 0) || (r = load(&reader->lib, err)) < 0)
        return r;
    r = directory ? open_directory(reader, directory, err) : open_default(reader, err);
    if (r < 0)
        return r;
    if ((r = reader->lib.sd_journal_set_data_threshold(reader->journal, query->all_data ? 0 : 64 * 1024)) <
            0 ||
        (r = add_query(reader, query)) < 0 ||
        (query->follow && (r = reader->lib.sd_journal_get_fd(reader->journal)) < 0) || /* watch, then look */
        (r = seek_start(reader, query)) < 0)
        return err_set(err, -r, "System", "cannot read the journal of service %s: %m", query->service);
    *ret = TAKE_PTR(reader);
    return 0;
}

struct journal_reader *journal_reader_close(struct journal_reader *reader) {
    if (!reader)
        return NULL;
    if (reader->journal)
        reader->lib.sd_journal_close(reader->journal);
    if (reader->lib.handle)
        (void) dlclose(reader->lib.handle);
    free(reader->cursor);
    free(reader->data);
    free(reader->places);
    free(reader->fields);
    free(reader);
    return NULL;
}

static int keep_bytes(struct journal_reader *reader, const void *bytes, size_t size, size_t *ret_offset) {
    if (size + 1 > reader->data_room_bytes - reader->data_used_bytes) {
        size_t room = (reader->data_used_bytes + size + 1) * 2;
        char *bigger = realloc(reader->data, room);

        if (!bigger)
            return -ENOMEM;
        reader->data = bigger;
        reader->data_room_bytes = room;
    }
    memcpy(reader->data + reader->data_used_bytes, bytes, size);
    reader->data[reader->data_used_bytes + size] = '\0';
    *ret_offset = reader->data_used_bytes;
    reader->data_used_bytes += size + 1;
    return 0;
}

static int keep_field(struct journal_reader *reader, const char *data, size_t size) {
    const char *equals = memchr(data, '=', size);
    struct field_place *place;
    int r;

    if (!equals)
        return 0;
    if (reader->n_fields == reader->fields_room) {
        size_t room = reader->fields_room ? reader->fields_room * 2 : 64;
        struct field_place *places = reallocarray(reader->places, room, sizeof *places);
        struct journal_field *fields;

        if (!places)
            return -ENOMEM;
        reader->places = places;
        fields = reallocarray(reader->fields, room, sizeof *fields);
        if (!fields)
            return -ENOMEM;
        reader->fields = fields;
        reader->fields_room = room;
    }
    place = &reader->places[reader->n_fields];
    place->size = size - (size_t) (equals + 1 - data);
    if ((r = keep_bytes(reader, data, (size_t) (equals - data), &place->name)) < 0 ||
        (r = keep_bytes(reader, equals + 1, place->size, &place->data)) < 0)
        return r;
    reader->n_fields++;
    return 0;
}

/* libsystemd's pointers are good until its next call: everything is copied. */
static int read_fields(struct journal_reader *reader) {
    const void *data;
    size_t size;
    int r;

    reader->n_fields = reader->data_used_bytes = 0;
    reader->lib.sd_journal_restart_data(reader->journal);
    while ((r = reader->lib.sd_journal_enumerate_available_data(reader->journal, &data, &size)) > 0) {
        r = keep_field(reader, data, size);
        if (r < 0)
            break;
    }
    for (size_t i = 0; i < reader->n_fields; i++)
        reader->fields[i] = (struct journal_field){
            .name = reader->data + reader->places[i].name,
            .data = reader->data + reader->places[i].data,
            .size = reader->places[i].size,
        };
    return r;
}

static const struct journal_field *find_field(const struct journal_reader *reader, const char *name) {
    for (size_t i = 0; i < reader->n_fields; i++)
        if (strcmp(reader->fields[i].name, name) == 0)
            return &reader->fields[i];
    return NULL;
}

static const char *find_text(const struct journal_reader *reader, const char *name, const char *other_name) {
    const struct journal_field *field = find_field(reader, name);

    if (!field && other_name)
        field = find_field(reader, other_name);
    return field ? field->data : NULL;
}

static void pick_fields(const struct journal_reader *reader, struct journal_entry *entry) {
    const struct journal_field *message = find_field(reader, "MESSAGE");
    const char *priority = find_text(reader, "PRIORITY", NULL);
    const char *generation = find_text(reader, "LATCHD_GENERATION", NULL);
    const char *logged = find_text(reader, "_SOURCE_REALTIME_TIMESTAMP", NULL);

    entry->identifier = find_text(reader, "SYSLOG_IDENTIFIER", "_COMM");
    entry->pid = find_text(reader, "_PID", "SYSLOG_PID");
    entry->hostname = find_text(reader, "_HOSTNAME", NULL);
    entry->service = find_text(reader, "LATCHD_SERVICE", NULL);
    if (!priority || value_parse_int(priority, LOG_EMERG, LOG_DEBUG, &entry->priority) < 0)
        entry->priority = -1;
    if (!generation || value_parse_u64(generation, &entry->generation) < 0)
        entry->generation = 0;
    if (!logged || value_parse_u64(logged, &entry->logged_usec) < 0 || entry->logged_usec == 0)
        entry->logged_usec = entry->realtime_usec;
    if (message) {
        entry->message = message->data;
        entry->message_size = message->size;
    }
    entry->fields = reader->fields;
    entry->n_fields = reader->n_fields;
}

static int read_entry(struct journal_reader *reader, struct journal_entry *ret) {
    struct journal_entry entry = {0};
    sd_id128_t boot_id;
    int r;

    r = reader->lib.sd_journal_get_realtime_usec(reader->journal, &entry.realtime_usec);
    if (r < 0)
        return r;
    if (reader->until_usec && entry.realtime_usec > reader->until_usec)
        return 0;
    if ((r = reader->lib.sd_journal_get_monotonic_usec(reader->journal, &entry.monotonic_usec, &boot_id)) <
            0 ||
        (r = read_fields(reader)) < 0)
        return r;
    for (size_t i = 0; i < sizeof boot_id.bytes; i++)
        snprintf(entry.boot_id + 2 * i, 3, "%02x", boot_id.bytes[i]);
    free(reader->cursor);
    reader->cursor = NULL;
    r = reader->lib.sd_journal_get_cursor(reader->journal, &reader->cursor);
    if (r < 0)
        return r;
    entry.cursor = reader->cursor;
    pick_fields(reader, &entry);
    *ret = entry;
    return 1;
}

int journal_reader_next(struct journal_reader *reader, struct journal_entry *ret, struct err *err) {
    int r = 1;

    if (!reader->positioned)
        r = reader->lib.sd_journal_next(reader->journal);
    reader->positioned = false;
    if (r > 0)
        r = read_entry(reader, ret);
    return r < 0 ? err_set(err, -r, "System", "cannot read the next entry of the journal: %m") : r;
}

static int wait_once(struct journal_reader *reader, int output_fd) {
    struct pollfd fds[2] = {{.fd = -1},
                            {.fd = output_fd}}; /* no events asked for: errors and hang-ups come */
    struct timespec span, *timeout = NULL;
    uint64_t deadline_usec, now;
    int r;

    if ((r = reader->lib.sd_journal_get_fd(reader->journal)) < 0)
        return r;
    fds[0].fd = r;
    if ((r = reader->lib.sd_journal_get_events(reader->journal)) < 0)
        return r;
    fds[0].events = (short) r;
    if ((r = reader->lib.sd_journal_get_timeout(reader->journal, &deadline_usec)) < 0)
        return r;
    if (deadline_usec != USEC_INFINITY) { /* journals on a network file system, which inotify does not see */
        now = now_usec(CLOCK_MONOTONIC);
        deadline_usec = deadline_usec > now ? deadline_usec - now : 0;
        span = (struct timespec){.tv_sec = (time_t) (deadline_usec / USEC_PER_SEC),
                                 .tv_nsec = (long) (deadline_usec % USEC_PER_SEC * NSEC_PER_USEC)};
        timeout = &span;
    }
    if (ppoll(fds, 2, timeout, NULL) < 0)
        return -errno;
    if (fds[1].revents)
        return -EPIPE;
    return reader->lib.sd_journal_process(reader->journal);
}

int journal_reader_wait(struct journal_reader *reader, int output_fd, struct err *err) {
    int r;

    do
        r = wait_once(reader, output_fd);
    while (r == SD_JOURNAL_NOP);
    if (r == -EINTR || r == -EPIPE)
        return r;
    return r < 0 ? err_set(err, -r, "System", "cannot wait for new entries of the journal: %m") : 1;
}

bool journal_reader_restricted(const struct journal_reader *reader) {
    return reader->restricted;
}
