/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Events: ids and their catalog; what is sent to the journal, byte for byte, to a socket that stands in for
 * journald's; that a receiver that does not receive stops nobody; the lines on standard error. */

#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"
#include "journal/event.h"
#include "journal/stream.h"

#include "suite.h"

static const char *source_path(const char *name, char buffer[static 4096]) {
    const char *srcdir = getenv("srcdir");

    snprintf(buffer, 4096, "%s/%s", srcdir ? srcdir : ".", name);
    return buffer;
}

/* A datagram or stream socket in a directory of its own. */
struct receiver {
    char directory[64];
    char path[96];
    int fd;
};

static void receiver_open(struct receiver *receiver, int type) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(receiver->directory, "/tmp/test-event.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(receiver->directory));
    snprintf(receiver->path, sizeof receiver->path, "%s/socket", receiver->directory);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", receiver->path);
    receiver->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(receiver->fd, 0);
    ck_assert_int_eq(bind(receiver->fd, (struct sockaddr *) &address, sizeof address), 0);
    if (type == SOCK_STREAM)
        ck_assert_int_eq(listen(receiver->fd, 1), 0);
}

static void receiver_close(struct receiver *receiver) {
    receiver->fd = fd_close(receiver->fd);
    (void) unlink(receiver->path);
    ck_assert_int_eq(rmdir(receiver->directory), 0);
}

struct entry {
    char *data;
    size_t size;
    bool memfd;
};

/* Receives as journald does: the content, or a sealed memfd. False: the queue is empty. */
static bool receive(const struct receiver *receiver, struct entry *ret) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char *data = malloc(1 << 20);
    struct iovec iov = {.iov_base = data, .iov_len = 1 << 20};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(receiver->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header;

    if (n < 0) {
        ck_assert_int_eq(errno, EAGAIN);
        free(data);
        return false;
    }
    *ret = (struct entry){.data = data, .size = (size_t) n};
    header = CMSG_FIRSTHDR(&message);
    if (header) {
        int fd;

        ck_assert_int_eq(n, 0);
        ck_assert_int_eq(header->cmsg_type, SCM_RIGHTS);
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        ck_assert_int_eq(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
        free(data);
        ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
        ck_assert_int_eq(fd_read_all(fd, 64 << 20, &ret->data, &ret->size), 0);
        ret->memfd = true;
        fd_close(fd);
    }
    return true;
}

/* Reads the native protocol by its specification. Returns how often the field is there; the first value
 * goes to *ret (owned by the caller). The whole datagram has to be well formed. */
static unsigned entry_get(const struct entry *entry, const char *name, char **ret, size_t *ret_size) {
    const char *p = entry->data, *end = entry->data + entry->size;
    unsigned found = 0;

    *ret = NULL;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t) (end - p)), *equals, *value;
        size_t name_size, value_size;

        ck_assert_ptr_nonnull(newline);
        equals = memchr(p, '=', (size_t) (newline - p));
        if (equals) {
            name_size = (size_t) (equals - p);
            value = equals + 1;
            value_size = (size_t) (newline - value);
        } else {
            uint64_t size = 0;

            name_size = (size_t) (newline - p);
            ck_assert_int_ge(end - newline, 1 + 8);
            for (int i = 7; i >= 0; i--)
                size = size << 8 | (unsigned char) newline[1 + i];
            value = newline + 9;
            ck_assert_uint_lt(size, (uint64_t) (end - value));
            value_size = (size_t) size;
        }
        ck_assert_int_eq(value[value_size], '\n');
        if (strlen(name) == name_size && memcmp(name, p, name_size) == 0 && found++ == 0) {
            *ret = malloc(value_size + 1);
            memcpy(*ret, value, value_size);
            (*ret)[value_size] = '\0';
            *ret_size = value_size;
        }
        p = value + value_size + 1;
    }
    return found;
}

static void assert_field(const struct entry *entry, const char *name, const char *expected) {
    _cleanup_free_ char *value = NULL;
    size_t size;

    if (!expected) {
        ck_assert_uint_eq(entry_get(entry, name, &value, &size), 0);
        return;
    }
    ck_assert_msg(entry_get(entry, name, &value, &size) == 1, "one %s= expected", name);
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert_str_eq(value, expected);
}

