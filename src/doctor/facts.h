/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything that was observed about one service, or one process, and nothing that was concluded: gathered by
 * gather.c, judged by judge.c. Each struct is one list of fields, from which its declaration, its start as
 * "nothing is known", its release and its JSON are made: what `latchctl doctor --facts` printed on somebody's
 * machine can be judged again in a test. In JSON a name is written in camelCase. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A number that was not observed (null in JSON), and a limit that is none ("infinity"). */
#define DOCTOR_UNKNOWN UINT64_MAX
#define DOCTOR_INFINITY (UINT64_MAX - 1)

/* For a field that answers yes (1) or no (0): unknown is neither. */
#define doctor_yes(value) ((value) == 1)
#define doctor_known(value) ((value) != DOCTOR_UNKNOWN)

/* N(name): a number; T(name): text, owned, printable, NULL when it is not known; L(name, sort): a list of
 * struct doctor_SORT, owned, and its length n_NAME. "Between" is from the first look to the second. */

/* A process of the service; the main process is the first of the list. */
#define DOCTOR_PROCESS_FIELDS(N, T, L)                                                                       \
    N(pid)                                                                                                   \
    N(ppid)                                                                                                  \
    T(comm)                                                                                                  \
    N(start_ticks)                                                                                           \
    T(state_before) /* the letter of proc_pid_stat(5) at the first look */                                   \
    T(state)        /* and at the second */                                                                  \
    N(frozen)       /* by its cgroup: 1 */                                                                   \
    N(threads)                                                                                               \
    N(cpu_usec)          /* used between, all threads together */                                            \
    N(busiest_usec)      /* used between by the busiest of its threads */                                    \
    N(delayed_usec)      /* that thread could have run between, and got no processor */                      \
    N(children_cpu_usec) /* of children that ended between */                                                \
    N(new_children)      /* seen to begin between, at least */                                               \
    N(open_files)                                                                                            \
    N(nofile_soft)                                                                                           \
    N(nofile_hard)                                                                                           \
    T(waits_in)    /* the kernel's function that its first thread sleeps in, the same at both looks */       \
    T(waits_call)  /* the system call that this is part of */                                                \
    N(waits_fd)    /* the descriptor that the call is about */                                               \
    T(waits_file)  /* and what that is */                                                                    \
    N(lock_holder) /* who took the lock that it waits for */                                                 \
    T(lock_holder_comm)

/* A lock, a PID file or a socket file of the service, as `latchctl probe` judged it. */
#define DOCTOR_LOCK_FIELDS(N, T, L)                                                                          \
    T(name)                                                                                                  \
    T(path)                                                                                                  \
    T(kind)                                                                                                  \
    T(verdict)                                                                                               \
    T(reason)                                                                                                \
    N(complete) /* every process that could have it was looked at */                                         \
    N(recorded_pid)                                                                                          \
    N(holder_pid)                                                                                            \
    T(holder_comm)                                                                                           \
    T(holder_role)                                                                                           \
    T(text)                                                                                                  \
    T(advice)

/* A socket that somebody of the service listens on, or that is to be listened on. */
#define DOCTOR_LISTENER_FIELDS(N, T, L)                                                                      \
    T(name)      /* of its [Socket] section */                                                               \
    T(address)   /* a path, @abstract, HOST:PORT */                                                          \
    T(family)    /* unix, tcp */                                                                             \
    N(listening) /* 1: it is; 0: nobody listens there */                                                     \
    N(inode)                                                                                                 \
    N(pid) /* of the service, that has it open */                                                            \
    T(comm)                                                                                                  \
    N(fd)                                                                                                    \
    N(queue_before)                                                                                          \
    N(queue)   /* connections that wait for accept(2) */                                                     \
    N(backlog) /* in force: of a unix socket one more can wait, of a TCP socket too */                       \
    N(asked)   /* Backlog=, where latchd made the socket */                                                  \
    N(nonblocking)                                                                                           \
    N(owned)      /* 1: latchd makes and keeps it */                                                         \
    T(displaced)  /* latchd's listener is not at its path any more; this is: "socket", "nothing", ... */     \
    N(worker_pid) /* of the service, has it open, and is not the main process */                             \
    N(workers)    /* so many have */

