/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes are what /proc, a PID file or a record of facts says: nothing crashes, and what was understood is
 * judged. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mount.h"
#include "base/procfs.h"
#include "base/value.h"
#include "lock/describe.h"
#include "probe/probe.h"
#include "probe/snapshot.h"

static void need(bool true_always) {
    if (!true_always)
        abort();
}

static void read_proc(const char *text) {
    _cleanup_lock_snapshot_ struct lock_snapshot snapshot = {0};
    bool families[LOCK_FAMILY_MAX] = {false};
    struct proc_limit limits[16];
    struct proc_status status;
    _cleanup_mount_table_ struct mount_table mounts = {0};
    struct proc_stat stat;

    if (procfs_parse_stat(text, &stat) >= 0)
        need(stat.pid >= 0 && memchr(stat.comm, '\0', sizeof stat.comm));
    if (procfs_parse_status(text, &status) >= 0)
        need(status.ns_depth > 0);
    (void) procfs_parse_limits(text, limits);
    if (mount_table_parse(text, &mounts) >= 0)
        for (size_t i = 0; i < mounts.n; i++)
            need(mounts.rows[i].facts.type[0] && mounts.rows[i].point && mounts.rows[i].options);
    lock_fdinfo_families(text, families);
    if (lock_snapshot_parse(text, &snapshot) >= 0)
        for (size_t i = 0; i < snapshot.n; i++)
            need(snapshot.rows[i].claim.family < LOCK_FAMILY_MAX);
}

static void check_record(const struct lock_record *record) {
    need(record->form >= 0 && record->form < RECORD_FORM_MAX);
    need(record->pid >= 0 && (record->pid == 0) == (record->form == RECORD_NONE));
    need(memchr(record->host, '\0', sizeof record->host) && !strpbrk(record->host, "/\n"));
    need(memchr(record->socket_path, '\0', sizeof record->socket_path));
    need(record->socket_path[0] == '\0' || record->form == RECORD_X11 || record->form == RECORD_POSTGRESQL);
    need((record->host[0] != '\0') == (record->form != RECORD_NONE && record->form != RECORD_PLAIN &&
                                       record->form != RECORD_X11 && record->form != RECORD_POSTGRESQL));
}

/* What a lock file, or a link, says of its owner: by every name that tells a form. */
static void read_records(const char *text) {
    static const char *const paths[] = {
        "/run/fuzzed.pid",
        "/tmp/.X99-lock",
        "/var/lib/data/postmaster.pid",
        "/tmp/.s.PGSQL.5432.lock",
        "/home/u/.#notes",
        "/home/u/SingletonLock",
        "/r/.hg/wlock",
        "lock",
    };
    struct lock_record record;

    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        lock_record_parse(paths[i], text, &record);
        check_record(&record);
        lock_record_parse_link(paths[i], text, &record);
        check_record(&record);
        need(record.form == RECORD_NONE || (record.form >= RECORD_CHROME && record.host[0]));
    }
    lock_record_parse_link("/etc/alternatives/editor", text, &record);
    need(record.form == RECORD_NONE);
    lock_record_parse_lock_link(text, &record);
    check_record(&record);
    need(record.form == RECORD_NONE || text[0] != '/');
    (void) lock_record_is_bare(text);
}

static void read_values(const char *text) {
    _cleanup_free_ char *printable = strdup(text);
    char buffer[VALUE_FORMAT_MAX];
    uint64_t number;
    int signal;

    value_make_printable(printable);
    for (const char *p = printable; *p; p++)
        need((unsigned char) *p >= ' ' && *p != 0x7f);
    if (value_parse_usec(text, &number) >= 0)
        need(strlen(value_format_usec(number, buffer)) < sizeof buffer);
    if (value_parse_size(text, &number) >= 0)
        need(strlen(value_format_bytes(number, buffer)) < sizeof buffer);
    (void) value_parse_signal(text, &signal);
}

/* Every context there is: none, a main process that is dead or lives, a service. */
static void judge(const struct lock_facts *facts) {
    const struct lock_context contexts[] = {
        {.main_life = PROCESS_UNKNOWN},
        {.main = {.pid = 801},
         .main_life = PROCESS_GONE,
         .daemon_exe = "/usr/sbin/maker",
         .config_file = "/etc/maker.conf"},
        {.main = {.pid = 801}, .main_life = PROCESS_ALIVE},
        {.main_life = PROCESS_UNKNOWN, .dead_pid = 801, .daemon_exe = "/usr/sbin/maker"},
    };

    for (size_t i = 0; i <= ELEMENTSOF(contexts); i++) {
        const struct lock_context *context = i < ELEMENTSOF(contexts) ? &contexts[i] : NULL;
        struct lock_judgement judgement = lock_judge(facts, context);
        json_t *report = lock_report_to_json(facts, context, &judgement, NULL);

        need(judgement.verdict < VERDICT_MAX && judgement.reason < REASON_MAX);
        need(report && json_string_value(json_object_get(report, "summary"))[0]);
        json_decref(report);
    }
}

static void read_facts(const char *text, size_t size) {
    _cleanup_lock_facts_ struct lock_facts facts = {0}, again = {0};
    json_t *json = json_loadb(text, size, JSON_DECODE_ANY, NULL), *copy;
    const char *where = NULL;

    if (!json)
        return;
    if (lock_facts_from_json(json, &facts, &where) >= 0) {
        copy = lock_facts_to_json(&facts);
        need(copy && lock_facts_from_json(copy, &again, &where) >= 0 && lock_facts_same(&facts, &again));
        json_decref(copy);
        judge(&facts);
    } else
        need(where);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = malloc(size + 1);

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    read_proc(text);
    read_records(text);
    read_values(text);
    read_facts(text, size);
    return 0;
}
