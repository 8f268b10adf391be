/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
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

#define DIGITS "0123456789"
#define HEXADECIMAL "0123456789abcdef"

/* A stretch of the text: what the parsers below cut it into. */
struct piece {
    const char *text;
    size_t length;
};

static struct piece piece_of(const char *text) {
    return (struct piece){text, strlen(text)};
}

/* Cuts the next line off; without its ending. Past the last one: empty. */
static struct piece piece_take_line(const char **rest) {
    struct piece line = {*rest, strcspn(*rest, "\n")};

    *rest += line.length + (*(*rest + line.length) != '\0');
    return line;
}

/* Divides at the character; *ret_tail is what stands behind it. */
static bool piece_divide(struct piece whole, const char *at, struct piece *ret_head, struct piece *ret_tail) {
    if (!at)
        return false;
    *ret_head = (struct piece){whole.text, (size_t) (at - whole.text)};
    *ret_tail = (struct piece){at + 1, whole.length - ret_head->length - 1};
    return true;
}

static bool piece_consists_of(struct piece piece, const char *characters) {
    return piece.length > 0 && strspn(piece.text, characters) >= piece.length;
}

/* Decimal digits and nothing else; blanks before them where the writer pads. */
static bool piece_to_number(struct piece piece, bool padded, uint64_t *ret) {
    char digits[24];

    for (; padded && piece.length > 0 && *piece.text == ' '; piece.length--)
        piece.text++;
    if (piece.length >= sizeof digits || !piece_consists_of(piece, DIGITS))
        return false;
    memcpy(digits, piece.text, piece.length);
    digits[piece.length] = '\0';
    return value_parse_u64(digits, ret) >= 0;
}

static bool piece_to_pid(struct piece piece, bool padded, pid_t *ret) {
    uint64_t number;

    if (!piece_to_number(piece, padded, &number) || number == 0 || number > INT_MAX)
        return false;
    *ret = (pid_t) number;
    return true;
}

/* No programs write "0812". */
static bool piece_to_exact_pid(struct piece piece, pid_t *ret) {
    return piece.length > 0 && *piece.text != '0' && piece_to_pid(piece, false, ret);
}

static bool piece_to_usec(struct piece piece, uint64_t *ret) {
    uint64_t seconds;

    if (!piece_to_number(piece, false, &seconds) || seconds > UINT64_MAX / USEC_PER_SEC)
        return false;
    *ret = seconds * USEC_PER_SEC;
    return true;
}

/* sethostname(2) takes anything; what gethostname(2) gave to the writer has no slash in practice, and a path
 * is no host. */
static bool piece_to_host(struct piece piece, char ret[static LOCK_HOST_MAX]) {
    if (piece.length == 0 || piece.length >= LOCK_HOST_MAX || memchr(piece.text, '/', piece.length) ||
        memchr(piece.text, ' ', piece.length) || memchr(piece.text, '\n', piece.length))
        return false;
    memcpy(ret, piece.text, piece.length);
    ret[piece.length] = '\0';
    return true;
}

/* 192.0.2.1, as inet_ntoa(3) writes it. */
static bool piece_is_address(struct piece piece) {
    unsigned dots = 0, digits = 0;

    for (size_t i = 0; i < piece.length; i++) {
        if (piece.text[i] == '.') {
            if (digits == 0)
                return false;
            dots++;
            digits = 0;
        } else if (!isdigit((unsigned char) piece.text[i]) || ++digits > 3)
            return false;
    }
    return dots == 3 && digits > 0;
}

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- regular files ---- */

static bool parse_plain(const char *content, struct lock_record *ret) {
    struct piece number = {content + strspn(content, " \t"), 0};

    number.length = strspn(number.text, DIGITS);
    if (number.text[number.length] && !isspace((unsigned char) number.text[number.length]))
        return false;
    *ret = (struct lock_record){.form = RECORD_PLAIN};
    ret->several = lock_record_is_bare(content) &&
                   number.text[number.length + strspn(number.text + number.length, " \t\n")] != '\0';
    return piece_to_pid(number, false, &ret->pid);
}

/* .X99-lock; the server listens on .X11-unix/X99 beside it (xtrans, Xtranssock.c). */
static bool parse_x11(const char *path, const char *content, struct lock_record *ret) {
    const char *name = base_of(path);
    struct lock_record record = {.form = RECORD_X11};
    size_t digits;
    int n;

    if (strncmp(name, ".X", 2) != 0)
        return false;
    digits = strspn(name + 2, DIGITS);
    if (digits == 0 || digits > 5 || strcmp(name + 2 + digits, "-lock") != 0 || strlen(content) != 11 ||
        content[10] != '\n' || !piece_to_pid((struct piece){content, 10}, true, &record.pid))
        return false;
    n = snprintf(record.socket_path, sizeof record.socket_path, "%.*s.X11-unix/X%.*s", (int) (name - path),
                 path, (int) digits, name + 2);
    if (n < 0 || (size_t) n >= sizeof record.socket_path)
        record.socket_path[0] = '\0'; /* no socket has so long a name: see unix(7) */
    *ret = record;
    return true;
}

