/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notify/sender.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/process.h"
#include "base/procfs.h"

static const char *const notify_sender_names[NOTIFY_SENDER_MAX] = {
    [NOTIFY_SENDER_MAIN] = "main",
    [NOTIFY_SENDER_FAMILY] = "family",
    [NOTIFY_SENDER_INVOCATION] = "invocation",
    [NOTIFY_SENDER_STRANGER] = "stranger",
    [NOTIFY_SENDER_GONE] = "gone",
    [NOTIFY_SENDER_UNKNOWN] = "unknown",
};
STRTAB_DEFINE(notify_sender, enum notify_sender, notify_sender_names, NOTIFY_SENDER_INVALID)

void notify_sender_facts_done(struct notify_sender_facts *facts) {
    free(facts->service);
    free(facts->invocation_id);
    *facts = (struct notify_sender_facts){0};
}

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

static bool descends_from(const struct notify_sender_facts *facts, pid_t pid) {
    for (size_t i = 0; pid > 1 && i < facts->n_ancestors; i++)
        if (facts->ancestors[i] == pid)
            return true;
    return false;
}

enum notify_sender notify_sender_judge(const struct notify_sender_facts *facts,
                                       const struct notify_family *family) {
    if (facts->pid <= 1 || facts->pid == family->supervisor)
        return NOTIFY_SENDER_STRANGER;
    if (facts->pid == family->main)
        return NOTIFY_SENDER_MAIN;
    if (facts->gone)
        return NOTIFY_SENDER_GONE;
    if (descends_from(facts, family->main))
        return NOTIFY_SENDER_FAMILY;
    /* As PID 1 of a container we are everybody's ancestor, and no proof. A process with another service's
     * name may come from a latchd within this service. */
    if (descends_from(facts, family->supervisor) &&
        ((family->only_service && !facts->service) || same_text(facts->service, family->service)))
        return NOTIFY_SENDER_FAMILY;
    if (same_text(facts->service, family->service) && family->invocation_id && *family->invocation_id &&
        same_text(facts->invocation_id, family->invocation_id))
        return NOTIFY_SENDER_INVOCATION;
    return facts->unreadable ? NOTIFY_SENDER_UNKNOWN : NOTIFY_SENDER_STRANGER;
}

/* Whether the process behind a pidfd still has its number: "Pid: -1" in the descriptor's fdinfo says that it
 * was reaped (pidfd_open(2)); then the number may be another's. */
static bool has_its_number(int proc_fd, int pidfd, pid_t pid) {
    _cleanup_free_ char *text = NULL;
    const char *line;
    char path[64];

    snprintf(path, sizeof path, "self/fdinfo/%d", pidfd);
    if (fd_read_file_at(proc_fd, path, 4096, &text, NULL) < 0)
        return false;
    line = strstr(text, "Pid:");
    return line && strtol(line + strlen("Pid:"), NULL, 10) == pid;
}

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446 /* linux/magic.h */
#endif

bool notify_sender_is_same(int pidfd, int other_pidfd) {
    struct stat a, b;
    struct statfs fs;

    return pidfd >= 0 && other_pidfd >= 0 && fstatfs(pidfd, &fs) == 0 && fs.f_type == PID_FS_MAGIC &&
           fstat(pidfd, &a) == 0 && fstat(other_pidfd, &b) == 0 && stat_same_inode(&a, &b);
}

/* Parents first: they need no look into the process's memory. */
static int read_ancestors(int proc_fd, struct notify_sender_facts *facts) {
    struct proc_stat stat;
    int r = procfs_read_stat(proc_fd, facts->pid, &stat);

    if (r < 0)
        return r;
    while (stat.ppid > 0 && facts->n_ancestors < NOTIFY_ANCESTORS_MAX) {
        facts->ancestors[facts->n_ancestors++] = stat.ppid;
        if (procfs_read_stat(proc_fd, stat.ppid, &stat) < 0)
            break;
    }
    return 0;
}

static void read_environment(int proc_fd, struct notify_sender_facts *facts) {
    int r = procfs_read_environ(proc_fd, facts->pid, "LATCHD_SERVICE", &facts->service);

    if (r >= 0)
        r = procfs_read_environ(proc_fd, facts->pid, "INVOCATION_ID", &facts->invocation_id);
    facts->unreadable = r == -EACCES || r == -EPERM;
}

enum notify_sender notify_sender_look_at_named(int proc_fd, pid_t pid, int pidfd,
                                               const struct notify_family *family) {
    struct notify_sender_facts facts = {.pid = pid};
    enum notify_sender sender;
    int r;

    if (pid <= 1 || pid == family->supervisor)
        return NOTIFY_SENDER_STRANGER;
    r = read_ancestors(proc_fd, &facts);
    facts.gone = r == -ESRCH;
    if (r >= 0 && !descends_from(&facts, family->main))
        read_environment(proc_fd, &facts);
    /* What was read is about the sender, and not about a successor in its number. */
    if (!facts.gone && pidfd >= 0 && !has_its_number(proc_fd, pidfd, pid))
        facts.gone = true;
    sender = r < 0 && !facts.gone ? NOTIFY_SENDER_UNKNOWN : notify_sender_judge(&facts, family);
    notify_sender_facts_done(&facts);
    return sender;
}

enum notify_sender notify_sender_look(int proc_fd, pid_t pid, uid_t uid, int pidfd,
                                      const struct notify_family *family) {
    if (pid > 1 && pid == family->main)
        return NOTIFY_SENDER_MAIN;
    if (uid != 0 && (uid == (uid_t) -1 || uid != family->main_uid))
        return NOTIFY_SENDER_STRANGER;
    return notify_sender_look_at_named(proc_fd, pid, pidfd, family);
}
