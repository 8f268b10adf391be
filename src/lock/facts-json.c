/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts as JSON, both ways. Times are in microseconds; what is not known is left out or null. */
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/value.h"
#include "lock/facts.h"

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

json_t *process_facts_to_json(const struct process_facts *process) {
    json_t *ancestors = json_array();

    for (size_t i = 0; i < process->n_ancestors; i++)
        json_array_append_new(ancestors, json_pack("{s:i, s:o}", "pid", (int) process->ancestors[i].pid,
                                                   "exe", text_or_null(process->ancestors[i].exe)));
    /* clang-format off */
    return json_pack("{s:i, s:s, s:I, s:I, s:i, s:i, s:i, s:b, s:b, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "pid", (int) process->pid,
                     "life", process_life_to_string(process->life),
                     "startTicks", (json_int_t) process->start_ticks,
                     "startUSec", (json_int_t) process->start_usec,
                     "ppid", (int) process->ppid,
                     "pgrp", (int) process->pgrp,
                     "session", (int) process->session,
                     "sessionLeaderGone", process->session_leader_gone,
                     "kernelThread", process->kernel_thread,
                     "uid", process->uid == (uid_t) -1 ? (json_int_t) -1 : (json_int_t) process->uid,
                     "comm", process->comm,
                     "exe", text_or_null(process->exe),
                     "cmdline", text_or_null(process->cmdline),
                     "cgroup", text_or_null(process->cgroup),
                     "service", text_or_null(process->service),
                     "invocationId", text_or_null(process->invocation_id),
                     "ancestors", ancestors);
    /* clang-format on */
}

