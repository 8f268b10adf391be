/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/record.h"

#include <ctype.h>
#include <string.h>

#include "base/value.h"

static const char *const record_form_names[RECORD_FORM_MAX] = {
    [RECORD_NONE] = "none",
    [RECORD_PLAIN] = "plain",
    [RECORD_X11] = "x11",
    [RECORD_POSTGRESQL] = "postgresql",
    [RECORD_CHROME] = "chrome",
    [RECORD_EMACS] = "emacs",
    [RECORD_MERCURIAL] = "mercurial",
    [RECORD_MOZILLA] = "mozilla",
};
STRTAB_DEFINE(record_form, enum record_form, record_form_names, RECORD_FORM_INVALID)

static pid_t parse_pid(const char *content) {
    char digits[16];
    size_t length;
    pid_t pid;

    content += strspn(content, " \t");
    length = strspn(content, "0123456789");
    if (length == 0 || length >= sizeof digits ||
        (content[length] && !isspace((unsigned char) content[length])))
        return 0;
    memcpy(digits, content, length);
    digits[length] = '\0';
    return value_parse_pid(digits, &pid) < 0 ? 0 : pid;
}

void lock_record_parse(const char *path, const char *content, struct lock_record *ret) {
    struct lock_record record = {.pid = parse_pid(content)};

    (void) path;
    if (record.pid > 0)
        record.form = RECORD_PLAIN;
    *ret = record;
}

void lock_record_parse_link(const char *path, const char *target, struct lock_record *ret) {
    (void) path;
    (void) target;
    *ret = (struct lock_record){0};
}

bool lock_record_is_bare(const char *content) {
    return !content[strspn(content, " \t\n0123456789")];
}
