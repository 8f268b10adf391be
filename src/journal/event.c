/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal/event.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "journal/address.h"
#include "journal/event-held.h"

/* Without pointers: what the loader has to relocate is memory of each process's own. */
struct event_kind {
    char message_id[33], summary[96], fields[224];
    int priority;
};

static const struct event_kind event_kinds[EVENT_ID_MAX] = {
#define EVENT(name_, message_id_, priority_, summary_, fields_)                                              \
    [EVENT_##                                                                                                \
        name_] = {.message_id = message_id_, .summary = summary_, .fields = fields_, .priority = priority_},
#include "journal/event-ids.def"
#undef EVENT
};

#define EVENT(name_, message_id_, priority_, summary_, fields_)                                              \
    static_assert(sizeof(message_id_) == 33, "the message id of " #name_ " has 32 digits");
#include "journal/event-ids.def"
#undef EVENT

static const char *const event_id_names[EVENT_ID_MAX] = {
#define EVENT(name_, message_id_, priority_, summary_, fields_) [EVENT_##name_] = #name_,
#include "journal/event-ids.def"
#undef EVENT
};
STRTAB_DEFINE(event_id, enum event_id, event_id_names, EVENT_ID_INVALID)

static const char *const log_target_names[LOG_TARGET_MAX] = {
    [LOG_TARGET_AUTO] = "auto",
    [LOG_TARGET_JOURNAL] = "journal",
    [LOG_TARGET_STDERR] = "stderr",
};
STRTAB_DEFINE(log_target, enum log_target, log_target_names, LOG_TARGET_INVALID)

static const char *const priority_names[LOG_DEBUG + 1] = {
    [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
    [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static bool event_id_valid(enum event_id id) {
    return (int) id >= 0 && id < EVENT_ID_MAX;
}

const char *event_id_message_id(enum event_id id) {
    return event_id_valid(id) ? event_kinds[id].message_id : NULL;
}

const char *event_id_summary(enum event_id id) {
    return event_id_valid(id) ? event_kinds[id].summary : NULL;
}

const char *event_id_fields(enum event_id id) {
    return event_id_valid(id) ? event_kinds[id].fields : NULL;
}

int event_id_priority(enum event_id id) {
    return event_id_valid(id) ? event_kinds[id].priority : -EINVAL;
}

int event_parse_priority(const char *text, int *ret) {
    static const struct {
        const char *name;
        int priority;
    } others[] = {{"panic", LOG_EMERG}, {"error", LOG_ERR}, {"warn", LOG_WARNING}};

    if (value_parse_int(text, LOG_EMERG, LOG_DEBUG, ret) == 0)
        return 0;
    for (int i = 0; i <= LOG_DEBUG; i++)
        if (strcasecmp(priority_names[i], text) == 0) {
            *ret = i;
            return 0;
        }
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        if (strcasecmp(others[i].name, text) == 0) {
            *ret = others[i].priority;
            return 0;
        }
    return -EINVAL;
}

const char *event_priority_name(int priority) {
    return priority >= 0 && priority <= LOG_DEBUG ? priority_names[priority] : NULL;
}

void event_field_set(struct event_fields *fields, const char *name, const char *value) {
    if (value && fields->n < EVENT_FIELDS_MAX)
        fields->fields[fields->n++] = (struct event_field){.name = name, .value = value};
}

void event_field_add(struct event_fields *fields, const char *name, const char *fmt, ...) {
    static const char ellipsis[] = "...";
    size_t room = sizeof fields->text - fields->used_bytes;
    char *value = fields->text + fields->used_bytes;
    va_list ap;
    int n;

    if (room < sizeof ellipsis || fields->n >= EVENT_FIELDS_MAX)
        return;
    va_start(ap, fmt);
    n = vsnprintf(value, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t) n >= room) {
        memcpy(value + room - sizeof ellipsis, ellipsis, sizeof ellipsis);
        fields->used_bytes = sizeof fields->text;
    } else
        fields->used_bytes += (size_t) n + 1;
    event_field_set(fields, name, value);
}

/* How a line can be written to standard error without ever blocking. */
enum line_way {
    LINE_NOT,   /* not at all: it was closed when the log was opened */
    LINE_WRITE, /* a regular file, or a description of our own with O_NONBLOCK */
    LINE_POLL,  /* a pipe, or somebody else's terminal, that could not be opened anew: ask before each line */
    LINE_SEND,  /* a socket */
};

struct event_log {
    enum log_target target;
    int max_priority;

    int socket_fd; /* never connected: a restarted journald is found again by its path */
    struct sockaddr_un address;
    socklen_t address_size;

    enum line_way line_way;
    int line_fd;        /* the caller's, or own_line_fd */
    int own_line_fd;    /* -EBADF: none */
    bool line_terminal; /* somebody looks on */
    bool line_prefixed; /* it is the journal's stream: lines begin with "<PRIORITY>" */
    bool line_unended;  /* the last line went out in part */

    uint64_t lost;
    void (*sink)(const struct event_record *, void *);
    void *sink_userdata;

    bool holding;
    struct event_held *held[EVENT_HELD_MAX]; /* owned, the oldest first */
    size_t n_held;

    /* The entry being put together. */
    char *data;
    size_t used_bytes, room_bytes;
};

/* Whether JOURNAL_STREAM=DEVICE:INODE (systemd.exec(5)) names this file. */
static bool is_journal_stream(const struct stat *st) {
    const char *text = getenv("JOURNAL_STREAM");
    const char *colon = text ? strchr(text, ':') : NULL;
    char device[24];
    uint64_t dev, ino;

    if (!colon || (size_t) (colon - text) >= sizeof device)
        return false;
    *(char *) mempcpy(device, text, (size_t) (colon - text)) = '\0';
    return value_parse_u64(device, &dev) == 0 && value_parse_u64(colon + 1, &ino) == 0 &&
           (dev_t) dev == st->st_dev && (ino_t) ino == st->st_ino;
}

/* O_NONBLOCK belongs to the open file description, which standard error shares with the shell and with
 * others: it is not set there, but on a description of our own. */
static void open_lines(struct event_log *log, int fd) {
    char path[sizeof "/proc/self/fd/" + 3 * sizeof(int)];
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    log->line_fd = fd;
    log->line_terminal = isatty(fd) == 1;
    log->line_prefixed = is_journal_stream(&st);
    if (S_ISREG(st.st_mode))
        log->line_way = LINE_WRITE;
    else if (S_ISSOCK(st.st_mode))
        log->line_way = LINE_SEND;
    else {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        log->own_line_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (log->own_line_fd >= 0)
            log->line_fd = log->own_line_fd;
        log->line_way = log->own_line_fd >= 0 ? LINE_WRITE : LINE_POLL;
    }
}

int event_log_open(const struct event_log_options *options, struct event_log **ret, struct err *err) {
    const char *path = options->socket_path ? options->socket_path : EVENT_JOURNAL_SOCKET;
    _cleanup_event_log_ struct event_log *log = malloc(sizeof *log);
    struct stat st;

    if (!log)
        return err_set(err, ENOMEM, "NoMemory", "cannot open the log: %m");
    *log = (struct event_log){
        .target = options->target,
        .max_priority = options->max_priority,
        .socket_fd = -EBADF,
        .line_way = LINE_NOT,
        .line_fd = -EBADF,
        .own_line_fd = -EBADF,
    };
    if (log->target != LOG_TARGET_STDERR) {
        if (journal_address(path, &log->address, &log->address_size) < 0)
            return err_set(err, ENAMETOOLONG, "BadPath",
                           "cannot log to the journal: its socket's path %s is too long for a unix socket",
                           path);
        log->socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (log->socket_fd < 0)
            return err_set(err, errno, "System", "cannot make the socket that logs to the journal: %m");
    }
    if (log->target == LOG_TARGET_JOURNAL && (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode)))
        return err_set(err, ENOENT, "NoJournal",
                       "cannot log to the journal: no journald listens at %s; log to standard error instead "
                       "(--log-target=stderr, or auto)",
                       path);
    if (log->target != LOG_TARGET_JOURNAL)
        open_lines(log, options->stderr_fd ? options->stderr_fd : STDERR_FILENO);
    *ret = TAKE_PTR(log);
    return 0;
}

struct event_log *event_log_close(struct event_log *log) {
    if (!log)
        return NULL;
    event_log_flush(log);
    fd_close(log->socket_fd);
    fd_close(log->own_line_fd);
    free(log->data);
    free(log);
    return NULL;
}

void event_log_set_sink(struct event_log *log, void (*sink)(const struct event_record *, void *),
                        void *userdata) {
    log->sink = sink;
    log->sink_userdata = userdata;
}

uint64_t event_log_lost(const struct event_log *log) {
    return log->lost;
}

static int data_append(struct event_log *log, const void *bytes, size_t size) {
    if (size > log->room_bytes - log->used_bytes) {
        size_t room = (log->used_bytes + size) * 2;
        char *bigger = realloc(log->data, room);

        if (!bigger)
            return -ENOMEM;
        log->data = bigger;
        log->room_bytes = room;
    }
    memcpy(log->data + log->used_bytes, bytes, size);
    log->used_bytes += size;
    return 0;
}

/* The names journald takes: what it does not, it drops (journal_field_valid() in its sources), along with
 * those beginning with '_', which are its own. */
static bool field_name_valid(const char *name) {
    size_t length = strlen(name);

    return length > 0 && length <= 64 && *name >= 'A' && *name <= 'Z' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == length;
}

/* "NAME=value\n", or, when the value has a line break, "NAME\n", its size as 64 bits little-endian, the
 * value and "\n". */
static int data_append_field(struct event_log *log, const char *name, const char *value) {
    size_t size = strlen(value);
    int r = data_append(log, name, strlen(name));

    if (r >= 0 && memchr(value, '\n', size)) {
        unsigned char header[9] = {'\n'};

        for (size_t i = 0; i < 8; i++)
            header[i + 1] = (unsigned char) ((uint64_t) size >> (8 * i));
        r = data_append(log, header, sizeof header);
    } else if (r >= 0)
        r = data_append(log, "=", 1);
    if (r >= 0)
        r = data_append(log, value, size);
    return r < 0 ? r : data_append(log, "\n", 1);
}

static int data_append_number(struct event_log *log, const char *name, uint64_t number) {
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return data_append_field(log, name, text);
}

static int data_build(struct event_log *log, const struct event_entry *entry) {
    const struct event_scope *scope = entry->scope;
    int r;

    log->used_bytes = 0;
    if ((r = data_append_field(log, "MESSAGE", entry->message)) < 0 ||
        (r = data_append_number(log, "PRIORITY", (uint64_t) entry->priority)) < 0 ||
        (r = data_append_field(log, "SYSLOG_IDENTIFIER", EVENT_IDENTIFIER)) < 0 ||
        (r = data_append_number(log, "SYSLOG_FACILITY", LOG_DAEMON >> 3)) < 0)
        return r;
    if (entry->kind &&
        ((r = data_append_field(log, "MESSAGE_ID", entry->kind->message_id)) < 0 ||
         (r = data_append_field(log, "LATCHD_EVENT",
                                event_id_to_string((enum event_id)(entry->kind - event_kinds)))) < 0))
        return r;
    if (scope->service && (r = data_append_field(log, "LATCHD_SERVICE", scope->service)) < 0)
        return r;
    if (scope->generation && (r = data_append_number(log, "LATCHD_GENERATION", scope->generation)) < 0)
        return r;
    if (scope->invocation_id &&
        (r = data_append_field(log, "LATCHD_INVOCATION_ID", scope->invocation_id)) < 0)
        return r;
    for (size_t i = 0; i < entry->n_fields; i++)
        if (entry->fields[i].value && field_name_valid(entry->fields[i].name) &&
            (r = data_append_field(log, entry->fields[i].name, entry->fields[i].value)) < 0)
            return r;
    return log->lost ? data_append_number(log, "LATCHD_LOST_EVENTS", log->lost) : 0;
}

/* A datagram without content and with a sealed memfd: what is too large for a datagram. */
static int send_memfd(struct event_log *log) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_name = &log->address,
                             .msg_namelen = log->address_size,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    _cleanup_close_ int fd = memfd_create("latchd-event", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r;

    if (fd < 0)
        return -errno;
    r = fd_write_all(fd, log->data, log->used_bytes);
    if (r < 0)
        return r;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    *header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(log->socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_entry(struct event_log *log, const struct event_entry *entry) {
    int r = data_build(log, entry);

    if (r < 0)
        return r;
    if (sendto(log->socket_fd, log->data, log->used_bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *) &log->address, log->address_size) >= 0)
        return 0;
    return errno == EMSGSIZE || errno == ENOBUFS ? send_memfd(log) : -errno;
}

/* write(2) to a pipe that nobody reads any more raises SIGPIPE; a lost reader of messages is no reason for
 * a supervisor to die, whatever the signal's disposition. */
static ssize_t write_unsignalled(int fd, const char *data, size_t size) {
    sigset_t pipe_only, old, pending;
    ssize_t n;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
    n = write(fd, data, size);
    if (n < 0) {
        int saved = errno;

        if (saved == EPIPE && sigismember(&pending, SIGPIPE) == 0)
            (void) sigtimedwait(&pipe_only, NULL, &(struct timespec){0});
        errno = saved;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return n;
}

/* One line of at most PIPE_BUF bytes, in one write: a pipe takes it whole or not at all (pipe(7)), and one
 * that poll(2) calls writable has room for as much, as the kernel tells by whole free pages. */
static int write_line(struct event_log *log, const struct event_entry *entry) {
    static const char ellipsis[] = "...\n";
    const char *service = entry->scope->service;
    char prefix[8] = "", line[PIPE_BUF + 1];
    ssize_t written;
    size_t size;
    int n;

    if (log->line_way == LINE_NOT)
        return -EBADF;
    if (log->line_prefixed)
        snprintf(prefix, sizeof prefix, "<%d>", entry->priority);
    n = snprintf(line, sizeof line, "%s%s%s%s%s%s: %s\n", log->line_unended ? "\n" : "", prefix,
                 EVENT_IDENTIFIER, service ? "[" : "", service ? service : "", service ? "]" : "",
                 entry->message);
    if (n < 0)
        return -EINVAL;
    size = (size_t) n;
    if (size >= sizeof line) {
        size = sizeof line - sizeof ellipsis;
        while (size > 0 && ((unsigned char) line[size] & 0xc0) == 0x80)
            size--; /* not within a character of several bytes */
        memcpy(line + size, ellipsis, sizeof ellipsis);
        size += strlen(ellipsis);
    }
    line[size - 1] = '\0';
    value_make_printable(line + log->line_unended);
    line[size - 1] = '\n';
    if (log->line_way == LINE_POLL) {
        struct pollfd pollfd = {.fd = log->line_fd, .events = POLLOUT};

        if (poll(&pollfd, 1, 0) != 1 || !(pollfd.revents & POLLOUT))
            return -EAGAIN;
    }
    written = log->line_way == LINE_SEND ? send(log->line_fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : write_unsignalled(log->line_fd, line, size);
    if (written < 0)
        return -errno;
    log->line_unended = (size_t) written < size;
    return log->line_unended ? -EAGAIN : 0;
}

static void deliver(struct event_log *log, struct event_entry *entry) {
    _cleanup_free_ char *told = NULL;
    bool taken = false;

    if (log->lost > 0 &&
        asprintf(&told, "%s (%" PRIu64 " earlier message%s of latchd %s lost: nobody took %s)",
                 entry->message, log->lost, log->lost == 1 ? "" : "s", log->lost == 1 ? "was" : "were",
                 log->lost == 1 ? "it" : "them") >= 0)
        entry->message = told;
    if (log->target != LOG_TARGET_STDERR)
        taken = send_entry(log, entry) >= 0;
    if (log->target == LOG_TARGET_STDERR ||
        (log->target == LOG_TARGET_AUTO && (!taken || log->line_terminal)))
        taken = write_line(log, entry) >= 0 || taken;
    if (taken)
        log->lost = 0;
    else
        log->lost++;
}

static void deliver_held(struct event_log *log) {
    for (size_t i = 0; i < log->n_held; i++) {
        deliver(log, &log->held[i]->entry);
        free(log->held[i]);
    }
    log->n_held = 0;
}

static void deliver_or_hold(struct event_log *log, struct event_entry *entry) {
    struct event_held *copy = log->holding && log->n_held < EVENT_HELD_MAX ? event_held_new(entry) : NULL;

    if (copy) {
        log->held[log->n_held++] = copy;
        return;
    }
    deliver_held(log);
    deliver(log, entry);
}

void event_log_hold(struct event_log *log) {
    if (log)
        log->holding = true;
}

bool event_log_holds(const struct event_log *log) {
    return log && log->holding;
}

void event_log_flush(struct event_log *log) {
    int saved = errno;

    if (!log)
        return;
    log->holding = false;
    deliver_held(log);
    errno = saved;
}

/* One printable line. Returns NULL when memory ran out. */
static _printf_(1, 0) char *format_message(const char *fmt, va_list ap) {
    char *message;
    size_t length;

    if (vasprintf(&message, fmt, ap) < 0)
        return NULL;
    for (length = strlen(message); length > 0 && isspace((unsigned char) message[length - 1]); length--)
        message[length - 1] = '\0';
    for (char *p = message; *p; p++)
        if (strchr("\n\r\t", *p))
            *p = ' ';
    value_make_printable(message);
    return message;
}

void event_emit(struct event_log *log, enum event_id id, const struct event_scope *scope,
                const struct event_field *fields, size_t n_fields, const char *fmt, ...) {
    static const struct event_scope nobody = {0};
    _cleanup_free_ char *message = NULL;
    int saved = errno;
    va_list ap;

    if (!log || !event_id_valid(id) || (event_kinds[id].priority > log->max_priority && !log->sink))
        return;
    if (!scope)
        scope = &nobody;
    va_start(ap, fmt);
    message = format_message(fmt, ap);
    va_end(ap);
    if (log->sink)
        log->sink(
            &(struct event_record){
                .id = id,
                .realtime_usec = now_usec(CLOCK_REALTIME),
                .scope = scope,
                .fields = fields,
                .n_fields = n_fields,
                .message = message ? message : event_kinds[id].summary,
            },
            log->sink_userdata);
    if (event_kinds[id].priority <= log->max_priority)
        deliver_or_hold(log, &(struct event_entry){
                                 .kind = &event_kinds[id],
                                 .priority = event_kinds[id].priority,
                                 .scope = scope,
                                 .fields = fields,
                                 .n_fields = n_fields,
                                 .message = message ? message : event_kinds[id].summary,
                             });
    errno = saved;
}

void event_debug(struct event_log *log, const char *fmt, ...) {
    static const struct event_scope nobody = {0};
    _cleanup_free_ char *message = NULL;
    int saved = errno;
    va_list ap;

    if (!log || log->max_priority < LOG_DEBUG)
        return;
    va_start(ap, fmt);
    message = format_message(fmt, ap);
    va_end(ap);
    if (message)
        deliver_or_hold(log,
                        &(struct event_entry){.priority = LOG_DEBUG, .scope = &nobody, .message = message});
    errno = saved;
}
