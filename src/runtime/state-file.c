/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/state-file.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/value.h"

#define STATE_FILE_MAX (64 * 1024)
#define CONFIG_MAX (8 * 1024) /* escaped it is longer; one beyond that is left out */

enum field_type {
    FIELD_COUNT,  /* uint64_t; what is beyond a JSON integer is written as the largest */
    FIELD_FLAG,   /* bool */
    FIELD_WORD,   /* char[]: small letters, digits and hyphens */
    FIELD_STATUS, /* char *, owned: printable; what is too long is cut */
    FIELD_LIMITS, /* struct rlimits_planned *, owned */
};

/* What a file may lack, and more so an older one. A room that has something to hand on adds a member to
 * struct service_record and a line here. No pointers: what the loader has to relocate is memory of each
 * process's own. */
static const struct optional_field {
    char name[24];
    enum field_type type;
    size_t offset, size;
} optional_fields[] = {
#define FIELD(name, type, member)                                                                            \
    {                                                                                                        \
        name, FIELD_##type, offsetof(struct service_record, member),                                         \
            sizeof(((const struct service_record *) NULL)->member)                                           \
    }
    FIELD("state", WORD, state),
    FIELD("stateBootId", WORD, state_boot_id),
    FIELD("stateSinceUSec", COUNT, state_since_usec),
    FIELD("stateUntilUSec", COUNT, state_until_usec),
    FIELD("staysDown", FLAG, stays_down),
    FIELD("endedByItself", FLAG, ended_by_itself),
    FIELD("unmet", FLAG, unmet),
    FIELD("startAgain", FLAG, start_again),
    FIELD("endIsFailure", FLAG, end_is_failure),
    FIELD("executed", FLAG, executed),
    FIELD("leadsSession", FLAG, leads_session),
    FIELD("session", COUNT, session),
    FIELD("mainUSec", COUNT, main_usec),
    FIELD("restartsInARow", COUNT, restarts_in_a_row),
    FIELD("limitWindowUSec", COUNT, limit_window_usec),
    FIELD("limitStarts", COUNT, limit_starts),
    FIELD("exitUSec", COUNT, exit_usec),
    FIELD("exitKnown", FLAG, exit_known),
    FIELD("exitUnexecuted", FLAG, exit_unexecuted),
    FIELD("exitCode", COUNT, exit_code),
    FIELD("exitStatus", COUNT, exit_status),
    FIELD("ready", FLAG, ready),
    FIELD("statusText", STATUS, status_text),
    FIELD("limitsKnown", FLAG, limits_known),
    FIELD("limits", LIMITS, limits),
    FIELD("openFiles", COUNT, open_files),
#undef FIELD
};

/* As they are written in a configuration: {"NOFILE": "1024:4096"}. */
static json_t *limits_to_json(const struct rlimits_planned *limits) {
    char text[RLIMIT_FORMAT_MAX];
    json_t *json = json_object();

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        if (limits->of[i].set)
            json_object_set_new(json, rlimit_to_name(i),
                                json_string(rlimit_format(limits->of[i].soft, limits->of[i].hard, text)));
    return json;
}

static bool read_limits(json_t *json, struct service_record *record) {
    bool known = record->limits_known; /* has its own field */
    struct rlimits_planned planned = {0};
    const char *name;
    json_t *value;

    json_object_foreach(json, name, value) {
        int resource = rlimit_from_name(name);
        struct limit_config limit;

        if (resource < 0 || !json_is_string(value) ||
            rlimit_parse_value(resource, json_string_value(value), &limit, NULL) < 0 || limit.automatic)
            return false;
        planned.of[resource].set = true;
        planned.of[resource].soft = limit.soft;
        planned.of[resource].hard = limit.hard;
    }
    if (!json_is_object(json))
        return false;
    service_record_set_limits(record, &planned);
    record->limits_known &= known;
    return true;
}