static struct event_log *open_log(enum log_target target, const char *socket_path, int stderr_fd) {
    struct event_log *log = NULL;
    struct event_log_options options = {
        .target = target, .max_priority = LOG_INFO, .socket_path = socket_path, .stderr_fd = stderr_fd};

    ck_assert_int_eq(event_log_open(&options, &log, NULL), 0);
    return log;
}

START_TEST(ids_are_unique) {
    for (int i = 0; i < EVENT_ID_MAX; i++) {
        const char *id = event_id_message_id((enum event_id) i);

        ck_assert_uint_eq(strlen(id), 32);
        ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 32);
        ck_assert_int_eq(id[12], '4'); /* made at random, RFC 4122 version 4 */
        ck_assert_int_ge(event_id_priority((enum event_id) i), LOG_EMERG);
        ck_assert_int_lt(event_id_priority((enum event_id) i), LOG_DEBUG);
        ck_assert_int_eq(event_id_from_string(event_id_to_string((enum event_id) i)), i);
        ck_assert_uint_gt(strlen(event_id_summary((enum event_id) i)), 0);
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(id, event_id_message_id((enum event_id) k));
            ck_assert_str_ne(event_id_summary((enum event_id) i), event_id_summary((enum event_id) k));
        }
    }
    ck_assert_ptr_null(event_id_message_id(EVENT_ID_MAX));
    ck_assert_ptr_null(event_id_to_string(EVENT_ID_INVALID));
}
END_TEST

/* Whether the blank-separated list has the word of that length. */
static bool list_has(const char *list, const char *word, size_t length) {
    for (const char *p = list; *p; p += strspn(p, " ")) {
        size_t size = strcspn(p, " ");

        if (size == length && memcmp(p, word, length) == 0)
            return true;
        p += size;
    }
    return false;
}

/* Each @FIELD@ of a catalog entry is one that the event has. */
static void check_substitutions(enum event_id id, const char *text, const char *end) {
    static const char common[] = "LATCHD_SERVICE LATCHD_GENERATION LATCHD_INVOCATION_ID";

    for (const char *at = text; (at = memchr(at, '@', (size_t) (end - at))); at++) {
        size_t length = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

        ck_assert_msg(length > 0 && at[1 + length] == '@', "%s: a lone '@'", event_id_to_string(id));
        ck_assert_msg(list_has(event_id_fields(id), at + 1, length) || list_has(common, at + 1, length),
                      "%s: the catalog names @%.*s@, which the event does not have", event_id_to_string(id),
                      (int) length, at + 1);
        at += length + 1;
    }
}

START_TEST(catalog_matches) {
    _cleanup_free_ char *text = NULL;
    unsigned entries[EVENT_ID_MAX] = {0};
    char path[4096];

    ck_assert_int_eq(
        fd_read_file_at(AT_FDCWD, source_path("units/latchd.catalog", path), 1 << 20, &text, NULL), 0);
    for (char *p = strstr(text, "\n-- "); p;) {
        char *next = strstr(p + 1, "\n-- "), *end = next ? next : text + strlen(text), *body;
        enum event_id id = EVENT_ID_INVALID;

        for (int i = 0; i < EVENT_ID_MAX; i++)
            if (strncmp(p + 4, event_id_message_id((enum event_id) i), 32) == 0)
                id = (enum event_id) i;
        ck_assert_msg(id != EVENT_ID_INVALID, "no event has this entry's id: %.33s", p + 4);
        ck_assert_int_eq(p[4 + 32], '\n');
        entries[id]++;

        body = memmem(p, (size_t) (end - p), "\n\n", 2);
        ck_assert_ptr_nonnull(body);
        ck_assert_int_eq(strncmp(p + 4 + 33, "Subject: ", 9), 0);
        ck_assert_ptr_nonnull(memmem(p, (size_t) (body - p), "\nDefined-By: latchd\n", 20));
        ck_assert_msg(end - body > 80, "%s: the catalog explains nothing", event_id_to_string(id));
        check_substitutions(id, p, end);
        p = next;
    }
    for (int i = 0; i < EVENT_ID_MAX; i++)
        ck_assert_msg(entries[i] == 1, "%s has %u catalog entries", event_id_to_string((enum event_id) i),
                      entries[i]);
}
END_TEST

