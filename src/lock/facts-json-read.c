/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts from JSON: what a later version no longer writes, or an earlier one did not write yet, is no error.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/mount.h"
#include "base/value.h"
#include "lock/facts.h"

/* Reading back: a small cursor that remembers the first field that was wrong. */
struct reader {
    const char *wrong;
};

static json_int_t read_integer(struct reader *reader, json_t *object, const char *key, json_int_t min,
                               json_int_t max) {
    json_t *value = json_object_get(object, key);

    if (json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
        if (!reader->wrong)
            reader->wrong = key;
        return 0;
    }
    return json_integer_value(value);
}

/* What facts that were recorded by an earlier version lack. */
static bool read_new_bool(json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

static json_int_t read_new_integer(struct reader *reader, json_t *object, const char *key, json_int_t min,
                                   json_int_t max) {
    return json_object_get(object, key) ? read_integer(reader, object, key, min, max) : 0;
}

static bool read_bool(struct reader *reader, json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    if (!json_is_boolean(value) && !reader->wrong)
        reader->wrong = key;
    return json_is_true(value);
}

static const char *read_string(struct reader *reader, json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    if (value && !json_is_string(value) && !json_is_null(value) && !reader->wrong)
        reader->wrong = key;
    return json_string_value(value);
}

static char *read_copy(struct reader *reader, json_t *object, const char *key) {
    const char *text = read_string(reader, object, key);

    return text ? strdup(text) : NULL;
}

/* Into an array; what does not fit is cut off, and a character that was cut in two becomes printable. */
static void read_into(struct reader *reader, json_t *object, const char *key, char *buffer, size_t size) {
    const char *text = read_string(reader, object, key);

    if (!text)
        return;
    strncpy(buffer, text, size - 1);
    value_make_printable(buffer);
}

static int read_enum(struct reader *reader, json_t *object, const char *key,
                     int (*from_string)(const char *)) {
    const char *text = read_string(reader, object, key);
    int value = text ? from_string(text) : -EINVAL;

    if (value < 0 && !reader->wrong)
        reader->wrong = key;
    return value < 0 ? 0 : value;
}

static int kind_of(const char *text) {
    return path_kind_from_string(text);
}
static int family_of(const char *text) {
    return lock_family_from_string(text);
}
static int state_of(const char *text) {
    return family_state_from_string(text);
}
static int life_of(const char *text) {
    return (int) process_life_from_string(text);
}
static int via_of(const char *text) {
    return holder_via_from_string(text);
}
static int form_of(const char *text) {
    return record_form_from_string(text);
}
static int answer_of(const char *text) {
    return peer_answer_from_string(text);
}

static json_t *read_array(struct reader *reader, json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);

    if (!json_is_array(value) && !reader->wrong)
        reader->wrong = key;
    return value;
}

static void read_process(struct reader *reader, json_t *json, struct process_facts *ret) {
    json_t *ancestors = read_array(reader, json, "ancestors");

    ret->pid = (pid_t) read_integer(reader, json, "pid", 0, INT_MAX);
    ret->life = (enum process_life) read_enum(reader, json, "life", life_of);
    ret->start_ticks = (uint64_t) read_integer(reader, json, "startTicks", 0, INT64_MAX);
    ret->start_usec = (uint64_t) read_integer(reader, json, "startUSec", 0, INT64_MAX);
    ret->ppid = (pid_t) read_integer(reader, json, "ppid", 0, INT_MAX);
    ret->pgrp = (pid_t) read_integer(reader, json, "pgrp", -1, INT_MAX);
    ret->session = (pid_t) read_integer(reader, json, "session", -1, INT_MAX);
    ret->session_leader_gone = read_new_bool(json, "sessionLeaderGone");
    ret->kernel_thread = read_new_bool(json, "kernelThread");
    ret->frozen = read_new_bool(json, "frozen");
    ret->uid = (uid_t) read_integer(reader, json, "uid", -1, UINT32_MAX);
    read_into(reader, json, "comm", ret->comm, sizeof ret->comm);
    ret->exe = read_copy(reader, json, "exe");
    ret->cmdline = read_copy(reader, json, "cmdline");
    ret->cgroup = read_copy(reader, json, "cgroup");
    ret->service = read_copy(reader, json, "service");
    ret->invocation_id = read_copy(reader, json, "invocationId");
    if (json_array_size(ancestors) == 0)
        return;
    ret->ancestors = calloc(json_array_size(ancestors), sizeof *ret->ancestors);
    for (size_t i = 0; ret->ancestors && i < json_array_size(ancestors); i++) {
        json_t *ancestor = json_array_get(ancestors, i);

        ret->ancestors[i].pid = (pid_t) read_integer(reader, ancestor, "pid", 0, INT_MAX);
        ret->ancestors[i].exe = read_copy(reader, ancestor, "exe");
        ret->n_ancestors++;
    }
}

