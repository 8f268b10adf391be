/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Send buffers that are full, and who does not read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "doctor/judge.h"

#define TELL_MAX 8 /* of a server with a thousand slow clients so many are told of */

/* Full for the whole time, and nothing of what waits was read meanwhile. */
static bool is_stuck(const struct doctor_connection *connection) {
    return doctor_yes(connection->full_before) &&
           (!doctor_known(connection->waiting_bytes) || !doctor_known(connection->waiting_bytes_before) ||
            connection->waiting_bytes >= connection->waiting_bytes_before);
}

static const char *person(uint64_t pid, const char *comm, char buffer[static 64]) {
    if (!doctor_known(pid))
        return NULL;
    snprintf(buffer, 64, "PID %" PRIu64 " (%s)", pid, comm ? comm : "?");
    return buffer;
}

static json_t *evidence_of(const struct doctor_connection *connection) {
    return json_pack(
        "{s:s?, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:s?, s:o, s:o}", "family",
        connection->family, "local", connection->local, "remote", connection->remote, "pid",
        doctor_number_to_json(connection->pid), "fd", doctor_number_to_json(connection->fd), "nonblocking",
        doctor_known(connection->nonblocking) ? json_boolean(connection->nonblocking) : json_null(),
        "unsentBytes", doctor_number_to_json(connection->unsent_bytes), "sendBufferBytes",
        doctor_number_to_json(connection->send_buffer_bytes), "peerPid",
        doctor_number_to_json(connection->peer_pid), "peer", connection->peer_comm, "peerState",
        connection->peer_state, "peerFd", doctor_number_to_json(connection->peer_fd), "waitingBytes",
        doctor_number_to_json(connection->waiting_bytes));
}

static bool is_of_service(const struct doctor_facts *facts, uint64_t pid) {
    for (size_t i = 0; i < facts->n_processes; i++)
        if (facts->processes[i].pid == pid)
            return true;
    return false;
}

static void tell_peer(const struct doctor_facts *facts, struct doctor_finding *finding,
                      const struct doctor_connection *connection) {
    char buffer[64];
    const char *peer = person(connection->peer_pid, connection->peer_comm, buffer);

    if (peer) {
        bool stopped =
            connection->peer_state && (connection->peer_state[0] == 'T' || connection->peer_state[0] == 't');

        doctor_say(finding, "%s%s does not read: %s bytes wait for it on its fd %" PRIu64, peer,
                   stopped ? ", which is stopped," : "", COUNT(connection->waiting_bytes),
                   connection->peer_fd);
        if (stopped)
            doctor_advise(finding, "kill -CONT %" PRIu64, connection->peer_pid);
        else if (is_of_service(facts, connection->peer_pid))
            doctor_advise(finding, "see what %s does instead: strace -f -p %" PRIu64, peer,
                          connection->peer_pid);
        else
            doctor_advise(finding,
                          "see what keeps %s from reading: latchctl doctor --pid %" PRIu64
                          ", or end it; what writes should bound its wait, and drop who does not read",
                          peer, connection->peer_pid);
    } else if (connection->family && strcmp(connection->family, "tcp") == 0 &&
               !doctor_yes(connection->peer_here)) {
        doctor_say(
            finding,
            "the peer %s, on another machine or in another network namespace, does not read, or cannot "
            "be reached",
            connection->remote ? connection->remote : "(unknown)");
        doctor_advise(finding, "look there; ss -tnoi dst %s tells whether it still acknowledges",
                      connection->remote ? connection->remote : "ADDRESS");
    } else if (connection->peer_inode == 0) {
        doctor_say(finding, "nobody has accepted the connection yet");
        doctor_advise(finding, "see why the listener does not accept");
    } else {
        doctor_say(finding, "who has its other end, and does not read, could not be found");
        doctor_advise(finding, "ask as root, outside of containers: latchctl doctor");
    }
}

static void judge_connection(const struct doctor_facts *facts, const struct doctor_connection *connection,
                             struct doctor_findings *findings) {
    char buffer[64];
    const char *writer = person(connection->pid, connection->comm, buffer),
               *where = connection->local    ? connection->local
                        : connection->remote ? connection->remote
                                             : "a connection";
    struct doctor_finding *finding =
        doctor_find(findings, DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR, evidence_of(connection), "%s%s%s",
                    writer ? writer : where, writer ? ", " : "", writer ? where : "");

    doctor_say(finding, "%s cannot write on its %s connection %s: %s bytes count against a send buffer of %s",
               writer ? writer : "somebody", connection->family ? connection->family : "", where,
               COUNT(connection->unsent_bytes), COUNT(connection->send_buffer_bytes));
    if (doctor_known(connection->nonblocking))
        doctor_say(finding,
                   connection->nonblocking ? "its fd %" PRIu64
                                             " is non-blocking, so that a write gives EAGAIN"
                                           : "its fd %" PRIu64 " is blocking, so that a write hangs",
                   connection->fd);
    tell_peer(facts, finding, connection);
}

void doctor_judge_connections(const struct doctor_facts *facts, struct doctor_findings *findings) {
    size_t n = 0;

    for (size_t i = 0; i < facts->n_connections; i++)
        if (is_stuck(&facts->connections[i]) && n++ < TELL_MAX)
            judge_connection(facts, &facts->connections[i], findings);
    if (n > TELL_MAX) {
        struct doctor_finding *finding =
            doctor_find(findings, DOCTOR_SEND_BUFFER_FULL, DOCTOR_ERROR,
                        json_pack("{s:I}", "connections", (json_int_t) n), "others");

        doctor_say(finding, "%zu connections or more are full like that", n);
        doctor_advise(finding, "ss -xmp, ss -tmp list them all");
    }
}
