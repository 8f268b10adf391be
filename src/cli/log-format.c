/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/log-format.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <jansson.h>

#include "base/value.h"

static const char *const log_format_names[LOG_FORMAT_MAX] = {
    [LOG_FORMAT_SHORT] = "short",
    [LOG_FORMAT_SHORT_ISO] = "short-iso",
    [LOG_FORMAT_JSON] = "json",
    [LOG_FORMAT_CAT] = "cat",
};
STRTAB_DEFINE(log_format, enum log_format, log_format_names, LOG_FORMAT_INVALID)

#define COLOR_ERROR "\033[0;1;31m"
#define COLOR_WARNING "\033[0;1;33m"
#define COLOR_NOTICE "\033[0;1m"
#define COLOR_DEBUG "\033[0;90m"
#define COLOR_END "\033[0m"

static const char *color_of(int priority) {
    if (priority < 0 || priority == LOG_INFO)
        return NULL;
    if (priority <= LOG_ERR)
        return COLOR_ERROR;
    return priority == LOG_WARNING ? COLOR_WARNING : priority == LOG_NOTICE ? COLOR_NOTICE : COLOR_DEBUG;
}

/* Drops the sequences that set colours and move the cursor (ECMA-48, CSI): ESC [ parameters final. */
static void drop_sequences(char *text) {
    char *to = text;

    for (const char *from = text; *from;) {
        if (from[0] == '\033' && from[1] == '[') {
            from += 2;
            while (*from >= 0x20 && *from < 0x40)
                from++;
            if (*from >= 0x40 && *from < 0x7f)
                from++;
        } else
            *to++ = *from++;
    }
    *to = '\0';
}

/* A message's copy without sequences and trailing line breaks; NULs inside it become '?'. */
static char *copy_message(const struct journal_entry *entry) {
    char *text = malloc(entry->message_size + 1);
    size_t size = entry->message_size;

    if (!text)
        return NULL;
    memcpy(text, entry->message, size);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    text[size] = '\0';
    for (char *p = text; (p = memchr(p, '\0', size - (size_t) (p - text)));)
        *p = '?';
    drop_sequences(text);
    return text;
}

/* One line; changes it. A tab has the width of eight blanks, since no column is known. */
static void put_line(FILE *out, char *line, const char *color) {
    size_t length = strlen(line);

    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = '\0';
    if (color)
        fputs(color, out);
    for (char *rest = line, *part; (part = strsep(&rest, "\t"));) {
        value_make_printable(part);
        fputs(part, out);
        if (rest)
            fputs("        ", out);
    }
    if (color)
        fputs(COLOR_END, out);
    putc('\n', out);
}

static void put_lines(FILE *out, char *text, int indent, const char *color) {
    char *line = strsep(&text, "\n");

    put_line(out, line, color);
    while ((line = strsep(&text, "\n"))) {
        fprintf(out, "%*s", indent, "");
        put_line(out, line, color);
    }
}

static int put_prefix(FILE *out, const struct journal_entry *entry, bool iso) {
    _cleanup_free_ char *prefix = NULL;
    time_t seconds = (time_t) (entry->logged_usec / USEC_PER_SEC);
    char when[40];
    struct tm tm;

    if (!localtime_r(&seconds, &tm) ||
        strftime(when, sizeof when, iso ? "%Y-%m-%dT%H:%M:%S%z" : "%b %d %H:%M:%S", &tm) == 0)
        strcpy(when, "?");
    if (asprintf(&prefix, "%s%s%s %s%s%s%s: ", when, entry->hostname ? " " : "",
                 entry->hostname ? entry->hostname : "", entry->identifier ? entry->identifier : "unknown",
                 entry->pid ? "[" : "", entry->pid ? entry->pid : "", entry->pid ? "]" : "") < 0) {
        prefix = NULL;
        return -ENOMEM;
    }
    value_make_printable(prefix);
    fputs(prefix, out);
    return (int) strlen(prefix);
}

static int format_text(FILE *out, const struct journal_entry *entry, enum log_format format, bool color) {
    _cleanup_free_ char *text = NULL;
    int indent = 0;

    if (!entry->message)
        return 0;
    text = copy_message(entry);
    if (!text)
        return -ENOMEM;
    if (format != LOG_FORMAT_CAT)
        indent = put_prefix(out, entry, format == LOG_FORMAT_SHORT_ISO);
    if (indent < 0)
        return indent;
    put_lines(out, text, indent, color ? color_of(entry->priority) : NULL);
    return 1;
}

