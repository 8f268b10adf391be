/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How the gathering is divided: each part fills its fields of one look, counters as they stand; its _since()
 * then makes of the counters of two looks what happened between. */

#include "doctor/family.h"
#include "doctor/gather.h"
#include "socket/inet-diag.h"
#include "socket/unix-diag.h"
#include "socket/unix-stream.h"

/* Of a service of thousands of processes so many are looked at one by one, and connections told of. */
#define DOCTOR_PROCESSES_MAX 1024
#define DOCTOR_CONNECTIONS_MAX 64

/* What is the same for all services at one moment. */
struct doctor_look {
    struct family_sweep processes;
    struct unix_table unix_sockets;
    struct unix_streams unix_streams;
    struct inet_table inet_sockets;
    int unix_error, streams_error,
        inet_error;   /* 0, or the -errno that kept one of the three from being read */
    uint64_t network; /* inode number of the network namespace they are of; 0: not known */
};
void doctor_look_done(struct doctor_look *look);
int doctor_look(int proc_fd, struct doctor_look *ret); /* for want of resources only, or of /proc */

/* Who has a socket open. */
struct descriptor {
    uint32_t inode;
    pid_t pid;
    int fd;
};
struct descriptors {
    struct descriptor *of; /* owned; by inode and PID once they are sorted */
    size_t n, room;
};
#define _cleanup_descriptors_ _cleanup_(descriptors_done)
void descriptors_done(struct descriptors *descriptors);
/* Adds the sockets among the process's descriptors; `wanted` (sorted; NULL: all) only those. -errno: they may
 * not be read. */
int descriptors_read(int proc_fd, pid_t pid, const uint32_t *wanted, size_t n_wanted,
                     struct descriptors *descriptors);
void descriptors_sort(struct descriptors *descriptors);
const struct descriptor *descriptors_find(const struct descriptors *descriptors, uint32_t inode);
/* 1: O_NONBLOCK is set; 0: it is not; DOCTOR_UNKNOWN. */
uint64_t descriptor_is_nonblocking(int proc_fd, pid_t pid, int fd);

/* processes, family, uid, limits of processes */
int doctor_gather_processes(int proc_fd, const struct doctor_look *look, pid_t pid,
                            struct doctor_facts *facts);
void doctor_processes_since(struct doctor_facts *facts, const struct doctor_facts *before);

/* What the busiest of the main process's threads used between: begin and end, which releases it. */
void doctor_threads_begin(int proc_fd, pid_t pid, struct family_sweep *ret);
void doctor_threads_end(int proc_fd, struct family_sweep *before, struct doctor_process *process);

/* The children of the main process while time passes: begin, look as often as is wanted, and tell. */
struct doctor_births {
    pid_t *seen;           /* owned */
    size_t n, room, first; /* `first`: as many were there when it began */
    bool known;
};
void doctor_births_look(int proc_fd, pid_t pid, struct doctor_births *births);
uint64_t doctor_births_end(struct doctor_births *births); /* how many began; releases it */

/* cgroups */
int doctor_gather_cgroups(int proc_fd, pid_t pid, struct doctor_facts *facts);
void doctor_cgroups_since(struct doctor_facts *facts, const struct doctor_facts *before);
uint64_t doctor_parse_pressure(const char *text); /* "some avg10=1.5 ...": 1; DOCTOR_UNKNOWN */

/* listeners, connections */
int doctor_gather_sockets(int proc_fd, const struct doctor_request *request, const struct doctor_look *before,
                          const struct doctor_look *look, struct doctor_facts *facts);

/* Who has the other ends of connections that are full: one sweep for all. */
int doctor_gather_peers(int proc_fd, const struct doctor_look *look, struct doctor_facts *facts, size_t n);

/* dovecot, dovecot_services: of Kind=dovecot */
int doctor_gather_dovecot(int proc_fd, const struct doctor_request *request, const struct doctor_look *before,
                          const struct doctor_look *look, struct doctor_facts *facts);

/* locks */
int doctor_gather_locks(const json_t *reports, struct doctor_facts *facts);
