/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/state-file.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define STATE_FILE_MAX (64 * 1024)
#define STATE_FILE_SCHEMA 1

static int file_name(const char *service, char *buffer, size_t size) {
    int n = snprintf(buffer, size, "%s.state", service);

    return n < 0 || (size_t) n >= size ? -ENAMETOOLONG : 0;
}

int state_file_write(int runtime_dir_fd, const char *service, const struct service_record *record,
                     struct err *err) {
    _cleanup_free_ char *text = NULL;
    char name[NAME_MAX + 1];
    json_t *json;
    int r;

    r = file_name(service, name, sizeof name);
    if (r < 0)
        return err_set(err, -r, "Failed", "the service's name is too long: %s", service);
    /* clang-format off */
    json = json_pack("{s:i, s:s, s:I, s:s, s:i, s:I, s:s, s:i, s:I, s:I}",
                     "schema", STATE_FILE_SCHEMA,
                     "service", service,
                     "generation", (json_int_t) record->generation,
                     "invocationId", record->invocation_id,
                     "mainPid", (int) record->main.pid,
                     "startTicks", (json_int_t) record->main.start_ticks,
                     "bootId", record->main.boot_id,
                     "supervisorPid", (int) getpid(),
                     "sinceUSec", (json_int_t) record->since_usec,
                     "restarts", (json_int_t) record->restarts);
    /* clang-format on */
    text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    r = fd_replace_file_at(runtime_dir_fd, name, 0644, text, strlen(text));
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot write %s in the runtime directory: %m", name);
    return 0;
}

/* An id of 32 hexadecimal digits or none; a boot id only where a process is named by it. */
static bool ids_are_sane(const char *invocation_id, json_int_t pid, const char *boot_id) {
    size_t length = strlen(invocation_id);

    return (length == 0 || length == 32) && strspn(invocation_id, "0123456789abcdef") == length &&
           (strlen(boot_id) == 36 || (pid == 0 && !*boot_id));
}

static int parse(const char *text, size_t size, const char *service, struct service_record *ret) {
    struct service_record record = {0};
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    json_int_t schema, pid, generation, start_ticks, since, restarts;
    const char *name, *invocation_id, *boot_id;
    int r = -EBADMSG;

    if (json &&
        json_unpack(json, "{s:I, s:s, s:I, s:s, s:I, s:I, s:s, s:I, s:I}", "schema", &schema, "service",
                    &name, "generation", &generation, "invocationId", &invocation_id, "mainPid", &pid,
                    "startTicks", &start_ticks, "bootId", &boot_id, "sinceUSec", &since, "restarts",
                    &restarts) == 0 &&
        schema == STATE_FILE_SCHEMA && strcmp(name, service) == 0 && pid >= 0 && pid <= INT_MAX &&
        start_ticks >= 0 && generation >= 0 && since >= 0 && restarts >= 0 &&
        ids_are_sane(invocation_id, pid, boot_id)) {
        record.generation = (uint64_t) generation;
        record.since_usec = (uint64_t) since;
        record.restarts = (uint64_t) restarts;
        record.main.pid = (pid_t) pid;
        record.main.start_ticks = (uint64_t) start_ticks;
        strcpy(record.invocation_id, invocation_id);
        strcpy(record.main.boot_id, boot_id);
        *ret = record;
        r = 0;
    }
    json_decref(json);
    return r;
}

