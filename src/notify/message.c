/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/message.h"

#include <errno.h>
#include <string.h>

#include "base/value.h"

#define ERRNO_MAX 4095 /* MAX_ERRNO (include/linux/err.h) */

bool notify_fd_name_is_valid(const char *name) {
    size_t n = strlen(name);

    for (const char *p = name; *p; p++)
        if (*p < ' ' || *p > '~' || *p == ':')
            return false;
    return n > 0 && n < NOTIFY_FD_NAME_MAX;
}

/* Cut between two characters, not within one: bytes 10xxxxxx go on with a character of UTF-8. */
static void copy_status(const char *value, struct notify_message *message) {
    size_t n = strlen(value);

    if (n >= sizeof message->status)
        for (n = sizeof message->status - 1; n > 0 && ((unsigned char) value[n] & 0xc0) == 0x80; n--)
            ;
    memcpy(message->status, value, n);
    message->status[n] = '\0';
    value_make_printable(message->status);
    message->has_status = true;
}

static int parse_watchdog(const char *value, struct notify_message *message) {
    if (strcmp(value, "1") == 0)
        message->watchdog_ping = true;
    else if (strcmp(value, "trigger") == 0)
        message->watchdog_trigger = true;
    else
        return -EINVAL;
    return 0;
}

static int parse_monotonic(const char *value, struct notify_message *message) {
    int r = value_parse_u64(value, &message->monotonic_usec);

    message->has_monotonic |= r >= 0;
    return r;
}

static int parse_errno(const char *value, struct notify_message *message) {
    int r = value_parse_int(value, 0, ERRNO_MAX, &message->error_number);

    message->has_errno |= r >= 0;
    return r;
}

static int parse_exit_status(const char *value, struct notify_message *message) {
    int r = value_parse_int(value, 0, 255, &message->exit_status);

    message->has_exit_status |= r >= 0;
    return r;
}

static int parse_watchdog_usec(const char *value, struct notify_message *message) {
    int r = value_parse_u64(value, &message->watchdog_usec);

    message->has_watchdog_usec |= r >= 0;
    return r;
}

static int parse_fd_name(const char *value, struct notify_message *message) {
    if (!notify_fd_name_is_valid(value))
        return -EINVAL;
    strcpy(message->fd_name, value);
    return 0;
}

static int parse_assignment(const char *name, const char *value, struct notify_message *message) {
    bool one = strcmp(value, "1") == 0;

    if (strcmp(name, "READY") == 0 || strcmp(name, "RELOADING") == 0 || strcmp(name, "STOPPING") == 0) {
        if (one)
            message->phase = strcmp(name, "READY") == 0       ? NOTIFY_PHASE_READY
                             : strcmp(name, "RELOADING") == 0 ? NOTIFY_PHASE_RELOADING
                                                              : NOTIFY_PHASE_STOPPING;
        return one ? 0 : -EINVAL;
    }
    if (strcmp(name, "STATUS") == 0) {
        copy_status(value, message);
        return 0;
    }
    if (strcmp(name, "MONOTONIC_USEC") == 0)
        return parse_monotonic(value, message);
    if (strcmp(name, "MAINPID") == 0)
        return value_parse_pid(value, &message->main_pid);
    if (strcmp(name, "ERRNO") == 0)
        return parse_errno(value, message);
    if (strcmp(name, "EXIT_STATUS") == 0)
        return parse_exit_status(value, message);
    if (strcmp(name, "EXTEND_TIMEOUT_USEC") == 0)
        return value_parse_u64(value, &message->extend_usec);
    if (strcmp(name, "WATCHDOG") == 0)
        return parse_watchdog(value, message);
    if (strcmp(name, "WATCHDOG_USEC") == 0)
        return parse_watchdog_usec(value, message);
    if (strcmp(name, "BARRIER") == 0)
        message->barrier |= one;
    else if (strcmp(name, "FDSTORE") == 0)
        message->fd_store |= one;
    else if (strcmp(name, "FDSTOREREMOVE") == 0)
        message->fd_remove |= one;
    else if (strcmp(name, "FDPOLL") == 0)
        message->fd_poll &= strcmp(value, "0") != 0;
    else if (strcmp(name, "FDNAME") == 0)
        return parse_fd_name(value, message);
    return 0;
}

/* The known name, which outlives the message. */
static const char *known_name(const char *name) {
    static const char *const names[] = {"READY",         "RELOADING", "STOPPING",    "MONOTONIC_USEC",
                                        "MAINPID",       "ERRNO",     "EXIT_STATUS", "EXTEND_TIMEOUT_USEC",
                                        "WATCHDOG_USEC", "WATCHDOG",  "FDNAME"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (strcmp(names[i], name) == 0)
            return names[i];
    return "?";
}

int notify_message_parse(const char *data, size_t size, struct notify_message *ret) {
    struct notify_message message = {.fd_poll = true};
    char text[NOTIFY_MESSAGE_MAX + 1], *rest = text, *line;

    if (size > 0 && data[size - 1] == '\0')
        size--;
    if (size > NOTIFY_MESSAGE_MAX || memchr(data, '\0', size))
        return -EBADMSG;
    memcpy(text, data, size);
    text[size] = '\0';
    while ((line = strsep(&rest, "\n"))) {
        char *value = strchr(line, '=');

        if (!value)
            continue;
        *value++ = '\0';
        if (parse_assignment(line, value, &message) < 0 && !message.bad)
            message.bad = known_name(line);
    }
    *ret = message;
    return 0;
}
