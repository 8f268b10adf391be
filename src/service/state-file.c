/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service/state-file.h"

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

int state_file_write(int runtime_dir_fd, const char *service, const struct service_record *record, struct err *err) {
    _cleanup_free_ char *text = NULL;
    char name[NAME_MAX + 1];
    json_t *json;
    int r;

    r = file_name(service, name, sizeof name);
    if (r < 0)
        return err_set(err, -r, "Failed", "the service's name is too long: %s", service);
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
    text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ENOMEM, "Failed", "out of memory");
    r = fd_replace_file_at(runtime_dir_fd, name, 0644, text, strlen(text));
    if (r < 0)
        return err_set(err, -r, "Failed", "cannot write %s in the runtime directory: %m", name);
    return 0;
}

static int parse(const char *text, const char *service, struct service_record *ret) {
    struct service_record record = {0};
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_int_t generation, start_ticks, since, restarts;
    const char *name, *invocation_id, *boot_id;
    int schema, pid, r = -EBADMSG;

    if (json && json_unpack(json, "{s:i, s:s, s:I, s:s, s:i, s:I, s:s, s:I, s:I}", "schema", &schema, "service", &name,
                            "generation", &generation, "invocationId", &invocation_id, "mainPid", &pid, "startTicks",
                            &start_ticks, "bootId", &boot_id, "sinceUSec", &since, "restarts", &restarts) == 0 &&
        schema == STATE_FILE_SCHEMA && strcmp(name, service) == 0 && pid >= 0 && start_ticks >= 0 &&
        generation >= 0 && since >= 0 && restarts >= 0 && strlen(invocation_id) < sizeof record.invocation_id &&
        strlen(boot_id) < sizeof record.main.boot_id) {
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
    struct stat st;
    int r;

    r = file_name(service, name, sizeof name);
    if (r < 0)
        return err_set(err, -r, "Failed", "the service's name is too long: %s", service);
    fd = openat(runtime_dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    if (fd < 0)
        return err_set(err, errno, "BadState", "cannot read %s in the runtime directory: %m", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
        return err_set(err, EBADMSG, "BadState",
                       "%s in the runtime directory is not ours (it is owned by uid %u): not used", name, st.st_uid);
    r = fd_read_all(fd, STATE_FILE_MAX, &text, NULL);
    if (r >= 0)
        r = parse(text, service, ret);
    if (r < 0)
        return err_set(err, EBADMSG, "BadState", "%s in the runtime directory is damaged: not used", name);
    return 0;
}

/* A process that has the record's identity but not yet the daemon's environment is between the gate and exec: its
 * latchd died just then. It gets there, or ends, within moments. */
#define EXEC_PATIENCE_USEC (2 * USEC_PER_SEC)

static bool carries_record(int proc_fd, const char *service, const struct service_record *record) {
    _cleanup_free_ char *name = NULL, *invocation_id = NULL;

    return procfs_read_environ(proc_fd, record->main.pid, "LATCHD_SERVICE", &name) >= 0 && strcmp(name, service) == 0 &&
           procfs_read_environ(proc_fd, record->main.pid, "INVOCATION_ID", &invocation_id) >= 0 &&
           strcmp(invocation_id, record->invocation_id) == 0;
}

int state_file_find_main(int proc_fd, const char *service, const struct service_record *record) {
    uint64_t until = now_usec(CLOCK_BOOTTIME) + EXEC_PATIENCE_USEC;
    _cleanup_close_ int pidfd = -EBADF;

    if (record->main.pid == 0)
        return -ESRCH;
    pidfd = process_pin_id(proc_fd, &record->main);
    if (pidfd < 0)
        return pidfd;
    while (!carries_record(proc_fd, service, record)) {
        if (process_pidfd_ended(pidfd))
            return -ESRCH;
        if (now_usec(CLOCK_BOOTTIME) > until)
            return -EBADMSG;
        (void) usleep(2000);
    }
    return TAKE_FD(pidfd);
}