/* A connection of the service whose send buffer holds so much that it cannot be written to. */
#define DOCTOR_CONNECTION_FIELDS(N, T, L)                                                                    \
    T(family)                                                                                                \
    T(local)                                                                                                 \
    T(remote)                                                                                                \
    N(inode)                                                                                                 \
    N(pid)                                                                                                   \
    T(comm)                                                                                                  \
    N(fd)                                                                                                    \
    N(nonblocking)                                                                                           \
    N(full_before)                                                                                           \
    N(unsent_bytes) /* what the kernel counts against the send buffer, its own overhead included */          \
    N(send_buffer_bytes)                                                                                     \
    N(peer_inode)                                                                                            \
    N(peer_here) /* 1: the peer is on this machine */                                                        \
    N(peer_pid)                                                                                              \
    T(peer_comm)                                                                                             \
    T(peer_state)                                                                                            \
    N(peer_fd)                                                                                               \
    N(waiting_bytes_before)                                                                                  \
    N(waiting_bytes) /* that the peer has not read */

/* A cgroup that the main process is in, or one above it. */
#define DOCTOR_CGROUP_FIELDS(N, T, L)                                                                        \
    T(path)                                                                                                  \
    T(controller) /* of version 1; NULL: version 2 */                                                        \
    N(pids)                                                                                                  \
    N(pids_max)                                                                                              \
    N(pids_refused)        /* forks that failed between */                                                   \
    N(pids_refused_in_all) /* since the cgroup was made */                                                   \
    N(memory_bytes)                                                                                          \
    N(memory_high_bytes)                                                                                     \
    N(memory_max_bytes)                                                                                      \
    N(memory_high_hits)                                                                                      \
    N(memory_max_hits)                                                                                       \
    N(oom_kills)                                                                                             \
    N(oom_kills_in_all)                                                                                      \
    N(throttled)      /* periods between in which it ran out of its quota */                                 \
    N(throttled_usec) /* for so long */                                                                      \
    N(memory_stalled_percent)

/* Kind=dovecot: as Dovecot tells of its configuration, as far as it can be asked. */
#define DOCTOR_DOVECOT_FIELDS(N, T, L)                                                                       \
    T(version)                                                                                               \
    T(base_dir)                                                                                              \
    N(needed_files) /* the largest client_limit that is configured */                                        \
    T(needed_by)    /* whose that is; NULL: default_client_limit */

/* And each of the services that it runs; the numbers are effective. */
#define DOCTOR_DOVECOT_SERVICE_FIELDS(N, T, L)                                                               \
    T(name)                                                                                                  \
    T(type)                                                                                                  \
    T(protocol)                                                                                              \
    N(processes)   /* that the master has for it */                                                          \
    N(connections) /* that those have accepted */                                                            \
    N(client_limit)                                                                                          \
    N(client_limit_set) /* what is configured of it; 0: the default */                                       \
    N(process_limit)                                                                                         \
    N(process_min_avail)                                                                                     \
    N(service_count) /* 0: unlimited */                                                                      \
    N(asked)         /* the backlog that Dovecot gives to listen(2) */                                       \
    T(socket)        /* the fullest of its listeners: a path, "port 143" */                                  \
    N(queue_before)                                                                                          \
    N(queue)                                                                                                 \
    N(backlog)

/* What could not be looked at. */
#define DOCTOR_UNSEEN_FIELDS(N, T, L)                                                                        \
    T(what)                                                                                                  \
    T(why)                                                                                                   \
    N(permission) /* 1: somebody with more rights can */