static void read_holder(struct reader *reader, json_t *json, struct holder_facts *ret) {
    json_t *holds = read_array(reader, json, "holds");

    read_process(reader, json, &ret->process);
    ret->tid = (pid_t) read_integer(reader, json, "tid", 0, INT_MAX);
    ret->via = (enum holder_via) read_enum(reader, json, "via", via_of);
    ret->fd = (int) read_integer(reader, json, "fd", -1, INT_MAX);
    ret->listener = read_bool(reader, json, "listener");
    for (size_t i = 0; i < json_array_size(holds); i++) {
        enum lock_family family = lock_family_from_string(json_string_value(json_array_get(holds, i)));

        if (family >= 0)
            ret->families[family] = true;
        else if (!reader->wrong)
            reader->wrong = "holds";
    }
}

static void read_listener(struct reader *reader, json_t *json, struct listener_facts *ret) {
    ret->found = read_bool(reader, json, "found");
    ret->listening = read_bool(reader, json, "listening");
    ret->inode = (uint32_t) read_integer(reader, json, "inode", 0, UINT32_MAX);
    ret->queue = (uint32_t) read_integer(reader, json, "queue", 0, UINT32_MAX);
    ret->backlog = (uint32_t) read_integer(reader, json, "backlog", 0, UINT32_MAX);
    ret->peer.answer = (enum peer_answer) read_enum(reader, json, "connect", answer_of);
    ret->peer.error = (int) read_integer(reader, json, "connectErrno", 0, 4095);
    ret->peer.pid = (pid_t) read_integer(reader, json, "listenPid", 0, INT_MAX);
    ret->peer.uid = (uid_t) read_integer(reader, json, "listenUid", -1, UINT32_MAX);
    ret->peer.life = (enum process_life) read_enum(reader, json, "listenLife", life_of);
}

/* What an earlier version did not record follows from the content. */
static void read_record(struct reader *reader, json_t *json, struct lock_facts *facts) {
    json_t *record = json_object_get(json, "record"), *shm = json_object_get(json, "sharedMemory");
    struct lock_record *ret = &facts->record;

    if (!record && facts->content && facts->path)
        lock_record_parse(facts->path, facts->content, ret);
    if (json_is_object(record)) {
        ret->form = (enum record_form) read_enum(reader, record, "form", form_of);
        ret->pid = (pid_t) read_integer(reader, record, "pid", 0, INT_MAX);
        ret->several = read_new_bool(record, "several");
        read_into(reader, record, "host", ret->host, sizeof ret->host);
        ret->pid_namespace = (uint64_t) read_integer(reader, record, "pidNamespace", 0, INT64_MAX);
        ret->boot_usec = (uint64_t) read_integer(reader, record, "bootUSec", 0, INT64_MAX);
        ret->start_usec = (uint64_t) read_integer(reader, record, "startUSec", 0, INT64_MAX);
        read_into(reader, record, "socket", ret->socket_path, sizeof ret->socket_path);
        ret->shm_key = (uint64_t) read_integer(reader, record, "shmKey", 0, INT64_MAX);
        ret->shm_id = (uint64_t) read_integer(reader, record, "shmId", 0, INT64_MAX);
    }
    if (json_is_object(shm))
        facts->shm = (struct shm_facts){
            .found = true,
            .attached = (unsigned) read_integer(reader, shm, "attached", 0, INT_MAX),
            .creator = (pid_t) read_integer(reader, shm, "creatorPid", 0, INT_MAX),
        };
}