int state_file_read(int runtime_dir_fd, const char *service, struct service_record *ret, struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    _cleanup_free_ char *text = NULL;
    char name[NAME_MAX + 1];
    struct stat st = {.st_uid = (uid_t) -1};
    size_t size;
    int r;

    r = file_name(service, name, sizeof name);
    if (r < 0)
        return err_set(err, -r, "Failed", "the service's name is too long: %s", service);
    fd = openat(runtime_dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    if (fd < 0)
        return err_set(err, errno == ELOOP ? EBADMSG : errno, "BadState",
                       "cannot read %s in the runtime directory: %s", name, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
        return err_set(
            err, EBADMSG, "BadState",
            "%s in the runtime directory is no regular file of ours (it is owned by uid %u): not used", name,
            st.st_uid);
    r = fd_read_all(fd, STATE_FILE_MAX, &text, &size);
    if (r >= 0)
        r = parse(text, size, service, ret);
    if (r < 0)
        return err_set(err, EBADMSG, "BadState", "%s in the runtime directory is damaged: not used", name);
    return 0;
}

/* A process that has the record's identity but not yet the daemon's environment is between the gate and exec:
 * its latchd died just then. It gets there, or ends, within moments. */
#define EXEC_PATIENCE_USEC (2 * USEC_PER_SEC)

/* 0: it carries the record's marks; -ENOENT: no marks at all; -EBADMSG: others; else they cannot be read. */
static int look_for_marks(int proc_fd, const char *service, const struct service_record *record) {
    _cleanup_free_ char *name = NULL, *invocation_id = NULL;
    int r;

    r = procfs_read_environ(proc_fd, record->main.pid, "LATCHD_SERVICE", &name);
    if (r < 0)
        return r;
    r = procfs_read_environ(proc_fd, record->main.pid, "INVOCATION_ID", &invocation_id);
    if (r < 0)
        return r == -ENOENT ? -EBADMSG : r;
    return strcmp(name, service) == 0 && strcmp(invocation_id, record->invocation_id) == 0 ? 0 : -EBADMSG;
}

static bool runs(int proc_fd, pid_t pid, const char *exe) {
    _cleanup_free_ char *its = NULL;

    return exe && procfs_read_exe(proc_fd, pid, &its) >= 0 && strcmp(its, exe) == 0;
}

/* Whether it still is the copy of latchd that fork(2) made. Whoever asks may be latchctl, or a latchd that
 * was installed meanwhile elsewhere. */
static bool runs_latchd(int proc_fd, pid_t pid) {
    _cleanup_free_ char *its = NULL;
    const char *name;

    if (procfs_read_exe(proc_fd, pid, &its) < 0)
        return false;
    name = strrchr(its, '/');
    return name && strcmp(name + 1, "latchd") == 0;
}

static bool is_this_boot(int proc_fd, const struct service_record *record) {
    char boot_id[37];

    return procfs_read_boot_id(proc_fd, boot_id) >= 0 && strcmp(boot_id, record->main.boot_id) == 0;
}

int state_file_find_main(int proc_fd, const char *service, const struct service_record *record,
                         const char *daemon_exe) {
    uint64_t until = now_usec(CLOCK_BOOTTIME) + EXEC_PATIENCE_USEC;
    pid_t pid = record->main.pid;
    _cleanup_close_ int pidfd = -EBADF;
    int r;

    if (pid == 0)
        return -ESRCH;
    if (pid == 1)
        return -EBADMSG; /* init is nobody's daemon, and may hide its environment */
    pidfd = process_pin_id(proc_fd, &record->main);
    /* Another start time, and yet the marks of this very generation: we are in another time namespace, where
     * /proc shifts start times (time_namespaces(7)), and cannot tell. */
    if (pidfd == -ESRCH && is_this_boot(proc_fd, record) && look_for_marks(proc_fd, service, record) == 0)
        return -EXDEV;
    if (pidfd < 0)
        return pidfd;
    for (;;) {
        r = look_for_marks(proc_fd, service, record);
        if (process_pidfd_ended(pidfd))
            return -ESRCH;
        if (r == 0 || r == -EACCES || r == -EPERM || (r == -ENOENT && runs(proc_fd, pid, daemon_exe)))
            return TAKE_FD(pidfd);
        if (r != -ENOENT && r != -EBADMSG && r != -ESRCH)
            return r;
        if (now_usec(CLOCK_BOOTTIME) > until)
            return runs_latchd(proc_fd, pid) ? TAKE_FD(pidfd) : -EBADMSG;
        (void) usleep(2000);
    }
}