START_TEST(field_names_are_valid) {
    for (int i = 0; i < EVENT_ID_MAX; i++)
        for (const char *p = event_id_fields((enum event_id) i); *p; p += strspn(p, " ")) {
            size_t length = strcspn(p, " ");

            ck_assert_msg(strncmp(p, "LATCHD_", 7) == 0 || strncmp(p, "ERRNO", length) == 0, "%s: field %.*s",
                          event_id_to_string((enum event_id) i), (int) length, p);
            ck_assert_uint_eq(strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"), length);
            ck_assert_uint_le(length, 64);
            p += length;
        }
}
END_TEST

START_TEST(sends_bytes) {
    static const char expected[] = "MESSAGE=a lock: /run/kea.lock\n"
                                   "PRIORITY=4\n"
                                   "SYSLOG_IDENTIFIER=latchd\n"
                                   "SYSLOG_FACILITY=3\n"
                                   "MESSAGE_ID=fa03d15ae2b941b189d54483dd31a94f\n"
                                   "LATCHD_EVENT=LOCK_ORPHANED\n"
                                   "LATCHD_SERVICE=kea\n"
                                   "LATCHD_GENERATION=7\n"
                                   "LATCHD_INVOCATION_ID=0123\n"
                                   "LATCHD_LOCK=/run/kea.lock\n"
                                   "LATCHD_REASON\n"
                                   "\x0a\0\0\0\0\0\0\0"
                                   "two\n\x01\xff=\t\r\n\n"
                                   "LATCHD_HOLDER_PID=812\n";
    struct event_fields fields = {.n = 0};
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;

    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_JOURNAL, receiver.path, 0);
    event_field_set(&fields, "LATCHD_LOCK", "/run/kea.lock");
    event_field_set(&fields, "_PID", "1"); /* journald's own: left out */
    event_field_set(&fields, "1ST", "no");
    event_field_set(&fields, "latchd lock", "no"); /* no name of a field */
    event_field_set(&fields, "LATCHD_NOTHING", NULL);
    event_field_set(&fields, "LATCHD_REASON", "two\n\x01\xff=\t\r\n");
    event_field_add(&fields, "LATCHD_HOLDER_PID", "%d", 812);
    errno = ENOTTY;
    event_emit(log, EVENT_LOCK_ORPHANED,
               &(struct event_scope){.service = "kea", .generation = 7, .invocation_id = "0123"},
               fields.fields, fields.n, "a lock:\n%s\n", "/run/kea.lock");
    ck_assert_int_eq(errno, ENOTTY);
    ck_assert(receive(&receiver, &entry));
    ck_assert_uint_eq(entry.size, sizeof expected - 1);
    ck_assert_mem_eq(entry.data, expected, sizeof expected - 1);
    ck_assert(!entry.memfd);
    assert_field(&entry, "LATCHD_REASON", "two\n\x01\xff=\t\r\n");
    free(entry.data);

    /* Without a scope or fields; and a message of unknown origin. */
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0,
               "a\x1b[31mb\xff"
               "c\td");
    ck_assert(receive(&receiver, &entry));
    assert_field(&entry, "MESSAGE", "a?[31mb?c d");
    assert_field(&entry, "LATCHD_SERVICE", NULL);
    assert_field(&entry, "LATCHD_GENERATION", NULL);
    assert_field(&entry, "PRIORITY", "6");
    free(entry.data);
    ck_assert(!receive(&receiver, &entry));
    event_log_close(log);
    receiver_close(&receiver);
}
END_TEST

START_TEST(sends_large_by_memfd) {
    const size_t size = 3 << 20;
    char *large = malloc(size + 1);
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;

    memset(large, 'x', size);
    large[size / 2] = '\n';
    large[size] = '\0';
    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_JOURNAL, receiver.path, 0);
    event_emit(log, EVENT_SERVICE_READY, &(struct event_scope){.service = "kea"},
               &(struct event_field){"LATCHD_STATUS_TEXT", large}, 1, "ready");
    ck_assert(receive(&receiver, &entry));
    ck_assert(entry.memfd);
    assert_field(&entry, "LATCHD_STATUS_TEXT", large);
    assert_field(&entry, "MESSAGE", "ready");
    assert_field(&entry, "LATCHD_SERVICE", "kea");
    free(entry.data);
    ck_assert_uint_eq(event_log_lost(log), 0);
    event_log_close(log);
    receiver_close(&receiver);
    free(large);
}
END_TEST