/* Zero is not written: a missing field reads as that. */
static int write_field(json_t *json, const struct optional_field *field,
                       const struct service_record *record) {
    const void *member = (const char *) record + field->offset;
    uint64_t count;

    switch (field->type) {
    case FIELD_COUNT:
        memcpy(&count, member, sizeof count);
        if (count == 0)
            return 0;
        return json_object_set_new(json, field->name,
                                   json_integer(count > INT64_MAX ? INT64_MAX : (json_int_t) count));
    case FIELD_FLAG:
        return *(const bool *) member ? json_object_set_new(json, field->name, json_true()) : 0;
    case FIELD_LIMITS:
        return record->limits_known
                   ? json_object_set_new(json, field->name, limits_to_json(service_record_limits(record)))
                   : 0;
    case FIELD_STATUS:
        return record->status_text
                   ? json_object_set_new(json, field->name, json_string(record->status_text))
                   : 0;
    default:
        return *(const char *) member ? json_object_set_new(json, field->name, json_string(member)) : 0;
    }
}

/* False: it is there, and no value of its kind. */
static bool read_field(const json_t *json, const struct optional_field *field,
                       struct service_record *record) {
    json_t *value = json_object_get(json, field->name);
    void *member = (char *) record + field->offset;
    const char *word;
    uint64_t count;

    if (!value)
        return true;
    switch (field->type) {
    case FIELD_COUNT:
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return false;
        count = (uint64_t) json_integer_value(value);
        memcpy(member, &count, sizeof count);
        return true;
    case FIELD_FLAG:
        *(bool *) member = json_is_true(value);
        return json_is_boolean(value);
    case FIELD_STATUS:
        word = json_string_value(value);
        service_record_set_status(record, word);
        return word != NULL;
    case FIELD_LIMITS:
        return read_limits(value, record);
    default:
        word = json_string_value(value);
        if (!word || strlen(word) >= field->size ||
            strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(word))
            return false;
        strcpy(member, word);
        return true;
    }
}

static int file_name(const char *service, char *buffer, size_t size) {
    int n = snprintf(buffer, size, "%s.state", service);

    return n < 0 || (size_t) n >= size ? -ENAMETOOLONG : 0;
}

void service_record_done(struct service_record *record) {
    free(record->status_text);
    free(record->limits);
    record->status_text = NULL;
    record->limits = NULL;
}

void service_record_set_status(struct service_record *record, const char *text) {
    free(record->status_text);
    record->status_text = text && *text ? strndup(text, STATE_STATUS_MAX) : NULL;
    if (record->status_text)
        value_make_printable(record->status_text);
}

void service_record_set_session(struct service_record *record, pid_t session) {
    record->session = session > 0 ? (uint64_t) session : STATE_SESSION_OUTSIDE;
    record->leads_session = session == record->main.pid;
}

void service_record_set_limits(struct service_record *record, const struct rlimits_planned *limits) {
    bool any = false;

    for (int i = 0; i < RLIMIT_NLIMITS; i++)
        any |= limits->of[i].set;
    if (any && !record->limits)
        record->limits = malloc(sizeof *record->limits);
    if (any && record->limits)
        *record->limits = *limits;
    record->limits_known = !any || record->limits;
    if (!any) {
        free(record->limits);
        record->limits = NULL;
    }
}

const char *service_record_status(const struct service_record *record) {
    return record->status_text ? record->status_text : "";
}

const struct rlimits_planned *service_record_limits(const struct service_record *record) {
    static const struct rlimits_planned none;

    return record->limits ? record->limits : &none;
}