/* The server's first socket. A relative directory is relative to the data directory, which the server works
 * in; one that begins with @ stands for an abstract name. */
static void find_postgresql_socket(struct piece data, struct piece directory, uint64_t port,
                                   struct lock_record *record) {
    bool absolute = directory.length > 0 && *directory.text == '/';
    int n;

    if (directory.length == 0 || *directory.text == '@' || data.length > PATH_MAX ||
        directory.length > PATH_MAX || port == 0)
        return;
    n = snprintf(record->socket_path, sizeof record->socket_path, "%.*s%s%.*s/.s.PGSQL.%u",
                 absolute ? 0 : (int) data.length, data.text, absolute ? "" : "/", (int) directory.length,
                 directory.text, (unsigned) port);
    if (n < 0 || (size_t) n >= sizeof record->socket_path)
        record->socket_path[0] = '\0';
}

/* "   5432001         4": both are int, and were turned into unsigned long: a negative key is sign-extended.
 */
static void read_postgresql_shm(struct piece line, struct lock_record *record) {
    struct piece id;
    uint64_t shm_key, shm_id;

    for (; line.length > 0 && *line.text == ' '; line.length--)
        line.text++;
    if (piece_divide(line, memchr(line.text, ' ', line.length), &line, &id) &&
        piece_to_number(line, false, &shm_key) && piece_to_number(id, true, &shm_id)) {
        record->shm_key = shm_key;
        record->shm_id = shm_id;
    }
}

/* A server that is just starting has written the first four lines at least: it writes them by one write(2).
 */
static bool parse_postgresql(const char *path, const char *content, struct lock_record *ret) {
    struct lock_record record = {.form = RECORD_POSTGRESQL};
    struct piece pid, data, started, port, directory;
    uint64_t port_number;

    pid = piece_take_line(&content);
    data = piece_take_line(&content);
    started = piece_take_line(&content);
    port = piece_take_line(&content);
    directory = piece_take_line(&content);
    if (pid.length > 0 && *pid.text == '-') {
        pid.text++;
        pid.length--;
    }
    if (!piece_to_pid(pid, false, &record.pid) || data.length == 0 || *data.text != '/' ||
        !piece_to_usec(started, &record.start_usec) || record.start_usec == 0 ||
        !piece_to_number(port, false, &port_number) || port_number > UINT16_MAX)
        return false;
    /* The lock of a socket stands beside it: its name is the better witness. */
    if (strncmp(base_of(path), ".s.PGSQL.", 9) != 0)
        find_postgresql_socket(data, directory, port_number, &record);
    (void) piece_take_line(&content); /* addresses */
    read_postgresql_shm(piece_take_line(&content), &record);
    *ret = record;
    return true;
}

/* ---- symbolic links ---- */

static bool parse_chrome(struct piece text, struct lock_record *ret) {
    struct lock_record record = {.form = RECORD_CHROME};
    struct piece host, pid;

    if (!piece_divide(text, memrchr(text.text, '-', text.length), &host, &pid) ||
        !piece_to_host(host, record.host) || !piece_to_exact_pid(pid, &record.pid))
        return false;
    *ret = record;
    return true;
}

/* The last @ ends the user, the last dot behind it the host. */
static bool parse_emacs(struct piece text, struct lock_record *ret) {
    static const char cifs_colon[] = "\357\200\242"; /* U+F022: what cifs makes of a colon in a link */
    struct lock_record record = {.form = RECORD_EMACS};
    struct piece user, host, pid, boot;

    if (!piece_divide(text, memrchr(text.text, '@', text.length), &user, &host) || user.length == 0 ||
        memchr(user.text, '/', user.length) || memchr(user.text, '\n', user.length) ||
        !piece_divide(host, memrchr(host.text, '.', host.length), &host, &pid) ||
        !piece_to_host(host, record.host))
        return false;
    boot = (struct piece){pid.text + pid.length, 0};
    if (piece_divide(pid, memchr(pid.text, ':', pid.length), &pid, &boot) ||
        piece_divide(pid, memmem(pid.text, pid.length, cifs_colon, sizeof cifs_colon - 1), &pid, &boot)) {
        if (boot.text[-1] != ':') {
            boot.text += sizeof cifs_colon - 2;
            boot.length -= sizeof cifs_colon - 2;
        }
        if (!piece_to_usec(boot, &record.boot_usec))
            return false;
    }
    if (!piece_to_exact_pid(pid, &record.pid))
        return false;
    *ret = record;
    return true;
}