START_TEST(never_blocks_and_counts_losses) {
    enum { SENT = 5000 };
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;
    unsigned got = 0;
    uint64_t lost, before;
    char text[24], message[128];

    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_JOURNAL, receiver.path, 0);
    before = now_usec(CLOCK_MONOTONIC);
    alarm(30); /* blocking would mean for ever */
    for (int i = 0; i < SENT; i++)
        event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "event %d", i);
    alarm(0);
    ck_assert_uint_lt(now_usec(CLOCK_MONOTONIC) - before, 20 * USEC_PER_SEC);
    lost = event_log_lost(log);
    ck_assert_uint_gt(lost, 0);
    while (receive(&receiver, &entry)) {
        snprintf(message, sizeof message, "event %u", got++);
        assert_field(&entry, "MESSAGE", message);
        assert_field(&entry, "LATCHD_LOST_EVENTS", NULL);
        free(entry.data);
    }
    ck_assert_uint_eq(got + lost, SENT);

    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "after");
    ck_assert(receive(&receiver, &entry));
    snprintf(text, sizeof text, "%llu", (unsigned long long) lost);
    assert_field(&entry, "LATCHD_LOST_EVENTS", text);
    snprintf(message, sizeof message, "after (%s earlier messages of latchd were lost: nobody took them)",
             text);
    assert_field(&entry, "MESSAGE", message);
    free(entry.data);
    ck_assert_uint_eq(event_log_lost(log), 0);

    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "again");
    ck_assert(receive(&receiver, &entry));
    assert_field(&entry, "MESSAGE", "again");
    assert_field(&entry, "LATCHD_LOST_EVENTS", NULL);
    free(entry.data);
    event_log_close(log);
    receiver_close(&receiver);
}
END_TEST

START_TEST(journald_may_restart) {
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_JOURNAL, receiver.path, 0);
    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "one");
    fd_close(receiver.fd);
    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "refused");
    ck_assert_int_eq(unlink(receiver.path), 0);
    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "no socket");
    ck_assert_uint_eq(event_log_lost(log), 2);
    receiver.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", receiver.path);
    ck_assert_int_eq(bind(receiver.fd, (struct sockaddr *) &address, sizeof address), 0);
    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "two");
    ck_assert(receive(&receiver, &entry));
    assert_field(&entry, "LATCHD_LOST_EVENTS", "2");
    free(entry.data);
    event_log_close(log);
    receiver_close(&receiver);
}
END_TEST

/* What has been written to the pipe, as text. */
static char *pipe_text(int fd, char *buffer, size_t size) {
    ssize_t n = read(fd, buffer, size - 1);

    buffer[n > 0 ? n : 0] = '\0';
    return buffer;
}

static void make_pipe(int fds[2]) {
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(fd_set_nonblock(fds[0], true), 0);
}