void state_record_forget_state(struct service_record *record) {
    record->state[0] = record->state_boot_id[0] = '\0';
    record->state_since_usec = record->state_until_usec = 0;
    record->stays_down = record->ended_by_itself = record->unmet = record->start_again =
        record->end_is_failure = record->executed = false;
    record->restarts_in_a_row = record->limit_window_usec = record->limit_starts = 0;
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
    for (size_t i = 0; json && r >= 0 && i < ELEMENTSOF(optional_fields); i++)
        r = write_field(json, &optional_fields[i], record);
    if (json && r >= 0 && record->config && strlen(record->config) <= CONFIG_MAX)
        r = json_object_set_new(json, "config", json_string(record->config));
    text = json && r >= 0 ? json_dumps(json, JSON_INDENT(2)) : NULL;
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

static int parse(json_t *json, const char *service, struct service_record *ret) {
    struct service_record record = {0};
    json_int_t pid, generation, start_ticks, since, restarts;
    const char *name, *invocation_id, *boot_id;

    if (json_unpack(json, "{s:s, s:I, s:s, s:I, s:I, s:s, s:I, s:I}", "service", &name, "generation",
                    &generation, "invocationId", &invocation_id, "mainPid", &pid, "startTicks", &start_ticks,
                    "bootId", &boot_id, "sinceUSec", &since, "restarts", &restarts) != 0 ||
        strcmp(name, service) != 0 || pid < 0 || pid > INT_MAX || start_ticks < 0 || generation < 0 ||
        since < 0 || restarts < 0 || !ids_are_sane(invocation_id, pid, boot_id))
        return -EBADMSG;
    for (size_t i = 0; i < ELEMENTSOF(optional_fields); i++)
        if (!read_field(json, &optional_fields[i], &record)) {
            service_record_done(&record);
            return -EBADMSG;
        }
    record.generation = (uint64_t) generation;
    record.since_usec = (uint64_t) since;
    record.restarts = (uint64_t) restarts;
    record.main.pid = (pid_t) pid;
    record.main.start_ticks = (uint64_t) start_ticks;
    strcpy(record.invocation_id, invocation_id);
    strcpy(record.main.boot_id, boot_id);
    *ret = record;
    return 0;
}

static int refuse_newer(const json_t *json, const char *name, struct err *err) {
    const json_t *pid = json_object_get(json, "mainPid");

    return err_set(
        err, EPROTONOSUPPORT, "NewerState",
        "%s in the runtime directory was written by a newer latchd (schema %lld, and this one knows "
        "%d): it may name a living daemon (PID %lld). Install that version again; or end the daemon "
        "if it runs, and remove the file",
        name, (long long) json_integer_value(json_object_get(json, "schema")), STATE_FILE_SCHEMA,
        (long long) json_integer_value(pid));
}

/* The whole of a file's text: 0, -EBADMSG, or -EPROTONOSUPPORT. */
static int check(json_t *json, const char *service, const char *name, struct service_record *ret,
                 struct err *err) {
    const json_t *schema = json_object_get(json, "schema"), *config = json_object_get(json, "config");

    if (!json_is_integer(schema) || (config && !json_is_string(config)))
        return -EBADMSG;
    if (json_integer_value(schema) > STATE_FILE_SCHEMA)
        return refuse_newer(json, name, err);
    return json_integer_value(schema) == STATE_FILE_SCHEMA ? parse(json, service, ret) : -EBADMSG;
}

/* The file's JSON, which the caller releases, and the record from it. */
static int read_file(int runtime_dir_fd, const char *service, struct service_record *ret, json_t **ret_json,
                     struct err *err) {
    _cleanup_close_ int fd = -EBADF;
    _cleanup_free_ char *text = NULL;
    char name[NAME_MAX + 1];
    struct stat st = {.st_uid = (uid_t) -1};
    json_t *json;
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
    if (r < 0)
        return err_set(err, EBADMSG, "BadState", "%s in the runtime directory is damaged: not used", name);
    json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    r = check(json, service, name, ret, err);
    if (r < 0) {
        json_decref(json);
        return r == -EPROTONOSUPPORT ? r
                                     : err_set(err, EBADMSG, "BadState",
                                               "%s in the runtime directory is damaged: not used", name);
    }
    *ret_json = json;
    return 0;
}

int state_file_read(int runtime_dir_fd, const char *service, struct service_record *ret, struct err *err) {
    json_t *json;
    int r = read_file(runtime_dir_fd, service, ret, &json, err);

    if (r >= 0)
        json_decref(json);
    return r;
}

int state_file_read_config(int runtime_dir_fd, const char *service, char **ret, struct err *err) {
    struct service_record record;
    const char *config;
    char *copy;
    json_t *json;
    int r = read_file(runtime_dir_fd, service, &record, &json, err);

    if (r < 0)
        return r;
    service_record_done(&record);
    config = json_string_value(json_object_get(json, "config"));
    copy = config ? strdup(config) : NULL;
    json_decref(json);
    if (!copy)
        return config ? err_set(err, ENOMEM, "Failed", "out of memory") : -ENODATA;
    *ret = copy;
    return 0;
}

/* A process that has the record's identity but not yet the daemon's environment is between the gate and exec:
 * its latchd died just then. It gets there, or ends, within moments. */
#define EXEC_PATIENCE_USEC (2 * USEC_PER_SEC)

/* A process lives on when its first thread has ended (pthread_exit(3)). That one then is a zombie, whose
 * environ and exe show nothing; those of every other thread are the process's, and /proc has them under the
 * thread's own number (proc(5)). */
static pid_t living_thread(int proc_fd, pid_t pid) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct proc_stat stat;
    struct dirent *entry;
    char path[32];
    int fd;

    if (procfs_read_stat(proc_fd, pid, &stat) < 0 || stat.state != 'Z' || stat.threads < 2)
        return pid;
    snprintf(path, sizeof path, "%d/task", (int) pid);
    fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_close(fd);
        return pid;
    }
    while ((entry = readdir(dir))) {
        pid_t tid = (pid_t) strtol(entry->d_name, NULL, 10);

        if (tid > 0 && procfs_read_stat(proc_fd, tid, &stat) >= 0 && stat.state != 'Z' && stat.state != 'X')
            return tid;
    }
    return pid;
}