static json_t *holder_to_json(const struct holder_facts *holder) {
    json_t *json = process_facts_to_json(&holder->process), *families = json_array();

    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        if (holder->families[f])
            json_array_append_new(families, json_string(lock_family_to_string(f)));
    if (!json || json_object_set_new(json, "tid", json_integer(holder->tid)) < 0 ||
        json_object_set_new(json, "via", json_string("fd")) < 0 ||
        json_object_set_new(json, "fd", json_integer(holder->fd)) < 0 ||
        json_object_set_new(json, "holds", families) < 0 ||
        json_object_set_new(json, "listener", json_boolean(holder->listener)) < 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *listener_to_json(const struct listener_facts *listener) {
    /* clang-format off */
    return json_pack("{s:b, s:b, s:I, s:I, s:I, s:s, s:i, s:i, s:I, s:s}",
                     "found", listener->found,
                     "listening", listener->listening,
                     "inode", (json_int_t) listener->inode,
                     "queue", (json_int_t) listener->queue,
                     "backlog", (json_int_t) listener->backlog,
                     "connect", peer_answer_to_string(listener->peer.answer),
                     "connectErrno", listener->peer.error,
                     "listenPid", (int) listener->peer.pid,
                     "listenUid", listener->peer.uid == (uid_t) -1 ? (json_int_t) -1
                                                                   : (json_int_t) listener->peer.uid,
                     "listenLife", process_life_to_string(listener->peer.life));
    /* clang-format on */
}

json_t *lock_facts_to_json(const struct lock_facts *facts) {
    json_t *json, *families = json_object(), *claims = json_array(), *holders = json_array(),
                  *unreadable = json_array(), *recorded = json_null();
    _cleanup_free_ char *path = strdup(facts->path ? facts->path : "");

    if (path)
        value_make_printable(path); /* as a file's name it may be no UTF-8, which JSON wants */

    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        json_object_set_new(families, lock_family_to_string(f),
                            json_string(family_state_to_string(facts->families[f])));
    for (size_t i = 0; i < facts->n_claims; i++)
        json_array_append_new(claims, json_pack("{s:s, s:i, s:b, s:b}", "family",
                                                lock_family_to_string(facts->claims[i].family), "pid",
                                                (int) facts->claims[i].pid, "waiting",
                                                facts->claims[i].waiting, "shared", facts->claims[i].shared));
    for (size_t i = 0; i < facts->n_holders; i++)
        json_array_append_new(holders, holder_to_json(&facts->holders[i]));
    for (size_t i = 0; i < facts->n_unreadable; i++)
        json_array_append_new(unreadable, json_integer(facts->unreadable[i]));
    if (facts->recorded.pid != 0)
        recorded = json_pack(
            "{s:b, s:b, s:o, s:o}", "isThread", facts->recorded.is_thread, "isSelf", facts->recorded.is_self,
            "process", process_facts_to_json(&facts->recorded.process), "namesake",
            facts->recorded.namesake.pid ? process_facts_to_json(&facts->recorded.namesake) : json_null());

    /* clang-format off */
    json = json_pack("{s:s, s:s, s:i, s:o, s:s, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:s}",
                     "path", path,
                     "kind", path_kind_to_string(facts->kind),
                     "errno", facts->error,
                     "errorSubject", text_or_null(facts->error_subject),
                     "device", "",
                     "inode", (json_int_t) facts->inode,
                     "mode", (int) facts->mode,
                     "uid", (json_int_t) facts->uid,
                     "sizeBytes", (json_int_t) facts->size_bytes,
                     "modifiedUSec", (json_int_t) facts->modified_usec,
                     "changedUSec", (json_int_t) facts->changed_usec,
                     "bootUSec", (json_int_t) facts->boot_usec,
                     "filesystem", facts->filesystem);
    /* clang-format on */
    if (!json)
        goto fail;
    json_object_set_new(json, "device", json_sprintf("%u:%u", major(facts->device), minor(facts->device)));
    json_object_set_new(json, "content", facts->content_read ? text_or_null(facts->content) : json_null());
    json_object_set_new(json, "families", families);
    json_object_set_new(json, "claims", claims);
    json_object_set_new(json, "recordedPid",
                        facts->recorded.pid ? json_integer(facts->recorded.pid) : json_null());
    json_object_set_new(json, "recordedAlive",
                        facts->recorded.pid == 0 || facts->recorded.process.life == PROCESS_UNKNOWN
                            ? json_null()
                            : json_boolean(facts->recorded.process.life == PROCESS_ALIVE ||
                                           facts->recorded.process.life == PROCESS_STOPPED));
    json_object_set_new(json, "recorded", recorded);
    json_object_set_new(json, "holders", holders);
    json_object_set_new(json, "scanned", json_boolean(facts->scanned));
    json_object_set_new(json, "complete", json_boolean(facts->complete));
    json_object_set_new(json, "processes", json_integer(facts->processes));
    json_object_set_new(json, "unreadable", unreadable);
    json_object_set_new(json, "unreadableTotal", json_integer(facts->unreadable_total));
    json_object_set_new(json, "listener",
                        facts->has_socket ? listener_to_json(&facts->listener) : json_null());
    json_object_set_new(json, "queue",
                        facts->listener.found ? json_integer(facts->listener.queue) : json_null());
    json_object_set_new(json, "backlog",
                        facts->listener.found ? json_integer(facts->listener.backlog) : json_null());
    json_object_set_new(json, "initialPidNamespace", json_boolean(facts->initial_pid_namespace));
    json_object_set_new(json, "bootId", json_string(facts->boot_id));
    return json;

fail:
    json_decref(families);
    json_decref(claims);
    json_decref(holders);
    json_decref(unreadable);
    json_decref(recorded);
    return NULL;
}

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
    facts.size_bytes = (uint64_t) read_integer(&reader, json, "sizeBytes", 0, INT64_MAX);
    facts.modified_usec = (uint64_t) read_integer(&reader, json, "modifiedUSec", 0, INT64_MAX);
    facts.changed_usec = (uint64_t) read_new_integer(&reader, json, "changedUSec", 0, INT64_MAX);
    facts.boot_usec = (uint64_t) read_new_integer(&reader, json, "bootUSec", 0, INT64_MAX);
    read_into(&reader, json, "filesystem", facts.filesystem, sizeof facts.filesystem);
    facts.content = read_copy(&reader, json, "content");
    facts.content_read = facts.content != NULL;
    for (enum lock_family f = 0; f < LOCK_FAMILY_MAX; f++)
        facts.families[f] =
            (enum family_state) read_enum(&reader, families, lock_family_to_string(f), state_of);
    facts.recorded.pid = (pid_t) read_integer(&reader, json, "recordedPid", 0, INT_MAX);
    if (json_is_object(recorded)) {
        facts.recorded.is_thread = read_bool(&reader, recorded, "isThread");
        facts.recorded.is_self = read_bool(&reader, recorded, "isSelf");
        read_process(&reader, json_object_get(recorded, "process"), &facts.recorded.process);
        if (json_is_object(json_object_get(recorded, "namesake")))
            read_process(&reader, json_object_get(recorded, "namesake"), &facts.recorded.namesake);
    }
    read_lists(&reader, json, &facts);
    facts.scanned = read_bool(&reader, json, "scanned");
    facts.complete = read_bool(&reader, json, "complete");
    facts.processes = (unsigned) read_integer(&reader, json, "processes", 0, INT_MAX);
    facts.unreadable_total = (unsigned) read_integer(&reader, json, "unreadableTotal", 0, INT_MAX);
    facts.has_socket = json_is_object(listener);
    if (facts.has_socket)
        read_listener(&reader, listener, &facts.listener);
    facts.initial_pid_namespace = read_bool(&reader, json, "initialPidNamespace");
    read_into(&reader, json, "bootId", facts.boot_id, sizeof facts.boot_id);
    if (!facts.path || !facts.claims || !facts.holders || !facts.unreadable || reader.wrong) {
        *ret_where = reader.wrong ? reader.wrong : "path";
        return -EBADMSG;
    }
    *ret = facts;
    facts = (struct lock_facts){0};
    return 0;
}
