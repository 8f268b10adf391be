/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/json-follow.h"

#define PIECE_BYTES (64 * 1024)

int call_read_text(uint64_t deadline_usec, char **ret, size_t *ret_size, struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size = 0, room = 0;

    for (;;) {
        struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
        ssize_t n;
        int r;

        if (room - size < PIECE_BYTES) {
            char *bigger = realloc(text, room = room * 2 + PIECE_BYTES);

            if (!bigger)
                return err_set(err, ENOMEM, "Failed", "out of memory");
            text = bigger;
        }
        r = deadline_poll(&pollfd, 1, deadline_usec);
        if (r < 0)
            return err_set(err, -r, "Failed", "cannot wait for standard input: %m");
        if (r == 0)
            return err_set(
                err, ETIMEDOUT, "Timeout",
                "standard input did not end in time, so that nothing was sent; a command can stand on "
                "the command line, too");
        n = read(STDIN_FILENO, text + size, PIECE_BYTES);
        if (n == 0)
            break;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return err_set(err, errno, "Failed", "cannot read the command from standard input: %m");
        size += (size_t) n;
        if (size > CALL_TEXT_MAX)
            return err_set(err, E2BIG, "Failed",
                           "the command on standard input is longer than %zu MiB; nothing was sent",
                           CALL_TEXT_MAX / 1024 / 1024);
    }
    *ret = TAKE_PTR(text);
    *ret_size = size;
    return 0;
}

static bool is_word(const char *text, size_t size) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                      others[] = "0123456789-_.";

    for (size_t i = 0; i < size; i++)
        if (!text[i] || (!strchr(letters, text[i]) && (i == 0 || !strchr(others, text[i]))))
            return false;
    return size > 0;
}

static bool is_whole(const char *text, size_t size) {
    struct json_follow follow = {0};

    return json_follow_feed(&follow, text, size) == size && json_follow_end(&follow) == JSON_FOLLOW_WHOLE;
}

int call_make_kea_command(char **text, size_t *size, struct err *err) {
    static const char blanks[] = {' ', '\t', '\r', '\n'};
    const char *first = *text, *last = *text + *size;
    char *command;
    int length;

    while (first < last && memchr(blanks, *first, sizeof blanks))
        first++;
    while (first < last && memchr(blanks, last[-1], sizeof blanks))
        last--;
    if (first < last && *first == '{')
        return is_whole(first, (size_t) (last - first))
                   ? 0
                   : err_set(err, EINVAL, "BadCommand",
                             "the command is not one whole JSON object; nothing was sent (to send it all the "
                             "same: --raw)");
    if (!is_word(first, (size_t) (last - first)))
        return err_set(
            err, EINVAL, "BadCommand",
            "a command of Kea is a word, such as status-get, or a JSON object; to send anything else as "
            "it is: --raw");
    length = asprintf(&command, "{\"command\": \"%.*s\"}", (int) (last - first), first);
    if (length < 0)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    free(*text);
    *text = command;
    *size = (size_t) length;
    return 0;
}