/* Fields that an earlier version did not record may be missing. */
static void read_bystanders(struct reader *reader, json_t *json, struct lock_facts *facts) {
    json_t *openers = json_object_get(json, "openers"), *waiters = json_object_get(json, "waiters"),
           *displaced = json_object_get(json, "displaced");

    if (json_array_size(openers) > 0)
        facts->openers = calloc(json_array_size(openers), sizeof *facts->openers);
    for (size_t i = 0; facts->openers && i < json_array_size(openers); i++)
        read_holder(reader, json_array_get(openers, i), &facts->openers[facts->n_openers++]);
    facts->openers_total = (unsigned) read_new_integer(reader, json, "openersTotal", 0, INT_MAX);
    if (json_array_size(waiters) > 0)
        facts->waiters = calloc(json_array_size(waiters), sizeof *facts->waiters);
    for (size_t i = 0; facts->waiters && i < json_array_size(waiters); i++)
        read_process(reader, json_array_get(waiters, i), &facts->waiters[facts->n_waiters++]);
    if (json_array_size(displaced) > 0)
        facts->displaced = calloc(json_array_size(displaced), sizeof *facts->displaced);
    for (size_t i = 0; facts->displaced && i < json_array_size(displaced); i++) {
        const char *where;

        /* What was displaced has nothing displaced of its own: the depth is bounded. */
        if (json_array_size(json_object_get(json_array_get(displaced, i), "displaced")) > 0 ||
            lock_facts_from_json(json_array_get(displaced, i), &facts->displaced[i], &where) < 0) {
            if (!reader->wrong)
                reader->wrong = "displaced";
            continue;
        }
        facts->n_displaced = i + 1;
    }
    facts->unlinked = read_new_bool(json, "unlinked");
}

static void read_lists(struct reader *reader, json_t *json, struct lock_facts *facts) {
    json_t *claims = read_array(reader, json, "claims"), *holders = read_array(reader, json, "holders"),
           *unreadable = read_array(reader, json, "unreadable");

    facts->claims = calloc(json_array_size(claims) + 1, sizeof *facts->claims);
    for (size_t i = 0; facts->claims && i < json_array_size(claims); i++) {
        json_t *claim = json_array_get(claims, i);

        facts->claims[facts->n_claims++] = (struct claim_facts){
            .family = (enum lock_family) read_enum(reader, claim, "family", family_of),
            .pid = (pid_t) read_integer(reader, claim, "pid", INT_MIN, INT_MAX), /* negative: lockd's */
            .waiting = read_bool(reader, claim, "waiting"),
            .shared = read_bool(reader, claim, "shared"),
        };
    }
    facts->holders = calloc(json_array_size(holders) + 1, sizeof *facts->holders);
    for (size_t i = 0; facts->holders && i < json_array_size(holders); i++)
        read_holder(reader, json_array_get(holders, i), &facts->holders[facts->n_holders++]);
    facts->unreadable = calloc(LOCK_UNREADABLE_MAX, sizeof *facts->unreadable);
    for (size_t i = 0; facts->unreadable && i < json_array_size(unreadable) && i < LOCK_UNREADABLE_MAX; i++)
        facts->unreadable[facts->n_unreadable++] = (pid_t) json_integer_value(json_array_get(unreadable, i));
}