/* UTF-8 without control characters but tabs and line breaks. */
static int is_text(const char *data, size_t size, bool *ret) {
    _cleanup_free_ char *copy = NULL, *printable = NULL;

    if (memchr(data, '\0', size)) {
        *ret = false;
        return 0;
    }
    copy = strndup(data, size);
    if (!copy)
        return -ENOMEM;
    for (char *p = copy; *p; p++)
        if (*p == '\t' || *p == '\n')
            *p = ' ';
    printable = strdup(copy);
    if (!printable)
        return -ENOMEM;
    value_make_printable(printable);
    *ret = strcmp(copy, printable) == 0;
    return 0;
}

static json_t *value_to_json(const struct journal_field *field) {
    json_t *array;
    bool text;

    if (is_text(field->data, field->size, &text) < 0)
        return NULL;
    if (text)
        return json_stringn(field->data, field->size);
    array = json_array();
    for (size_t i = 0; array && i < field->size; i++)
        if (json_array_append_new(array, json_integer((unsigned char) field->data[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static bool came_before(const struct journal_entry *entry, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (strcmp(entry->fields[k].name, entry->fields[i].name) == 0)
            return true;
    return false;
}

/* The value of field i; where its name comes again, an array of all its values. */
static json_t *field_to_json(const struct journal_entry *entry, size_t i) {
    json_t *value = value_to_json(&entry->fields[i]), *several = NULL;

    for (size_t k = i + 1; value && k < entry->n_fields; k++) {
        if (strcmp(entry->fields[k].name, entry->fields[i].name) != 0)
            continue;
        if (!several) {
            several = json_array();
            if (json_array_append_new(several, value) < 0)
                goto fail;
            value = several;
        }
        if (json_array_append_new(several, value_to_json(&entry->fields[k])) < 0)
            goto fail;
    }
    return value;
fail:
    json_decref(several);
    return NULL;
}

static int set_number(json_t *object, const char *key, uint64_t number) {
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return json_object_set_new(object, key, json_string(text));
}

/* A double underscore marks what is no field, but the entry's address. */
static int format_json(FILE *out, const struct journal_entry *entry) {
    json_t *object = json_object();
    int r = -ENOMEM;

    if (!object || json_object_set_new(object, "__CURSOR", json_string(entry->cursor)) < 0 ||
        set_number(object, "__REALTIME_TIMESTAMP", entry->realtime_usec) < 0 ||
        set_number(object, "__MONOTONIC_TIMESTAMP", entry->monotonic_usec) < 0 ||
        json_object_set_new(object, "_BOOT_ID", json_string(entry->boot_id)) < 0)
        goto out;
    for (size_t i = 0; i < entry->n_fields; i++)
        if (strcmp(entry->fields[i].name, "_BOOT_ID") != 0 && !came_before(entry, i) &&
            json_object_set_new(object, entry->fields[i].name, field_to_json(entry, i)) < 0)
            goto out;
    (void) json_dumpf(object, out, JSON_COMPACT);
    putc('\n', out);
    r = 1;
out:
    json_decref(object);
    return r;
}

int log_format_entry(FILE *out, const struct journal_entry *entry, enum log_format format, bool color) {
    return format == LOG_FORMAT_JSON ? format_json(out, entry) : format_text(out, entry, format, color);
}

/* Reads a date, a time of day, or both into *tm, which comes with today's date. Returns what follows, or
 * NULL. */
static const char *parse_calendar(const char *text, struct tm *tm, uint64_t *ret_micros) {
    struct tm date = *tm; /* strptime(3) also writes what it then finds not to match */
    const char *rest = strptime(text, "%Y-%m-%d", &date);
    uint64_t micros = 0, weight = 100000;

    if (rest)
        *tm = date;
    if (!rest)
        rest = strptime(text, "%H:%M", tm);
    else if ((*rest == ' ' || *rest == 'T') && isdigit((unsigned char) rest[1]))
        rest = strptime(rest + 1, "%H:%M", tm);
    if (rest && *rest == ':')
        rest = strptime(rest + 1, "%S", tm);
    if (rest && *rest == '.')
        for (rest++; isdigit((unsigned char) *rest); rest++, weight /= 10)
            micros += weight * (uint64_t) (*rest - '0');
    *ret_micros = micros;
    return rest;
}

static int calendar_to_usec(const char *text, uint64_t now_realtime_usec, uint64_t *ret) {
    static const struct {
        const char *name;
        int days;
    } days[] = {{"today", 0}, {"yesterday", -1}, {"tomorrow", 1}};
    time_t seconds = (time_t) (now_realtime_usec / USEC_PER_SEC);
    uint64_t micros = 0;
    const char *zone = text + strcspn(text, "UZ"), *rest = zone;
    bool utc = strcmp(zone, "UTC") == 0 || strcmp(zone, "Z") == 0, named = false;
    struct tm tm, wanted;

    if (!(utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm)))
        return -EINVAL;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    for (size_t i = 0; i < ELEMENTSOF(days) && !named; i++)
        if (strcmp(text, days[i].name) == 0) {
            tm.tm_mday += days[i].days;
            named = true;
        }
    if (!named)
        rest = parse_calendar(text, &tm, &micros);
    if (!rest || (utc && rest + strspn(rest, " ") != zone) || (!utc && *rest))
        return -EINVAL;
    wanted = tm;
    seconds = utc ? timegm(&tm) : mktime(&tm);
    if (seconds < 0 || (!named && tm.tm_mday != wanted.tm_mday))
        return -EINVAL; /* the 30th of February; before 1970 */
    *ret = (uint64_t) seconds * USEC_PER_SEC + micros;
    return 0;
}

/* A span of time, without the words that other places have for "no end" and for nothing. */
static int parse_span(const char *text, size_t length, uint64_t *ret) {
    _cleanup_free_ char *span = NULL;
    uint64_t usec;

    while (length > 0 && text[length - 1] == ' ')
        length--;
    span = strndup(text, length);
    if (!span)
        return -ENOMEM;
    if (value_parse_usec(span, &usec) < 0 || usec == USEC_INFINITY)
        return -EINVAL;
    *ret = usec;
    return 0;
}

int log_parse_time(const char *text, uint64_t now_realtime_usec, uint64_t *ret_usec, struct err *err) {
    static const char ago[] = " ago";
    size_t length;
    uint64_t usec = 0, span;
    int r;

    text += strspn(text, " ");
    length = strlen(text);
    if (strcmp(text, "now") == 0) {
        usec = now_realtime_usec;
        r = 0;
    } else if (*text == '@')
        r = text[1] == '.' || strspn(text + 1, "0123456789.") != length - 1
                ? -EINVAL
                : parse_span(text + 1, length - 1, &usec);
    else if (*text == '+') {
        r = parse_span(text + 1, length - 1, &span);
        if (r >= 0 && __builtin_add_overflow(now_realtime_usec, span, &usec))
            r = -ERANGE;
    } else if (*text == '-' || (length > strlen(ago) && strcmp(text + length - strlen(ago), ago) == 0)) {
        r = *text == '-' ? parse_span(text + 1, length - 1, &span)
                         : parse_span(text, length - strlen(ago), &span);
        if (r >= 0)
            usec = span < now_realtime_usec ? now_realtime_usec - span : 1;
    } else
        r = calendar_to_usec(text, now_realtime_usec, &usec);
    if (r < 0)
        return err_set(err, -r, "BadTime",
                       "cannot understand the time \"%s\": write it like \"2024-05-01 13:04:05\", \"13:04\", "
                       "\"yesterday\", \"-1h\", \"5min ago\" or \"@1714561445\"",
                       text);
    *ret_usec = usec ? usec : 1;
    return 0;
}

static int write_failed(FILE *out, struct err *err) {
    int number;

    if (fflush(out) == 0 && !ferror(out))
        return 0;
    number = errno ? errno : EIO;
    if (number == EPIPE)
        return -EPIPE;
    return err_set(err, number, "System", "cannot write the log: %m");
}

int journal_show(const struct journal_query *query, enum log_format format, FILE *out, bool color,
                 struct err *err) {
    _cleanup_journal_reader_ struct journal_reader *reader = NULL;
    struct journal_query wanted = *query;
    char boot_id[33] = "";
    int shown = 0, r;

    wanted.all_data = format == LOG_FORMAT_JSON;
    if (wanted.follow && !wanted.lines_set && !wanted.since_usec) {
        wanted.lines_set = true;
        wanted.lines = 10;
    }
    r = journal_reader_open(&wanted, &reader, err);
    if (r < 0)
        return r;
    if (journal_reader_restricted(reader))
        fputs("Hint: entries of other users and of the system may be missing. To see them, run this as root, "
              "or "
              "have the user added to the group systemd-journal.\n",
              stderr);
    for (;;) {
        struct journal_entry entry;

        errno = 0;
        r = journal_reader_next(reader, &entry, err);
        if (r == 0 && wanted.follow && (r = write_failed(out, err)) >= 0 &&
            (r = journal_reader_wait(reader, fileno(out), err)) > 0)
            continue;
        if (r <= 0)
            break;
        if ((format == LOG_FORMAT_SHORT || format == LOG_FORMAT_SHORT_ISO) && *boot_id &&
            strcmp(boot_id, entry.boot_id) != 0)
            fprintf(out, "-- Boot %s --\n", entry.boot_id);
        strcpy(boot_id, entry.boot_id);
        r = log_format_entry(out, &entry, format, color);
        if (r < 0)
            return err_set(err, -r, "NoMemory", "cannot show an entry of the journal: %m");
        if (r > 0 && shown < INT_MAX)
            shown++;
        if (ferror(out))
            break;
    }
    if (r >= 0)
        r = write_failed(out, err);
    return r < 0 && r != -EPIPE && r != -EINTR ? r : shown;
}
