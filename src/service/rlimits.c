/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/rlimits.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "service/credentials.h"

#define PROC_USER_INIT_INO UINT64_C(0xEFFFFFFD) /* include/linux/proc_ns.h */
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

const char *rlimits_to_name(int resource) {
    return resource >= 0 && resource < RLIMIT_NLIMITS ? resources[resource].name : NULL;
}

int rlimits_from_name(const char *name) {
    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        if (strcmp(resources[i].name, name) == 0)
            return i;
    return -EINVAL;
}

enum rlimit_unit rlimits_unit(int resource) {
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

int rlimits_parse_value(int resource, const char *text, struct limit_config *ret, struct err *err) {
    struct limit_config limit = {.set = true};
    const char *name = rlimits_to_name(resource), *colon = strchr(text, ':');
    _cleanup_free_ char *soft = NULL;
    int r;

    if (!name)
        return err_set(err, EINVAL, "BadLimit", "there is no resource limit of number %d", resource);
    if (strcmp(text, "auto") == 0) {
        if (resource != RLIMIT_NOFILE)
            return err_set(err, EINVAL, "BadLimit", "Limit%s=auto: only LimitNOFILE= can be auto; give %s",
                           name, unit_hints[rlimits_unit(resource)]);
        limit.automatic = true;
        *ret = limit;
        return 0;
    }
    soft = colon ? strndup(text, (size_t) (colon - text)) : strdup(text);
    if (!soft)
        return err_set(err, ENOMEM, "OutOfMemory", "Limit%s=%s: %m", name, text);
    r = parse_one(rlimits_unit(resource), soft, &limit.soft);
    if (r >= 0)
        r = parse_one(rlimits_unit(resource), colon ? colon + 1 : soft, &limit.hard);
    if (r < 0)
        return err_set(err, -r, "BadLimit", "Limit%s=%s is %s: give SOFT or SOFT:HARD, each %s%s", name, text,
                       r == -ERANGE ? "out of range" : "not a limit", unit_hints[rlimits_unit(resource)],
                       resource == RLIMIT_NOFILE ? ", or auto" : "");
    if (limit.soft > limit.hard) /* RLIM_INFINITY is the largest value */
        return err_set(
            err, EINVAL, "BadLimit",
            "Limit%s=%s: the soft limit is above the hard one; write SOFT:HARD, or one value for both", name,
            text);
    *ret = limit;
    return 0;
}

int rlimits_parse_assignment(const char *text, int *ret_resource, struct limit_config *ret, struct err *err) {
    const char *equals = strchr(text, '=');
    _cleanup_free_ char *name = NULL;
    int resource, r;

    if (!equals)
        return err_set(err, EINVAL, "BadLimit",
                       "\"%s\" is not a limit: write NAME=SOFT[:HARD], as in NOFILE=65536", text);
    name = strndup(text, (size_t) (equals - text));
    if (!name)
        return err_set(err, ENOMEM, "OutOfMemory", "\"%s\": %m", text);
    resource = rlimits_from_name(name);
    if (resource < 0)
        return err_set(
            err, EINVAL, "BadLimit",
            "there is no limit \"%s\": CPU, FSIZE, DATA, STACK, CORE, RSS, NOFILE, AS, NPROC, MEMLOCK, "
            "LOCKS, SIGPENDING, MSGQUEUE, NICE, RTPRIO and RTTIME are known",
            name);
    r = rlimits_parse_value(resource, equals + 1, ret, err);
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

const char *rlimits_format(rlim_t soft, rlim_t hard, char buffer[static RLIMITS_FORMAT_MAX]) {
    size_t used = format_one(soft, buffer, RLIMITS_FORMAT_MAX);

    if (soft != hard) {
        buffer[used++] = ':';
        format_one(hard, buffer + used, RLIMITS_FORMAT_MAX - used);
    }
    return buffer;
}

static uint64_t read_nr_open(int proc_fd) {
    _cleanup_free_ char *text = NULL;
    uint64_t value;

    if (fd_read_file_at(proc_fd, "sys/fs/nr_open", 64, &text, NULL) < 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return value_parse_u64(text, &value) < 0 ? 0 : value;
}

int rlimits_read_system(int proc_fd, struct rlimits_system *ret) {
    struct rlimits_system system = {0};
    struct capability_sets sets;
    struct stat st;
    int r = credentials_read_capabilities(&sets);

    if (r < 0)
        return r;
    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        if (getrlimit(i, &system.current[i]) < 0)
            return -errno;
    if (sets.effective & (UINT64_C(1) << CAP_SYS_RESOURCE)) {
        if (fstatat(proc_fd, "self/ns/user", &st, 0) >= 0)
            system.may_raise = st.st_ino == PROC_USER_INIT_INO;
        else if (errno == ENOENT)
            system.may_raise = true; /* a kernel without user namespaces */
        else
            return -errno;
    }
    system.nr_open = read_nr_open(proc_fd);
    *ret = system;
    return 0;
}

static int plan_automatic(const struct rlimits_need *need, const struct rlimits_system *system,
                          struct rlimit *ret) {
    const struct rlimit *current = &system->current[RLIMIT_NOFILE];
    uint64_t wanted;

    if (__builtin_add_overflow(need->client_limit, need->open_files, &wanted) ||
        __builtin_add_overflow(wanted, (uint64_t) RLIMITS_RESERVE, &wanted) || wanted >= RLIM_INFINITY)
        return -ERANGE;
    ret->rlim_cur = current->rlim_cur > wanted ? current->rlim_cur : (rlim_t) wanted;
    ret->rlim_max = current->rlim_max > ret->rlim_cur ? current->rlim_max : ret->rlim_cur;
    if (system->nr_open > 0 && ret->rlim_max > system->nr_open && ret->rlim_cur <= system->nr_open)
        ret->rlim_max = (rlim_t) system->nr_open; /* lowered since our own limit was set */
    return 0;
}

/* do_prlimit() refuses a hard limit above sysctl_nr_open even where it stood there before. */
static int check_nr_open(const struct limit_config *configured, uint64_t nr_open, const struct rlimit *wanted,
                         struct err *err) {
    char text[RLIMITS_FORMAT_MAX];

    if (nr_open == 0 || wanted->rlim_max <= nr_open)
        return 0;
    return err_set(err, EINVAL, "BadLimit",
                   "cannot set LimitNOFILE=%s%s: it is above fs.nr_open, the kernel's bound of %" PRIu64
                   " open files a process; lower %s, or raise it with sysctl fs.nr_open=%" PRIu64,
                   rlimits_format(wanted->rlim_cur, wanted->rlim_max, text),
                   configured->automatic ? " (auto)" : "", nr_open,
                   configured->automatic ? "ClientLimit=" : "LimitNOFILE=", (uint64_t) wanted->rlim_max);
}

static int check_raise(int resource, const struct limit_config *configured,
                       const struct rlimits_system *system, const struct rlimit *wanted,
                       const struct rlimits_need *need, struct err *err) {
    const struct rlimit *current = &system->current[resource];
    const char *name = resources[resource].name;
    char from[RLIMITS_FORMAT_MAX], to[RLIMITS_FORMAT_MAX];

    if (wanted->rlim_max <= current->rlim_max || system->may_raise)
        return 0;
    rlimits_format(current->rlim_max, current->rlim_max, from);
    rlimits_format(wanted->rlim_max, wanted->rlim_max, to);
    if (configured->automatic)
        return err_set(
            err, EPERM, "NotPermitted",
            "cannot raise the hard limit of open files from %s to the %s that LimitNOFILE=auto counts "
            "(ClientLimit=%" PRIu64 ", %" PRIu64 " held open, %d in reserve): latchd has no "
            "CAP_SYS_RESOURCE; give it that capability, set LimitNOFILE=%s in the unit that starts "
            "latchd, or lower ClientLimit=",
            from, to, need->client_limit, need->open_files, RLIMITS_RESERVE, to);
    return err_set(
        err, EPERM, "NotPermitted",
        "cannot raise the hard limit %s from %s to %s: latchd has no CAP_SYS_RESOURCE; give it that "
        "capability, set Limit%s=%s in the unit that starts latchd, or lower Limit%s= of the service",
        name, from, to, name, to, name);
}

int rlimits_plan(const struct limit_config configured[static RLIMIT_NLIMITS], const struct rlimits_need *need,
                 const struct rlimits_system *system, struct rlimits_planned *ret, struct err *err) {
    struct rlimits_planned planned = {0};

    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        struct rlimit wanted = {.rlim_cur = configured[i].soft, .rlim_max = configured[i].hard};
        int r;

        if (!configured[i].set)
            continue;
        if (configured[i].automatic) {
            r = plan_automatic(need, system, &wanted);
            if (r < 0)
                return err_set(err, -r, "BadLimit", "LimitNOFILE=auto: ClientLimit=%" PRIu64 " is too large",
                               need->client_limit);
        }
        if (i == RLIMIT_NOFILE) {
            if (system->nr_open > 0 && wanted.rlim_max == RLIM_INFINITY && !configured[i].automatic) {
                wanted.rlim_max = (rlim_t) system->nr_open;
                if (wanted.rlim_cur == RLIM_INFINITY)
                    wanted.rlim_cur = wanted.rlim_max;
            }
            r = check_nr_open(&configured[i], system->nr_open, &wanted, err);
            if (r < 0)
                return r;
        }
        r = check_raise(i, &configured[i], system, &wanted, need, err);
        if (r < 0)
            return r;
        planned.of[i].set = true;
        planned.of[i].soft = wanted.rlim_cur;
        planned.of[i].hard = wanted.rlim_max;
    }
    *ret = planned;
    return 0;
}

static rlim_t from_proc(uint64_t value) {
    return value == UINT64_MAX ? RLIM_INFINITY : (rlim_t) value;
}

int rlimits_verify(int proc_fd, pid_t pid, const struct rlimits_planned *planned,
                   struct rlimits_mismatch ret_mismatches[static RLIMIT_NLIMITS]) {
    struct proc_limit limits[RLIMIT_NLIMITS];
    int n = 0, r;

    static_assert(RLIMIT_NLIMITS == 16, "procfs_read_limits() fills sixteen");
    r = procfs_read_limits(proc_fd, pid, limits);
    if (r < 0)
        return r;
    for (int i = 0; i < RLIMIT_NLIMITS; i++) {
        rlim_t soft = from_proc(limits[i].soft), hard = from_proc(limits[i].hard);

        if (planned->of[i].set && (planned->of[i].soft != soft || planned->of[i].hard != hard))
            ret_mismatches[n++] = (struct rlimits_mismatch){.resource = i, .soft = soft, .hard = hard};
    }
    return n;
}
