/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "recovery/unrecorded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/procfs.h"
#include "base/value.h"
#include "recovery/members.h"
#include "runtime/runtime-dir.h"

#define ANCESTORS_MAX 64

struct marks {
    const char *service, *runtime_dir;
};

static bool carries_marks(int proc_fd, pid_t pid, const struct marks *marks) {
    _cleanup_free_ char *name = NULL, *runtime_dir = NULL, *invocation_id = NULL;

    return procfs_read_environ(proc_fd, pid, "LATCHD_SERVICE", &name) >= 0 &&
           strcmp(name, marks->service) == 0 &&
           procfs_read_environ(proc_fd, pid, "LATCHD_RUNTIME_DIR", &runtime_dir) >= 0 &&
           strcmp(runtime_dir, marks->runtime_dir) == 0 &&
           procfs_read_environ(proc_fd, pid, "INVOCATION_ID", &invocation_id) >= 0 && invocation_id[0];
}

/* A latchd that a service began itself has that service's marks, and so has what began it. */
static bool is_above_us(int proc_fd, pid_t pid) {
    pid_t at = getpid();

    for (unsigned i = 0; i < ANCESTORS_MAX && at > 0; i++) {
        struct proc_stat stat;

        if (at == pid)
            return true;
        if (procfs_read_stat(proc_fd, at, &stat) < 0)
            return false;
        at = stat.ppid;
    }
    return false;
}

static bool is_daemon(int proc_fd, pid_t pid, const struct marks *marks, const char *daemon_exe, uid_t uid,
                      struct process_id *ret) {
    _cleanup_free_ char *exe = NULL;
    struct process_id id;
    _cleanup_close_ int pidfd = process_pin(proc_fd, pid, &id);
    struct proc_status status;
    struct proc_stat stat;

    if (pidfd < 0 || procfs_read_status(proc_fd, pid, &status) < 0 || status.uid != uid ||
        procfs_read_exe(proc_fd, pid, &exe) < 0 || strcmp(exe, daemon_exe) != 0 ||
        !carries_marks(proc_fd, pid, marks) || procfs_read_stat(proc_fd, pid, &stat) < 0 ||
        carries_marks(proc_fd, stat.ppid, marks) || is_above_us(proc_fd, pid) || process_pidfd_ended(pidfd))
        return false;
    *ret = id;
    return true;
}

bool unrecorded_find(int proc_fd, int runtime_dir_fd, const struct service_config *config,
                     const char *daemon_exe, uid_t uid, const struct marks_table *table,
                     struct process_id *ret) {
    struct member_search search = {
        .proc_fd = proc_fd, .cgroup_fd = -EBADF, .service = config->name, .marks = table};
    _cleanup_free_ char *runtime_dir = runtime_dir_path(runtime_dir_fd);
    const struct marks marks = {.service = config->name, .runtime_dir = runtime_dir};
    _cleanup_free_ pid_t *pids = NULL;
    size_t n = 0;

    if (!runtime_dir || !daemon_exe || uid == (uid_t) -1 || members_search(&search, &pids, &n) < 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (is_daemon(proc_fd, pids[i], &marks, daemon_exe, uid, ret))
            return true;
    return false;
}

char *unrecorded_describe(int proc_fd, const struct unrecorded *unrecorded, const char *service) {
    char since[VALUE_FORMAT_MAX], *text;
    _cleanup_free_ char *exe = NULL;
    int pid = (int) unrecorded->id.pid, r;

    (void) procfs_read_exe(proc_fd, unrecorded->id.pid, &exe);
    value_format_time(procfs_ticks_to_realtime_usec(unrecorded->id.start_ticks), since);
    if (unrecorded->record[0])
        r = asprintf(&text,
                     "PID %d (%s, since %s) is in the way (unknown): it carries the marks of the daemon of service %s "
                     "(LATCHD_SERVICE=, INVOCATION_ID=), but latchd's record of it (%s.state in the runtime directory) "
                     "is %s, so it is not taken over, and nothing is started beside it; end it (kill %d), and the "
                     "start goes on by itself",
                     pid, exe ? exe : "?", since, service, service, unrecorded->record, pid);
    else
        r = asprintf(&text,
                     "PID %d (%s, since %s) is in the way (unknown): latchd's record (%s.state in the runtime "
                     "directory) names it as the daemon of service %s, but it carries another one's marks "
                     "(LATCHD_SERVICE=, INVOCATION_ID=), so it is not taken over, and nothing is started beside it; "
                     "end it, and the start goes on by itself; or, if it has nothing to do with %s, remove %s.state "
                     "and begin latchd anew",
                     pid, exe ? exe : "?", since, service, service, service, service);
    return r < 0 ? NULL : text;
}