/* Kept for a moment, nothing is lost: neither the order, nor what would be too many, nor at the end. */
START_TEST(held_for_a_moment) {
    struct event_field field = {"LATCHD_REASON", NULL};
    struct event_scope scope = {.generation = 7};
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;
    char message[32], reason[32], service[32];

    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_JOURNAL, receiver.path, 0);
    event_log_hold(log);
    for (int i = 0; i < 3; i++) {
        snprintf(reason, sizeof reason, "reason %d", i); /* overwritten before it is sent */
        snprintf(service, sizeof service, "service-%d", i);
        field.value = reason;
        scope.service = service;
        event_emit(log, EVENT_SERVICE_READY, &scope, &field, 1, "event %d", i);
    }
    ck_assert(!receive(&receiver, &entry));
    event_log_flush(log);
    for (int i = 0; i < 3; i++) {
        ck_assert(receive(&receiver, &entry));
        snprintf(message, sizeof message, "event %d", i);
        snprintf(reason, sizeof reason, "reason %d", i);
        snprintf(service, sizeof service, "service-%d", i);
        assert_field(&entry, "MESSAGE", message);
        assert_field(&entry, "LATCHD_REASON", reason);
        assert_field(&entry, "LATCHD_SERVICE", service);
        assert_field(&entry, "LATCHD_GENERATION", "7");
        free(entry.data);
    }
    event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "at once again");
    ck_assert(receive(&receiver, &entry));
    free(entry.data);

    event_log_hold(log);
    for (int i = 0; i < EVENT_HELD_MAX + 1; i++)
        event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "event %d", i);
    for (int i = 0; receive(&receiver, &entry); i++) {
        snprintf(message, sizeof message, "event %d", i);
        assert_field(&entry, "MESSAGE", message);
        free(entry.data);
        ck_assert_int_le(i, EVENT_HELD_MAX);
        if (i == EVENT_HELD_MAX) /* what was too many took all before it along */
            event_emit(log, EVENT_SERVICE_READY, NULL, NULL, 0, "the last");
    }
    event_log_close(log);
    ck_assert(receive(&receiver, &entry));
    assert_field(&entry, "MESSAGE", "the last");
    free(entry.data);
    receiver_close(&receiver);
}
END_TEST

START_TEST(lines_on_stderr) {
    char buffer[16384], longer[6000];
    struct event_log *log;
    int fds[2];

    make_pipe(fds);
    log = open_log(LOG_TARGET_STDERR, NULL, fds[1]);
    event_emit(log, EVENT_SERVICE_READY, &(struct event_scope){.service = "kea"}, NULL, 0, "ready\nnow");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd[kea]: ready now\n");
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "hello");
    event_debug(log, "not at this level");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: hello\n");

    /* A line is at most what a pipe takes whole, and is not cut within a character. */
    for (size_t i = 0; i + 3 < sizeof longer; i += 3)
        memcpy(longer + i, "\xe2\x82\xac", 4);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "%s", longer);
    pipe_text(fds[0], buffer, sizeof buffer);
    ck_assert_uint_le(strlen(buffer), 4096);
    ck_assert_uint_gt(strlen(buffer), 4090);
    ck_assert_str_eq(buffer + strlen(buffer) - 7, "\xe2\x82\xac...\n");

    /* Nobody reads: nothing blocks. The caller's own description stays as it was. */
    alarm(30);
    for (int i = 0; i < 5000; i++)
        event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "event %d with some more to say about it",
                   i);
    alarm(0);
    ck_assert_uint_gt(event_log_lost(log), 0);
    ck_assert_int_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);

    /* Nobody can ever read again: no SIGPIPE. */
    fd_close(fds[0]);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "to nobody");
    event_log_close(log);
    fd_close(fds[1]);
}
END_TEST

START_TEST(lines_on_a_socket) {
    char buffer[4096];
    struct event_log *log;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    log = open_log(LOG_TARGET_STDERR, NULL, fds[1]);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "hello");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: hello\n");
    alarm(30);
    for (int i = 0; i < 100000; i++)
        event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "event %d", i);
    alarm(0);
    ck_assert_uint_gt(event_log_lost(log), 0);
    fd_close(fds[0]);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "to nobody");
    event_log_close(log);
    fd_close(fds[1]);
}
END_TEST

START_TEST(target_auto) {
    char buffer[4096], stream[64];
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;
    struct stat st;
    int fds[2];

    /* With a journal, and standard error not a terminal: the journal only. */
    receiver_open(&receiver, SOCK_DGRAM);
    make_pipe(fds);
    log = open_log(LOG_TARGET_AUTO, receiver.path, fds[1]);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "hello");
    ck_assert(receive(&receiver, &entry));
    free(entry.data);
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "");

    /* The journal goes away: plain lines, and nothing is lost. */
    receiver_close(&receiver);
    event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "still here");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: still here\n");
    ck_assert_uint_eq(event_log_lost(log), 0);
    event_log_close(log);

    /* Standard error is the journal's stream: with the priority. */
    ck_assert_int_eq(fstat(fds[1], &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) st.st_dev,
             (unsigned long long) st.st_ino);
    ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
    log = open_log(LOG_TARGET_AUTO, receiver.path, fds[1]);
    event_emit(log, EVENT_BLOCKED, NULL, NULL, 0, "held");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "<3>latchd: held\n");
    event_log_close(log);

    /* That of another file is not. */
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) st.st_dev,
             (unsigned long long) st.st_ino + 1);
    ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
    log = open_log(LOG_TARGET_AUTO, receiver.path, fds[1]);
    event_emit(log, EVENT_BLOCKED, NULL, NULL, 0, "held");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: held\n");
    event_log_close(log);
    ck_assert_int_eq(unsetenv("JOURNAL_STREAM"), 0);
    fd_close(fds[0]);
    fd_close(fds[1]);
}
END_TEST

