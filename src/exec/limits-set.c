/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec/limits-set.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/process.h"

int limits_prepare_change(int resource, const struct limit_config *asked, uint64_t hard,
                          const struct rlimits_system *system, struct rlimit *ret, struct err *err) {
    struct rlimit wanted = {.rlim_cur = asked->soft, .rlim_max = asked->hard};
    char from[RLIMIT_FORMAT_MAX], to[RLIMIT_FORMAT_MAX];
    const char *name = rlimit_to_name(resource);
    int r;

    if (asked->automatic)
        return err_set(err, EINVAL, "BadLimit",
                       "NOFILE=auto counts at a start of the daemon; give a number for the one that runs");
    if (resource == RLIMIT_NOFILE) {
        r = rlimits_bound_files(asked, system->nr_open, &wanted, err);
        if (r < 0)
            return r;
    }
    if (wanted.rlim_max > hard && !system->may_raise)
        return err_set(
            err, EPERM, "NotPermitted",
            "cannot raise the hard limit %s from %s to %s: latchd has no CAP_SYS_RESOURCE; ask for %s at "
            "most, or give latchd that capability",
            name, rlimit_format(hard, hard, from), rlimit_format(wanted.rlim_max, wanted.rlim_max, to), from);
    *ret = wanted;
    return 0;
}

int limits_change(pid_t pid, int pidfd, int resource, const struct rlimit *wanted, struct rlimit *ret_before,
                  struct err *err) {
    const char *name = rlimit_to_name(resource);
    struct rlimit before;
    int error = 0;

    if (process_pidfd_ended(pidfd))
        return err_set(err, ESRCH, "NotRunning", "PID %d has ended: %s is not changed", (int) pid, name);
    if (prlimit(pid, (enum __rlimit_resource) resource, wanted, &before) < 0)
        error = errno;
    if (error == ESRCH || process_pidfd_ended(pidfd))
        return err_set(err, ESRCH, "NotRunning", "PID %d ended while its limit %s was changed", (int) pid,
                       name);
    if (error == EPERM)
        return err_set(
            err, EPERM, "NotPermitted",
            "cannot change %s of PID %d: it runs as another user than latchd, which has no "
            "CAP_SYS_RESOURCE; give latchd that capability, or set Limit%s= and restart the service",
            name, (int) pid, name);
    if (error != 0)
        return err_set(err, error, "Failed", "cannot change %s of PID %d: %m", name, (int) pid);
    *ret_before = before;
    return 0;
}
