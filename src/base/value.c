/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int value_parse_bool(const char *text, bool *ret) {
    static const char *const yes[] = {"yes", "y", "true", "t", "on", "1"};
    static const char *const no[] = {"no", "n", "false", "f", "off", "0"};

    for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

int value_parse_u64(const char *text, uint64_t *ret) {
    uint64_t value = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t) (*text - '0'), &value))
            return -ERANGE;
    }
    *ret = value;
    return 0;
}

int value_parse_int(const char *text, int min, int max, int *ret) {
    bool negative = *text == '-';
    uint64_t magnitude;
    int64_t value;
    int r;

    r = value_parse_u64(text + (negative || *text == '+'), &magnitude);
    if (r < 0)
        return r;
    if (magnitude > (uint64_t) INT_MAX + 1)
        return -ERANGE;
    value = negative ? -(int64_t) magnitude : (int64_t) magnitude;
    if (value < min || value > max)
        return -ERANGE;
    *ret = (int) value;
    return 0;
}

int value_parse_pid(const char *text, pid_t *ret) {
    uint64_t value;
    int r = value_parse_u64(text, &value);

    if (r < 0)
        return r;
    if (value == 0 || value > INT_MAX)
        return -ERANGE;
    *ret = (pid_t) value;
    return 0;
}

int value_parse_mode(const char *text, mode_t *ret) {
    mode_t mode = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '7')
            return -EINVAL;
        mode = mode * 8 + (mode_t) (*text - '0');
        if (mode > 07777)
            return -ERANGE;
    }
    *ret = mode;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"us", 1},
    {"usec", 1},
    {"µs", 1},
    {"ms", USEC_PER_MSEC},
    {"msec", USEC_PER_MSEC},
    {"s", USEC_PER_SEC},
    {"sec", USEC_PER_SEC},
    {"second", USEC_PER_SEC},
    {"seconds", USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC},
    {"min", 60 * USEC_PER_SEC},
    {"minute", 60 * USEC_PER_SEC},
    {"minutes", 60 * USEC_PER_SEC},
    {"h", 3600 * USEC_PER_SEC},
    {"hr", 3600 * USEC_PER_SEC},
    {"hour", 3600 * USEC_PER_SEC},
    {"hours", 3600 * USEC_PER_SEC},
    {"d", 86400 * USEC_PER_SEC},
    {"day", 86400 * USEC_PER_SEC},
    {"days", 86400 * USEC_PER_SEC},
    {"w", 7 * 86400 * USEC_PER_SEC},
    {"week", 7 * 86400 * USEC_PER_SEC},
    {"weeks", 7 * 86400 * USEC_PER_SEC},
};

/* Reads "123" or "1.5" at *text as a number times factor, once the unit behind it is known. */
static int scan_number(const char **text, uint64_t *ret_whole, uint64_t *ret_micros) {
    const char *p = *text;
    uint64_t whole = 0, micros = 0, weight = 100000;

    if (!isdigit((unsigned char) *p))
        return -EINVAL;
    for (; isdigit((unsigned char) *p); p++)
        if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
            __builtin_add_overflow(whole, (uint64_t) (*p - '0'), &whole))
            return -ERANGE;
    if (*p == '.') {
        if (!isdigit((unsigned char) *++p))
            return -EINVAL;
        for (; isdigit((unsigned char) *p); p++, weight /= 10)
            micros += weight * (uint64_t) (*p - '0');
    }
    *text = p;
    *ret_whole = whole;
    *ret_micros = micros;
    return 0;
}

static int add_scaled(uint64_t *sum, uint64_t whole, uint64_t micros, uint64_t factor) {
    uint64_t product;

    if (__builtin_mul_overflow(whole, factor, &product) || __builtin_add_overflow(*sum, product, sum) ||
        __builtin_add_overflow(
            *sum, micros * (factor / USEC_PER_SEC) + micros * (factor % USEC_PER_SEC) / USEC_PER_SEC, sum))
        return -ERANGE;
    return 0;
}

int value_parse_usec(const char *text, uint64_t *ret) {
    uint64_t sum = 0;

    if (strcmp(text, "infinity") == 0) {
        *ret = USEC_INFINITY;
        return 0;
    }
    if (!*text)
        return -EINVAL;
    while (*text) {
        uint64_t whole, micros, factor = USEC_PER_SEC;
        size_t length;
        int r = scan_number(&text, &whole, &micros);

        if (r < 0)
            return r;
        text += strspn(text, " ");
        length = strcspn(text, " 0123456789.");
        if (length > 0) {
            size_t i;

            for (i = 0; i < ELEMENTSOF(time_units); i++)
                if (strlen(time_units[i].name) == length && strncmp(time_units[i].name, text, length) == 0)
                    break;
            if (i == ELEMENTSOF(time_units))
                return -EINVAL;
            factor = time_units[i].factor;
            text += length;
        } else if (*text)
            return -EINVAL; /* "5 5": a bare number stands alone */
        r = add_scaled(&sum, whole, micros, factor);
        if (r < 0)
            return r;
        text += strspn(text, " ");
    }
    if (sum == USEC_INFINITY)
        return -ERANGE;
    *ret = sum;
    return 0;
}