START_TEST(target_auto_on_a_terminal) {
    char buffer[4096];
    struct receiver receiver;
    struct event_log *log;
    struct entry entry;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), terminal;

    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(terminal, 0);
    receiver_open(&receiver, SOCK_DGRAM);
    log = open_log(LOG_TARGET_AUTO, receiver.path, terminal);
    event_emit(log, EVENT_BLOCKED, NULL, NULL, 0, "held");
    ck_assert(receive(&receiver, &entry));
    free(entry.data);
    ck_assert_str_eq(pipe_text(master, buffer, sizeof buffer), "latchd: held\r\n");

    /* A terminal that shows nothing any more stops nobody, nor does it lose what the journal takes. */
    alarm(30);
    for (int i = 0; i < 2000; i++) {
        event_emit(log, EVENT_SUPERVISOR_STARTED, NULL, NULL, 0, "event %d with some more to say about it",
                   i);
        ck_assert(receive(&receiver, &entry));
        free(entry.data);
    }
    alarm(0);
    ck_assert_uint_eq(event_log_lost(log), 0);
    event_log_close(log);
    receiver_close(&receiver);
    fd_close(terminal);
    fd_close(master);
}
END_TEST

START_TEST(no_journal_is_an_error_where_one_is_asked_for) {
    struct event_log_options options = {.target = LOG_TARGET_JOURNAL, .socket_path = "/nonexistent/socket"};
    struct event_log *log = NULL;
    _cleanup_err_ struct err err = {0};

    ck_assert_int_eq(event_log_open(&options, &log, &err), -ENOENT);
    ck_assert_str_eq(err.name, "NoJournal");
    ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/socket"));
    ck_assert_ptr_null(log);
    event_emit(NULL, EVENT_SERVICE_READY, NULL, NULL, 0, "nowhere");
    event_debug(NULL, "nowhere");
}
END_TEST

struct seen {
    unsigned n;
    enum event_id last;
    char message[64];
};

static void see(const struct event_record *record, void *userdata) {
    struct seen *seen = userdata;

    seen->n++;
    seen->last = record->id;
    snprintf(seen->message, sizeof seen->message, "%s/%s/%zu",
             record->scope->service ? record->scope->service : "-", record->message, record->n_fields);
}

START_TEST(levels_and_sink) {
    struct event_log_options options = {.target = LOG_TARGET_STDERR, .max_priority = LOG_WARNING};
    struct event_log *log = NULL;
    struct seen seen = {0};
    char buffer[4096];
    int fds[2], priority;

    make_pipe(fds);
    options.stderr_fd = fds[1];
    ck_assert_int_eq(event_log_open(&options, &log, NULL), 0);
    event_log_set_sink(log, see, &seen);
    event_emit(log, EVENT_SERVICE_READY, &(struct event_scope){.service = "kea"},
               &(struct event_field){"A", "b"}, 1, "ready");
    ck_assert_uint_eq(seen.n, 1);
    ck_assert_int_eq(seen.last, EVENT_SERVICE_READY);
    ck_assert_str_eq(seen.message, "kea/ready/1");
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "");
    event_emit(log, EVENT_LOCK_ORPHANED, NULL, NULL, 0, "who knows");
    ck_assert_uint_eq(seen.n, 2);
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: who knows\n");
    event_log_close(log);

    options.max_priority = LOG_DEBUG;
    ck_assert_int_eq(event_log_open(&options, &log, NULL), 0);
    event_debug(log, "step %d", 3);
    ck_assert_str_eq(pipe_text(fds[0], buffer, sizeof buffer), "latchd: step 3\n");
    event_log_close(log);
    fd_close(fds[0]);
    fd_close(fds[1]);

    ck_assert_int_eq(event_parse_priority("Warning", &priority), 0);
    ck_assert_int_eq(priority, LOG_WARNING);
    ck_assert_int_eq(event_parse_priority("error", &priority), 0);
    ck_assert_int_eq(priority, LOG_ERR);
    ck_assert_int_eq(event_parse_priority("7", &priority), 0);
    ck_assert_int_eq(priority, LOG_DEBUG);
    ck_assert_int_lt(event_parse_priority("8", &priority), 0);
    ck_assert_int_lt(event_parse_priority("", &priority), 0);
    ck_assert_str_eq(event_priority_name(LOG_CRIT), "crit");
    ck_assert_ptr_null(event_priority_name(8));
}
END_TEST