/* A kind of daemon (Kind=) adds a list of its own here, of one element or none, and a file to judge it by. */
#define DOCTOR_FACTS_FIELDS(N, T, L)                                                                         \
    T(service) /* NULL: a bare process */                                                                    \
    T(kind)                                                                                                  \
    T(state)                                                                                                 \
    T(status_text)                                                                                           \
    N(restarts)           /* of the daemon, by itself, since the service began */                            \
    T(last_exit)          /* "exited with status 1", as the supervisor tells */                              \
    N(last_exit_failed)   /* 0: in good order, or as one ends that is told to (SIGTERM) */                   \
    N(last_exit_ago_usec) /* how long ago that was */                                                        \
    T(config_error)       /* why its configuration cannot be read; NULL: it can, or there is none */         \
    T(options)            /* "--runtime-dir DIR", for commands that are advised; NULL: none */               \
    T(main_of)            /* of a bare process: the service whose main process it is */                      \
    N(supervised)                                                                                            \
    T(supervisor_silence) /* how it failed to answer; NULL: it did, or there is none */                      \
    N(supervisor_pid)                                                                                        \
    T(limits_command) /* "latchctl limits NAME", to which NAME=VALUE is appended; NULL: nobody would obey */ \
    N(pid)            /* of the main process; 0: there is none */                                            \
    T(unit)                                                                                                  \
    T(config_file)                                                                                           \
    N(interval_usec)                                                                                         \
    N(ended)  /* 1: the main process ended between */                                                        \
    N(family) /* processes: the main one and its descendants */                                              \
    N(uid)                                                                                                   \
    T(user)                                                                                                  \
    N(nproc_counts) /* 0: RLIMIT_NPROC does not hold for it */                                               \
    N(nproc_soft)                                                                                            \
    N(nproc_hard)                                                                                            \
    N(user_tasks)                                                                                            \
    N(machine_tasks)                                                                                         \
    N(threads_max)                                                                                           \
    N(pid_max)                                                                                               \
    N(somaxconn)                                                                                             \
    N(memory_stalled_percent) /* of the machine: some avg10 of /proc/pressure/memory */                      \
    L(processes, process)                                                                                    \
    L(locks, lock)                                                                                           \
    L(listeners, listener)                                                                                   \
    L(connections, connection)                                                                               \
    L(cgroups, cgroup)                                                                                       \
    L(dovecot, dovecot)                                                                                      \
    L(dovecot_services, dovecot_service)                                                                     \
    L(unseen, unseen)

/* The sorts of structs, the outermost last. */
#define DOCTOR_SORTS(X)                                                                                      \
    X(process, DOCTOR_PROCESS_FIELDS)                                                                        \
    X(lock, DOCTOR_LOCK_FIELDS)                                                                              \
    X(listener, DOCTOR_LISTENER_FIELDS)                                                                      \
    X(connection, DOCTOR_CONNECTION_FIELDS)                                                                  \
    X(cgroup, DOCTOR_CGROUP_FIELDS)                                                                          \
    X(dovecot, DOCTOR_DOVECOT_FIELDS)                                                                        \
    X(dovecot_service, DOCTOR_DOVECOT_SERVICE_FIELDS)                                                        \
    X(unseen, DOCTOR_UNSEEN_FIELDS)                                                                          \
    X(facts, DOCTOR_FACTS_FIELDS)

#define DOCTOR_DECLARE_NUMBER(name) uint64_t name;
#define DOCTOR_DECLARE_TEXT(name) char *name;
#define DOCTOR_DECLARE_LIST(name, sort)                                                                      \
    struct doctor_##sort *name;                                                                              \
    size_t n_##name;
#define DOCTOR_DECLARE_STRUCT(sort, FIELDS)                                                                  \
    struct doctor_##sort {                                                                                   \
        FIELDS(DOCTOR_DECLARE_NUMBER, DOCTOR_DECLARE_TEXT, DOCTOR_DECLARE_LIST)                              \
    };
DOCTOR_SORTS(DOCTOR_DECLARE_STRUCT)

#define _cleanup_doctor_facts_ _cleanup_(doctor_facts_done)

/* Nothing is known. */
void doctor_facts_init(struct doctor_facts *facts);
void doctor_facts_done(struct doctor_facts *facts);

/* Adds an element of which nothing is known to one of the lists: doctor_add(facts, processes) is it, borrowed
 * until the next is added; NULL: no memory. */
#define doctor_add(facts, list)                                                                              \
    ((__typeof__((facts)->list)) doctor_list_grow((facts), &(facts)->list, &(facts)->n_##list))
void *doctor_list_grow(struct doctor_facts *facts, void *list, size_t *n);

/* Tells what could not be looked at, by the errno (positive) that was in the way; each `what` once. */
void doctor_unseen(struct doctor_facts *facts, const char *what, int error);

/* The same, in words: more rights would not help. */
void doctor_unseen_because(struct doctor_facts *facts, const char *what, const char *why);

/* New reference; NULL when memory runs out. */
json_t *doctor_facts_to_json(const struct doctor_facts *facts);

/* -EBADMSG: not what doctor_facts_to_json() makes; *ret_where (static) names the field. Unknown fields pass.
 */
int doctor_facts_from_json(json_t *json, struct doctor_facts *ret, const char **ret_where);
