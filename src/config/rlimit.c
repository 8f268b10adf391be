/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/rlimit.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "config/config-keys.h"

#define NICE_LIMIT_MAX 40

static const struct {
    const char *name;
    enum rlimit_unit unit;
} resources[] = {
    [RLIMIT_CPU] = {"CPU", RLIMIT_UNIT_SECONDS},
    [RLIMIT_FSIZE] = {"FSIZE", RLIMIT_UNIT_BYTES},
    [RLIMIT_DATA] = {"DATA", RLIMIT_UNIT_BYTES},
    [RLIMIT_STACK] = {"STACK", RLIMIT_UNIT_BYTES},
    [RLIMIT_CORE] = {"CORE", RLIMIT_UNIT_BYTES},
    [RLIMIT_RSS] = {"RSS", RLIMIT_UNIT_BYTES},
    [RLIMIT_NOFILE] = {"NOFILE", RLIMIT_UNIT_COUNT},
    [RLIMIT_AS] = {"AS", RLIMIT_UNIT_BYTES},
    [RLIMIT_NPROC] = {"NPROC", RLIMIT_UNIT_COUNT},
    [RLIMIT_MEMLOCK] = {"MEMLOCK", RLIMIT_UNIT_BYTES},
    [RLIMIT_LOCKS] = {"LOCKS", RLIMIT_UNIT_COUNT},
    [RLIMIT_SIGPENDING] = {"SIGPENDING", RLIMIT_UNIT_COUNT},
    [RLIMIT_MSGQUEUE] = {"MSGQUEUE", RLIMIT_UNIT_BYTES},
    [RLIMIT_NICE] = {"NICE", RLIMIT_UNIT_NICE},
    [RLIMIT_RTPRIO] = {"RTPRIO", RLIMIT_UNIT_COUNT},
    [RLIMIT_RTTIME] = {"RTTIME", RLIMIT_UNIT_USEC},
};
static_assert(ELEMENTSOF(resources) == RLIMIT_NLIMITS, "a new resource limit needs a row");

static const char *const unit_hints[RLIMIT_UNIT_MAX] = {
    [RLIMIT_UNIT_COUNT] = "a number or infinity",
    [RLIMIT_UNIT_BYTES] = "a size such as 64M, or infinity",
    [RLIMIT_UNIT_SECONDS] = "a time such as 30s, or infinity",
    [RLIMIT_UNIT_USEC] = "a time such as 200ms (a bare number is microseconds), or infinity",
    [RLIMIT_UNIT_NICE] = "0 to 40, or a nice value with its sign, +19 to -20",
};

const char *rlimit_to_name(int resource) {
    return resource >= 0 && resource < RLIMIT_NLIMITS ? resources[resource].name : NULL;
}

int rlimit_from_name(const char *name) {
    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        if (strcmp(resources[i].name, name) == 0)
            return i;
    return -EINVAL;
}

enum rlimit_unit rlimit_unit(int resource) {
    return resource >= 0 && resource < RLIMIT_NLIMITS ? resources[resource].unit : RLIMIT_UNIT_MAX;
}

/* As systemd has it: a sign makes it a nice value, which is turned round (the kernel counts from 20
 * downwards). */
static int parse_nice(const char *text, uint64_t *ret) {
    uint64_t value;
    int nice, r;

    if (*text == '+' || *text == '-') {
        r = value_parse_int(text, -20, 19, &nice);
        if (r < 0)
            return r;
        *ret = (uint64_t) (20 - nice);
        return 0;
    }
    r = value_parse_u64(text, &value);
    if (r < 0)
        return r;
    if (value > NICE_LIMIT_MAX)
        return -ERANGE;
    *ret = value;
    return 0;
}

static int parse_seconds(const char *text, uint64_t *ret) {
    uint64_t value;
    int r = value_parse_usec(text, &value);

    if (r < 0)
        return r;
    *ret = value / USEC_PER_SEC + (value % USEC_PER_SEC > 0);
    return 0;
}

static int parse_one(enum rlimit_unit unit, const char *text, rlim_t *ret) {
    uint64_t value;
    int r;

    if (strcmp(text, "infinity") == 0) {
        *ret = RLIM_INFINITY;
        return 0;
    }
    switch (unit) {
    case RLIMIT_UNIT_BYTES:
        r = value_parse_size(text, &value);
        break;
    case RLIMIT_UNIT_SECONDS:
        r = parse_seconds(text, &value);
        break;
    case RLIMIT_UNIT_USEC:
        r = value_parse_u64(text, &value);
        if (r == -EINVAL)
            r = value_parse_usec(text, &value);
        break;
    case RLIMIT_UNIT_NICE:
        r = parse_nice(text, &value);
        break;
    default:
        r = value_parse_u64(text, &value);
    }
    if (r < 0)
        return r;
    if (value >= RLIM_INFINITY) /* rlim_t may be narrower, and its last value means infinity */
        return -ERANGE;
    *ret = (rlim_t) value;
    return 0;
}