START_TEST(fields_are_bounded) {
    struct event_fields fields = {.n = 0};
    char longer[EVENT_FIELDS_BYTES + 100];

    memset(longer, 'y', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    event_field_add(&fields, "LATCHD_A", "%s", "first");
    event_field_add(&fields, "LATCHD_B", "%s", longer);
    ck_assert_uint_eq(fields.n, 2);
    ck_assert_str_eq(fields.fields[0].value, "first");
    ck_assert_uint_eq(strlen(fields.fields[1].value), EVENT_FIELDS_BYTES - strlen("first") - 2);
    ck_assert_str_eq(fields.fields[1].value + strlen(fields.fields[1].value) - 4, "y...");
    event_field_add(&fields, "LATCHD_C", "no room");
    ck_assert_uint_eq(fields.n, 2);
    event_field_set(&fields, "LATCHD_D", "borrowed: needs none");
    for (int i = 0; i < 2 * EVENT_FIELDS_MAX; i++)
        event_field_set(&fields, "LATCHD_E", "e");
    ck_assert_uint_eq(fields.n, EVENT_FIELDS_MAX);
}
END_TEST

START_TEST(stream_to_the_journal) {
    struct receiver receiver;
    char buffer[4096];
    int fd, connection;

    receiver_open(&receiver, SOCK_STREAM);
    fd = stream_open_at(receiver.path, "kea\ndhcp4", LOG_INFO);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(write(fd, "hello\n", 6), 6);
    connection = accept4(receiver.fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(connection, 0);
    ck_assert_str_eq(pipe_text(connection, buffer, sizeof buffer), "kea?dhcp4\n\n6\n1\n0\n0\n0\nhello\n");
    fd_close(connection);
    fd_close(fd);

    /* A journald that accepts nothing does not stop us either. */
    alarm(30);
    int several[8], n = 0;
    while (n < 8 && (several[n] = stream_open_at(receiver.path, "kea", LOG_INFO)) >= 0)
        n++;
    alarm(0);
    ck_assert_int_lt(n, 8);
    ck_assert_int_eq(several[n], -EAGAIN);
    while (n > 0)
        fd_close(several[--n]);
    fd_close(receiver.fd);
    ck_assert_int_eq(stream_open_at(receiver.path, "kea", LOG_INFO), -ECONNREFUSED);
    receiver.fd = -EBADF;
    receiver_close(&receiver);
    ck_assert_int_eq(stream_open_at(receiver.path, "kea", LOG_INFO), -ENOENT);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("event");
    TCase *tcase = tcase_create("event");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, ids_are_unique);
    tcase_add_test(tcase, catalog_matches);
    tcase_add_test(tcase, field_names_are_valid);
    tcase_add_test(tcase, sends_bytes);
    tcase_add_test(tcase, sends_large_by_memfd);
    tcase_add_test(tcase, never_blocks_and_counts_losses);
    tcase_add_test(tcase, journald_may_restart);
    tcase_add_test(tcase, held_for_a_moment);
    tcase_add_test(tcase, lines_on_stderr);
    tcase_add_test(tcase, lines_on_a_socket);
    tcase_add_test(tcase, target_auto);
    tcase_add_test(tcase, target_auto_on_a_terminal);
    tcase_add_test(tcase, no_journal_is_an_error_where_one_is_asked_for);
    tcase_add_test(tcase, levels_and_sink);
    tcase_add_test(tcase, fields_are_bounded);
    tcase_add_test(tcase, stream_to_the_journal);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
