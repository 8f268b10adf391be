/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/rlimits.h"

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
#include "exec/credentials.h"

#define PROC_USER_INIT_INO UINT64_C(0xEFFFFFFD) /* include/linux/proc_ns.h */

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

int rlimits_raise_own_files(uint64_t wanted, uint64_t least, struct rlimit *ret_before) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    *ret_before = limit;
    if (limit.rlim_cur >= wanted)
        return 0;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) >= 0)
        return 1;
    if (ret_before->rlim_max < least)
        return -errno;
    if (ret_before->rlim_cur == ret_before->rlim_max)
        return 0;
    limit.rlim_cur = limit.rlim_max = ret_before->rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 1;
}

/* The most descriptors that a daemon of ours can be allowed. */
static uint64_t most_files(const struct rlimits_system *system) {
    uint64_t most = system->may_raise ? UINT64_MAX : system->current[RLIMIT_NOFILE].rlim_max;

    return system->nr_open > 0 && system->nr_open < most ? system->nr_open : most;
}

static int plan_automatic(const struct rlimits_need *need, const struct rlimits_system *system,
                          struct rlimit *ret) {
    const struct rlimit *current = &system->current[RLIMIT_NOFILE];
    uint64_t wanted, most, least;

    if (__builtin_add_overflow(need->client_limit, need->open_files, &wanted) ||
        __builtin_add_overflow(wanted, (uint64_t) RLIMITS_RESERVE, &wanted) || wanted >= RLIM_INFINITY)
        return -ERANGE;
    /* What was counted is an estimate, and no reason not to start: the check after the start tells of it. */
    most = most_files(system);
    least = need->client_limit + RLIMITS_RESERVE;
    if (wanted > most && least <= most)
        wanted = most;
    ret->rlim_cur = current->rlim_cur > wanted ? current->rlim_cur : (rlim_t) wanted;
    ret->rlim_max = current->rlim_max > ret->rlim_cur ? current->rlim_max : ret->rlim_cur;
    if (system->nr_open > 0 && ret->rlim_max > system->nr_open && ret->rlim_cur <= system->nr_open)
        ret->rlim_max = (rlim_t) system->nr_open; /* lowered since our own limit was set */
    return 0;
}

int rlimits_bound_files(const struct limit_config *configured, uint64_t nr_open, struct rlimit *wanted,
                        struct err *err) {
    char text[RLIMIT_FORMAT_MAX];

    if (nr_open > 0 && wanted->rlim_max == RLIM_INFINITY && !configured->automatic) {
        wanted->rlim_max = (rlim_t) nr_open;
        if (wanted->rlim_cur == RLIM_INFINITY)
            wanted->rlim_cur = wanted->rlim_max;
    }
    if (nr_open == 0 || wanted->rlim_max <= nr_open)
        return 0;
    return err_set(err, EINVAL, "BadLimit",
                   "cannot set LimitNOFILE=%s%s: it is above fs.nr_open, the kernel's bound of %" PRIu64
                   " open files a process; lower %s, or raise it with sysctl fs.nr_open=%" PRIu64,
                   rlimit_format(wanted->rlim_cur, wanted->rlim_max, text),
                   configured->automatic ? " (auto)" : "", nr_open,
                   configured->automatic ? "ClientLimit=" : "LimitNOFILE=", (uint64_t) wanted->rlim_max);
}

static int check_raise(int resource, const struct limit_config *configured,
                       const struct rlimits_system *system, const struct rlimit *wanted,
                       const struct rlimits_need *need, struct err *err) {
    const struct rlimit *current = &system->current[resource];
    const char *name = rlimit_to_name(resource);
    char from[RLIMIT_FORMAT_MAX], to[RLIMIT_FORMAT_MAX];

    if (wanted->rlim_max <= current->rlim_max || system->may_raise)
        return 0;
    rlimit_format(current->rlim_max, current->rlim_max, from);
    rlimit_format(wanted->rlim_max, wanted->rlim_max, to);
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
            r = rlimits_bound_files(&configured[i], system->nr_open, &wanted, err);
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

int rlimits_plan_wanted(const struct limit_config configured[static RLIMIT_NLIMITS],
                        const struct rlimits_need *need, int proc_fd, struct rlimits_planned *ret,
                        struct err *err) {
    struct rlimits_system system;
    int r;

    *ret = (struct rlimits_planned){0};
    r = rlimits_read_system(proc_fd, &system);
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot read latchd's own limits: %m");
    system.may_raise = true;
    return rlimits_plan(configured, need, &system, ret, err);
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