int rlimit_parse_value(int resource, const char *text, struct limit_config *ret, struct err *err) {
    struct limit_config limit = {.set = true};
    const char *name = rlimit_to_name(resource), *colon = strchr(text, ':');
    _cleanup_free_ char *soft = NULL;
    int r;

    if (!name)
        return err_set(err, EINVAL, "BadLimit", "there is no resource limit of number %d", resource);
    if (strcmp(text, "auto") == 0) {
        if (resource != RLIMIT_NOFILE)
            return err_set(err, EINVAL, "BadLimit", "Limit%s=auto: only LimitNOFILE= can be auto; give %s",
                           name, unit_hints[rlimit_unit(resource)]);
        limit.automatic = true;
        *ret = limit;
        return 0;
    }
    soft = colon ? strndup(text, (size_t) (colon - text)) : strdup(text);
    if (!soft)
        return err_set(err, ENOMEM, "OutOfMemory", "Limit%s=%s: %m", name, text);
    r = parse_one(rlimit_unit(resource), soft, &limit.soft);
    if (r >= 0)
        r = parse_one(rlimit_unit(resource), colon ? colon + 1 : soft, &limit.hard);
    if (r < 0)
        return err_set(err, -r, "BadLimit", "Limit%s=%s is %s: give SOFT or SOFT:HARD, each %s%s", name, text,
                       r == -ERANGE ? "out of range" : "not a limit", unit_hints[rlimit_unit(resource)],
                       resource == RLIMIT_NOFILE ? ", or auto" : "");
    if (limit.soft > limit.hard) /* RLIM_INFINITY is the largest value */
        return err_set(
            err, EINVAL, "BadLimit",
            "Limit%s=%s: the soft limit is above the hard one; write SOFT:HARD, or one value for both", name,
            text);
    *ret = limit;
    return 0;
}

/* The configuration's keys are these names with "Limit" before them, which makes all of them look alike: where neither
 * the first nor the last letter is right, another name was meant. */
const char *rlimit_nearest(const char *name) {
    const char *bare = strncasecmp(name, "Limit", 5) == 0 ? name + 5 : name, *nearest;
    _cleanup_free_ char *key = NULL;

    if (!*bare || asprintf(&key, "Limit%s", bare) < 0)
        return NULL;
    nearest = config_key_nearest(CONFIG_SECTION_SERVICE, key);
    if (!nearest || strncmp(nearest, "Limit", 5) != 0)
        return NULL;
    nearest += 5;
    return toupper((unsigned char) bare[0]) == nearest[0] ||
                   toupper((unsigned char) bare[strlen(bare) - 1]) == nearest[strlen(nearest) - 1]
               ? nearest
               : NULL;
}

int rlimit_parse_assignment(const char *text, int *ret_resource, struct limit_config *ret, struct err *err) {
    const char *equals = strchr(text, '=');
    _cleanup_free_ char *name = NULL;
    const char *nearest;
    int resource, r;

    if (!equals)
        return err_set(err, EINVAL, "BadLimit",
                       "\"%s\" is not a limit: write NAME=SOFT[:HARD], as in NOFILE=65536", text);
    name = strndup(text, (size_t) (equals - text));
    if (!name)
        return err_set(err, ENOMEM, "OutOfMemory", "\"%s\": %m", text);
    resource = rlimit_from_name(name);
    if (resource < 0)
        return (nearest = rlimit_nearest(name))
                   ? err_set(err, EINVAL, "BadLimit", "there is no limit \"%s\"; did you mean %s?", name,
                             nearest)
                   : err_set(err, EINVAL, "BadLimit",
                             "there is no limit \"%s\": " RLIMIT_NAMES " are known",
                             name);
    r = rlimit_parse_value(resource, equals + 1, ret, err);
    if (r < 0)
        return r;
    *ret_resource = resource;
    return 0;
}

static size_t format_one(rlim_t value, char *buffer, size_t size) {
    if (value == RLIM_INFINITY)
        return (size_t) snprintf(buffer, size, "infinity");
    return (size_t) snprintf(buffer, size, "%" PRIu64, (uint64_t) value);
}

const char *rlimit_format(rlim_t soft, rlim_t hard, char buffer[static RLIMIT_FORMAT_MAX]) {
    size_t used = format_one(soft, buffer, RLIMIT_FORMAT_MAX);

    if (soft != hard) {
        buffer[used++] = ':';
        format_one(hard, buffer + used, RLIMIT_FORMAT_MAX - used);
    }
    return buffer;
}