int value_parse_size(const char *text, uint64_t *ret) {
    static const char suffixes[] = "KMGTPE";
    uint64_t whole, micros, factor = 1, sum = 0;
    int r;

    if (strcmp(text, "infinity") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    r = scan_number(&text, &whole, &micros);
    if (r < 0)
        return r;
    if (*text) {
        const char *suffix = strchr(suffixes, *text);

        if (!suffix || text[1])
            return -EINVAL;
        factor = UINT64_C(1) << (10 * (suffix - suffixes + 1));
    }
    r = add_scaled(&sum, whole, micros, factor);
    if (r < 0)
        return r;
    *ret = sum;
    return 0;
}

int value_parse_signal(const char *text, int *ret) {
    int number;

    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    if (value_parse_int(text, 1, SIGRTMAX, &number) == 0) {
        *ret = number;
        return 0;
    }
    if (strncmp(text, "RTMIN", 5) == 0) {
        if (!text[5]) {
            *ret = SIGRTMIN;
            return 0;
        }
        if (text[5] != '+' || value_parse_int(text + 6, 0, SIGRTMAX - SIGRTMIN, &number) < 0)
            return -EINVAL;
        *ret = SIGRTMIN + number;
        return 0;
    }
    for (number = 1; number < SIGRTMIN; number++) {
        const char *name = sigabbrev_np(number);

        if (name && strcmp(name, text) == 0) {
            *ret = number;
            return 0;
        }
    }
    return -EINVAL;
}

const char *value_format_signal(int signal, char *buffer, size_t size) {
    const char *name = sigabbrev_np(signal);

    if (name)
        snprintf(buffer, size, "%s", name);
    else if (signal >= SIGRTMIN && signal <= SIGRTMAX)
        snprintf(buffer, size, "RTMIN+%d", signal - SIGRTMIN);
    else
        snprintf(buffer, size, "%d", signal);
    return buffer;
}

const char *value_format_usec(uint64_t usec, char buffer[static VALUE_FORMAT_MAX]) {
    static const struct unit parts[] = {
        {"d", 86400 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC}, {"min", 60 * USEC_PER_SEC},
        {"s", USEC_PER_SEC},         {"ms", USEC_PER_MSEC},      {"us", 1},
    };
    size_t used = 0, shown = 0;

    if (usec == USEC_INFINITY)
        return strcpy(buffer, "infinity");
    for (size_t i = 0; i < ELEMENTSOF(parts) && shown < 2; i++) {
        uint64_t n = usec / parts[i].factor;

        usec %= parts[i].factor;
        if (n == 0 && shown == 0)
            continue;
        if (n > 0)
            used += (size_t) snprintf(buffer + used, VALUE_FORMAT_MAX - used, "%s%" PRIu64 "%s",
                                      shown ? " " : "", n, parts[i].name);
        shown++;
        if (parts[i].factor == USEC_PER_MSEC)
            break; /* nobody reads microseconds of a time that long */
    }
    if (used == 0)
        strcpy(buffer, "0");
    return buffer;
}

const char *value_format_time(uint64_t realtime_usec, char buffer[static VALUE_FORMAT_MAX]) {
    time_t seconds = (time_t) (realtime_usec / USEC_PER_SEC);
    struct tm tm;

    if (!localtime_r(&seconds, &tm) || strftime(buffer, VALUE_FORMAT_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        strcpy(buffer, "?");
    return buffer;
}

const char *value_format_bytes(uint64_t bytes, char buffer[static VALUE_FORMAT_MAX]) {
    static const char suffixes[] = "BKMGTPE";
    double value = (double) bytes;
    size_t i = 0;

    if (bytes == UINT64_MAX)
        return strcpy(buffer, "infinity");
    for (; value >= (i == 0 ? 1024 : 1023.95) && suffixes[i + 1]; i++) /* 1023.95K would be written 1024.0K */
        value /= 1024;
    snprintf(buffer, VALUE_FORMAT_MAX, i == 0 ? "%.0f%c" : "%.1f%c", value, suffixes[i]);
    return buffer;
}

/* The length of the UTF-8 sequence at p, or 0 where there is none (RFC 3629, table 3-7 of Unicode). */
static size_t utf8_length(const unsigned char *p) {
    size_t length;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    if (length == 2 && p[0] == 0xc2 && p[1] < 0xa0)
        return 0; /* C1 control characters */
    return length;
}

void value_make_printable(char *text) {
    unsigned char *p = (unsigned char *) text;

    while (*p) {
        size_t length = utf8_length(p);

        if (length == 0 || *p < ' ' || *p == 0x7f) {
            *p++ = '?';
            continue;
        }
        p += length;
    }
}

uint64_t now_usec(clockid_t clock) {
    struct timespec ts = {0};

    (void) clock_gettime(clock, &ts);
    return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / NSEC_PER_USEC;
}
