/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts to JSON. Times are in microseconds; what is not known is null. */
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
    return json_pack("{s:i, s:s, s:I, s:I, s:i, s:i, s:i, s:b, s:b, s:b, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "pid", (int) process->pid,
                     "life", process_life_to_string(process->life),
                     "startTicks", (json_int_t) process->start_ticks,
                     "startUSec", (json_int_t) process->start_usec,
                     "ppid", (int) process->ppid,
                     "pgrp", (int) process->pgrp,
                     "session", (int) process->session,
                     "sessionLeaderGone", process->session_leader_gone,
                     "kernelThread", process->kernel_thread,
                     "frozen", process->frozen,
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
        json_object_set_new(json, "via", json_string(holder_via_to_string(holder->via))) < 0 ||
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

static json_t *record_to_json(const struct lock_record *record) {
    if (record->form == RECORD_NONE)
        return json_null();
    /* clang-format off */
    return json_pack("{s:s, s:i, s:b, s:s, s:I, s:I, s:I, s:s, s:I, s:I}",
                     "form", record_form_to_string(record->form),
                     "pid", (int) record->pid,
                     "several", record->several,
                     "host", record->host,
                     "pidNamespace", (json_int_t) record->pid_namespace,
                     "bootUSec", (json_int_t) record->boot_usec,
                     "startUSec", (json_int_t) record->start_usec,
                     "socket", record->socket_path,
                     "shmKey", (json_int_t) record->shm_key,
                     "shmId", (json_int_t) record->shm_id);
    /* clang-format on */
}

static json_t *shm_to_json(const struct shm_facts *shm) {
    return shm->found ? json_pack("{s:I, s:i}", "attached", (json_int_t) shm->attached, "creatorPid",
                                  (int) shm->creator)
                      : json_null();
}

/* Who has it open, who waits for it, and what stood there once. */
static void add_bystanders(const struct lock_facts *facts, json_t *json) {
    json_t *openers = json_array(), *waiters = json_array(), *displaced = json_array();

    for (size_t i = 0; i < facts->n_openers; i++)
        json_array_append_new(openers, holder_to_json(&facts->openers[i]));
    for (size_t i = 0; i < facts->n_waiters; i++)
        json_array_append_new(waiters, process_facts_to_json(&facts->waiters[i]));
    for (size_t i = 0; i < facts->n_displaced; i++)
        json_array_append_new(displaced, lock_facts_to_json(&facts->displaced[i]));
    json_object_set_new(json, "openers", openers);
    json_object_set_new(json, "openersTotal", json_integer(facts->openers_total));
    json_object_set_new(json, "waiters", waiters);
    json_object_set_new(json, "displaced", displaced);
    json_object_set_new(json, "unlinked", json_boolean(facts->unlinked));
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
    json = json_pack("{s:s, s:s, s:i, s:o, s:s, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b}",
                     "path", path,
                     "kind", path_kind_to_string(facts->kind),
                     "errno", facts->error,
                     "errorSubject", text_or_null(facts->error_subject),
                     "device", "",
                     "inode", (json_int_t) facts->inode,
                     "mode", (int) facts->mode,
                     "uid", (json_int_t) facts->uid,
                     "links", (json_int_t) facts->links,
                     "sizeBytes", (json_int_t) facts->size_bytes,
                     "modifiedUSec", (json_int_t) facts->modified_usec,
                     "changedUSec", (json_int_t) facts->changed_usec,
                     "bootUSec", (json_int_t) facts->boot_usec,
                     "filesystem", facts->filesystem,
                     "remote", facts->remote,
                     "serverArbitrates", facts->server_arbitrates);
    /* clang-format on */
    if (!json)
        goto fail;
    json_object_set_new(json, "device", json_sprintf("%u:%u", major(facts->device), minor(facts->device)));
    json_object_set_new(json, "content", facts->content_read ? text_or_null(facts->content) : json_null());
    json_object_set_new(json, "layered", json_boolean(facts->layered));
    json_object_set_new(json, "record", record_to_json(&facts->record));
    json_object_set_new(json, "sharedMemory", shm_to_json(&facts->shm));
    json_object_set_new(json, "families", families);
    json_object_set_new(json, "tried", json_boolean(facts->tried));
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
    add_bystanders(facts, json);
    json_object_set_new(json, "scanned", json_boolean(facts->scanned));
    json_object_set_new(json, "settled", json_boolean(facts->settled));
    json_object_set_new(json, "complete", json_boolean(facts->complete));
    json_object_set_new(json, "processes", json_integer(facts->processes));
    json_object_set_new(json, "unreadable", unreadable);
    json_object_set_new(json, "unreadableTotal", json_integer(facts->unreadable_total));
    json_object_set_new(json, "listener",
                        facts->has_socket ? listener_to_json(&facts->listener) : json_null());
    json_object_set_new(json, "guarded", json_boolean(facts->guarded));
    json_object_set_new(json, "queue",
                        facts->listener.found ? json_integer(facts->listener.queue) : json_null());
    json_object_set_new(json, "backlog",
                        facts->listener.found ? json_integer(facts->listener.backlog) : json_null());
    json_object_set_new(json, "hidden", json_boolean(facts->hidden));
    json_object_set_new(json, "initialPidNamespace", json_boolean(facts->initial_pid_namespace));
    json_object_set_new(json, "pidNamespace", json_integer((json_int_t) facts->pid_namespace));
    json_object_set_new(json, "host", json_string(facts->host));
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