static bool parse_mozilla(struct piece text, struct lock_record *ret) {
    struct lock_record record = {.form = RECORD_MOZILLA};
    struct piece host, pid;

    if (!piece_divide(text, memchr(text.text, ':', text.length), &host, &pid) || !piece_is_address(host) ||
        !piece_to_host(host, record.host))
        return false;
    if (pid.length > 0 && *pid.text == '+') { /* it has a lock by fcntl(2) on .parentlock, too */
        pid.text++;
        pid.length--;
    }
    if (!piece_to_exact_pid(pid, &record.pid))
        return false;
    *ret = record;
    return true;
}

static bool parse_mercurial(struct piece text, struct lock_record *ret) {
    struct lock_record record = {.form = RECORD_MERCURIAL};
    struct piece host, namespace, pid;
    char digits[17];

    if (!piece_divide(text, memrchr(text.text, ':', text.length), &host, &pid))
        return false;
    if (piece_divide(host, memchr(host.text, '/', host.length), &host, &namespace)) {
        if (namespace.length >= sizeof digits || !piece_consists_of(namespace, HEXADECIMAL))
            return false;
        memcpy(digits, namespace.text, namespace.length);
        digits[namespace.length] = '\0';
        record.pid_namespace = strtoull(digits, NULL, 16);
        if (record.pid_namespace == 0)
            return false;
    }
    if (!piece_to_host(host, record.host) || memchr(host.text, ':', host.length) ||
        !piece_to_exact_pid(pid, &record.pid))
        return false;
    *ret = record;
    return true;
}

/* "192.0.2.1:812" is Mozilla's: no host is called so. */
static bool parse_colon(struct piece text, struct lock_record *ret) {
    return parse_mozilla(text, ret) || parse_mercurial(text, ret);
}

static bool is_mercurial_name(const char *name) {
    return strcmp(name, "lock") == 0 || strcmp(name, "wlock") == 0;
}

/* ---- */

static bool parse_regular(const char *path, const char *content, struct lock_record *ret) {
    const char *name = base_of(path);
    struct piece line = piece_of(content);

    if (parse_x11(path, content, ret) || parse_postgresql(path, content, ret))
        return true;
    if (line.length > 0 && line.text[line.length - 1] == '\n')
        line.length--;
    if (strncmp(name, ".#", 2) == 0 && parse_emacs(line, ret))
        return true;
    if (is_mercurial_name(name) && parse_mercurial(line, ret))
        return true;
    return parse_plain(content, ret);
}

void lock_record_parse(const char *path, const char *content, struct lock_record *ret) {
    if (!parse_regular(path, content, ret))
        *ret = (struct lock_record){.form = RECORD_NONE};
}

void lock_record_parse_link(const char *path, const char *target, struct lock_record *ret) {
    const char *name = base_of(path);
    struct piece text = piece_of(target);
    bool understood = false;

    if (strcmp(name, "SingletonLock") == 0)
        understood = parse_chrome(text, ret);
    else if (strncmp(name, ".#", 2) == 0 && name[2])
        understood = parse_emacs(text, ret);
    else if (is_mercurial_name(name))
        understood = parse_colon(text, ret);
    if (!understood)
        *ret = (struct lock_record){.form = RECORD_NONE};
}

void lock_record_parse_lock_link(const char *target, struct lock_record *ret) {
    struct piece text = piece_of(target);

    /* From the most particular form to the least: USER@web-1.812 is none of Chrome's. */
    if (!parse_emacs(text, ret) && !parse_colon(text, ret) && !parse_chrome(text, ret))
        *ret = (struct lock_record){.form = RECORD_NONE};
}

bool lock_record_is_bare(const char *content) {
    return !content[strspn(content, " \t\n" DIGITS)];
}

bool lock_name_tells(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return strcasestr(name, "pid") || strcasestr(name, "lock");
}

char *lock_guard_path(const char *socket_path) {
    static const char directory[] = ".X11-unix/X";
    const char *base = base_of(socket_path), *number = base + 1;
    size_t length = (size_t) (number - socket_path), fixed = sizeof directory - 1;
    char *path;
    int r;

    if (length >= fixed && memcmp(number - fixed, directory, fixed) == 0 &&
        (length == fixed || number[-(ssize_t) fixed - 1] == '/') && *number &&
        !number[strspn(number, DIGITS)])
        r = asprintf(&path, "%.*s.X%s-lock", (int) (length - fixed), socket_path, number);
    else
        r = asprintf(&path, "%s.lock", socket_path);
    return r < 0 ? NULL : path;
}