/* 0: it carries the record's marks; -ENOENT: not all of them, and no others; -EBADMSG: others; else they cannot
 * be read. */
static int look_for_marks(int proc_fd, const char *service, const struct service_record *record) {
    const char *const names[] = {"LATCHD_SERVICE", "INVOCATION_ID"}, *const values[] = {service, record->invocation_id};
    pid_t pid = living_thread(proc_fd, record->main.pid);
    bool missing = false;

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *value = NULL;
        int r = procfs_read_environ(proc_fd, pid, names[i], &value);

        if (r < 0 && r != -ENOENT)
            return r;
        missing |= r == -ENOENT;
        if (r >= 0 && strcmp(value, values[i]) != 0)
            return -EBADMSG;
    }
    return missing ? -ENOENT : 0;
}

static bool runs(int proc_fd, pid_t pid, const char *exe) {
    _cleanup_free_ char *its = NULL;

    return exe && procfs_read_exe(proc_fd, living_thread(proc_fd, pid), &its) >= 0 && strcmp(its, exe) == 0;
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

/* Without marks the record alone speaks for it, which only the owner of the directory can write. What it says
 * of the session holds for life, but that a process may come to lead one of its own. */
static bool is_in_recorded_session(int proc_fd, const struct service_record *record) {
    pid_t pid = record->main.pid;
    struct proc_stat stat;

    if (procfs_read_stat(proc_fd, pid, &stat) < 0)
        return false;
    if (stat.session == pid)
        return true;
    return !record->leads_session &&
           record->session == (stat.session > 0 ? (uint64_t) stat.session : STATE_SESSION_OUTSIDE);
}

static bool knows_session(const struct service_record *record) {
    return record->leads_session || record->session > 0;
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
    pidfd = process_pin_id(proc_fd, &record->main);
    /* Init may hide its environment, and is nobody's daemon to be ended; but it may be one, in a container. */
    if (pid == 1 && pidfd != -ESRCH)
        return look_for_marks(proc_fd, service, record) == 0 ? -ENODATA : -EBADMSG;
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
        if (r == -ENOENT && knows_session(record) && !runs_latchd(proc_fd, pid))
            return is_in_recorded_session(proc_fd, record) ? TAKE_FD(pidfd) : -EBADMSG;
        if (r != -ENOENT && r != -EBADMSG && r != -ESRCH)
            return r;
        if (now_usec(CLOCK_BOOTTIME) > until && runs_latchd(proc_fd, pid))
            return TAKE_FD(pidfd);
        if (now_usec(CLOCK_BOOTTIME) > until)
            return knows_session(record) && is_in_recorded_session(proc_fd, record) ? -ENODATA : -EBADMSG;
        (void) usleep(2000);
    }
}