int lock_facts_from_json(json_t *json, struct lock_facts *ret, const char **ret_where) {
    _cleanup_lock_facts_ struct lock_facts facts = {0};
    struct reader reader = {0};
    json_t *recorded = json_object_get(json, "recorded"), *listener = json_object_get(json, "listener"),
           *families = json_object_get(json, "families");
    const char *text;
    unsigned device_major = 0, device_minor = 0;

    facts.path = read_copy(&reader, json, "path");
    facts.kind = (enum path_kind) read_enum(&reader, json, "kind", kind_of);
    facts.error = (int) read_integer(&reader, json, "errno", 0, 4095);
    facts.error_subject = read_copy(&reader, json, "errorSubject");
    text = read_string(&reader, json, "device");
    if (text && sscanf(text, "%u:%u", &device_major, &device_minor) == 2)
        facts.device = makedev(device_major, device_minor);
    facts.inode = (ino_t) read_integer(&reader, json, "inode", INT64_MIN, INT64_MAX);
    facts.mode = (mode_t) read_integer(&reader, json, "mode", 0, 0xffff);
    facts.uid = (uid_t) read_integer(&reader, json, "uid", 0, UINT32_MAX);
    facts.links = (unsigned) read_new_integer(&reader, json, "links", 0, INT_MAX);
    facts.size_bytes = (uint64_t) read_integer(&reader, json, "sizeBytes", 0, INT64_MAX);
    facts.modified_usec = (uint64_t) read_integer(&reader, json, "modifiedUSec", 0, INT64_MAX);
    facts.changed_usec = (uint64_t) read_new_integer(&reader, json, "changedUSec", 0, INT64_MAX);
    facts.boot_usec = (uint64_t) read_new_integer(&reader, json, "bootUSec", 0, INT64_MAX);
    read_into(&reader, json, "filesystem", facts.filesystem, sizeof facts.filesystem);
    facts.remote = json_object_get(json, "remote") ? read_new_bool(json, "remote")
                                                   : mount_type_is_remote(facts.filesystem);
    facts.layered = read_new_bool(json, "layered");
    facts.server_arbitrates = read_new_bool(json, "serverArbitrates");
    facts.content = read_copy(&reader, json, "content");
    facts.content_read = facts.content != NULL;
    read_record(&reader, json, &facts);
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts.families[f] =
            (enum family_state) read_enum(&reader, families, lock_family_to_string(f), state_of);
    facts.tried = read_new_bool(json, "tried");
    facts.recorded.pid = (pid_t) read_integer(&reader, json, "recordedPid", 0, INT_MAX);
    if (json_is_object(recorded)) {
        facts.recorded.is_thread = read_bool(&reader, recorded, "isThread");
        facts.recorded.is_self = read_bool(&reader, recorded, "isSelf");
        read_process(&reader, json_object_get(recorded, "process"), &facts.recorded.process);
        if (json_is_object(json_object_get(recorded, "namesake")))
            read_process(&reader, json_object_get(recorded, "namesake"), &facts.recorded.namesake);
    }
    read_lists(&reader, json, &facts);
    read_bystanders(&reader, json, &facts);
    facts.scanned = read_bool(&reader, json, "scanned");
    facts.settled = read_new_bool(json, "settled");
    facts.complete = read_bool(&reader, json, "complete");
    facts.processes = (unsigned) read_integer(&reader, json, "processes", 0, INT_MAX);
    facts.unreadable_total = (unsigned) read_integer(&reader, json, "unreadableTotal", 0, INT_MAX);
    facts.guarded = read_new_bool(json, "guarded");
    facts.has_socket = json_is_object(listener);
    if (facts.has_socket)
        read_listener(&reader, listener, &facts.listener);
    facts.hidden = read_new_bool(json, "hidden");
    facts.initial_pid_namespace = read_bool(&reader, json, "initialPidNamespace");
    facts.pid_namespace = (uint64_t) read_new_integer(&reader, json, "pidNamespace", 0, INT64_MAX);
    if (json_object_get(json, "host"))
        read_into(&reader, json, "host", facts.host, sizeof facts.host);
    read_into(&reader, json, "bootId", facts.boot_id, sizeof facts.boot_id);
    if (!facts.path || !facts.claims || !facts.holders || !facts.unreadable || reader.wrong) {
        *ret_where = reader.wrong ? reader.wrong : "path";
        return -EBADMSG;
    }
    *ret = facts;
    facts = (struct lock_facts){0};
    return 0;
}
